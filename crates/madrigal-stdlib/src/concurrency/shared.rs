//! Shared state of a run: cells, maps and mailboxes by scope and key. Handles on it are dicts that name scope and key.
//! Not here: what can be done with them (`cells.rs`, `maps.rs`, `mailboxes.rs`).
//! Invariant: what belongs to a scope is freed when the owner of the scope ends; its mailboxes are closed by that.

use super::host;
use crate::task::TaskHost;
use madrigal_runtime::{Mailbox, SharedCell, SharedMap};
use madrigal_vm::{Cx, Dict, Fault, Value};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

/// All shared state of a run, by `SCOPE:ID`.
#[derive(Default)]
pub struct SharedState {
    scopes: Mutex<HashMap<String, Scoped>>,
    /// How many scopes are those of task groups; nearly always zero.
    groups: AtomicUsize,
}

/// What belongs to one scope.
#[derive(Default)]
pub(super) struct Scoped {
    pub cells: HashMap<String, SharedCell<Value>>,
    pub maps: HashMap<String, SharedMap<Value>>,
    pub mailboxes: HashMap<String, Mailbox<Value>>,
}

const GROUP: &str = "task_group:";
const ROOT_GROUP: &str = "task_group:task_root";

impl SharedState {
    /// Opens the state of a scope.
    pub(super) fn open<T>(&self, scope: &str, open: impl FnOnce(&mut Scoped) -> T) -> T {
        let mut scopes = self.scopes.lock();
        if !scopes.contains_key(scope) {
            self.groups.fetch_add(usize::from(is_group(scope)), Ordering::Release);
            scopes.insert(scope.to_owned(), Scoped::default());
        }
        open(scopes.get_mut(scope).expect("it was just made"))
    }

    /// Looks into the state of a scope, if there is any.
    pub(super) fn find<T>(&self, scope: &str, find: impl FnOnce(&mut Scoped) -> Option<T>) -> Option<T> {
        self.scopes.lock().get_mut(scope).and_then(find)
    }

    /// The owner of a scope has ended.
    pub fn end(&self, scope: &str) {
        let Some(ended) = self.scopes.lock().remove(scope) else { return };
        self.groups.fetch_sub(usize::from(is_group(scope)), Ordering::Release);
        for mailbox in ended.mailboxes.values() {
            mailbox.close();
        }
    }

    /// A group of tasks has ended; its id is built only when some group has state.
    pub fn end_group(&self, id: impl FnOnce() -> String) {
        if self.groups.load(Ordering::Acquire) > 0 {
            self.end(&format!("{GROUP}{}", id()));
        }
    }
}

fn is_group(scope: &str) -> bool {
    scope.starts_with(GROUP) && scope != ROOT_GROUP
}

/// What an opener asks for.
pub(super) struct Opening {
    /// `SCOPE:ID`.
    pub scope: String,
    pub key: String,
    /// The options, when given as such.
    pub options: Option<Dict>,
}

/// Reads `key` or `{scope, key}`, where the key is called `key_name`.
pub(super) fn opening(cx: &mut Cx<'_>, name: &str, key_name: &str, value: &Value) -> Result<Opening, Fault> {
    let Value::Dict(options) = value else {
        let key = if value.is_nil() { None } else { Some(value.display().to_string()) };
        let key = key.ok_or_else(|| Fault::thrown(format!("{name}: {key_name} is required")))?;
        return Ok(Opening { scope: scope_id(host(cx), name, "task_group", None)?, key, options: None });
    };
    let text = |key: &str| options.get(key).filter(|it| !it.is_nil()).map(|it| it.display().to_string());
    let key = text(key_name).ok_or_else(|| Fault::thrown(format!("{name}: {key_name} is required")))?;
    let kind = text("scope").unwrap_or_else(|| "task_group".to_owned());
    let scope = scope_id(host(cx), name, &kind, text("tenant_id"))?;
    Ok(Opening { scope, key, options: Some(options.clone()) })
}

/// `SCOPE:ID` of a kind of scope, as seen from a task.
fn scope_id(host: &mut TaskHost, name: &str, kind: &str, tenant: Option<String>) -> Result<String, Fault> {
    let task = host.context.task();
    let id = match kind {
        "task" => {
            let scope = format!("task:{}", task.id());
            let run = host.run.clone();
            host.held.add_scope(&run, &scope);
            return Ok(scope);
        }
        "task_group" => task.group_id().unwrap_or_else(|| "task_root".to_owned()),
        "workflow_run" | "process" => "runtime".to_owned(),
        "tenant" => tenant.ok_or_else(|| Fault::thrown(format!("{name}: scope tenant needs a tenant_id")))?,
        "agent_session" => {
            let session = host.session.as_deref().map(str::to_owned);
            session.ok_or_else(|| Fault::thrown(format!("{name}: scope agent_session needs an agent session")))?
        }
        other => return Err(Fault::thrown(format!("{name}: unknown scope '{other}'"))),
    };
    Ok(format!("{kind}:{id}"))
}

/// A handle on shared state.
pub(super) fn handle(kind: &str, key_name: &str, opening: &Opening) -> Value {
    Value::dict([
        ("_type", Value::from(kind)),
        (key_name, Value::from(opening.key.as_str())),
        ("scope", Value::from(opening.scope.as_str())),
    ])
}

/// Scope and key of a handle of this kind.
pub(super) fn named<'a>(kind: &str, key_name: &str, value: &'a Value) -> Option<(&'a str, &'a str)> {
    let Value::Dict(handle) = value else { return None };
    let text = |name: &str| handle.get(name).and_then(Value::as_str);
    if text("_type") != Some(kind) {
        return None;
    }
    Some((text("scope")?, text(key_name)?))
}

/// What a handle names, as `find` finds it in its scope.
pub(super) fn resolve<T>(
    cx: &mut Cx<'_>,
    name: &str,
    (kind, what): (&str, &str),
    value: &Value,
    find: impl FnOnce(&mut Scoped, &str) -> Option<T>,
) -> Result<T, Fault> {
    let wrong = || Fault::thrown(format!("{name}: first argument must be a {what}"));
    let (scope, key) = named(kind, "key", value).ok_or_else(wrong)?;
    let found = host(cx).run.tasks.shared.find(scope, |scoped| find(scoped, key));
    found.ok_or_else(|| Fault::thrown(format!("{name}: {what} '{key}' is gone: {scope} has ended")))
}

/// The version, when the value is a snapshot.
pub(super) fn snapshot_version(value: &Value) -> Option<u64> {
    match value {
        Value::Dict(it) if it.len() == 2 && it.has("value") => {
            it.get("version").and_then(Value::as_int).and_then(|it| u64::try_from(it).ok())
        }
        _ => None,
    }
}

/// `{value, version}`.
pub(super) fn snapshot(value: Value, version: u64) -> Value {
    Value::dict([("value", value), ("version", count(version))])
}

/// A counter as a value.
pub(super) fn count(value: u64) -> Value {
    Value::Int(i64::try_from(value).unwrap_or(i64::MAX))
}
