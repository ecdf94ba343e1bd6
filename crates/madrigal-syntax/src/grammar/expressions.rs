//! Expressions, by one precedence table for the binary operators and one function per level around it.
//! Forms that run things concurrently are in `concurrency.rs`.

use super::items::{self, ParamOrder};
use super::{concurrency, list, statements, types};
use crate::kinds::SyntaxKind::{self, *};
use crate::parser::{Completed, Parser};

type Found = Option<Completed>;

/// Any expression, including `a | b`, which only `match` arms may use in the end.
pub(crate) fn expr(p: &mut Parser<'_>) -> Found {
    if p.failed {
        return None;
    }
    let first = pipe(p)?;
    if !p.at(PIPE) || p.newline(0) {
        return Some(first);
    }
    let m = p.precede(first);
    while !p.failed && p.at(PIPE) && !p.newline(0) {
        p.bump();
        pipe(p);
    }
    Some(p.complete(m, OR_PATTERN))
}

/// An expression before a block: `scope {` is a name and the block's brace in it.
pub(crate) fn head(p: &mut Parser<'_>) -> Found {
    let outer = std::mem::replace(&mut p.in_head, true);
    let found = expr(p);
    p.in_head = outer;
    found
}

fn pipe(p: &mut Parser<'_>) -> Found {
    let mut left = range(p)?;
    while !p.failed && p.at(PIPE_GT) {
        let m = p.precede(left);
        p.bump();
        range(p);
        left = p.complete(m, BINARY_EXPR);
    }
    Some(left)
}

fn range(p: &mut Parser<'_>) -> Found {
    let start = ternary(p)?;
    if p.failed || !p.at(TO_KW) || p.newline(0) {
        return Some(start);
    }
    let m = p.precede(start);
    p.bump();
    if operand_here(p) {
        ternary(p);
    }
    if !p.failed && p.at(EXCLUSIVE_KW) && !p.newline(0) {
        p.bump();
    }
    Some(p.complete(m, RANGE_EXPR))
}

fn ternary(p: &mut Parser<'_>) -> Found {
    let condition = binary(p, 1)?;
    if p.failed || !p.at(QUESTION) || p.newline(0) {
        return Some(condition);
    }
    let m = p.precede(condition);
    p.bump();
    if operand_here(p) {
        binary(p, 1);
    }
    if !p.failed && p.expect(COLON) && operand_here(p) {
        binary(p, 1);
    }
    Some(p.complete(m, TERNARY_EXPR))
}

/// False, with an error, when the operand does not start on this line.
fn operand_here(p: &mut Parser<'_>) -> bool {
    let here = !p.newline(0) || p.at(END);
    if !here {
        p.expected_on_this_line("expression");
    }
    here && !p.failed
}

const POWER: u8 = 7;

/// The binary operator at the current token and its level, from `||` up to `**`.
fn operator(p: &Parser<'_>) -> Option<u8> {
    let same_line = !p.newline(0);
    Some(match p.current() {
        OR_OR => 1,
        AND_AND => 2,
        EQ_EQ | BANG_EQ => 3,
        LT | GT | LT_EQ | GT_EQ => 4,
        IN_KW if same_line => 4,
        IDENT if same_line && p.text_of(0) == "not" && p.nth(1) == IN_KW => 4,
        PLUS => 5,
        MINUS if same_line => 5,
        QUESTION_QUESTION => 6,
        STAR | SLASH | PERCENT => POWER,
        STAR_STAR => 8,
        _ => return None,
    })
}

fn binary(p: &mut Parser<'_>, min: u8) -> Found {
    let mut left = unary(p)?;
    while !p.failed {
        let Some(level) = operator(p).filter(|&level| level >= min) else {
            break;
        };
        let m = p.precede(left);
        if p.at(IDENT) {
            p.bump_as(NOT_KW);
        }
        p.bump();
        if level > POWER {
            if p.enter() {
                binary(p, level);
                p.leave();
            }
        } else {
            binary(p, level + 1);
        }
        left = p.complete(m, BINARY_EXPR);
    }
    Some(left)
}

