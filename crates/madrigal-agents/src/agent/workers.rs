//! Sub-agents: loops in sessions of their own, waited for at once or running as tasks beside their parent.

use super::Agent;
use super::options::AgentOptions;
use crate::builtins::call_cx;
use crate::failure::LlmError;
use crate::job::{Asker, job};
use crate::messages::{field, some, text_field};
use crate::models::{Models, host};
use crate::options::Given;
use crate::sessions;
use crate::tools::entries_of;
use crate::transport::CallCx;
use madrigal_runtime::inbox::{InboxHub, NewEntry};
use madrigal_stdlib::concurrency::SessionFields;
use madrigal_stdlib::{Run, json};
use madrigal_vm::{Args, Cx, Dict, Fault, Str, Value};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

madrigal_vm::builtins! {
    /// A job that runs a sub-agent and tells how it went.
    "__sub_agent" (task: string, options: dict) -> any = sub_agent;
    /// A worker and the job of its next cycle.
    "__worker_cycle" (worker: any, task: string) -> any = worker_cycle;
    /// A new worker; its id.
    "__worker_open" (config: dict) -> string = worker_open;
    /// Remembers the task that runs a worker.
    "__worker_started" (worker: any, task: any) -> dict = worker_started;
    /// The task that runs a worker; with `waited` its end is not told to the parent's inbox.
    "__worker_task" (worker: any, waited: bool) -> any = worker_task;
    /// A worker as it is now.
    "__worker" (worker: any) -> dict = worker;
    /// Marks a worker as cancelled.
    "__worker_closed" (worker: any) -> dict = worker_closed;
    /// Gives a worker another session.
    "__worker_session" (worker: any, session_id: string) -> nil = worker_session;
    /// A worker as its summary says; its summary.
    "__worker_restore" (summary: dict) -> dict = worker_restore;
    /// All workers of this run.
    "list_agents" () -> list = list_agents;
}

/// Options that belong to the worker, not to its loop.
const OWN: [&str; 12] = [
    "max_agent_depth",
    "name",
    "task",
    "system",
    "options",
    "wait",
    "carry",
    "node",
    "background",
    "allowed_tools",
    "returns",
    "detached",
];

#[derive(Clone)]
struct Worker {
    name: String,
    task: String,
    status: &'static str,
    config: Dict,
    session_id: String,
    parent_session_id: Option<String>,
    root_session_id: String,
    started_at: i64,
    finished_at: Option<i64>,
    result: Value,
    error: Value,
    /// The task of its current cycle.
    running: Value,
    waited: bool,
}

impl Worker {
    fn is_retriggerable(&self) -> bool {
        some(&self.config, "carry").and_then(|it| field(it, "retriggerable")).is_some_and(Value::is_truthy)
    }

    /// What it was asked for, as far as it can be written down.
    fn request(&self) -> Value {
        let kept =
            self.config.iter().filter(|(key, it)| !it.is_callable() && !matches!(key.as_str(), "tools" | "task"));
        let task = (Str::from("task"), Value::from(self.task.as_str()));
        Value::Dict(kept.map(|(key, it)| (key.clone(), it.clone())).chain([task]).collect())
    }
}

/// The workers of a run.
#[derive(Default)]
pub struct Workers(Mutex<BTreeMap<String, Worker>>);

/// The options of a sub-agent's loop.
fn loop_options(config: &Dict) -> Result<Dict, LlmError> {
    let mut options = match some(config, "options") {
        Some(Value::Dict(it)) => it.clone(),
        _ => Dict::new(),
    };
    for (key, value) in config.iter().filter(|it| !OWN.contains(&it.0.as_str())) {
        options.insert(key.clone(), value.clone());
    }
    if let Some(schema) = some(config, "returns").and_then(|it| field(it, "schema")) {
        options.insert(Str::from("output_schema"), schema.clone());
        options.insert(Str::from("output_validation"), Value::from("error"));
    }
    if let Some(Value::List(allowed)) = some(config, "allowed_tools")
        && let Some(tools) = some(&options, "tools")
    {
        let mut entries = entries_of(tools)?;
        entries.retain(|it| allowed.iter().any(|name| name.as_str() == text_field(it, "name")));
        options.insert(Str::from("tools"), Value::list(entries));
    }
    Ok(options)
}

/// Runs a loop in a session; what it gives.
async fn run_loop(
    cx: CallCx,
    hub: InboxHub,
    task: String,
    config: Dict,
    session_id: String,
    current: Option<String>,
) -> Result<Value, LlmError> {
    let system = some(&config, "system").map(ToString::to_string);
    let mut given = Given { prompt: task, system, options: loop_options(&config)? };
    let options = AgentOptions::of(&cx, &mut given)?;
    let lease = cx.models.sessions.lease(&cx.run, &hub, session_id, false, current).await?;
    Agent::new(cx, &given, options, None, lease).run(&given).await
}

