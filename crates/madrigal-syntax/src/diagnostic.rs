//! The only shape an error in a program takes on its way to the user.
//! Not here: how it is printed (`render.rs`).

/// Byte offsets into the source, end exclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The bytes from `start` up to `end`.
    pub fn new(start: u32, end: u32) -> Span {
        Span { start, end }
    }
}

impl From<rowan::TextRange> for Span {
    fn from(range: rowan::TextRange) -> Span {
        Span { start: range.start().into(), end: range.end().into() }
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The program must not run.
    Error,
    /// The program runs.
    Warning,
}

impl Severity {
    /// The word the rendered head starts with.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// What stands in brackets after the severity: `M0010`, or the name of a lint rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub &'static str);

#[allow(missing_docs)]
impl Code {
    pub const UNEXPECTED_CHARACTER: Code = Code("M0001");
    pub const UNTERMINATED_STRING: Code = Code("M0002");
    pub const UNTERMINATED_COMMENT: Code = Code("M0003");
    pub const UNEXPECTED_TOKEN: Code = Code("M0010");
    pub const UNEXPECTED_END: Code = Code("M0011");
    pub const REQUIRED_AFTER_DEFAULT: Code = Code("M0012");
    pub const REST_NOT_LAST: Code = Code("M0013");
    pub const MISPLACED_ATTRIBUTE: Code = Code("M0014");
    pub const MISSING_SEPARATOR: Code = Code("M0015");
    pub const SEPARATOR_BEFORE_CLAUSE: Code = Code("M0016");
    pub const OTHER_SYNTAX: Code = Code("M0017");
    pub const COMPILE: Code = Code("M0018");
    pub const UNKNOWN_STRUCT: Code = Code("M0120");
    pub const UNKNOWN_CALL_TARGET: Code = Code("M0401");
    pub const TRY_STAR_AT_TOP_LEVEL: Code = Code("M0402");
    pub const YIELD_IN_STREAM: Code = Code("M0501");
    pub const EMIT_OUTSIDE_STREAM: Code = Code("M0502");
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

/// Text behind the carets; empty for none.
pub type Label = String;

/// One error or warning about a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Its code.
    pub code: Code,
    /// What is wrong, on one line.
    pub message: String,
    /// Where.
    pub span: Span,
    /// Text behind the carets, or empty.
    pub label: Label,
    /// Advice, one line each.
    pub help: Vec<String>,
}

impl Diagnostic {
    /// An error at `span`.
    pub fn error(code: Code, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            code,
            message: message.into(),
            span,
            label: String::new(),
            help: Vec::new(),
        }
    }

    /// A warning at `span`.
    pub fn warning(code: Code, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(code, span, message) }
    }

    /// Sets the text behind the carets.
    #[must_use]
    pub fn label(mut self, text: impl Into<String>) -> Diagnostic {
        self.label = text.into();
        self
    }

    /// Adds a line of advice.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Diagnostic {
        self.help.push(text.into());
        self
    }
}
