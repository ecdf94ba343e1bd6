//! Task supervisors: named long-lived tasks that are started again by rule (`supervisor_start` and its company).
//! Not here: supervision itself, which the runtime does, and supervisors of processes (`supervisors.rs`).

use super::launch::{Launch, Placing, place};
use super::values::{Letter, failure_of, host, option, option_text, reason_value};
use crate::task::{TaskFault, TaskHost};
use crate::time::waiting_time;
use madrigal_runtime::process::{
    Backoff, Cap, ChildEnd, ChildReport, ChildSpec, ChildStart, Control, Detail, EventKind, Metrics, Process,
    ProcessSpec, Reason, Restart, Settings, StartChild, Strategy, Supervisor, SupervisorEvent, System,
};
use madrigal_runtime::{CancelKind, CancelReason, Clock, Outcome as Ended, TaskKind, TaskSpec};
use madrigal_vm::{Args, Cx, Fault, Outcome, Str, Value, Wait};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

madrigal_vm::builtins! {
    /// Starts a supervisor of named tasks, and answers at once.
    "supervisor_start" (spec: dict) -> dict = start;
    /// What a supervisor and its children are doing.
    "supervisor_state" (supervisor: any) -> dict = state;
    /// What happened to a supervisor and its children, oldest first.
    "supervisor_events" (supervisor: any) -> list = events;
    /// How often children were started, stopped, restarted and so on.
    "supervisor_metrics" (supervisor: any) -> dict = metrics;
    /// Stops all children in reverse order and the supervisor; its state then.
    "supervisor_stop" (supervisor: any, timeout: duration) -> dict = stop;
}

/// How many supervisors that have ended can still be asked for.
const ENDED_MAX: usize = 256;

/// The task supervisors of a run, by id.
#[derive(Default)]
pub(super) struct Registry(Mutex<Known>);

#[derive(Default)]
struct Known {
    by_id: HashMap<String, Arc<Entry>>,
    /// In the order they were started.
    order: VecDeque<String>,
    last_number: u64,
}

/// A supervisor somebody started.
struct Entry {
    id: String,
    name: String,
    shutdown: Duration,
    leases: HashMap<Str, Value>,
    clock: Clock,
    control: Control<TaskFault>,
}

impl Registry {
    pub(super) fn live(&self) -> Vec<String> {
        let known = self.0.lock();
        let is_live = |id: &&String| known.by_id.get(*id).is_some_and(|it| !it.control.is_ended());
        known.order.iter().filter(is_live).cloned().collect()
    }

    fn next_id(&self) -> String {
        let mut known = self.0.lock();
        known.last_number += 1;
        format!("supervisor_{}", known.last_number)
    }

    fn is_free(&self, id: &str) -> bool {
        self.0.lock().by_id.get(id).is_none_or(|it| it.control.is_ended())
    }

    fn enter(&self, entry: Arc<Entry>) -> Result<(), Fault> {
        let mut known = self.0.lock();
        let id = entry.id.clone();
        if known.by_id.get(&id).is_some_and(|it| !it.control.is_ended()) {
            return Err(exists(&id));
        }
        if known.by_id.insert(id.clone(), entry).is_none() {
            known.order.push_back(id);
        }
        let ended: Vec<String> = {
            let has_ended = |id: &&String| known.by_id.get(*id).is_some_and(|it| it.control.is_ended());
            known.order.iter().filter(has_ended).cloned().collect()
        };
        for id in ended.iter().take(ended.len().saturating_sub(ENDED_MAX)) {
            known.by_id.remove(id);
            known.order.retain(|it| it != id);
        }
        Ok(())
    }

    fn find(&self, id: &str) -> Option<Arc<Entry>> {
        self.0.lock().by_id.get(id).cloned()
    }
}

fn exists(id: &str) -> Fault {
    Fault::thrown(format!("supervisor_start: supervisor '{id}' already exists"))
}

fn refused(text: String) -> Fault {
    Fault::thrown(format!("supervisor_start: {text}"))
}

/// A child as the spec says, before anything can start it.
struct Draft {
    name: Str,
    kind: Str,
    body: Value,
    lease: Value,
    policy: Policy,
}

#[derive(Clone)]
struct Policy {
    restart: Restart,
    cap: Option<Cap>,
    backoff: Backoff,
}

