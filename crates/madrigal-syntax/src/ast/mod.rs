//! Typed views over the tree, one per node kind, in files named like those of `grammar/`.
//! A view is a node whose kind was checked; its accessors look at direct children and return nothing after a syntax error.

use crate::kinds::SyntaxKind;
use crate::tree::{SyntaxNode, SyntaxToken};

macro_rules! nodes {
    ($($(#[$doc:meta])* $name:ident = $kind:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $name(crate::tree::SyntaxNode);

        impl crate::ast::AstNode for $name {
            fn cast(node: crate::tree::SyntaxNode) -> Option<Self> {
                (node.kind() == crate::kinds::SyntaxKind::$kind).then_some(Self(node))
            }
            fn syntax(&self) -> &crate::tree::SyntaxNode {
                &self.0
            }
        }
    )*};
}

pub mod agents;
pub mod concurrency;
pub mod expressions;
pub mod items;
pub mod patterns;
pub mod statements;
pub mod types;

pub use items::SourceFile;

/// A view over a node.
pub trait AstNode: Sized {
    /// The view, when `node` is of the right kind.
    fn cast(node: SyntaxNode) -> Option<Self>;
    /// The node.
    fn syntax(&self) -> &SyntaxNode;

    /// The first identifier among the children: what the node declares or names.
    fn name(&self) -> Option<SyntaxToken> {
        token(self.syntax(), SyntaxKind::IDENT)
    }
    /// Whether `pub` stands among the children.
    fn is_public(&self) -> bool {
        token(self.syntax(), SyntaxKind::PUB_KW).is_some()
    }
    /// The first block among the children.
    fn block(&self) -> Option<SyntaxNode> {
        child(self.syntax(), SyntaxKind::BLOCK)
    }
}

/// The first direct child token of a kind.
pub fn token(node: &SyntaxNode, kind: SyntaxKind) -> Option<SyntaxToken> {
    node.children_with_tokens().filter_map(|it| it.into_token()).find(|token| token.kind() == kind)
}

/// All direct child tokens of a kind.
pub fn tokens(node: &SyntaxNode, kind: SyntaxKind) -> impl Iterator<Item = SyntaxToken> {
    node.children_with_tokens().filter_map(|it| it.into_token()).filter(move |token| token.kind() == kind)
}

/// The first direct child node of a kind.
pub fn child(node: &SyntaxNode, kind: SyntaxKind) -> Option<SyntaxNode> {
    node.children().find(|child| child.kind() == kind)
}

/// All direct child nodes of a kind.
pub fn children(node: &SyntaxNode, kind: SyntaxKind) -> impl Iterator<Item = SyntaxNode> {
    node.children().filter(move |child| child.kind() == kind)
}

/// The first direct child that is an expression.
pub fn expr(node: &SyntaxNode) -> Option<SyntaxNode> {
    exprs(node).next()
}

/// All direct children that are expressions.
pub fn exprs(node: &SyntaxNode) -> impl Iterator<Item = SyntaxNode> {
    node.children().filter(|child| child.kind().is_expr())
}

/// The first direct child that is a type.
pub fn type_(node: &SyntaxNode) -> Option<SyntaxNode> {
    node.children().find(|child| child.kind().is_type())
}

/// The first direct child that is a binding pattern.
pub fn pattern(node: &SyntaxNode) -> Option<SyntaxNode> {
    node.children().find(|child| child.kind().is_pattern())
}
