//! The natives behind `std/process`: processes, messages, links, monitors, names, timers.
//! The functions that scripts import are in `lib/std/process.harn`.

use super::launch::{Placing, place};
use super::values::{
    AnyPid, Letter, Own, RefObject, Reference, ScriptPid, failure_of, host, message, option, own, pid_argument,
    pid_value, reason_of, ref_of, reference, system_of, target, whereis,
};
use crate::task::{ScopeObject, TaskFault, TaskHost};
use crate::time::waiting_time;
use madrigal_runtime::process::{ProcessSpec, Reason, Spawned, System, SystemHooks};
use madrigal_runtime::{TaskHandle, TaskKind, TaskSpec};
use madrigal_vm::{Args, Cx, Fault, Handle, HandleObject, Outcome, Value, Wait};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

madrigal_vm::builtins! {
    /// Makes a process system in a scope.
    "__process_system" (scope: scope, options: any) -> any = make_system;
    /// Starts the first process of a system.
    "__process_first" (system: any, body: closure) -> any = first;
    /// Waits until the first process of a system has ended.
    "__process_first_ended" (first: any) -> nil = first_ended;
    /// Ends the other processes of a system, and waits for them.
    "__process_shut_down" (system: any) -> nil = shut_down;
    /// What the first process gave, or its failure.
    "__process_result" (first: any) -> any = result;
    /// Starts a process: plain, "link" or "monitor".
    "__process_spawn" (name: string, body: closure, how: string) -> any = spawn;
    /// The pid of the calling process.
    "__process_self" () -> pid = own_pid;
    /// Sends a message.
    "__process_send" (to: any, message: any) -> bool = send;
    /// The next message; nil when the time passes.
    "__process_recv" (timeout: any) -> any = recv;
    /// A reference that nothing else has.
    "__process_reference" () -> ref = fresh_reference;
    /// Begins to look at all messages, within a time.
    "__process_scan" (timeout: any) -> any = scan;
    /// The next message not looked at, in a list; nil when the time has passed.
    "__process_scan_next" (scan: any) -> any = scan_next;
    /// Takes the message last looked at.
    "__process_scan_take" (scan: any) -> any = scan_take;
    /// Ends the calling process, or sends an exit signal to another.
    "__process_exit" (pid: any, reason: any) -> any = exit;
    /// Whether a process lives.
    "__process_is_alive" (pid: any) -> bool = is_alive;
    /// What can be known of a process; nil when it has ended.
    "__process_info" (pid: any) -> any = info;
    /// Links two processes.
    "__process_link" (pid: any) -> nil = link;
    /// Undoes a link.
    "__process_unlink" (pid: any) -> nil = unlink;
    /// Monitors a process.
    "__process_monitor" (pid: any) -> ref = monitor;
    /// Undoes a monitor.
    "__process_demonitor" (monitor: ref, options: any) -> bool = demonitor;
    /// Whether exit signals arrive as messages; how it was.
    "__process_trap_exit" (trap: bool) -> bool = trap_exit;
    /// Registers the calling process by a name.
    "__process_register" (name: string) -> nil = register_name;
    /// Frees a name.
    "__process_unregister" (name: any) -> bool = unregister;
    /// The process of a name.
    "__process_whereis" (name: string) -> any = find;
    /// Sends a message later.
    "__process_send_after" (delay: any, to: any, message: any) -> ref = send_after;
    /// Disarms a timer.
    "__process_cancel_timer" (timer: ref) -> bool = cancel_timer;
    /// Sets an entry of the process dictionary; the previous value.
    "__process_put" (key: any, value: any) -> any = put;
    /// An entry of the process dictionary.
    "__process_get" (key: any, default: any) -> any = get;
    /// Removes an entry of the process dictionary; the previous value.
    "__process_erase" (key: any) -> any = erase;
}

/// A process system on its way through the script that runs it.
struct SystemObject {
    system: System<TaskFault>,
    fuel: Option<u32>,
}

/// The first process of a system.
struct FirstObject(Spawned<Letter, TaskFault, Value>);

