//! Types, and the look-ahead that tells type arguments from comparisons.

use super::list;
use crate::diagnostic::Code;
use crate::kinds::SyntaxKind::*;
use crate::parser::Parser;

/// Tokens the look-ahead for `name<T>(` reads at most.
const LOOKAHEAD_MAX: usize = 256;

pub(crate) fn opt_annotation(p: &mut Parser<'_>) {
    if !p.failed && p.eat(COLON) {
        type_(p);
    }
}

/// One or more types joined by `|`.
pub(crate) fn type_(p: &mut Parser<'_>) {
    if p.failed || !p.enter() {
        return;
    }
    let m = p.start();
    primary(p);
    if p.at(PIPE) && continues(p) {
        while !p.failed && p.at(PIPE) && continues(p) {
            p.bump();
            primary(p);
        }
        p.complete(m, UNION_TYPE);
    } else {
        p.abandon(m);
    }
    p.leave();
}

fn continues(p: &Parser<'_>) -> bool {
    !p.newline(0) || p.newline(1)
}

fn primary(p: &mut Parser<'_>) {
    let m = p.start();
    let kind = match p.current() {
        IDENT => {
            p.bump();
            opt_args(p);
            NAMED_TYPE
        }
        NIL_KW | TRUE_KW | FALSE_KW => {
            p.bump();
            NAMED_TYPE
        }
        L_BRACKET => {
            p.bump();
            type_(p);
            p.expect(R_BRACKET);
            LIST_TYPE
        }
        L_BRACE => {
            p.bump();
            list(p, R_BRACE, shape_field);
            SHAPE_TYPE
        }
        FN_KW => {
            p.bump();
            if p.expect(L_PAREN) {
                list(p, R_PAREN, type_);
            }
            if !p.failed && p.expect(ARROW) {
                type_(p);
            }
            FN_TYPE
        }
        STRING | RAW_STRING | TRIPLE_STRING | INT => {
            p.bump();
            LITERAL_TYPE
        }
        MINUS if p.nth(1) == INT => {
            p.bump();
            p.bump();
            LITERAL_TYPE
        }
        _ => {
            p.expect_name("type name");
            return p.abandon(m);
        }
    };
    p.complete(m, kind);
}

fn shape_field(p: &mut Parser<'_>) {
    let m = p.start();
    p.expect_key("field name");
    p.eat(QUESTION);
    if !p.failed && p.expect(COLON) {
        type_(p);
    }
    p.complete(m, SHAPE_FIELD);
}

fn opt_args(p: &mut Parser<'_>) {
    if p.at(LT) && !p.newline(0) {
        args(p);
    }
}

/// `<T, ..>`
pub(crate) fn args(p: &mut Parser<'_>) {
    let m = p.start();
    p.bump();
    if p.at(GT) {
        p.expected_with(Code::OTHER_SYNTAX, "type argument", "");
    }
    list(p, GT, type_);
    p.complete(m, TYPE_ARGS);
}

/// Whether the `<` at the current token opens a type list whose `>` is followed by `(`.
pub(crate) fn at_call_args(p: &Parser<'_>) -> bool {
    if p.nth(1) == GT {
        return p.nth(2) == L_PAREN;
    }
    let end = skip_args(p, 0, 0);
    end.is_some_and(|at| p.nth(at) == L_PAREN && !p.newline(at))
}

/// The index after `<T, ..>` starting at token `at`.
fn skip_args(p: &Parser<'_>, at: usize, depth: usize) -> Option<usize> {
    let mut at = skip_union(p, at + 1, depth)?;
    while p.nth(at) == COMMA {
        at = skip_union(p, at + 1, depth)?;
    }
    (p.nth(at) == GT).then_some(at + 1)
}

fn skip_union(p: &Parser<'_>, at: usize, depth: usize) -> Option<usize> {
    let mut at = skip_primary(p, at, depth)?;
    while p.nth(at) == PIPE {
        at = skip_primary(p, at + 1, depth)?;
    }
    Some(at)
}

fn skip_primary(p: &Parser<'_>, at: usize, depth: usize) -> Option<usize> {
    if at > LOOKAHEAD_MAX || depth > 16 {
        return None;
    }
    match p.nth(at) {
        IDENT if p.nth(at + 1) == LT => skip_args(p, at + 1, depth + 1),
        IDENT | NIL_KW | TRUE_KW | FALSE_KW | STRING | RAW_STRING | TRIPLE_STRING | INT => Some(at + 1),
        MINUS if p.nth(at + 1) == INT => Some(at + 2),
        L_BRACKET => {
            let end = skip_union(p, at + 1, depth + 1)?;
            (p.nth(end) == R_BRACKET).then_some(end + 1)
        }
        L_BRACE => skip_shape(p, at + 1, depth + 1),
        FN_KW if p.nth(at + 1) == L_PAREN => skip_fn(p, at + 2, depth + 1),
        _ => None,
    }
}

fn skip_shape(p: &Parser<'_>, mut at: usize, depth: usize) -> Option<usize> {
    while p.nth(at) != R_BRACE {
        if p.nth(at) != IDENT && !p.nth(at).is_reserved() {
            return None;
        }
        at += 1;
        if p.nth(at) == QUESTION {
            at += 1;
        }
        if p.nth(at) != COLON {
            return None;
        }
        at = skip_union(p, at + 1, depth)?;
        if p.nth(at) == COMMA {
            at += 1;
        }
    }
    Some(at + 1)
}

fn skip_fn(p: &Parser<'_>, mut at: usize, depth: usize) -> Option<usize> {
    while p.nth(at) != R_PAREN {
        at = skip_union(p, at, depth)?;
        if p.nth(at) == COMMA {
            at += 1;
        }
    }
    if p.nth(at + 1) != ARROW {
        return None;
    }
    skip_union(p, at + 2, depth)
}
