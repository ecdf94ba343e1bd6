//! Diagnostics and runtime errors as text. The only place that knows what they look like.
//! Not here: colours, terminals, reading files.

use std::fmt::Write;

use crate::diagnostic::Diagnostic;
use crate::source::{Position, SourceFile};

/// An error as it is printed: a head, at most one place in a source, then advice and notes.
#[derive(Clone, Debug, Default)]
pub struct Report<'a> {
    /// The first line, such as `error: Runtime error: Division by zero (line 3)`.
    pub head: String,
    /// Where, when it has a place.
    pub location: Option<Location<'a>>,
    /// `= help:` lines.
    pub help: Vec<String>,
    /// `= note:` lines.
    pub notes: Vec<String>,
}

/// A place to show.
#[derive(Clone, Debug)]
pub struct Location<'a> {
    /// The path to print.
    pub path: &'a str,
    /// The text; its line is left out when absent.
    pub source: Option<&'a SourceFile>,
    /// Line and column.
    pub position: Position,
    /// Carets; 0 marks the identifier or number that stands there, else one character.
    pub carets: usize,
    /// Text behind the carets.
    pub label: &'a str,
}

/// A diagnostic about `source`, ending with a newline.
pub fn render(diagnostic: &Diagnostic, source: &SourceFile) -> String {
    let position = source.position(diagnostic.span.start);
    render_report(&Report {
        head: format!("{}[{}]: {}", diagnostic.severity.word(), diagnostic.code, diagnostic.message),
        location: Some(Location {
            path: &source.path,
            source: Some(source),
            position,
            carets: span_width(diagnostic, source, position.line),
            label: &diagnostic.label,
        }),
        help: diagnostic.help.clone(),
        notes: Vec::new(),
    })
}

/// Any report, ending with a newline.
pub fn render_report(report: &Report<'_>) -> String {
    let mut out = format!("{}\n", report.head);
    let line = report.location.as_ref().map_or(1, |location| location.position.line);
    let gutter = line.to_string().len() + 1;
    if let Some(location) = &report.location {
        render_location(&mut out, location, gutter);
    }
    for help in &report.help {
        let _ = writeln!(out, "{:gutter$} = help: {help}", "");
    }
    for note in &report.notes {
        let _ = writeln!(out, "{:gutter$}= note: {note}", "");
    }
    out
}

fn render_location(out: &mut String, location: &Location<'_>, gutter: usize) {
    let Position { line, column } = location.position;
    let _ = writeln!(out, "{:gutter$}--> {}:{line}:{column}", "", location.path);
    let Some(text) = location.source.and_then(|source| source.line(line)) else {
        return;
    };
    let carets = match location.carets {
        0 => token_width(text, column),
        width => width,
    };
    let _ = writeln!(out, "{:gutter$} |", "");
    let _ = writeln!(out, "{line:>gutter$} | {text}");
    let _ = write!(out, "{:gutter$} | {:pad$}{:^<carets$}", "", "", "", pad = column as usize - 1);
    if !location.label.is_empty() {
        let _ = write!(out, " {}", location.label);
    }
    out.push('\n');
}

fn span_width(diagnostic: &Diagnostic, source: &SourceFile, line: u32) -> usize {
    let start = diagnostic.span.start as usize;
    let end = (diagnostic.span.end as usize).min(source.text.len());
    let covered = source.text.get(start..end).unwrap_or("");
    let first = covered.split('\n').next().unwrap_or("");
    let on_line = if source.line(line).is_some() { first.chars().count() } else { 0 };
    on_line.max(1)
}

fn token_width(line: &str, column: u32) -> usize {
    let rest = line.chars().skip(column as usize - 1);
    rest.take_while(|c| c.is_alphanumeric() || *c == '_').count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::{Code, Span};

    #[test]
    fn diagnostic_with_help() {
        let source = SourceFile::new("deploy.harn", "a\nb\nc\n  let port: int = \"8080\"\n");
        let diagnostic = Diagnostic::error(Code::COMPILE, Span::new(8, 30), "no").help("drop the quotes");
        let expected = "error[M0018]: no\n  --> deploy.harn:4:3\n   |\n 4 |   let port: int = \"8080\"\n   |   \
                        ^^^^^^^^^^^^^^^^^^^^^^\n   = help: drop the quotes\n";
        assert_eq!(render(&diagnostic, &source), expected);
    }

    #[test]
    fn runtime_error_with_notes() {
        let source = SourceFile::new("jobs/run.harn", "\n\n  return a / b\n");
        let report = Report {
            head: "error: Runtime error: Division by zero (line 3)".to_owned(),
            location: Some(Location {
                path: &source.path,
                source: Some(&source),
                position: Position { line: 3, column: 10 },
                carets: 0,
                label: "",
            }),
            help: Vec::new(),
            notes: vec!["called from pipeline at jobs/run.harn:8".to_owned()],
        };
        let expected = "error: Runtime error: Division by zero (line 3)\n  --> jobs/run.harn:3:10\n   |\n 3 |   return a \
                        / b\n   |          ^\n  = note: called from pipeline at jobs/run.harn:8\n";
        assert_eq!(render_report(&report), expected);
    }
}
