//! `run_command`: a program whose end is waited for a while and then told to the inbox of the session that started it.
//! Either the caller gets the result or the inbox does: decided under the lock of the command. The task that sees a
//! program through belongs to the run (`prelude.harn` spawns it); when it is cancelled the program is killed with all
//! that it started.

use super::programs::Group;
use super::values::{host, option};
use crate::concurrency::timed::timeout_of;
use crate::host::Run;
use crate::{inbox, json, time};
use madrigal_runtime::inbox::{InboxHub, NewEntry, Reservation};
use madrigal_vm::{Args, Cx, Dict, Fault, Str, Value, Wait};
use output::Output;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command as Program};
use tokio::sync::watch;

mod output;

madrigal_vm::builtins! {
    /// Starts a program as a request says; the id of its handle.
    "__command_start" (request: dict, allow_shell: bool) -> string, needs Run = start;
    /// Sees a program through to its end.
    "__command_run" (id: string) -> nil = see_through;
    /// The result of a program that ends in time, else its handle.
    "__command_wait" (id: string) -> dict = wait_inline;
    /// A background handle as it is now.
    "handle_status" (id: string) -> dict = status;
    /// Waits until the work of a handle has ended, at most `timeout`; the handle as it is then.
    "handle_wait" (id: string, timeout: duration) -> dict = wait;
    /// What a program wrote so far, its standard output from a position on.
    "handle_output" (id: string, options: dict) -> dict = output_of;
    /// Ends the work of a handle; `{cancelled}` is false when it had ended before.
    "cancel_handle" (id: string) -> dict = cancel;
    /// The handles of a session, or all.
    "list_handles" (session_id: string) -> list = list;
}

const NAME: &str = "run_command";
/// How long a program may take to end once asked.
const GRACE: Duration = Duration::from_secs(2);
/// How long is waited for the end by default.
const WAIT_MS: i64 = 10_000;
/// Bytes of each output that are kept by default.
const OUTPUT_BYTES: usize = 1 << 20;
/// Content that an inbox takes.
const CONTENT_BYTES_MAX: usize = 1 << 20;

/// Who gets the result.
enum Delivery {
    /// The caller, who still waits.
    Inline,
    /// The inbox; nothing when there is no session.
    Inbox(Option<Reservation>),
    /// It was delivered.
    Done,
}

struct Progress {
    delivery: Delivery,
    child: Option<Child>,
    /// Fields of the completed form.
    result: Option<Dict>,
}

struct Command {
    id: String,
    session: Option<String>,
    shown: String,
    pid: Value,
    started_at: i64,
    started: i64,
    wait: Duration,
    timeout: Option<Duration>,
    output: Arc<Output>,
    progress: Mutex<Progress>,
    cancelled: watch::Sender<bool>,
    ended: watch::Sender<bool>,
}

/// The commands of a run.
#[derive(Default)]
pub struct Commands(Mutex<BTreeMap<String, Arc<Command>>>);

impl Commands {
    /// Those of a run.
    pub fn of(run: &Run) -> Arc<Commands> {
        run.extension(Commands::default)
    }

    fn find(&self, id: &str) -> Result<Arc<Command>, Fault> {
        self.0.lock().get(id).cloned().ok_or_else(|| Fault::thrown(format!("unknown handle '{id}'")))
    }

    fn running(&self, session: &str) -> Vec<Arc<Command>> {
        let commands = self.0.lock();
        commands.values().filter(|it| it.session.as_deref() == Some(session) && !it.has_ended()).cloned().collect()
    }

    /// Whether a session has commands that run.
    pub fn any_running(&self, session: &str) -> bool {
        !self.running(session).is_empty()
    }

    /// Asks all commands of a session to end.
    pub fn cancel(&self, session: &str) {
        for command in self.running(session) {
            command.cancelled.send_replace(true);
        }
    }

    /// Ends all commands of a session, and waits until they have.
    pub async fn end(&self, session: &str) {
        let running = self.running(session);
        self.cancel(session);
        for command in running {
            command.end().await;
        }
    }
}

