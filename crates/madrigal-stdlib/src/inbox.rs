//! The agent inbox for scripts. Not here: how it works (`madrigal_runtime::inbox`), who drains it into a conversation.

use crate::concurrency::timed::timeout_of;
use crate::json;
use crate::task::TaskHost;
use madrigal_runtime::inbox::{Inbox, InboxConfig, InboxEntry, InboxHub, NewEntry, PushError, WaitOutcome};
use madrigal_vm::{Args, Cx, Dict, Fault, Outcome, Value, Wait};
use std::collections::HashSet;

madrigal_vm::builtins! {
    /// Pushes an entry into the inbox of a session; its sequence.
    "inbox_push" (session_id: string, kind: string, content: any, options: dict = nil) -> int = push;
    /// Takes the entries with these sequences (all, when nil) that the options admit.
    "__inbox_take" (session_id: any, options: dict, sequences: list) -> list = take;
    /// The entries that are ready, without taking them.
    "inbox_peek" (session_id: string = nil, limit: int = nil) -> list = peek;
    /// How many entries are ready.
    "inbox_count" (session_id: string = nil) -> int = count;
    /// Waits until an entry is ready; false when `timeout` passes first, or the inbox is cleared or closed.
    "inbox_wait" (session_id: string = nil, timeout: duration = nil, options: dict = nil) -> bool = wait;
    /// Entries handed out with `ack: false` are done with; how many were handed out.
    "inbox_ack" (session_id: string, sequences: list) -> int = ack;
    /// Entries handed out with `ack: false` come back; how many were handed out.
    "inbox_nack" (session_id: string, sequences: list) -> int = nack;
    /// Puts taken entries back to where they were; how many.
    "inbox_requeue" (session_id: string = nil, entries: list) -> int = requeue;
    /// Drops everything in an inbox; how many entries.
    "inbox_clear" (session_id: string) -> int = clear;
    /// Entries given up after too many attempts; with `take` they are forgotten.
    "inbox_dead" (session_id: string, options: dict = nil) -> list = dead;
}

/// Kinds of which only the last per file or call counts.
const NEWS: [&str; 3] = ["mcp_progress", "file_changed", "file_edited"];

fn host<'a>(cx: &'a mut Cx<'_>) -> &'a mut TaskHost {
    cx.host::<TaskHost>().expect("the library runs under a TaskHost")
}

/// The inboxes of the run.
pub fn hub(host: &TaskHost) -> &InboxHub {
    host.run.tasks.inbox.get_or_init(|| {
        let clock = host.context.runtime().clock().clone();
        InboxHub::new(InboxConfig { outside_producers: false, ..InboxConfig::new(&clock) })
    })
}

/// A new entry; news about the same file or call replace one another.
pub fn new_entry(kind: &str, content: &Value, source: &str) -> NewEntry {
    let text = match content {
        Value::String(text) => text.to_string(),
        other => json::stringify(other),
    };
    let key = NEWS.contains(&kind).then(|| news_key(content, &text));
    let entry = NewEntry::new(kind, text, source);
    key.into_iter().fold(entry, NewEntry::replaces)
}

/// What news are about: `path` and `call_id` of their content.
fn news_key(content: &Value, text: &str) -> String {
    let parsed = match content {
        Value::Dict(fields) => Some(fields.clone()),
        _ => match json::parse(text) {
            Ok(Value::Dict(fields)) => Some(fields),
            Ok(_) | Err(_) => None,
        },
    };
    let about = |name: &str| parsed.as_ref().and_then(|it| it.get(name)).map(json::stringify);
    format!("{:?}{:?}", about("path"), about("call_id"))
}

