//! The shape of a few trees, as nodes and significant tokens.

#![allow(missing_docs)]

use madrigal_syntax::{SyntaxElement, SyntaxNode, parse};

fn check(source: &str, expected: &str) {
    let parsed = parse(source);
    assert_eq!(parsed.diagnostics, [], "{source}");
    assert_eq!(shape(&parsed.syntax()), expected, "{source}");
}

fn shape(node: &SyntaxNode) -> String {
    let parts = node.children_with_tokens().filter(|part| !part.kind().is_trivia());
    let text = |part: SyntaxElement| match part {
        SyntaxElement::Node(child) => shape(&child),
        SyntaxElement::Token(token) => token.text().to_owned(),
    };
    format!("{:?}({})", node.kind(), parts.map(text).collect::<Vec<_>>().join(" "))
}

#[test]
fn trees() {
    check(
        "let x = a.b(1)?",
        "SOURCE_FILE(LET_STMT(let NAME_PATTERN(x) = PROPAGATE_EXPR(METHOD_CALL_EXPR(NAME_EXPR(a) . b \
         ARG_LIST(( LITERAL(1) ))) ?)))",
    );
    check("\"a${b}c\"", "SOURCE_FILE(EXPR_STMT(INTERPOLATED_STRING(\" a INTERPOLATION(${ NAME_EXPR(b) }) c \")))");
    check(
        "if a { } else if b { c }",
        "SOURCE_FILE(EXPR_STMT(IF_EXPR(if NAME_EXPR(a) BLOCK({ }) else IF_EXPR(if NAME_EXPR(b) \
         BLOCK({ EXPR_STMT(NAME_EXPR(c)) })))))",
    );
    check(
        "parallel each xs { x -> x } as stream",
        "SOURCE_FILE(EXPR_STMT(PARALLEL_EXPR(parallel each NAME_EXPR(xs) BLOCK({ BINDER(x ->) \
         EXPR_STMT(NAME_EXPR(x)) }) as stream)))",
    );
    check(
        "{ a, b -> a }",
        "SOURCE_FILE(EXPR_STMT(CLOSURE_EXPR({ PARAM_LIST(PARAM(a) , PARAM(b)) -> EXPR_STMT(NAME_EXPR(a)) })))",
    );
}

#[test]
fn interpolated_expressions_keep_their_offsets() {
    let source = "let s = \"é ${name}\"";
    let tree = parse(source).syntax();
    let name = tree.descendants().find(|node| node.text() == "name");
    let start = name.map(|node| usize::from(node.text_range().start()));
    assert_eq!(start, source.find("name"));
}
