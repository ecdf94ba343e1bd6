//! Binding patterns of `let`, `var` and `for`. Patterns of `match` are in `matching.rs`.

use std::sync::Arc;

use madrigal_syntax::SyntaxKind::*;
use madrigal_syntax::{SyntaxNode, ast};

use super::{Lowerer, name_of, named, span};
use crate::hir::*;

impl Lowerer {
    /// The pattern among the children of `node`.
    pub(super) fn pattern_in(&mut self, node: &SyntaxNode) -> Pattern {
        match ast::pattern(node) {
            Some(pattern) => self.pattern(&pattern),
            None => Pattern::Name(Arc::from("_"), span(node)),
        }
    }

    pub(super) fn for_pattern(&mut self, node: &SyntaxNode) -> ForPattern {
        if let Some(pair) = ast::child(node, PAIR_PATTERN) {
            let mut names = ast::tokens(&pair, IDENT).map(|token| named(&token));
            let missing = || (Arc::from("_"), span(&pair));
            return ForPattern::Pair(names.next().unwrap_or_else(missing), names.next().unwrap_or_else(missing));
        }
        ForPattern::One(self.pattern_in(node))
    }

    fn pattern(&mut self, node: &SyntaxNode) -> Pattern {
        let rest = ast::child(node, REST_PATTERN).map(|rest| name_of(&rest));
        match node.kind() {
            DICT_PATTERN => {
                let fields = ast::children(node, DICT_PATTERN_FIELD).map(|field| self.dict_field(&field));
                Pattern::Dict { fields: fields.collect(), rest, span: span(node) }
            }
            LIST_PATTERN => {
                let items = ast::children(node, LIST_PATTERN_ITEM);
                let items = items.map(|item| ListItem { name: name_of(&item), default: self.opt_expr_in(&item) });
                Pattern::List { items: items.collect(), rest, span: span(node) }
            }
            _ => {
                let (name, span) = name_of(node);
                Pattern::Name(name, span)
            }
        }
    }

    fn dict_field(&mut self, node: &SyntaxNode) -> DictField {
        let mut names = ast::tokens(node, IDENT).map(|token| named(&token));
        let key = names.next().unwrap_or_else(|| name_of(node));
        let name = names.next().unwrap_or_else(|| key.clone());
        DictField { key: key.0, name, default: self.opt_expr_in(node) }
    }
}
