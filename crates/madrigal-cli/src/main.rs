//! The `madrigal` command: arguments, terminals, files. What a program means is the engine's business.

#![forbid(unsafe_code)]

mod arguments;
#[cfg(unix)]
mod signals;

use arguments::{Arguments, Command, Run};
use clap::Parser;
use madrigal::{Engine, Executor, Input, Interrupter, Limits, Options, Output, Source};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::exit;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let arguments = Arguments::parse();
    let status = match arguments.command {
        None => run(arguments.run),
        Some(Command::Run(it)) => run(*it),
        Some(Command::Check { files }) => check(files),
        Some(Command::Doc { name }) => document(&name),
        Some(Command::Disasm { file }) => disassemble(file),
        Some(Command::Models { folder }) => models(folder),
    };
    exit(status)
}

fn run(arguments: Run) -> i32 {
    let fuel = fuel();
    let is_text = arguments.code.is_some() || arguments.is_standard_input();
    let (source, argv) = match program(&arguments) {
        Ok(program) => program,
        Err(message) => {
            complain(&message);
            return 1;
        }
    };
    let interrupter = Interrupter::default();
    #[cfg(unix)]
    signals::watch(interrupter.clone());
    let executor = match arguments.simulate {
        true => Executor::Simulated { seed: arguments.seed },
        false => Executor::AllCores,
    };
    let options = Options {
        workers: arguments.workers.map(|it| it as usize),
        executor,
        argv,
        permissions: arguments.sandbox.permissions(),
        stdout: Output::stdout(),
        stderr: Output::stderr(),
        stdin: Input::stdin(),
        fuel,
        virtual_time: false,
        check_calls: !is_text,
        interrupter,
        llm_mock: arguments.llm_mock,
        llm_mock_record: arguments.llm_mock_record,
        limits: Limits {
            tasks: arguments.limits.max_tasks,
            depth: arguments.limits.max_depth,
            channel_capacity: arguments.limits.max_channel,
            fuel: arguments.limits.fuel,
            time: arguments.limits.timeout,
            output: arguments.limits.max_output,
        },
        ..Options::default()
    };
    arguments.sandbox.engine().run(&source, options).status
}

/// The program that the arguments name, and its own arguments.
fn program(arguments: &Run) -> Result<(Source, Vec<String>), String> {
    let mut argv = arguments.arguments.clone();
    let Some(file) = &arguments.file else {
        return Ok((Source::text("<code>", arguments.code.clone().unwrap_or_default()), argv));
    };
    if let Some(code) = &arguments.code {
        // With `-e` there is no file: what stands in its place is the first argument of the program.
        argv.insert(0, file.to_string_lossy().into_owned());
        return Ok((Source::text("<code>", code), argv));
    }
    if arguments.is_standard_input() {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map_err(|error| format!("cannot read standard input: {error}"))?;
        let text = String::from_utf8(bytes).map_err(|_| "cannot read standard input: it is not UTF-8 text")?;
        return Ok((Source::text("<stdin>", text), argv));
    }
    Ok((Source::file(file), argv))
}

/// How long a task runs before others get a turn, when the environment says so.
fn fuel() -> Option<u32> {
    let text = std::env::var_os("HARN_TASK_FUEL")?;
    let fuel = text.to_str().and_then(|it| it.parse().ok()).filter(|it| *it > 0);
    if fuel.is_none() {
        complain(&format!("HARN_TASK_FUEL must be a number above 0, not '{}'", text.to_string_lossy()));
        exit(2);
    }
    fuel
}

fn check(files: Vec<PathBuf>) -> i32 {
    let engine = Engine::new();
    let mut status = 0;
    for file in files {
        match engine.check(&Source::file(&file)) {
            Ok(()) => say(&format!("{}: ok\n", file.display())),
            Err(rejected) => {
                write_to(&mut std::io::stderr(), &rejected.rendered);
                status = 1;
            }
        }
    }
    status
}

fn document(name: &str) -> i32 {
    let entries = madrigal::reference::entries(&Engine::new());
    let means = |it: &str| it == name || it.rsplit('.').next() == Some(name);
    let found: Vec<String> = entries.iter().filter(|it| means(&it.name)).map(|it| it.text()).collect();
    if found.is_empty() {
        complain(&format!("the library has no '{name}'"));
        return 1;
    }
    say(&found.join("\n"));
    0
}

fn disassemble(file: PathBuf) -> i32 {
    match Engine::new().disassemble(&Source::file(file)) {
        Ok(listing) => {
            say(&listing);
            0
        }
        Err(rejected) => {
            write_to(&mut std::io::stderr(), &rejected.rendered);
            1
        }
    }
}

fn models(folder: Option<PathBuf>) -> i32 {
    match madrigal::describe_models(&folder.unwrap_or_else(|| PathBuf::from("."))) {
        Ok(text) => {
            say(&text);
            0
        }
        Err(message) => {
            complain(&message);
            1
        }
    }
}

fn say(text: &str) {
    write_to(&mut std::io::stdout(), text);
}

fn complain(message: &str) {
    write_to(&mut std::io::stderr(), &format!("error: {message}\n"));
}

/// Writes as far as anybody reads: a reader that went away is no error.
fn write_to(stream: &mut dyn Write, text: &str) {
    let _ = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
}