impl Command {
    fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }

    async fn end(&self) {
        // The sender lives as long as the command.
        let _ = self.ended.subscribe().wait_for(|it| *it).await;
    }

    /// The handle as scripts see it.
    fn shown(&self) -> Value {
        if let Some(result) = &self.progress.lock().result {
            return Value::Dict(self.completed(result));
        }
        self.running()
    }

    fn running(&self) -> Value {
        let (stdout, stderr) = self.output.texts();
        Value::dict([
            ("status", Value::from("running")),
            ("handle_id", Value::from(self.id.as_str())),
            ("pid", self.pid.clone()),
            ("started_at", Value::from(time::rfc3339(self.started_at))),
            ("command_or_op_descriptor", Value::from(self.shown.as_str())),
            ("stdout", Value::from(stdout)),
            ("stderr", Value::from(stderr)),
        ])
    }

    fn completed(&self, result: &Dict) -> Dict {
        let mut result = result.clone();
        result.insert(Str::from("handle_id"), Value::from(self.id.as_str()));
        result
    }

    /// The inbox gets the result from now on.
    fn handed_over(&self, hub: &InboxHub) -> Result<Delivery, Fault> {
        let session = self.session.as_deref().filter(|it| hub.find(it).is_some());
        let slot = session.map(|it| hub.reserve(it)).transpose().map_err(|_| Fault::thrown("inbox full"))?;
        Ok(Delivery::Inbox(slot))
    }

    /// Runs to the end of the program; its status word.
    async fn work(&self, mut child: Child) -> (&'static str, std::io::Result<ExitStatus>) {
        let mut group = Group(child.id());
        let readers = [
            child.stdout.take().map(|it| tokio::spawn(self.output.clone().read(it, false))),
            child.stderr.take().map(|it| tokio::spawn(self.output.clone().read(it, true))),
        ];
        let mut asked = self.cancelled.subscribe();
        let life = async {
            match self.timeout {
                Some(timeout) => tokio::time::sleep(timeout).await,
                None => std::future::pending().await,
            }
        };
        let (word, ended) = tokio::select! {
            biased;
            ended = child.wait() => ("", ended),
            () = async { drop(asked.wait_for(|it| *it).await) } => ("cancelled", stop(&mut child, &group).await),
            () = life => ("timeout", stop(&mut child, &group).await),
        };
        group.kill();
        group.0 = None;
        for reader in readers.into_iter().flatten() {
            let _ = tokio::time::timeout(Duration::from_secs(1), reader).await;
        }
        let word = match &ended {
            _ if !word.is_empty() => word,
            Ok(status) if status.code().is_some() => "completed",
            _ => "failed",
        };
        (word, ended)
    }

    /// Keeps the result and delivers it to the inbox, when the caller has gone on.
    fn finish(&self, run: &Run, word: &str, ended: std::io::Result<ExitStatus>) {
        let (stdout, stderr) = self.output.texts();
        let mut fields = vec![
            ("status", Value::from(word)),
            ("exit_code", Value::Int(ended.as_ref().ok().and_then(ExitStatus::code).map_or(-1, i64::from))),
            ("stdout", Value::from(stdout)),
            ("stderr", Value::from(stderr)),
            ("duration_ms", Value::Int(run.now_monotonic() - self.started)),
            ("truncated", Value::Bool(self.output.is_truncated())),
        ];
        fields.extend(self.output.path().map(|it| ("output_path", Value::from(it))));
        #[cfg(unix)]
        if let Some(signal) = ended.as_ref().ok().and_then(std::os::unix::process::ExitStatusExt::signal) {
            fields.push(("signal", Value::Int(i64::from(signal))));
        }
        if let Err(error) = &ended {
            fields.push(("error", Value::from(error.to_string())));
        }
        let mut result: Dict = fields.into_iter().map(|(key, value)| (Str::from(key), value)).collect();
        let mut progress = self.progress.lock();
        if let Delivery::Inbox(slot) = &mut progress.delivery {
            result.insert(Str::from("ended_at"), Value::from(time::rfc3339(run.now_ms())));
            if let Some(slot) = slot.take() {
                // Refused only when the session was closed meanwhile.
                let _ = slot.push(NewEntry::new("tool_result", self.content(&result), NAME));
            }
            progress.delivery = Delivery::Done;
        }
        progress.result = Some(result);
        drop(progress);
        self.ended.send_replace(true);
    }

    fn content(&self, result: &Dict) -> String {
        const ENDS_CHARS: usize = 16 * 1024;
        let mut result = self.completed(result);
        let content = json::stringify(&Value::Dict(result.clone()));
        if content.len() <= CONTENT_BYTES_MAX {
            return content;
        }
        for name in ["stdout", "stderr"] {
            let text = result.get(name).map(ToString::to_string).unwrap_or_default();
            let end: Vec<char> = text.chars().rev().take(ENDS_CHARS).collect();
            result.insert(Str::from(name), Value::from(end.into_iter().rev().collect::<String>()));
        }
        result.insert(Str::from("truncated"), Value::Bool(true));
        json::stringify(&Value::Dict(result))
    }
}

