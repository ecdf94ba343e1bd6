//! Finds what a text carries: JSON in prose, and the tags of the runtime.

use madrigal_stdlib::json;
use madrigal_vm::Value;

/// Bytes that a search for JSON in prose may look at in all.
const SEARCH_BYTES_MAX: usize = 32 << 20;

/// The JSON in a text, and whether it had to be cut out of other text.
pub fn json_in(text: &str) -> Option<(Value, bool)> {
    if let Ok(value) = json::parse(text.trim()) {
        return Some((value, false));
    }
    let fenced = fenced(text).and_then(|it| json::parse(it.trim()).ok());
    fenced.or_else(|| balanced(text)).map(|it| (it, true))
}

/// The content of the first fenced block that is tagged `json` or not at all.
fn fenced(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some(open) = rest.find("```") {
        let after = &rest[open + 3..];
        let line_end = after.find('\n')?;
        let (tag, body) = (after[..line_end].trim(), &after[line_end + 1..]);
        let close = body.find("```")?;
        if tag.is_empty() || tag.eq_ignore_ascii_case("json") {
            return Some(&body[..close]);
        }
        rest = &body[close + 3..];
    }
    None
}

/// The first balanced object or list that is JSON.
fn balanced(text: &str) -> Option<Value> {
    let mut budget = SEARCH_BYTES_MAX;
    let starts = text.bytes().enumerate().filter(|it| matches!(it.1, b'{' | b'[')).map(|it| it.0);
    for start in starts {
        let (len, seen) = balanced_len(&text.as_bytes()[start..], budget);
        budget = budget.saturating_sub(seen);
        if let Some(value) = len.and_then(|len| json::parse(&text[start..start + len]).ok()) {
            return Some(value);
        }
        if budget == 0 {
            break;
        }
    }
    None
}

/// Length of the balanced text at the start, and how many bytes were looked at.
fn balanced_len(bytes: &[u8], budget: usize) -> (Option<usize>, usize) {
    let mut open = Vec::new();
    let (mut in_string, mut escaped) = (false, false);
    for (at, byte) in bytes.iter().enumerate().take(budget) {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' => open.push(b'}'),
            b'[' => open.push(b']'),
            b'}' | b']' => {
                if open.pop() != Some(*byte) {
                    return (None, at + 1);
                }
                if open.is_empty() {
                    return (Some(at + 1), at + 1);
                }
            }
            _ => {}
        }
    }
    (None, bytes.len().min(budget))
}

/// The contents of all `<tag>…</tag>` spans, in order.
pub fn spans<'a>(text: &'a str, tag: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(&open) {
        let inside = &rest[start + open.len()..];
        let Some(end) = inside.find(&close) else { break };
        found.push(&inside[..end]);
        rest = &inside[end + close.len()..];
    }
    found
}

/// The text without the spans of a tag.
fn without_spans(text: &str, tag: &str) -> String {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(&open) {
        let Some(end) = rest[start..].find(&close) else { break };
        out.push_str(&rest[..start]);
        rest = &rest[start + end + close.len()..];
    }
    out.push_str(rest);
    out
}

/// The text that people are to see: calls and sentinels removed, wrappers of prose taken off.
pub fn visible(text: &str) -> String {
    let shown = without_spans(&without_spans(text, "tool_call"), "done");
    let shown = shown.replace("<assistant_prose>", "").replace("</assistant_prose>", "");
    if shown.len() == text.len() { shown } else { shown.trim().to_owned() }
}

/// What a text says as prose: what is tagged so, else what is visible.
pub fn prose(text: &str) -> String {
    let tagged = spans(text, "assistant_prose");
    if tagged.is_empty() { visible(text) } else { tagged.iter().map(|it| it.trim()).collect::<Vec<_>>().join("\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(&str, bool)>) {
        let found = json_in(text).map(|(value, cut)| (value.to_string(), cut));
        assert_eq!(found, expected.map(|(text, cut)| (text.to_owned(), cut)), "{text}");
    }

    #[test]
    fn the_first_match_of_the_stated_order_wins() {
        check(" {\"a\": 1} ", Some(("{a: 1}", false)));
        check("```json\n[1]\n```", Some(("[1]", true)));
        check("```\n[1]\n``` and {\"a\": 2}", Some(("[1]", true)));
        check("```rust\n[1]\n``` and ```json\n[2]\n```", Some(("[2]", true)));
        check("so {not json} but {\"a\": \"}\"} here", Some(("{a: }}", true)));
        check("none at all", None);
        check("{\"open\": [", None);
    }

    #[test]
    fn a_text_of_brackets_does_not_take_forever() {
        check(&"[".repeat(200_000), None);
    }

    #[test]
    fn tags_of_the_runtime_are_not_seen() {
        let text = "<assistant_prose>hi</assistant_prose>\n<done>##DONE##</done>";
        assert_eq!((visible(text).as_str(), prose(text).as_str()), ("hi", "hi"));
        assert_eq!(visible("a <tool_call>{}</tool_call>b"), "a b");
        assert_eq!(visible(" kept as it is "), " kept as it is ");
        assert_eq!(visible("<done> open"), "<done> open");
    }
}
