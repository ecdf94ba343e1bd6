//! The natives behind process supervisors: children's specs read, the supervisor started as a process, commands to it.
//! Not here: supervision itself, which the runtime does.

use super::core::{internal_handle, object, register_as_member, task_spec, within};
use super::launch::{Launch, Placing, Script, place};
use super::values::{
    AnyPid, Letter, Own, ScriptPid, failure_of, host, option, option_text, own, pid_of, pid_value, reason_value,
    system_of, target,
};
use crate::task::{TaskFault, TaskHost};
use madrigal_runtime::process::{
    Backoff, ChildEnd, ChildSpec, ChildStart, Control, EventKind, Intensity, Logger, Process, ProcessSpec, Reason,
    ReasonKind, Received, Restart, Settings, StartChild, Strategy, Supervisor, SupervisorEvent, System,
};
use madrigal_runtime::{Outcome as Ended, TaskContext, TaskSpec};
use madrigal_vm::{Args, Cx, Fault, Handle, HandleObject, Outcome, Str, Value, Wait};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

madrigal_vm::builtins! {
    /// Starts a supervisor.
    "__supervisor_start" (specs: any, options: any) -> any = start;
    /// The pid of a supervisor, once its children have been started.
    "__supervisor_started" (starting: any) -> pid = started;
    /// In a child: it is ready.
    "__supervisor_ready" () -> nil = ready;
    /// Has a supervisor start one more child.
    "__supervisor_start_child" (supervisor: any, spec: any) -> any = start_child;
    /// The pid of a child, once it has been started.
    "__supervisor_child_started" (starting: any) -> pid = child_started;
    /// Stops a child.
    "__supervisor_stop_child" (supervisor: any, id: any) -> bool = stop_child;
    /// The children.
    "__supervisor_children" (supervisor: any) -> list = children;
}

/// A supervisor that pids find.
pub struct Known {
    control: Control<TaskFault>,
}

/// What all children of a supervisor are started with.
#[derive(Clone)]
struct Making {
    launcher: Arc<dyn Launch>,
    system: System<TaskFault>,
    task: TaskSpec,
    fuel: Option<u32>,
}

/// A child as its spec says, before anything can start it.
struct Draft {
    id: Str,
    body: Value,
    restart: Restart,
    ready: Option<Duration>,
    shutdown: Duration,
    backoff: Backoff,
}

const SPEC_KEYS: [&str; 7] = ["id", "start", "restart", "ready", "ready_timeout", "shutdown", "backoff"];

fn draft(name: &str, spec: &Value) -> Result<Draft, Fault> {
    let Value::Dict(dict) = spec else {
        return Err(Fault::type_error(format!("{name}: expected a child spec, got {}", spec.type_name())));
    };
    let Some(id) = option_text(spec, "id") else {
        return Err(Fault::thrown(format!("{name}: a child spec needs an id")));
    };
    if let Some(unknown) = dict.keys().find(|it| !SPEC_KEYS.contains(&it.as_str())) {
        return Err(Fault::thrown(format!("{name}: child '{id}' has an unknown key '{unknown}'")));
    }
    let body = match dict.get("start") {
        Some(body @ Value::Closure(_)) => body.clone(),
        _ => return Err(Fault::thrown(format!("{name}: child '{id}' requires a start closure"))),
    };
    let restart = match option_text(spec, "restart").as_ref().map(Str::as_str) {
        None | Some("permanent") => Restart::Always,
        Some("transient") => Restart::OnFailure,
        Some("temporary") => Restart::Never,
        Some(other) => return Err(Fault::thrown(format!("{name}: child '{id}' has an unknown restart '{other}'"))),
    };
    let time = |key: &str, default: Duration| match dict.get(key) {
        None | Some(Value::Nil) => Ok(default),
        Some(value) => within(&format!("{name}: child '{id}': {key}"), value).map(|it| it.unwrap_or(default)),
    };
    let ready_within = time("ready_timeout", Duration::from_secs(5))?;
    Ok(Draft {
        restart,
        ready: dict.get("ready").is_some_and(Value::is_truthy).then_some(ready_within),
        shutdown: time("shutdown", Duration::from_secs(5))?,
        backoff: Backoff { first: time("backoff", Duration::ZERO)?, ..Backoff::default() },
        id,
        body,
    })
}

