//! JSON in both directions. Reader and writer keep their own stacks, so depth of nesting is no limit; numbers are read
//! exactly.

mod extract;
pub(crate) mod pointer;
mod query;
mod reader;

use crate::strict::{sized, sized_by};
use data_encoding::BASE64;
use madrigal_vm::{Args, BuiltinTable, Cx, Fault, Outcome, Str, Value};
use std::fmt::Write;

pub use reader::parse;

madrigal_vm::builtins! {
    /// The value a JSON text describes.
    "json_parse" (text: string) -> any = json_parse;
    /// The compact JSON text of a value.
    "json_stringify" (value: any) -> string = json_stringify;
}

/// Adds the builtins of all files about JSON.
pub fn register_all(table: &mut BuiltinTable) {
    register(table);
    extract::register(table);
    pointer::register(table);
    query::register(table);
}

fn json_parse(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let text = args.string(0);
    sized(cx, "json_parse", text.len(), move || {
        parse(&text).map_err(|error| Fault::thrown(format!("JSON parse error: {error}")))
    })
}

fn json_stringify(cx: &mut Cx<'_>, mut args: Args<'_>) -> Result<Outcome, Fault> {
    sized_by(cx, "json_stringify", args.take(0), |value| Ok(Value::from(stringify(value))))
}

/// How deep values may nest where a format's own writer recurses.
const DEPTH_MAX: usize = 128;

/// Fails for values that nest deeper than writers of other formats can bear.
pub(crate) fn check_depth(value: &Value) -> Result<(), String> {
    let mut waiting = vec![(value, 0)];
    while let Some((value, depth)) = waiting.pop() {
        if depth > DEPTH_MAX {
            return Err(format!("the value nests deeper than {DEPTH_MAX} levels"));
        }
        match value {
            Value::List(items) => waiting.extend(items.iter().map(|it| (it, depth + 1))),
            Value::Set(items) => waiting.extend(items.iter().map(|it| (it, depth + 1))),
            Value::Dict(entries) => waiting.extend(entries.values().map(|it| (it, depth + 1))),
            Value::Struct(it) => waiting.extend(it.fields().map(|(_, value)| (value, depth + 1))),
            _ => {}
        }
    }
    Ok(())
}

/// How formats without bytes hold them.
pub(crate) fn plain_bytes(bytes: &[u8]) -> Value {
    Value::dict([("$bytes_b64", Value::from(BASE64.encode(bytes)))])
}

/// What is still to be written, last first.
enum Part<'a> {
    Value(&'a Value),
    Key(&'a Str),
    Text(&'static str),
}

/// The compact JSON text of a value.
pub fn stringify(value: &Value) -> String {
    let mut out = String::new();
    let mut parts = vec![Part::Value(value)];
    while let Some(part) = parts.pop() {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Key(key) => {
                write_text(&mut out, key);
                out.push(':');
            }
            Part::Value(value) => write_shallow(&mut out, value, &mut parts),
        }
    }
    out
}

/// The JSON text of a value on several lines, each level indented by two blanks.
pub fn stringify_pretty(value: &Value) -> String {
    indented(&stringify(value))
}

/// A compact JSON text on several lines; empty lists and objects stay in one.
pub(crate) fn indented(compact: &str) -> String {
    let mut out = String::with_capacity(compact.len() * 2);
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    let mut characters = compact.chars().peekable();
    while let Some(it) = characters.next() {
        let closes = |next: Option<&char>| matches!(next, Some(']' | '}'));
        match it {
            _ if quoted => {
                quoted = it != '"' || escaped;
                escaped = it == '\\' && !escaped;
                out.push(it);
                continue;
            }
            '"' => quoted = true,
            ']' | '}' => depth -= 1,
            _ => {}
        }
        let is_empty = matches!(it, ']' | '}') && out.ends_with(['[', '{']);
        if matches!(it, ']' | '}') && !is_empty {
            new_line(&mut out, depth);
        }
        out.push(it);
        match it {
            '[' | '{' => {
                depth += 1;
                if !closes(characters.peek()) {
                    new_line(&mut out, depth);
                }
            }
            ',' => new_line(&mut out, depth),
            ':' => out.push(' '),
            _ => {}
        }
    }
    out
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

fn write_shallow<'a>(out: &mut String, value: &'a Value, parts: &mut Vec<Part<'a>>) {
    match value {
        Value::Bool(it) => out.push_str(if *it { "true" } else { "false" }),
        Value::Int(it) => write_display(out, it),
        Value::Observed(it) => write_display(out, &it.value),
        Value::Float(it) if it.is_finite() => write_display(out, it),
        Value::Duration(it) => write_display(out, it),
        Value::String(it) => write_text(out, it),
        Value::Bytes(it) => write_display(out, &format_args!("{{\"$bytes_b64\":\"{}\"}}", BASE64.encode(it))),
        Value::Range(_) => write_text(out, &value.display()),
        Value::Enum(it) if it.fields().is_empty() => write_text(out, &value.display()),
        Value::Enum(it) => array(out, it.fields().iter(), parts),
        Value::List(items) => array(out, items.iter(), parts),
        Value::Set(items) => array(out, items.iter(), parts),
        Value::Pair(pair) => array(out, [pair.first(), pair.second()].into_iter(), parts),
        Value::Dict(entries) => object(out, entries.iter().collect(), parts),
        Value::Struct(it) => object(out, it.fields().collect(), parts),
        Value::Nil | Value::Unset | Value::Float(_) | Value::Closure(_) | Value::Builtin(_) | Value::Handle(_) => {
            out.push_str("null");
        }
    }
}

fn write_display(out: &mut String, it: &dyn std::fmt::Display) {
    write!(out, "{it}").expect("writing to a string cannot fail");
}

fn array<'a>(
    out: &mut String,
    items: impl DoubleEndedIterator<Item = &'a Value> + ExactSizeIterator,
    parts: &mut Vec<Part<'a>>,
) {
    out.push('[');
    parts.push(Part::Text("]"));
    for (at, item) in items.enumerate().rev() {
        parts.push(Part::Value(item));
        if at > 0 {
            parts.push(Part::Text(","));
        }
    }
}

