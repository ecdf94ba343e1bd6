//! The difference between an expected and an actual text, line by line.

use std::fmt::Write;

/// Lines shown of one difference; the rest is counted.
const SHOWN_MAX: usize = 40;

/// Empty when the texts are equal. Lines in common at both ends are left out but for one of each.
pub fn diff(expected: &str, actual: &str) -> String {
    if expected == actual {
        return String::new();
    }
    let (left, right) = (lines(expected), lines(actual));
    let start = left.iter().zip(&right).take_while(|(a, b)| a == b).count();
    let rest = left.len().min(right.len()) - start;
    let end = left.iter().rev().zip(right.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
    let mut out = String::new();
    if start > 0 {
        let _ = writeln!(out, "      {}: {}", start, left[start - 1]);
    }
    let removed = left[start..left.len() - end].iter().map(|line| ('-', line));
    let added = right[start..right.len() - end].iter().map(|line| ('+', line));
    let changed: Vec<_> = removed.chain(added).collect();
    for (sign, line) in changed.iter().take(SHOWN_MAX) {
        let _ = writeln!(out, "    {sign} {line}");
    }
    if changed.len() > SHOWN_MAX {
        let _ = writeln!(out, "    … {} more lines", changed.len() - SHOWN_MAX);
    }
    out
}

/// The lines, with a mark where the last one does not end.
fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if !text.is_empty() && !text.ends_with('\n') {
        let last = lines.last_mut().expect("a text that is not empty has a line");
        last.push_str(" [no newline]");
    }
    lines
}