impl Draft {
    fn child(self, making: Making) -> ChildSpec<TaskFault> {
        let Draft { id, body, restart, ready, shutdown, backoff } = self;
        let start: StartChild<TaskFault> = Arc::new(move |start| making.start(&body, start));
        let spec = ChildSpec::new(id.as_str(), start);
        ChildSpec { kind: "process".into(), restart, ready, shutdown, backoff, ..spec }
    }
}

impl Making {
    fn start(&self, body: &Value, start: ChildStart<TaskFault>) -> Result<AnyPid, TaskFault> {
        let ChildStart { scope, running, .. } = start;
        let spec = ProcessSpec { task: self.task.clone(), scope: Some(scope), seen: true, link: None };
        let spawned = self.system.spawn_with(spec, |context, process: Process<Letter, TaskFault>| {
            let itself = process.pid().member();
            let own = Own::new(process, self.system.clone(), self.fuel);
            let own = Own { running: Some(running.clone()), ..own };
            let script = self.launcher.launch(body, &[], context.clone(), Some(own));
            Child { script: Some(script), adopted: None, itself, running, context, asked: false }
        });
        let spawned = spawned.map_err(|closed| TaskFault(Fault::thrown(closed.to_string())))?;
        Ok(spawned.pid().member())
    }
}

/// The task of a child. A body that ends by giving the pid of a process it is linked to goes on as that process: it
/// ends when that does, and takes it along.
struct Child {
    script: Option<Script>,
    adopted: Option<(AnyPid, madrigal_runtime::process::Call<Value, TaskFault>)>,
    itself: AnyPid,
    running: madrigal_runtime::process::Running<TaskFault>,
    context: TaskContext,
    asked: bool,
}

impl Child {
    fn adopt(&mut self, value: &Value) -> bool {
        let linked = |pid: &&AnyPid| pid.links().iter().any(|it| it.number() == self.itself.number());
        let Some(pid) = pid_of(value).filter(linked) else { return false };
        let (_, ended) = madrigal_runtime::process::call(pid);
        self.running.show(pid.clone());
        self.adopted = Some((pid.clone(), ended));
        true
    }
}

impl Future for Child {
    type Output = Ended<Value, TaskFault>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Some(script) = &mut this.script {
            let Poll::Ready(outcome) = script.as_mut().poll(cx) else { return Poll::Pending };
            this.script = None;
            match &outcome {
                Ended::Ok(value) if this.adopt(value) => {}
                _ => return Poll::Ready(outcome),
            }
        }
        let Some((pid, ended)) = &mut this.adopted else { return Poll::Pending };
        if this.context.is_cancelled() && !std::mem::replace(&mut this.asked, true) {
            pid.exit(Some(this.itself.clone()), Reason::shutdown());
        }
        match Pin::new(ended).poll(cx) {
            Poll::Ready(Ok(value)) => Poll::Ready(Ended::Ok(value)),
            Poll::Ready(Err(reason)) => Poll::Ready(match failure_of(&reason) {
                Some(fault) => Ended::Failed(TaskFault(fault)),
                None => Ended::Ok(Value::Nil),
            }),
            Poll::Pending => Poll::Pending,
        }
    }
}

struct StartingObject {
    pid: AnyPid,
    control: Control<TaskFault>,
}

internal_handle!(StartingObject, "starting_supervisor");

const OPTION_KEYS: [&str; 5] = ["name", "strategy", "max_restarts", "within", "logger"];
const NAME: &str = "process.supervisor_start_link";

struct Options {
    name: Option<Str>,
    strategy: Strategy,
    intensity: Intensity,
    logger: Option<Value>,
}

