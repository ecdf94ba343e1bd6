//! The events of a loop: kept for `agent_trace()` and given to its subscribers.

use crate::failure::LlmError;
use crate::transport::{CallCx, ChatDelta, Deltas, Pending};
use madrigal_vm::{Dict, Str, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Gives events out. Clones number them together.
#[derive(Clone)]
pub(super) struct Emitter {
    cx: CallCx,
    session_id: String,
    subscribers: Vec<Value>,
    seq: Arc<AtomicI64>,
    pub iteration: u64,
}

impl Emitter {
    pub fn new(cx: CallCx, session_id: &str, subscribers: Vec<Value>) -> Emitter {
        Emitter { cx, session_id: session_id.to_owned(), subscribers, seq: Arc::default(), iteration: 0 }
    }

    /// Gives an event out. A subscriber that throws is not asked to explain.
    pub async fn emit(&self, kind: &str, fields: Vec<(&'static str, Value)>) {
        let seq = self.seq.fetch_add(1, Ordering::Relaxed) + 1;
        let mut event: Dict = fields.into_iter().map(|(name, value)| (Str::from(name), value)).collect();
        for (name, value) in
            [("session_id", Value::from(self.session_id.as_str())), ("iteration", Value::Int(self.iteration as i64))]
        {
            event.insert(Str::from(name), value);
        }
        let mut event = self.cx.models.trace.emit_dict(&self.cx.run, kind, event);
        event.insert(Str::from("seq"), Value::Int(seq));
        for subscriber in &self.subscribers {
            let _ = self.cx.asker.call(subscriber.clone(), Value::Dict(event.clone())).await;
        }
    }
}

/// Gives the pieces of an answer out as events, when somebody listens.
pub(super) struct Live {
    emitter: Emitter,
}

impl Live {
    pub fn new(emitter: Emitter) -> Live {
        Live { emitter }
    }
}

impl Deltas for Live {
    fn take(&mut self, delta: ChatDelta) -> Pending<'_, Result<(), LlmError>> {
        Box::pin(async move {
            if !self.emitter.subscribers.is_empty() {
                match delta {
                    ChatDelta::Text(text) => self.emitter.emit("message_delta", vec![("delta", text.into())]).await,
                    ChatDelta::Thinking(text) => self.emitter.emit("thought_delta", vec![("delta", text.into())]).await,
                    ChatDelta::ToolCallPart { .. } | ChatDelta::ToolCall(_) => {}
                }
            }
            Ok(())
        })
    }
}
