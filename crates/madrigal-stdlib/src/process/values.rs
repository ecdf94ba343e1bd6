//! Processes as scripts see them: pids, references, reasons, messages.

use crate::task::{TaskFault, TaskHost};
use madrigal_runtime::process::{
    Answer, Detail, Member, Monitor, Pid, Process, Reason, ReasonKind, Received, Running, System, WeakSystem,
};
use madrigal_vm::{Cx, Dict, Fault, FaultKind, Handle, HandleObject, Str, Value};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// A process of whatever kind.
pub(super) type AnyPid = Arc<dyn Member<TaskFault>>;
/// A process that scripts can send to.
pub(super) type ScriptPid = Pid<Letter, TaskFault>;

/// What the mailbox of a script's process holds.
#[derive(Clone)]
pub enum Letter {
    /// A message of `send`.
    Message(Value),
    /// A question to a server, and where its answer goes.
    Call(Value, Answer<Value, TaskFault>),
    /// A message to a server.
    Cast(Value),
    /// A request to a server to end.
    Stop(Reason<TaskFault>),
}

/// The process side of a script task.
pub struct Own {
    pub(super) process: Process<Letter, TaskFault>,
    pub(super) system: System<TaskFault>,
    /// The process dictionary.
    pub(super) values: Dict,
    /// A server: why it stops after the current message.
    pub(super) stop: Option<Reason<TaskFault>>,
    /// A server that is starting: who waits for it.
    pub(super) starter: Option<Starter>,
    /// A server: the process that started it, when linked.
    pub(super) parent: Option<AnyPid>,
    /// A child of a supervisor: to say that it is ready.
    pub(super) running: Option<Running<TaskFault>>,
    pub(super) fuel: Option<u32>,
}

/// Who waits for a server to start.
pub(super) struct Starter {
    pub(super) answer: Answer<Value, TaskFault>,
    pub(super) linked: Option<AnyPid>,
}

impl Own {
    pub(super) fn new(process: Process<Letter, TaskFault>, system: System<TaskFault>, fuel: Option<u32>) -> Own {
        let values = Dict::new();
        Own { process, system, values, stop: None, starter: None, parent: None, running: None, fuel }
    }

    /// Instructions it runs before others get a turn, when its system says so.
    pub fn fuel(&self) -> Option<u32> {
        self.fuel
    }

    pub(super) fn member(&self) -> AnyPid {
        self.process.pid().member()
    }
}

/// The process systems and supervisors of a run.
#[derive(Default)]
pub struct Processes {
    /// Of pids, references and timers.
    pub(super) numbers: Arc<AtomicU64>,
    pub(super) systems: Mutex<Vec<WeakSystem<TaskFault>>>,
    pub(super) supervisors: Mutex<BTreeMap<u64, super::supervisors::Known>>,
    pub(super) task_supervisors: super::task_supervisors::Registry,
}

impl Processes {
    /// Ids of the task supervisors that have not ended.
    pub fn live_supervisors(&self) -> Vec<String> {
        self.task_supervisors.live()
    }

    fn systems(&self) -> Vec<System<TaskFault>> {
        let mut systems = self.systems.lock();
        let mut live = Vec::with_capacity(systems.len());
        systems.retain(|it| it.upgrade().map(|it| live.push(it)).is_some());
        live
    }
}

/// The host of the calling task.
pub(super) fn host<'a>(cx: &'a mut Cx<'_>) -> &'a mut TaskHost {
    cx.host::<TaskHost>().expect("the library runs under a TaskHost")
}

/// The process side of the calling task.
pub(super) fn own<'a>(cx: &'a mut Cx<'_>) -> Result<&'a mut Own, Fault> {
    host(cx).process.as_deref_mut().ok_or_else(|| Fault::thrown("not a process"))
}

/// The system the calling task belongs to, as a process or beneath one.
pub(super) fn system_of(host: &TaskHost) -> Option<System<TaskFault>> {
    if let Some(own) = &host.process {
        return Some(own.system.clone());
    }
    let systems = host.run.tasks.processes.systems();
    let node = host.nodes.innermost();
    // The innermost of those it is beneath is the one made last.
    systems.into_iter().rev().find(|it| node.is_beneath(it.node()))
}

