//! Running programs to their end. Only the calling task waits; when it is cancelled the program is killed, with all
//! that it started. Beneath it: the processes of `std/process` and their supervisors, among whose children may be
//! programs. Not here: which shell there is (`shells.rs`), how a program is started (`spawning.rs`).

mod commands;
mod core;
mod launch;
mod programs;
mod servers;
mod supervisors;
mod task_supervisors;
mod values;

pub use commands::Commands;
pub use launch::{Launch, Placing, Script, put};
pub use values::{Own, Processes};

use crate::host::{Run, run};
use crate::shells;
use crate::spawning::{Spawn, decoded};
use madrigal_vm::{Args, Cx, Fault, Value, Wait};
use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;

madrigal_vm::builtins! {
    /// Runs a program; a dict `{stdout, stderr, status, success}`.
    "exec" (program: string, arguments: any) -> dict, needs Run = exec;
    /// Runs a program in a directory.
    "exec_at" (directory: string, program: string, arguments: any) -> dict, needs Run = exec_at;
    /// Runs a command line in the default shell.
    "shell" (command: string) -> dict, needs Run = shell;
    /// Runs a command line in the default shell, in a directory.
    "shell_at" (directory: string, command: string) -> dict, needs Run = shell_at;
}

/// Adds the natives of processes and supervisors.
pub fn register_processes(table: &mut madrigal_vm::BuiltinTable) {
    commands::register(table);
    core::register(table);
    programs::register(table);
    servers::register(table);
    supervisors::register(table);
    task_supervisors::register(table);
}

fn texts(args: &Args<'_>, first: usize) -> Vec<String> {
    (first..args.len()).map(|at| args.string(at).to_string()).collect()
}

fn exec(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    if args.string(0).is_empty() {
        return Err(Fault::thrown("exec: command is required"));
    }
    let run = run(cx);
    let directory = run.execution_root().to_owned();
    start(run, "exec", directory, &args.string(0), texts(&args, 1))
}

fn exec_at(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    if !args.has(1) || args.string(1).is_empty() {
        return Err(Fault::thrown("exec_at: directory and command are required"));
    }
    let run = run(cx);
    let directory = run.resolve(&args.string(0));
    start(run, "exec_at", directory, &args.string(1), texts(&args, 2))
}

fn shell(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    if args.string(0).is_empty() {
        return Err(Fault::thrown("shell: command string is required"));
    }
    let run = run(cx);
    let directory = run.execution_root().to_owned();
    start_shell(run, "shell", directory, args.string(0).to_string())
}

fn shell_at(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    if !args.has(1) {
        return Err(Fault::thrown("shell_at: directory and command string are required"));
    }
    if args.string(1).is_empty() {
        return Err(Fault::thrown("shell_at: command string is required"));
    }
    let run = run(cx);
    let directory = run.resolve(&args.string(0));
    start_shell(run, "shell_at", directory, args.string(1).to_string())
}

fn start_shell(run: &Arc<Run>, name: &'static str, directory: PathBuf, command: String) -> Result<Wait, Fault> {
    let shell = shells::default_program(run);
    start(run, name, directory, &shell, vec!["-c".to_owned(), command])
}

fn start(
    run: &Arc<Run>,
    name: &'static str,
    directory: PathBuf,
    program: &str,
    arguments: Vec<String>,
) -> Result<Wait, Fault> {
    run.may_run(name, program)?;
    let environment = run.child_environment();
    let command = Spawn { program: program.to_owned(), arguments, directory, environment };
    // What the script printed so far comes before what the program prints elsewhere.
    run.stdout.flush();
    Ok(Wait::new(
        name,
        run.external(async move {
            let failed = |error| Fault::thrown(format!("{name} failed: process spawn failed: {error}"));
            command.start().map_err(failed)?.output().await.map(result).map_err(failed)
        }),
    ))
}

fn result(output: Output) -> Value {
    Value::dict([
        ("stdout", decoded(&output.stdout)),
        ("stderr", decoded(&output.stderr)),
        ("status", Value::Int(output.status.code().map_or(-1, i64::from))),
        ("success", Value::Bool(output.status.success())),
    ])
}

#[cfg(test)]
mod tests {
    use crate::testing::Bench;
    use madrigal_vm::{Effect, Outcome};

    /// A pipe whose writing end a program and its children hold reads to its end once all of them are gone.
    #[cfg(unix)]
    #[test]
    fn giving_up_ends_the_program_and_its_children() {
        let mut bench = Bench::in_directory("killed");
        bench.call("shell", vec!["rm -f pipe; mkfifo pipe".into()]).expect("a shell exists");
        let pipe = bench.call("cwd", vec![]).expect("a directory").to_string() + "/pipe";
        let command = "exec > pipe; echo started; (sleep 1000; true) & wait";
        let Ok(Outcome::Effect(Effect::Wait(wait))) = bench.start("shell", vec![command.into()]) else {
            panic!("it runs");
        };
        let waiting = bench.runtime().spawn(wait.future);
        let reading = bench.runtime().spawn_blocking(move || {
            use std::io::{BufRead, Read};
            let mut reader = std::io::BufReader::new(std::fs::File::open(pipe)?);
            reader.read_line(&mut String::new())?;
            waiting.abort();
            reader.read_to_string(&mut String::new())
        });
        assert_eq!(bench.runtime().block_on(reading).expect("no panic").expect("the pipe ends"), 0);
    }

    #[test]
    fn programs_report_output_and_status() {
        let mut bench = Bench::in_directory("process");
        let result = bench.call("shell", vec!["echo out; echo err >&2; exit 3".into()]).expect("a shell exists");
        assert_eq!(result.to_string(), "{status: 3, stderr: err\n, stdout: out\n, success: false}");
        let result = bench.call("exec", vec!["cat".into()]).expect("standard input is empty");
        assert_eq!(result.to_string(), "{status: 0, stderr: , stdout: , success: true}");
        let fault = bench.call("exec", vec!["/nowhere/at/all".into()]).expect_err("no such program");
        assert!(fault.caught().to_string().starts_with("exec failed: process spawn failed: "));
    }
}
