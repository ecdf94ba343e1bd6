//! Types as written.

use std::sync::Arc;

use madrigal_syntax::SyntaxKind::*;
use madrigal_syntax::{SyntaxNode, ast, literal};

use super::{Lowerer, has, name_of};
use crate::hir::Type;

impl Lowerer {
    /// The type among the children of `node`; `nil` after a syntax error.
    pub(super) fn type_in(&mut self, node: &SyntaxNode) -> Type {
        ast::type_(node).map_or_else(|| named("nil"), |node| self.type_(&node))
    }

    pub(super) fn type_(&mut self, node: &SyntaxNode) -> Type {
        match node.kind() {
            NAMED_TYPE => self.named_type(node),
            LIST_TYPE => Type::Named(Arc::from("list"), vec![self.type_in(node)]),
            SHAPE_TYPE => Type::Shape(ast::children(node, SHAPE_FIELD).map(|field| self.shape_field(&field)).collect()),
            FN_TYPE => self.fn_type(node),
            UNION_TYPE => Type::Union(self.types(node)),
            _ => literal_type(node),
        }
    }

    fn types(&mut self, node: &SyntaxNode) -> Vec<Type> {
        let types = node.children().filter(|child| child.kind().is_type());
        types.map(|child| self.type_(&child)).collect()
    }

    fn named_type(&mut self, node: &SyntaxNode) -> Type {
        if has(node, NIL_KW) {
            return named("nil");
        }
        if has(node, TRUE_KW) || has(node, FALSE_KW) {
            return named("bool");
        }
        let args = ast::child(node, TYPE_ARGS).map_or_else(Vec::new, |list| self.types(&list));
        Type::Named(name_of(node).0, args)
    }

    fn shape_field(&mut self, node: &SyntaxNode) -> (Arc<str>, bool, Type) {
        (name_of(node).0, has(node, QUESTION), self.type_in(node))
    }

    fn fn_type(&mut self, node: &SyntaxNode) -> Type {
        let arrow = ast::token(node, ARROW).map(|token| token.text_range().start());
        let is_result = |child: &SyntaxNode| arrow.is_some_and(|at| child.text_range().start() > at);
        let (mut params, mut result) = (Vec::new(), named("nil"));
        for child in node.children().filter(|child| child.kind().is_type()) {
            if is_result(&child) {
                result = self.type_(&child);
            } else {
                params.push(self.type_(&child));
            }
        }
        Type::Function(params, Box::new(result))
    }
}

fn named(name: &str) -> Type {
    Type::Named(Arc::from(name), Vec::new())
}

fn literal_type(node: &SyntaxNode) -> Type {
    if let Some(token) = ast::token(node, INT) {
        let sign = if has(node, MINUS) { "-" } else { "" };
        let value = format!("{sign}{}", token.text()).parse();
        return Type::IntLiteral(value.unwrap_or(if sign.is_empty() { i64::MAX } else { i64::MIN }));
    }
    let tokens = node.children_with_tokens().filter_map(|it| it.into_token());
    let token = tokens.filter(|token| matches!(token.kind(), STRING | RAW_STRING | TRIPLE_STRING)).last();
    Type::StringLiteral(token.map_or_else(|| Arc::from(""), |token| literal::string_value(token.text()).into()))
}
