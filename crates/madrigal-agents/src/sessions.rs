//! Sessions: what was said, under a name, from one loop to the next. In memory. One loop at a time works on a session;
//! others wait in the order in which they came.

use crate::failure::LlmError;
use crate::messages::{items, normalised, some, text_field};
use crate::models::{Models, host};
use crate::transcript;
use madrigal_runtime::inbox::{Inbox, InboxHub};
use madrigal_runtime::sync::{Lock, LockGuard};
use madrigal_stdlib::concurrency::SessionFields;
use madrigal_stdlib::process::Commands;
use madrigal_stdlib::task::SESSION;
use madrigal_stdlib::{Run, TaskHost, inbox};
use madrigal_vm::{Args, Cx, Dict, Fault, Str, Value};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

madrigal_vm::builtins! {
    /// Opens a session, or gives the one of that name; its name.
    "agent_session_open" (id: string, options: dict) -> string = open;
    /// Whether there is such a session.
    "agent_session_exists" (id: string) -> bool = exists;
    /// Number of messages of a session.
    "agent_session_length" (id: string) -> int = length;
    /// The session whose loop this task runs in.
    "agent_session_current_id" () -> string = current_id;
    /// Adds a message to a session.
    "agent_session_inject" (id: string, message: dict) -> nil = inject;
    /// Everything about a session; nil when there is none.
    "agent_session_snapshot" (id: string) -> dict = snapshot;
    /// Copies a session; the name of the copy.
    "agent_session_fork" (source: string, target: string) -> string = fork;
    /// Copies the first messages of a session; the name of the copy.
    "agent_session_fork_at" (source: string, keep_first: int, target: string) -> string = fork_at;
    /// Where a session comes from; nil when there is none.
    "agent_session_ancestry" (id: string) -> dict = ancestry;
    /// Empties a session.
    "agent_session_reset" (id: string) -> nil = reset;
    /// Keeps the last messages of a session; how many.
    "agent_session_trim" (id: string, keep_last: int) -> int = trim;
    /// Opens a closed session again; everything about it.
    "agent_session_resume" (id: string) -> dict = resume;
    /// Ends a session.
    "agent_session_close" (id: string, options: dict) -> nil = close;
    /// Has a closure called with every event of a session.
    "agent_subscribe" (id: string, subscriber: closure) -> nil = subscribe;
    /// Summaries of sessions, newest first.
    "agent_session_list" (options: dict) -> list = list;
}

#[derive(Clone, Default)]
struct Session {
    parent_id: Option<String>,
    child_ids: Vec<String>,
    root_id: String,
    branched_at: Option<i64>,
    /// How many agents are around its own.
    depth: u64,
    created_ms: i64,
    updated_ms: i64,
    /// In the order of opening.
    number: u64,
    metadata: Dict,
    recorded: Vec<Value>,
    visible: Vec<Value>,
    events: Vec<Value>,
    summary: Option<String>,
    lock: Lock,
    /// Keeps its inbox open.
    inbox: Option<Arc<Inbox>>,
    /// Closures that hear of its events.
    subscribers: Vec<Value>,
}

/// The sessions of a run: the open ones, and those that were closed and can be resumed.
#[derive(Default)]
pub struct Sessions(Mutex<BTreeMap<String, Session>>, Mutex<BTreeMap<String, Session>>);

/// A session that a loop works on, until it is dropped.
pub struct Lease {
    /// Its name.
    pub id: String,
    /// Where it comes from.
    pub parent_id: Option<String>,
    /// Where the first of its line comes from.
    pub root_id: String,
    run: Arc<Run>,
    session: Session,
    stored: bool,
    /// What reaches the loop from outside.
    pub inbox: Inbox,
    _guard: Option<LockGuard>,
}

/// The session whose loop a task runs in.
pub fn current(host: &TaskHost) -> Option<String> {
    host.session.as_deref().map(str::to_owned)
}

/// Makes a session the current one of a task; nil goes back to none.
pub fn enter(host: &mut TaskHost, id: Value) {
    let values = host.values.get_or_insert_default();
    match id {
        Value::Nil => {
            values.remove(SESSION);
            host.session = None;
        }
        id => {
            host.session = Some(Arc::from(id.to_string()));
            *values.slot(&Str::from(SESSION)) = id;
        }
    }
}

/// A name that no other session has.
pub fn fresh_id(run: &Run, prefix: &str) -> String {
    let random = run.random(|it| (it.fraction() * 4_294_967_296.0) as u64);
    format!("{prefix}-{:x}-{random:08x}", run.next_id())
}

