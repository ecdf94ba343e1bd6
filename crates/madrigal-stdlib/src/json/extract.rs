//! JSON inside prose, as models write it: in a fence, else the first object, else the first array.

use super::parse;
use crate::strict::sized;
use madrigal_vm::{Args, Cx, Fault, Outcome, Str, Value};

madrigal_vm::builtins! {
    /// The value of the JSON found in a text, or what it has under `key`.
    "json_extract" (text: string, key: string) -> any = json_extract;
}

fn json_extract(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    if args.is_empty() {
        return Err(Fault::thrown("json_extract requires at least 1 argument: text"));
    }
    let text = args.string(0);
    let key = (!args.get(1).is_nil()).then(|| args.string(1));
    sized(cx, "json_extract", text.len(), move || extract(&text, key.as_ref()))
}

fn extract(text: &str, key: Option<&Str>) -> Result<Value, Fault> {
    let trimmed = text.trim();
    let json = fenced(trimmed)
        .or_else(|| balanced(trimmed, '{', '}'))
        .or_else(|| balanced(trimmed, '[', ']'))
        .unwrap_or(trimmed);
    let value = parse(json).map_err(|error| Fault::thrown(format!("json_extract: failed to parse JSON: {error}")))?;
    let Some(key) = key else { return Ok(value) };
    let Value::Dict(entries) = value else {
        return Err(Fault::thrown("json_extract: parsed value is not a dict, cannot extract key"));
    };
    entries.get(key).cloned().ok_or_else(|| Fault::thrown(format!("json_extract: key '{key}' not found")))
}

/// What stands between the first fence's line and the next fence.
fn fenced(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("```")?;
    let (_, rest) = rest.split_once('\n')?;
    let (content, _) = rest.split_once("```")?;
    Some(content.trim())
}

/// From the first `open` to the `close` that balances it, outside of string literals.
fn balanced(text: &str, open: char, close: char) -> Option<&str> {
    let start = text.find(open)?;
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for (at, it) in text[start..].char_indices() {
        match it {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            _ if in_string => {}
            _ if it == open => depth += 1,
            _ if it == close => {
                depth -= 1;
                if depth == 0 {
                    return Some(&text[start..=start + at]);
                }
            }
            _ => {}
        }
    }
    None
}