fn sub_agent(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let (task, config) = (args.string(0).to_string(), args.dict(1).cloned().unwrap_or_default());
    let call_cx = call_cx(cx);
    let parent = sessions::current(host(cx));
    let hub = madrigal_stdlib::inbox::hub(host(cx)).clone();
    check_depth(&call_cx.models, &config, parent.as_deref())?;
    let id = session_of(&call_cx.run, &config, "sub");
    call_cx.models.sessions.open_child(&call_cx.run, &hub, &id, parent.as_deref());
    sessions::enter(host(cx), Value::from(id.as_str()));
    Ok(job(move |asker: Asker| async move {
        let cx = CallCx { asker, ..call_cx };
        let ran = run_loop(cx, hub, task, config, id.clone(), parent.clone()).await;
        Ok(envelope(ran, &id, parent.as_deref()))
    }))
}

/// Agents that may be within one another, unless the options say otherwise.
const DEPTH_MAX: i64 = 8;

/// Whether one agent more may be started from a session.
fn check_depth(models: &Models, config: &Dict, parent: Option<&str>) -> Result<(), Fault> {
    let given = some(config, "options").and_then(|it| field(it, "max_agent_depth"));
    let most = some(config, "max_agent_depth").or(given).and_then(Value::as_int).unwrap_or(DEPTH_MAX);
    let depth = parent.map_or(0, |it| models.sessions.depth(it)) + 1;
    let fits = i64::try_from(depth).is_ok_and(|it| it <= most);
    fits.then_some(()).ok_or_else(|| Fault::thrown(format!("agent depth limit of {most} exceeded")))
}

fn session_of(run: &Run, config: &Dict, prefix: &str) -> String {
    let options = some(config, "options").and_then(|it| field(it, "session_id"));
    let given = some(config, "session_id").or(options);
    given.map_or_else(|| sessions::fresh_id(run, prefix), ToString::to_string)
}

/// How a sub-agent did.
fn envelope(ran: Result<Value, LlmError>, id: &str, parent: Option<&str>) -> Value {
    let mut fields = vec![
        ("artifacts", Value::list(Vec::new())),
        ("evidence_added", Value::Int(0)),
        ("session_id", Value::from(id)),
        ("parent_session_id", parent.map_or(Value::Nil, Value::from)),
    ];
    let error = |category: &str, message: &str, tool: Option<&Value>| {
        let mut error = vec![("category", Value::from(category)), ("message", Value::from(message))];
        error.extend(tool.map(|it| ("tool", it.clone())));
        Value::dict(error)
    };
    match ran {
        Err(failure) => fields.extend([
            ("ok", Value::Bool(false)),
            ("summary", Value::from("")),
            ("tokens_used", Value::Int(0)),
            ("budget_exceeded", Value::Bool(false)),
            ("transcript", Value::Nil),
            ("error", error(failure.category, &failure.message, None)),
        ]),
        Ok(result) => {
            let status = text_field(&result, "status").unwrap_or_default().to_owned();
            let tools = field(&result, "tools").cloned().unwrap_or_default();
            let count = |of: &str, key: &str| {
                field(&result, of).and_then(|it| field(it, key)).and_then(Value::as_int).unwrap_or(0)
            };
            let rejected = crate::messages::items(field(&tools, "rejected"));
            let nothing_done = crate::messages::items(field(&tools, "successful")).is_empty();
            let denied = rejected.first().filter(|_| nothing_done);
            let exceeded = status == "budget_exhausted";
            let ok = status == "done" && denied.is_none();
            fields.extend([
                ("ok", Value::Bool(ok)),
                ("summary", field(&result, "visible_text").cloned().unwrap_or_default()),
                ("data", field(&result, "data").cloned().unwrap_or_default()),
                ("tokens_used", Value::Int(count("llm", "input_tokens") + count("llm", "output_tokens"))),
                ("budget_exceeded", Value::Bool(exceeded)),
                ("transcript", field(&result, "transcript").cloned().unwrap_or_default()),
            ]);
            if let Some(tool) = denied {
                let message = format!("the tool '{tool}' was denied");
                fields.push(("error", error("permission_denied", &message, Some(tool))));
            } else if !ok {
                let category = if exceeded { "budget_exceeded" } else { "generic" };
                fields.push(("error", error(category, &format!("the loop ended with status {status}"), None)));
            }
        }
    }
    Value::dict(fields)
}

