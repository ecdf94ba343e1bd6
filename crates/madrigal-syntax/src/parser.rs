//! The machine under the grammar: significant tokens, events, errors, recovery.
//! Not here: the language itself (`grammar/`). Three things bound its work whatever the text: `NESTING_MAX` stops
//! recursion, `fuel` stops loops that do not advance, and bracket matching is one pass before parsing.
//! After an error the parser is `failed`: further errors are silent until the statement list has found a boundary.

use std::cell::Cell;

use crate::ast;
use crate::diagnostic::{Code, Diagnostic, Span};
use crate::grammar;
use crate::kinds::SyntaxKind::{self, *};
use crate::lexer::{ERRORS_MAX, LexError, Token, lex};
use crate::literal;
use crate::significant::{Sig, significant};
use crate::source::{Position, line_starts, position_in};
use crate::tree::{SyntaxNode, build};

/// Brackets, blocks and prefix operators inside each other.
pub const NESTING_MAX: u32 = 256;
const FUEL: u32 = 100_000;

/// The result of parsing: always a tree, and what is wrong with the text.
#[derive(Clone, Debug)]
pub struct Parse {
    green: rowan::GreenNode,
    /// Errors, the one that counts first. Lexical errors hide those of the grammar.
    pub diagnostics: Vec<Diagnostic>,
}

impl Parse {
    /// The root of the tree.
    pub fn syntax(&self) -> SyntaxNode {
        SyntaxNode::new_root(self.green.clone())
    }

    /// The typed root of the tree.
    pub fn tree(&self) -> ast::SourceFile {
        ast::SourceFile::new(self.syntax())
    }

    /// Whether there are errors.
    pub fn has_errors(&self) -> bool {
        !self.diagnostics.is_empty()
    }
}

/// Parses a whole file. Never fails and never panics.
pub fn parse(text: &str) -> Parse {
    let (tokens, lex_errors) = lex(text);
    let mut parser = Parser::new(text, &tokens);
    grammar::items::source_file(&mut parser);
    let (events, mut diagnostics) = parser.into_parts();
    let built = build(text, &tokens, events);
    if let Some(at) = built.too_deep_at
        && diagnostics.is_empty()
    {
        let limit = crate::tree::TREE_DEPTH_MAX;
        let message = format!("expression chain is too long (limit {limit})");
        diagnostics.push(Diagnostic::error(Code::OTHER_SYNTAX, Span::new(at, at), message));
    }
    if !lex_errors.is_empty() {
        diagnostics = lexical(text, &lex_errors);
    }
    Parse { green: built.green, diagnostics }
}

fn lexical(text: &str, errors: &[LexError]) -> Vec<Diagnostic> {
    let lines = line_starts(text);
    let diagnostic = |error: &LexError| {
        let Position { line, column } = position_in(text, &lines, error.offset);
        let width = text[error.offset as usize..].chars().next().map_or(0, char::len_utf8) as u32;
        let span = Span::new(error.offset, error.offset + width);
        Diagnostic::error(error.code, span, format!("{} at {line}:{column}", error.message))
    };
    errors.iter().map(diagnostic).collect()
}

/// What the grammar did, in source order; `tree.rs` replays it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    Nothing,
    /// `parent` is the distance to the `Start` that wraps this one, 0 for none.
    Start {
        kind: SyntaxKind,
        parent: u32,
    },
    Finish,
    /// The next significant token, under this kind.
    Token(SyntaxKind),
}

/// An open node.
pub(crate) struct Marker(u32);

/// A finished node.
#[derive(Clone, Copy)]
pub(crate) struct Completed {
    at: u32,
    pub(crate) kind: SyntaxKind,
}