macro_rules! internal_handle {
    ($type:ty, $name:literal) => {
        impl HandleObject for $type {
            fn type_name(&self) -> &'static str {
                $name
            }

            fn display(&self) -> String {
                concat!("<", $name, ">").to_owned()
            }

            fn identity(&self) -> Option<u64> {
                None
            }
        }
    };
}
pub(super) use internal_handle;

internal_handle!(SystemObject, "process_system");
internal_handle!(FirstObject, "first_process");
internal_handle!(ScanObject, "scan");

/// The object in a handle that only the library's own scripts pass.
pub(super) fn object<'a, T: HandleObject>(args: &'a Args<'_>, at: usize) -> &'a T {
    match args.get(at) {
        Value::Handle(handle) => handle.downcast().expect("the library passes its own handles"),
        _ => unreachable!("the library passes its own handles"),
    }
}

fn make_system(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let options = args.get(1);
    if !matches!(options, Value::Nil | Value::Dict(_)) {
        let got = options.type_name();
        return Err(Fault::type_error(format!("process.start: options must be a dict, got {got}")));
    }
    let fuel = match option(options, "fuel") {
        None | Some(Value::Nil) => None,
        Some(Value::Int(fuel)) if *fuel > 0 => Some(u32::try_from(*fuel).unwrap_or(u32::MAX)),
        Some(other) => {
            return Err(Fault::type_error(format!("process.start: fuel must be a positive int, got {other}")));
        }
    };
    let scope = object::<ScopeObject>(&args, 0).scope.clone();
    let run = host(cx).run.clone();
    let processes = &run.tasks.processes;
    let log = Arc::downgrade(&run);
    let hooks = SystemHooks {
        numbers: processes.numbers.clone(),
        on_crash: Box::new(move |pid, reason: &Reason<TaskFault>| {
            if let (Some(run), Some(fault)) = (log.upgrade(), failure_of(reason)) {
                run.complain(&format!("process <pid:{}> crashed: {}", pid.number(), fault.message(None)));
            }
        }),
    };
    let system = System::with_hooks(scope, hooks);
    processes.systems.lock().push(system.downgrade());
    Ok(Value::Handle(Handle::new(SystemObject { system, fuel })))
}

/// The task of a process whose script cleans up by itself.
pub(super) fn task_spec(host: &TaskHost) -> TaskSpec {
    TaskSpec::new(TaskKind::PROCESS).with_grace(host.run.tasks.grace).inline_start()
}

fn callable(name: &str, body: &Value) -> Result<(), Fault> {
    match body {
        Value::Closure(_) => Ok(()),
        other => Err(Fault::type_error(format!("{name}: expected a closure, got {}", other.type_name()))),
    }
}

fn closed<T>(name: &str) -> impl Fn(T) -> Fault {
    let text = format!("{name}: the process system has ended");
    move |_| Fault::thrown(text.as_str())
}

fn first(cx: &mut Cx<'_>, mut args: Args<'_>) -> Result<Outcome, Fault> {
    callable("process.start", args.get(1))?;
    let SystemObject { system, fuel } = object(&args, 0);
    let (system, fuel) = (system.clone(), *fuel);
    let spec = ProcessSpec { task: task_spec(host(cx)), seen: true, ..ProcessSpec::default() };
    let start = move |placing: Placing<'_>| {
        let spawned = system.spawn_with(spec, |context, process| {
            let own = Own::new(process, system.clone(), fuel);
            placing.launcher.launch(&placing.body, &[], context, Some(own))
        });
        let spawned = spawned.map_err(closed("process.start"))?;
        Ok(Value::Handle(Handle::new(FirstObject(spawned))))
    };
    Ok(place(args.take(1), start).into())
}

fn first_ended(_: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let task: TaskHandle<Value, TaskFault> = object::<FirstObject>(&args, 0).0.task().clone();
    task.mark_observed();
    Ok(Wait::new("process.start", async move {
        task.ended().await;
        Ok(Value::Nil)
    }))
}

