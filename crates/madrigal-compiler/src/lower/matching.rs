//! `match`: its patterns are parsed as expressions and told apart here. Also the placeholder of pipes, the other
//! rule that looks at finished expressions.

use madrigal_syntax::SyntaxKind::*;
use madrigal_syntax::{SyntaxNode, ast};

use super::{Lowerer, nil, span};
use crate::hir::*;

/// Beyond this many patterns inside patterns, `otherwise` of enum patterns is left without arguments.
const PATTERN_DEPTH_MAX: u32 = 3;

impl Lowerer {
    pub(super) fn match_(&mut self, node: &SyntaxNode) -> ExprKind {
        let subject = Box::new(self.expr_in(node));
        let arms = ast::children(node, MATCH_ARM).map(|arm| self.arm(&arm)).collect();
        ExprKind::Match { subject, arms }
    }

    fn arm(&mut self, node: &SyntaxNode) -> MatchArm {
        let pattern = match ast::expr(node) {
            Some(pattern) => self.match_pattern(&pattern),
            None => MatchPattern::Any,
        };
        let guard = ast::child(node, MATCH_GUARD);
        let guard = guard.map(|guard| self.expr_in(&guard));
        MatchArm { pattern, guard, body: self.child_block(node), span: span(node) }
    }

    fn match_pattern(&mut self, node: &SyntaxNode) -> MatchPattern {
        if node.kind() == OR_PATTERN {
            return MatchPattern::Alternatives(ast::exprs(node).map(|alternative| self.expr(&alternative)).collect());
        }
        self.pattern_depth += 1;
        let value = self.expr(node);
        let pattern = self.classify(node, value);
        self.pattern_depth -= 1;
        pattern
    }

    fn classify(&mut self, node: &SyntaxNode, value: Expr) -> MatchPattern {
        let Expr { kind, span } = value;
        match kind {
            ExprKind::Name(name) if &*name == "_" => MatchPattern::Any,
            ExprKind::Name(name) => MatchPattern::Bind(name, span),
            ExprKind::List(items) if items.iter().all(|item| !item.spread) => {
                MatchPattern::List(items.into_iter().map(|argument| item(argument.value)).collect())
            }
            ExprKind::Dict(entries) if entries.iter().all(|it| matches!(it, DictEntry::Field { .. })) => {
                MatchPattern::Dict(entries.into_iter().filter_map(dict_item).collect())
            }
            ExprKind::Property { object, name, optional: false } => match object.kind {
                ExprKind::Name(enum_name) => MatchPattern::Variant {
                    enum_name: (enum_name, object.span),
                    variant: name.0,
                    fields: Vec::new(),
                    otherwise: Box::new(self.again(node)),
                },
                kind => {
                    let object = Box::new(Expr { kind, span: object.span });
                    value_pattern(ExprKind::Property { object, name, optional: false }, span)
                }
            },
            ExprKind::MethodCall { receiver, name, arguments, optional: false }
                if arguments.iter().all(|argument| !argument.spread) =>
            {
                match receiver.kind {
                    ExprKind::Name(enum_name) => MatchPattern::Variant {
                        enum_name: (enum_name, receiver.span),
                        variant: name.0,
                        fields: arguments.into_iter().map(|argument| item(argument.value)).collect(),
                        otherwise: Box::new(self.again(node)),
                    },
                    kind => {
                        let receiver = Box::new(Expr { kind, span: receiver.span });
                        value_pattern(ExprKind::MethodCall { receiver, name, arguments, optional: false }, span)
                    }
                }
            }
            kind => value_pattern(kind, span),
        }
    }

    /// The pattern once more, as a plain expression.
    fn again(&mut self, node: &SyntaxNode) -> Expr {
        if self.pattern_depth > PATTERN_DEPTH_MAX { nil(span(node)) } else { self.expr(node) }
    }
}

fn value_pattern(kind: ExprKind, span: Span) -> MatchPattern {
    MatchPattern::Value(Expr { kind, span })
}

fn item(value: Expr) -> MatchItem {
    match value.kind {
        ExprKind::Name(name) if &*name == "_" => MatchItem::Any,
        ExprKind::Name(name) => MatchItem::Bind(name, value.span),
        kind => MatchItem::Value(Expr { kind, span: value.span }),
    }
}

fn dict_item(entry: DictEntry) -> Option<(Name, MatchItem)> {
    match entry {
        DictEntry::Field { key, value, .. } => Some((key, item(value))),
        DictEntry::Computed { .. } | DictEntry::Spread(_) => None,
    }
}

/// Turns every `_` of `expr` that a pipe binds into a placeholder; false when there is none.
pub(super) fn bind_placeholder(expr: &mut Expr) -> bool {
    match &mut expr.kind {
        ExprKind::Name(name) if &**name == "_" => {
            expr.kind = ExprKind::Placeholder;
            true
        }
        ExprKind::Call { arguments, .. } | ExprKind::List(arguments) => bind_arguments(arguments),
        ExprKind::MethodCall { receiver, arguments, optional: false, .. } => {
            bind_placeholder(receiver) | bind_arguments(arguments)
        }
        ExprKind::Unary { operand, .. } | ExprKind::Propagate(operand) | ExprKind::TryStar(operand) => {
            bind_placeholder(operand)
        }
        ExprKind::Binary { left, right, .. }
        | ExprKind::And(left, right)
        | ExprKind::Or(left, right)
        | ExprKind::Coalesce(left, right)
        | ExprKind::Range { start: left, end: right, .. } => bind_placeholder(left) | bind_placeholder(right),
        ExprKind::PipeCall { value, .. } | ExprKind::PipeBind { value, .. } => bind_placeholder(value),
        ExprKind::Property { object, optional: false, .. } => bind_placeholder(object),
        ExprKind::Index { object, index, optional: false } => bind_placeholder(object) | bind_placeholder(index),
        ExprKind::Slice { object, start, end } => {
            let start = start.as_mut().is_some_and(|bound| bind_placeholder(bound));
            let end = end.as_mut().is_some_and(|bound| bind_placeholder(bound));
            bind_placeholder(object) | start | end
        }
        _ => false,
    }
}

fn bind_arguments(arguments: &mut [Argument]) -> bool {
    arguments.iter_mut().fold(false, |found, argument| bind_placeholder(&mut argument.value) | found)
}
