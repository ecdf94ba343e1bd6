//! Files, imports, pipelines and declarations. Tools, skills and eval packs are in `agents.rs`.

use super::{agents, expressions, list, statements, types};
use crate::diagnostic::Code;
use crate::kinds::SyntaxKind::*;
use crate::parser::{Marker, Parser};

pub(crate) fn source_file(p: &mut Parser<'_>) {
    statements::statements(p, true);
}

/// `pub`, attributes and whatever they may precede. `top` allows imports and pipelines.
pub(crate) fn declaration(p: &mut Parser<'_>, top: bool) {
    let m = p.start();
    let attributed = p.at(AT);
    let mut last = "";
    while p.at(AT) && !p.failed {
        last = p.text_of(1);
        attribute(p);
    }
    if p.failed {
        return abandon_as_error(p, m);
    }
    let public = p.eat(PUB_KW);
    let gen_fn = p.at_word("gen") && p.nth(1) == FN_KW && !p.newline(1);
    match p.current() {
        FN_KW => fn_decl(p, m),
        IDENT if gen_fn => fn_decl(p, m),
        TOOL_KW => agents::tool(p, m),
        SKILL_KW => agents::skill(p, m),
        EVAL_PACK_KW if !attributed => agents::eval_pack(p, m),
        STRUCT_KW => struct_decl(p, m),
        ENUM_KW => enum_decl(p, m),
        INTERFACE_KW => interface_decl(p, m),
        IMPL_KW if !public => impl_decl(p, m),
        TYPE_KW => type_alias(p, m),
        PIPELINE_KW if top => pipeline(p, m),
        IMPORT_KW if !attributed && (top || public) => import(p, m),
        _ => {
            if attributed {
                p.expected_with(Code::MISPLACED_ATTRIBUTE, &format!("declaration after `@{last}`"), "");
            } else {
                p.expected("statement");
            }
            abandon_as_error(p, m);
        }
    }
}

fn abandon_as_error(p: &mut Parser<'_>, m: Marker) {
    p.complete(m, ERROR);
}

fn attribute(p: &mut Parser<'_>) {
    let m = p.start();
    p.bump();
    p.expect_key("attribute name");
    if p.at(L_PAREN) && !p.newline(0) {
        p.bump();
        list(p, R_PAREN, attribute_arg);
    }
    p.complete(m, ATTRIBUTE);
}

fn attribute_arg(p: &mut Parser<'_>) {
    let m = p.start();
    if (p.at(IDENT) || p.current().is_reserved()) && p.nth(1) == COLON {
        p.bump_as(IDENT);
        p.bump();
    }
    attribute_value(p);
    p.complete(m, ATTRIBUTE_ARG);
}

fn attribute_value(p: &mut Parser<'_>) {
    match p.current() {
        STRING | TRIPLE_STRING | RAW_STRING | INT | FLOAT | DURATION | TRUE_KW | FALSE_KW | NIL_KW | IDENT => p.bump(),
        MINUS if matches!(p.nth(1), INT | FLOAT | DURATION) => {
            p.bump();
            p.bump();
        }
        L_BRACKET if p.enter() => {
            p.bump();
            list(p, R_BRACKET, attribute_value);
            p.leave();
        }
        kind if kind.is_reserved() => p.bump_as(IDENT),
        _ => p.expected("attribute value"),
    }
}

fn import(p: &mut Parser<'_>, m: Marker) {
    p.bump();
    if p.at(L_BRACE) {
        let names = p.start();
        p.bump();
        list(p, R_BRACE, |p| {
            p.expect_name("variable name or destructuring pattern");
        });
        p.complete(names, IMPORT_NAMES);
        if !p.failed {
            p.expect(FROM_KW);
        }
    }
    if !p.failed {
        plain_string(p, "import path string");
    }
    p.complete(m, IMPORT);
}

pub(crate) fn plain_string(p: &mut Parser<'_>, what: &str) {
    match p.current() {
        STRING | TRIPLE_STRING => p.bump(),
        _ => p.expected(what),
    }
}

fn pipeline(p: &mut Parser<'_>, m: Marker) {
    p.bump();
    p.expect_name("pipeline name");
    if p.expect(L_PAREN) {
        let params = p.start();
        list(p, R_PAREN, |p| {
            p.expect_name("parameter name");
        });
        p.complete(params, PIPELINE_PARAMS);
    }
    opt_result(p);
    if !p.failed && p.at(EXTENDS_KW) {
        let extends = p.start();
        p.bump();
        p.expect_name("pipeline name");
        p.complete(extends, EXTENDS);
    }
    block(p);
    p.complete(m, PIPELINE_DECL);
}

/// `{ statements }`; nothing after an error.
pub(crate) fn block(p: &mut Parser<'_>) {
    if !p.failed {
        block_with(p, |_| {});
    }
}

/// A block whose first part, before the statements, is `opening`.
pub(crate) fn block_with(p: &mut Parser<'_>, opening: impl FnOnce(&mut Parser<'_>)) {
    if !p.at(L_BRACE) {
        return p.expected("{");
    }
    if !p.enter() {
        return;
    }
    let m = p.start();
    p.bump();
    opening(p);
    statements::statements(p, false);
    p.expect(R_BRACE);
    p.complete(m, BLOCK);
    p.leave();
}

fn fn_decl(p: &mut Parser<'_>, m: Marker) {
    if p.at(IDENT) {
        p.bump_as(GEN_KW);
    }
    p.bump();
    p.expect_name("function name");
    signature(p);
    opt_where(p);
    block(p);
    p.complete(m, FN_DECL);
}

fn signature(p: &mut Parser<'_>) {
    opt_type_params(p);
    params(p);
    opt_result(p);
}