fn options(options: &Value) -> Result<Options, Fault> {
    match options {
        Value::Nil | Value::Dict(_) => {}
        other => return Err(Fault::type_error(format!("{NAME}: options must be a dict, got {}", other.type_name()))),
    }
    if let Value::Dict(dict) = options
        && let Some(unknown) = dict.keys().find(|it| !OPTION_KEYS.contains(&it.as_str()))
    {
        return Err(Fault::thrown(format!("{NAME}: unknown option '{unknown}'")));
    }
    let strategy = match option_text(options, "strategy") {
        None => Strategy::OneForOne,
        Some(it) => Strategy::from_name(it.as_str())
            .filter(|it| *it != Strategy::EscalateToParent)
            .ok_or_else(|| Fault::thrown(format!("{NAME}: unknown strategy '{it}'")))?,
    };
    let max_restarts = match option(options, "max_restarts") {
        None | Some(Value::Nil) => 3,
        Some(Value::Int(it)) if *it >= 0 => u32::try_from(*it).unwrap_or(u32::MAX),
        Some(other) => {
            return Err(Fault::type_error(format!("{NAME}: max_restarts must be an int of at least 0, got {other}")));
        }
    };
    let span = match option(options, "within") {
        None | Some(Value::Nil) => Duration::from_secs(5),
        Some(value) => within(&format!("{NAME}: within"), value)?.unwrap_or_default(),
    };
    let logger = match option(options, "logger") {
        None | Some(Value::Nil) => None,
        Some(it @ Value::Closure(_)) => Some(it.clone()),
        Some(other) => {
            return Err(Fault::type_error(format!("{NAME}: logger must be a closure, got {}", other.type_name())));
        }
    };
    let intensity = Intensity { max_restarts, within: span };
    Ok(Options { name: option_text(options, "name"), strategy, intensity, logger })
}

fn start(cx: &mut Cx<'_>, mut args: Args<'_>) -> Result<Outcome, Fault> {
    let parent = own(cx)?.member();
    let Options { name, strategy, intensity, logger } = options(args.get(1))?;
    let Some(specs) = args.list(0) else {
        return Err(Fault::type_error(format!(
            "{NAME}: expected a list of child specs, got {}",
            args.get(0).type_name()
        )));
    };
    let drafts = specs.iter().map(|it| draft(NAME, it)).collect::<Result<Vec<_>, _>>()?;
    let mut ids = HashSet::new();
    if let Some(twice) = drafts.iter().find(|it| !ids.insert(it.id.clone())) {
        return Err(Fault::thrown(format!("{NAME}: duplicate child id '{}'", twice.id)));
    }
    let host = host(cx);
    let (run, task, fuel) = (host.run.clone(), task_spec(host), host.process.as_ref().and_then(|it| it.fuel()));
    let system = system_of(host).ok_or_else(|| Fault::thrown("not a process"))?;
    // Twice the grace: its children have one each, and it ends after they did.
    let spec = ProcessSpec {
        task: TaskSpec::new(task.kind).with_grace(run.tasks.grace * 2),
        seen: true,
        ..ProcessSpec::default()
    };
    let put = move |placing: Placing<'_>| {
        let launcher = placing.launcher.share();
        let making = Making { launcher: launcher.clone(), system: system.clone(), task, fuel };
        let children = drafts.into_iter().map(|it| it.child(making.clone())).collect();
        let logger = logger.map(|it| logging(it, launcher, run.clone()));
        let settings = Settings { strategy, intensity: Some(intensity), logger, ..Settings::default() };
        let (supervisor, control) = Supervisor::new(settings, children);
        let spawned = system.spawn_with(spec, |context, process| {
            Box::pin(supervising(supervisor, control.clone(), context, process, parent.clone(), run.clone()))
        });
        let spawned = spawned.map_err(|_| Fault::thrown(format!("{NAME}: the process system has ended")))?;
        let pid: ScriptPid = spawned.pid();
        let member = pid.member();
        if let Some(name) = name
            && let Err(taken) = register_as_member(NAME, &system, &member, name.as_str())
        {
            member.exit(None, Reason::killed());
            return Err(taken);
        }
        run_known(&run, member.number(), control.clone());
        Ok(Value::Handle(Handle::new(StartingObject { pid: member, control })))
    };
    drop(args.take(0));
    Ok(place(Value::Nil, put).into())
}

