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
    Ok(run(cx).variable(&args.string(0)).map_or(Value::Nil, Value::from))
}

fn env_or(cx: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    Ok(run(cx).variable(&args.string(0)).map_or_else(|| args.take(1), Value::from))
}

fn execution_root(cx: &mut Cx<'_>, _: Args<'_>) -> Result<String, Fault> {
    Ok(run(cx).execution_root().to_string_lossy().into_owned())
}

/// The directory of the source file that contains the call.
fn source_directory(cx: &mut Cx<'_>) -> PathBuf {
    let source = cx.program.modules.get(cx.site.0 as usize).map(|it| it.source.path.clone());
    let run: &Run = run(cx);
    let file = run.resolve(source.as_deref().unwrap_or(""));
    file.parent().map_or_else(|| run.execution_root().to_owned(), Path::to_owned)
}

fn source_dir(cx: &mut Cx<'_>, _: Args<'_>) -> Result<String, Fault> {
    Ok(source_directory(cx).to_string_lossy().into_owned())
}

fn project_root(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Value, Fault> {
    let directory = source_directory(cx);
    let root = directory.ancestors().find(|it| it.join("harn.toml").is_file());
    Ok(root.map_or(Value::Nil, |it| Value::from(it.to_string_lossy().into_owned())))
}

fn home_dir(cx: &mut Cx<'_>, _: Args<'_>) -> Result<String, Fault> {
    let fallback = || std::env::home_dir().map(|it| it.to_string_lossy().into_owned());
    Ok(run(cx).variable("HOME").or_else(fallback).unwrap_or_default())
}

fn username(cx: &mut Cx<'_>, _: Args<'_>) -> Result<String, Fault> {
    let run = run(cx);
    Ok(run.variable("USER").or_else(|| run.variable("USERNAME")).unwrap_or_default())
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
