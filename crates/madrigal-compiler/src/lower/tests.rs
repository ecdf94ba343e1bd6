//! Lowered programs in a compact notation, compile errors, and totality over any text.

use madrigal_syntax::parse;
use proptest::prelude::*;

use super::lower;
use crate::hir::*;

/// The last top-level expression or the value of the last binding, in a compact notation.
fn check(source: &str, expected: &str) {
    let parsed = parse(source);
    assert_eq!(parsed.diagnostics, [], "{source}");
    let (module, diagnostics) = lower(&parsed);
    assert_eq!(diagnostics, [], "{source}");
    let found = module.body.statements.last().map_or_else(String::new, |it| statement(&it.kind));
    assert_eq!(found, expected, "{source}");
}

fn statement(kind: &StatementKind) -> String {
    match kind {
        StatementKind::Expr(value) | StatementKind::Let { value, .. } => expr(value),
        StatementKind::Assign { place, operator, value } => {
            format!("{} {operator:?} {}", place_text(place), expr(value))
        }
        other => format!("{other:?}"),
    }
}

fn place_text(place: &Place) -> String {
    let steps = place.steps.iter().map(|step| match step {
        PlaceStep::Property(name, _) => format!(".{name}"),
        PlaceStep::Index(index) => format!("[{}]", expr(index)),
    });
    let root =
        place.computed_root.as_ref().map_or_else(|| place.root.0.to_string(), |root| format!("<{}>", expr(root)));
    format!("{root}{}", steps.collect::<String>())
}

fn block(block: &Block) -> String {
    let statements: Vec<_> = block.statements.iter().map(|it| statement(&it.kind)).collect();
    format!("{{{}}}", statements.join("; "))
}

fn arguments(arguments: &[Argument]) -> String {
    let text = |it: &Argument| format!("{}{}", if it.spread { "..." } else { "" }, expr(&it.value));
    arguments.iter().map(text).collect::<Vec<_>>().join(", ")
}

fn item(item: &MatchItem) -> String {
    match item {
        MatchItem::Any => "_".to_owned(),
        MatchItem::Bind(name, _) => format!("${name}"),
        MatchItem::Value(value) => expr(value),
    }
}

fn items(list: &[MatchItem]) -> String {
    list.iter().map(item).collect::<Vec<_>>().join(", ")
}

fn match_pattern(pattern: &MatchPattern) -> String {
    match pattern {
        MatchPattern::Any => "_".to_owned(),
        MatchPattern::Bind(name, _) => format!("${name}"),
        MatchPattern::Variant { enum_name, variant, fields, otherwise } => {
            format!("variant {}.{variant}({}) or {}", enum_name.0, items(fields), expr(otherwise))
        }
        MatchPattern::Dict(entries) => {
            let text = |(key, value): &(Name, MatchItem)| format!("{key}: {}", item(value));
            format!("{{{}}}", entries.iter().map(text).collect::<Vec<_>>().join(", "))
        }
        MatchPattern::List(list) => format!("[{}]", items(list)),
        MatchPattern::Alternatives(list) => list.iter().map(expr).collect::<Vec<_>>().join(" | "),
        MatchPattern::Value(value) => format!("== {}", expr(value)),
    }
}