/// The wait, which writes a file; the current session, if there is one, is told once it did. A full inbox fails nothing.
pub(crate) fn telling_of_edit(cx: &mut Cx<'_>, wait: Wait, path: &str, op: &str, source: &str) -> Wait {
    let host = host(cx);
    let Some(session) = host.session.clone() else { return wait };
    let hub = hub(host).clone();
    let content = Value::dict([("path", Value::from(path)), ("op", Value::from(op))]);
    let entry = new_entry("file_edited", &content, source);
    let writing = wait.future;
    let future = Box::pin(async move {
        let value = writing.await?;
        if let Some(inbox) = hub.find(&session) {
            let _ = inbox.try_push(entry);
        }
        Ok(value)
    });
    Wait { future, ..wait }
}

/// The name of the session that an argument means: the current one when it is nil.
fn session_id(host: &TaskHost, value: &Value) -> Option<String> {
    match value {
        Value::Nil => host.session.as_deref().map(str::to_owned),
        Value::Dict(handle) => handle.get("id").map(|it| it.display().to_string()),
        other => Some(other.display().to_string()),
    }
}

/// The open session that an argument means.
fn inbox(cx: &mut Cx<'_>, value: &Value) -> Option<Inbox> {
    let host = host(cx);
    session_id(host, value).and_then(|id| hub(host).find(&id))
}

fn flag(options: Option<&Dict>, name: &str) -> Option<bool> {
    options.and_then(|it| it.get(name)).filter(|it| !it.is_nil()).map(Value::is_truthy)
}

fn push(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let options = args.dict(3);
    let host = host(cx);
    let hub = hub(host).clone();
    let id = session_id(host, args.get(0)).ok_or_else(|| Fault::thrown("inbox_push: there is no current session"))?;
    let known = id.is_empty() || hub.find(&id).is_some() || flag(options, "create") == Some(true);
    if !known {
        return Err(Fault::thrown(format!("inbox_push: unknown session '{id}'")));
    }
    let text = |name: &str| options.and_then(|it| it.get(name)).filter(|it| !it.is_nil()).map(|it| it.display());
    let source = text("source").map_or_else(|| "script".to_owned(), |it| it.to_string());
    let mut entry = new_entry(&args.string(1), args.get(2), &source).priority(flag(options, "priority") == Some(true));
    if let Some(name) = text("id") {
        entry = entry.id(name.to_string());
    }
    let wait = timeout_of("inbox_push", options.and_then(|it| it.get("wait")).unwrap_or(&Value::Nil))?;
    let pushing = hub.push(&id, entry, wait);
    let future = async move { pushing.await.map(sequence).map_err(refused) };
    Ok(Wait::new("inbox_push", future).on(Value::from(format!("the inbox of '{id}'"))).into())
}

fn sequence(sequence: u64) -> Value {
    Value::Int(i64::try_from(sequence).unwrap_or(i64::MAX))
}

fn refused(error: PushError) -> Fault {
    Fault::thrown(match error {
        PushError::Full { .. } => "inbox full",
        PushError::TooLarge { .. } => "inbox entry too large",
        PushError::Closed => "inbox session is closed",
    })
}

/// An entry as scripts see it.
pub fn entry_value(entry: InboxEntry) -> Value {
    Value::dict([
        ("sequence", sequence(entry.sequence)),
        ("session_id", Value::from(entry.session_id)),
        ("kind", Value::from(entry.kind)),
        ("content", Value::from(entry.content)),
        ("source", Value::from(entry.source)),
        ("ts_ms", Value::Int(entry.ts_ms)),
        ("id", Value::from(entry.id)),
        ("attempts", Value::Int(i64::from(entry.attempts))),
    ])
}

fn values(entries: Vec<InboxEntry>) -> Value {
    Value::list(entries.into_iter().map(entry_value).collect())
}

/// The `kinds` of options; none means all.
fn kinds(options: Option<&Dict>) -> Option<HashSet<String>> {
    match options.and_then(|it| it.get("kinds")) {
        Some(Value::List(kinds)) => Some(kinds.iter().map(|it| it.display().to_string()).collect()),
        _ => None,
    }
}

fn sequences_of(value: &Value) -> Vec<u64> {
    match value {
        Value::List(items) => items.iter().filter_map(Value::as_int).filter_map(|it| u64::try_from(it).ok()).collect(),
        other => other.as_int().and_then(|it| u64::try_from(it).ok()).into_iter().collect(),
    }
}

