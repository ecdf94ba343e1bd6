//! Text as free functions: general ones, `format`, case conversion. All take display forms. Methods of strings are in
//! `madrigal-vm`, `methods/string.rs`, whose parts are used here.

use madrigal_vm::{Args, Cx, Dict, Fault, Str, Value, methods};

madrigal_vm::builtins! {
    /// Without white space at both ends.
    "trim" (text: string) -> string = trim;
    /// In lower case.
    "lowercase" (text: string) -> string = lowercase;
    /// In upper case.
    "uppercase" (text: string) -> string = uppercase;
    /// The pieces between occurrences of `separator`, empty ones included.
    "split" (text: string, separator: string = " ") -> list = split;
    /// The display forms of the items, separated.
    "join" (items: list, separator: string = "") -> string = join;
    /// Every occurrence of `old` replaced by `new`, taken literally.
    "replace" (text: string, old: string, new: string) -> string = replace;
    /// Whether a string contains a text, or a list an equal item.
    "contains" (container: any, item: any) -> bool = contains;
    /// Whether `text` begins with `prefix`.
    "starts_with" (text: string, prefix: string) -> bool = starts_with;
    /// Whether `text` ends with `suffix`.
    "ends_with" (text: string, suffix: string) -> bool = ends_with;
    /// `length` characters from `start` on.
    "substring" (text: string, start: int, length: int) -> string = substring;
    /// `{key}` replaced from a dict, or each `{}` by the next argument.
    "format" (template: string, values: any) -> string = format_template;
    /// `some_name` as `someName`.
    "snake_to_camel" (text: string) -> string = snake_to_camel;
    /// `some_name` as `SomeName`.
    "snake_to_pascal" (text: string) -> string = snake_to_pascal;
    /// `some_name` as `some-name`.
    "snake_to_kebab" (text: string) -> string = snake_to_kebab;
    /// `some-name` as `someName`.
    "kebab_to_camel" (text: string) -> string = kebab_to_camel;
    /// `some-name` as `some_name`.
    "kebab_to_snake" (text: string) -> string = kebab_to_snake;
    /// `someName` as `some_name`.
    "camel_to_snake" (text: string) -> string = camel_to_snake;
    /// `someName` as `some-name`.
    "camel_to_kebab" (text: string) -> string = camel_to_kebab;
    /// `SomeName` as `some_name`.
    "pascal_to_snake" (text: string) -> string = camel_to_snake;
    /// `someName` as `SomeName`.
    "camel_to_pascal" (text: string) -> string = uppercase_first;
    /// `SomeName` as `someName`.
    "pascal_to_camel" (text: string) -> string = lowercase_first;
    /// The first character in upper case.
    "uppercase_first" (text: string) -> string = uppercase_first;
    /// The first character in lower case.
    "lowercase_first" (text: string) -> string = lowercase_first;
    /// The first character of each word in upper case, the others in lower case.
    "title_case" (text: string) -> string = title_case;
}

fn trim(_: &mut Cx<'_>, args: Args<'_>) -> Result<Str, Fault> {
    let text = args.string(0);
    let kept = text.trim();
    Ok(if kept.len() == text.len() { text } else { Str::from(kept) })
}

fn lowercase(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    Ok(args.string(0).to_lowercase())
}

fn uppercase(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    Ok(args.string(0).to_uppercase())
}

fn split(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let separator = if args.has(1) { args.string(1) } else { Str::from(" ") };
    methods::split(&args.string(0), &separator)
}

fn join(_: &mut Cx<'_>, args: Args<'_>) -> Result<Str, Fault> {
    args.list(0).map_or(Ok(Str::from("")), |items| methods::join(items, &args.string(1)))
}

fn replace(_: &mut Cx<'_>, args: Args<'_>) -> Result<Str, Fault> {
    methods::replace(&args.string(0), &args.string(1), &args.string(2))
}

fn contains(_: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    Ok(match args.get(0) {
        Value::String(text) => text.contains(args.string(1).as_str()),
        Value::List(items) => items.contains(args.get(1)),
        _ => false,
    })
}

fn starts_with(_: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    Ok(args.string(0).starts_with(args.string(1).as_str()))
}

fn ends_with(_: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    Ok(args.string(0).ends_with(args.string(1).as_str()))
}

fn substring(_: &mut Cx<'_>, args: Args<'_>) -> Result<Str, Fault> {
    let text = args.string(0);
    let count = text.count();
    let clip = |number: i64| usize::try_from(number.max(0)).unwrap_or(usize::MAX);
    let start = clip(args.int(1).unwrap_or(0)).min(count);
    let length = args.int(2).map_or(usize::MAX, clip);
    Ok(text.slice(start, start.saturating_add(length).min(count)))
}

fn format_template(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    let template = args.string(0);
    match args.dict(1) {
        Some(values) => fill_by_key(&template, values),
        None => fill_in_order(&template, args.all().get(1..).unwrap_or_default()),
    }
}