fn expr(value: &Expr) -> String {
    match &value.kind {
        ExprKind::Nil => "nil".to_owned(),
        ExprKind::Bool(it) => it.to_string(),
        ExprKind::Int(it) => it.to_string(),
        ExprKind::Float(it) => format!("{it:?}"),
        ExprKind::Duration(it) => format!("{it}ms"),
        ExprKind::String(it) => format!("{it:?}"),
        ExprKind::Interpolation(parts) => format!("cat({})", parts.iter().map(expr).collect::<Vec<_>>().join(", ")),
        ExprKind::Name(it) => it.to_string(),
        ExprKind::Placeholder => "<>".to_owned(),
        ExprKind::List(list) => format!("[{}]", arguments(list)),
        ExprKind::Unary { operator, operand } => format!("{operator:?}({})", expr(operand)),
        ExprKind::Binary { operator, left, right } => format!("{operator:?}({}, {})", expr(left), expr(right)),
        ExprKind::Coalesce(left, right) => format!("Coalesce({}, {})", expr(left), expr(right)),
        ExprKind::Range { start, end, exclusive } => format!("range({}, {}, {exclusive})", expr(start), expr(end)),
        ExprKind::PipeCall { value, callee } => format!("({} |> {})", expr(value), expr(callee)),
        ExprKind::PipeBind { value, body } => format!("({} as <> in {})", expr(value), expr(body)),
        ExprKind::Call { name, arguments: list } => format!("{}({})", name.0, arguments(list)),
        ExprKind::MethodCall { receiver, name, arguments: list, optional } => {
            format!("{}{}{}({})", expr(receiver), if *optional { "?." } else { "." }, name.0, arguments(list))
        }
        ExprKind::Property { object, name, optional } => {
            format!("{}{}{}", expr(object), if *optional { "?." } else { "." }, name.0)
        }
        ExprKind::Index { object, index, optional } => {
            format!("{}{}[{}]", expr(object), if *optional { "?" } else { "" }, expr(index))
        }
        ExprKind::Propagate(operand) => format!("{}?", expr(operand)),
        ExprKind::If { condition, then, otherwise } => {
            let otherwise = otherwise.as_ref().map_or_else(String::new, |it| format!(" else {}", block(it)));
            format!("if {} {}{otherwise}", expr(condition), block(then))
        }
        ExprKind::Match { subject, arms } => {
            let arm = |arm: &MatchArm| {
                let guard = arm.guard.as_ref().map_or_else(String::new, |it| format!(" if {}", expr(it)));
                format!("{}{guard} -> {}", match_pattern(&arm.pattern), block(&arm.body))
            };
            format!("match {} {}", expr(subject), arms.iter().map(arm).collect::<Vec<_>>().join("; "))
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn precedence_is_that_of_the_table() {
    check("n ?? 0 > 3", "Greater(Coalesce(n, 0), 3)");
    check("a ?? b + 1", "Add(Coalesce(a, b), 1)");
    check("a * b ?? c", "Coalesce(Multiply(a, b), c)");
    check("-3 ** 2", "Power(Negate(3), 2)");
    check("2 ** 3 ** -1", "Power(2, Power(3, Negate(1)))");
    check("!k in d", "In(Not(k), d)");
    check("k not in d", "NotIn(k, d)");
    check("1 to n exclusive |> f", "(range(1, n, true) |> f)");
    check("a - b - c", "Subtract(Subtract(a, b), c)");
    check("1 + 2 * 3 % 4", "Add(1, Modulo(Multiply(2, 3), 4))");
    check("let x = a\n  .b()\n  + 1", "Add(a.b(), 1)");
}

#[test]
fn question_marks() {
    check("c ? 1 : d ", "if c {1} else {d}");
    check("x?[1]?.a?.b(...c)", "x?[1]?.a?.b(...c)");
    check("f(x)?\n", "f(x)?");
    check("f(x?, 1)", "f(x?, 1)");
}

#[test]
fn literals() {
    check("9223372036854775808", "9.223372036854776e18");
    check("let d = 2m", "120000ms");
    check(r#""a\n${x}b\${""#, r#"cat("a\n", x, "b${")"#);
    check("\"\"\"\n  a\n    ${x}\n\n  b\n  \"\"\"", r#"cat("a\n  ", x, "\n\nb")"#);
    check("\"n=${d[\"k\"]}\"", "cat(\"n=\", d[\"k\"])");
}

#[test]
fn pipes_bind_placeholders() {
    check("\"a-b\" |> split(_, \"-\") |> _[1]", "((\"a-b\" as <> in split(<>, \"-\")) as <> in <>[1])");
    check("x |> f", "(x |> f)");
    check("x |> g(_?.a)", "(x |> g(_?.a))");
    check("x |> _.m(1) + _", "(x as <> in Add(<>.m(1), <>))");
    check("x |> [_, 1]", "(x as <> in [<>, 1])");
}

#[test]
fn match_patterns_are_told_apart() {
    check(
        "match x { E.V -> { 1 }\n E.W(a, _, 3) if a -> { }\n {k: v, l: 2} -> { }\n [a, 1] -> { }\n 1 | 2 -> { }\n n -> { } }",
        "match x variant E.V() or E.V -> {1}; variant E.W($a, _, 3) or E.W(a, _, 3) if a -> {}; \
         {k: $v, l: 2} -> {}; [$a, 1] -> {}; 1 | 2 -> {}; $n -> {}",
    );
    check(
        "match x { 1 to 2 -> { }\n -1 -> { }\n f(a) -> { }\n _ -> { } }",
        "match x == range(1, 2, false) -> {}; == Negate(1) -> {}; == f(a) -> {}; _ -> {}",
    );
}

#[test]
fn places() {
    check("a.b[0].c += 1", "a.b[0].c Some(Add) 1");
    check("x = 2", "x None 2");
    check("f().x = 1", "<f()>.x None 1");
}

#[test]
fn else_if_chains_nest() {
    check("if a { 1 } else if b { 2 } else if c { 3 } else { 4 }", "if a {1} else {if b {2} else {if c {3} else {4}}}");
    check("if a { 1 } else if b { 2 }", "if a {1} else {if b {2}}");
}

fn function(source: &str) -> std::rc::Rc<Function> {
    let (module, _) = lower(&parse(source));
    for statement in &module.body.statements {
        if let StatementKind::Function(function) = &statement.kind {
            return function.clone();
        }
    }
    panic!("no function in {source}")
}

#[test]
fn functions_know_what_they_assign_and_whether_they_yield() {
    let found = function("fn f() { x = 1\n x += 2\n y.z = 3\n let g = { -> w = 1 }\n spawn { v = 2 } }");
    assert_eq!(found.assigned.iter().map(|name| &**name).collect::<Vec<_>>(), ["x", "y"]);
    assert!(!found.yields);
    assert!(function("fn f() { if a { yield 1 } }").yields);
    assert!(!function("fn f() { let g = { -> yield 1 } }").yields);
    assert!(function("gen fn f() { emit 1 }").stream);
}

#[test]
fn modules_collect_imports_and_pipelines() {
    let (module, _) =
        lower(&parse("import \"a\"\npub import { b, c } from \"d\"\n@test\npipeline p(x) extends q { 1 }\nlet y = 2"));
    assert_eq!(module.imports.len(), 2);
    assert_eq!(module.imports[1].names.as_ref().map(Vec::len), Some(2));
    assert!(module.imports[1].public);
    assert_eq!(module.pipelines[0].attributes.len(), 1);
    assert_eq!(module.pipelines[0].extends.as_ref().map(|it| it.0.to_string()), Some("q".to_owned()));
    assert_eq!(module.body.statements.len(), 1);
}

const COMPILE_ERRORS: &[(&str, &str)] = &[
    ("let x = 1\nbreak", "M0018 Compile error at line 2: break outside of loop"),
    ("continue", "M0018 Compile error at line 1: continue outside of loop"),
    ("while a { let f = { -> break } }", "M0018 Compile error at line 1: break outside of loop"),
    ("for x in y { if x { break } else { continue } }", ""),
    ("for x in y { spawn { break } }", "M0018 Compile error at line 1: break outside of loop"),
    (
        "let x = ...y",
        "M0018 Compile error at line 1: spread (...) can only be used inside list literals, dict literals, or function call arguments",
    ),
    ("let x = a | b", "M0018 Compile error at line 1: or-pattern (|) can only appear as a match arm pattern"),
    ("let x = 9999999999999w", "M0018 Compile error at line 1: duration literal is too large"),
    (
        "let x = try* f()",
        "M0402 try* requires an enclosing function (fn, tool, or pipeline) so the rethrow has a target",
    ),
    ("fn f() { return try* g() }\npipeline p() { try* g() }\nlet h = { -> try* g() }", ""),
    ("gen fn f() { yield 1 }", "M0501 `yield` is not a stream emit; use `emit` inside `gen fn`"),
    ("fn f() { emit 1 }", "M0502 `emit` can only be used inside a `gen fn`"),
    ("gen fn f() { let g = { -> emit 1 } }", "M0502 `emit` can only be used inside a `gen fn`"),
];

#[test]
fn compile_errors() {
    for (source, expected) in COMPILE_ERRORS {
        let parsed = parse(source);
        assert_eq!(parsed.diagnostics, [], "{source}");
        let (_, diagnostics) = lower(&parsed);
        let found = diagnostics.first().map_or_else(String::new, |it| format!("{} {}", it.code, it.message));
        assert_eq!(found, *expected, "{source}");
    }
}

#[test]
fn spans_point_at_the_operator_or_name() {
    let at = |source: &str| {
        let (module, _) = lower(&parse(source));
        let StatementKind::Expr(value) = &module.body.statements[0].kind else { panic!("an expression: {source}") };
        source[value.span.start as usize..value.span.end as usize].to_owned()
    };
    assert_eq!(at("a + b"), "+");
    assert_eq!(at("foo(1)"), "foo");
    assert_eq!(at("a.b.foo(1)"), "foo");
    assert_eq!(at("a.b"), "b");
    assert_eq!(at("k not  in d"), "not  in");
    assert_eq!(at("[1, 2]"), "[1, 2]");
}

#[test]
fn deep_programs_lower_on_a_small_stack() {
    let work = || {
        for source in [
            format!("{}1{}", "(".repeat(250), ")".repeat(250)),
            format!("{}1{}", "f(".repeat(250), ")".repeat(250)),
            format!("{}{}", "if x { ".repeat(120), "}".repeat(120)),
            format!("x = 1{}", " + 1".repeat(900)),
            format!("x{}", ".a()".repeat(900)),
            format!("if a {{ }}{}", " else if b { }".repeat(900)),
            "(".repeat(100_000),
            "1+".repeat(100_000),
            "a.".repeat(100_000),
            "if x {".repeat(100_000),
            "match x { E.V(".repeat(100_000),
        ] {
            drop(lower(&parse(&source)));
        }
    };
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(work).expect("a thread starts");
    thread.join().expect("no panic");
}

fn token() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "let ",
        "fn ",
        "if ",
        "else ",
        "match ",
        "try ",
        "catch ",
        "for ",
        "in ",
        "x",
        "Y",
        "f(",
        ")",
        "{",
        "}",
        "[",
        "]",
        "->",
        ",",
        ":",
        ";",
        ".",
        "...",
        "?",
        "|>",
        "|",
        "+",
        "**",
        "=",
        "+=",
        "\n",
        " ",
        "\"s\"",
        "\"${",
        "}\"",
        "\"\"\"",
        "1",
        "5ms",
        "select ",
        "parallel ",
        "each ",
        "spawn ",
        "retry ",
        "struct ",
        "enum ",
        "impl ",
        "tool ",
        "skill ",
        "pipeline ",
        "import ",
        "pub ",
        "@a",
        "type ",
        "return ",
        "yield ",
        "break",
        "to ",
        "timeout ",
        "!",
        "_",
        "~",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_tokens_lower(tokens in prop::collection::vec(token(), 0..100)) {
        drop(lower(&parse(&tokens.concat())));
    }
}
