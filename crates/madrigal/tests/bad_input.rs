//! Programs that go wrong in every way the engine has to stand: each ends with a clear report and a status, never with
//! a panic, a native stack overflow or a hang.

#[path = "support/run.rs"]
mod run;

use madrigal::Source;
use run::{Ran, Setting};

/// Runs a program under both executors, which must agree; what it left behind.
fn ran(text: &str) -> Ran {
    let of = |setting| run::run(Source::text("bad.harn", text), setting).unwrap_or_else(|it| panic!("{it}"));
    let (simulated, real) = (of(Setting::Simulated(1)), of(Setting::Workers(2)));
    assert_eq!(simulated, real);
    real
}

/// Checks output, status 1 and how the report begins.
fn fails(text: &str, stdout: &str, report: &str) {
    let ran = ran(text);
    assert_eq!((ran.stdout.as_str(), ran.status), (stdout, 1), "{}", ran.stderr);
    assert!(ran.stderr.starts_with(report), "{}", ran.stderr);
}

/// Checks output and a quiet end.
fn prints(text: &str, stdout: &str) {
    let ran = ran(text);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str(), ran.status), (stdout, "", 0));
}

#[test]
fn deep_nesting_is_refused() {
    let depth = 100_000;
    let ways =
        [("(", ")"), ("[", "]"), ("{a: ", "}"), ("-", ""), ("!", ""), ("f(", ")"), ("if x { ", " }"), ("{ -> ", " }")];
    for (open, close) in ways {
        let text = format!("let x = {}1{}\n", open.repeat(depth), close.repeat(depth));
        let ran = ran(&text);
        assert_eq!((ran.stdout.as_str(), ran.status), ("", 1), "{open}");
        assert!(ran.stderr.starts_with("error[M"), "{open}: {}", ran.stderr.lines().next().unwrap_or_default());
    }
    let unclosed = ran(&format!("let x = {}", "[".repeat(depth)));
    assert_eq!(unclosed.status, 1);
}

#[test]
fn long_chains_are_no_nesting_or_are_refused() {
    let sum = format!("println(0{})\n", " + 1".repeat(10_000));
    let ran = ran(&sum);
    assert!(ran.stdout == "10000\n" || ran.stderr.starts_with("error[M"), "{}", ran.stderr);
}

#[test]
fn endless_recursion_is_an_error_of_the_program() {
    let down = "fn down(n) {\n  return 1 + down(n + 1)\n}\n";
    fails(&format!("{down}down(0)\n"), "", "error: Runtime error: Stack overflow: too many nested calls (line 2)\n");
    let caught = format!("{down}try {{ down(0) }} catch (e) {{ println(e) }}\nprintln(\"goes on\")\n");
    prints(&caught, "Stack overflow: too many nested calls\ngoes on\n");
}

#[test]
fn endless_recursion_through_a_callback_is_an_error_of_the_program() {
    let text = "fn down(n) { return [n].map({ x -> down(x + 1) }) }\ntry { down(0) } catch (e) { println(e) }\n";
    prints(text, "Stack overflow: too many nested calls\n");
}

#[test]
fn a_deadline_ends_an_endless_loop() {
    // Virtual time stands still while anything runs: only a deadline that has passed already can end the loop.
    prints("try { deadline 0ms { while true { } } } catch (e) { println(e) }\n", "Deadline exceeded\n");
}

#[test]
fn an_endless_loop_in_a_task_can_be_cancelled() {
    let text = "let t = spawn { while true { } }\nyield_now()\ncancel(t)\nprintln(\"done\")\n";
    prints(text, "done\n");
}

#[test]
fn unknown_names_are_reported() {
    fails("println(nowhere)\n", "", "error: Runtime error: Undefined variable: nowhere (line 1)\n");
    fails("frobnicate()\n", "", "error[M0401]: call target `frobnicate` is not defined or imported\n");
    fails(
        "let total = 1\nprintln(totla)\n",
        "",
        "error: Runtime error: Undefined variable: totla (did you mean `total`?) (line 2)\n",
    );
}

#[test]
fn several_syntax_errors_are_reported_in_one_run() {
    let ran = ran("let = 1\nlet y = 2\nlet z = )\nprintln(\"never\")\n");
    assert_eq!((ran.stdout.as_str(), ran.status), ("", 1));
    let heads: Vec<&str> = ran.stderr.lines().filter(|it| it.starts_with("error")).collect();
    assert!(heads.len() >= 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("bad.harn:1:5") && ran.stderr.contains("bad.harn:3:9"), "{}", ran.stderr);
}

#[test]
fn a_failure_that_nobody_awaits_is_not_lost() {
    let text = "spawn {\n  throw \"lost\"\n}\nprintln(\"main\")\n";
    fails(text, "main\n", "error: Thrown: lost\n  --> bad.harn:2:3\n");
    let report = ran(text).stderr;
    assert!(report.contains("  = note: in task root › spawn[1]\n"), "{report}");
}

#[test]
fn a_deadlock_is_reported_with_what_everybody_waits_for() {
    let text = "let a = channel(\"a\", 1)\nspawn { receive(a) }\nreceive(a)\n";
    fails(text, "", "deadlock: ");
    let report = ran(text).stderr;
    assert!(report.contains("task_root waits for receive on <channel:a> at bad.harn:3\n"), "{report}");
    assert!(report.contains("task_root:spawn:1 waits for receive on <channel:a> at bad.harn:2\n"), "{report}");
}

#[test]
fn cleanups_run_at_a_deadlock() {
    let ran = ran("let a = channel(\"a\", 1)\ndefer { println(\"cleaned up\") }\nreceive(a)\n");
    assert_eq!((ran.stdout.as_str(), ran.status), ("cleaned up\n", 1), "{}", ran.stderr);
}

#[test]
fn an_error_names_the_frames_it_left() {
    let text = "fn divide(a, b) {\n  return a / b\n}\npipeline main(task) {\n  println(divide(1, 0))\n}\n";
    let report = "error: Runtime error: Division by zero (line 2)\n  --> bad.harn:2:10\n   |\n 2 |   return a / b\n   |          ^\n  = note: called from pipeline at bad.harn:5\n";
    let ran = ran(text);
    assert_eq!((ran.stderr.as_str(), ran.status), (report, 1));
}

#[test]
fn odd_texts_are_no_programs_but_no_trouble() {
    for text in ["", "\n\n", "// only a comment", ";", "\u{feff}", "\0", "/*", "\"", "\"${", "}", "->", "π", "\r\n"] {
        let of = |setting| run::run(Source::text("odd.harn", text), setting);
        let ran = of(Setting::Simulated(1)).unwrap_or_else(|it| panic!("{text:?}: {it}"));
        assert!(ran.status == 0 || ran.stderr.starts_with("error"), "{text:?}: {}", ran.stderr);
    }
}
