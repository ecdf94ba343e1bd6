//! Binding patterns of `let`, `var` and `for`. Patterns of `match` are expressions here; lowering tells them apart.

use super::{expressions, list};
use crate::kinds::SyntaxKind::{self, *};
use crate::parser::Parser;

const WHAT: &str = "variable name or destructuring pattern";

pub(crate) fn pattern(p: &mut Parser<'_>) -> Option<SyntaxKind> {
    let m = p.start();
    let kind = match p.current() {
        L_BRACE => {
            p.bump();
            list(p, R_BRACE, |p| item(p, DICT_PATTERN_FIELD, R_BRACE));
            DICT_PATTERN
        }
        L_BRACKET => {
            p.bump();
            list(p, R_BRACKET, |p| item(p, LIST_PATTERN_ITEM, R_BRACKET));
            LIST_PATTERN
        }
        _ => {
            if !p.expect_name(WHAT) {
                p.abandon(m);
                return None;
            }
            NAME_PATTERN
        }
    };
    p.complete(m, kind);
    Some(kind)
}

/// `name [: name] [= default]` or `...name`, which must be last.
fn item(p: &mut Parser<'_>, kind: SyntaxKind, close: SyntaxKind) {
    let m = p.start();
    if p.at_spread() {
        p.bump_n(3);
        p.expect_name(WHAT);
        p.eat(COMMA);
        if !p.at(close) {
            p.expected(close.spelling());
        }
        p.complete(m, REST_PATTERN);
        return;
    }
    p.expect_name(if kind == DICT_PATTERN_FIELD { "field name" } else { WHAT });
    if kind == DICT_PATTERN_FIELD && !p.failed && p.eat(COLON) {
        p.expect_name(WHAT);
    }
    if !p.failed && p.eat(EQ) {
        expressions::expr(p);
    }
    p.complete(m, kind);
}

/// `(a, b)` of `for`.
pub(crate) fn pair(p: &mut Parser<'_>) {
    let m = p.start();
    p.bump();
    p.expect_name(WHAT);
    if !p.failed && p.expect(COMMA) {
        p.expect_name(WHAT);
    }
    if !p.failed {
        p.expect(R_PAREN);
    }
    p.complete(m, PAIR_PATTERN);
}
