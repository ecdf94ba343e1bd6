//! Running programs to their end. Only the calling task waits; when it is cancelled the program is killed.
//! Beneath it: the processes of `std/process` and their supervisors, among whose children may be programs.

mod core;
mod launch;
mod programs;
mod servers;
mod supervisors;
mod task_supervisors;
mod values;

pub use launch::{Launch, Placing, Script, put};
pub use values::{Own, Processes};

use crate::host::{Run, run};
use madrigal_vm::{Args, Cx, Fault, Value, Wait};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use tokio::process::Command;

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
    start(run, "exec", &directory, &args.string(0), texts(&args, 1))
}

fn exec_at(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    if !args.has(1) || args.string(1).is_empty() {
        return Err(Fault::thrown("exec_at: directory and command are required"));
    }
    let run = run(cx);
    let directory = run.resolve(&args.string(0));
    start(run, "exec_at", &directory, &args.string(1), texts(&args, 2))
}

fn shell(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    if args.string(0).is_empty() {
        return Err(Fault::thrown("shell: command string is required"));
    }
    let run = run(cx);
    let directory = run.execution_root().to_owned();
    start_shell(run, "shell", &directory, args.string(0).to_string())
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
    start_shell(run, "shell_at", &directory, args.string(1).to_string())
}

fn start_shell(run: &Arc<Run>, name: &'static str, directory: &Path, command: String) -> Result<Wait, Fault> {
    let shell = default_shell(run);
    start(run, name, directory, &shell.to_string_lossy(), vec!["-c".to_owned(), command])
}

/// The first shell that exists: the configured one, that of the user, then the usual ones.
fn default_shell(run: &Run) -> PathBuf {
    let named = ["HARN_DEFAULT_SHELL", "SHELL"].into_iter().filter_map(|name| run.variable(name));
    let usual = ["/bin/zsh", "/usr/bin/zsh", "/bin/bash", "/usr/bin/bash", "/bin/sh", "/usr/bin/sh"];
    let candidates = named.map(PathBuf::from).chain(usual.into_iter().map(PathBuf::from));
    candidates.into_iter().find(|it| it.is_file()).unwrap_or_else(|| PathBuf::from("sh"))
}

fn start(
    run: &Arc<Run>,
    name: &'static str,
    directory: &Path,
    program: &str,
    arguments: Vec<String>,
) -> Result<Wait, Fault> {
    let mut command = Command::new(program);
    // Dropping the future is how a cancelled task lets go of the program: it must not live on.
    command.args(arguments).current_dir(directory).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A group of its own, so that what the program started goes with it.
    #[cfg(unix)]
    command.process_group(0);
    if let Some(variables) = run.fixed_environment() {
        command.env_clear().envs(variables);
    }
    // What the script printed so far comes before what the program prints elsewhere.
    run.stdout.flush();
    Ok(Wait::new(
        name,
        run.external(async move {
            let failed = |error| Fault::thrown(format!("{name} failed: process spawn failed: {error}"));
            let child = command.spawn().map_err(failed)?;
            let mut group = Group(child.id());
            let ended = child.wait_with_output().await;
            group.0 = None;
            ended.map(result).map_err(failed)
        }),
    ))
}

/// The process group of a running program; killed with all that is in it unless the program ended.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(id) = self.0.filter(|_| cfg!(unix)) {
            // The program itself is killed by its handle; without `kill` its children are not.
            let target = format!("-{id}");
            let kill = std::process::Command::new("kill").args(["-KILL", "--", &target]).stderr(Stdio::null()).status();
            drop(kill);
        }
    }
}

fn result(output: Output) -> Value {
    let text = |bytes: &[u8]| Value::from(String::from_utf8_lossy(bytes).into_owned());
    Value::dict([
        ("stdout", text(&output.stdout)),
        ("stderr", text(&output.stderr)),
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
