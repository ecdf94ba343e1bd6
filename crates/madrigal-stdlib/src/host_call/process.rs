//! The operations `process.*` and `interaction.ask`.

use super::{needed, some};
use crate::host::Run;
use crate::shells::{self, Shell};
use crate::spawning::{Spawn, decoded};
use crate::time::rfc3339;
use madrigal_vm::{Dict, Fault, Value, Wait};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

fn failed(text: impl std::fmt::Display) -> Fault {
    Fault::runtime(format!("host_call process.exec{text}"))
}

pub(super) fn list_shells(run: &Run) -> Value {
    let default = shells::default(run).map_or(Value::Nil, |it| Value::from(it.id));
    let shells = shells::all(run).iter().map(Shell::descriptor).collect();
    Value::dict([("shells", Value::list(shells)), ("default_shell_id", default)])
}

pub(super) fn default_shell(run: &Run) -> Value {
    shells::default(run).map_or(Value::Nil, |it| it.descriptor())
}

pub(super) fn set_default_shell(run: &Run, params: &Dict) -> Result<Value, Fault> {
    let id = some(params, "shell_id").map_or_else(|| needed(params, "id"), Ok)?.display();
    let shell = available(run, &id).ok_or_else(|| {
        Fault::runtime(format!("process.set_default_shell: unknown or unavailable shell id \"{id}\""))
    })?;
    *run.shell.0.lock() = Some(shell.id.clone());
    Ok(shell.descriptor())
}

fn available(run: &Run, id: &str) -> Option<Shell> {
    shells::all(run).into_iter().find(|it| it.id == id && it.is_available())
}

/// The shell that the parameters name.
fn shell(run: &Run, params: &Dict) -> Result<(PathBuf, Value, Option<Shell>), Fault> {
    let by_id = |id: &Value| {
        let id = id.display();
        let shell = available(run, &id);
        let shell = shell.ok_or_else(|| failed(format_args!(": unknown or unavailable shell id \"{id}\"")))?;
        Ok((shell.path.clone(), shell.descriptor(), Some(shell)))
    };
    match (some(params, "shell_id"), some(params, "shell")) {
        (Some(id), _) => by_id(id),
        (None, Some(Value::Dict(shell))) => match (some(shell, "path"), some(shell, "id")) {
            (Some(path), _) => Ok((PathBuf::from(path.display().as_str()), Value::Dict(shell.clone()), None)),
            (None, Some(id)) => by_id(id),
            (None, None) => Err(failed(": shell mode requires `shell` or `shell_id`")),
        },
        (None, Some(Value::String(id))) => by_id(&Value::String(id.clone())),
        _ => Err(failed(": shell mode requires `shell` or `shell_id`")),
    }
}

/// The arguments before the command.
fn shell_arguments(shell: Option<&Shell>, params: &Dict) -> Vec<String> {
    let flag = |key: &str| some(params, key).is_some_and(Value::is_truthy);
    let (login, interactive) = (flag("login"), flag("interactive"));
    match shell {
        Some(shell) => shell.arguments(login, interactive),
        None => {
            let flags = [("-i", interactive), ("-l", login), ("-c", true)];
            flags.into_iter().filter(|it| it.1).map(|it| it.0.to_owned()).collect()
        }
    }
}

pub(super) fn invocation(run: &Run, params: &Dict) -> Result<Value, Fault> {
    let command = needed(params, "command")?.display();
    let (path, descriptor, shell) = shell(run, params)?;
    let mut arguments = shell_arguments(shell.as_ref(), params);
    let at = arguments.len();
    arguments.push(command.to_string());
    Ok(Value::dict([
        ("program", Value::from(path.to_string_lossy().into_owned())),
        ("args", Value::list(arguments.into_iter().map(Value::from).collect())),
        ("command_arg_index", Value::from(at)),
        ("shell", descriptor),
    ]))
}

/// Program and arguments.
fn command_line(run: &Run, params: &Dict) -> Result<(String, Vec<String>), Fault> {
    let mode = some(params, "mode").map_or_else(|| "shell".into(), Value::display);
    match mode.as_str() {
        "shell" => {
            let command = needed(params, "command")?.display();
            let (path, _, shell) = shell(run, params)?;
            let mut arguments = shell_arguments(shell.as_ref(), &Dict::new());
            arguments.push(command.to_string());
            Ok((path.to_string_lossy().into_owned(), arguments))
        }
        "argv" => {
            let Some(Value::List(argv)) = some(params, "argv") else { return Err(failed(" missing argv")) };
            let mut argv = argv.iter().map(|it| it.display().to_string());
            let program = argv.next().ok_or_else(|| failed(" argv must not be empty"))?;
            Ok((program, argv.collect()))
        }
        other => Err(failed(format_args!(" unsupported mode \"{other}\""))),
    }
}