fn shut_down(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let ending = object::<SystemObject>(&args, 0).system.shut_down(host(cx).run.tasks.grace);
    Ok(Wait::new("process.start", async move {
        ending.await;
        Ok(Value::Nil)
    }))
}

fn result(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let first = &object::<FirstObject>(&args, 0).0;
    let reason = first.pid().member().ended();
    match reason.as_ref().and_then(failure_of) {
        Some(fault) => Err(fault),
        None => match first.task().try_outcome() {
            Some(madrigal_runtime::Outcome::Ok(value)) => Ok(value),
            _ => Ok(Value::Nil),
        },
    }
}

fn spawn(cx: &mut Cx<'_>, mut args: Args<'_>) -> Result<Outcome, Fault> {
    let name = args.string(0).to_string();
    callable(&name, args.get(1))?;
    let how = args.string(2);
    let linked = match how.as_str() {
        "plain" => None,
        _ => Some(own(cx)?.process.clone()),
    };
    let host = host(cx);
    let system = system_of(host).ok_or_else(|| Fault::thrown("not a process"))?;
    let fuel = host.process.as_ref().and_then(|it| it.fuel);
    let link = linked.as_ref().filter(|_| how.as_str() == "link").map(|it| it.pid().member());
    let monitors = how.as_str() == "monitor";
    let spec = ProcessSpec { task: task_spec(host), link, ..ProcessSpec::default() };
    let start = move |placing: Placing<'_>| {
        let spawned = system.spawn_with(spec, |context, process| {
            let own = Own::new(process, system.clone(), fuel);
            placing.launcher.launch(&placing.body, &[], context, Some(own))
        });
        let spawned: Spawned<Letter, TaskFault, Value> = spawned.map_err(closed(&name))?;
        let member = spawned.pid().member();
        match linked.filter(|_| monitors) {
            Some(watcher) => {
                let monitor = watcher.monitor(&member);
                let monitor = reference(monitor.number(), Reference::Monitor(monitor));
                Ok(Value::list(vec![pid_value(member), monitor]))
            }
            None => Ok(pid_value(member)),
        }
    };
    Ok(place(args.take(1), start).into())
}