impl Sessions {
    /// Waits for a session and takes it. Dropping the future leaves the queue.
    pub async fn lease(
        &self,
        run: &Arc<Run>,
        hub: &InboxHub,
        id: String,
        is_anonymous: bool,
        current: Option<String>,
    ) -> Result<Lease, LlmError> {
        if is_anonymous {
            return Ok(Lease {
                parent_id: None,
                root_id: id.clone(),
                inbox: hub.open(&id),
                id,
                run: run.clone(),
                session: Session::default(),
                stored: false,
                _guard: None,
            });
        }
        let lock = self.opened(run, hub, &id).lock;
        let busy = || LlmError::invalid("session is busy");
        if current.as_deref() == Some(id.as_str()) {
            return Err(busy());
        }
        let guard = lock.acquire().await.map_err(|_| busy())?;
        let session = self.opened(run, hub, &id);
        Ok(Lease {
            parent_id: session.parent_id.clone(),
            root_id: session.root_id.clone(),
            inbox: hub.open(&id),
            id,
            run: run.clone(),
            session,
            stored: true,
            _guard: Some(guard),
        })
    }

    fn opened(&self, run: &Run, hub: &InboxHub, id: &str) -> Session {
        let mut sessions = self.0.lock();
        let number = run.next_id();
        let make = || Session {
            root_id: id.to_owned(),
            created_ms: run.now_ms(),
            updated_ms: run.now_ms(),
            number,
            inbox: Some(Arc::new(hub.open(id))),
            ..Session::default()
        };
        sessions.entry(id.to_owned()).or_insert_with(make).clone()
    }

    /// Opens a session that comes from another.
    pub fn open_child(&self, run: &Run, hub: &InboxHub, id: &str, parent: Option<&str>) {
        self.opened(run, hub, id);
        let Some(parent) = parent else {
            self.with(id, |it| it.depth = 1);
            return;
        };
        let root = self.with(parent, |it| {
            if !it.child_ids.iter().any(|child| child == id) {
                it.child_ids.push(id.to_owned());
            }
            (it.root_id.clone(), it.depth)
        });
        let (root, depth) = root.unzip();
        self.with(id, |it| {
            it.depth = depth.unwrap_or(0) + 1;
            it.parent_id.get_or_insert_with(|| parent.to_owned());
            it.root_id = root.unwrap_or_else(|| parent.to_owned());
        });
    }

    /// How many agents are around that of a session.
    pub fn depth(&self, id: &str) -> u64 {
        self.with(id, |it| it.depth).unwrap_or(0)
    }

    /// Where the line of a session begins; nothing when it is not open.
    pub fn root(&self, id: &str) -> Option<String> {
        self.with(id, |it| it.root_id.clone())
    }

    /// What a session's next request is built from; it is opened if there is none.
    pub fn visible(&self, run: &Run, hub: &InboxHub, id: &str) -> Vec<Value> {
        self.opened(run, hub, id).visible
    }

    /// Adds messages to a session.
    pub fn append(&self, run: &Run, id: &str, messages: &[Value]) {
        self.with(id, |it| {
            it.visible.extend_from_slice(messages);
            it.recorded.extend_from_slice(messages);
            it.updated_ms = run.now_ms();
        });
    }

    /// Whether there is such a session.
    pub fn is_open(&self, id: &str) -> bool {
        self.0.lock().contains_key(id)
    }

    /// Notes a summary of what was said before.
    pub fn summarized(&self, id: &str, summary: String) {
        self.with(id, |it| it.summary = Some(summary));
    }

    fn with<T>(&self, id: &str, act: impl FnOnce(&mut Session) -> T) -> Option<T> {
        self.0.lock().get_mut(id).map(act)
    }
}

impl Lease {
    /// What the next request is built from.
    pub fn visible(&self) -> Vec<Value> {
        self.session.visible.clone()
    }

    /// Who hears of its events.
    pub fn subscribers(&self) -> Vec<Value> {
        self.session.subscribers.clone()
    }

    /// Everything that was said.
    pub fn recorded(&self) -> Vec<Value> {
        self.session.recorded.clone()
    }

    /// Keeps what the loop added.
    pub fn store(&self, visible: &[Value], recorded: &[Value], events: &[Value]) {
        if !self.stored {
            return;
        }
        let models = Models::of(&self.run);
        models.sessions.with(&self.id, |session| {
            session.visible = visible.to_vec();
            session.recorded = recorded.to_vec();
            session.events.extend_from_slice(events);
            session.updated_ms = self.run.now_ms();
        });
    }
}

