//! What a script queued: specs, which of them fits a request, how they are read.

use super::call_of;
use crate::config::glob;
use crate::failure::LlmError;
use crate::messages::{field, items, some, text_field};
use crate::transport::ToolCall;
use madrigal_vm::{Dict, Value};

/// A spec with what is left of it.
pub(super) struct Entry {
    pub spec: Dict,
    pub uses: i64,
}

impl Entry {
    fn is_queued(&self) -> bool {
        some(&self.spec, "match").is_none()
    }

    /// How often it may be used; none is always.
    fn uses_max(&self) -> Option<i64> {
        let times = some(&self.spec, "times").and_then(Value::as_int);
        let once = self.is_queued() || some(&self.spec, "consume_match").is_some_and(Value::is_truthy);
        times.or(once.then_some(1))
    }

    fn fits(&self, text: &str) -> bool {
        some(&self.spec, "match").is_some_and(|it| glob(&it.display(), text))
    }
}

/// The spec that serves a request with this text; it is removed with its last use.
pub(super) fn take(entries: &mut Vec<Entry>, text: &str) -> Option<Dict> {
    let queued = entries.iter().position(Entry::is_queued);
    let at = queued.or_else(|| entries.iter().position(|it| it.fits(text)))?;
    let entry = &mut entries[at];
    entry.uses += 1;
    let spec = entry.spec.clone();
    if entry.uses_max().is_some_and(|it| entry.uses >= it) {
        entries.remove(at);
    }
    Some(spec)
}

/// Checks a spec; the error is a text.
pub(super) fn check(spec: &Dict) -> Result<(), String> {
    let kind = |key: &str, wanted: &str, fits: fn(&Value) -> bool| match some(spec, key) {
        Some(value) if !fits(value) => Err(format!("llm_mock: {key} must be {wanted}, got {}", value.type_name())),
        _ => Ok(()),
    };
    let is_list = |it: &Value| matches!(it, Value::List(_));
    let is_dict = |it: &Value| matches!(it, Value::Dict(_));
    kind("tool_calls", "a list", is_list)?;
    kind("blocks", "a list", is_list)?;
    kind("error", "a dict", is_dict)?;
    kind("chunks", "a list or an int", |it| matches!(it, Value::List(_) | Value::Int(_)))?;
    kind("latency_ms", "an int or a dict", |it| matches!(it, Value::Dict(_)) || it.as_millis().is_some())?;
    kind("respond", "a closure", Value::is_callable)?;
    kind("times", "an int", |it| it.as_int().is_some())?;
    if some(spec, "respond").is_some() && ["text", "tool_calls"].iter().any(|it| some(spec, it).is_some()) {
        return Err("llm_mock: respond cannot be combined with text or tool_calls".to_owned());
    }
    match some(spec, "error") {
        Some(error) if text_field(error, "category").is_none() => Err("llm_mock: error needs a category".to_owned()),
        _ => Ok(()),
    }
}

/// How long an answer takes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Latency {
    pub first: u64,
    pub per_chunk: u64,
}

impl Latency {
    pub fn of(spec: &Dict) -> Latency {
        let millis = |it: Option<&Value>| it.and_then(Value::as_millis).and_then(|it| u64::try_from(it).ok());
        match some(spec, "latency_ms") {
            Some(parts @ Value::Dict(_)) => Latency {
                first: millis(field(parts, "first")).unwrap_or(0),
                per_chunk: millis(field(parts, "per_chunk")).unwrap_or(0),
            },
            first => Latency { first: millis(first).unwrap_or(0), per_chunk: 0 },
        }
    }
}

/// The text of a spec.
pub(super) fn text(spec: &Dict) -> String {
    match (some(spec, "text"), some(spec, "chunks")) {
        (Some(text), _) => text.to_string(),
        (None, Some(Value::List(chunks))) => chunks.iter().map(ToString::to_string).collect(),
        (None, _) => String::new(),
    }
}

/// The pieces in which a text is streamed.
pub(super) fn chunks(spec: &Dict, text: &str) -> Vec<String> {
    match some(spec, "chunks") {
        Some(Value::List(chunks)) => chunks.iter().map(ToString::to_string).collect(),
        count => {
            let words = count.and_then(Value::as_int).and_then(|it| usize::try_from(it).ok()).unwrap_or(1).max(1);
            by_words(text, words)
        }
    }
}

/// Cuts a text before the white space of every `words`-th word; the pieces joined are the text.
fn by_words(text: &str, words: usize) -> Vec<String> {
    let mut starts = vec![0];
    let (mut in_word, mut seen, mut space_from) = (false, 0, 0);
    for (at, it) in text.char_indices() {
        if it.is_whitespace() {
            if in_word {
                space_from = at;
            }
            in_word = false;
        } else if !in_word {
            in_word = true;
            seen += 1;
            if seen > 1 && (seen - 1) % words == 0 {
                starts.push(space_from);
            }
        }
    }
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    let pieces = starts.iter().zip(ends).map(|(start, end)| text[*start..end].to_owned());
    pieces.filter(|it| !it.is_empty()).collect()
}

/// The tool calls of a spec.
pub(super) fn tool_calls(spec: &Dict) -> Vec<ToolCall> {
    items(some(spec, "tool_calls")).iter().enumerate().map(|(at, call)| call_of(call, at + 1)).collect()
}

/// The error of a spec, and after how many chunks it comes.
pub(super) fn failure_of(error: &Value) -> Option<(LlmError, Option<usize>)> {
    let category = text_field(error, "category")?;
    let int = |key: &str| field(error, key).and_then(Value::as_millis);
    let default = format!("mock error: {}", crate::failure::category_named(category));
    let message = field(error, "message").map_or(default, ToString::to_string);
    let mut failure = LlmError::new(category, message);
    if let Some(reason) = text_field(error, "reason") {
        failure = failure.because(reason);
    } else if failure.category == "server_error" && failure.message.contains("delivered no content") {
        failure = failure.because("empty_completion");
    }
    failure.status = int("status").and_then(|it| u16::try_from(it).ok());
    failure.retry_after_ms = int("retry_after_ms").and_then(|it| u64::try_from(it).ok());
    failure.request_id = field(error, "request_id").map(ToString::to_string);
    Some((failure, int("after_chunks").and_then(|it| usize::try_from(it).ok())))
}

#[cfg(test)]
mod tests {
    use super::by_words;

    #[test]
    fn words_keep_the_white_space_before_them() {
        assert_eq!(by_words("a  b\nc ", 1), ["a", "  b", "\nc "]);
        assert_eq!(by_words("one two three", 2), ["one two", " three"]);
        assert_eq!(by_words("  x", 1), ["  x"]);
        assert_eq!(by_words("", 1), Vec::<String>::new());
    }
}
