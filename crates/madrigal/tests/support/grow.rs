//! Grows programs from the grammar. They parse, mostly; what they do is arbitrary.

/// A source of choices; the same seed makes the same.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut it = self.0;
        it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        it ^ (it >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// Every kind of token, also broken ones.
pub const TOKENS: [&str; 118] = [
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
    "y",
    "Y",
    "f",
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
    "<=",
    "/",
    "%",
    "!=",
    "\n",
    "\n",
    "\n",
    " ",
    " ",
    "\"s\"",
    "\"${",
    "}\"",
    "\"\"\"",
    "\"",
    "r\"",
    "0",
    "1",
    "2.5",
    "9223372036854775807",
    "-9223372036854775808",
    "99999999999999999999",
    "5ms",
    "9w",
    "select ",
    "parallel ",
    "each ",
    "settle ",
    "with ",
    "max_concurrent",
    "scope ",
    "spawn ",
    "retry ",
    "deadline ",
    "mutex ",
    "defer ",
    "guard ",
    "require ",
    "throw ",
    "struct ",
    "enum ",
    "interface ",
    "impl ",
    "tool ",
    "skill ",
    "eval_pack ",
    "pipeline ",
    "default",
    "import ",
    "from ",
    "pub ",
    "@a",
    "type ",
    "gen ",
    "return ",
    "yield ",
    "emit ",
    "break ",
    "continue ",
    "to ",
    "exclusive ",
    "not ",
    "timeout ",
    "!",
    "??",
    "&&",
    "||",
    "_",
    "nil",
    "true",
    "extends ",
    "override ",
    "as stream",
    "// c\n",
    "/* c */",
    "\\\n",
    "é~#\u{0}",
];

const NAMES: [&str; 8] = ["a", "b", "c", "d", "f", "g", "xs", "it"];

const METHODS: [&str; 52] = [
    "map",
    "filter",
    "reduce",
    "count",
    "len",
    "join",
    "split",
    "sort",
    "sort_by",
    "reverse",
    "push",
    "pop",
    "slice",
    "zip",
    "enumerate",
    "unique",
    "flatten",
    "first",
    "last",
    "take",
    "skip",
    "sum",
    "min",
    "max",
    "keys",
    "values",
    "entries",
    "get",
    "has",
    "merge",
    "remove",
    "iter",
    "to_list",
    "next",
    "add",
    "union",
    "contains",
    "index_of",
    "substring",
    "trim",
    "chars",
    "lines",
    "replace",
    "chunk",
    "window",
    "group_by",
    "any",
    "all",
    "find",
    "to_dict",
    "flat_map",
    "partition",
];

const BINARY: [&str; 18] =
    ["+", "-", "*", "/", "%", "**", "==", "!=", "<", "<=", ">", ">=", "&&", "||", "??", "in", "not in", "|>"];

const ATOMS: [&str; 20] = [
    "nil",
    "true",
    "false",
    "0",
    "1",
    "-1",
    "3",
    "2.5",
    "9223372036854775807",
    "\"\"",
    "\"ab\"",
    "\"é→\"",
    "5ms",
    "[]",
    "{}",
    "[1, 2, 3]",
    "{k: 1, j: [2]}",
    "set(1, \"a\")",
    "(1 to 4)",
    "Ok(1)",
];

/// A program of a few statements.
pub fn program(dice: &mut Dice) -> String {
    let mut text = String::from(
        "struct S { p, q }\nenum E { A, B(v) }\nvar a = 1\nvar b = [1, 2]\nvar c = {k: 1}\nvar d = \"s\"\n",
    );
    text.push_str(
        "fn f(x, y = 2, ...z) { return x }\nlet g = { x -> x }\nvar xs = [3, 1, 2]\nvar it = [1, 2].iter()\n",
    );
    let count = 1 + dice.below(8);
    statements(dice, count, 4, &mut text);
    text
}

fn statements(dice: &mut Dice, count: usize, depth: usize, out: &mut String) {
    for _ in 0..count {
        statement(dice, depth, out);
        out.push('\n');
    }
}

fn block(dice: &mut Dice, depth: usize, out: &mut String) {
    out.push_str("{\n");
    let count = dice.below(3);
    statements(dice, count, depth.saturating_sub(1), out);
    out.push('}');
}

fn statement(dice: &mut Dice, depth: usize, out: &mut String) {
    let choice = if depth == 0 { dice.below(6) } else { dice.below(24) };
    let name = dice.pick(&NAMES);
    match choice {
        0 => write_all(out, &["let n", name, " = "]).then(|out| expr(dice, 3, out)).done(),
        1 | 2 => {
            write_all(out, &[name]);
            place(dice, out);
            out.push_str(dice.pick(&[" = ", " += ", " *= ", " -= "]));
            expr(dice, 3, out);
        }
        3 => write_all(out, &["println("]).then(|out| expr(dice, 4, out)).end(")").done(),
        4 => expr(dice, 4, out),
        5 => write_all(out, &["let {k, ...rest", name, "} = "]).then(|out| expr(dice, 2, out)).done(),
        6 => write_all(out, &["if "]).then(|out| expr(dice, 2, out)).then(|out| block(dice, depth, out)).done(),
        7 => write_all(out, &["for ", name, " in "])
            .then(|out| expr(dice, 2, out))
            .then(|out| block(dice, depth, out))
            .done(),
        8 => write_all(out, &["while "]).then(|out| expr(dice, 2, out)).then(|out| block(dice, depth, out)).done(),
        9 => {
            out.push_str("try ");
            block(dice, depth, out);
            out.push_str(" catch (e) ");
            block(dice, depth, out);
            if dice.below(2) == 0 {
                out.push_str(" finally ");
                block(dice, depth, out);
            }
        }
        10 => write_all(out, &["fn ", name, "(x) "]).then(|out| block(dice, depth, out)).done(),
        11 => write_all(out, &["return "]).then(|out| expr(dice, 3, out)).done(),
        12 => write_all(out, &["throw "]).then(|out| expr(dice, 2, out)).done(),
        13 => write_all(out, &["defer "]).then(|out| block(dice, depth, out)).done(),
        14 => write_all(out, &["guard "])
            .then(|out| expr(dice, 2, out))
            .end(" else ")
            .then(|out| block(dice, depth, out))
            .done(),
        15 => write_all(out, &["retry 2 "]).then(|out| block(dice, depth, out)).done(),
        16 => matching(dice, depth, out),
        17 => write_all(out, &["fn ", name, "(n) { yield "]).then(|out| expr(dice, 2, out)).end(" }").done(),
        18 => write_all(out, &["let [p, q = 1, ...r", name, "] = "]).then(|out| expr(dice, 2, out)).done(),
        19 => write_all(out, &[dice.pick(&["scope ", "mutex ", "deadline 5s ", "try "])])
            .then(|out| block(dice, depth, out))
            .done(),
        20 => write_all(out, &["impl S { fn ", name, "(self) { return "])
            .then(|out| expr(dice, 2, out))
            .end(" } }")
            .done(),
        21 => write_all(out, &["require "]).then(|out| expr(dice, 2, out)).done(),
        22 => write_all(out, &[dice.pick(&["break", "continue", "return"])]).done(),
        _ => write_all(out, &["spawn "]).then(|out| block(dice, depth, out)).done(),
    }
}

fn matching(dice: &mut Dice, depth: usize, out: &mut String) {
    out.push_str("match ");
    expr(dice, 2, out);
    out.push_str(" {\n");
    for _ in 0..=dice.below(3) {
        out.push_str(dice.pick(&[
            "_",
            "n",
            "1 | 2",
            "{k: v}",
            "[h, t]",
            "E.B(v)",
            "E.A",
            "n if n > 1",
            "\"s\"",
            "[_, 2]",
        ]));
        out.push_str(" -> ");
        block(dice, depth, out);
        out.push('\n');
    }
    out.push('}');
}

fn place(dice: &mut Dice, out: &mut String) {
    for _ in 0..dice.below(3) {
        if dice.below(2) == 0 {
            out.push_str(dice.pick(&[".k", ".p", ".match"]));
        } else {
            out.push('[');
            expr(dice, 1, out);
            out.push(']');
        }
    }
}

fn expr(dice: &mut Dice, depth: usize, out: &mut String) {
    let choice = if depth == 0 { dice.below(2) } else { dice.below(20) };
    let deeper = depth.saturating_sub(1);
    match choice {
        0 => out.push_str(dice.pick(&ATOMS)),
        1 => out.push_str(dice.pick(&NAMES)),
        2 | 3 => {
            out.push('(');
            expr(dice, deeper, out);
            write_all(out, &[" ", dice.pick(&BINARY), " "]);
            expr(dice, deeper, out);
            out.push(')');
        }
        4..=6 => {
            expr(dice, deeper, out);
            write_all(out, &[dice.pick(&[".", ".", "?."]), dice.pick(&METHODS), "("]);
            arguments(dice, deeper, out);
            out.push(')');
        }
        7 => {
            write_all(
                out,
                &[dice.pick(&["f", "g", "Ok", "Err", "len", "to_string", "E.B", "S", "pair", "range"]), "("],
            );
            arguments(dice, deeper, out);
            out.push(')');
        }
        8 => write_all(out, &["["]).then(|out| arguments(dice, deeper, out)).end("]").done(),
        9 => write_all(out, &["{k: "]).then(|out| expr(dice, deeper, out)).end("}").done(),
        10 => write_all(out, &["{ x -> "]).then(|out| statement(dice, deeper.min(2), out)).end("\n}").done(),
        11 => {
            expr(dice, deeper, out);
            out.push('[');
            expr(dice, deeper, out);
            if dice.below(2) == 0 {
                out.push(':');
                expr(dice, deeper, out);
            }
            out.push(']');
        }
        12 => write_all(out, &["\"a${"]).then(|out| expr(dice, deeper.min(1), out)).end("}\"").done(),
        13 => write_all(out, &[dice.pick(&["-", "!"])]).then(|out| expr(dice, deeper, out)).done(),
        14 => {
            out.push('(');
            expr(dice, deeper, out);
            out.push_str(" ? (");
            expr(dice, deeper, out);
            out.push_str(") : (");
            expr(dice, deeper, out);
            out.push_str("))");
        }
        15 => expr_postfix(dice, deeper, out),
        16 => write_all(out, &["if "]).then(|out| expr(dice, deeper, out)).then(|out| block(dice, 1, out)).done(),
        17 => write_all(out, &["S {p: "]).then(|out| expr(dice, deeper, out)).end("}").done(),
        18 => {
            out.push('(');
            expr(dice, deeper, out);
            out.push_str(" to ");
            expr(dice, deeper, out);
            out.push(')');
        }
        _ => write_all(out, &["try "]).then(|out| block(dice, 1, out)).done(),
    }
}

fn expr_postfix(dice: &mut Dice, depth: usize, out: &mut String) {
    expr(dice, depth, out);
    out.push_str(dice.pick(&["?", ".k", "?.k", ".first", "?[0]", ".variant"]));
}

fn arguments(dice: &mut Dice, depth: usize, out: &mut String) {
    for position in 0..dice.below(4) {
        if position > 0 {
            out.push_str(", ");
        }
        if dice.below(8) == 0 {
            out.push_str("...");
        }
        expr(dice, depth, out);
    }
}

/// Lets several pieces be written one after the other in one arm.
struct Written<'a>(&'a mut String);

impl<'a> Written<'a> {
    fn then(self, write: impl FnOnce(&mut String)) -> Written<'a> {
        write(self.0);
        self
    }

    fn end(self, text: &str) -> Written<'a> {
        self.0.push_str(text);
        self
    }

    fn done(self) {}
}

fn write_all<'a>(out: &'a mut String, pieces: &[&str]) -> Written<'a> {
    pieces.iter().for_each(|piece| out.push_str(piece));
    Written(out)
}
