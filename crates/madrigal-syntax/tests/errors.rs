//! The first error of wrong programs, byte for byte, and right programs without one.

#![allow(clippy::expect_used, missing_docs)]

use madrigal_syntax::parse;

fn first(source: &str) -> String {
    let parse = parse(source);
    assert_eq!(parse.syntax().text().to_string(), source);
    parse.diagnostics.first().map_or_else(String::new, |d| format!("{} {}", d.code, d.message))
}

const WRONG: &[(&str, &str)] = &[
    ("let x = ~1", "M0001 Unexpected character '~' at 1:9"),
    ("let a = 1\n  # no", "M0001 Unexpected character '#' at 2:3"),
    ("a \\ b", "M0001 Unexpected character '\\' at 1:3"),
    ("let s = \"abc\nlet t = 1", "M0002 Unterminated string at 1:9"),
    ("let s = \"a${f(\n)}\"", "M0002 Unterminated string at 1:9"),
    ("let s = \"\"\"abc", "M0002 Unterminated string at 1:9"),
    ("let s = \"${ }\"", "M0001 Unexpected character '}' at 1:13"),
    ("1 /* /* */", "M0003 Unterminated block comment at 1:3"),
    ("let x = )", "M0010 Expected expression, got ) at 1:9"),
    ("let match = 1", "M0010 Expected variable name or destructuring pattern, got 'match' (reserved keyword) at 1:5"),
    ("let 5 = 1", "M0010 Expected variable name or destructuring pattern, got int(5) at 1:5"),
    ("fn (x) { }", "M0010 Expected function name, got ( at 1:4"),
    ("fn f(1) { }", "M0010 Expected parameter name, got int(1) at 1:6"),
    ("a.5s", "M0010 Expected member name, got duration(5000ms) at 1:3"),
    ("pipeline \"x\"() { }", "M0010 Expected pipeline name, got str(x) at 1:10"),
    ("import 5", "M0010 Expected import path string, got int(5) at 1:8"),
    ("let d = {1: 2}", "M0010 Expected dict key, got int(1) at 1:10"),
    ("let d = {\"a${b}\": 2}", "M0010 Expected dict key, got istr(...) at 1:10"),
    ("f(1, ]", "M0010 Expected expression, got ] at 1:6"),
    ("f(1 ]", "M0010 Expected ), got ] at 1:5"),
    ("let x: 5.5 = 1", "M0010 Expected type name, got float(5.5) at 1:8"),
    ("name<>(1)", "M0017 Expected type argument, got > at 1:6"),
    ("let x =", "M0011 Unexpected end of file, expected expression"),
    ("let x =\n\n", "M0011 Unexpected end of file, expected expression"),
    ("fn f() {\n  let x = 1\n", "M0011 Unexpected end of file, expected }"),
    ("1 to\n5", "M0010 Expected expression, got \\n at 1:5"),
    (
        "fn f(a = 1, b) { }",
        "M0012 Expected Required parameter cannot follow a parameter with a default value, got ) at 1:14",
    ),
    ("fn f(...a, b) { }", "M0013 Expected Rest parameter must be the last parameter, got id(b) at 1:12"),
    ("@test\nlet x = 1", "M0014 Expected declaration after `@test`, got let at 2:1"),
    ("let x = 1 let y = 2", "M0015 Expected top-level item separator (`;` or newline), got let at 1:11"),
    ("fn f() { a b }", "M0015 Expected statement separator (`;` or newline), got id(b) at 1:12"),
    (
        "if a { }; else { }",
        "M0016 Expected expression, got else at 1:11: expected statement separator (`;` or newline)",
    ),
    ("let x = 1;; let y = 2", "M0010 Expected expression, got ; at 1:11"),
    (";", "M0010 Expected expression, got ; at 1:1"),
    ("}", "M0010 Expected statement, got } at 1:1"),
    ("select { }", "M0017 Expected at least one select case, got } at 1:10"),
    (
        "select { timeout 5s { } default { } }",
        "M0017 Expected select cannot have both timeout and default, got id(default) at 1:25",
    ),
    ("parallel 3 with { speed: 2 } { i -> i }", "M0017 unknown option `speed`, expected `max_concurrent`"),
    (
        "retry 3 with { tries: 2 } { }",
        "M0017 unknown option `tries`, expected `backoff`, `factor`, `max_backoff`, `jitter`, `on`",
    ),
    ("match x { 1 -> \"one\" }", "M0010 Expected {, got str(one) at 1:16"),
    ("if Ready { }\n", "M0011 Unexpected end of file, expected {"),
    ("f()()", "M0015 Expected top-level item separator (`;` or newline), got ( at 1:4"),
    ("1 = 2", "M0015 Expected top-level item separator (`;` or newline), got = at 1:3"),
    ("a?.b = 2", "M0015 Expected top-level item separator (`;` or newline), got = at 1:6"),
    ("\"x ${1 2}\"", "M0010 Expected }, got int(2) at 1:8"),
    ("struct S { match: int }", "M0010 Expected field name, got 'match' (reserved keyword) at 1:12"),
    ("let {from} = d", "M0010 Expected field name, got 'from' (reserved keyword) at 1:6"),
    ("import x", "M0010 Expected import path string, got id(x) at 1:8"),
    ("fn g() { import \"x\" }", "M0010 Expected expression, got import at 1:10"),
    ("let a = \"ä\" ~", "M0001 Unexpected character '~' at 1:13"),
];