fn own_pid(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Value, Fault> {
    Ok(pid_value(own(cx)?.member()))
}

fn send(cx: &mut Cx<'_>, mut args: Args<'_>) -> Result<bool, Fault> {
    let letter = Letter::Message(args.take(1));
    let to = target("process.send", host(cx), args.get(0))?;
    Ok(to.and_then(ScriptPid::of).is_some_and(|it| it.send(letter)))
}

/// A time to wait; none is for ever.
pub(super) fn within(name: &str, value: &Value) -> Result<Option<Duration>, Fault> {
    match value {
        Value::Nil => Ok(None),
        Value::Int(_) | Value::Duration(_) | Value::Float(_) => Ok(Some(waiting_time(value))),
        other => {
            let got = other.type_name();
            Err(Fault::type_error(format!("{name}: timeout must be a duration or int milliseconds, got {got}")))
        }
    }
}

fn recv(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let time = within("process.recv", args.get(0))?;
    let own = own(cx)?;
    let system = own.system.clone();
    if let Some(received) = own.process.try_recv() {
        return Ok(message(&system, received).into());
    }
    if time.is_some_and(|it| it.is_zero()) {
        return Ok(Value::Nil.into());
    }
    let receiving = own.process.recv_within(time);
    Ok(Wait::new("process.recv", async move { Ok(receiving.await.map_or(Value::Nil, |it| message(&system, it))) })
        .into())
}

/// A look at all messages, one after the other.
struct ScanObject {
    seen: Arc<Mutex<u64>>,
    /// On the clock of the system.
    until_ns: Option<u64>,
}

fn scan(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let time = within("process.recv_match", args.get(0))?;
    let now = own(cx)?.system.clock().now_ns();
    let until_ns = time.map(|it| now.saturating_add(u64::try_from(it.as_nanos()).unwrap_or(u64::MAX)));
    Ok(Value::Handle(Handle::new(ScanObject { seen: Arc::default(), until_ns })))
}

fn scan_next(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let scan = object::<ScanObject>(&args, 0);
    let (seen, until_ns) = (scan.seen.clone(), scan.until_ns);
    let own = own(cx)?;
    let (process, system) = (own.process.clone(), own.system.clone());
    let look = move |seen: &Arc<Mutex<u64>>| {
        let mut seen = seen.lock();
        let (number, received) = process.peek_after(*seen)?;
        *seen = number;
        Some(Value::list(vec![message(&system, received)]))
    };
    if let Some(found) = look(&seen) {
        return Ok(found.into());
    }
    let own = super::values::own(cx)?;
    let now = own.system.clock().now_ns();
    let left = until_ns.map(|it| Duration::from_nanos(it.saturating_sub(now)));
    if left.is_some_and(|it| it.is_zero()) {
        return Ok(Value::Nil.into());
    }
    let arrived = own.process.arrival(*seen.lock(), left);
    Ok(Wait::new("process.recv_match", async move {
        arrived.await;
        Ok(look(&seen).unwrap_or_default())
    })
    .into())
}

fn scan_take(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let number = *object::<ScanObject>(&args, 0).seen.lock();
    let own = own(cx)?;
    let taken = own.process.take(number);
    Ok(taken.map_or(Value::Nil, |it| message(&own.system, it)))
}

fn exit(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    if args.len() > 1 {
        let reason = reason_of(args.get(1));
        let from = host(cx).process.as_ref().map(|it| it.member());
        let Some(pid) = target("process.exit", host(cx), args.get(0))? else { return Ok(Value::Bool(false).into()) };
        let alive = pid.is_alive();
        pid.exit(from.clone(), reason);
        let itself = from.is_some_and(|it| it.number() == pid.number());
        return if itself { Ok(madrigal_vm::Effect::Yield.into()) } else { Ok(Value::Bool(alive).into()) };
    }
    let reason = reason_of(args.get(0));
    own(cx)?.process.exit(reason);
    // The cancellation is met in this wait; a cleanup, which is shielded from it, goes on.
    Ok(madrigal_vm::Effect::Yield.into())
}

fn is_alive(cx: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    Ok(target("process.is_alive", host(cx), args.get(0))?.is_some_and(|it| it.is_alive()))
}

fn pids(of: Vec<AnyPid>) -> Value {
    Value::list(of.into_iter().map(pid_value).collect())
}

fn info(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let Some(pid) = target("process.info", host(cx), args.get(0))? else { return Ok(Value::Nil) };
    let Some(task) = pid.task() else { return Ok(Value::Nil) };
    let script = ScriptPid::of(pid.clone());
    let name = pid.name().map_or(Value::Nil, |it| Value::from(&*it));
    Ok(Value::dict([
        ("status", Value::from(task.status().as_str())),
        ("name", name),
        ("mailbox_len", Value::from(script.as_ref().map_or(0, ScriptPid::mailbox_len))),
        ("links", pids(pid.links())),
        ("monitors", pids(script.as_ref().map(ScriptPid::monitored).unwrap_or_default())),
        ("trap_exit", Value::Bool(script.as_ref().is_some_and(ScriptPid::is_trapping_exits))),
    ]))
}

fn link(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    own(cx)?;
    let other = pid_or_name("process.link", cx, &args)?;
    own(cx)?.process.link(&other);
    Ok(())
}

/// A pid that a function needs; a name that nobody has is an error.
fn pid_or_name(name: &str, cx: &mut Cx<'_>, args: &Args<'_>) -> Result<AnyPid, Fault> {
    target(name, host(cx), args.get(0))?.ok_or_else(|| Fault::thrown("noproc"))
}

fn unlink(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    let other = pid_argument("process.unlink", args.get(0))?;
    own(cx)?.process.unlink(&other);
    Ok(())
}

fn monitor(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    own(cx)?;
    let other = pid_or_name("process.monitor", cx, &args)?;
    let monitor = own(cx)?.process.monitor(&other);
    Ok(reference(monitor.number(), Reference::Monitor(monitor)))
}

fn demonitor(cx: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    let own = own(cx)?;
    let Some(RefObject { of, .. }) = ref_of(args.get(0)) else {
        let got = args.get(0).type_name();
        return Err(Fault::type_error(format!("process.demonitor: expected a ref, got {got}")));
    };
    let flush = option(args.get(1), "flush").is_none_or(Value::is_truthy);
    if let Reference::Monitor(monitor) = of {
        own.process.demonitor(monitor, flush);
    }
    Ok(true)
}

fn trap_exit(cx: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    let own = own(cx)?;
    match args.get(0) {
        Value::Bool(trap) => Ok(own.process.trap_exit(*trap)),
        other => Err(Fault::type_error(format!("process.trap_exit: expected a bool, got {}", other.type_name()))),
    }
}

fn name_argument(name: &str, value: &Value) -> Result<madrigal_vm::Str, Fault> {
    match value {
        Value::String(text) => Ok(text.clone()),
        other => Err(Fault::type_error(format!("{name}: expected a name, got {}", other.type_name()))),
    }
}

/// Registers the calling process, or says that the name is taken.
pub(super) fn register_as(function: &str, own: &Own, name: &str) -> Result<(), Fault> {
    register_as_member(function, &own.system, &own.member(), name)
}

/// Registers a process, or says that the name is taken.
pub(super) fn register_as_member(
    function: &str,
    system: &System<TaskFault>,
    pid: &AnyPid,
    name: &str,
) -> Result<(), Fault> {
    match system.register(name, pid) {
        true => Ok(()),
        false => Err(Fault::thrown(format!("{function}: name '{name}' is already registered"))),
    }
}

fn register_name(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    let own = own(cx)?;
    let name = name_argument("process.register", args.get(0))?;
    register_as("process.register", own, name.as_str())
}

fn unregister(cx: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    let host = host(cx);
    let system = system_of(host).ok_or_else(|| Fault::thrown("not a process"))?;
    match args.get(0) {
        Value::Nil => Ok(own(cx)?.member().name().is_some_and(|it| system.unregister(&it))),
        other => Ok(system.unregister(name_argument("process.unregister", other)?.as_str())),
    }
}

fn find(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let name = name_argument("process.whereis", args.get(0))?;
    Ok(whereis(host(cx), name.as_str()).map_or(Value::Nil, pid_value))
}

fn send_after(cx: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let Some(delay) = within("process.send_after", args.get(0))? else {
        return Err(Fault::type_error("process.send_after: expected a duration or int milliseconds, got nil"));
    };
    let letter = Letter::Message(args.take(2));
    let to = target("process.send_after", host(cx), args.get(1))?.and_then(ScriptPid::of);
    Ok(match to {
        Some(to) => reference(to.send_after(delay, letter), Reference::Timer(Some(to))),
        None => reference(host(cx).run.next_id(), Reference::Timer(None)),
    })
}

fn cancel_timer(_: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    match ref_of(args.get(0)) {
        Some(RefObject { number, of: Reference::Timer(Some(to)) }) => Ok(to.cancel_timer(*number)),
        Some(_) => Ok(false),
        None => {
            let got = args.get(0).type_name();
            Err(Fault::type_error(format!("process.cancel_timer: expected a ref, got {got}")))
        }
    }
}

fn put(cx: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let key = args.string(0);
    Ok(std::mem::replace(own(cx)?.values.slot(&key), args.take(1)))
}

fn get(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let key = args.string(0);
    Ok(own(cx)?.values.get(key.as_str()).cloned().unwrap_or_else(|| args.get(1).clone()))
}

fn erase(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let key = args.string(0);
    Ok(own(cx)?.values.remove(key.as_str()).unwrap_or_default())
}

fn fresh_reference(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Value, Fault> {
    Ok(reference(host(cx).run.next_id(), Reference::Bare))
}

/// Whether a pid is that of the calling process.
pub(super) fn is_own(cx: &mut Cx<'_>, pid: &AnyPid) -> bool {
    host(cx).process.as_ref().is_some_and(|it| it.process.pid().number() == pid.number())
}
