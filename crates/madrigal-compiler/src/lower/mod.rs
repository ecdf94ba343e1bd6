//! From the syntax tree to HIR: literals get their values, sugar goes away, and the rules that need only the shape of the
//! program are checked (`break` outside of loops, misplaced `...` and `|`, `yield`, `emit`, `try*`).
//! Not here: names, types. Every tree lowers, also one with syntax errors; what is missing becomes `nil`.
//! Chains (`a + a + …`, `a.b.c…`, `else if …`) are walked in loops: only real nesting, which the parser bounds, recurses.

mod agents;
mod concurrency;
mod expressions;
mod items;
mod matching;
mod patterns;
mod statements;
#[cfg(test)]
mod tests;
mod types;

pub(crate) use agents::DECLARE;

use std::collections::HashSet;
use std::sync::Arc;

use madrigal_syntax::SyntaxKind::{self, *};
use madrigal_syntax::{Code, Diagnostic, Parse, SourceFile, SyntaxNode, SyntaxToken, ast};

use crate::hir::{Block, Expr, ExprKind, Module, Name, Span, Statement, StatementKind};

const DIAGNOSTICS_MAX: usize = 100;

/// Lowers a parsed file. The diagnostics are compile errors; those of the parser are not repeated.
pub fn lower(parse: &Parse) -> (Module, Vec<Diagnostic>) {
    let root = parse.syntax();
    let mut lowerer = Lowerer {
        root: root.clone(),
        source: None,
        diagnostics: Vec::new(),
        module: Module::default(),
        frames: vec![Frame::default()],
        pattern_depth: 0,
    };
    let body = lowerer.block(&root);
    lowerer.module.body = body;
    (lowerer.module, lowerer.diagnostics)
}

struct Lowerer {
    root: SyntaxNode,
    /// Line table for messages; made at the first one.
    source: Option<SourceFile>,
    diagnostics: Vec<Diagnostic>,
    /// Imports and pipelines collected so far.
    module: Module,
    /// One per function around the current place; the first stands for the top level.
    frames: Vec<Frame>,
    /// Enum patterns around the current one; their arguments are lowered twice, so this bounds the doubling.
    pattern_depth: u32,
}

/// What lowering knows of a function while inside it.
#[derive(Default)]
struct Frame {
    /// Variables assigned to, each once, in order.
    assigned: Vec<Name>,
    assigned_known: HashSet<Name>,
    yields: bool,
    /// It is a `gen fn`.
    stream: bool,
    /// Loops of this function around the current place.
    loops: u32,
    /// It is a function at all, not the top level.
    function: bool,
}

impl Lowerer {
    fn frame(&mut self) -> &mut Frame {
        if self.frames.is_empty() {
            self.frames.push(Frame::default());
        }
        let last = self.frames.len() - 1;
        &mut self.frames[last]
    }

    /// Runs `body` inside a new function and returns what was learned of it.
    fn in_function<T>(&mut self, stream: bool, body: impl FnOnce(&mut Self) -> T) -> (T, Frame) {
        self.frames.push(Frame { stream, function: true, ..Frame::default() });
        let result = body(self);
        let frame = self.frames.pop().unwrap_or_default();
        (result, frame)
    }

    /// `Compile error at line L: MESSAGE`
    fn compile_error(&mut self, span: Span, message: &str) {
        let root = &self.root;
        let source = self.source.get_or_insert_with(|| SourceFile::new("", root.text().to_string()));
        let line = source.line_of(span.start);
        self.error(Code::COMPILE, span, format!("Compile error at line {line}: {message}"));
    }

    fn error(&mut self, code: Code, span: Span, message: String) {
        let diagnostic = Diagnostic::error(code, madrigal_syntax::Span::new(span.start, span.end), message);
        if self.diagnostics.len() < DIAGNOSTICS_MAX && !self.diagnostics.contains(&diagnostic) {
            self.diagnostics.push(diagnostic);
        }
    }

    /// The statements directly in `node`, with the span of `node`.
    fn block(&mut self, node: &SyntaxNode) -> Block {
        let mut statements = Vec::new();
        for child in node.children() {
            if let Some(kind) = self.statement(&child) {
                statements.push(Statement { kind, span: span(&child) });
            }
        }
        Block { statements, span: span(node) }
    }

    /// The first block among the children of `node`.
    fn child_block(&mut self, node: &SyntaxNode) -> Block {
        match ast::child(node, BLOCK) {
            Some(block) => self.block(&block),
            None => Block { statements: Vec::new(), span: span(node) },
        }
    }

    /// A block that can be left by `break` and `continue`.
    fn loop_block(&mut self, node: &SyntaxNode) -> Block {
        self.frame().loops += 1;
        let block = self.child_block(node);
        self.frame().loops -= 1;
        block
    }
}

fn span(node: &SyntaxNode) -> Span {
    range(node.text_range().into())
}

fn token_span(token: &SyntaxToken) -> Span {
    range(token.text_range().into())
}

fn range(span: madrigal_syntax::Span) -> Span {
    Span { start: span.start, end: span.end }
}

fn text(token: &SyntaxToken) -> Name {
    Arc::from(token.text())
}

fn named(token: &SyntaxToken) -> (Name, Span) {
    (text(token), token_span(token))
}

/// The first identifier directly in `node`; empty after a syntax error.
fn name_of(node: &SyntaxNode) -> (Name, Span) {
    ast::token(node, IDENT).map_or_else(|| (Arc::from(""), span(node)), |token| named(&token))
}

fn has(node: &SyntaxNode, kind: SyntaxKind) -> bool {
    ast::token(node, kind).is_some()
}

fn nil(span: Span) -> Expr {
    Expr { kind: ExprKind::Nil, span }
}

/// A block whose only statement is `value`.
fn value_block(value: Expr, span: Span) -> Block {
    Block { statements: vec![Statement { kind: StatementKind::Expr(value), span }], span }
}
