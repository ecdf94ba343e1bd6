//! Texts that nobody would write: no stage may panic, overflow the native stack, lose text or take for ever.
//!
//! Every case is parsed; what parses is compiled, verified and run for a bounded number of instructions, with what the
//! program asks of the outside world left undone. Cases are random tokens, mutated golden programs and grown programs
//! (`support/grow.rs`). Those that once failed, and whatever deserves to be kept, stand in `fuzz/corpus/` and are
//! replayed first.
//!
//! `FUZZ_CASES=n` sets how many cases of each kind are tried, `FUZZ_SEED=n` where they start. With `FUZZ_LAST=file`
//! each case is written to the file before it is tried, which finds the one that kills the process.

#[path = "support/grow.rs"]
mod grow;

use grow::{Dice, TOKENS, program};
use madrigal::Engine;
use madrigal_compiler::program::{Found, Loader, Options, compile};
use madrigal_runtime::{ExecutorKind, Runtime, TaskContext, TaskKind, TaskSpec};
use madrigal_stdlib::host::{Output, Run, RunOptions};
use madrigal_stdlib::{TaskFault, TaskHost};
use madrigal_syntax::render::render;
use madrigal_syntax::{SourceFile, parse};
use madrigal_vm::bytecode::Proto;
use madrigal_vm::{BuiltinTable, Effect, Fault, Resume, Step, Value, Vm};
use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use std::{env, fs, panic, thread};

/// How many cases of each kind a plain test run tries.
const CASES: u64 = 400;

/// As small as the stacks on which programs run.
const STACK: usize = 2 << 20;

/// Instructions a program may run, and how many things it may ask for.
const BUDGET: u32 = 20_000;
const STEPS: usize = 40;

/// A case that takes longer hangs. Nothing depends on it but the failure.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn the_corpus_is_harmless() {
    check_all(programs("fuzz/corpus").into_iter());
}

#[test]
fn random_tokens_are_harmless() {
    check_all(cases(1).map(|mut dice| {
        let count = dice.below(60);
        (0..count).map(|_| dice.pick(&TOKENS)).collect::<Vec<_>>().concat()
    }));
}

#[test]
fn mutated_programs_are_harmless() {
    let seeds = [programs("golden"), programs("fuzz/corpus")].concat();
    check_all(cases(2).map(move |mut dice| mutated(&seeds, &mut dice)));
}

#[test]
fn grown_programs_are_harmless() {
    check_all(cases(3).map(|mut dice| program(&mut dice)));
}

/// One source of choices a case.
fn cases(kind: u64) -> impl Iterator<Item = Dice> {
    let number = |name: &str| env::var(name).ok().and_then(|it| it.parse::<u64>().ok());
    let (count, seed) = (number("FUZZ_CASES").unwrap_or(CASES), number("FUZZ_SEED").unwrap_or(1));
    (0..count).map(move |case| Dice::new(kind << 60 ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(case)))
}

/// Tries texts on a small stack; a failure, or a case that takes too long, shows the text.
fn check_all(texts: impl Iterator<Item = String> + Send + 'static) {
    let last = env::var_os("FUZZ_LAST");
    let current = Arc::new(Mutex::new(String::new()));
    let (progress, watch) = mpsc::sync_channel(1);
    let shown = current.clone();
    let work = move || {
        let bench = Bench::new();
        for text in texts {
            if let Some(path) = &last {
                fs::write(path, &text).expect("the file of the last case is writable");
            }
            shown.lock().expect("nobody panics with it").clone_from(&text);
            let tried = panic::catch_unwind(panic::AssertUnwindSafe(|| bench.check(&text)));
            assert!(tried.is_ok(), "the case that failed:\n{text}");
            if progress.send(()).is_err() {
                return;
            }
        }
    };
    let thread = thread::Builder::new().stack_size(STACK).spawn(work).expect("a thread starts");
    loop {
        match watch.recv_timeout(PATIENCE) {
            Ok(()) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                panic!("the case that never ends:\n{}", current.lock().expect("nobody panics with it"));
            }
        }
    }
    if let Err(payload) = thread.join() {
        panic::resume_unwind(payload);
    }
}

/// The programs below a folder of the tests, in the order of their paths.
fn programs(folder: &str) -> Vec<String> {
    let mut paths = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder), &mut paths);
    paths.sort();
    paths
        .iter()
        .map(|path| String::from_utf8_lossy(&fs::read(path).expect("a program is readable")).into_owned())
        .collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder exists") {
        let path = entry.expect("the folder is readable").path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|it| it == "harn") {
            paths.push(path);
        }
    }
}

/// A program with some of its pieces cut, doubled, moved, or replaced by those of another.
fn mutated(seeds: &[String], dice: &mut Dice) -> String {
    let mut pieces = pieces(&seeds[dice.below(seeds.len())]);
    for _ in 0..=dice.below(6) {
        let (from, to) = (dice.below(pieces.len() + 1), dice.below(pieces.len() + 1));
        let (from, to) = (from.min(to), from.max(to).min(from.min(to) + 12));
        match dice.below(6) {
            0 => drop(pieces.drain(from..to)),
            1 => {
                let copy = pieces[from..to].to_vec();
                pieces.splice(to..to, copy);
            }
            2 => {
                let other = self::pieces(&seeds[dice.below(seeds.len())]);
                let start = dice.below(other.len() + 1);
                let end = (start + dice.below(20)).min(other.len());
                pieces.splice(from..from, other[start..end].iter().cloned());
            }
            3 => pieces.insert(from, dice.pick(&TOKENS).to_owned()),
            4 if from < pieces.len() => pieces[from] = dice.pick(&TOKENS).to_owned(),
            _ if from < to => pieces.swap(from, to - 1),
            _ => {}
        }
    }
    let mut text = pieces.concat();
    if dice.below(20) == 0 && !text.is_empty() {
        let mut bytes = text.into_bytes();
        let at = dice.below(bytes.len());
        bytes[at] = dice.below(256) as u8;
        text = String::from_utf8_lossy(&bytes).into_owned();
    }
    text
}

