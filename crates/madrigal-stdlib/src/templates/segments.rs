//! Cuts a template into text and directives, and applies the white space marks `{{-` and `-}}`.

use super::Problem;

/// A piece of a template.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Segment {
    /// A text and its offset.
    Text(String, usize),
    /// What stands between the braces, trimmed, and the offset of the braces.
    Directive(String, usize),
}

/// The pieces in order. Texts may be empty.
pub(super) fn segments(template: &str) -> Result<Vec<Segment>, Problem> {
    let mut segments = Vec::new();
    let mut at = 0;
    let mut trim_next = false;
    while let Some(open) = template[at..].find("{{").map(|found| at + found) {
        let text = &template[at..open];
        if template[open..].starts_with("{{#") {
            push_text(&mut segments, text, at, (trim_next, false));
            let end = template[open..].find("#}}").ok_or(Problem::new(open, "unterminated comment"))?;
            at = open + end + 3;
            trim_next = false;
            continue;
        }
        let directive = Directive::at(template, open)?;
        push_text(&mut segments, text, at, (trim_next, directive.trims_before));
        at = directive.end;
        trim_next = directive.trims_after;
        if directive.content == "raw" {
            let (content, close) =
                raw_block(template, at).ok_or_else(|| Problem::new(open, "unterminated `{{ raw }}` block"))?;
            push_text(&mut segments, content, at, (trim_next, close.trims_before));
            at = close.end;
            trim_next = close.trims_after;
        } else {
            segments.push(Segment::Directive(directive.content.to_owned(), open));
        }
    }
    push_text(&mut segments, &template[at..], at, (trim_next, false));
    Ok(segments)
}

/// A directive as it stands in the text.
struct Directive<'a> {
    content: &'a str,
    trims_before: bool,
    trims_after: bool,
    end: usize,
}

impl<'a> Directive<'a> {
    /// The directive whose braces open at `open`.
    fn at(template: &'a str, open: usize) -> Result<Directive<'a>, Problem> {
        let inside = &template[open + 2..];
        let close = closing_braces(inside).map_err(|what| Problem::new(open, what))?;
        let end = open + 2 + close + 2;
        let content = &inside[..close];
        let trims_before = content.starts_with('-');
        let content = if trims_before { &content[1..] } else { content };
        let trims_after = content.ends_with('-');
        let content = if trims_after { &content[..content.len() - 1] } else { content };
        Ok(Directive { content: content.trim(), trims_before, trims_after, end })
    }
}

/// Where the directive ends: the first `}}` outside of quotes and of braces of its own.
fn closing_braces(inside: &str) -> Result<usize, &'static str> {
    let bytes = inside.as_bytes();
    let (mut at, mut depth) = (0, 0);
    let mut quote = None;
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (Some(_), b'\\') => at += 1,
            (Some(open), byte) if byte == open => quote = None,
            (Some(_), _) => {}
            (None, byte @ (b'"' | b'\'')) => quote = Some(byte),
            (None, b'{') => depth += 1,
            (None, b'}') if depth > 0 => depth -= 1,
            (None, b'}') if bytes.get(at + 1) == Some(&b'}') => return Ok(at),
            _ => {}
        }
        at += 1;
    }
    Err(if quote.is_some() { "unterminated string literal" } else { "unterminated directive" })
}

/// The text up to `{{ endraw }}`, and that directive.
fn raw_block(template: &str, start: usize) -> Option<(&str, Directive<'_>)> {
    let mut from = start;
    loop {
        let open = from + template[from..].find("{{")?;
        match Directive::at(template, open) {
            Ok(directive) if directive.content == "endraw" => return Some((&template[start..open], directive)),
            _ => from = open + 2,
        }
    }
}

fn push_text(segments: &mut Vec<Segment>, text: &str, at: usize, (trim_start, trim_end): (bool, bool)) {
    let mut text = text;
    if trim_end {
        text = text.trim_end_matches([' ', '\t']);
        text = text.strip_suffix('\n').map_or(text, |it| it.strip_suffix('\r').unwrap_or(it));
    }
    if trim_start {
        text = text.trim_start_matches([' ', '\t']);
        text = text.strip_prefix("\r\n").or_else(|| text.strip_prefix('\n')).unwrap_or(text);
    }
    segments.push(Segment::Text(text.to_owned(), at));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(template: &str) -> String {
        let shown = |it: Segment| match it {
            Segment::Text(text, _) => text,
            Segment::Directive(content, at) => format!("<{content}@{at}>"),
        };
        segments(template).expect("it is well formed").into_iter().map(shown).collect()
    }

    #[test]
    fn marks_take_blanks_and_one_line_break() {
        assert_eq!(texts("a \n\n  {{- x -}}  \n\n b"), "a \n<x@6>\n b");
        assert_eq!(texts("a {{# no }} #}} b"), "a  b");
        assert_eq!(texts("{{ raw }}{{ x }}{{ endraw }}y"), "{{ x }}y");
        assert_eq!(texts("{{ \"}}\" | f }}"), "<\"}}\" | f@0>");
    }

    #[test]
    fn what_is_not_closed_is_named() {
        let check = |template: &str, what: &str| {
            let problem = segments(template).expect_err("something is missing");
            assert_eq!((problem.at, problem.what.as_str()), (1, what));
        };
        check(".{{ x", "unterminated directive");
        check(".{{# x", "unterminated comment");
        check(".{{ \"x }}", "unterminated string literal");
        check(".{{ raw }} x", "unterminated `{{ raw }}` block");
    }
}