fn run_known(run: &crate::host::Run, number: u64, control: Control<TaskFault>) {
    run.tasks.processes.supervisors.lock().insert(number, Known { control });
}

/// The body of the process of a supervisor: supervision, beside its mailbox.
async fn supervising(
    supervisor: Supervisor<TaskFault>,
    control: Control<TaskFault>,
    context: TaskContext,
    process: Process<Letter, TaskFault>,
    parent: AnyPid,
    run: Arc<crate::host::Run>,
) -> Result<Value, TaskFault> {
    process.trap_exit(true);
    let number = process.pid().number();
    let mut work = Box::pin(supervisor.run(context));
    let end = poll_fn(|cx| {
        // Signals first: what ends because the whole system does must not be started again.
        while let Poll::Ready(received) = Pin::new(&mut process.recv()).poll(cx) {
            react(received, &control, &parent);
        }
        work.as_mut().poll(cx)
    })
    .await;
    run.tasks.processes.supervisors.lock().remove(&number);
    match end {
        ChildEnd::Stopped(reason) => process.end_with(reason),
        ChildEnd::Completed => {}
        ChildEnd::MaxRestarts => return Err(TaskFault(Fault::thrown("max_restarts"))),
        ChildEnd::Escalated(error) => return Err(error),
    }
    Ok(Value::Nil)
}

/// An exit signal of its parent, or of nobody (its system), ends a supervisor in order; so does a request to stop.
fn react(received: Received<Letter, TaskFault>, control: &Control<TaskFault>, parent: &AnyPid) {
    match received {
        Received::Exit { from, reason } => {
            let of_parent = from.as_ref().is_none_or(|it| it.number() == parent.number());
            if of_parent || reason.kind == ReasonKind::Shutdown {
                control.stop(reason, None);
            }
        }
        Received::Message(Letter::Stop(reason)) => control.stop(reason, None),
        Received::Message(_) | Received::Down { .. } => {}
    }
}

/// Calls a logger with each event, one after the other.
fn logging(logger: Value, launcher: Arc<dyn Launch>, run: Arc<crate::host::Run>) -> Logger<TaskFault> {
    Arc::new(move |event| {
        let Some(entry) = entry(&event) else { return Box::pin(async {}) };
        let Some(context) = TaskContext::current() else { return Box::pin(async {}) };
        let mut script = launcher.launch(&logger, &[entry], context, None);
        let run = run.clone();
        Box::pin(async move {
            if let Ended::Failed(failure) = script.as_mut().await {
                run.complain(&format!("supervisor logger failed: {}", failure.0.message(None)));
            }
        })
    })
}

/// What a logger is told.
fn entry(event: &SupervisorEvent<TaskFault>) -> Option<Value> {
    let name = match event.kind {
        EventKind::ChildStarted | EventKind::ChildRestartStarted => "child_started",
        EventKind::ChildReady => "child_ready",
        EventKind::ChildFailed | EventKind::ChildStopped => "child_exited",
        EventKind::ChildRestarting => "child_restarting",
        EventKind::MaxRestartsReached => "max_restarts_reached",
        _ => return None,
    };
    let id = event.child.as_ref().map_or(Value::Nil, |it| Value::from(&**it));
    let pid = event.pid.clone().map_or(Value::Nil, pid_value);
    let mut entry = vec![("event", Value::from(name)), ("id", id), ("pid", pid)];
    if let Some(reason) = &event.reason {
        entry.push(("reason", reason_value(reason)));
    }
    if event.kind == EventKind::ChildRestarting {
        entry.push(("attempt", Value::Int(i64::try_from(event.attempt).unwrap_or(i64::MAX))));
    }
    Some(Value::Dict(entry.into_iter().map(|(key, value)| (Str::from(key), value)).collect()))
}

