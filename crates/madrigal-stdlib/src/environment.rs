//! What surrounds the program: environment variables, directories, platform, exit.

use crate::host::{Run, run};
use madrigal_vm::{Args, Cx, Effect, Fault, Value};
use std::path::{Path, PathBuf};

madrigal_vm::builtins! {
    /// The program's arguments: what the global `argv` reads.
    "__argv" () -> list = argv;
    /// An environment variable, nil when it is not set.
    "env" (name: string) -> string, needs Env = env;
    /// An environment variable, `default` when it is not set.
    "env_or" (name: string, default: any) -> any, needs Env = env_or;
    /// The directory relative paths start from.
    "cwd" () -> string = execution_root;
    /// The directory relative paths start from.
    "execution_root" () -> string = execution_root;
    /// The directory of the running source file.
    "source_dir" () -> string = source_dir;
    /// The directory of the running source file.
    "asset_root" () -> string = source_dir;
    /// The nearest directory above the running source file with a `harn.toml`, nil when there is none.
    "project_root" () -> string = project_root;
    /// A dict `{execution_root, asset_root, state_root, run_root, worktree_root}`.
    "runtime_paths" () -> dict = runtime_paths;
    /// The home directory of the user.
    "home_dir" () -> string = home_dir;
    /// The name of the user.
    "username" () -> string = username;
    /// The name of the machine.
    "hostname" () -> string = hostname;
    /// `linux`, `darwin` or `windows`.
    "platform" () -> string = platform;
    /// The processor architecture.
    "arch" () -> string = arch;
    /// Number of the process.
    "pid" () -> int = pid;
    /// Ends the run with this status.
    "exit" (code: int = 0) -> never = exit;
}

fn argv(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Value, Fault> {
    Ok(Value::list(run(cx).argv().iter().map(|it| Value::from(it.as_str())).collect()))
}

fn env(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let run = run(cx);
    run.may_see("env", &args.string(0))?;
    Ok(run.variable(&args.string(0)).map_or(Value::Nil, Value::from))
}

fn env_or(cx: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let run = run(cx);
    run.may_see("env_or", &args.string(0))?;
    Ok(run.variable(&args.string(0)).map_or_else(|| args.take(1), Value::from))
}

fn execution_root(cx: &mut Cx<'_>, _: Args<'_>) -> Result<String, Fault> {
    Ok(run(cx).execution_root().to_string_lossy().into_owned())
}

/// The directory of the source file that contains the call.
pub(crate) fn source_directory(cx: &mut Cx<'_>) -> PathBuf {
    let source = cx.program.modules.get(cx.site.0 as usize).map(|it| it.source.path.clone());
    let run: &Run = run(cx);
    let file = run.resolve(source.as_deref().unwrap_or(""));
    file.parent().map_or_else(|| run.execution_root().to_owned(), Path::to_owned)
}

fn source_dir(cx: &mut Cx<'_>, _: Args<'_>) -> Result<String, Fault> {
    Ok(source_directory(cx).to_string_lossy().into_owned())
}

/// The nearest directory at or above `directory` with a `harn.toml`.
pub(crate) fn project_root_of(directory: &Path) -> Option<&Path> {
    directory.ancestors().find(|it| it.join("harn.toml").is_file())
}

/// The file of the program itself.
pub(crate) fn main_script(cx: &mut Cx<'_>) -> PathBuf {
    let path = cx.program.modules.first().map(|it| it.source.path.clone());
    run(cx).resolve(path.as_deref().unwrap_or(""))
}

/// Where durable state lies: beside the program's project, unless the environment says otherwise.
pub(crate) fn state_root(cx: &mut Cx<'_>) -> PathBuf {
    let script = main_script(cx);
    let run = run(cx);
    let directory = script.parent().unwrap_or(run.execution_root());
    let base = project_root_of(directory).unwrap_or(directory);
    base.join(run.variable("HARN_STATE_DIR").filter(|it| !it.is_empty()).unwrap_or_else(|| ".harn".to_owned()))
}

fn project_root(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Value, Fault> {
    let directory = source_directory(cx);
    Ok(project_root_of(&directory).map_or(Value::Nil, |it| Value::from(it.to_string_lossy().into_owned())))
}

fn runtime_paths(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Value, Fault> {
    let source = source_directory(cx);
    let run = run(cx);
    let execution = run.execution_root();
    let base = project_root_of(execution).or_else(|| project_root_of(&source)).unwrap_or(&source);
    let folder = |below: &Path, variable: &str, default: &str| {
        below.join(run.variable(variable).filter(|it| !it.is_empty()).unwrap_or_else(|| default.to_owned()))
    };
    let state = folder(base, "HARN_STATE_DIR", ".harn");
    let shown = |path: &Path| Value::from(path.to_string_lossy().into_owned());
    Ok(Value::dict([
        ("execution_root", shown(execution)),
        ("asset_root", shown(&source)),
        ("run_root", shown(&folder(base, "HARN_RUN_DIR", ".harn-runs"))),
        ("worktree_root", shown(&folder(&state, "HARN_WORKTREE_DIR", "worktrees"))),
        ("state_root", shown(&state)),
    ]))
}

fn home_dir(cx: &mut Cx<'_>, _: Args<'_>) -> Result<String, Fault> {
    let fallback = || std::env::home_dir().map(|it| it.to_string_lossy().into_owned());
    Ok(run(cx).variable("HOME").or_else(fallback).unwrap_or_default())
}

fn username(cx: &mut Cx<'_>, _: Args<'_>) -> Result<String, Fault> {
    let run = run(cx);
    let named = run.variable("USER").or_else(|| run.variable("USERNAME"));
    Ok(named.or_else(user_of_database).unwrap_or_default())
}

/// The name that the user database has for the owner of this process.
pub(crate) fn user_of_database() -> Option<String> {
    let owner = std::fs::metadata("/proc/self").ok()?;
    #[cfg(unix)]
    let id = std::os::unix::fs::MetadataExt::uid(&owner).to_string();
    #[cfg(not(unix))]
    let id = String::new();
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let mut users = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    users.find(|it| it.get(2) == Some(&id.as_str())).map(|it| it[0].to_owned())
}

fn hostname(cx: &mut Cx<'_>, _: Args<'_>) -> Result<String, Fault> {
    let kernel = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|it| it.trim().to_owned());
    Ok(run(cx).variable("HOSTNAME").or_else(kernel).unwrap_or_default())
}

fn platform(_: &mut Cx<'_>, _: Args<'_>) -> Result<&'static str, Fault> {
    Ok(match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    })
}

fn arch(_: &mut Cx<'_>, _: Args<'_>) -> Result<&'static str, Fault> {
    Ok(std::env::consts::ARCH)
}

fn pid(_: &mut Cx<'_>, _: Args<'_>) -> Result<i64, Fault> {
    Ok(i64::from(std::process::id()))
}

fn exit(_: &mut Cx<'_>, args: Args<'_>) -> Result<Effect, Fault> {
    Ok(Effect::Exit(args.int(0).unwrap_or(0)))
}