fn unary(p: &mut Parser<'_>) -> Found {
    let kind = match p.current() {
        BANG | MINUS => UNARY_EXPR,
        TRY_KW if p.nth(1) == STAR => TRY_STAR_EXPR,
        DOT if p.at_spread() => SPREAD,
        _ => return postfix(p),
    };
    if !p.enter() {
        return None;
    }
    let m = p.start();
    match kind {
        SPREAD => {
            p.bump_n(3);
            expr(p);
        }
        TRY_STAR_EXPR => {
            p.bump_n(2);
            unary(p);
        }
        _ => {
            p.bump();
            if operand_here(p) {
                unary(p);
            }
        }
    }
    p.leave();
    Some(p.complete(m, kind))
}

fn postfix(p: &mut Parser<'_>) -> Found {
    let mut left = primary(p)?;
    while !p.failed {
        left = match p.current() {
            DOT if !p.at_spread() => member(p, left),
            QUESTION_DOT => member(p, left),
            L_BRACKET if !p.newline(0) => index(p, left),
            QUESTION if !p.newline(0) => match after_question(p) {
                Some(INDEX_EXPR) => optional_index(p, left),
                Some(_) => {
                    let m = p.precede(left);
                    p.bump();
                    p.complete(m, PROPAGATE_EXPR)
                }
                None => break,
            },
            _ => break,
        };
    }
    Some(left)
}

/// What `x?` is, by the token after it; nothing for a ternary.
fn after_question(p: &Parser<'_>) -> Option<SyntaxKind> {
    if p.newline(1) {
        return Some(PROPAGATE_EXPR);
    }
    match p.nth(1) {
        L_BRACKET => Some(INDEX_EXPR),
        IDENT | INT | FLOAT | STRING | TRIPLE_STRING | STRING_START | TRUE_KW | FALSE_KW | NIL_KW | L_PAREN
        | L_BRACE | BANG | MINUS | FN_KW => None,
        _ => Some(PROPAGATE_EXPR),
    }
}

fn member(p: &mut Parser<'_>, object: Completed) -> Completed {
    let optional = p.at(QUESTION_DOT);
    let m = p.precede(object);
    p.bump();
    p.expect_key("member name");
    if !p.failed && p.at(L_PAREN) && !p.newline(0) {
        args(p);
        return p.complete(m, METHOD_CALL_EXPR);
    }
    let done = p.complete(m, PROPERTY_EXPR);
    if optional { not_a_place(done) } else { done }
}

/// Nothing can be assigned to `a?.b` and `a?[b]`.
fn not_a_place(mut done: Completed) -> Completed {
    done.kind = PROPAGATE_EXPR;
    done
}

fn index(p: &mut Parser<'_>, object: Completed) -> Completed {
    let m = p.precede(object);
    let kind = in_brackets(p, true);
    p.complete(m, kind)
}

fn optional_index(p: &mut Parser<'_>, object: Completed) -> Completed {
    let m = p.precede(object);
    p.bump();
    in_brackets(p, false);
    not_a_place(p.complete(m, INDEX_EXPR))
}

fn in_brackets(p: &mut Parser<'_>, slices: bool) -> SyntaxKind {
    if !p.enter() {
        return INDEX_EXPR;
    }
    let head = std::mem::replace(&mut p.in_head, false);
    p.bump();
    let mut kind = INDEX_EXPR;
    if !(slices && p.at(COLON)) {
        expr(p);
    }
    if slices && !p.failed && p.eat(COLON) {
        kind = SLICE_EXPR;
        if !p.at(R_BRACKET) {
            expr(p);
        }
    }
    p.expect(R_BRACKET);
    p.in_head = head;
    p.leave();
    kind
}

fn args(p: &mut Parser<'_>) {
    if !p.enter() {
        return;
    }
    let m = p.start();
    p.bump();
    list(p, R_PAREN, |p| {
        expr(p);
    });
    p.complete(m, ARG_LIST);
    p.leave();
}

