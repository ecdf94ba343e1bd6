//! The builtins of the mock.

use super::entry::{self, Entry};
use super::{Mock, Scope};
use crate::models::{Models, host};
use crate::redact::Redactor;
use madrigal_vm::{Args, Cx, Dict, Fault, Value};

madrigal_vm::builtins! {
    /// Queues an answer of the mock provider, or adds a pattern.
    "llm_mock" (spec: dict) -> nil = llm_mock;
    /// The calls that the mock served, in start order.
    "llm_mock_calls" () -> list = calls;
    /// Empties queue, patterns, log and prompt cache of the mock.
    "llm_mock_clear" () -> nil = clear;
    /// The specs that were not used yet.
    "llm_mock_pending" () -> list = pending;
    /// Sets the mock aside and starts with an empty one.
    "llm_mock_push_scope" () -> nil = push_scope;
    /// Goes back to the mock as it was set aside last.
    "llm_mock_pop_scope" () -> nil = pop_scope;
    /// Whether a call that no entry fits fails.
    "llm_mock_strict" (on: bool) -> nil = strict;
}

fn mock(cx: &mut Cx<'_>) -> Mock {
    Models::of(&host(cx).run).mock.clone()
}

impl Mock {
    /// Adds an entry; the error is what the builtin throws.
    pub fn add(&self, spec: &Value) -> Result<(), String> {
        let spec = checked(spec)?;
        self.0.lock().scope.entries.push(Entry { spec, uses: 0 });
        Ok(())
    }

    /// Adds an entry that is consulted before those of the script, and makes the mock strict.
    pub fn add_outer(&self, spec: &Value) -> Result<(), String> {
        let spec = checked(spec)?;
        let mut state = self.0.lock();
        state.outer.push(Entry { spec, uses: 0 });
        state.strict = true;
        Ok(())
    }
}

fn checked(spec: &Value) -> Result<Dict, String> {
    let Value::Dict(spec) = spec else {
        return Err(format!("llm_mock: expected a dict, got {}", spec.type_name()));
    };
    entry::check(spec)?;
    Ok(spec.clone())
}

fn llm_mock(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    mock(cx).add(args.get(0)).map_err(Fault::thrown)
}

fn calls(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Value, Fault> {
    let run = host(cx).run.clone();
    let models = Models::of(&run);
    let calls: Vec<Value> = models.mock.0.lock().scope.log.iter().map(|it| it.lock().to_value()).collect();
    Ok(Redactor::new(&run, &models.config()).value(Value::list(calls)))
}

fn clear(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Fault> {
    mock(cx).0.lock().scope = Scope::default();
    Ok(())
}

fn pending(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Value, Fault> {
    let mock = mock(cx);
    let state = mock.0.lock();
    let unused = state.scope.entries.iter().filter(|it| it.uses == 0);
    Ok(Value::list(unused.map(|it| Value::Dict(it.spec.clone())).collect()))
}

fn push_scope(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Fault> {
    let mock = mock(cx);
    let mut state = mock.0.lock();
    let scope = std::mem::take(&mut state.scope);
    state.saved.push(scope);
    Ok(())
}

fn pop_scope(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Fault> {
    let mock = mock(cx);
    let mut state = mock.0.lock();
    let saved = state.saved.pop();
    state.scope = saved.ok_or_else(|| Fault::thrown("llm_mock_pop_scope: no scope to pop"))?;
    Ok(())
}

fn strict(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    mock(cx).0.lock().strict = args.get(0).is_truthy();
    Ok(())
}
