//! `tool` declarations: a name bound to the registry that `__tool_declare` makes of name, description, schemas and handler.

use super::{Lowerer, span};
use crate::hir::{
    Argument, DictEntry, Expr, ExprKind, Function, FunctionKind, Name, Param, Pattern, Span, Statement, StatementKind,
    Type, UnaryOperator,
};
use madrigal_syntax::SyntaxKind::*;
use madrigal_syntax::{SyntaxNode, ast, literal};
use std::rc::Rc;
use std::sync::Arc;

/// The builtin that a declaration calls.
pub(crate) const DECLARE: &str = "__tool_declare";

/// What the handler calls its dict of arguments; no program can write it.
const ARGUMENTS: &str = "(arguments)";

impl Lowerer {
    /// `tool name(params) -> T { description ".." body }`
    pub(super) fn tool(&mut self, node: &SyntaxNode) -> StatementKind {
        let at = span(node);
        let declared = self.declared(node);
        let name = declared.name.clone().unwrap_or_else(|| (Arc::from(""), at));
        let Ok(function) = Rc::try_unwrap(declared) else {
            return StatementKind::Expr(expr(ExprKind::Nil, at));
        };
        for param in &function.params {
            if matches!(param.annotation, Some(Type::Function(..))) {
                let message = format!("parameter `{}` of a tool cannot be a function", param.name.0);
                self.compile_error(param.name.1, &message);
            }
        }
        let parameters = function.params.iter().map(|it| parameter(it, at)).collect();
        let returns = function.result.clone().map_or(ExprKind::Nil, ExprKind::TypeSchema);
        let arguments = [
            expr(ExprKind::String(name.0.clone()), at),
            expr(ExprKind::String(description(node)), at),
            expr(ExprKind::Dict(parameters), at),
            expr(returns, at),
            expr(ExprKind::Closure(Rc::new(handler(function, at))), at),
        ];
        let call = ExprKind::Call {
            name: (Arc::from(DECLARE), at),
            arguments: arguments.into_iter().map(|value| Argument { spread: false, value }).collect(),
        };
        StatementKind::Let {
            pattern: Pattern::Name(name.0, name.1),
            mutable: false,
            annotation: None,
            value: expr(call, at),
        }
    }
}

fn expr(kind: ExprKind, span: Span) -> Expr {
    Expr { kind, span }
}

fn field(key: &str, value: ExprKind, at: Span) -> DictEntry {
    DictEntry::Field { key: Arc::from(key), key_span: at, value: expr(value, at) }
}

/// The schema of a parameter, with what makes it optional.
fn parameter(param: &Param, at: Span) -> DictEntry {
    let mut entries: Vec<DictEntry> =
        param.annotation.iter().map(|it| DictEntry::Spread(expr(ExprKind::TypeSchema(it.clone()), at))).collect();
    if let Some(default) = &param.default {
        entries.push(field("required", ExprKind::Bool(false), at));
        entries.extend(constant(default).map(|it| field("default", it, at)));
    }
    field(&param.name.0, ExprKind::Dict(entries), at)
}

/// A copy of an expression that is a constant.
fn constant(value: &Expr) -> Option<ExprKind> {
    Some(match &value.kind {
        ExprKind::Nil => ExprKind::Nil,
        ExprKind::Bool(it) => ExprKind::Bool(*it),
        ExprKind::Int(it) => ExprKind::Int(*it),
        ExprKind::Float(it) => ExprKind::Float(*it),
        ExprKind::String(it) => ExprKind::String(it.clone()),
        ExprKind::Unary { operator: UnaryOperator::Negate, operand } => {
            let operand = Box::new(expr(constant(operand)?, value.span));
            ExprKind::Unary { operator: UnaryOperator::Negate, operand }
        }
        _ => return None,
    })
}

/// The body as a closure of one dict, whose entries become its parameters.
fn handler(function: Function, at: Span) -> Function {
    let arguments: Name = Arc::from(ARGUMENTS);
    let mut body = function.body;
    let bind = |param: Param| {
        let dict = expr(ExprKind::Name(arguments.clone()), at);
        let given = ExprKind::Property { object: Box::new(dict), name: param.name.clone(), optional: true };
        let value = match param.default {
            Some(default) => ExprKind::Coalesce(Box::new(expr(given, at)), Box::new(default)),
            None => given,
        };
        let pattern = Pattern::Name(param.name.0, param.name.1);
        let kind = StatementKind::Let { pattern, mutable: true, annotation: None, value: expr(value, at) };
        Statement { kind, span: at }
    };
    let bound: Vec<Statement> = function.params.into_iter().map(bind).collect();
    body.statements.splice(0..0, bound);
    let param = Param { name: (arguments, at), annotation: None, default: None, rest: false };
    Function {
        name: None,
        kind: FunctionKind::Closure,
        params: vec![param],
        result: None,
        public: false,
        body,
        ..function
    }
}

/// What the declaration says the tool does: its `description` line, else the doc comment before it.
fn description(node: &SyntaxNode) -> Name {
    let line = ast::child(node, BLOCK).and_then(|block| ast::child(&block, TOOL_DESCRIPTION));
    let text = line.and_then(|it| ast::token(&it, STRING).or_else(|| ast::token(&it, TRIPLE_STRING)));
    match text {
        Some(token) => literal::string_value(token.text()).into(),
        None => doc_comment(node).into(),
    }
}

/// The text of the doc comment that stands directly before a declaration.
fn doc_comment(node: &SyntaxNode) -> String {
    let mut lines = Vec::new();
    let mut element = node.prev_sibling_or_token();
    while let Some(token) = element.and_then(|it| it.into_token()) {
        let text = token.text();
        match token.kind() {
            WHITESPACE | NEWLINE => {}
            LINE_COMMENT if text.starts_with("///") && !text.starts_with("////") => {
                lines.insert(0, text[3..].trim().to_owned());
            }
            BLOCK_COMMENT if text.starts_with("/**") && lines.is_empty() => {
                let inside = text.trim_start_matches('/').trim_matches('*').trim_end_matches("*/");
                let inside = inside.lines().map(|it| it.trim().trim_start_matches('*').trim());
                return inside.filter(|it| !it.is_empty()).collect::<Vec<_>>().join("\n");
            }
            _ => break,
        }
        element = token.prev_sibling_or_token();
    }
    lines.join("\n")
}
