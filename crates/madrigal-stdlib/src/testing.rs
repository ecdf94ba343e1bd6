//! A tiny host for unit tests: calls builtins and methods through the table.

use crate::host::{Captured, Output, Run, RunOptions};
use crate::task::{TaskFault, TaskHost};
use madrigal_runtime::{ExecutorKind, Runtime, TaskContext, TaskKind, TaskSpec};
use madrigal_vm::{Args, BuiltinTable, Cx, Effect, Fault, Outcome, Program, Value, methods};
use std::path::PathBuf;
use std::sync::Arc;

/// A run with captured output, and the table.
pub(crate) struct Bench {
    host: TaskHost,
    program: Program,
    stdout: Captured,
    runtime: tokio::runtime::Runtime,
}

impl Bench {
    pub(crate) fn new() -> Bench {
        let mut table = BuiltinTable::new();
        methods::register(&mut table);
        crate::register(&mut table);
        let (stdout, captured) = Output::captured();
        let root = std::env::temp_dir().join(format!("madrigal-test-{}", std::process::id()));
        let run = Run::new(RunOptions { stdout, seed: Some(1), execution_root: root, ..RunOptions::default() });
        let program = Program { modules: Vec::new(), functions: Box::default(), builtins: Arc::new(table) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can start");
        Bench { host: host(run), program, stdout: captured, runtime }
    }

    /// Another bench whose files are its own.
    pub(crate) fn in_directory(name: &str) -> Bench {
        let mut bench = Bench::new();
        let root: PathBuf = std::env::temp_dir().join(format!("madrigal-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&root).expect("the temporary directory is writable");
        bench.host = host(Run::new(RunOptions { execution_root: root, ..RunOptions::default() }));
        bench
    }

    /// Calls a builtin or a method, named `kind.name`, and waits for its result.
    pub(crate) fn call(&mut self, name: &str, args: Vec<Value>) -> Result<Value, Fault> {
        match self.start(name, args)? {
            Outcome::Value(value) => Ok(value),
            Outcome::Effect(Effect::Wait(wait)) => self.runtime.block_on(wait.future),
            Outcome::Effect(_) => Ok(Value::Nil),
        }
    }

    /// Calls without waiting.
    pub(crate) fn start(&mut self, name: &str, mut args: Vec<Value>) -> Result<Outcome, Fault> {
        let _entered = self.runtime.enter();
        let table = self.program.builtins.clone();
        let row = match name.split_once('.') {
            Some((_, method)) => match table.method(method).and_then(|set| set.of(&args[0])) {
                Some(madrigal_vm::builtin::Method::Native(row)) => row,
                _ => return Ok(Outcome::Value(Value::Nil)),
            },
            None => table.function(name).expect("the builtin exists"),
        };
        let mut cx = Cx { host: &mut self.host, program: &self.program, received: &mut None, site: (0, (0, 0)) };
        (row.run)(&mut cx, Args::new(&mut args))
    }

    pub(crate) fn runtime(&self) -> &tokio::runtime::Runtime {
        &self.runtime
    }

    /// What was printed.
    pub(crate) fn printed(&self) -> String {
        self.host.run.stdout.flush();
        self.stdout.text()
    }
}

/// The state of a task that has nothing to do.
fn host(run: Run) -> TaskHost {
    let runtime = Runtime::builder().executor(ExecutorKind::Simulated).seed(1).build();
    let mut own = None;
    let ended = runtime.block_on_root::<Value, TaskFault, _>(TaskSpec::new(TaskKind::ROOT), |context: TaskContext| {
        own = Some(context);
        async { Ok(Value::Nil) }
    });
    assert!(ended.is_ok(), "a task without work ends");
    TaskHost::new(Arc::new(run), own.expect("the task was made"), None)
}

/// Asserts the display form of a call's result, or of what a `catch` would see.
#[track_caller]
pub(crate) fn check<const N: usize>(name: &str, args: [Value; N], expected: &str) {
    let found = match Bench::new().call(name, args.into()) {
        Ok(value) => value.to_string(),
        Err(fault) => fault.caught().to_string(),
    };
    assert_eq!(found, expected, "{name}");
}