fn models(cx: &mut Cx<'_>) -> (Arc<Run>, Arc<Models>) {
    let run = host(cx).run.clone();
    let models = Models::of(&run);
    (run, models)
}

fn worker_open(cx: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    let (run, models) = models(cx);
    let mut config = args.dict(0).cloned().ok_or_else(|| Fault::thrown("spawn_agent: expected a dict with a task"))?;
    let task = some(&config, "task").map(ToString::to_string).filter(|it| !it.is_empty());
    let task = task.ok_or_else(|| Fault::thrown("spawn_agent: task is required"))?;
    if let Some(Value::Dict(node)) = some(&config, "node").cloned() {
        for (key, value) in
            node.iter().filter(|it| it.0.as_str() == "tools" && !config.has("tools")).collect::<Vec<_>>()
        {
            config.insert(key.clone(), value.clone());
        }
    }
    let id = format!("worker-{}", run.next_id());
    let parent = sessions::current(host(cx));
    check_depth(&models, &config, parent.as_deref())?;
    let session_id = session_of(&run, &config, "worker");
    let worker = Worker {
        name: some(&config, "name").map_or_else(|| id.clone(), ToString::to_string),
        task,
        status: "running",
        root_session_id: parent.as_deref().map_or(session_id.clone(), |it| root_of(&models, it)),
        session_id,
        config,
        parent_session_id: parent,
        started_at: run.now_ms(),
        finished_at: None,
        result: Value::Nil,
        error: Value::Nil,
        running: Value::Nil,
        waited: false,
    };
    models.workers.0.lock().insert(id.clone(), worker);
    Ok(id)
}

fn id_of(args: &Args<'_>) -> String {
    field(args.get(0), "id").map_or_else(|| args.string(0).to_string(), ToString::to_string)
}

fn unknown(id: &str) -> Fault {
    Fault::thrown(format!("unknown worker '{id}'"))
}

fn worker_cycle(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let (run, models) = models(cx);
    let id = id_of(&args);
    let hub = madrigal_stdlib::inbox::hub(host(cx)).clone();
    let worker = {
        let mut workers = models.workers.0.lock();
        let worker = workers.get_mut(&id).ok_or_else(|| unknown(&id))?;
        if !args.get(1).is_nil() {
            worker.task = args.string(1).to_string();
        }
        (worker.status, worker.finished_at, worker.waited) = ("running", None, false);
        worker.clone()
    };
    models.sessions.open_child(&run, &hub, &worker.session_id, worker.parent_session_id.as_deref());
    sessions::enter(host(cx), Value::from(worker.session_id.as_str()));
    let known = vec![
        ("worker_id", Value::from(id.as_str())),
        ("agent_name", Value::from(worker.name.as_str())),
        ("parent_agent_session_id", worker.parent_session_id.as_deref().map_or(Value::Nil, Value::from)),
        ("root_agent_session_id", Value::from(worker.root_session_id.as_str())),
    ];
    run.extension(SessionFields::default).0.lock().insert(worker.session_id.clone(), known);
    let call_cx = call_cx(cx);
    Ok(job(move |asker: Asker| async move {
        let cx = CallCx { asker, ..call_cx };
        let Worker { task, config, session_id, parent_session_id, .. } = worker;
        let ran = run_loop(cx, hub.clone(), task, config, session_id, parent_session_id).await;
        finish(&run, &models, &hub, &id, ran);
        Ok(Value::Nil)
    }))
}

/// Keeps what a worker gave, and tells its parent unless somebody waits for it.
fn finish(run: &Run, models: &Models, hub: &InboxHub, id: &str, ran: Result<Value, LlmError>) {
    let told = {
        let mut workers = models.workers.0.lock();
        let Some(worker) = workers.get_mut(id) else { return };
        (worker.status, worker.result, worker.error) = match ran {
            Ok(result) if worker.is_retriggerable() => ("awaiting", result, Value::Nil),
            Ok(result) => ("completed", result, Value::Nil),
            Err(error) => ("failed", Value::Nil, error.to_value()),
        };
        worker.finished_at = Some(run.now_ms());
        let parent = worker.parent_session_id.clone().filter(|_| !worker.waited);
        parent.map(|it| (it, summary(id, worker)))
    };
    if let Some((parent, summary)) = told
        && hub.find(&parent).is_some()
    {
        // A parent whose inbox is full finds the result with the worker.
        let _ =
            hub.try_push(&parent, NewEntry::new("worker_result", json::stringify(&summary), format!("worker:{id}")));
    }
}

