//! Mocks of host calls: what answers instead of the host, and a record of what was asked.

use super::some;
use crate::host::run;
use madrigal_vm::{Args, Cx, Dict, Fault, Value, value};
use parking_lot::Mutex;

madrigal_vm::builtins! {
    /// Answers calls of an operation with a result, or as a dict `{result, params, error}` says.
    "host_mock" (capability: string, operation: string, result_or_config: any, params: dict) -> nil = host_mock;
    /// The calls that mocks answered, in order: dicts `{capability, operation, params}`.
    "host_mock_calls" () -> list = host_mock_calls;
    /// Drops mocks, calls and scopes.
    "host_mock_clear" () -> nil = host_mock_clear;
    /// Puts mocks and calls aside and starts without any.
    "host_mock_push_scope" () -> nil = host_mock_push_scope;
    /// Takes back the mocks and calls that were put aside last.
    "host_mock_pop_scope" () -> nil = host_mock_pop_scope;
}

/// The mocks of a run; scopes put aside first, the current one last.
#[derive(Default)]
pub(crate) struct HostMocks(Mutex<(Scope, Vec<Scope>)>);

#[derive(Default)]
struct Scope {
    mocks: Vec<Mock>,
    calls: Vec<Value>,
}

struct Mock {
    capability: String,
    operation: String,
    /// What the parameters of a call have to contain.
    params: Option<Dict>,
    answer: Result<Value, Value>,
}

impl Mock {
    fn matches(&self, capability: &str, operation: &str, params: &Dict) -> bool {
        let contains = |wanted: &Dict| {
            wanted.iter().all(|(key, wanted)| params.get(key).is_some_and(|found| value::equal(found, wanted)))
        };
        self.capability == capability && self.operation == operation && self.params.as_ref().is_none_or(contains)
    }
}

impl HostMocks {
    /// What the newest matching mock says.
    pub(super) fn answer(&self, capability: &str, operation: &str, params: &Dict) -> Option<Result<Value, Fault>> {
        let mut state = self.0.lock();
        let scope = &mut state.0;
        let mock = scope.mocks.iter().rev().find(|it| it.matches(capability, operation, params))?;
        let answer = mock.answer.clone().map_err(Fault::thrown);
        scope.calls.push(Value::dict([
            ("capability", Value::from(capability)),
            ("operation", Value::from(operation)),
            ("params", Value::Dict(params.clone())),
        ]));
        Some(answer)
    }

    /// Capability and operation of every mock.
    pub(super) fn mocked(&self) -> Vec<(String, String)> {
        self.0.lock().0.mocks.iter().map(|it| (it.capability.clone(), it.operation.clone())).collect()
    }
}

fn host_mock(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    let (capability, operation) = (args.string(0), args.string(1));
    if capability.is_empty() || operation.is_empty() {
        return Err(Fault::thrown("host_mock: capability and operation are required"));
    }
    let config = args.dict(2).filter(|it| ["result", "params", "error"].iter().any(|key| it.has(key)));
    let params_of = |value: Option<&Value>| match value {
        Some(Value::Dict(it)) => Some(it.clone()),
        _ => None,
    };
    let (answer, params) = match config {
        Some(config) => {
            let answer = match some(config, "error") {
                Some(error) => Err(Value::String(error.display())),
                None => Ok(config.get("result").cloned().unwrap_or_default()),
            };
            (answer, params_of(config.get("params")).or_else(|| params_of(Some(args.get(3)))))
        }
        None => (Ok(args.get(2).clone()), params_of(Some(args.get(3)))),
    };
    let mock = Mock { capability: capability.to_string(), operation: operation.to_string(), params, answer };
    run(cx).host_mocks.0.lock().0.mocks.push(mock);
    Ok(())
}

fn host_mock_calls(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Value, Fault> {
    Ok(Value::list(run(cx).host_mocks.0.lock().0.calls.clone()))
}

fn host_mock_clear(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Fault> {
    *run(cx).host_mocks.0.lock() = Default::default();
    Ok(())
}

fn host_mock_push_scope(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Fault> {
    let mut state = run(cx).host_mocks.0.lock();
    let scope = std::mem::take(&mut state.0);
    state.1.push(scope);
    Ok(())
}

fn host_mock_pop_scope(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Fault> {
    let mut state = run(cx).host_mocks.0.lock();
    state.0 = state.1.pop().ok_or_else(|| Fault::thrown("host_mock_pop_scope: no scope to pop"))?;
    Ok(())
}
