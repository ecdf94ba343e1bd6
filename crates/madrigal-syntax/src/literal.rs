//! What literal tokens mean: escapes, indentation, numbers, durations.
//! Not here: finding the tokens (`lexer.rs`).

/// The text of a `"..."` literal between its quotes, escapes resolved. Unknown escapes stay as they are.
pub fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let tail = &rest[at + 1..];
        let resolved = match tail.as_bytes().first() {
            Some(b'n') => "\n",
            Some(b't') => "\t",
            Some(b'\\') => "\\",
            Some(b'"') => "\"",
            Some(b'$') => "$",
            _ => {
                out.push('\\');
                rest = tail;
                continue;
            }
        };
        out.push_str(resolved);
        rest = &tail[1..];
    }
    out.push_str(rest);
    out
}

/// The value of a whole string token, quotes included, of any of the three forms without interpolation.
pub fn string_value(token: &str) -> String {
    if let Some(raw) = token.strip_prefix("r\"") {
        return raw.strip_suffix('"').unwrap_or(raw).to_owned();
    }
    if token.len() >= 6
        && let Some(inner) = token.strip_prefix("\"\"\"").and_then(|text| text.strip_suffix("\"\"\""))
    {
        return dedent(&[Piece::Text(inner)]).concat();
    }
    let inner = token.strip_prefix('"').unwrap_or(token);
    unescape(inner.strip_suffix('"').unwrap_or(inner))
}

/// A part of a multi-line string as written.
#[derive(Clone, Copy, Debug)]
pub enum Piece<'a> {
    /// Literal text.
    Text(&'a str),
    /// An interpolation: a non-blank character for indentation.
    Hole,
}

/// Applies the indentation rule of `"""` strings. The result has one text before, between and after the holes.
pub fn dedent(pieces: &[Piece<'_>]) -> Vec<String> {
    let mut lines: Vec<Vec<Piece<'_>>> = vec![Vec::new()];
    for (index, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Hole => push_piece(&mut lines, Piece::Hole),
            Piece::Text(text) => {
                let text = if index == 0 { drop_first_newline(text) } else { text };
                let mut parts = text.split('\n').peekable();
                while let Some(part) = parts.next() {
                    // A file with line ends of two characters holds the same text.
                    let ended = parts.peek().is_some();
                    let part = if ended { part.strip_suffix('\r').unwrap_or(part) } else { part };
                    push_piece(&mut lines, Piece::Text(part));
                    if ended {
                        lines.push(Vec::new());
                    }
                }
            }
        }
    }
    let indent = lines.iter().filter(|line| !is_blank(line)).map(|line| indentation(line)).min().unwrap_or(0);
    join(&lines, indent)
}

fn push_piece<'a>(lines: &mut [Vec<Piece<'a>>], piece: Piece<'a>) {
    if let Some(line) = lines.last_mut() {
        line.push(piece);
    }
}

fn drop_first_newline(text: &str) -> &str {
    text.strip_prefix('\n').or_else(|| text.strip_prefix("\r\n")).unwrap_or(text)
}

fn is_blank(line: &[Piece<'_>]) -> bool {
    line.iter().all(|piece| matches!(piece, Piece::Text(text) if text.trim().is_empty()))
}

fn indentation(line: &[Piece<'_>]) -> usize {
    match line.first() {
        Some(Piece::Text(text)) => text.len() - text.trim_start_matches([' ', '\t']).len(),
        _ => 0,
    }
}

fn join(lines: &[Vec<Piece<'_>>], indent: usize) -> Vec<String> {
    let mut out = vec![String::new()];
    for (nth, line) in lines.iter().enumerate() {
        let mut text = if nth > 0 { "\n".to_owned() } else { String::new() };
        let blank = is_blank(line);
        for (position, piece) in line.iter().enumerate() {
            match piece {
                Piece::Hole => {
                    append(&mut out, &text);
                    out.push(String::new());
                    text.clear();
                }
                Piece::Text(_) if blank => {}
                Piece::Text(part) if position == 0 => text.push_str(part.get(indent..).unwrap_or("")),
                Piece::Text(part) => text.push_str(part),
            }
        }
        append(&mut out, &text);
    }
    if let Some(last) = out.last_mut()
        && last.ends_with('\n')
    {
        last.pop();
    }
    out
}

fn append(out: &mut [String], text: &str) {
    if let Some(last) = out.last_mut() {
        last.push_str(text);
    }
}

/// A number: int literals outside the range of `i64` are floats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// Fits.
    Int(i64),
    /// Does not, or has a point.
    Float(f64),
}

/// The value of an int or float token.
pub fn number_value(token: &str) -> Number {
    match token.parse::<i64>() {
        Ok(value) => Number::Int(value),
        Err(_) => Number::Float(token.parse().unwrap_or(f64::INFINITY)),
    }
}

/// Milliseconds of a duration token; `None` when they do not fit.
pub fn duration_value(token: &str) -> Option<i64> {
    let digits = token.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: i64 = match &token[digits.len()..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => 604_800_000,
    };
    digits.parse::<i64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        assert_eq!(string_value(r#""a\n\d\\\"\$""#), "a\n\\d\\\"$");
        assert_eq!(string_value(r#"r"a\n""#), "a\\n");
    }

    #[test]
    fn multi_line_strings_lose_their_indentation() {
        assert_eq!(string_value("\"\"\"\n    a:\n      b\\n\n\n    \"\"\""), "a:\n  b\\n\n");
        assert_eq!(string_value("\"\"\"a\"\"\""), "a");
        assert_eq!(string_value("\"\"\"\r\n  a\r\n  b\r\n  \"\"\""), "a\nb");
        assert_eq!(string_value("\"\"\"\"\"\""), "");
        let pieces = [Piece::Text("\n    server:\n      host="), Piece::Hole, Piece::Text("\n    ")];
        assert_eq!(dedent(&pieces), ["server:\n  host=", ""]);
    }

    #[test]
    fn numbers_and_durations() {
        assert_eq!(number_value("7"), Number::Int(7));
        assert_eq!(number_value("9223372036854775808"), Number::Float(9223372036854775808.0));
        assert_eq!(duration_value("2m"), Some(120_000));
        assert_eq!(duration_value("5ms"), Some(5));
        assert_eq!(duration_value("9223372036854775807w"), None);
    }
}