pub(crate) struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Sig>,
    pos: usize,
    events: Vec<Event>,
    diagnostics: Vec<Diagnostic>,
    lines: Option<Vec<u32>>,
    depth: u32,
    fuel: Cell<u32>,
    /// Set once parsing gave up: from here on every token reads as the end.
    stopped: bool,
    /// Errors are silent until the next statement boundary.
    pub(crate) failed: bool,
    /// Inside the head of `if`, `while`, …, where `scope {` is not the scope form.
    pub(crate) in_head: bool,
    /// Interpolations around the current token.
    pub(crate) holes: u32,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, tokens: &[Token]) -> Parser<'a> {
        let sigs = significant(text, tokens);
        Parser {
            text,
            events: Vec::with_capacity(sigs.len() * 3),
            tokens: sigs,
            pos: 0,
            diagnostics: Vec::new(),
            lines: None,
            depth: 0,
            fuel: Cell::new(FUEL),
            stopped: false,
            failed: false,
            in_head: false,
            holes: 0,
        }
    }

    fn into_parts(mut self) -> (Vec<Event>, Vec<Diagnostic>) {
        let last = self.tokens.len() - 1;
        if self.pos < last {
            self.events.push(Event::Start { kind: ERROR, parent: 0 });
            for index in self.pos..last {
                self.events.push(Event::Token(self.tokens[index].kind));
            }
            self.events.push(Event::Finish);
        }
        (self.events, self.diagnostics)
    }

    fn sig(&self, ahead: usize) -> &Sig {
        let last = self.tokens.len() - 1;
        let at = if self.stopped { last } else { (self.pos + ahead).min(last) };
        &self.tokens[at]
    }

    // Looking.

    pub(crate) fn current(&self) -> SyntaxKind {
        let left = self.fuel.get();
        if left == 0 {
            return END;
        }
        self.fuel.set(left - 1);
        self.sig(0).kind
    }

    pub(crate) fn nth(&self, ahead: usize) -> SyntaxKind {
        self.sig(ahead).kind
    }

    pub(crate) fn at(&self, kind: SyntaxKind) -> bool {
        self.current() == kind
    }

    pub(crate) fn at_word(&self, word: &str) -> bool {
        self.at(IDENT) && self.text_of(0) == word
    }

    pub(crate) fn text_of(&self, ahead: usize) -> &'a str {
        let sig = self.sig(ahead);
        &self.text[sig.start as usize..sig.end as usize]
    }

    /// Whether a newline stands before the token `ahead` of the current one.
    pub(crate) fn newline(&self, ahead: usize) -> bool {
        self.sig(ahead).newline
    }

    pub(crate) fn on_later_line(&self) -> bool {
        self.sig(0).later_line
    }

    /// Whether the current `{` opens a closure.
    pub(crate) fn has_arrow(&self) -> bool {
        self.sig(0).arrow
    }

    pub(crate) fn at_spread(&self) -> bool {
        self.at(DOT) && self.nth(1) == DOT && self.nth(2) == DOT
    }

    /// Whether the token can end a list of statements.
    pub(crate) fn at_block_end(&self) -> bool {
        match self.current() {
            R_BRACE | END => true,
            INTERPOLATION_END => self.holes > 0,
            _ => false,
        }
    }

    // Consuming.

    pub(crate) fn bump(&mut self) {
        let kind = self.sig(0).kind;
        self.bump_as(kind);
    }

    pub(crate) fn bump_n(&mut self, count: u32) {
        for _ in 0..count {
            self.bump();
        }
    }

    pub(crate) fn bump_as(&mut self, kind: SyntaxKind) {
        if !self.stopped && self.pos + 1 < self.tokens.len() {
            self.events.push(Event::Token(kind));
            self.pos += 1;
            self.fuel.set(FUEL);
        }
    }

    pub(crate) fn eat(&mut self, kind: SyntaxKind) -> bool {
        let found = self.at(kind);
        if found {
            self.bump();
        }
        found
    }

    pub(crate) fn expect(&mut self, kind: SyntaxKind) -> bool {
        let found = self.eat(kind);
        if !found {
            self.expected(kind.spelling());
        }
        found
    }

    /// An identifier; reserved words are refused by name.
    pub(crate) fn expect_name(&mut self, what: &str) -> bool {
        if self.at(IDENT) {
            self.bump();
            return true;
        }
        if self.current().is_reserved() {
            let token = format!("'{}' (reserved keyword)", self.text_of(0));
            self.expected_but(Code::UNEXPECTED_TOKEN, what, &token, "");
        } else {
            self.expected(what);
        }
        false
    }

    /// An identifier or any reserved word, which then becomes an identifier.
    pub(crate) fn expect_key(&mut self, what: &str) -> bool {
        let found = self.at(IDENT) || self.current().is_reserved();
        if found {
            self.bump_as(IDENT);
        } else {
            self.expected(what);
        }
        found
    }

    // Nodes.

    pub(crate) fn start(&mut self) -> Marker {
        self.events.push(Event::Start { kind: ERROR, parent: 0 });
        Marker(self.events.len() as u32 - 1)
    }

    pub(crate) fn complete(&mut self, marker: Marker, kind: SyntaxKind) -> Completed {
        if let Event::Start { kind: slot, .. } = &mut self.events[marker.0 as usize] {
            *slot = kind;
        }
        self.events.push(Event::Finish);
        Completed { at: marker.0, kind }
    }

    pub(crate) fn abandon(&mut self, marker: Marker) {
        self.events[marker.0 as usize] = Event::Nothing;
    }

    pub(crate) fn precede(&mut self, child: Completed) -> Marker {
        let marker = self.start();
        if let Event::Start { parent, .. } = &mut self.events[child.at as usize] {
            *parent = marker.0 - child.at;
        }
        marker
    }

    /// Goes one level deeper; false, with an error, at the limit. Pair with [`Parser::leave`].
    pub(crate) fn enter(&mut self) -> bool {
        if self.depth >= NESTING_MAX {
            let message = format!("nesting is too deep (limit {NESTING_MAX})");
            self.report(Code::OTHER_SYNTAX, message);
            self.stopped = true;
            return false;
        }
        self.depth += 1;
        true
    }

    pub(crate) fn leave(&mut self) {
        self.depth -= 1;
    }

    // Errors.

    /// `Expected WHAT, got TOKEN at L:C` at the current token.
    pub(crate) fn expected(&mut self, what: &str) {
        if !self.failed {
            let token = self.describe(0);
            self.expected_but(Code::UNEXPECTED_TOKEN, what, &token, "");
        }
    }

    pub(crate) fn expected_with(&mut self, code: Code, what: &str, suffix: &str) {
        if !self.failed {
            let token = self.describe(0);
            self.expected_but(code, what, &token, suffix);
        }
    }

    /// The same, but a newline before the current token counts as the token.
    pub(crate) fn expected_on_this_line(&mut self, what: &str) {
        if self.failed || self.at(END) {
            return self.expected(what);
        }
        let from = self.pos.checked_sub(1).map_or(0, |before| self.tokens[before].end as usize);
        let offset = self.text[from..].find('\n').map_or(from, |at| from + at) as u32;
        let Position { line, column } = self.position(offset);
        let message = format!("Expected {what}, got \\n at {line}:{column}");
        self.push(Diagnostic::error(Code::UNEXPECTED_TOKEN, Span::new(offset, offset), message));
    }

    fn expected_but(&mut self, code: Code, what: &str, token: &str, suffix: &str) {
        if self.failed {
            return;
        }
        if self.at(END) {
            let end = self.text.len() as u32;
            let message = format!("Unexpected end of file, expected {what}");
            return self.push(Diagnostic::error(Code::UNEXPECTED_END, Span::new(end, end), message));
        }
        let Position { line, column } = self.position(self.sig(0).start);
        self.report(code, format!("Expected {what}, got {token} at {line}:{column}{suffix}"));
    }

    /// An error that does not disturb parsing: the rule is broken, the shape is clear.
    pub(crate) fn broken_rule(&mut self, code: Code, what: &str) {
        let failed = self.failed;
        self.expected_with(code, what, "");
        self.failed = failed;
    }

    /// An error with a text of its own at the current token.
    pub(crate) fn report(&mut self, code: Code, message: String) {
        let sig = *self.sig(0);
        self.push(Diagnostic::error(code, Span::new(sig.start, sig.end), message));
    }

    fn push(&mut self, diagnostic: Diagnostic) {
        if !self.failed && !self.stopped && self.diagnostics.len() < ERRORS_MAX {
            self.diagnostics.push(diagnostic);
        }
        self.failed = true;
    }

    fn position(&mut self, offset: u32) -> Position {
        let lines = self.lines.get_or_insert_with(|| line_starts(self.text));
        position_in(self.text, lines, offset)
    }

    /// The current token as messages print it.
    fn describe(&self, ahead: usize) -> String {
        let text = self.text_of(ahead);
        match self.nth(ahead) {
            IDENT => format!("id({text})"),
            STRING | TRIPLE_STRING => format!("str({})", literal::string_value(text)),
            STRING_START => "istr(...)".to_owned(),
            RAW_STRING => format!("rstr({})", literal::string_value(text)),
            INT | FLOAT => match literal::number_value(text) {
                literal::Number::Int(value) => format!("int({value})"),
                literal::Number::Float(value) => format!("float({value:?})"),
            },
            DURATION => format!("duration({}ms)", literal::duration_value(text).unwrap_or(i64::MAX)),
            END => "EOF".to_owned(),
            _ => text.to_owned(),
        }
    }

    // Recovery.

    /// Skips to the next statement boundary and starts listening to errors again. `from` is where the failed statement
    /// began; at least one token is consumed since then unless a block ends here.
    pub(crate) fn resync(&mut self, from: usize, top: bool) {
        let marker = self.start();
        let begun = self.pos;
        loop {
            match self.current() {
                END => break,
                INTERPOLATION_END if self.holes > 0 => break,
                R_BRACE if !top => break,
                SEMICOLON => {
                    self.bump();
                    break;
                }
                kind if self.pos > from && self.newline(0) && starts_statement(kind) => break,
                L_BRACE | L_PAREN | L_BRACKET | INTERPOLATION_START if self.sig(0).partner > 0 => {
                    let to = self.sig(0).partner as usize;
                    while self.pos <= to {
                        self.bump();
                    }
                }
                _ => self.bump(),
            }
        }
        self.end_error_node(marker, begun);
        self.failed = false;
    }

    fn end_error_node(&mut self, marker: Marker, begun: usize) {
        if self.pos > begun {
            self.complete(marker, ERROR);
        } else {
            self.abandon(marker);
        }
    }

    /// After `${`: where its `}` is.
    pub(crate) fn hole_end(&self) -> usize {
        self.pos.checked_sub(1).map_or(0, |open| self.tokens[open].partner as usize)
    }

    /// Skips up to the end of an interpolation.
    pub(crate) fn skip_to(&mut self, to: usize) {
        let marker = self.start();
        let begun = self.pos;
        while self.pos < to && !self.at(END) {
            self.bump();
        }
        self.end_error_node(marker, begun);
    }

    pub(crate) fn position_index(&self) -> usize {
        self.pos
    }
}

fn starts_statement(kind: SyntaxKind) -> bool {
    matches!(
        kind,
        LET_KW
            | VAR_KW
            | FN_KW
            | FOR_KW
            | WHILE_KW
            | IF_KW
            | MATCH_KW
            | RETURN_KW
            | THROW_KW
            | GUARD_KW
            | REQUIRE_KW
            | YIELD_KW
            | EMIT_KW
            | DEFER_KW
            | MUTEX_KW
            | SELECT_KW
            | BREAK_KW
            | CONTINUE_KW
            | OVERRIDE_KW
            | TOOL_KW
            | SKILL_KW
            | EVAL_PACK_KW
            | STRUCT_KW
            | ENUM_KW
            | INTERFACE_KW
            | IMPL_KW
            | TYPE_KW
            | PUB_KW
            | IMPORT_KW
            | PIPELINE_KW
            | TRY_KW
            | RETRY_KW
            | PARALLEL_KW
            | DEADLINE_KW
            | SPAWN_KW
    )
}
