//! Puts a streamed answer together.

use super::errors;
use crate::failure::LlmError;
use crate::tools::wire_name;
use crate::transport::{ChatDelta, ChatReply, ChatRequest, ToolCall};
use madrigal_stdlib::json;
use madrigal_vm::Value;
use std::collections::BTreeMap;

/// Highest number of a tool call in an answer.
const CALL_INDEX_MAX: usize = 1023;

/// An answer that is still arriving.
pub struct Assembly {
    /// What arrived so far.
    pub reply: ChatReply,
    /// Whether the provider said that the answer is complete.
    pub finished: bool,
    /// Whether nothing more can come.
    pub closed: bool,
    calls: BTreeMap<usize, Partial>,
    /// Names of tools as they were before they went on the wire.
    names: BTreeMap<String, String>,
}

#[derive(Default)]
struct Partial {
    id: String,
    name: String,
    arguments: String,
}

impl Assembly {
    pub fn new(request: &ChatRequest) -> Assembly {
        let names = request.tools.iter().map(|it| (wire_name(&it.name), it.name.clone())).collect();
        Assembly { reply: ChatReply::default(), finished: false, closed: false, calls: BTreeMap::new(), names }
    }

    /// More text.
    pub fn text(&mut self, text: &str) -> Option<ChatDelta> {
        self.reply.text.push_str(text);
        (!text.is_empty()).then(|| ChatDelta::Text(text.to_owned()))
    }

    /// More reasoning.
    pub fn thinking(&mut self, text: &str) -> Option<ChatDelta> {
        if text.is_empty() {
            return None;
        }
        self.reply.thinking.get_or_insert_default().push_str(text);
        Some(ChatDelta::Thinking(text.to_owned()))
    }

    /// More of a tool call.
    pub fn call(
        &mut self,
        index: usize,
        id: Option<&str>,
        name: Option<&str>,
        arguments: &str,
    ) -> Result<ChatDelta, LlmError> {
        if index > CALL_INDEX_MAX {
            return Err(errors::malformed(&format!("tool call number {index}")));
        }
        let partial = self.calls.entry(index).or_default();
        let original = name.map(|it| self.names.get(it).map_or(it, String::as_str).to_owned());
        if let Some(id) = id.filter(|it| !it.is_empty()) {
            id.clone_into(&mut partial.id);
        }
        if let Some(name) = original.as_ref().filter(|it| !it.is_empty()) {
            partial.name.push_str(name);
        }
        partial.arguments.push_str(arguments);
        Ok(ChatDelta::ToolCallPart {
            index,
            id: id.map(str::to_owned),
            name: original,
            arguments: arguments.to_owned(),
        })
    }

    /// How many tool calls there are so far.
    pub fn calls_len(&self) -> usize {
        self.calls.len()
    }

    /// The whole answer, and its tool calls.
    pub fn finish(self) -> (ChatReply, Vec<ToolCall>) {
        let call = |(index, partial): (usize, Partial)| {
            let id = if partial.id.is_empty() { format!("call_{}", index + 1) } else { partial.id };
            let arguments = match partial.arguments.trim() {
                "" => Value::dict::<&str>([]),
                // What is not JSON stays text; it is refused before a handler sees it.
                text => json::parse(text).unwrap_or_else(|_| Value::from(partial.arguments.as_str())),
            };
            ToolCall { id, name: partial.name, arguments }
        };
        let calls: Vec<_> = self.calls.into_iter().map(call).collect();
        (ChatReply { tool_calls: calls.clone(), ..self.reply }, calls)
    }
}
