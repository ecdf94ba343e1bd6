//! Regular expressions. Matching takes time linear in the text; patterns are bounded in size and compiled once a run.
//! Mind the order of arguments: the pattern comes first, only `regex_split` begins with the text.

use crate::host::run;
use crate::strict::sized;
use madrigal_vm::{Args, Cx, Dict, Fault, Outcome, Str, Value, methods};
use parking_lot::Mutex;
use regex::{Captures, Regex, RegexBuilder};
use std::collections::HashMap;

madrigal_vm::builtins! {
    /// All matches in `text`; nil when there is none. Flags: any of `imsx`.
    "regex_match" (pattern: string, text: string, flags: string = "") -> list = regex_match;
    /// `text` with all matches replaced; `$1`, `$name` and `${name}` in the replacement stand for groups, `$$` for `$`.
    "regex_replace" (pattern: string, replacement: string, text: string) -> string = regex_replace;
    /// The same as `regex_replace`.
    "regex_replace_all" (pattern: string, replacement: string, text: string) -> string = regex_replace;
    /// For each match `{match, groups}` and one entry per named group that took part.
    "regex_captures" (pattern: string, text: string) -> list = regex_captures;
    /// The pieces of `text` between matches, empty ones included. Flags: any of `imsx`.
    "regex_split" (text: string, pattern: string, flags: string = "") -> list = regex_split;
}

/// Most memory that a compiled pattern may take.
const PATTERN_BYTES_MAX: usize = 4 << 20;
/// Most memory that matching may keep per pattern, in addition.
const SEARCH_BYTES_MAX: usize = 4 << 20;
/// Most compiled patterns that are kept.
const PATTERNS_MAX: usize = 64;

/// The compiled patterns of a run, by flags and text.
#[derive(Default)]
pub(crate) struct Patterns(Mutex<HashMap<(Str, Str), Regex>>);

impl Patterns {
    /// The compiled pattern, or what is wrong with it.
    pub(crate) fn get(&self, pattern: Str, flags: Str) -> Result<Regex, String> {
        let key = (flags, pattern);
        if let Some(known) = self.0.lock().get(&key) {
            return Ok(known.clone());
        }
        // Compiled without the lock: it may take a while, and others compile other patterns.
        let compiled = compile(&key.1, &key.0)?;
        let mut known = self.0.lock();
        if known.len() >= PATTERNS_MAX {
            known.clear();
        }
        known.insert(key, compiled.clone());
        Ok(compiled)
    }
}

fn compile(pattern: &str, flags: &str) -> Result<Regex, String> {
    let mut builder = RegexBuilder::new(pattern);
    builder.size_limit(PATTERN_BYTES_MAX).dfa_size_limit(SEARCH_BYTES_MAX);
    for flag in flags.chars() {
        match flag {
            'i' => builder.case_insensitive(true),
            'm' => builder.multi_line(true),
            's' => builder.dot_matches_new_line(true),
            'x' => builder.ignore_whitespace(true),
            other => {
                return Err(format!("unsupported regex flag '{other}', expected one of i/m/s/x"));
            }
        };
    }
    builder.build().map_err(|problem| problem.to_string())
}

/// The pattern in argument `at`, with the flags in argument `flags`.
fn pattern(cx: &mut Cx<'_>, args: &Args<'_>, at: usize, flags: Option<usize>) -> Result<Regex, Fault> {
    let flags = flags.map_or_else(|| Str::from(""), |at| args.string(at));
    let pattern = run(cx).patterns.get(args.string(at), flags);
    pattern.map_err(|problem| Fault::thrown(format!("Invalid regex: {problem}")))
}

fn regex_match(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    if args.len() < 2 {
        return Ok(Value::Nil.into());
    }
    let (pattern, text) = (pattern(cx, &args, 0, Some(2))?, args.string(1));
    sized(cx, "regex_match", text.len(), move || {
        let found: Vec<Value> = pattern.find_iter(&text).map(|it| Value::from(it.as_str())).collect();
        Ok(if found.is_empty() { Value::Nil } else { Value::list(found) })
    })
}

fn regex_replace(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    if args.len() < 3 {
        return Ok(Value::Nil.into());
    }
    let (pattern, replacement, text) = (pattern(cx, &args, 0, None)?, args.string(1), args.string(2));
    sized(cx, "regex_replace", text.len(), move || replaced(&pattern, &replacement, &text))
}

fn replaced(pattern: &Regex, replacement: &str, text: &str) -> Result<Value, Fault> {
    let references = replacement.matches('$').count();
    let (mut out, mut end) = (String::new(), 0);
    for captures in pattern.captures_iter(text) {
        let whole = captures.get_match();
        out.push_str(&text[end..whole.start()]);
        end = whole.end();
        // No group is longer than the match, so this is the most it can become.
        let grown = references.checked_mul(whole.len()).and_then(|it| it.checked_add(out.len() + replacement.len()));
        methods::check_bytes("regex_replace", grown)?;
        captures.expand(replacement, &mut out);
    }
    out.push_str(&text[end..]);
    Ok(Value::from(out))
}

fn regex_captures(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    if args.len() < 2 {
        return Ok(Value::list(Vec::new()).into());
    }
    let (pattern, text) = (pattern(cx, &args, 0, None)?, args.string(1));
    sized(cx, "regex_captures", text.len(), move || {
        let names: Vec<Str> = pattern.capture_names().flatten().map(Str::from).collect();
        Ok(Value::list(pattern.captures_iter(&text).map(|captures| captured(&captures, &names)).collect()))
    })
}

fn captured(captures: &Captures<'_>, names: &[Str]) -> Value {
    let groups = captures.iter().skip(1).map(|group| group.map_or(Value::Nil, |it| Value::from(it.as_str())));
    let mut entries = Dict::new();
    entries.insert(Str::from("groups"), Value::list(groups.collect()));
    entries.insert(Str::from("match"), Value::from(captures.get_match().as_str()));
    for name in names {
        if let Some(group) = captures.name(name) {
            entries.insert(name.clone(), Value::from(group.as_str()));
        }
    }
    Value::Dict(entries)
}

fn regex_split(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    if args.len() < 2 {
        return Ok(Value::Nil.into());
    }
    let (pattern, text) = (pattern(cx, &args, 1, Some(2))?, args.string(0));
    sized(cx, "regex_split", text.len(), move || Ok(Value::list(pattern.split(&text).map(Value::from).collect())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_bounded_in_number_and_size() {
        let patterns = Patterns::default();
        for number in 0..3 * PATTERNS_MAX {
            patterns.get(Str::from(format!("a{number}")), Str::from("i")).expect("a good pattern");
        }
        assert!(patterns.0.lock().len() <= PATTERNS_MAX);
        assert!(compile(r"(\pL{1000}){1000}", "").is_err());
        assert!(compile(&"(".repeat(100_000), "").is_err());
    }
}
