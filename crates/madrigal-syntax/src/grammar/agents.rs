//! Declarations about models: `tool`, `skill`, `eval_pack`.

use super::{expressions, items, statements};
use crate::kinds::SyntaxKind::*;
use crate::parser::{Marker, Parser};

pub(crate) fn tool(p: &mut Parser<'_>, m: Marker) {
    p.bump();
    p.expect_name("function name");
    items::params(p);
    items::opt_result(p);
    if !p.failed {
        items::block_with(p, |p| {
            if p.at_word("description") && matches!(p.nth(1), STRING | TRIPLE_STRING) && !p.newline(1) {
                let m = p.start();
                p.bump_as(DESCRIPTION_KW);
                p.bump();
                p.complete(m, TOOL_DESCRIPTION);
                p.eat(SEMICOLON);
            }
        });
    }
    p.complete(m, TOOL_DECL);
}

pub(crate) fn skill(p: &mut Parser<'_>, m: Marker) {
    p.bump();
    p.expect_name("type name");
    if !p.failed && p.expect(L_BRACE) {
        while !p.failed && !p.at_block_end() {
            let field = p.start();
            p.expect_key("field name");
            expressions::expr(p);
            p.complete(field, SKILL_FIELD);
            end_of_member(p);
        }
        p.expect(R_BRACE);
    }
    p.complete(m, SKILL_DECL);
}

fn end_of_member(p: &mut Parser<'_>) {
    if !(p.failed || p.eat(SEMICOLON) || p.eat(COMMA) || p.on_later_line() || p.at_block_end()) {
        p.expected("statement separator (`;` or newline)");
    }
}

pub(crate) fn eval_pack(p: &mut Parser<'_>, m: Marker) {
    p.bump();
    if p.at(IDENT) {
        p.bump();
        if !p.newline(0) {
            p.eat(STRING);
        }
    } else {
        items::plain_string(p, "type name");
    }
    if !p.failed && p.expect(L_BRACE) {
        while !p.failed && !p.at_block_end() {
            eval_pack_member(p);
        }
        p.expect(R_BRACE);
    }
    p.complete(m, EVAL_PACK_DECL);
}

fn eval_pack_member(p: &mut Parser<'_>) {
    let field = p.start();
    if p.nth(1) == COLON && (p.at(IDENT) || p.current().is_reserved()) {
        p.bump_as(IDENT);
        p.bump();
        expressions::expr(p);
        p.complete(field, EVAL_PACK_FIELD);
    } else if p.at_word("summarize") && p.nth(1) == L_BRACE {
        p.bump_as(SUMMARIZE_KW);
        items::block(p);
        p.complete(field, EVAL_PACK_SUMMARIZE);
    } else {
        p.abandon(field);
        statements::statement(p, false);
    }
    end_of_member(p);
}
