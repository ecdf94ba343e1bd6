//! Methods of strings. Positions and widths count code points throughout.

use super::{check_bytes, check_items, count_from};
use crate::builtin::{Args, Cx};
use crate::fault::Fault;
use crate::value::{Str, Value};

crate::builtins! {
    /// Number of code points.
    "string.count" () -> int = count;
    /// Number of code points.
    "string.len" () -> int = count;
    /// Whether there is no character.
    "string.empty" () -> bool = empty;
    /// Whether `part` occurs.
    "string.contains" (part: string) -> bool = contains;
    /// Whether it begins with `prefix`.
    "string.starts_with" (prefix: string) -> bool = starts_with;
    /// Whether it ends with `suffix`.
    "string.ends_with" (suffix: string) -> bool = ends_with;
    /// Every occurrence of `old` replaced by `new`, taken literally.
    "string.replace" (old: string, new: string) -> string = replace_method;
    /// The pieces between occurrences of `separator`, empty ones included.
    "string.split" (separator: string = ",") -> list = split_method;
    /// Without white space at both ends.
    "string.trim" () -> string = trim;
    /// Without white space at the start.
    "string.trim_start" () -> string = trim_start;
    /// Without white space at the end.
    "string.trim_end" () -> string = trim_end;
    /// In lower case.
    "string.lowercase" () -> string = lowercase;
    /// In lower case.
    "string.lower" () -> string = lowercase;
    /// In lower case.
    "string.to_lower" () -> string = lowercase;
    /// In upper case.
    "string.uppercase" () -> string = uppercase;
    /// In upper case.
    "string.upper" () -> string = uppercase;
    /// In upper case.
    "string.to_upper" () -> string = uppercase;
    /// The characters from `start` up to, not including, `end`.
    "string.substring" (start: int = 0, end: int) -> string = substring;
    /// Position of the first occurrence of `part`, or -1.
    "string.index_of" (part: string) -> int = index_of;
    /// Position of the last occurrence of `part`, or -1.
    "string.last_index_of" (part: string) -> int = last_index_of;
    /// The character at `index`, or nil.
    "string.char_at" (index: int = 0) -> string = char_at;
    /// The characters.
    "string.chars" () -> list = chars;
    /// The lines, without their ends.
    "string.lines" () -> list = lines;
    /// `times` copies in a row.
    "string.repeat" (times: int = 1) -> string = repeat_method;
    /// The characters in reverse order.
    "string.reverse" () -> string = reverse;
    /// Filled up at the start to `width` characters.
    "string.pad_left" (width: int, fill: string = " ") -> string = pad_left;
    /// Filled up at the end to `width` characters.
    "string.pad_right" (width: int, fill: string = " ") -> string = pad_right;
}

/// `text` with every occurrence of `old` replaced.
pub fn replace(text: &str, old: &str, new: &str) -> Result<Str, Fault> {
    if new.len() > old.len() {
        let growth = text.matches(old).count().checked_mul(new.len() - old.len());
        check_bytes("replace", growth.and_then(|growth| growth.checked_add(text.len())))?;
    }
    Ok(Str::from(text.replace(old, new)))
}

/// The pieces of `text` between occurrences of `separator`; an empty one separates every character.
pub fn split(text: &str, separator: &str) -> Result<Value, Fault> {
    // A piece is an object of its own, so a long text may split into far more memory than it takes.
    if text.len() > 1 << 20 {
        check_items("split", text.matches(separator).count().checked_mul(4))?;
    }
    Ok(Value::list(text.split(separator).map(Value::from).collect()))
}

/// `times` copies of `text`; none when `times` is below 1.
pub fn repeat(text: &Str, times: i64) -> Result<Str, Fault> {
    if times == 1 {
        return Ok(text.clone());
    }
    let times = count_from(times);
    check_bytes("repeat", text.len().checked_mul(times))?;
    Ok(Str::from(text.repeat(times)))
}

