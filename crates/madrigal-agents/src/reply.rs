//! An answer as scripts see it.

use crate::budget;
use crate::call::Answer;
use crate::config::Config;
use crate::extract;
use crate::messages::{field, message, text_field};
use crate::options::Plan;
use crate::tools::{self, ParsedCalls};
use crate::transport::{Tokens, ToolCall};
use madrigal_stdlib::json;
use madrigal_vm::{Dict, Str, Value};

/// A call of a tool as a value.
pub fn call_value(call: &ToolCall) -> Value {
    Value::dict([
        ("id", Value::from(call.id.as_str())),
        ("name", Value::from(call.name.as_str())),
        ("arguments", call.arguments.clone()),
    ])
}

/// The assistant's message in a transcript.
pub fn assistant_message(text: &str, calls: &[ToolCall]) -> Value {
    let mut fields = vec![("role", Value::from("assistant")), ("content", Value::from(text))];
    if !calls.is_empty() {
        fields.push(("tool_calls", Value::list(calls.iter().map(call_value).collect())));
    }
    Value::dict(fields)
}

/// The result of a call.
pub fn result(config: &Config, plan: &Plan, answer: &Answer) -> Dict {
    let reply = &answer.reply;
    let mut calls = reply.tool_calls.clone();
    let mut parsed = ParsedCalls::default();
    if calls.is_empty() && plan.reads_tool_text {
        parsed = tools::calls_in(&reply.text);
        calls.clone_from(&parsed.calls);
    }
    let blocks = reply.blocks.clone().unwrap_or_else(|| blocks(answer, &calls));
    let optional = |it: &Option<String>| it.as_deref().map_or(Value::Nil, Value::from);
    let mut fields: Vec<(&str, Value)> = vec![
        ("text", Value::from(reply.text.as_str())),
        ("visible_text", Value::from(extract::visible(&reply.text))),
        ("prose", Value::from(extract::prose(&reply.text))),
        ("provider", Value::from(answer.provider.as_str())),
        ("model", Value::from(answer.model.as_str())),
        ("stop_reason", Value::from(reply.stop_reason())),
        ("stop_reason_raw", Value::from(reply.stop_reason_raw.as_str())),
        ("tool_calls", Value::list(calls.iter().map(call_value).collect())),
        ("thinking", optional(&reply.thinking)),
        ("private_reasoning", optional(&reply.private_reasoning)),
        ("thinking_summary", optional(&reply.thinking_summary)),
        ("canonical_text", Value::from(canonical_text(&blocks))),
        ("blocks", blocks),
        ("usage", usage(config, answer)),
        ("transcript", transcript(plan, &reply.text, &calls)),
        ("tool_parse_errors", Value::list(parsed.errors.into_iter().map(Value::from).collect())),
    ];
    if reply.emulated {
        fields.push(("emulated", Value::Bool(true)));
    }
    fields.extend(numbers(config, &answer.reply_model(), &reply.tokens));
    fields.into_iter().map(|(name, value)| (Str::from(name), value)).collect()
}

impl Answer {
    /// The model whose prices apply.
    fn reply_model(&self) -> String {
        self.model.clone()
    }
}

/// The numbers that stand in the result and in its usage.
fn numbers(config: &Config, model: &str, tokens: &Tokens) -> [(&'static str, Value); 7] {
    let int = |it: u64| Value::Int(i64::try_from(it).unwrap_or(i64::MAX));
    let input = tokens.input.unwrap_or(0);
    let ratio = if input == 0 { 0.0 } else { (tokens.cache_read as f64 / input as f64).min(1.0) };
    [
        ("input_tokens", int(input)),
        ("output_tokens", int(tokens.output.unwrap_or(0))),
        ("cache_read_tokens", int(tokens.cache_read)),
        ("cache_write_tokens", int(tokens.cache_write)),
        ("cache_creation_input_tokens", int(tokens.cache_write)),
        ("cache_hit_ratio", Value::Float(ratio)),
        ("cache_savings_usd", Value::Float(budget::savings_of(config, model, tokens))),
    ]
}

fn usage(config: &Config, answer: &Answer) -> Value {
    let tokens = &answer.reply.tokens;
    let mut fields = Vec::from(numbers(config, &answer.model, tokens));
    fields.extend([
        ("cost_usd", Value::Float(budget::usd(budget::cost_of(config, &answer.model, tokens)))),
        ("estimated", Value::Bool(answer.estimated)),
        ("attempts", Value::Int(i64::from(answer.attempts))),
        ("duration_ms", Value::Int(answer.duration_ms)),
    ]);
    fields.extend(answer.first_token_ms.map(|it| ("first_token_ms", Value::Int(it))));
    Value::dict(fields)
}

fn blocks(answer: &Answer, calls: &[ToolCall]) -> Value {
    let reply = &answer.reply;
    let block =
        |kind: &str, visibility: &str| vec![("type", Value::from(kind)), ("visibility", Value::from(visibility))];
    let mut blocks = Vec::new();
    if let Some(thinking) = &reply.thinking {
        let mut fields = block("thinking", "internal");
        fields.push(("text", Value::from(thinking.as_str())));
        blocks.push(Value::dict(fields));
    }
    let text = extract::prose(&reply.text);
    if !text.is_empty() {
        let mut fields = block("output_text", "public");
        fields.push(("text", Value::from(text)));
        blocks.push(Value::dict(fields));
    }
    for call in calls {
        let mut fields = block("tool_call", "internal");
        fields.extend([
            ("id", Value::from(call.id.as_str())),
            ("name", Value::from(call.name.as_str())),
            ("arguments", call.arguments.clone()),
        ]);
        blocks.push(Value::dict(fields));
    }
    Value::list(blocks)
}

/// The text that blocks stand for, with the tags of the runtime.
fn canonical_text(blocks: &Value) -> String {
    let mut parts = Vec::new();
    for block in crate::messages::items(Some(blocks)) {
        match text_field(block, "type") {
            Some("output_text") => {
                let text = text_field(block, "text").unwrap_or_default();
                parts.push(format!("<assistant_prose>{text}</assistant_prose>"));
            }
            Some("tool_call") => {
                let name = field(block, "name").cloned().unwrap_or_default();
                let arguments = field(block, "arguments").cloned().unwrap_or_default();
                let call = Value::dict([("name", name), ("arguments", arguments)]);
                parts.push(format!("<tool_call>{}</tool_call>", json::stringify(&call)));
            }
            _ => {}
        }
    }
    parts.join("\n")
}

fn transcript(plan: &Plan, text: &str, calls: &[ToolCall]) -> Value {
    let mut messages = plan.request.messages.clone();
    if let Some((prefix, _)) = &plan.request.infill {
        messages = vec![message("user", prefix.as_str())];
    }
    messages.push(assistant_message(text, calls));
    crate::transcript::of_messages(messages)
}
