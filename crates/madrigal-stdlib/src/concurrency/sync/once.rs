//! Values made once. Who makes it runs the body in Harn (`sync_once__get` in `lib/prelude.harn`).

use super::{handle_object, receiver, wait_for};
use crate::task::deadlock;
use madrigal_runtime::sync::{Entered, Once, OnceRun};
use madrigal_vm::{Args, Cx, Fault, Handle, Outcome, Value};
use parking_lot::Mutex;

madrigal_vm::builtins! {
    /// A value made once by `f`.
    "__sync_once" (f: closure) -> sync_once = make_once;
    /// Waits for the value, as `[value]`, or for the turn to make it, which is then the result.
    "__once_enter" (once: sync_once) -> any = enter;
    /// What makes the value.
    "__once_body" (once: sync_once) -> closure = body;
    /// The value was made.
    "__once_finish" (run: sync_once_run, value: any) -> nil = finish;
    /// Making it failed.
    "__once_fail" (run: sync_once_run, error: any) -> nil = fail;
    /// Passes the turn on if it did neither.
    "__once_leave" (run: sync_once_run) -> nil = leave;
}

struct OnceObject {
    once: Once<Value, Fault>,
    body: Value,
}

/// The turn to make the value; passed on when the last reference goes.
pub(in super::super) struct RunObject(Mutex<Option<OnceRun<Value, Fault>>>);

impl RunObject {
    /// A turn that nobody waits for.
    pub fn none() -> RunObject {
        RunObject(Mutex::new(None))
    }
}

handle_object!(OnceObject, "sync_once");
handle_object!(RunObject, "sync_once_run");

fn make_once(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    if !args.get(0).is_callable() {
        return Err(Fault::type_error(format!("make_once: expected a closure, got {}", args.get(0).type_name())));
    }
    Ok(Value::Handle(Handle::new(OnceObject { once: Once::new(), body: args.take(0) })))
}

/// The turn, or the value in a list.
fn entered(entered: Entered<Value, Fault>) -> Result<Value, Fault> {
    match entered {
        Entered::Result(result) => result.map(|value| Value::list(vec![value])),
        Entered::Run(run) => Ok(Value::Handle(Handle::new(RunObject(Mutex::new(Some(run)))))),
    }
}

fn enter(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let once = &receiver::<OnceObject>("get", &args)?.once;
    enter_once(cx, "get", once, &args)
}

/// Waits for the value or the turn of `once`, the first argument of the call.
pub(in super::super) fn enter_once(
    cx: &mut Cx<'_>,
    name: &'static str,
    once: &Once<Value, Fault>,
    args: &Args<'_>,
) -> Result<Outcome, Fault> {
    if let Some(value) = once.try_get() {
        return Ok(Outcome::from(Value::list(vec![value])));
    }
    let (entering, itself) = (once.enter(), deadlock(format!("{name}: {} waits for itself", args.get(0))));
    wait_for(cx, name, args, &Value::Nil, Value::Nil, async move { entered(entering.await.map_err(|_| itself)?) })
}

fn body(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(receiver::<OnceObject>("get", &args)?.body.clone())
}

pub(in super::super) fn take_run(turn: &Value) -> Option<OnceRun<Value, Fault>> {
    match turn {
        Value::Handle(handle) => handle.downcast::<RunObject>().and_then(|it| it.0.lock().take()),
        _ => None,
    }
}

fn finish(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<(), Fault> {
    let value = args.take(1);
    if let Some(run) = take_run(args.get(0)) {
        run.finish(Ok(value));
    }
    Ok(())
}

fn fail(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<(), Fault> {
    let error = args.take(1);
    if let Some(run) = take_run(args.get(0)) {
        run.finish(Err(Fault::thrown(error)));
    }
    Ok(())
}

fn leave(_: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    let run = take_run(args.get(0));
    drop(run);
    Ok(())
}