/// The filling that brings `text` to `width` code points; blanks when `fill` is empty.
pub fn pad(text: &Str, width: i64, fill: &str) -> Result<String, Fault> {
    let fill = fill.chars().next().unwrap_or(' ');
    let missing = count_from(width).saturating_sub(text.count());
    check_bytes("pad", missing.checked_mul(fill.len_utf8()))?;
    Ok(std::iter::repeat_n(fill, missing).collect())
}

fn receiver(args: &mut Args<'_>) -> Str {
    match args.take(0) {
        Value::String(it) => it,
        other => other.display(),
    }
}

fn count(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<usize, Fault> {
    Ok(receiver(&mut args).count())
}

fn empty(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<bool, Fault> {
    Ok(receiver(&mut args).is_empty())
}

fn contains(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<bool, Fault> {
    Ok(receiver(&mut args).contains(args.string(1).as_str()))
}

fn starts_with(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<bool, Fault> {
    Ok(receiver(&mut args).starts_with(args.string(1).as_str()))
}

fn ends_with(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<bool, Fault> {
    Ok(receiver(&mut args).ends_with(args.string(1).as_str()))
}

fn replace_method(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    if !args.has(2) {
        return Ok(Value::Nil);
    }
    Ok(Value::from(replace(&receiver(&mut args), &args.string(1), &args.string(2))?))
}

fn split_method(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let separator = if args.has(1) { args.string(1) } else { Str::from(",") };
    split(&receiver(&mut args), &separator)
}

/// The part of the receiver that `cut` keeps; the receiver itself when that is all of it.
fn trimmed(args: &mut Args<'_>, cut: fn(&str) -> &str) -> Str {
    let text = receiver(args);
    let kept = cut(&text);
    if kept.len() == text.len() { text } else { Str::from(kept) }
}

fn trim(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Str, Fault> {
    Ok(trimmed(&mut args, str::trim))
}

fn trim_start(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Str, Fault> {
    Ok(trimmed(&mut args, str::trim_start))
}

fn trim_end(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Str, Fault> {
    Ok(trimmed(&mut args, str::trim_end))
}

fn lowercase(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<String, Fault> {
    Ok(receiver(&mut args).to_lowercase())
}

fn uppercase(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<String, Fault> {
    Ok(receiver(&mut args).to_uppercase())
}

fn substring(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Str, Fault> {
    let text = receiver(&mut args);
    let length = text.count();
    let start = args.int(1).map_or(0, count_from).min(length);
    let end = args.int(2).filter(|end| *end >= 0).map_or(length, count_from).min(length);
    Ok(text.slice(start, end.max(start)))
}

/// A byte position of `text` as position of a code point, -1 when there is none.
fn code_point_position(text: &Str, byte: Option<usize>) -> i64 {
    let position = byte.map(|byte| if text.is_ascii() { byte } else { text[..byte].chars().count() });
    position.and_then(|position| i64::try_from(position).ok()).unwrap_or(-1)
}

fn index_of(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<i64, Fault> {
    let text = receiver(&mut args);
    Ok(code_point_position(&text, text.find(args.string(1).as_str())))
}

fn last_index_of(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<i64, Fault> {
    let text = receiver(&mut args);
    Ok(code_point_position(&text, text.rfind(args.string(1).as_str())))
}

fn char_at(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let index = usize::try_from(args.int(1).unwrap_or(0)).ok();
    Ok(index.and_then(|index| receiver(&mut args).at(index)).map_or(Value::Nil, Value::String))
}

fn chars(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let text = receiver(&mut args);
    check_items("chars", text.len().checked_mul(4))?;
    Ok(Value::list(text.chars().map(|it| Value::String(Str::from(it))).collect()))
}

fn lines(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    Ok(Value::list(receiver(&mut args).lines().map(Value::from).collect()))
}

fn repeat_method(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Str, Fault> {
    repeat(&receiver(&mut args), args.int(1).unwrap_or(1))
}

fn reverse(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<String, Fault> {
    Ok(receiver(&mut args).chars().rev().collect())
}

fn filling(text: &Str, args: &Args<'_>) -> Result<String, Fault> {
    let fill = if args.has(2) { args.string(2) } else { Str::from(" ") };
    pad(text, args.int(1).unwrap_or(0), &fill)
}

fn pad_left(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Str, Fault> {
    let text = receiver(&mut args);
    let filling = filling(&text, &args)?;
    Ok(if filling.is_empty() { text } else { Str::from(filling + &text) })
}

fn pad_right(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Str, Fault> {
    let mut text = receiver(&mut args);
    let filling = filling(&text, &args)?;
    text.push_str(&filling);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::tests::{call, check};
    use proptest::prelude::*;

    #[test]
    fn positions_count_code_points() {
        check("aößb", "count", [], "4");
        check("aößb", "index_of", ["b".into()], "3");
        check("aößb", "last_index_of", ["z".into()], "-1");
        check("aößb", "index_of", [], "0");
        check("aößb", "char_at", [1i64.into()], "ö");
        check("aößb", "char_at", [(-1i64).into()], "nil");
        check("aößb", "chars", [], "[a, ö, ß, b]");
        check("aößb", "reverse", [], "bßöa");
    }

    #[test]
    fn substring_takes_an_end() {
        check("hello", "substring", [1i64.into(), 3i64.into()], "el");
        check("hello", "substring", [(-2i64).into(), 2i64.into()], "he");
        check("hello", "substring", [1i64.into(), (-1i64).into()], "ello");
        check("hello", "substring", [3i64.into(), 1i64.into()], "");
        check("hello", "substring", [], "hello");
        check("héllo", "substring", [i64::MAX.into(), i64::MIN.into()], "");
    }

    #[test]
    fn missing_arguments_take_their_defaults() {
        check("a,b", "split", [], "[a, b]");
        check("ab", "repeat", [], "ab");
        check("ab", "replace", ["a".into()], "nil");
        check("ab", "contains", [], "true");
        check("ab", "pad_left", [4i64.into()], "  ab");
        check("ab", "pad_right", [4i64.into(), "xy".into()], "abxx");
        check("ab", "pad_right", [1i64.into()], "ab");
        check("a1", "contains", [1i64.into()], "true");
    }

    #[test]
    fn lines_and_pieces() {
        check("a\r\nb\n", "lines", [], "[a, b]");
        check("ab", "split", ["".into()], "[, a, b, ]");
        check("a--b-", "split", ["-".into()], "[a, , b, ]");
        check("STRASSE ß", "lower", [], "strasse ß");
        check("ß", "upper", [], "SS");
        check("\u{2003}x\n", "trim", [], "x");
    }

    #[test]
    fn huge_results_are_refused() {
        check("ab", "repeat", [i64::MAX.into()], "Error [budget_exceeded]: repeat: the result would exceed 1 GiB");
        check("ab", "pad_left", [i64::MAX.into()], "Error [budget_exceeded]: pad: the result would exceed 1 GiB");
        check("ab", "repeat", [i64::MIN.into()], "");
    }

    proptest! {
        #[test]
        fn padding_reaches_the_width_with_the_first_character(text in ".{0,6}", width in -3i64..12, fill in ".{0,2}") {
            let missing = usize::try_from(width).unwrap_or(0).saturating_sub(text.chars().count());
            let filling: String = std::iter::repeat_n(fill.chars().next().unwrap_or(' '), missing).collect();
            let args = || vec![Value::Int(width), Value::from(fill.as_str())];
            prop_assert_eq!(call(text.as_str().into(), "pad_left", args()), format!("{filling}{text}"));
            prop_assert_eq!(call(text.as_str().into(), "pad_right", args()), format!("{text}{filling}"));
        }

        #[test]
        fn pieces_join_to_the_text(text in "[ab,é]{0,12}", separator in "[a,é]{1,2}") {
            let Value::List(pieces) = split(&text, &separator).expect("it is short") else { panic!("a list") };
            let joined = crate::methods::join(&pieces, &separator).expect("it is short");
            prop_assert_eq!(joined.as_str(), text.as_str());
        }
    }
}
