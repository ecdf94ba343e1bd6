//! Whatever the text: no panic, no overflow, nothing lost.

#![allow(missing_docs)]

use madrigal_syntax::{SyntaxNode, TREE_DEPTH_MAX, parse};
use proptest::prelude::*;

fn check(source: &str) {
    let parse = parse(source);
    assert_eq!(parse.syntax().text().to_string(), source);
    assert!(depth(&parse.syntax()) <= TREE_DEPTH_MAX);
}

fn depth(root: &SyntaxNode) -> usize {
    let (mut depth, mut deepest) = (0, 0);
    for event in root.preorder() {
        match event {
            rowan::WalkEvent::Enter(_) => depth += 1,
            rowan::WalkEvent::Leave(_) => depth -= 1,
        }
        deepest = deepest.max(depth);
    }
    deepest
}

const SMALL_STACK: usize = 2 << 20;

fn on_small_stack(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(SMALL_STACK).spawn(work).expect("a thread starts");
    thread.join().expect("no panic");
}

#[test]
fn deep_nesting_is_an_error_not_an_overflow() {
    let units = [
        "(",
        "[",
        "{",
        "!",
        "-",
        "if x {",
        "a.",
        "1+",
        "fn(",
        "{ -> ",
        "f(",
        "a[",
        "match x { y -> {",
        "a ? ",
        "2 ** ",
        "let x: [",
        "let x: {a: ",
        "try {",
        "spawn {",
        "else if x { } ",
        "fn f() {",
        "\"${",
        "...",
        "try* ",
        "{a: ",
        "a |> ",
        "A { x: ",
        "@a([",
        "a | ",
        "a<",
        "x = ",
        "parallel x {",
        "a\n.",
        "1 to ",
        "select { x from ",
        "fn(a = ",
        "if ",
        "a ?? ",
        "return ",
        "scope {",
        "let x: fn(",
        "let x: int | ",
    ];
    on_small_stack(move || {
        for unit in units {
            let source = unit.repeat(100_000);
            let parse = parse(&source);
            assert!(parse.has_errors(), "{unit}");
            assert_eq!(parse.syntax().text(), source.as_str(), "{unit}");
        }
        let chain = format!("if a {{ }} {}", "else if b { } ".repeat(100_000));
        assert!(parse(&chain).has_errors());
    });
}

#[test]
fn deep_brackets_say_so() {
    let found = parse(&"(".repeat(100_000));
    assert_eq!(found.diagnostics[0].message, "nesting is too deep (limit 256)");
}

#[test]
fn reasonable_depth_and_chains_are_fine() {
    on_small_stack(|| {
        for source in [
            format!("{}1{}", "(".repeat(250), ")".repeat(250)),
            format!("{}1{}", "f(".repeat(250), ")".repeat(250)),
            format!("{}{}", "if x { ".repeat(120), "}".repeat(120)),
            format!("x = 1{}", " + 1".repeat(900)),
            format!("x{}", ".a()".repeat(900)),
            format!("if a {{ }}{}", " else if b { }".repeat(900)),
        ] {
            let found = parse(&source);
            assert!(!found.has_errors(), "{:?} {}", found.diagnostics, &source[..20]);
        }
    });
}

fn token() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "let ",
        "var ",
        "fn ",
        "if ",
        "else ",
        "match ",
        "try ",
        "catch ",
        "finally ",
        "for ",
        "in ",
        "while ",
        "x",
        "Y",
        "f(",
        ")",
        "{",
        "}",
        "[",
        "]",
        "(",
        "->",
        ",",
        ":",
        ";",
        ".",
        "...",
        "?",
        "?.",
        "|>",
        "|",
        "+",
        "-",
        "*",
        "**",
        "=",
        "==",
        "+=",
        "<",
        ">",
        "\n",
        " ",
        "\"s\"",
        "\"${",
        "}\"",
        "\"\"\"",
        "1",
        "2.5",
        "5ms",
        "select ",
        "parallel ",
        "each ",
        "with ",
        "scope ",
        "spawn ",
        "retry ",
        "deadline ",
        "struct ",
        "enum ",
        "impl ",
        "tool ",
        "skill ",
        "eval_pack ",
        "pipeline ",
        "import ",
        "from ",
        "pub ",
        "@a",
        "type ",
        "gen ",
        "return ",
        "yield ",
        "to ",
        "exclusive ",
        "not ",
        "timeout ",
        "default ",
        "!",
        "??",
        "&&",
        "// c\n",
        "/* c */",
        "\\\n",
        "r\"",
        "é",
        "~",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_text_is_parsed_without_loss(source in "\\PC*") {
        check(&source);
    }

    #[test]
    fn any_bytes_are_parsed_without_loss(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_tokens_are_parsed_without_loss(tokens in prop::collection::vec(token(), 0..120)) {
        check(&tokens.concat());
    }
}
