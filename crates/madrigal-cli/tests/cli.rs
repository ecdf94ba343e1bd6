//! The built command as a user meets it: arguments, streams, exit statuses, signals. What programs mean is proved by
//! the golden programs of the `madrigal` crate.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

fn madrigal(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_madrigal"));
    command.args(arguments).stdin(Stdio::null()).env_remove("HARN_TASK_FUEL");
    command
}

/// Status, standard output, standard error.
fn ended(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).expect("the command writes UTF-8");
    (output.status.code().expect("it ended by itself"), text(output.stdout), text(output.stderr))
}

fn run(arguments: &[&str]) -> (i32, String, String) {
    ended(madrigal(arguments).output().expect("the command starts"))
}

/// A file of this test in a folder that cargo gives.
fn file(name: &str, content: impl AsRef<[u8]>) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, content).expect("a file can be written");
    path.to_str().expect("the path is text").to_owned()
}

fn check(arguments: &[&str], expected: (i32, &str, &str)) {
    let (status, stdout, stderr) = run(arguments);
    assert_eq!((status, stdout.as_str(), stderr.as_str()), expected, "madrigal {arguments:?}");
}

#[test]
fn a_file_is_run_with_and_without_the_command() {
    let hello = file("hello.harn", "println(\"hello\")\n");
    check(&[&hello], (0, "hello\n", ""));
    check(&["run", &hello], (0, "hello\n", ""));
}

#[test]
fn arguments_reach_the_program_as_written() {
    let args = file("args.harn", "println(argv)\n");
    check(&[&args, "one", "--two", "-3"], (0, "[one, --two, -3]\n", ""));
    check(&["run", &args, "--", "one", "--help"], (0, "[one, --help]\n", ""));
    check(&["run", &args, "--", "one", "--", "two"], (0, "[one, --, two]\n", ""));
    check(&[&args], (0, "[]\n", ""));
}

#[test]
fn a_line_of_code_is_run_with_arguments() {
    check(&["-e", "println(6 * 7)"], (0, "42\n", ""));
    check(&["run", "-e", "println(argv)", "a", "b"], (0, "[a, b]\n", ""));
}

