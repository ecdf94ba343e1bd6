//! Statement lists, their separators, and the statements that are not declarations.

use super::{concurrency, expressions, items, patterns, types};
use crate::diagnostic::Code;
use crate::kinds::SyntaxKind::*;
use crate::parser::{Completed, Parser};

/// Statements up to the end of the block, or of the file when `top`.
pub(crate) fn statements(p: &mut Parser<'_>, top: bool) {
    let head = std::mem::replace(&mut p.in_head, false);
    while !(p.at(END) || !top && p.at_block_end()) {
        let from = p.position_index();
        if top && p.at(R_BRACE) {
            p.expected("statement");
        } else if !p.failed {
            statement(p, top);
        }
        if !p.failed {
            separator(p, top);
        }
        if p.failed {
            p.resync(from, top);
            if p.position_index() == from && !p.at_block_end() {
                p.bump();
            }
        }
    }
    p.in_head = head;
}

fn separator(p: &mut Parser<'_>, top: bool) {
    if p.eat(SEMICOLON) || p.on_later_line() || p.at(END) || (!top && p.at_block_end()) {
        return;
    }
    let what = if top { "top-level item separator (`;` or newline)" } else { "statement separator (`;` or newline)" };
    p.expected_with(Code::MISSING_SEPARATOR, what, "");
}

pub(crate) fn statement(p: &mut Parser<'_>, top: bool) {
    match p.current() {
        LET_KW | VAR_KW => let_(p),
        FOR_KW => for_(p),
        WHILE_KW => while_(p),
        RETURN_KW => with_operand_here(p, RETURN_STMT),
        YIELD_KW => with_operand_here(p, YIELD_STMT),
        THROW_KW => with_operand(p, THROW_STMT),
        EMIT_KW => with_operand(p, EMIT_STMT),
        GUARD_KW => guard(p),
        REQUIRE_KW => require(p),
        DEFER_KW => {
            let m = p.start();
            p.bump();
            items::block(p);
            p.complete(m, DEFER_STMT);
        }
        BREAK_KW => keyword(p, BREAK_STMT),
        CONTINUE_KW => keyword(p, CONTINUE_STMT),
        OVERRIDE_KW => override_(p),
        FN_KW | TOOL_KW | SKILL_KW | EVAL_PACK_KW | STRUCT_KW | ENUM_KW | INTERFACE_KW | IMPL_KW | TYPE_KW | PUB_KW
        | AT => items::declaration(p, top),
        IMPORT_KW | PIPELINE_KW if top => items::declaration(p, top),
        IDENT if p.text_of(0) == "gen" && p.nth(1) == FN_KW && !p.newline(1) => items::declaration(p, top),
        ELSE_KW | CATCH_KW | FINALLY_KW => {
            let hint = ": expected statement separator (`;` or newline)";
            p.expected_with(Code::SEPARATOR_BEFORE_CLAUSE, "expression", hint);
        }
        _ => expression(p),
    }
}

/// An expression or an assignment. Forms that end with a block end the statement.
fn expression(p: &mut Parser<'_>) {
    let m = p.start();
    let form = match p.current() {
        IF_KW | MATCH_KW | RETRY_KW | PARALLEL_KW | DEADLINE_KW | MUTEX_KW => true,
        TRY_KW => p.nth(1) != STAR,
        SELECT_KW => p.nth(1) != L_PAREN,
        IDENT => concurrency::at_scope(p),
        _ => false,
    };
    if form {
        expressions::primary(p);
        p.complete(m, EXPR_STMT);
        return;
    }
    let place = expressions::expr(p);
    if place.is_some_and(is_place) && is_assignment(p) && !p.newline(0) {
        p.bump();
        expressions::expr(p);
        p.complete(m, ASSIGN_STMT);
    } else {
        p.complete(m, EXPR_STMT);
    }
}

fn is_place(expr: Completed) -> bool {
    matches!(expr.kind, NAME_EXPR | PROPERTY_EXPR | INDEX_EXPR)
}

fn is_assignment(p: &Parser<'_>) -> bool {
    !p.failed && matches!(p.current(), EQ | PLUS_EQ | MINUS_EQ | STAR_EQ | SLASH_EQ | PERCENT_EQ)
}

fn keyword(p: &mut Parser<'_>, kind: crate::kinds::SyntaxKind) {
    let m = p.start();
    p.bump();
    p.complete(m, kind);
}

fn with_operand(p: &mut Parser<'_>, kind: crate::kinds::SyntaxKind) {
    let m = p.start();
    p.bump();
    expressions::expr(p);
    p.complete(m, kind);
}

fn with_operand_here(p: &mut Parser<'_>, kind: crate::kinds::SyntaxKind) {
    let m = p.start();
    p.bump();
    if !(p.on_later_line() || p.at(SEMICOLON) || p.at_block_end()) {
        expressions::expr(p);
    }
    p.complete(m, kind);
}

fn let_(p: &mut Parser<'_>) {
    let m = p.start();
    p.bump();
    if patterns::pattern(p) == Some(NAME_PATTERN) {
        types::opt_annotation(p);
    }
    if !p.failed && p.expect(EQ) {
        expressions::expr(p);
    }
    p.complete(m, LET_STMT);
}

fn for_(p: &mut Parser<'_>) {
    let m = p.start();
    p.bump();
    if p.at(L_PAREN) {
        patterns::pair(p);
    } else {
        patterns::pattern(p);
    }
    if !p.failed && p.expect(IN_KW) {
        expressions::head(p);
        items::block(p);
    }
    p.complete(m, FOR_STMT);
}

fn while_(p: &mut Parser<'_>) {
    let m = p.start();
    p.bump();
    if p.at(L_PAREN) {
        expressions::paren(p);
    } else {
        expressions::head(p);
    }
    items::block(p);
    p.complete(m, WHILE_STMT);
}

fn guard(p: &mut Parser<'_>) {
    let m = p.start();
    p.bump();
    expressions::head(p);
    if !p.failed && p.expect(ELSE_KW) {
        items::block(p);
    }
    p.complete(m, GUARD_STMT);
}

fn require(p: &mut Parser<'_>) {
    let m = p.start();
    p.bump();
    expressions::expr(p);
    if !p.failed && p.eat(COMMA) {
        expressions::expr(p);
    }
    p.complete(m, REQUIRE_STMT);
}

fn override_(p: &mut Parser<'_>) {
    let m = p.start();
    p.bump();
    p.expect_name("function name");
    if !p.failed && p.expect(L_PAREN) {
        let params = p.start();
        super::list(p, R_PAREN, |p| {
            p.expect_name("parameter name");
        });
        p.complete(params, PIPELINE_PARAMS);
    }
    items::block(p);
    p.complete(m, OVERRIDE_DECL);
}