/// `(params)`
pub(crate) fn params(p: &mut Parser<'_>) {
    if p.failed || !p.at(L_PAREN) {
        return p.expected("(");
    }
    let m = p.start();
    p.bump();
    let mut order = ParamOrder::default();
    list(p, R_PAREN, |p| param(p, &mut order));
    p.complete(m, PARAM_LIST);
}

/// What the parameters before allow for the next one.
#[derive(Default)]
pub(crate) struct ParamOrder {
    default: bool,
    rest: bool,
}

/// `[...] name [: type] [= default]`
pub(crate) fn param(p: &mut Parser<'_>, order: &mut ParamOrder) {
    let m = p.start();
    if order.rest {
        p.broken_rule(Code::REST_NOT_LAST, "Rest parameter must be the last parameter");
    }
    let rest = p.at_spread();
    if rest {
        p.bump_n(3);
        order.rest = true;
    }
    p.expect_name("parameter name");
    types::opt_annotation(p);
    if !p.failed && p.at(EQ) {
        p.bump();
        expressions::expr(p);
        order.default = true;
    } else if order.default && !rest && !p.failed {
        let what = "Required parameter cannot follow a parameter with a default value";
        p.broken_rule(Code::REQUIRED_AFTER_DEFAULT, what);
    }
    p.complete(m, PARAM);
}

pub(crate) fn opt_result(p: &mut Parser<'_>) {
    if !p.failed && p.at(ARROW) {
        let m = p.start();
        p.bump();
        types::type_(p);
        p.complete(m, RESULT_TYPE);
    }
}

fn opt_type_params(p: &mut Parser<'_>) {
    if p.failed || !p.at(LT) {
        return;
    }
    let m = p.start();
    p.bump();
    list(p, GT, |p| {
        let m = p.start();
        if p.at(IN_KW) {
            p.bump();
        } else if p.at_word("out") && p.nth(1) == IDENT {
            p.bump_as(OUT_KW);
        }
        p.expect_name("type name");
        p.complete(m, TYPE_PARAM);
    });
    p.complete(m, TYPE_PARAMS);
}

fn opt_where(p: &mut Parser<'_>) {
    if p.failed || !p.at_word("where") {
        return;
    }
    let m = p.start();
    p.bump_as(WHERE_KW);
    loop {
        p.expect_name("type name");
        p.expect(COLON);
        p.expect_name("type name");
        if p.failed || !p.eat(COMMA) {
            break;
        }
    }
    p.complete(m, WHERE_CLAUSE);
}

fn struct_decl(p: &mut Parser<'_>, m: Marker) {
    p.bump();
    p.expect_name("type name");
    opt_type_params(p);
    members(p, |p| {
        let m = p.start();
        p.expect_name("field name");
        p.eat(QUESTION);
        types::opt_annotation(p);
        p.complete(m, STRUCT_FIELD);
    });
    p.complete(m, STRUCT_DECL);
}

fn members(p: &mut Parser<'_>, member: impl FnMut(&mut Parser<'_>)) {
    if !p.failed && p.expect(L_BRACE) {
        list(p, R_BRACE, member);
    }
}

fn enum_decl(p: &mut Parser<'_>, m: Marker) {
    p.bump();
    p.expect_name("type name");
    opt_type_params(p);
    members(p, |p| {
        let m = p.start();
        p.expect_name("member name");
        if !p.failed && p.at(L_PAREN) && !p.newline(0) {
            let fields = p.start();
            p.bump();
            list(p, R_PAREN, variant_field);
            p.complete(fields, PARAM_LIST);
        }
        p.complete(m, ENUM_VARIANT);
    });
    p.complete(m, ENUM_DECL);
}

/// A parameter, or only its type.
fn variant_field(p: &mut Parser<'_>) {
    let named = matches!(p.nth(1), COLON | EQ | COMMA | R_PAREN);
    if p.at_spread() || (p.at(IDENT) && named) || (p.current().is_reserved() && p.nth(1) == COLON) {
        return param(p, &mut ParamOrder::default());
    }
    let m = p.start();
    types::type_(p);
    p.complete(m, PARAM);
}

fn interface_decl(p: &mut Parser<'_>, m: Marker) {
    p.bump();
    p.expect_name("type name");
    opt_type_params(p);
    members(p, |p| {
        let m = p.start();
        if p.eat(TYPE_KW) {
            p.expect_name("type name");
            if !p.failed && p.eat(EQ) {
                types::type_(p);
            }
            p.complete(m, INTERFACE_TYPE);
        } else {
            p.expect(FN_KW);
            p.expect_name("function name");
            signature(p);
            p.complete(m, INTERFACE_METHOD);
        }
        p.eat(SEMICOLON);
    });
    p.complete(m, INTERFACE_DECL);
}

fn impl_decl(p: &mut Parser<'_>, m: Marker) {
    p.bump();
    p.expect_name("type name");
    members(p, |p| {
        let m = p.start();
        while p.at(AT) && !p.failed {
            attribute(p);
        }
        p.eat(PUB_KW);
        let gen_fn = p.at_word("gen") && p.nth(1) == FN_KW;
        if p.at(FN_KW) || gen_fn {
            fn_decl(p, m);
        } else {
            p.expected("fn");
            p.complete(m, ERROR);
        }
        p.eat(SEMICOLON);
    });
    p.complete(m, IMPL_DECL);
}

fn type_alias(p: &mut Parser<'_>, m: Marker) {
    p.bump();
    p.expect_name("type name");
    opt_type_params(p);
    if !p.failed && p.expect(EQ) {
        types::type_(p);
    }
    p.complete(m, TYPE_ALIAS);
}