/// Asks a program to end, and kills it when it does not.
async fn stop(child: &mut Child, group: &Group) -> std::io::Result<ExitStatus> {
    group.ask();
    if let Ok(ended) = tokio::time::timeout(GRACE, child.wait()).await {
        return ended;
    }
    group.kill();
    let _ = child.start_kill();
    child.wait().await
}

/// What a request asks for.
struct Request {
    argv: Vec<String>,
    shown: String,
}

fn request(value: &Value, allow_shell: bool) -> Result<Request, Fault> {
    let wrong = |what: &str| Fault::thrown(format!("{NAME}: {what}"));
    let Value::Dict(fields) = value else {
        return Err(wrong(&format!("request must be a dict, got {}", value.type_name())));
    };
    const KNOWN: [&str; 8] = ["argv", "command", "cwd", "env", "stdin", "wait_ms", "timeout_ms", "max_output_bytes"];
    if let Some(unknown) = fields.keys().find(|it| !KNOWN.contains(&it.as_str())) {
        return Err(wrong(&format!("unknown key '{unknown}'")));
    }
    let given = |name: &str| option(value, name).filter(|it| !it.is_nil());
    match (given("argv"), given("command")) {
        (Some(Value::List(words)), None) if !words.is_empty() => {
            let argv: Vec<String> = words.iter().map(|it| it.display().to_string()).collect();
            Ok(Request { shown: argv.join(" "), argv })
        }
        (Some(_), None) => Err(wrong("argv must be a non-empty list")),
        (None, Some(_)) if !allow_shell => Err(wrong("command needs a tool made with allow_shell: true")),
        (None, Some(line)) => {
            let line = line.display().to_string();
            Ok(Request { argv: vec!["sh".to_owned(), "-c".to_owned(), line.clone()], shown: line })
        }
        _ => Err(wrong("exactly one of argv and command is required")),
    }
}

fn start(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let given = args.get(0).clone();
    let Request { argv, shown } = request(&given, args.get(1).is_truthy())?;
    let field = |name: &str| option(&given, name).filter(|it| !it.is_nil()).cloned();
    let count = |name: &str| field(name).and_then(|it| it.as_millis());
    let session = host(cx).session.as_deref().map(str::to_owned);
    let run = host(cx).run.clone();
    run.may_run(NAME, &argv[0])?;
    let mut program = Program::new(&argv[0]);
    program.args(&argv[1..]);
    program.current_dir(match field("cwd") {
        Some(directory) => run.resolve(&directory.display()),
        None => run.execution_root().to_owned(),
    });
    if let Some(variables) = run.child_environment() {
        program.env_clear().envs(variables);
    }
    if let Some(Value::Dict(variables)) = field("env") {
        program.envs(variables.iter().map(|(name, value)| (name.to_string(), value.display().to_string())));
    }
    let text = field("stdin").map(|it| it.display().to_string());
    program.stdin(if text.is_some() { Stdio::piped() } else { Stdio::null() });
    program.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    #[cfg(unix)]
    program.process_group(0);
    run.stdout.flush();
    let millis = |it: i64| Duration::from_millis(u64::try_from(it).unwrap_or(0));
    let kept = field("max_output_bytes").and_then(|it| it.as_int()).and_then(|it| usize::try_from(it).ok());
    let id = format!("command-{}", run.next_id());
    let (wait, timeout) = (millis(count("wait_ms").unwrap_or(WAIT_MS)), count("timeout_ms").map(millis));
    let commands = Commands::of(&run);
    let (outside, hub) = (run.clone(), inbox::hub(host(cx)).clone());
    Ok(Wait::new(
        NAME,
        outside.external(async move {
            let mut spawned = program.spawn();
            if let (Ok(child), Some(text)) = (&mut spawned, text)
                && let Some(mut pipe) = child.stdin.take()
            {
                // A program that does not read its input to the end is no failure.
                tokio::spawn(async move { pipe.write_all(text.as_bytes()).await });
            }
            let (child, failure) = match spawned {
                Ok(child) => (Some(child), None),
                Err(error) => (None, Some(error)),
            };
            let pid = child.as_ref().and_then(Child::id).map_or(Value::Nil, |it| Value::Int(i64::from(it)));
            let progress = Mutex::new(Progress { delivery: Delivery::Inline, child, result: None });
            let command = Arc::new(Command {
                output: Arc::new(Output::new(&id, kept.unwrap_or(OUTPUT_BYTES))),
                id: id.clone(),
                session,
                shown,
                pid,
                started_at: run.now_ms(),
                started: run.now_monotonic(),
                wait,
                timeout,
                progress,
                cancelled: watch::Sender::new(false),
                ended: watch::Sender::new(false),
            });
            if wait.is_zero() {
                let delivery = command.handed_over(&hub)?;
                command.progress.lock().delivery = delivery;
            }
            if let Some(error) = failure {
                command.finish(&run, "failed", Err(error));
            }
            commands.0.lock().insert(id.clone(), command);
            Ok(Value::from(id))
        }),
    ))
}

