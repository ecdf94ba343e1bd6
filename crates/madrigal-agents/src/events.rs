//! Events of models and agents, kept for `agent_trace()`.

use madrigal_stdlib::Run;
use madrigal_vm::{Dict, Str, Value};
use parking_lot::Mutex;
use std::collections::VecDeque;

/// Most events that are kept.
const KEPT_MAX: usize = 10_000;

/// The events of a run, the oldest dropped first.
#[derive(Default)]
pub struct Trace(Mutex<(u64, VecDeque<Dict>)>);

impl Trace {
    /// Notes an event.
    pub fn emit<const N: usize>(&self, run: &Run, kind: &str, fields: [(&str, Value); N]) -> Dict {
        self.add(run, kind, fields)
    }

    /// Notes an event whose fields are known already; it with the fields that all events have.
    pub fn emit_dict(&self, run: &Run, kind: &str, fields: Dict) -> Dict {
        let fields: Vec<_> = fields.iter().map(|(key, it)| (key.clone(), it.clone())).collect();
        self.add(run, kind, fields.iter().map(|(key, it)| (key.as_str(), it.clone())))
    }

    fn add<'a>(&self, run: &Run, kind: &str, fields: impl IntoIterator<Item = (&'a str, Value)>) -> Dict {
        let mut event: Dict = fields.into_iter().map(|(name, value)| (Str::from(name), value)).collect();
        event.insert(Str::from("type"), Value::from(kind));
        event.insert(Str::from("ts_ms"), Value::Int(run.now_ms()));
        let mut kept = self.0.lock();
        kept.0 += 1;
        event.insert(Str::from("seq"), Value::Int(i64::try_from(kept.0).unwrap_or(i64::MAX)));
        if kept.1.len() == KEPT_MAX {
            kept.1.pop_front();
        }
        kept.1.push_back(event.clone());
        event
    }

    /// Notes something that is probably a mistake.
    pub fn warn<const N: usize>(&self, run: &Run, kind: &str, fields: [(&str, Value); N]) {
        self.add(run, kind, fields.into_iter().chain([("level", Value::from("warning"))]));
    }

    /// All that are kept, oldest first.
    pub fn list(&self) -> Vec<Value> {
        self.0.lock().1.iter().cloned().map(Value::Dict).collect()
    }
}
