//! Lexer, parser and lossless syntax tree of the Harn language, and its diagnostics.
//! Text goes in, `(tree, diagnostics)` comes out, always: no input makes `parse` fail, panic or overflow the stack.
//! Not here: what a program means (`madrigal-compiler`). Invariant: the text of the tree is the text that was parsed.

#![forbid(unsafe_code)]

pub mod ast;
pub mod diagnostic;
mod grammar;
pub mod kinds;
pub mod lexer;
pub mod literal;
mod parser;
pub mod render;
mod significant;
pub mod source;
mod tree;

pub use diagnostic::{Code, Diagnostic, Label, Severity, Span};
pub use kinds::SyntaxKind;
pub use parser::{NESTING_MAX, Parse, parse};
pub use source::SourceFile;
pub use tree::{Harn, SyntaxElement, SyntaxNode, SyntaxToken, TREE_DEPTH_MAX};