fn limit(value: Option<&Value>) -> usize {
    value.and_then(Value::as_int).map_or(usize::MAX, |it| usize::try_from(it).unwrap_or(0))
}

fn take(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let Some(inbox) = inbox(cx, args.get(0)) else { return Ok(Value::list(Vec::new())) };
    let options = args.dict(1);
    let kinds = kinds(options);
    let chosen: Option<HashSet<u64>> = args.list(2).map(|_| sequences_of(args.get(2)).into_iter().collect());
    let wanted = |entry: &InboxEntry| {
        kinds.as_ref().is_none_or(|it| it.contains(&entry.kind))
            && chosen.as_ref().is_none_or(|it| it.contains(&entry.sequence))
    };
    let lease = flag(options, "ack") == Some(false);
    Ok(values(inbox.take_where(wanted, limit(options.and_then(|it| it.get("limit"))), lease)))
}

fn peek(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let mut entries = inbox(cx, args.get(0)).map(|it| it.snapshot()).unwrap_or_default();
    entries.truncate(limit(args.all().get(1)));
    Ok(values(entries))
}

fn count(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(Value::from(inbox(cx, args.get(0)).map_or(0, |it| it.pending_count())))
}

fn wait(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let timeout = timeout_of("inbox_wait", args.get(1))?;
    let Some(inbox) = inbox(cx, args.get(0)) else { return Ok(Outcome::from(false)) };
    let what = Value::from(format!("the inbox of '{}'", inbox.session_id()));
    let kinds = kinds(args.dict(2));
    let wanted = move |entry: &InboxEntry| kinds.as_ref().is_none_or(|it| it.contains(&entry.kind));
    let waiting = inbox.wait_where(wanted, timeout);
    let future = async move { Ok(Value::Bool(waiting.await == WaitOutcome::Ready)) };
    Ok(Wait::new("inbox_wait", future).on(what).into())
}

fn ack(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let found = inbox(cx, args.get(0));
    Ok(Value::from(found.map_or(0, |it| it.acknowledge(&sequences_of(args.get(1))))))
}

fn nack(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let found = inbox(cx, args.get(0));
    Ok(Value::from(found.map_or(0, |it| it.refuse(&sequences_of(args.get(1))))))
}

fn requeue(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    // The session may be left out.
    let entries = if args.len() == 1 { args.get(0) } else { args.get(1) };
    let session = if args.len() == 1 { &Value::Nil } else { args.get(0) };
    let Value::List(entries) = entries else {
        let got = entries.type_name();
        return Err(Fault::type_error(format!("inbox_requeue: expected a list of entries, got {got}")));
    };
    let Some(inbox) = inbox(cx, session) else { return Ok(Value::Int(0)) };
    let entries: Vec<InboxEntry> = entries.iter().filter_map(entry_of).collect();
    Ok(Value::from(inbox.requeue(entries)))
}

/// An entry that a script had.
fn entry_of(value: &Value) -> Option<InboxEntry> {
    let Value::Dict(fields) = value else { return None };
    let text = |name: &str| fields.get(name).map_or_else(String::new, |it| it.display().to_string());
    let number = |name: &str| fields.get(name).and_then(Value::as_int).unwrap_or(0);
    Some(InboxEntry {
        sequence: u64::try_from(number("sequence")).ok()?,
        session_id: text("session_id"),
        kind: text("kind"),
        content: text("content"),
        source: text("source"),
        ts_ms: number("ts_ms"),
        id: text("id"),
        attempts: u32::try_from(number("attempts")).unwrap_or(0),
    })
}

fn clear(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let host = host(cx);
    let id = session_id(host, args.get(0));
    Ok(Value::from(id.map_or(0, |id| hub(host).clear_session(&id))))
}

fn dead(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let take = flag(args.dict(1), "take") == Some(true);
    Ok(values(inbox(cx, args.get(0)).map(|it| it.dead(take)).unwrap_or_default()))
}