fn mode(name: &str) -> Result<Restart, Fault> {
    match name {
        "never" => Ok(Restart::Never),
        "on_failure" => Ok(Restart::OnFailure),
        "always" => Ok(Restart::Always),
        other => Err(refused(format!("unknown restart mode '{other}'"))),
    }
}

fn policy(value: Option<&Value>) -> Result<Option<Policy>, Fault> {
    let plain = |restart| Policy { restart, cap: None, backoff: Backoff::default() };
    match value {
        None | Some(Value::Nil) => Ok(None),
        Some(Value::String(name)) => mode(name.as_str()).map(plain).map(Some),
        Some(spec @ Value::Dict(_)) => {
            let restart = option_text(spec, "mode").map_or(Ok(Restart::OnFailure), |it| mode(it.as_str()))?;
            let time = |key: &str, default: u64| match option(spec, key) {
                None | Some(Value::Nil) => Ok(Duration::from_millis(default)),
                Some(it @ (Value::Int(_) | Value::Duration(_) | Value::Float(_))) => Ok(waiting_time(it)),
                Some(other) => Err(refused(format!("restart: {key} must be a number of milliseconds, got {other}"))),
            };
            let cap = match option(spec, "max_restarts") {
                None | Some(Value::Nil) => None,
                Some(Value::Int(max)) if *max >= 0 => Some(Cap {
                    max_restarts: u32::try_from(*max).unwrap_or(u32::MAX),
                    window: time("window_ms", 60_000)?,
                    circuit_open: match option(spec, "circuit_open_ms") {
                        None | Some(Value::Nil) => None,
                        Some(_) => Some(time("circuit_open_ms", 0)?),
                    },
                }),
                Some(other) => return Err(refused(format!("restart: max_restarts must be an int, got {other}"))),
            };
            let backoff = Backoff {
                first: time("backoff_ms", 0)?,
                factor: option(spec, "factor").and_then(Value::as_number).unwrap_or(2.0),
                max: time("max_backoff_ms", 30_000)?,
                jitter: time("jitter_ms", 0)?,
            };
            Ok(Some(Policy { restart, cap, backoff }))
        }
        Some(other) => Err(refused(format!("restart must be a mode or a dict, got {}", other.type_name()))),
    }
}

fn draft(spec: &Value, default: &Policy) -> Result<Draft, Fault> {
    let Value::Dict(dict) = spec else {
        return Err(refused(format!("children must be dicts, got {}", spec.type_name())));
    };
    let name = option_text(spec, "name").ok_or_else(|| refused("a child requires a name".to_owned()))?;
    let body = match dict.get("task") {
        Some(body @ Value::Closure(_)) => body.clone(),
        _ => return Err(refused(format!("child '{name}' requires a task closure"))),
    };
    let kind = option_text(spec, "kind").unwrap_or_else(|| Str::from("task"));
    let lease = dict.get("active_lease").cloned().unwrap_or_default();
    let policy = policy(dict.get("restart"))?.unwrap_or_else(|| default.clone());
    Ok(Draft { name, kind, body, lease, policy })
}

/// What the children of one supervisor are started with.
#[derive(Clone)]
struct Making {
    launcher: Arc<dyn Launch>,
    system: System<TaskFault>,
    id: String,
    grace: Duration,
}

impl Making {
    fn child(&self, draft: Draft, shutdown: Duration) -> ChildSpec<TaskFault> {
        let Draft { name, kind, body, policy, .. } = draft;
        let (making, child, shown) = (self.clone(), name.clone(), kind.clone());
        let start: StartChild<TaskFault> = Arc::new(move |start| making.start(&child, &shown, &body, start));
        let Policy { restart, cap, backoff } = policy;
        ChildSpec {
            kind: kind.as_str().into(),
            restart,
            cap,
            backoff,
            shutdown,
            ..ChildSpec::new(name.as_str(), start)
        }
    }

    fn start(
        &self,
        name: &Str,
        kind: &Str,
        body: &Value,
        start: ChildStart<TaskFault>,
    ) -> Result<Arc<dyn madrigal_runtime::process::Member<TaskFault>>, TaskFault> {
        let count = |it: u64| Value::Int(i64::try_from(it).unwrap_or(i64::MAX));
        let context = Value::dict([
            ("supervisor_id", Value::from(self.id.as_str())),
            ("child_name", Value::from(name.clone())),
            ("child_kind", Value::from(kind.clone())),
            ("attempt", count(start.attempt)),
            ("restart_count", count(start.restart_count)),
        ]);
        let task = TaskSpec::new(TaskKind::SUPERVISOR).label(name.as_str()).with_grace(self.grace);
        let spec = ProcessSpec { task, scope: Some(start.scope), seen: true, link: None };
        let spawned = self
            .system
            .spawn_with(spec, |cx, _: Process<Letter, TaskFault>| self.launcher.launch(body, &[context], cx, None));
        let spawned = spawned.map_err(|closed| TaskFault(Fault::thrown(closed.to_string())))?;
        Ok(spawned.pid().member())
    }
}

