//! Programs of the operating system as children of supervisors: started in a process group of their own, their output
//! written to standard error line by line, and never left behind: whoever lets go of one kills it and what it started.
//! All of it is real time, as such programs live in it. Not here: `exec` and `shell` (`process.rs`).

use super::core::{internal_handle, object};
use super::values::{host, option};
use crate::host::Run;
use madrigal_vm::{Args, Cx, Fault, Handle, HandleObject, Value, Wait};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};

madrigal_vm::builtins! {
    /// What `make_subprocess_child` was given, checked.
    "__program_settings" (id: string, bin: string, arguments: any, options: any) -> dict = settings;
    /// Starts a program.
    "__program_start" (settings: dict) -> any, needs Run = start;
    /// Waits for the end of a program; throws unless it ended well.
    "__program_wait" (program: any) -> nil = wait;
    /// Asks a program to end, kills it when it does not, and waits for its end.
    "__program_stop" (program: any) -> nil = stop;
}

/// How long a program may take to end once asked: somewhat less than the grace of the task that waits for it.
const GRACE: Duration = Duration::from_millis(4500);
/// Longest piece of a line that is written at once.
const LINE_BYTES_MAX: u64 = 64 * 1024;
const NAME: &str = "process.make_subprocess_child";

fn settings(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    if args.string(1).is_empty() || matches!(args.get(1), Value::Nil) {
        return Err(Fault::thrown(format!("{NAME}: a program is required")));
    }
    let Some(arguments) = args.list(2) else {
        let got = args.get(2).type_name();
        return Err(Fault::type_error(format!("{NAME}: arguments must be a list, got {got}")));
    };
    let options = args.get(3);
    match options {
        Value::Nil => {}
        Value::Dict(dict) => {
            if let Some(unknown) = dict.keys().find(|it| !matches!(it.as_str(), "env" | "cwd" | "restart")) {
                return Err(Fault::thrown(format!("{NAME}: unknown option '{unknown}'")));
            }
        }
        other => return Err(Fault::type_error(format!("{NAME}: options must be a dict, got {}", other.type_name()))),
    }
    let option = |name: &str| option(options, name).cloned().unwrap_or_default();
    let restart = match option("restart") {
        Value::Nil => Value::from("permanent"),
        it => it,
    };
    Ok(Value::dict([
        ("id", Value::from(args.string(0))),
        ("bin", Value::from(args.string(1))),
        ("args", Value::list(arguments.iter().map(|it| Value::from(it.display())).collect())),
        ("env", option("env")),
        ("cwd", option("cwd")),
        ("restart", restart),
        // Beyond the grace: it is the program that is dropped first, not the child that waits for it.
        ("shutdown", Value::Duration(10_000)),
    ]))
}

/// A program that was started. Dropping it kills the program.
struct Program {
    id: String,
    /// A message asks it to end; once this is gone it is killed.
    ask: mpsc::Sender<()>,
    ended: watch::Receiver<Option<Result<ExitStatus, String>>>,
}

internal_handle!(Program, "program");