/// The process of this name: in the caller's own system, else in those around it; a task in none looks everywhere.
pub(super) fn whereis(host: &TaskHost, name: &str) -> Option<AnyPid> {
    if let Some(found) = host.process.as_ref().and_then(|it| it.system.whereis(name)) {
        return Some(found);
    }
    let systems = host.run.tasks.processes.systems();
    let node = host.nodes.innermost();
    let (around, others): (Vec<_>, Vec<_>) = systems.into_iter().partition(|it| node.is_beneath(it.node()));
    let inside = !around.is_empty();
    let places = around.into_iter().rev().chain(others.into_iter().filter(|_| !inside));
    places.into_iter().find_map(|it| it.whereis(name))
}

/// A pid as a value.
pub(super) struct PidObject(pub(super) AnyPid);

impl HandleObject for PidObject {
    fn type_name(&self) -> &'static str {
        "pid"
    }

    fn display(&self) -> String {
        format!("<pid:{}>", self.0.number())
    }

    fn identity(&self) -> Option<u64> {
        Some(self.0.number())
    }
}

/// A reference as a value: a monitor, a timer, or where an answer goes.
pub(super) struct RefObject {
    pub(super) number: u64,
    pub(super) of: Reference,
}

pub(super) enum Reference {
    Monitor(Monitor<TaskFault>),
    Timer(Option<ScriptPid>),
    Answer(Answer<Value, TaskFault>),
    /// One that has served its purpose.
    Bare,
}

impl HandleObject for RefObject {
    fn type_name(&self) -> &'static str {
        "ref"
    }

    fn display(&self) -> String {
        format!("<ref:{}>", self.number)
    }

    fn identity(&self) -> Option<u64> {
        Some(self.number)
    }
}

pub(super) fn reference(number: u64, of: Reference) -> Value {
    Value::Handle(Handle::new(RefObject { number, of }))
}

pub(super) fn ref_of(value: &Value) -> Option<&RefObject> {
    match value {
        Value::Handle(handle) => handle.downcast(),
        _ => None,
    }
}

pub(super) fn pid_value(pid: AnyPid) -> Value {
    Value::Handle(Handle::new(PidObject(pid)))
}

pub(super) fn pid_of(value: &Value) -> Option<&AnyPid> {
    match value {
        Value::Handle(handle) => handle.downcast::<PidObject>().map(|it| &it.0),
        _ => None,
    }
}

/// The pid that an argument has to be.
pub(super) fn pid_argument(name: &str, value: &Value) -> Result<AnyPid, Fault> {
    let wrong = || Fault::type_error(format!("{name}: expected a pid, got {}", value.type_name()));
    pid_of(value).cloned().ok_or_else(wrong)
}

/// The process that an argument names, as a pid or by its name; none when nobody has the name.
pub(super) fn target(name: &str, host: &TaskHost, value: &Value) -> Result<Option<AnyPid>, Fault> {
    match value {
        Value::String(registered) => Ok(whereis(host, registered.as_str())),
        other if pid_of(other).is_some() => Ok(pid_of(other).cloned()),
        other => Err(Fault::type_error(format!("{name}: expected a pid or a name, got {}", other.type_name()))),
    }
}

fn dict<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::dict(entries)
}

/// A reason as scripts see it. Chains of links deeper than a few are cut: nobody reads them.
pub(super) fn reason_value(reason: &Reason<TaskFault>) -> Value {
    let mut kinds = Vec::new();
    let mut next = reason;
    let mut value = loop {
        kinds.push(next.kind);
        match &next.detail {
            Detail::None => break Value::Nil,
            Detail::Error(fault) => break fault.0.caught(),
            Detail::Reason(inner) => next = inner,
        }
    };
    for kind in kinds.into_iter().rev() {
        value = dict([("kind", Value::from(kind.as_str())), ("value", value)]);
    }
    value
}