#[test]
fn first_errors() {
    let wrong: Vec<_> = WRONG
        .iter()
        .map(|(source, expected)| (source, first(source), expected))
        .filter(|(_, found, expected)| found != *expected)
        .map(|(source, found, expected)| format!("{source:?}\n  found    {found}\n  expected {expected}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const RIGHT: &[&str] = &[
    "",
    "#!/usr/bin/env harn\nlet x = 1",
    "let gen = 3\nfn gen() { return gen }\ngen fn g(n) { emit n }\n",
    "fn f<in T, out U>(a: T, b: list<U> = [], ...rest) -> fn(int, string) -> bool where T: Show { }",
    "let {a, b: c = 1, ...rest} = d; var [x, y = 2, ...zs] = l",
    "for (k, v) in pairs { println(k) }\nfor {key, value} in d { }\nwhile (true) { break }",
    "x.match.type(1)?.if\nlet d = {from: 1, \"b c\": 2, [k]: 3, ...e}",
    "let v = a\n  .b()\n  ?? c\n  |> f\n  && g",
    "let x = c ? 1 : -2\nlet y = r? \nlet z = parse(x)?\nlet w = x?[0]\nf(a?, b?.c)",
    "let f = { -> 1 }\nlet g = { x, y: int = 2 -> x + y }\nlet e = {}\nlet h = fn(a) { a }",
    "let p = Point { x: 1, y: 2 }\nlet q = Empty {}\nlet r = json_parse<list<int>>(s)\nlet b = a < b",
    "let m = match x { 1 | 2 -> { 1 }\n E.V(a, _) if a > 1 -> { 2 }\n {k: v} -> { 3 }\n [a, 1] -> { 4 }\n _ -> { 5 } }",
    "let r = try { 1 } catch (e: Err) { 2 } finally { 3 }\ntry { a } catch e { b }\ntry { } catch { }",
    "fn f() { return try* g(1) + 2 }",
    "retry 3 { f() }\nretry (n + 1) with { backoff: 10ms, factor: 2 } { f() }\ndeadline 5s { f() }",
    "let s = parallel each xs with { max_concurrent: 4 } { x -> f(x) } as stream\nparallel settle ys { y -> y }",
    "let s = spawn { 1 }\nscope { s -> s.spawn({ -> 1 }) }\nlet scope = 1\nif scope { }\nmutex { x }",
    "select { v from ch { v }\n timeout 5s { 1 } }\nlet r = select(a, b)\nselect { default { } }",
    "struct S<T> { a: int, b?: string\n c }\nenum E { A, B(x, y: int)\n C(list<int>) }\nimpl S { pub fn m(self) { } }",
    "interface I { type Item = int\n fn next(self) -> Item }\npub type T = {a: int, match?: \"x\" | -1 | nil}",
    "@acp_tool(name: \"x\", [1, -2])\n@deprecated\npub fn f() { }\n@test\npipeline test_a(task) extends b { }",
    "pub import \"a\"\nimport { a, b, } from \"lib/x\"\npub pipeline default() -> int { }\noverride x(a) { }",
    "tool convert(a: float, into: \"EUR\" | \"USD\") -> {value: float} {\n description \"Converts\"\n a }",
    "skill Web {\n name \"web\"\n tools [a]\n}\neval_pack p \"v\" {\n cases: []\n let x = 1\n summarize { x }\n}",
    "let s = \"n=${d[\"k\"]} ${{a: 1}.a}\"\nlet t = \"\"\"\n  a ${\n  x }\n  \"\"\"\nlet u = r\"\\d\"",
    "let a = 1 /* x\n y */ let b = 2",
    "let a = f \\\n  (1)\nlet b = x \\\n  - 2",
    "k not in d; !k in d; a in\n b; 1 to n exclusive |> f; -3 ** 2 ** 4",
    "let x = xs[1:]; let y = xs[:n]; let z = xs[:]; let w = xs[a:b]",
    "let x = if a { 1 } else if b { 2 }\nelse { 3 }",
    "guard x else { return }\nrequire x > 1, \"no\"\nthrow {a: 1}\ndefer { f() }",
    "fn f() {\n  return\n  1\n}",
    "a.b[0].c += 1\n(f)(1)\n7.to_x\n5ms",
    "let x = f(\n  1,\n  2\n)\n",
];

#[test]
fn right_programs_have_no_errors() {
    let wrong: Vec<_> = RIGHT.iter().map(|source| (source, first(source))).filter(|it| !it.1.is_empty()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn several_errors_are_reported() {
    let found = parse("let = 1\nlet x = 2\nfn f() {\n  let = 3\n  let y = )\n}\nlet z = ]\n");
    assert_eq!(found.diagnostics.len(), 4, "{:#?}", found.diagnostics);
}
