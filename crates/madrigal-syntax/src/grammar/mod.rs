//! The language, as functions over the parser. `x` must start at its first token and reports what is missing; `opt_x`
//! may find nothing. Expression functions return the finished node, or nothing after an error.
//! Not here: trees (`tree.rs`), recovery (`Parser::resync`).

pub(crate) mod agents;
pub(crate) mod concurrency;
pub(crate) mod expressions;
pub(crate) mod items;
pub(crate) mod patterns;
pub(crate) mod statements;
pub(crate) mod types;

use crate::kinds::SyntaxKind::{self, *};
use crate::parser::Parser;

/// Items up to `close`, separated by commas, newlines or nothing; the closing token is consumed.
pub(crate) fn list(p: &mut Parser<'_>, close: SyntaxKind, mut item: impl FnMut(&mut Parser<'_>)) {
    let head = std::mem::replace(&mut p.in_head, false);
    while !p.failed && !p.at(close) && !p.at(END) {
        let before = p.position_index();
        if p.at(COMMA) {
            p.expected(close.spelling());
            break;
        }
        item(p);
        if p.failed {
            break;
        }
        if !p.eat(COMMA) && (p.position_index() == before || cannot_start_item(p.current())) {
            break;
        }
    }
    p.expect(close);
    p.in_head = head;
}

/// Tokens behind which a missing comma is not the mistake: the closing token is.
fn cannot_start_item(kind: SyntaxKind) -> bool {
    matches!(kind, R_PAREN | R_BRACKET | R_BRACE | SEMICOLON | COLON | EQ | ARROW | INTERPOLATION_END | END)
}
