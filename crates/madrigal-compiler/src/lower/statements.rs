//! Statements and places.

use std::sync::Arc;

use madrigal_syntax::SyntaxKind::*;
use madrigal_syntax::{Code, SyntaxNode, ast};

use super::items::inert;
use super::{Lowerer, name_of, named, nil, span};
use crate::hir::*;

impl Lowerer {
    /// The statement `node` is; nothing for imports, pipelines and nodes that are no statements.
    pub(super) fn statement(&mut self, node: &SyntaxNode) -> Option<StatementKind> {
        Some(match node.kind() {
            EXPR_STMT => StatementKind::Expr(self.expr_in(node)),
            ASSIGN_STMT => self.assign(node),
            LET_STMT => self.let_(node),
            FOR_STMT => self.for_(node),
            WHILE_STMT => StatementKind::While { condition: self.expr_in(node), body: self.loop_block(node) },
            RETURN_STMT => StatementKind::Return(self.opt_expr_in(node)),
            THROW_STMT => StatementKind::Throw(self.expr_in(node)),
            GUARD_STMT => StatementKind::Guard { condition: self.expr_in(node), otherwise: self.child_block(node) },
            REQUIRE_STMT => self.require(node),
            YIELD_STMT => self.yield_(node),
            EMIT_STMT => self.emit(node),
            DEFER_STMT => self.defer(node),
            BREAK_STMT => self.jump(node, StatementKind::Break, "break outside of loop"),
            CONTINUE_STMT => self.jump(node, StatementKind::Continue, "continue outside of loop"),
            FN_DECL => StatementKind::Function(self.declared(node)),
            TOOL_DECL => self.tool(node),
            STRUCT_DECL => StatementKind::Struct(self.struct_(node)),
            ENUM_DECL => StatementKind::Enum(self.enum_(node)),
            IMPL_DECL => StatementKind::Impl(self.impl_(node)),
            INTERFACE_DECL => StatementKind::Interface(self.interface(node)),
            TYPE_ALIAS => self.type_alias(node),
            SKILL_DECL => inert(node, "skill"),
            EVAL_PACK_DECL => inert(node, "eval_pack"),
            OVERRIDE_DECL => StatementKind::Override { name: name_of(node).0 },
            IMPORT => {
                self.import(node);
                return None;
            }
            PIPELINE_DECL => {
                self.pipeline(node);
                return None;
            }
            _ => return None,
        })
    }

    fn let_(&mut self, node: &SyntaxNode) -> StatementKind {
        StatementKind::Let {
            pattern: self.pattern_in(node),
            mutable: super::has(node, VAR_KW),
            annotation: ast::type_(node).map(|node| self.type_(&node)),
            value: self.expr_in(node),
        }
    }

    fn for_(&mut self, node: &SyntaxNode) -> StatementKind {
        StatementKind::For {
            pattern: self.for_pattern(node),
            iterable: self.expr_in(node),
            body: self.loop_block(node),
        }
    }

    fn require(&mut self, node: &SyntaxNode) -> StatementKind {
        let mut parts = ast::exprs(node);
        let condition = parts.next().map_or_else(|| nil(span(node)), |part| self.expr(&part));
        StatementKind::Require { condition, message: parts.next().map(|part| self.expr(&part)) }
    }

    fn yield_(&mut self, node: &SyntaxNode) -> StatementKind {
        if self.frame().stream {
            let message = "`yield` is not a stream emit; use `emit` inside `gen fn`";
            self.error(Code::YIELD_IN_STREAM, span(node), message.to_owned());
        }
        self.frame().yields = true;
        StatementKind::Yield(self.opt_expr_in(node))
    }

    fn emit(&mut self, node: &SyntaxNode) -> StatementKind {
        if !self.frame().stream {
            let message = "`emit` can only be used inside a `gen fn`";
            self.error(Code::EMIT_OUTSIDE_STREAM, span(node), message.to_owned());
        }
        StatementKind::Emit(self.expr_in(node))
    }

    /// A deferred block runs while its scope is left: no loop around it can be continued from inside.
    fn defer(&mut self, node: &SyntaxNode) -> StatementKind {
        let loops = std::mem::take(&mut self.frame().loops);
        let body = self.child_block(node);
        self.frame().loops = loops;
        StatementKind::Defer(body)
    }

    fn jump(&mut self, node: &SyntaxNode, kind: StatementKind, message: &str) -> StatementKind {
        if self.frame().loops == 0 {
            self.compile_error(span(node), message);
        }
        kind
    }

    fn assign(&mut self, node: &SyntaxNode) -> StatementKind {
        let mut parts = ast::exprs(node);
        let place = match parts.next() {
            Some(place) => self.place(&place),
            None => empty_place(span(node)),
        };
        let value = parts.next().map_or_else(|| nil(span(node)), |part| self.expr(&part));
        StatementKind::Assign { place, operator: assignment_operator(node), value }
    }

    fn place(&mut self, node: &SyntaxNode) -> Place {
        let mut chain = Vec::new();
        let mut root = node.clone();
        while matches!(root.kind(), PROPERTY_EXPR | INDEX_EXPR)
            && !super::has(&root, QUESTION_DOT)
            && !super::has(&root, QUESTION)
            && let Some(object) = ast::expr(&root)
        {
            chain.push(std::mem::replace(&mut root, object));
        }
        let mut steps = Vec::with_capacity(chain.len());
        for step in chain.iter().rev() {
            steps.push(self.place_step(step));
        }
        let mut place = Place { steps, ..empty_place(span(node)) };
        if root.kind() == NAME_EXPR {
            place.root = name_of(&root);
            let name = place.root.0.clone();
            let frame = self.frame();
            if frame.assigned_known.insert(name.clone()) {
                frame.assigned.push(name);
            }
        } else {
            place.root.1 = span(&root);
            place.computed_root = Some(Box::new(self.expr(&root)));
        }
        place
    }

    fn place_step(&mut self, node: &SyntaxNode) -> PlaceStep {
        if node.kind() == PROPERTY_EXPR {
            let (name, span) = ast::token(node, IDENT).map_or_else(|| name_of(node), |token| named(&token));
            return PlaceStep::Property(name, span);
        }
        let index = ast::exprs(node).nth(1);
        PlaceStep::Index(index.map_or_else(|| nil(span(node)), |index| self.expr(&index)))
    }
}

fn empty_place(span: Span) -> Place {
    Place { root: (Arc::from(""), span), steps: Vec::new(), span, computed_root: None }
}

fn assignment_operator(node: &SyntaxNode) -> Option<BinaryOperator> {
    let mut tokens = node.children_with_tokens().filter_map(|it| it.into_token());
    tokens.find_map(|token| {
        Some(match token.kind() {
            PLUS_EQ => BinaryOperator::Add,
            MINUS_EQ => BinaryOperator::Subtract,
            STAR_EQ => BinaryOperator::Multiply,
            SLASH_EQ => BinaryOperator::Divide,
            PERCENT_EQ => BinaryOperator::Modulo,
            _ => return None,
        })
    })
}