fn start(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let spec = match args.get(0) {
        spec @ Value::Dict(_) => spec,
        other => {
            return Err(Fault::type_error(format!("supervisor_start: expected a dict, got {}", other.type_name())));
        }
    };
    let strategy = match option_text(spec, "strategy") {
        None => Strategy::OneForOne,
        Some(it) => Strategy::from_name(it.as_str()).ok_or_else(|| refused(format!("unknown strategy '{it}'")))?,
    };
    let shutdown = match option(spec, "shutdown_ms") {
        None | Some(Value::Nil) => Duration::from_secs(5),
        Some(it) => waiting_time(it),
    };
    let default = policy(option(spec, "restart"))?.unwrap_or(Policy {
        restart: Restart::OnFailure,
        cap: None,
        backoff: Backoff::default(),
    });
    let drafts = match option(spec, "children") {
        Some(Value::List(children)) if !children.is_empty() => {
            children.iter().map(|it| draft(it, &default)).collect::<Result<Vec<_>, _>>()?
        }
        _ => return Err(refused("children must include at least one child".to_owned())),
    };
    let mut names = HashSet::new();
    if let Some(twice) = drafts.iter().find(|it| !names.insert(it.name.clone())) {
        return Err(refused(format!("duplicate child '{}'", twice.name)));
    }
    let host = host(cx);
    let registry = &host.run.tasks.processes.task_supervisors;
    let id = option_text(spec, "id").map_or_else(|| registry.next_id(), |it| it.to_string());
    if !registry.is_free(&id) {
        return Err(exists(&id));
    }
    let name = option_text(spec, "name").map_or_else(|| id.clone(), |it| it.to_string());
    let run = host.run.clone();
    let under = host.nodes.innermost().clone();
    let clock = host.context.runtime().clock().clone();
    let put = move |placing: Placing<'_>| {
        let grace = run.tasks.grace;
        let scope = (placing.scope)();
        let system = System::new(scope.clone());
        let making = Making { launcher: placing.launcher.share(), system, id: id.clone(), grace };
        let leases = drafts.iter().map(|it| (it.name.clone(), it.lease.clone())).collect();
        let children = drafts.into_iter().map(|it| making.child(it, shutdown)).collect();
        let settings = Settings {
            id: id.as_str().into(),
            name: name.as_str().into(),
            strategy,
            intensity: None,
            completes: true,
            forgets: false,
            keeps_events: true,
            logger: None,
        };
        let (supervisor, control) = Supervisor::new(settings, children);
        let entry = Entry { id: id.clone(), name: name.clone(), shutdown, leases, clock, control };
        run.tasks.processes.task_supervisors.enter(Arc::new(entry))?;
        // Twice the grace: its children have one each, and it ends after they did.
        let task = TaskSpec::new(TaskKind::SUPERVISOR).label(format!("supervisor:{id}")).with_grace(grace * 2);
        let spawned = scope.spawn(task.daemon().under(&under), |context| async move {
            match supervisor.run(context.clone()).await {
                ChildEnd::Escalated(error) => Ended::Failed(error),
                ChildEnd::MaxRestarts => Ended::Failed(TaskFault(Fault::thrown("max_restarts"))),
                ChildEnd::Stopped(_) if context.is_cancelled() => {
                    let unknown = || CancelReason::new(CancelKind::Shutdown, "");
                    Ended::Cancelled(context.cancel_reason().unwrap_or_else(unknown))
                }
                ChildEnd::Stopped(_) | ChildEnd::Completed => Ended::Ok(Value::Nil),
            }
        });
        spawned.map_err(|closed| Fault::thrown(closed.to_string()))?;
        Ok(Value::dict([("_type", Value::from("supervisor")), ("id", Value::from(id)), ("name", Value::from(name))]))
    };
    Ok(place(Value::Nil, put).into())
}