/// A worker as scripts see it.
fn summary(id: &str, worker: &Worker) -> Value {
    let parent = worker.parent_session_id.as_deref().map_or(Value::Nil, Value::from);
    let time = |it: i64| Value::from(madrigal_stdlib::time::rfc3339(it));
    Value::dict([
        ("_type", Value::from("worker")),
        ("id", Value::from(id)),
        ("name", Value::from(worker.name.as_str())),
        ("mode", Value::from("sub_agent")),
        ("status", Value::from(worker.status)),
        ("task", Value::from(worker.task.as_str())),
        ("session_id", Value::from(worker.session_id.as_str())),
        ("parent_session_id", parent),
        ("root_session_id", Value::from(worker.root_session_id.as_str())),
        ("created_at", time(worker.started_at)),
        ("started_at", time(worker.started_at)),
        ("finished_at", worker.finished_at.map_or(Value::Nil, time)),
        ("result", worker.result.clone()),
        ("error", worker.error.clone()),
        ("has_transcript", Value::Bool(!worker.result.is_nil())),
        ("carry_policy", some(&worker.config, "carry").cloned().unwrap_or_default()),
        ("request", worker.request()),
        ("provenance", Value::dict([("worker_id", Value::from(id))])),
    ])
}

fn with_worker<T>(cx: &mut Cx<'_>, id: &str, act: impl FnOnce(&mut Worker) -> T) -> Result<T, Fault> {
    let (_, models) = models(cx);
    let mut workers = models.workers.0.lock();
    workers.get_mut(id).map(act).ok_or_else(|| unknown(id))
}

fn worker_started(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let (id, task) = (id_of(&args), args.get(1).clone());
    with_worker(cx, &id.clone(), |it| {
        it.running = task;
        summary(&id, it)
    })
}

fn worker_task(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let waited = args.get(1).is_truthy();
    with_worker(cx, &id_of(&args), |it| {
        it.waited |= waited;
        it.running.clone()
    })
}

fn worker(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let id = id_of(&args);
    with_worker(cx, &id.clone(), |it| summary(&id, it))
}

fn worker_closed(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let (run, _) = models(cx);
    let id = id_of(&args);
    with_worker(cx, &id.clone(), |it| {
        if it.finished_at.is_none() {
            (it.status, it.finished_at) = ("cancelled", Some(run.now_ms()));
        }
        summary(&id, it)
    })
}

fn root_of(models: &Models, session: &str) -> String {
    models.sessions.root(session).unwrap_or_else(|| session.to_owned())
}

fn worker_session(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    let session = args.string(1).to_string();
    with_worker(cx, &id_of(&args), |it| it.session_id = session)
}

fn worker_restore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let summary = args.dict(0).filter(|it| some(it, "_type").and_then(Value::as_str) == Some("worker"));
    let summary = summary.ok_or_else(|| Fault::thrown("resume_agent: the file does not hold a worker"))?.clone();
    let text = |key: &str| some(&summary, key).map(ToString::to_string);
    let (run, models) = models(cx);
    let hub = madrigal_stdlib::inbox::hub(host(cx)).clone();
    let id = text("id").unwrap_or_else(|| format!("worker-{}", run.next_id()));
    let session_id = text("session_id").unwrap_or_else(|| sessions::fresh_id(&run, "worker"));
    let result = some(&summary, "result").cloned().unwrap_or_default();
    if !models.sessions.is_open(&session_id) {
        models.sessions.open_child(&run, &hub, &session_id, None);
        let messages = field(&result, "transcript").and_then(|it| field(it, "messages"));
        models.sessions.append(&run, &session_id, crate::messages::items(messages));
    }
    let status = match text("status").as_deref() {
        Some("completed") => "completed",
        Some("failed") => "failed",
        Some("cancelled") => "cancelled",
        _ => "awaiting",
    };
    let worker = Worker {
        name: text("name").unwrap_or_else(|| id.clone()),
        task: text("task").unwrap_or_default(),
        status,
        config: match some(&summary, "request") {
            Some(Value::Dict(it)) => it.clone(),
            _ => Dict::new(),
        },
        parent_session_id: text("parent_session_id"),
        root_session_id: text("root_session_id").unwrap_or_else(|| session_id.clone()),
        session_id,
        started_at: run.now_ms(),
        finished_at: Some(run.now_ms()),
        result,
        error: some(&summary, "error").cloned().unwrap_or_default(),
        running: Value::Nil,
        waited: false,
    };
    let shown = self::summary(&id, &worker);
    models.workers.0.lock().insert(id, worker);
    Ok(shown)
}

fn list_agents(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Value, Fault> {
    let (_, models) = models(cx);
    let workers = models.workers.0.lock();
    Ok(Value::list(workers.iter().map(|(id, it)| summary(id, it)).collect()))
}
