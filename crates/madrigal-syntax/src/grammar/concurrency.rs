//! `parallel`, `spawn`, `scope`, `select`, `deadline`, `retry`, `mutex`.

use super::{expressions, items, list};
use crate::diagnostic::Code;
use crate::kinds::SyntaxKind::*;
use crate::parser::{Completed, Parser};

const PARALLEL_OPTIONS_KNOWN: &[&str] = &["max_concurrent"];
const RETRY_OPTIONS_KNOWN: &[&str] = &["backoff", "factor", "max_backoff", "jitter", "on"];

/// Whether the current identifier opens a `scope { }`.
pub(crate) fn at_scope(p: &Parser<'_>) -> bool {
    p.text_of(0) == "scope" && p.nth(1) == L_BRACE && !p.newline(1) && !p.in_head
}

pub(crate) fn scope(p: &mut Parser<'_>) -> Completed {
    let m = p.start();
    p.bump_as(SCOPE_KW);
    body(p);
    p.complete(m, SCOPE_EXPR)
}

/// `{ [name ->] statements }`
fn body(p: &mut Parser<'_>) {
    if p.failed {
        return;
    }
    items::block_with(p, |p| {
        if p.at(ARROW) || (p.nth(1) == ARROW && (p.at(IDENT) || p.current().is_reserved())) {
            let m = p.start();
            if !p.at(ARROW) {
                p.expect_name("parameter name");
            }
            p.eat(ARROW);
            p.complete(m, BINDER);
        }
    });
}

pub(crate) fn spawn(p: &mut Parser<'_>) -> Completed {
    let m = p.start();
    p.bump();
    items::block(p);
    p.complete(m, SPAWN_EXPR)
}

pub(crate) fn mutex(p: &mut Parser<'_>) -> Completed {
    let m = p.start();
    p.bump();
    items::block(p);
    p.complete(m, MUTEX_EXPR)
}

pub(crate) fn deadline(p: &mut Parser<'_>) -> Completed {
    let m = p.start();
    p.bump();
    expressions::head(p);
    items::block(p);
    p.complete(m, DEADLINE_EXPR)
}

pub(crate) fn retry(p: &mut Parser<'_>) -> Completed {
    let m = p.start();
    p.bump();
    expressions::head(p);
    if !p.failed && p.at_word("with") {
        let options = p.start();
        p.bump_as(WITH_KW);
        if p.expect(L_BRACE) {
            list(p, R_BRACE, |p| option(p, RETRY_OPTIONS_KNOWN));
        }
        p.complete(options, RETRY_OPTIONS);
    }
    items::block(p);
    p.complete(m, RETRY_EXPR)
}

pub(crate) fn parallel(p: &mut Parser<'_>) -> Completed {
    let m = p.start();
    p.bump();
    let each = p.at_word("each");
    if each {
        p.bump_as(EACH_KW);
    } else if p.at_word("settle") {
        p.bump_as(SETTLE_KW);
    }
    expressions::head(p);
    if !p.failed && p.at_word("with") {
        let options = p.start();
        p.bump_as(WITH_KW);
        if p.expect(L_BRACE) {
            list(p, R_BRACE, |p| option(p, PARALLEL_OPTIONS_KNOWN));
        }
        p.complete(options, PARALLEL_OPTIONS);
    }
    body(p);
    let stream = p.at_word("as") && p.text_of(1) == "stream" && !p.newline(0);
    if each && !p.failed && stream {
        p.bump_as(AS_KW);
        p.bump_as(STREAM_KW);
    }
    p.complete(m, PARALLEL_EXPR)
}

/// `name: value`, where the name is one of `known`.
fn option(p: &mut Parser<'_>, known: &[&str]) {
    let m = p.start();
    let name = match p.current() {
        STRING => crate::literal::string_value(p.text_of(0)),
        _ => p.text_of(0).to_owned(),
    };
    let word = p.at(IDENT) || p.at(STRING) || p.current().is_reserved();
    if word && !known.contains(&name.as_str()) {
        let list: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
        p.report(Code::OTHER_SYNTAX, format!("unknown option `{name}`, expected {}", list.join(", ")));
    } else if !p.eat(STRING) {
        p.expect_key("dict key");
    }
    if !p.failed && p.expect(COLON) {
        expressions::expr(p);
    }
    p.complete(m, RETRY_OPTION);
}

pub(crate) fn select(p: &mut Parser<'_>) -> Completed {
    let m = p.start();
    p.bump();
    if !p.expect(L_BRACE) {
        return p.complete(m, SELECT_EXPR);
    }
    let outer = std::mem::replace(&mut p.in_head, false);
    let (mut cases, mut timeout, mut default) = (0, false, false);
    while !p.failed && !p.at_block_end() {
        let both = "select cannot have both timeout and default";
        if p.at_word("timeout") && p.nth(1) != FROM_KW {
            if default {
                p.broken_rule(Code::OTHER_SYNTAX, both);
            }
            timeout = true;
        } else if p.at_word("default") && p.nth(1) != FROM_KW {
            if timeout {
                p.broken_rule(Code::OTHER_SYNTAX, both);
            }
            default = true;
        }
        select_case(p);
        cases += 1;
        if !p.failed {
            p.eat(COMMA);
        }
    }
    if cases == 0 && !p.failed {
        p.broken_rule(Code::OTHER_SYNTAX, "at least one select case");
    }
    p.expect(R_BRACE);
    p.in_head = outer;
    p.complete(m, SELECT_EXPR)
}

fn select_case(p: &mut Parser<'_>) {
    let m = p.start();
    let kind = if p.at_word("timeout") && p.nth(1) != FROM_KW {
        p.bump_as(TIMEOUT_KW);
        expressions::head(p);
        SELECT_TIMEOUT
    } else if p.at_word("default") && p.nth(1) != FROM_KW {
        p.bump_as(DEFAULT_KW);
        SELECT_DEFAULT
    } else {
        p.expect_name("variable name or destructuring pattern");
        if !p.failed && p.expect(FROM_KW) {
            expressions::head(p);
        }
        SELECT_CASE
    };
    items::block(p);
    p.complete(m, kind);
}
