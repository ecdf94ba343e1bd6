//! Completions: the text between a prefix and a suffix.

use crate::messages::message;
use crate::options::append;
use crate::transport::ChatRequest;

/// The chat that stands in for a completion where a provider has no endpoint for it.
pub fn as_chat(request: &ChatRequest, prefix: &str, suffix: Option<&str>) -> ChatRequest {
    let mut chat = ChatRequest { infill: None, ..request.clone() };
    let task = "Continue the text. Reply with the missing text only: no repetition of what is given, no explanation.";
    append(&mut chat.system, task);
    let prompt = match suffix {
        Some(suffix) => format!("Text before the gap:\n{prefix}\n\nText after the gap:\n{suffix}"),
        None => format!("Text to continue:\n{prefix}"),
    };
    chat.messages = vec![message("user", prompt)];
    chat
}
