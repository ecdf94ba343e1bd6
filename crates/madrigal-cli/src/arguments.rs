//! The command line. Not here: what the commands do (`main.rs`).

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

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
    Run(Run),
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
    /// The seed of --simulate
    #[arg(long, value_name = "S", requires = "simulate", default_value_t = 0)]
    pub seed: u64,
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
  HARN_TASK_FUEL=100 madrigal run x.harn  switch between tasks a hundred times as often";