#[test]
fn a_program_is_read_from_standard_input() {
    let mut child = madrigal(&["run", "-", "a"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    child.stdin.take().expect("it is piped").write_all(b"println(argv)").expect("the command reads");
    let ended = ended(child.wait_with_output().expect("the command ends"));
    assert_eq!(ended, (0, "[a]\n".to_owned(), String::new()));
}

#[test]
fn what_cannot_be_read_is_said_in_one_line() {
    let folder = env!("CARGO_TARGET_TMPDIR");
    let binary = file("binary.harn", b"println(\"\xff\")\n");
    for command in ["run", "check", "disasm"] {
        let missing = "error: cannot read 'no_such_file.harn': no such file\n";
        check(&[command, "no_such_file.harn"], (1, "", missing));
        check(&[command, folder], (1, "", &format!("error: cannot read '{folder}': it is a directory\n")));
        let no_text = format!("error: cannot read '{binary}': it is not UTF-8 text (line 1)\n");
        check(&[command, &binary], (1, "", &no_text));
    }
}

#[test]
fn a_wrong_command_line_has_status_2() {
    let wrong: &[&[&str]] = &[
        &[],
        &["run"],
        &["check"],
        &["disasm"],
        &["--no-such-option", "x.harn"],
        &["run", "--workers", "0", "x.harn"],
        &["run", "--workers", "many", "x.harn"],
        &["run", "--seed", "1", "x.harn"],
        &["run", "--simulate", "--workers", "2", "x.harn"],
    ];
    for arguments in wrong {
        let (status, stdout, stderr) = run(arguments);
        assert_eq!((status, stdout.as_str()), (2, ""), "madrigal {arguments:?}");
        assert!(stderr.contains("Usage: madrigal") || stderr.contains("--help"), "madrigal {arguments:?}: {stderr}");
    }
}

#[test]
fn help_teaches_by_examples() {
    let (status, stdout, stderr) = run(&["--help"]);
    assert_eq!((status, stderr.as_str()), (0, ""));
    assert!(stdout.contains("Examples:") && stdout.contains("parallel each"), "{stdout}");
    check(&["--version"], (0, concat!("madrigal ", env!("CARGO_PKG_VERSION"), "\n"), ""));
}

#[test]
fn the_value_of_a_program_is_its_exit_status() {
    let status_of = |code: &str| run(&[&file("status.harn", code)]).0;
    assert_eq!(status_of("pipeline main(task) { return 7 }"), 7);
    assert_eq!(status_of("pipeline main(task) { return 1000 }"), 255);
    assert_eq!(status_of("pipeline main(task) { return \"text\" }"), 0);
    assert_eq!(status_of("pipeline main(task) { return Err(\"no\") }"), 1);
    assert_eq!(status_of("pipeline main(task) { exit(3) }"), 3);
    assert_eq!(status_of("throw \"x\""), 1);
}

#[test]
fn output_before_a_failure_is_kept() {
    let failing = file("failing.harn", "println(\"before\")\nthrow \"gone\"\n");
    let (status, stdout, stderr) = run(&[&failing]);
    assert_eq!((status, stdout.as_str()), (1, "before\n"));
    assert_eq!(stderr.lines().next(), Some("error: Thrown: gone"));
}

#[test]
fn simulated_runs_repeat_themselves() {
    let dice = file("dice.harn", "println(parallel 8 { i -> random_int(1, 1000000) })\n");
    let first = run(&["run", "--simulate", "--seed", "7", &dice]);
    assert_eq!(first.0, 0, "{}", first.2);
    assert_eq!(run(&["run", "--simulate", "--seed", "7", &dice]), first);
    assert_ne!(run(&["run", "--simulate", "--seed", "8", &dice]), first);
}

#[test]
fn the_environment_sets_the_fuel() {
    let count = file("count.harn", "var i = 0\nwhile i < 1000 { i += 1 }\nprintln(i)\n");
    let with = |fuel: &str| ended(madrigal(&[&count]).env("HARN_TASK_FUEL", fuel).output().expect("it starts"));
    assert_eq!(with("1"), (0, "1000\n".to_owned(), String::new()));
    let message = "error: HARN_TASK_FUEL must be a number above 0, not 'plenty'\n";
    assert_eq!(with("plenty"), (2, String::new(), message.to_owned()));
}

#[test]
fn check_names_what_is_fine_and_reports_the_rest() {
    let good = file("good.harn", "throw \"checked, not run\"\n");
    let bad = file("bad.harn", "println(1\n");
    check(&["check", &good], (0, &format!("{good}: ok\n"), ""));
    let (status, stdout, stderr) = run(&["check", &bad, &good]);
    assert_eq!((status, stdout), (1, format!("{good}: ok\n")));
    assert!(stderr.starts_with("error[") && stderr.contains("bad.harn:"), "{stderr}");
}

#[test]
fn disasm_prints_the_bytecode() {
    let (status, stdout, stderr) = run(&["disasm", &file("listing.harn", "println(1)\n")]);
    assert_eq!((status, stderr.as_str()), (0, ""));
    assert!(stdout.contains("CallBuiltin"), "{stdout}");
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let many = file("many.harn", "for i in 1 to 100000 { println(i) }\n");
    let mut child = started(&many);
    let mut first = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    stdout.read_line(&mut first).expect("the command writes");
    assert_eq!(first, "1\n");
    drop(stdout);
    let (_, _, stderr) = ended(child.wait_with_output().expect("the command ends"));
    assert_eq!(stderr, "");
}

#[test]
fn an_endless_program_ends_with_its_reader() {
    let endless = file("endless.harn", "while true { println(\"more\") }\n");
    let mut child = started(&endless);
    let mut first = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    stdout.read_line(&mut first).expect("the command writes");
    drop(stdout);
    let output = child.wait_with_output().expect("the command ends");
    assert_eq!((first.as_str(), output.status.code()), ("more\n", Some(0)));
}

fn started(path: &str) -> Child {
    madrigal(&["run", path]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command starts")
}

#[cfg(unix)]
mod signals {
    use super::*;

    /// A running program, told apart by what it wrote: nothing here waits for time to pass.
    struct Running {
        child: Child,
        stdout: BufReader<std::process::ChildStdout>,
        stderr: BufReader<std::process::ChildStderr>,
    }

    impl Running {
        /// Starts a program and waits for its line `ready`.
        fn ready(name: &str, code: &str) -> Running {
            let mut child = started(&file(name, code));
            let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
            let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
            let mut running = Running { child, stdout, stderr };
            running.reads("ready\n");
            running
        }

        fn reads(&mut self, expected: &str) {
            let mut line = String::new();
            self.stdout.read_line(&mut line).expect("the command writes");
            assert_eq!(line, expected);
        }

        /// The next line of standard error.
        fn complaint(&mut self) -> String {
            let mut line = String::new();
            self.stderr.read_line(&mut line).expect("the command writes");
            line
        }

        fn send(&self, signal: &str) {
            let id = self.child.id().to_string();
            let sent = Command::new("kill").args([signal, &id]).status().expect("kill exists");
            assert!(sent.success());
        }

        /// Waits for the end; its status and what was still written.
        fn ended(mut self) -> (i32, String, String) {
            let (mut stdout, mut stderr) = (String::new(), String::new());
            self.stdout.read_to_string(&mut stdout).expect("the command writes text");
            self.stderr.read_to_string(&mut stderr).expect("the command writes text");
            let status = self.child.wait().expect("the command ends").code().expect("it ended by itself");
            (status, stdout, stderr)
        }
    }

    const SLEEPER: &str = "defer { println(\"cleaned up\") }\nspawn { sleep(1h) }\nprintln(\"ready\")\nsleep(1h)\n";

    #[test]
    fn the_first_signal_lets_the_program_clean_up() {
        for (signal, name, status) in [("-INT", "SIGINT", 130), ("-TERM", "SIGTERM", 143)] {
            let running = Running::ready(&format!("sleeper{status}.harn"), SLEEPER);
            running.send(signal);
            let (ended, stdout, stderr) = running.ended();
            assert_eq!((ended, stdout.as_str()), (status, "cleaned up\n"));
            assert!(stderr.starts_with(&format!("{name}: ")) && stderr.lines().count() == 1, "{stderr}");
        }
    }

    #[test]
    fn a_loop_that_never_waits_is_interrupted_too() {
        let code = "defer { println(\"cleaned up\") }\nspawn { println(\"ready\") }\nyield_now()\nwhile true { }\n";
        let running = Running::ready("loop.harn", code);
        running.send("-INT");
        let (ended, stdout, _) = running.ended();
        assert_eq!((ended, stdout.as_str()), (130, "cleaned up\n"));
    }

    #[test]
    fn the_second_signal_ends_at_once() {
        let code =
            "defer { println(\"cleaning\")\n  sleep(1h)\n  println(\"never\") }\nprintln(\"ready\")\nsleep(1h)\n";
        let mut running = Running::ready("stubborn.harn", code);
        running.send("-INT");
        running.reads("cleaning\n");
        assert!(running.complaint().starts_with("SIGINT: "));
        running.send("-INT");
        let (ended, stdout, stderr) = running.ended();
        assert_eq!((ended, stdout.as_str(), stderr.as_str()), (130, "", ""));
    }

    #[test]
    fn the_task_tree_is_printed_on_request() {
        let mut running =
            Running::ready("tree.harn", "spawn { sleep(1h) }\nyield_now()\nprintln(\"ready\")\nsleep(1h)\n");
        for signal in ["-USR1", "-QUIT"] {
            running.send(signal);
            let root = running.complaint();
            assert!(root.starts_with("task_root "), "{root}");
            let child = running.complaint();
            assert!(child.starts_with("  task_root:spawn:1 waiting: sleep"), "{child}");
            assert!(child.contains("tree.harn:1"), "{child}");
        }
        running.send("-INT");
        assert_eq!(running.ended().0, 130);
    }
}