/// Words, numbers, and everything else character by character.
fn pieces(text: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    let mut in_word = false;
    for character in text.chars() {
        let word = character.is_alphanumeric() || character == '_';
        match pieces.last_mut() {
            Some(last) if word && in_word => last.push(character),
            _ => pieces.push(character.to_string()),
        }
        in_word = word;
    }
    pieces
}

/// What programs run on: nothing of it reaches the outside.
struct Bench {
    builtins: Arc<BuiltinTable>,
    run: Arc<Run>,
    task: TaskContext,
    /// Keeps what tasks refer to.
    _runtime: Runtime,
}

struct NoFiles;

impl Loader for NoFiles {
    fn load(&self, _: &str, path: &str) -> Result<Found, String> {
        Err(format!("Import error: cannot read '{path}': no files here"))
    }
}

impl Bench {
    fn new() -> Bench {
        let runtime = Runtime::builder().executor(ExecutorKind::Simulated).seed(1).build();
        let mut own = None;
        let ended = runtime.block_on_root::<Value, TaskFault, _>(TaskSpec::new(TaskKind::ROOT), |context| {
            own = Some(context);
            async { Ok(Value::Nil) }
        });
        assert!(ended.is_ok(), "a task without work ends");
        let (stdout, stderr) = (Output::captured().0, Output::captured().0);
        let run = Run::new(RunOptions { stdout, stderr, seed: Some(1), ..RunOptions::default() });
        let task = own.expect("the task was made");
        Bench { builtins: Engine::new().builtins().clone(), run: Arc::new(run), task, _runtime: runtime }
    }

    fn check(&self, text: &str) {
        let parsed = parse(text);
        assert_eq!(parsed.syntax().text().to_string(), text, "the tree has lost text");
        let source = SourceFile::new("fuzz.harn", text);
        for diagnostic in &parsed.diagnostics {
            assert!(render(diagnostic, &source).starts_with("error["));
        }
        match compile("fuzz.harn", text, &NoFiles, self.builtins.clone(), Options { check_calls: false }) {
            Ok(program) if harmless(program.modules[0].body.proto()) => self.execute(program),
            Ok(_) => {}
            Err(rejected) => {
                assert!(!rejected.diagnostics.is_empty(), "a program was rejected without a reason");
                for diagnostic in &rejected.diagnostics {
                    assert!(!diagnostic.message.contains("bad bytecode"), "{}", diagnostic.message);
                    let _ = render(diagnostic, &rejected.source);
                }
            }
        }
    }

    fn execute(&self, program: madrigal_vm::Program) {
        let mut host = TaskHost::new(self.run.clone(), self.task.clone(), None);
        let entry = program.modules[0].body.clone();
        let mut vm = Vm::new(Arc::new(program), entry, &[]);
        for _ in 0..STEPS {
            match vm.step(&mut host as &mut (dyn Any + Send), BUDGET / STEPS as u32) {
                Step::Done(value) => return drop(value.display()),
                Step::Faulted(fault) => return drop(fault.caught().display()),
                Step::OutOfBudget => {}
                Step::Suspended(effect) => match answer(effect) {
                    Some(resume) => vm.resume(resume),
                    None => return,
                },
            }
        }
    }
}

/// What the outside world says: regions open and close, nothing else happens.
fn answer(effect: Effect) -> Option<Resume> {
    match effect {
        Effect::Enter { .. } | Effect::Yield => Some(Resume::Value(Value::Nil)),
        Effect::Leave { .. } => Some(Resume::Left),
        Effect::Spawn { .. } | Effect::Wait(_) => Some(Resume::Fault(Fault::runtime("nobody is there"))),
        _ => None,
    }
}

/// What a case may call: nothing that reads or writes the outside, or that may take all memory in one call.
const ALLOWED: &[&str] = &[
    "println",
    "print",
    "log",
    "type_of",
    "to_string",
    "to_int",
    "to_float",
    "len",
    "range",
    "pair",
    "iter",
    "set",
    "Ok",
    "Err",
    "is_ok",
    "is_err",
    "unwrap",
    "unwrap_or",
    "unwrap_err",
    "assert",
    "assert_eq",
    "assert_ne",
    "split",
    "join",
    "replace",
    "trim",
    "contains",
    "substring",
    "uppercase",
    "lowercase",
    "starts_with",
    "ends_with",
    "abs",
    "min",
    "max",
    "floor",
    "ceil",
    "round",
    "sqrt",
    "pow",
    "sum",
    "chunk",
    "window",
    "group_by",
    "partition",
    "dedup_by",
    "flat_map",
    "set_add",
    "set_union",
    "set_contains",
    "to_list",
    "format",
    "unreachable",
    "throw_error",
    "error_category",
    "is_timeout",
    "json_parse",
    "json_stringify",
    "keys",
    "values",
    "entries",
    "atomic",
    "channel",
    "regex_match",
    "regex_replace",
    "regex_split",
    "sleep",
    "await",
    "cancel",
    "is_cancelled",
    "send",
    "receive",
];

/// Whether a function calls what is allowed only, or what belongs to the interpreter.
fn harmless(proto: &Proto) -> bool {
    let allowed = |name: &str| name.starts_with("__") || ALLOWED.contains(&name);
    proto.builtins.iter().all(|it| allowed(it.name)) && proto.protos.iter().all(|it| harmless(it))
}