/// The variables of the program, when they are not simply those of this process.
fn environment(run: &Run, params: &Dict) -> Option<Vec<(OsString, OsString)>> {
    let Some(Value::Dict(own)) = some(params, "env") else { return run.child_environment() };
    let own = own.iter().map(|(key, value)| (key.as_str().into(), value.display().as_str().into()));
    let replaces = some(params, "env_mode").is_none_or(|it| it.as_str() == Some("replace"));
    if replaces {
        return Some(own.collect());
    }
    let mut all = run.child_environment().unwrap_or_else(|| std::env::vars_os().collect());
    all.extend(own);
    Some(all)
}

pub(super) fn exec(run: &Arc<Run>, params: &Dict) -> Result<Wait, Fault> {
    let (program, arguments) = command_line(run, params)?;
    run.may_run("host_call", &program)?;
    let directory =
        some(params, "cwd").map_or_else(|| run.execution_root().to_owned(), |it| run.resolve(&it.display()));
    let limit = some(params, "timeout").or_else(|| some(params, "timeout_ms")).and_then(Value::as_millis);
    let limit = limit.map(|it| Duration::from_millis(u64::try_from(it).unwrap_or(0)));
    let launch = Spawn { program, arguments, directory, environment: environment(run, params) };
    let run = Arc::clone(run);
    run.stdout.flush();
    Ok(Wait::new("process.exec", async move {
        let started = run.now_ms();
        let command_id = format!("cmd_{}", run.next_id());
        // Starting and waiting are one piece of outside work; the process number comes out on the side.
        let id = Arc::new(std::sync::atomic::AtomicU32::new(0));
        let seen = Arc::clone(&id);
        let work = run.external(async move {
            let running = launch.start()?;
            seen.store(running.id().unwrap_or(0), std::sync::atomic::Ordering::Relaxed);
            running.output().await
        });
        let ended = match run.within_outside(limit, work).await {
            Some(Ok(output)) => Some(output),
            Some(Err(error)) => return Err(failed(format_args!(": {error}"))),
            None => None,
        };
        let id = i64::from(id.load(std::sync::atomic::Ordering::Relaxed));
        Ok(report(&command_id, id, ended.as_ref(), started, run.now_ms()))
    }))
}

/// The result of `process.exec`; without output the time was up.
fn report(command_id: &str, id: i64, output: Option<&Output>, started: i64, ended: i64) -> Value {
    let code = Value::Int(output.map_or(-1, |it| it.status.code().map_or(-1, i64::from)));
    let (stdout, stderr) = output.map_or((&[][..], &[][..]), |it| (&it.stdout[..], &it.stderr[..]));
    Value::dict([
        ("command_id", Value::from(command_id)),
        ("status", Value::from(if output.is_some() { "completed" } else { "timed_out" })),
        ("pid", Value::Int(id)),
        ("process_group_id", Value::Int(id)),
        ("handle_id", Value::Nil),
        ("started_at", Value::from(rfc3339(started))),
        ("ended_at", Value::from(rfc3339(ended))),
        ("duration_ms", Value::Int((ended - started).max(0))),
        ("exit_code", code.clone()),
        ("exit_status", code.clone()),
        ("legacy_status", code),
        ("signal", Value::Nil),
        ("timed_out", Value::Bool(output.is_none())),
        ("combined", decoded(&[stdout, stderr].concat())),
        ("stdout", decoded(stdout)),
        ("stderr", decoded(stderr)),
        ("success", Value::Bool(output.is_some_and(|it| it.status.success()))),
    ])
}

/// Asks a question on the terminal.
pub(super) fn ask(run: &Arc<Run>, question: &str) -> Wait {
    run.stdout.write(|out| out.extend_from_slice(question.as_bytes()));
    run.stdout.flush();
    let run = Arc::clone(run);
    Wait::new("an answer", async move {
        let line = match run.mocked_input.line() {
            Some(line) => Some(line),
            None => run.external(run.stdin.line()).await,
        };
        Ok(line.map_or(Value::Nil, |it| Value::from(it.trim_end())))
    })
}