fn fill_by_key(template: &str, values: &Dict) -> Result<String, Fault> {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        filled.push_str(&rest[..open]);
        rest = &rest[open..];
        let Some(close) = rest.find('}') else { break };
        match values.get(&rest[1..close]) {
            Some(value) => {
                filled.push_str(&value.display());
                rest = &rest[close + 1..];
            }
            // Only the brace is passed over: a placeholder may begin right behind it.
            None => {
                filled.push('{');
                rest = &rest[1..];
            }
        }
        methods::check_bytes("format", Some(filled.len()))?;
    }
    filled.push_str(rest);
    Ok(filled)
}

fn fill_in_order(template: &str, values: &[Value]) -> Result<String, Fault> {
    let mut filled = String::with_capacity(template.len());
    let mut values = values.iter();
    let mut pieces = template.split("{}");
    filled.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        match values.next() {
            Some(value) => filled.push_str(&value.display()),
            None => filled.push_str("{}"),
        }
        filled.push_str(piece);
        methods::check_bytes("format", Some(filled.len()))?;
    }
    Ok(filled)
}

/// The lower-case words between `separator`s.
fn words(text: &str, separator: char) -> Vec<String> {
    text.split(separator).filter(|it| !it.is_empty()).map(str::to_lowercase).collect()
}

fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().collect::<String>() + chars.as_str())
}

fn camel(words: &[String]) -> String {
    let rest = words.iter().skip(1).map(|it| capitalised(it));
    words.first().cloned().into_iter().chain(rest).collect()
}

fn snake_to_camel(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    Ok(camel(&words(&args.string(0), '_')))
}

fn snake_to_pascal(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    Ok(words(&args.string(0), '_').iter().map(|it| capitalised(it)).collect())
}

fn snake_to_kebab(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    Ok(words(&args.string(0), '_').join("-"))
}

fn kebab_to_camel(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    Ok(camel(&words(&args.string(0), '-')))
}

fn kebab_to_snake(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    Ok(words(&args.string(0), '-').join("_"))
}

/// Lower-cased, with `separator` before each word of a camel-case text.
fn separated(text: &str, separator: char) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut result = String::with_capacity(text.len() + 8);
    for (at, it) in chars.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| chars[at]);
        let follows_word = before.is_some_and(|it| it.is_lowercase() || it.is_numeric());
        let ends_acronym =
            before.is_some_and(char::is_uppercase) && chars.get(at + 1).is_some_and(|it| it.is_lowercase());
        if it.is_uppercase() && (follows_word || ends_acronym) {
            result.push(separator);
        }
        result.extend(it.to_lowercase());
    }
    result
}

fn camel_to_snake(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    Ok(separated(&args.string(0), '_'))
}

fn camel_to_kebab(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    Ok(separated(&args.string(0), '-'))
}

fn uppercase_first(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    Ok(capitalised(&args.string(0)))
}

fn lowercase_first(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    let text = args.string(0);
    let mut chars = text.chars();
    Ok(chars.next().map_or(String::new(), |first| first.to_lowercase().collect::<String>() + chars.as_str()))
}

fn title_case(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    let mut in_word = false;
    let mut result = String::new();
    for it in args.string(0).chars() {
        if in_word {
            result.extend(it.to_lowercase());
        } else {
            result.extend(it.to_uppercase());
        }
        in_word = !it.is_whitespace();
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use crate::testing::check;

    #[test]
    fn format_fills_by_key_or_in_order() {
        check("format", ["{}-{}".into(), 1i64.into()], "1-{}");
        let seven = madrigal_vm::Value::dict([("a", 7i64.into())]);
        check("format", ["{a}{b}".into(), seven.clone()], "7{b}");
        check("format", ["{x {a} {".into(), seven], "{x 7 {");
    }

    #[test]
    fn camel_case_splits_at_words_and_acronyms() {
        check("camel_to_snake", ["XMLParser2Go".into()], "xml_parser2_go");
        check("camel_to_kebab", ["someName".into()], "some-name");
        check("pascal_to_snake", ["already_snake".into()], "already_snake");
        check("snake_to_camel", ["__some__NAME_x".into()], "someNameX");
        check("title_case", ["hELLO  wORLD".into()], "Hello  World");
    }

    #[test]
    fn the_free_substring_takes_a_length() {
        check("substring", ["madrigal".into(), 3i64.into(), 2i64.into()], "ri");
        check("substring", ["äöü".into(), (-4i64).into(), i64::MAX.into()], "äöü");
        check("substring", ["äöü".into(), i64::MAX.into(), (-1i64).into()], "");
    }

    #[test]
    fn splitting_keeps_empty_pieces() {
        check("split", ["a,,b".into(), ",".into()], "[a, , b]");
        check("split", ["ab".into(), "".into()], "[, a, b, ]");
    }
}
