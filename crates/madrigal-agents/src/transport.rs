//! What a provider can do, in our own words: requests, replies, the pieces of a streamed answer. Nothing of a wire
//! protocol is known here.

use crate::failure::LlmError;
use crate::job::Asker;
use crate::models::Models;
use madrigal_stdlib::Run;
use madrigal_vm::{Dict, Value};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// A future that is handed around.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A tool as it is offered to a model.
#[derive(Clone, Debug)]
pub struct OfferedTool {
    /// As on the wire.
    pub name: String,
    /// For the model.
    pub description: String,
    /// JSON Schema of its arguments.
    pub schema: Value,
}

/// How much a model is to think.
#[derive(Clone, Debug, Default)]
pub struct Thinking {
    /// `disabled`, `enabled`, `effort` or `adaptive`.
    pub mode: String,
    /// For `enabled`.
    pub budget_tokens: Option<i64>,
    /// For `effort`.
    pub level: Option<String>,
}

/// One request to a provider.
#[derive(Clone, Debug, Default)]
pub struct ChatRequest {
    /// Name of the provider.
    pub provider: String,
    /// Id of the model.
    pub model: String,
    /// Dicts `{role, content, ..}`.
    pub messages: Vec<Value>,
    /// The system prompt.
    pub system: Option<String>,
    /// Tools offered natively.
    pub tools: Vec<OfferedTool>,
    /// `auto`, `none`, `required` or a dict with a name.
    pub tool_choice: Option<Value>,
    /// Whether several tools may be called in one reply.
    pub parallel_tool_calls: Option<bool>,
    /// Most tokens of the answer.
    pub max_tokens: i64,
    /// Settings passed on as they are: `temperature`, `top_p`, `stop` ..
    pub settings: Dict,
    /// The answer has to be JSON.
    pub json: bool,
    /// JSON Schema of the answer, for models that take one.
    pub schema: Option<Value>,
    /// How much to think.
    pub thinking: Option<Thinking>,
    /// Whether the answer is streamed over the wire.
    pub stream: bool,
    /// Whether the prompt is to be cached.
    pub cache: bool,
    /// Extra headers.
    pub headers: Dict,
    /// Merged into the body last.
    pub extra_body: Dict,
    /// For completions: what comes before the missing text, and after it.
    pub infill: Option<(String, Option<String>)>,
    /// The options of the call as given, for the log of the mock.
    pub options: Dict,
}

/// A call of a tool in an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall {
    /// Names the call.
    pub id: String,
    /// Of the tool.
    pub name: String,
    /// A dict, or the text when it is not valid JSON.
    pub arguments: Value,
}

/// Numbers of tokens, as far as the provider tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Of the whole prompt, cached parts included.
    pub input: Option<u64>,
    /// Of the answer.
    pub output: Option<u64>,
    /// Part of the input that was read from a cache.
    pub cache_read: u64,
    /// Part of the input that was written to a cache.
    pub cache_write: u64,
}

/// A whole answer.
#[derive(Clone, Debug, Default)]
pub struct ChatReply {
    /// The text.
    pub text: String,
    /// Reasoning.
    pub thinking: Option<String>,
    /// The part of the reasoning that is not for reading.
    pub private_reasoning: Option<String>,
    /// A summary of the reasoning.
    pub thinking_summary: Option<String>,
    /// In order.
    pub tool_calls: Vec<ToolCall>,
    /// The provider's word.
    pub stop_reason_raw: String,
    /// Numbers of tokens.
    pub tokens: Tokens,
    /// As served, when the provider says so.
    pub model: Option<String>,
    /// As served, when a mock says so.
    pub provider: Option<String>,
    /// Blocks that a mock gives instead of derived ones.
    pub blocks: Option<Value>,
    /// The provider's name of the request.
    pub request_id: Option<String>,
    /// When the first piece arrived, on the monotonic clock.
    pub first_token_at: Option<i64>,
    /// Whether a completion was made by a chat.
    pub emulated: bool,
}

impl ChatReply {
    /// Whether it carries nothing although nothing held it back.
    pub fn is_empty(&self) -> bool {
        let nothing = self.text.is_empty() && self.thinking.is_none() && self.tool_calls.is_empty();
        nothing && self.stop_reason() != "content_filter"
    }

    /// The reason why the answer ended, in our words.
    pub fn stop_reason(&self) -> &'static str {
        match self.stop_reason_raw.as_str() {
            "end_turn" | "stop" | "complete" => "end_turn",
            "max_tokens" | "length" => "max_tokens",
            "tool_use" | "tool_calls" | "function_call" => "tool_use",
            "stop_sequence" => "stop_sequence",
            "content_filter" | "refusal" => "content_filter",
            _ => "other",
        }
    }
}

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum ChatDelta {
    /// Text.
    Text(String),
    /// Reasoning.
    Thinking(String),
    /// A part of a tool call.
    ToolCallPart {
        /// Which call.
        index: usize,
        /// With its first part.
        id: Option<String>,
        /// With its first part.
        name: Option<String>,
        /// The next piece of the JSON text.
        arguments: String,
    },
    /// A tool call that is complete.
    ToolCall(ToolCall),
}

/// Where pieces go. The provider waits until each is taken: back-pressure.
pub trait Deltas: Send {
    /// Takes a piece; the error ends the call.
    fn take(&mut self, delta: ChatDelta) -> Pending<'_, Result<(), LlmError>>;

    /// Whether some piece was taken.
    fn started(&self) -> bool {
        false
    }
}

/// Nobody wants the pieces.
#[derive(Debug, Default)]
pub struct NoDeltas;

impl Deltas for NoDeltas {
    fn take(&mut self, _: ChatDelta) -> Pending<'_, Result<(), LlmError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// What a call has at hand.
#[derive(Clone)]
pub struct CallCx {
    /// Clock, environment, connections.
    pub run: Arc<Run>,
    /// Configuration, mock, limits.
    pub models: Arc<Models>,
    /// For closures of the script.
    pub asker: Asker,
    /// Monotonic time at which the enclosing deadline passes.
    pub ends_at: Option<i64>,
    /// The same of the `deadline` block around the call.
    pub block_ends_at: Option<i64>,
    /// Longest silence within a streamed answer, when the call says so.
    pub idle_timeout: Option<Duration>,
}

/// A provider. Dropping a future of it ends the request and closes its connection.
pub trait ChatTransport: Send + Sync {
    /// Sends a chat; pieces go to `deltas` as they come, the whole answer is given back.
    fn chat<'a>(
        &'a self,
        request: &'a ChatRequest,
        cx: &'a CallCx,
        deltas: &'a mut dyn Deltas,
    ) -> Pending<'a, Result<ChatReply, LlmError>>;

    /// Completes `request.infill` by an endpoint for it.
    fn complete<'a>(&'a self, request: &'a ChatRequest, cx: &'a CallCx) -> Pending<'a, Result<ChatReply, LlmError>>;

    /// Whether `complete` works; otherwise a chat stands in for it.
    fn completes(&self) -> bool;

    /// Ids of the models that are served.
    fn list_models<'a>(&'a self, cx: &'a CallCx) -> Pending<'a, Result<Vec<String>, LlmError>>;
}