fn entry(name: &str, host: &TaskHost, value: &Value) -> Result<Arc<Entry>, Fault> {
    let id = match value {
        Value::String(id) => id.clone(),
        Value::Dict(_) => option_text(value, "id").unwrap_or_else(|| Str::from("")),
        other => {
            let got = other.type_name();
            return Err(Fault::type_error(format!("{name}: expected a supervisor or its id, got {got}")));
        }
    };
    let known = host.run.tasks.processes.task_supervisors.find(id.as_str());
    known.ok_or_else(|| Fault::thrown(format!("{name}: unknown supervisor '{id}'")))
}

fn count(value: u64) -> Value {
    Value::Int(i64::try_from(value).unwrap_or(i64::MAX))
}

fn metrics_value(metrics: Metrics) -> Value {
    let Metrics { started, stopped, failed, restarted, suppressed, escalated } = metrics;
    Value::dict([
        ("started", count(started)),
        ("stopped", count(stopped)),
        ("failed", count(failed)),
        ("restarted", count(restarted)),
        ("suppressed", count(suppressed)),
        ("escalated", count(escalated)),
    ])
}

fn error_value(reason: &Reason<TaskFault>) -> Value {
    match &reason.detail {
        Detail::Error(fault) => fault.0.caught(),
        Detail::None | Detail::Reason(_) => reason_value(reason),
    }
}

impl Entry {
    fn state(&self) -> Value {
        let report = self.control.report();
        let children = report.children.iter().map(|it| self.child(it)).collect();
        Value::dict([
            ("id", Value::from(self.id.as_str())),
            ("name", Value::from(self.name.as_str())),
            ("status", Value::from(report.status.as_str())),
            ("strategy", Value::from(report.strategy.as_str())),
            ("metrics", metrics_value(report.metrics)),
            ("children", Value::list(children)),
        ])
    }

    fn child(&self, child: &ChildReport<TaskFault>) -> Value {
        let due = child.due_ns.map(|due| {
            let left = due.saturating_sub(self.clock.now_ns()) / 1_000_000;
            Value::Int(self.clock.wall_ms().saturating_add(i64::try_from(left).unwrap_or(i64::MAX)))
        });
        Value::dict([
            ("name", Value::from(&*child.id)),
            ("kind", Value::from(&*child.kind)),
            ("status", Value::from(child.state.as_str())),
            ("restart_count", count(child.restart_count)),
            ("last_error", child.last_error.as_ref().map(error_value).unwrap_or_default()),
            ("current_wait_reason", child.wait.map_or(Value::Nil, |it| Value::from(it.as_str()))),
            ("active_lease", self.leases.get(&*child.id).cloned().unwrap_or_default()),
            ("next_restart_time", due.unwrap_or_default()),
        ])
    }

    fn event(&self, event: &SupervisorEvent<TaskFault>) -> Value {
        let message = match (&event.reason, event.kind) {
            (Some(reason), EventKind::ChildFailed | EventKind::ChildEscalated) => {
                failure_of(reason).map_or_else(String::new, |it| it.caught().to_string())
            }
            _ => event.message.clone(),
        };
        Value::dict([
            ("seq", count(event.seq)),
            ("at_ms", Value::Int(event.at_ms)),
            ("supervisor_id", Value::from(self.id.as_str())),
            ("child", event.child.as_ref().map_or(Value::Nil, |it| Value::from(&**it))),
            ("kind", Value::from(event.kind.as_str())),
            ("message", Value::from(message)),
        ])
    }
}

fn state(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(entry("supervisor_state", host(cx), args.get(0))?.state())
}

fn events(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let entry = entry("supervisor_events", host(cx), args.get(0))?;
    Ok(Value::list(entry.control.events().iter().map(|it| entry.event(it)).collect()))
}

fn metrics(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(metrics_value(entry("supervisor_metrics", host(cx), args.get(0))?.control.report().metrics))
}

fn stop(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let entry = entry("supervisor_stop", host(cx), args.get(0))?;
    let limit = match args.get(1) {
        Value::Nil => entry.shutdown,
        it @ (Value::Int(_) | Value::Duration(_) | Value::Float(_)) => waiting_time(it),
        other => {
            let got = other.type_name();
            return Err(Fault::type_error(format!(
                "supervisor_stop: timeout must be a duration or int milliseconds, got {got}"
            )));
        }
    };
    entry.control.stop(Reason::shutdown(), Some(limit));
    Ok(Wait::new("supervisor_stop", async move {
        entry.control.ended().await;
        Ok(entry.state())
    })
    .into())
}
