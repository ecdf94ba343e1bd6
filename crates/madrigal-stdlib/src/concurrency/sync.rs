//! Natives of `std/sync`: handles on the primitives of the runtime. What calls back is in Harn (`lib/prelude.harn`).
//! Not here: how the primitives work (`madrigal_runtime::sync`). Invariant: what only its holder may give back is given
//! back at the latest by the holder's end (`held.rs`).

mod counting;
mod locks;
mod once;
mod queues;
mod rwlocks;

pub(super) use once::{RunObject, enter_once, take_run};

use super::host;
use super::timed::{timed, timeout_of};
use crate::task::waited_on;
use madrigal_runtime::Describe;
use madrigal_vm::{Args, BuiltinTable, Cx, Effect, Fault, HandleObject, Outcome, Value, Wait};
use std::sync::Arc;

/// Adds the natives of `std/sync`.
pub fn register(table: &mut BuiltinTable) {
    counting::register(table);
    locks::register(table);
    once::register(table);
    queues::register(table);
    rwlocks::register(table);
}

/// The receiver of a method.
pub(super) fn receiver<'a, T: HandleObject>(name: &str, args: &'a Args<'_>) -> Result<&'a T, Fault> {
    let found = match args.get(0) {
        Value::Handle(handle) => handle.downcast::<T>(),
        _ => None,
    };
    found.ok_or_else(|| Fault::type_error(format!("{name}: unexpected {}", args.get(0).type_name())))
}

/// Declares a handle with a name, printed as `<name>`, equal to itself only.
macro_rules! handle_object {
    ($type:ty, $name:literal) => {
        impl madrigal_vm::HandleObject for $type {
            fn type_name(&self) -> &'static str {
                $name
            }

            fn display(&self) -> String {
                concat!("<", $name, ">").to_owned()
            }

            fn identity(&self) -> Option<u64> {
                Some(std::ptr::from_ref(self) as u64)
            }
        }
    };
}
pub(super) use handle_object;

/// The wait, on something whose holder reports can name.
fn held_by(outcome: Outcome, resource: Arc<dyn Describe>) -> Outcome {
    match outcome {
        Outcome::Effect(Effect::Wait(wait)) => wait.on(waited_on(resource)).into(),
        other => other,
    }
}

/// A count that is at least `least`.
fn count_from(name: &str, least: i64, value: &Value) -> Result<usize, Fault> {
    let Some(count) = value.as_int() else {
        return Err(Fault::type_error(format!("{name}: expected an int, got {}", value.type_name())));
    };
    match usize::try_from(count) {
        Ok(found) if count >= least => Ok(found),
        _ => Err(Fault::thrown(format!("{name}: expected at least {least}, got {count}"))),
    }
}

/// Waits for `future`, at most as long as the argument at `timeout` says; `late` is the value when that passes.
fn wait_for<F>(
    cx: &mut Cx<'_>,
    what: &'static str,
    args: &Args<'_>,
    timeout: &Value,
    late: Value,
    future: F,
) -> Result<Outcome, Fault>
where
    F: Future<Output = Result<Value, Fault>> + Send + 'static,
{
    let timeout = timeout_of(what, timeout)?;
    let run = host(cx).run.clone();
    let waiting = async move { timed(run, timeout, future).await.unwrap_or(Ok(late)) };
    Ok(Wait::new(what, waiting).on(args.get(0).clone()).into())
}