fn models(cx: &mut Cx<'_>) -> (Arc<Run>, Arc<Models>) {
    let run = host(cx).run.clone();
    let models = Models::of(&run);
    (run, models)
}

fn unknown(name: &str, id: &str) -> Fault {
    Fault::thrown(format!("{name}: unknown session '{id}'"))
}

fn open(cx: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    let (run, models) = models(cx);
    let id = match args.get(0) {
        Value::Nil => fresh_id(&run, "session"),
        id => id.to_string(),
    };
    let hub = inbox::hub(host(cx)).clone();
    models.sessions.opened(&run, &hub, &id);
    if let Some(Value::Dict(metadata)) = args.dict(1).and_then(|it| some(it, "metadata")) {
        models.sessions.with(&id, |it| it.metadata = metadata.clone());
    }
    Ok(id)
}

fn exists(cx: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    Ok(models(cx).1.sessions.with(&args.string(0), |_| ()).is_some())
}

fn length(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let id = args.string(0);
    let count = models(cx).1.sessions.with(&id, |it| it.visible.len());
    count.map(Value::from).ok_or_else(|| unknown("agent_session_length", &id))
}

fn current_id(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Value, Fault> {
    Ok(current(host(cx)).map_or(Value::Nil, Value::from))
}

fn inject(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    let (run, models) = models(cx);
    let id = args.string(0);
    let added = normalised(std::slice::from_ref(args.get(1)))?;
    let result = models.sessions.with(&id, |session| {
        for message in &added {
            let answers = text_field(message, "tool_call_id");
            let asked = |it: &Value| {
                items(crate::messages::field(it, "tool_calls")).iter().any(|call| text_field(call, "id") == answers)
            };
            if text_field(message, "role") == Some("tool") && !session.visible.iter().any(asked) {
                return Err(Fault::thrown("agent_session_inject: a tool message must answer a call"));
            }
            session.visible.push(message.clone());
            session.recorded.push(message.clone());
        }
        session.updated_ms = run.now_ms();
        Ok(())
    });
    result.ok_or_else(|| unknown("agent_session_inject", &id))?
}

fn optional(text: &Option<String>) -> Value {
    text.as_deref().map_or(Value::Nil, Value::from)
}

fn names(list: &[String]) -> Value {
    Value::list(list.iter().map(|it| Value::from(it.as_str())).collect())
}

fn snapshot(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let id = args.string(0);
    let shown = models(cx).1.sessions.with(&id, |it| {
        let base = transcript::with_events(&id, it.visible.clone(), it.events.clone(), it.summary.as_deref());
        let Value::Dict(mut dict) = base else { return Value::Nil };
        for (key, value) in [
            ("metadata", Value::Dict(it.metadata.clone())),
            ("parent_id", optional(&it.parent_id)),
            ("child_ids", names(&it.child_ids)),
            ("root_id", Value::from(it.root_id.as_str())),
            ("branched_at_event_index", it.branched_at.map_or(Value::Nil, Value::Int)),
            ("created_ms", Value::Int(it.created_ms)),
            ("updated_ms", Value::Int(it.updated_ms)),
            ("pending_inbox", Value::from(it.inbox.as_ref().map_or(0, |it| it.pending_count()))),
        ] {
            dict.insert(key.into(), value);
        }
        Value::Dict(dict)
    });
    Ok(shown.unwrap_or_default())
}

fn fork_of(cx: &mut Cx<'_>, name: &str, source: &str, target: &Value, keep: Option<i64>) -> Result<String, Fault> {
    let (run, models) = models(cx);
    let target = match target {
        Value::Nil => fresh_id(&run, "session"),
        id => id.to_string(),
    };
    let hub = inbox::hub(host(cx)).clone();
    let mut sessions = models.sessions.0.lock();
    if sessions.contains_key(&target) {
        return Err(Fault::thrown(format!("{name}: session '{target}' exists")));
    }
    let origin = sessions.get_mut(source).ok_or_else(|| unknown(name, source))?;
    origin.child_ids.push(target.clone());
    let mut copy = Session {
        parent_id: Some(source.to_owned()),
        child_ids: Vec::new(),
        branched_at: keep,
        created_ms: run.now_ms(),
        updated_ms: run.now_ms(),
        number: run.next_id(),
        lock: Lock::default(),
        inbox: Some(Arc::new(hub.open(&target))),
        subscribers: Vec::new(),
        ..origin.clone()
    };
    if let Some(keep) = keep.map(|it| usize::try_from(it).unwrap_or(0)) {
        copy.visible.truncate(keep);
        copy.recorded.truncate(keep);
    }
    sessions.insert(target.clone(), copy);
    Ok(target)
}

fn fork(cx: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    fork_of(cx, "agent_session_fork", &args.string(0), args.get(1), None)
}

fn fork_at(cx: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    let keep = args.int(1).unwrap_or(0).max(0);
    fork_of(cx, "agent_session_fork_at", &args.string(0), args.get(2), Some(keep))
}

fn ancestry(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let shown = models(cx).1.sessions.with(&args.string(0), |it| {
        Value::dict([
            ("parent_id", optional(&it.parent_id)),
            ("child_ids", names(&it.child_ids)),
            ("root_id", Value::from(it.root_id.as_str())),
        ])
    });
    Ok(shown.unwrap_or_default())
}

fn reset(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    let id = args.string(0);
    let done = models(cx).1.sessions.with(&id, |it| {
        it.visible.clear();
        it.recorded.clear();
        it.events.clear();
        it.summary = None;
    });
    done.ok_or_else(|| unknown("agent_session_reset", &id))
}

fn trim(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let id = args.string(0);
    let keep = args.int(1).and_then(|it| usize::try_from(it).ok()).unwrap_or(0);
    let kept = models(cx).1.sessions.with(&id, |it| {
        let dropped = it.visible.len().saturating_sub(keep);
        it.visible.drain(..dropped);
        it.visible.len()
    });
    kept.map(Value::from).ok_or_else(|| unknown("agent_session_trim", &id))
}

fn close(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    let id = args.string(0);
    Commands::of(&host(cx).run).cancel(&id);
    host(cx).run.extension(SessionFields::default).0.lock().remove(id.as_str());
    inbox::hub(host(cx)).close_session(&id);
    host(cx).run.tasks.shared.end(&format!("agent_session:{id}"));
    let (_, models) = models(cx);
    let delete = args.dict(1).and_then(|it| some(it, "delete")).is_some_and(Value::is_truthy);
    let closed = models.sessions.0.lock().remove(id.as_str());
    let mut stored = models.sessions.1.lock();
    let known = closed.is_some() || (delete && stored.contains_key(id.as_str()));
    if delete {
        stored.remove(id.as_str());
    } else if let Some(session) = closed {
        stored.insert(id.to_string(), Session { inbox: None, subscribers: Vec::new(), ..session });
    }
    known.then_some(()).ok_or_else(|| unknown("agent_session_close", &id))
}

fn resume(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let id = args.string(0);
    let (_, models) = models(cx);
    let stored = models.sessions.1.lock().remove(id.as_str());
    if let Some(session) = stored {
        let inbox = Some(Arc::new(inbox::hub(host(cx)).open(&id)));
        models.sessions.0.lock().entry(id.to_string()).or_insert(Session { inbox, ..session });
    }
    if models.sessions.with(&id, |_| ()).is_none() {
        let message = Value::from(format!("agent_session_resume: unknown session '{id}'"));
        return Err(Fault::thrown(Value::dict([("category", Value::from("not_found")), ("message", message)])));
    }
    snapshot(cx, args)
}

fn subscribe(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    let (id, closure) = (args.string(0), args.get(1).clone());
    if !closure.is_callable() {
        return Err(Fault::thrown(format!("agent_subscribe: expected a closure, got {}", closure.type_name())));
    }
    let done = models(cx).1.sessions.with(&id, |it| it.subscribers.push(closure));
    done.ok_or_else(|| unknown("agent_subscribe", &id))
}

fn list(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let options = args.dict(0).cloned().unwrap_or_default();
    let prefix = some(&options, "prefix").map(ToString::to_string).unwrap_or_default();
    let limit = some(&options, "limit").and_then(Value::as_int).and_then(|it| usize::try_from(it).ok());
    let (_, models) = models(cx);
    let sessions = models.sessions.0.lock();
    let mut found: Vec<_> = sessions.iter().filter(|it| it.0.starts_with(&prefix)).collect();
    found.sort_by_key(|(_, it)| std::cmp::Reverse((it.updated_ms, it.number)));
    let summary = |(id, it): (&String, &Session)| {
        Value::dict([
            ("id", Value::from(id.as_str())),
            ("state", Value::from("active")),
            ("messages", Value::from(it.visible.len())),
            ("parent_id", optional(&it.parent_id)),
            ("created_ms", Value::Int(it.created_ms)),
            ("updated_ms", Value::Int(it.updated_ms)),
        ])
    };
    Ok(Value::list(found.into_iter().take(limit.unwrap_or(usize::MAX)).map(summary).collect()))
}