/// An operand without anything behind it.
pub(crate) fn primary(p: &mut Parser<'_>) -> Found {
    if p.failed {
        return None;
    }
    let m = match p.current() {
        INT | FLOAT | DURATION | STRING | TRIPLE_STRING | RAW_STRING | TRUE_KW | FALSE_KW | NIL_KW => {
            let m = p.start();
            p.bump();
            return Some(p.complete(m, LITERAL));
        }
        IDENT if concurrency::at_scope(p) => return nested(p, concurrency::scope),
        IDENT => return name(p),
        SELECT_KW if p.nth(1) == L_PAREN => return name(p),
        L_PAREN => return paren(p),
        STRING_START => interpolated,
        L_BRACKET => list_literal,
        L_BRACE if p.has_arrow() => closure,
        L_BRACE => dict,
        FN_KW => fn_expr,
        IF_KW => if_,
        MATCH_KW => match_,
        TRY_KW => try_,
        RETRY_KW => concurrency::retry,
        DEADLINE_KW => concurrency::deadline,
        PARALLEL_KW => concurrency::parallel,
        SPAWN_KW => concurrency::spawn,
        SELECT_KW => concurrency::select,
        MUTEX_KW => concurrency::mutex,
        _ => {
            p.expected("expression");
            return None;
        }
    };
    nested(p, m)
}

fn nested(p: &mut Parser<'_>, parse: fn(&mut Parser<'_>) -> Completed) -> Found {
    if !p.enter() {
        return None;
    }
    let done = parse(p);
    p.leave();
    Some(done)
}

fn interpolated(p: &mut Parser<'_>) -> Completed {
    let m = p.start();
    p.bump();
    loop {
        match p.current() {
            STRING_TEXT => p.bump(),
            INTERPOLATION_START => hole(p),
            _ => break,
        }
    }
    p.expect(STRING_END);
    p.complete(m, INTERPOLATED_STRING)
}

/// `${ expr }`. Errors inside do not disturb what follows the string.
fn hole(p: &mut Parser<'_>) {
    let m = p.start();
    p.bump();
    let end = p.hole_end();
    let head = std::mem::replace(&mut p.in_head, false);
    p.holes += 1;
    expr(p);
    if !p.at(INTERPOLATION_END) {
        p.expected("}");
    }
    p.holes -= 1;
    p.skip_to(end);
    p.failed = false;
    p.eat(INTERPOLATION_END);
    p.in_head = head;
    p.complete(m, INTERPOLATION);
}

fn name(p: &mut Parser<'_>) -> Found {
    let upper = p.text_of(0).chars().next().is_some_and(char::is_uppercase);
    let m = p.start();
    p.bump_as(IDENT);
    let name = p.complete(m, NAME_EXPR);
    let kind = p.current();
    if p.newline(0) {
        return Some(name);
    }
    match kind {
        L_PAREN => Some(call(p, name)),
        LT if types::at_call_args(p) => Some(call(p, name)),
        L_BRACE if upper && at_struct_literal(p) => {
            let m = p.precede(name);
            if p.enter() {
                p.bump();
                list(p, R_BRACE, entry);
                p.leave();
            }
            Some(p.complete(m, STRUCT_EXPR))
        }
        _ => Some(name),
    }
}

fn call(p: &mut Parser<'_>, callee: Completed) -> Completed {
    let m = p.precede(callee);
    if p.at(LT) {
        types::args(p);
    }
    if !p.failed {
        args(p);
    }
    p.complete(m, CALL_EXPR)
}

fn at_struct_literal(p: &Parser<'_>) -> bool {
    match p.nth(1) {
        R_BRACE => true,
        IDENT | STRING | TRIPLE_STRING | RAW_STRING => p.nth(2) == COLON,
        _ => false,
    }
}

/// `( expr )`, and the call of a parenthesised name.
pub(crate) fn paren(p: &mut Parser<'_>) -> Found {
    if !p.at(L_PAREN) || !p.enter() {
        return None;
    }
    let plain = p.nth(1) == IDENT && p.nth(2) == R_PAREN;
    let head = std::mem::replace(&mut p.in_head, false);
    let m = p.start();
    p.bump();
    expr(p);
    p.expect(R_PAREN);
    let done = p.complete(m, PAREN_EXPR);
    p.in_head = head;
    p.leave();
    if plain && !p.failed && p.at(L_PAREN) && !p.newline(0) {
        return Some(call(p, done));
    }
    Some(done)
}