fn started(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let starting = object::<StartingObject>(&args, 0);
    let (pid, control) = (starting.pid.clone(), starting.control.clone());
    let parent = own(cx)?.process.clone();
    Ok(Wait::new("supervisor_start_link", async move {
        control.started().await;
        match pid.ended() {
            None => {
                parent.link(&pid);
                if let Some(script) = ScriptPid::of(pid.clone()) {
                    script.set_seen(false);
                }
                Ok(pid_value(pid))
            }
            Some(reason) => Err(failure_of(&reason).unwrap_or_else(|| Fault::thrown(reason_value(&reason)))),
        }
    })
    .into())
}

fn ready(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Fault> {
    match &own(cx)?.running {
        Some(running) => {
            running.ready();
            Ok(())
        }
        None => Err(Fault::thrown("process.supervisor_notify_ready: not a child of a supervisor")),
    }
}

fn control_of(name: &str, host: &TaskHost, value: &Value) -> Result<Control<TaskFault>, Fault> {
    let pid = target(name, host, value)?.ok_or_else(|| Fault::thrown("noproc"))?;
    let supervisors = host.run.tasks.processes.supervisors.lock();
    match supervisors.get(&pid.number()) {
        Some(known) => Ok(known.control.clone()),
        None if !pid.is_alive() => Err(Fault::thrown("noproc")),
        None => Err(Fault::thrown(format!("{name}: <pid:{}> is not a supervisor", pid.number()))),
    }
}

/// A child on its way.
struct ChildObject(Mutex<Option<Wait>>);

internal_handle!(ChildObject, "starting_child");

fn start_child(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let name = "process.start_child";
    let host = host(cx);
    let control = control_of(name, host, args.get(0))?;
    let draft = draft(name, args.get(1))?;
    let (task, fuel) = (task_spec(host), host.process.as_ref().and_then(|it| it.fuel()));
    let system = system_of(host).or_else(|| {
        let pid = target(name, host, args.get(0)).ok().flatten().and_then(ScriptPid::of);
        pid.map(|it| it.system())
    });
    let system = system.ok_or_else(|| Fault::thrown("noproc"))?;
    let put = move |placing: Placing<'_>| {
        let making = Making { launcher: placing.launcher.share(), system, task, fuel };
        let starting = control.start_child(draft.child(making));
        let wait = Wait::new(name, async move {
            match starting.await {
                Some(Ok(pid)) => Ok(pid_value(pid)),
                Some(Err(text)) => Err(Fault::thrown(format!("{name}: {text}"))),
                None => Err(Fault::thrown("noproc")),
            }
        });
        Ok(Value::Handle(Handle::new(ChildObject(Mutex::new(Some(wait))))))
    };
    Ok(place(Value::Nil, put).into())
}

fn child_started(_: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let wait = object::<ChildObject>(&args, 0).0.lock().take();
    Ok(wait.map_or(Outcome::Value(Value::Nil), Outcome::from))
}

fn stop_child(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let control = control_of("process.stop_child", host(cx), args.get(0))?;
    let stopping = control.stop_child(args.string(1).as_str());
    Ok(Wait::new("process.stop_child", async move { Ok(Value::Bool(stopping.await.unwrap_or(false))) }).into())
}

fn children(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let control = control_of("process.which_children", host(cx), args.get(0))?;
    let child = |it: madrigal_runtime::process::ChildReport<TaskFault>| {
        let pid = it.pid.filter(|it| it.is_alive()).map_or(Value::Nil, pid_value);
        Value::dict([("id", Value::from(&*it.id)), ("pid", pid)])
    };
    Ok(Value::list(control.report().children.into_iter().map(child).collect()))
}