fn object<'a>(out: &mut String, entries: Vec<(&'a Str, &'a Value)>, parts: &mut Vec<Part<'a>>) {
    out.push('{');
    parts.push(Part::Text("}"));
    for (at, (key, value)) in entries.into_iter().enumerate().rev() {
        parts.push(Part::Value(value));
        parts.push(Part::Key(key));
        if at > 0 {
            parts.push(Part::Text(","));
        }
    }
}

/// Appends a JSON string.
pub fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for it in text.chars() {
        match it {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            it if it.is_control() => write_display(out, &format_args!("\\u{:04x}", it as u32)),
            it => out.push(it),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::check;
    use proptest::prelude::*;

    #[test]
    fn values_are_written_compactly_with_sorted_keys() {
        let check = |value: Value, expected: &str| assert_eq!(stringify(&value), expected);
        check(Value::Float(4.0), "4");
        check(Value::Float(f64::NAN), "null");
        check(Value::from("a\"\u{1}\u{7f}é\n"), "\"a\\\"\\u0001\\u007fé\\n\"");
        check(Value::dict([("b", Value::list(vec![Value::Nil])), ("a", true.into())]), "{\"a\":true,\"b\":[null]}");
    }

    #[test]
    fn pretty_text_is_indented_by_two() {
        let value = Value::dict([
            ("a", Value::list(vec![])),
            ("b", Value::list(vec!["\"{,".into(), Value::dict([("c", Value::Nil)])])),
        ]);
        let expected = "{\n  \"a\": [],\n  \"b\": [\n    \"\\\"{,\",\n    {\n      \"c\": null\n    }\n  ]\n}";
        assert_eq!(stringify_pretty(&value), expected);
    }

    #[test]
    fn numbers_and_escapes_are_read() {
        check(
            "json_parse",
            [r#"[1, -0, 1.5, 1e2, 9223372036854775808, "\u00e9\ud83d\ude00\/"]"#.into()],
            "[1, 0, 1.5, 100.0, 9223372036854776000, é😀/]",
        );
    }

    #[test]
    fn mistakes_are_located() {
        check("json_parse", ["[1,]".into()], "JSON parse error: expected value at line 1 column 4");
        check("json_parse", ["".into()], "JSON parse error: unexpected end of input at line 1 column 1");
        check("json_parse", ["{\"a\" 1}".into()], "JSON parse error: expected `:` at line 1 column 6");
        check("json_parse", ["[01]".into()], "JSON parse error: invalid number at line 1 column 2");
        check("json_parse", ["\"\\ud800\"".into()], "JSON parse error: invalid escape at line 1 column 2");
        check("json_parse", ["1 2".into()], "JSON parse error: trailing characters at line 1 column 3");
    }

    #[test]
    fn depth_is_no_limit() {
        let text = "[".repeat(200_000) + &"]".repeat(200_000);
        let value = parse(&text).expect("valid");
        assert_eq!(stringify(&value), text);
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(()).prop_map(|()| Value::Nil),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::list),
                prop::collection::vec((".*", inner), 0..4).prop_map(Value::dict),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(value in any_value()) {
            prop_assert_eq!(parse(&stringify(&value)), Ok(value));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "[\\[\\]{}\",:0-9eE.+\\-\\\\u a-f]*") {
            let _ = parse(&text);
        }
    }
}