/// The reason that an argument of `exit` means.
pub(super) fn reason_of(value: &Value) -> Reason<TaskFault> {
    let mut kinds = Vec::new();
    let mut next = value;
    loop {
        match reason_kind(next) {
            Some((kind, Some(value))) if kind == ReasonKind::Linked && reason_kind(value).is_some() => {
                kinds.push(kind);
                next = value;
            }
            Some((kind, value)) => {
                let detail = match value {
                    None | Some(Value::Nil) if kind != ReasonKind::Error => Detail::None,
                    value => Detail::Error(thrown(value.cloned().unwrap_or_default())),
                };
                return wrapped(kinds, Reason { kind, detail });
            }
            None => return wrapped(kinds, Reason::error(thrown(next.clone()))),
        }
    }
}

fn wrapped(kinds: Vec<ReasonKind>, innermost: Reason<TaskFault>) -> Reason<TaskFault> {
    kinds.into_iter().fold(innermost, |inner, _| Reason::linked(inner))
}

fn thrown(value: Value) -> TaskFault {
    TaskFault(Fault::thrown(value))
}

/// The kind that a value spells, with what belongs to it.
fn reason_kind(value: &Value) -> Option<(ReasonKind, Option<&Value>)> {
    match value {
        Value::String(text) => match text.as_str() {
            "normal" => Some((ReasonKind::Normal, None)),
            "shutdown" => Some((ReasonKind::Shutdown, None)),
            "kill" => Some((ReasonKind::Killed, None)),
            _ => None,
        },
        Value::Dict(dict) => {
            let kind = dict.get("kind").and_then(Value::as_str).and_then(ReasonKind::from_name)?;
            let known = dict.keys().all(|it| matches!(it.as_str(), "kind" | "value"));
            known.then(|| (kind, dict.get("value")))
        }
        _ => None,
    }
}

/// What somebody gets who needed a process that ended like this.
pub(super) fn failure_of(reason: &Reason<TaskFault>) -> Option<Fault> {
    match (reason.kind, &reason.detail) {
        (ReasonKind::Normal | ReasonKind::Shutdown, _) => None,
        (ReasonKind::Error, Detail::Error(fault)) => Some(fault.0.clone()),
        _ => Some(Fault::thrown(reason_value(reason))),
    }
}

pub(super) fn exit_message(from: Option<AnyPid>, reason: &Reason<TaskFault>) -> Value {
    let pid = from.map_or(Value::Nil, pid_value);
    dict([("kind", Value::from("EXIT")), ("pid", pid), ("reason", reason_value(reason))])
}

pub(super) fn down_message(number: u64, pid: AnyPid, reason: &Reason<TaskFault>) -> Value {
    let monitor = reference(number, Reference::Bare);
    let reason = reason_value(reason);
    dict([("kind", Value::from("DOWN")), ("ref", monitor), ("pid", pid_value(pid)), ("reason", reason)])
}

/// What `recv` gives. A question to a server reaches a plain process as a dict, so that it can answer too.
pub(super) fn message(system: &System<TaskFault>, received: Received<Letter, TaskFault>) -> Value {
    match received {
        Received::Message(Letter::Message(value)) => value,
        Received::Message(Letter::Call(request, answer)) => {
            let from = reference(system.next_number(), Reference::Answer(answer));
            dict([("kind", Value::from("CALL")), ("from", from), ("request", request)])
        }
        Received::Message(Letter::Cast(value)) => dict([("kind", Value::from("CAST")), ("request", value)]),
        Received::Message(Letter::Stop(reason)) => {
            dict([("kind", Value::from("STOP")), ("reason", reason_value(&reason))])
        }
        Received::Exit { from, reason } => exit_message(from, &reason),
        Received::Down { monitor, pid, reason } => down_message(monitor, pid, &reason),
    }
}

/// The error of a wait that took too long.
pub(super) fn timed_out(text: String) -> Fault {
    Fault::new(FaultKind::Categorised { category: "timeout", text })
}

/// A text of an options dict.
pub(super) fn option_text(options: &Value, key: &str) -> Option<Str> {
    match option(options, key) {
        Some(Value::Nil) | None => None,
        Some(value) => Some(value.display()),
    }
}

/// An entry of an options dict.
pub(super) fn option<'a>(options: &'a Value, key: &str) -> Option<&'a Value> {
    match options {
        Value::Dict(dict) => dict.get(key),
        _ => None,
    }
}