fn list_literal(p: &mut Parser<'_>) -> Completed {
    let m = p.start();
    p.bump();
    list(p, R_BRACKET, |p| {
        expr(p);
    });
    p.complete(m, LIST_EXPR)
}

fn dict(p: &mut Parser<'_>) -> Completed {
    let m = p.start();
    p.bump();
    list(p, R_BRACE, entry);
    p.complete(m, DICT_EXPR)
}

pub(crate) fn entry(p: &mut Parser<'_>) {
    if p.at_spread() {
        expr(p);
        return;
    }
    let m = p.start();
    let kind = match p.current() {
        L_BRACKET => {
            p.bump();
            expr(p);
            p.expect(R_BRACKET);
            DICT_COMPUTED
        }
        STRING | TRIPLE_STRING => {
            p.bump();
            DICT_FIELD
        }
        _ => {
            p.expect_key("dict key");
            DICT_FIELD
        }
    };
    if !p.failed && p.expect(COLON) {
        expr(p);
    }
    p.complete(m, kind);
}

fn closure(p: &mut Parser<'_>) -> Completed {
    let m = p.start();
    p.bump();
    let params = p.start();
    let mut order = ParamOrder::default();
    while !p.failed && !p.at(ARROW) && !p.at(END) {
        items::param(p, &mut order);
        if !p.failed && !p.eat(COMMA) && !p.at(ARROW) {
            p.expected("->");
        }
    }
    p.complete(params, PARAM_LIST);
    p.expect(ARROW);
    if !p.failed {
        statements::statements(p, false);
        p.expect(R_BRACE);
    }
    p.complete(m, CLOSURE_EXPR)
}

fn fn_expr(p: &mut Parser<'_>) -> Completed {
    let m = p.start();
    p.bump();
    items::params(p);
    items::block(p);
    p.complete(m, FN_EXPR)
}

/// `else if` chains nest in the tree but not on the stack.
fn if_(p: &mut Parser<'_>) -> Completed {
    let mut open = vec![p.start()];
    loop {
        p.bump();
        head(p);
        items::block(p);
        if p.failed || !p.at(ELSE_KW) {
            break;
        }
        p.bump();
        if !p.at(IF_KW) {
            items::block(p);
            break;
        }
        open.push(p.start());
    }
    let first = open.swap_remove(0);
    // The order of the inner ones does not matter: each only needs its own end.
    for inner in open.into_iter().rev() {
        p.complete(inner, IF_EXPR);
    }
    p.complete(first, IF_EXPR)
}

fn match_(p: &mut Parser<'_>) -> Completed {
    let m = p.start();
    p.bump();
    head(p);
    if !p.failed && p.expect(L_BRACE) {
        let outer = std::mem::replace(&mut p.in_head, false);
        while !p.failed && !p.at_block_end() {
            arm(p);
        }
        p.expect(R_BRACE);
        p.in_head = outer;
    }
    p.complete(m, MATCH_EXPR)
}

fn arm(p: &mut Parser<'_>) {
    let m = p.start();
    expr(p);
    if !p.failed && p.at(IF_KW) {
        let guard = p.start();
        p.bump();
        expr(p);
        p.complete(guard, MATCH_GUARD);
    }
    if !p.failed && p.expect(ARROW) {
        items::block(p);
    }
    p.complete(m, MATCH_ARM);
}

fn try_(p: &mut Parser<'_>) -> Completed {
    let m = p.start();
    p.bump();
    items::block(p);
    if !p.failed && p.at(CATCH_KW) {
        catch(p);
    }
    if !p.failed && p.at(FINALLY_KW) {
        let finally = p.start();
        p.bump();
        items::block(p);
        p.complete(finally, FINALLY_CLAUSE);
    }
    p.complete(m, TRY_EXPR)
}

fn catch(p: &mut Parser<'_>) {
    let m = p.start();
    p.bump();
    if p.eat(L_PAREN) {
        p.expect_name("variable name or destructuring pattern");
        types::opt_annotation(p);
        if !p.failed {
            p.expect(R_PAREN);
        }
    } else if !p.at(L_BRACE) {
        p.expect_name("{");
    }
    items::block(p);
    p.complete(m, CATCH_CLAUSE);
}