fn start(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let settings = args.get(0);
    let text = |name: &str| option(settings, name).map_or_else(String::new, |it| it.display().to_string());
    let (id, bin) = (text("id"), text("bin"));
    let run = host(cx).run.clone();
    run.may_run("subprocess", &bin)?;
    let mut command = Command::new(&bin);
    if let Some(Value::List(arguments)) = option(settings, "args") {
        command.args(arguments.iter().map(|it| it.display().to_string()));
    }
    match option(settings, "cwd") {
        None | Some(Value::Nil) => command.current_dir(run.execution_root()),
        Some(directory) => command.current_dir(run.resolve(&directory.display())),
    };
    if let Some(variables) = run.child_environment() {
        command.env_clear().envs(variables);
    }
    if let Some(Value::Dict(variables)) = option(settings, "env") {
        command.envs(variables.iter().map(|(name, value)| (name.to_string(), value.display().to_string())));
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    #[cfg(unix)]
    command.process_group(0);
    let log = run.clone();
    Ok(Wait::new(
        "subprocess",
        run.external(async move {
            let failed = |error| Fault::thrown(format!("subprocess '{id}': cannot start '{bin}': {error}"));
            let child = command.spawn().map_err(failed)?;
            let (ask, asked) = mpsc::channel(1);
            let (tell, ended) = watch::channel(None);
            tokio::spawn(manage(child, id.clone(), log, asked, tell));
            Ok(Value::Handle(Handle::new(Program { id, ask, ended })))
        }),
    ))
}

/// Everything in a process group, killed when this goes.
pub(super) struct Group(pub(super) Option<u32>);

impl Group {
    #[cfg(unix)]
    fn signal(&self, signal: rustix::process::Signal) {
        let id = self.0.and_then(|it| i32::try_from(it).ok()).and_then(rustix::process::Pid::from_raw);
        if let Some(id) = id {
            // Nobody is left to get it: then all is well.
            let _ = rustix::process::kill_process_group(id, signal);
        }
    }

    pub(super) fn ask(&self) {
        #[cfg(unix)]
        self.signal(rustix::process::Signal::TERM);
    }

    pub(super) fn kill(&self) {
        #[cfg(unix)]
        self.signal(rustix::process::Signal::KILL);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sees a program through to its end: reads what it writes, stops it, reaps it, and kills what it left.
async fn manage(
    mut child: Child,
    id: String,
    run: Arc<Run>,
    mut asked: mpsc::Receiver<()>,
    tell: watch::Sender<Option<Result<ExitStatus, String>>>,
) {
    let mut group = Group(child.id());
    let outputs = [
        child.stdout.take().map(|it| tokio::spawn(log_lines(it, id.clone(), run.clone()))),
        child.stderr.take().map(|it| tokio::spawn(log_lines(it, id, run))),
    ];
    let ended = tokio::select! {
        ended = child.wait() => ended,
        ask = asked.recv() => {
            if ask.is_some() {
                group.ask();
                // Its end, or the end of patience, or of whoever waits.
                tokio::select! {
                    _ = child.wait() => {}
                    () = tokio::time::sleep(GRACE) => {}
                    None = async { asked.recv().await } => {}
                }
            }
            group.kill();
            let _ = child.start_kill();
            child.wait().await
        }
    };
    group.kill();
    // Whatever held the other ends of the pipes is gone: the rest is there to be read. The number may be given to
    // another group from here on.
    group.0 = None;
    for output in outputs.into_iter().flatten() {
        let _ = tokio::time::timeout(Duration::from_secs(1), output).await;
    }
    tell.send_replace(Some(ended.map_err(|it| it.to_string())));
}

async fn log_lines(output: impl AsyncRead + Unpin, id: String, run: Arc<Run>) {
    let mut reader = BufReader::new(output);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => run.complain(&format!("{id}: {}", String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']))),
        }
    }
}

fn wait(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let program = object::<Program>(&args, 0);
    let (id, mut ended) = (program.id.clone(), program.ended.clone());
    let run = host(cx).run.clone();
    Ok(Wait::new(
        "subprocess",
        run.external(async move {
            let status = ended.wait_for(Option::is_some).await.ok().and_then(|it| it.clone());
            match status {
                Some(Ok(status)) if status.success() => Ok(Value::Nil),
                Some(Ok(status)) => Err(Fault::thrown(format!("subprocess '{id}': {}", shown(status)))),
                Some(Err(error)) => Err(Fault::thrown(format!("subprocess '{id}': {error}"))),
                None => Err(Fault::thrown(format!("subprocess '{id}': the runtime ended"))),
            }
        }),
    ))
}

fn shown(status: ExitStatus) -> String {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return format!("killed by signal {signal}");
    }
    format!("exit status {}", status.code().unwrap_or(-1))
}

fn stop(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let program = object::<Program>(&args, 0);
    let (ask, mut ended) = (program.ask.clone(), program.ended.clone());
    let run = host(cx).run.clone();
    Ok(Wait::new(
        "subprocess",
        run.external(async move {
            // Refused when it was asked before, or has ended.
            let _ = ask.try_send(());
            drop(ask);
            let _ = ended.wait_for(Option::is_some).await;
            Ok(Value::Nil)
        }),
    ))
}
