//! The command line. Not here: what the commands do (`main.rs`).

use clap::{Args, Parser, Subcommand};
use madrigal::{Engine, Grant, NetRule, Permissions, is_permitted};
use std::path::PathBuf;
use std::time::Duration;

/// Runs Harn programs: small scripts whose tasks run on all cores and always clean up.
#[derive(Debug, Parser)]
#[command(name = "madrigal", version, after_help = EXAMPLES)]
#[command(args_conflicts_with_subcommands = true, subcommand_precedence_over_arg = true, arg_required_else_help = true)]
pub struct Arguments {
    /// What to do; without a command, FILE is run.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The program to run.
    #[command(flatten)]
    pub run: Run,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a program (the default)
    #[command(after_help = RUN_EXAMPLES)]
    Run(Box<Run>),
    /// Read and check programs without running them
    Check {
        /// Programs; `FILE: ok` is printed for each that is fine
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Show the configured providers and models, and where each setting comes from
    Models {
        /// Where the program would lie; its nearest harn.toml counts
        #[arg(value_name = "FOLDER")]
        folder: Option<PathBuf>,
    },
    /// Say what a function of the library does
    Doc {
        /// A builtin, a method (`name` or `kind.name`) or a function of a module
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Print the bytecode of a program
    Disasm {
        /// The program
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// How to run a program.
#[derive(Debug, Args)]
pub struct Run {
    /// The program; `-` reads it from standard input
    #[arg(value_name = "FILE", required_unless_present = "code")]
    pub file: Option<PathBuf>,
    /// What the program finds in `argv`
    #[arg(value_name = "ARGS", trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<String>,
    /// Run this text instead of a file
    #[arg(short = 'e', value_name = "CODE")]
    pub code: Option<String>,
    /// Number of threads that run tasks; all cores unless given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub workers: Option<u32>,
    /// One thread, virtual time, every choice drawn from the seed: the same seed gives the same run
    #[arg(long, conflicts_with = "workers")]
    pub simulate: bool,
    /// Answer calls of models from this file, one JSON dict a line; a call that none fits fails
    #[arg(long, value_name = "FILE")]
    pub llm_mock: Option<PathBuf>,
    /// Append every reply of a model to this file, for --llm-mock
    #[arg(long, value_name = "FILE")]
    pub llm_mock_record: Option<PathBuf>,
    /// The seed of --simulate
    #[arg(long, value_name = "S", requires = "simulate", default_value_t = 0)]
    pub seed: u64,
    /// What it may use at most.
    #[command(flatten)]
    pub limits: LimitArguments,
    /// What the program may touch.
    #[command(flatten)]
    pub sandbox: Sandbox,
}

/// What the program may touch.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sandbox")]
pub struct Sandbox {
    /// Allow nothing but what the options below allow
    #[arg(long)]
    pub sandbox: bool,
    /// Directories and files that may be read; all without a value
    #[arg(long, value_name = "DIR,..", num_args = 0..=1, require_equals = true, value_delimiter = ',')]
    pub allow_read: Option<Vec<PathBuf>>,
    /// Directories and files that may be written
    #[arg(long, value_name = "DIR,..", num_args = 0..=1, require_equals = true, value_delimiter = ',')]
    pub allow_write: Option<Vec<PathBuf>>,
    /// Hosts that may be reached: a name, `*.suffix`, an address or a block of them, each with a port or without
    #[arg(long, value_name = "HOST[:PORT],..", num_args = 0..=1, require_equals = true, value_delimiter = ',', value_parser = NetRule::parse)]
    pub allow_net: Option<Vec<NetRule>>,
    /// Programs that may be run
    #[arg(long, value_name = "CMD,..", num_args = 0..=1, require_equals = true, value_delimiter = ',')]
    pub allow_run: Option<Vec<String>>,
    /// Environment variables that may be read
    #[arg(long, value_name = "NAME,..", num_args = 0..=1, require_equals = true, value_delimiter = ',')]
    pub allow_env: Option<Vec<String>>,
    /// Model providers that may be called
    #[arg(long, value_name = "PROVIDER,..", num_args = 0..=1, require_equals = true, value_delimiter = ',')]
    pub allow_llm: Option<Vec<String>>,
    /// Builtins that may not be called
    #[arg(long, value_name = "NAME,..", value_delimiter = ',', conflicts_with = "allow")]
    pub deny: Vec<String>,
    /// The only builtins that may be called, besides a few that touch nothing
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    pub allow: Vec<String>,
}

impl Sandbox {
    /// The permissions that the options describe.
    pub fn permissions(&self) -> Permissions {
        fn grant<T: Clone>(sandbox: bool, allowed: &Option<Vec<T>>) -> Grant<T> {
            match allowed {
                Some(granted) if !granted.is_empty() => Grant::Only(granted.clone()),
                None if sandbox => Grant::Only(Vec::new()),
                _ => Grant::All,
            }
        }
        let Sandbox { sandbox, .. } = *self;
        let here = std::env::current_dir().unwrap_or_default();
        let absolute = |allowed: &Option<Vec<PathBuf>>| {
            allowed.as_ref().map(|paths| paths.iter().map(|it| here.join(it)).collect::<Vec<_>>())
        };
        Permissions {
            read: grant(sandbox, &absolute(&self.allow_read)),
            write: grant(sandbox, &absolute(&self.allow_write)),
            net: grant(sandbox, &self.allow_net),
            run: grant(sandbox, &self.allow_run),
            env: grant(sandbox, &self.allow_env),
            llm: grant(sandbox, &self.allow_llm),
        }
    }

    /// The engine for the builtins that may be called.
    pub fn engine(&self) -> Engine {
        match (self.deny.is_empty(), self.allow.is_empty()) {
            (true, true) => Engine::new(),
            (false, _) => Engine::restricted(|name| !self.deny.iter().any(|it| it == name)),
            (true, false) => Engine::restricted(|name| is_permitted(name, &self.allow)),
        }
    }
}

/// What a program may use at most.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitArguments {
    /// Tasks at a time; one more is an error the program can catch
    #[arg(long, value_name = "N")]
    pub max_tasks: Option<usize>,
    /// Nested calls of one task, 10000 unless given; one more is an error the program can catch
    #[arg(long, value_name = "N")]
    pub max_depth: Option<usize>,
    /// Capacity of one channel; more is an error the program can catch
    #[arg(long, value_name = "N")]
    pub max_channel: Option<usize>,
    /// Instructions (roughly) of all tasks together; then the program is ended
    #[arg(long, value_name = "N")]
    pub fuel: Option<u64>,
    /// Time, such as 500ms, 30s or 5m; then the program is ended
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub timeout: Option<Duration>,
    /// Bytes on standard output; then the program is ended
    #[arg(long, value_name = "BYTES")]
    pub max_output: Option<u64>,
}

/// A time as scripts write it; a number alone is milliseconds.
fn time(text: &str) -> Result<Duration, String> {
    let digits = text.find(|it: char| !it.is_ascii_digit()).unwrap_or(text.len());
    let unit = match &text[digits..] {
        "" | "ms" => Some(1),
        "s" => Some(1000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    let millis = unit.zip(text[..digits].parse::<u64>().ok()).and_then(|(unit, count)| count.checked_mul(unit));
    millis.map(Duration::from_millis).ok_or_else(|| "expected a time such as 500ms, 30s or 5m".to_owned())
}

impl Run {
    /// Whether the program comes from standard input.
    pub fn is_standard_input(&self) -> bool {
        self.code.is_none() && self.file.as_deref().is_some_and(|it| it.as_os_str() == "-")
    }
}

const EXAMPLES: &str = "\
Examples:
  madrigal hello.harn                     run a program
  madrigal hello.harn one two             with arguments: argv is [one, two]
  madrigal -e 'println(6 * 7)'            run a line
  madrigal check src/*.harn               look for mistakes without running anything
  madrigal run --simulate --seed 7 x.harn repeat one schedule exactly

A first program with tasks:
  let pages = parallel each [\"a\", \"b\"] with { max_concurrent: 8 } { name ->
    deadline 5s { http_get(\"https://example.org/${name}\").status }
  }
  println(pages)

Exit status: 0, or the int the program ends with; 1 when it fails; 2 for a wrong command line;
130 and 143 when it was interrupted. The first Ctrl-C lets the program clean up, the second ends it.
While a program runs, kill -USR1 prints what each of its tasks waits for.";

const RUN_EXAMPLES: &str = "\
Examples:
  madrigal run hello.harn -- one two      run a program with arguments
  madrigal run - < hello.harn             read it from standard input
  madrigal run -e 'println(argv)' a b     run a line, with arguments
  madrigal run --sandbox --allow-read=data x.harn
                                          without files other than those in data, network or programs
  HARN_TASK_FUEL=100 madrigal run x.harn  switch between tasks a hundred times as often";