fn command(cx: &mut Cx<'_>, args: &Args<'_>) -> Result<(Arc<Run>, Arc<Command>), Fault> {
    let run = host(cx).run.clone();
    let id = option(args.get(0), "handle_id").map_or_else(|| args.string(0).to_string(), ToString::to_string);
    let command = Commands::of(&run).find(&id)?;
    Ok((run, command))
}

fn see_through(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let (run, command) = command(cx, &args)?;
    let child = command.progress.lock().child.take();
    let future = async move {
        if let Some(child) = child {
            let worker = command.clone();
            let seeing = Seeing { run: run.clone(), command: command.clone() };
            let (word, ended) = run.external(async move { worker.work(child).await }).await;
            command.finish(&run, word, ended);
            drop(seeing);
        }
        Ok(Value::Nil)
    };
    Ok(Wait::new(NAME, future))
}

/// Whoever sees a program through. Dropped before the end, nobody is left waiting for it.
struct Seeing {
    run: Arc<Run>,
    command: Arc<Command>,
}

impl Drop for Seeing {
    fn drop(&mut self) {
        if !self.command.has_ended() {
            self.command.finish(&self.run, "cancelled", Err(std::io::ErrorKind::Interrupted.into()));
        }
    }
}

/// Ends a program whose caller gave up before it had anything of it.
struct Waiting(Arc<Command>);

impl Drop for Waiting {
    fn drop(&mut self) {
        if matches!(self.0.progress.lock().delivery, Delivery::Inline) {
            self.0.cancelled.send_replace(true);
        }
    }
}

fn wait_inline(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let (run, command) = command(cx, &args)?;
    let hub = inbox::hub(host(cx)).clone();
    let waiting = Waiting(command.clone());
    let future = async move {
        if command.wait.is_zero() {
            return Ok(command.running());
        }
        run.within_outside(Some(command.wait), command.end()).await;
        let mut progress = command.progress.lock();
        if let Some(result) = progress.result.clone() {
            progress.delivery = Delivery::Done;
            return Ok(Value::Dict(result));
        }
        // Without room for its result the program is not left running.
        progress.delivery = command.handed_over(&hub)?;
        drop(progress);
        drop(waiting);
        Ok(command.running())
    };
    Ok(Wait::new(NAME, future))
}

fn status(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(command(cx, &args)?.1.shown())
}

fn wait(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let (run, command) = command(cx, &args)?;
    let timeout = timeout_of("handle_wait", args.get(1))?;
    let future = async move {
        run.within_outside(timeout, command.end()).await;
        Ok(command.shown())
    };
    Ok(Wait::new("handle_wait", future))
}

fn output_of(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let (_, command) = command(cx, &args)?;
    let from = option(args.get(1), "from").and_then(Value::as_int).and_then(|it| usize::try_from(it).ok());
    let (stdout, stderr) = command.output.texts();
    let mut at = from.unwrap_or(0).min(stdout.len());
    while !stdout.is_char_boundary(at) {
        at -= 1;
    }
    Ok(Value::dict([
        ("stdout", Value::from(&stdout[at..])),
        ("stderr", Value::from(stderr)),
        ("next", Value::from(stdout.len())),
        ("truncated", Value::Bool(command.output.is_truncated())),
    ]))
}

fn cancel(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let (_, command) = command(cx, &args)?;
    let future = async move {
        let cancelled = !command.has_ended();
        command.cancelled.send_replace(true);
        command.end().await;
        Ok(Value::dict([("cancelled", Value::Bool(cancelled))]))
    };
    Ok(Wait::new("cancel_handle", future))
}

fn list(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let wanted = (!args.get(0).is_nil()).then(|| args.string(0).to_string());
    let commands = Commands::of(&host(cx).run);
    let commands: Vec<_> = commands.0.lock().values().cloned().collect();
    let of_session = |it: &&Arc<Command>| wanted.is_none() || it.session == wanted;
    Ok(Value::list(commands.iter().filter(of_session).map(|it| it.shown()).collect()))
}
