//! The engine: compiles a program, runs it to its end on a runtime of its own, reports what went wrong.

use crate::driver::ScriptTask;
use crate::loader::{self, Files};
use crate::report;
use madrigal_compiler::program::{self, Options as CompileOptions};
use madrigal_runtime::{
    CancelKind, CancelNode, CancelReason, Clock, ExecutorKind, Outcome, Runtime, RuntimeHandle, TaskKind, TaskSpec,
};
use madrigal_stdlib::host::{Input, Output, Run, RunOptions};
use madrigal_stdlib::iterators::{ITERATORS, STREAMS};
use madrigal_stdlib::sandbox::Permissions;
use madrigal_stdlib::task::Probe;
use madrigal_stdlib::{PRELUDE, TaskFault, TaskState};
use madrigal_vm::builtin::Method;
use madrigal_vm::{BuiltinTable, Closure, Program, Value, Vm};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Where a program comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// Text with a name to show.
    Text {
        /// As shown in errors; imports start from its directory.
        name: String,
        /// The program.
        text: String,
    },
}

impl Source {
    /// A file.
    pub fn file(path: impl Into<PathBuf>) -> Source {
        Source::File(path.into())
    }

    /// Text with a name to show.
    pub fn text(name: impl Into<String>, text: impl Into<String>) -> Source {
        Source::Text { name: name.into(), text: text.into() }
    }

    /// Name and text; the error is ready to be shown.
    fn read(&self) -> Result<(String, String), Rejected> {
        match self {
            Source::Text { name, text } => Ok((name.clone(), text.clone())),
            Source::File(path) => {
                let shown = path.display().to_string();
                let text = loader::read(path)
                    .map_err(|reason| Rejected { rendered: format!("error: cannot read '{shown}': {reason}\n") })?;
                Ok((shown, text))
            }
        }
    }
}

/// What schedules the tasks of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Executor {
    /// All cores, real parallelism.
    #[default]
    AllCores,
    /// One thread and virtual time; every choice comes from the seed.
    Simulated {
        /// The seed.
        seed: u64,
    },
}

/// How a program is run.
pub struct Options {
    /// Threads that run tasks; as many as there are cores unless set.
    pub workers: Option<usize>,
    /// What schedules the tasks.
    pub executor: Executor,
    /// Program arguments.
    pub argv: Vec<String>,
    /// What relative paths of files and programs start from; the working directory unless set.
    pub execution_root: Option<PathBuf>,
    /// Environment variables; those of the process unless set.
    pub environment: Option<BTreeMap<String, String>>,
    /// What the program may touch; nothing unless it is granted.
    pub permissions: Permissions,
    /// Where the program's output goes.
    pub stdout: Output,
    /// Where reports go.
    pub stderr: Output,
    /// What the program reads as its standard input.
    pub stdin: Input,
    /// Instructions (roughly) a task runs before others get a turn.
    pub fuel: Option<u32>,
    /// Whether time is virtual: it stands still while anything runs and jumps to the next timer otherwise.
    pub virtual_time: bool,
    /// Whether calls of unknown names are refused before anything runs.
    pub check_calls: bool,
    /// How others can interrupt the run.
    pub interrupter: Interrupter,
    /// A file of mocks of models, consulted before those of the program; calls that none fits fail.
    pub llm_mock: Option<PathBuf>,
    /// A file to which the replies of real providers are appended as mocks.
    pub llm_mock_record: Option<PathBuf>,
    /// What the run may use at most.
    pub limits: Limits,
    /// Cancels the run at one of its delivery points, and tells what was left of it: for tests.
    pub probe: Option<Arc<Probe>>,
}

/// What a run may use at most. Beyond it a program gets an error of category `budget_exceeded` where it can go on
/// without, else it is ended, with its cleanups and status 1.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// Tasks at a time; catchable.
    pub tasks: Option<usize>,
    /// Nested calls of one task (10 000 unless set); catchable.
    pub depth: Option<usize>,
    /// Capacity of one channel; catchable.
    pub channel_capacity: Option<usize>,
    /// Instructions (roughly) of all tasks together.
    pub fuel: Option<u64>,
    /// Real time.
    pub time: Option<Duration>,
    /// Bytes on standard output.
    pub output: Option<u64>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            workers: None,
            executor: Executor::AllCores,
            argv: Vec::new(),
            execution_root: None,
            environment: None,
            permissions: Permissions::none(),
            stdout: Output::stdout(),
            stderr: Output::stderr(),
            stdin: Input::stdin(),
            fuel: None,
            virtual_time: false,
            check_calls: true,
            interrupter: Interrupter::default(),
            llm_mock: None,
            llm_mock_record: None,
            limits: Limits::default(),
            probe: None,
        }
    }
}

/// How a run ended. Everything there was to say has been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Exit status.
    pub status: i32,
}

/// A program that does not run.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{rendered}")]
pub struct Rejected {
    /// The diagnostics as shown to people, ending in a newline.
    pub rendered: String,
}

/// Interrupts a run from outside. Clones are the same.
#[derive(Clone, Default)]
pub struct Interrupter(Arc<Mutex<Interrupted>>);

#[derive(Default)]
struct Interrupted {
    running: Option<(CancelNode, RuntimeHandle, Arc<Program>)>,
    /// The first signal.
    signal: Option<&'static str>,
}

impl Interrupter {
    /// Cancels the running program (reason `signal`) so that its cleanups run. Later calls change nothing.
    pub fn interrupt(&self, signal: &'static str) {
        let mut state = self.0.lock();
        if state.signal.is_none() {
            state.signal = Some(signal);
            if let Some((node, ..)) = &state.running {
                node.cancel(CancelReason::new(CancelKind::Signal, signal));
            }
        }
    }

    /// The ids of the first few live tasks, and how many there are.
    pub fn live_tasks(&self, shown_max: usize) -> (Vec<String>, usize) {
        let state = self.0.lock();
        let tree = state.running.as_ref().map(|(_, runtime, _)| runtime.task_tree()).unwrap_or_default();
        (tree.iter().take(shown_max).map(|it| it.task.id()).collect(), tree.len())
    }

    /// All live tasks, each before those beneath it, with what they wait for and where.
    pub fn task_tree(&self) -> String {
        let state = self.0.lock();
        let Some((_, runtime, program)) = &state.running else { return "no task is running\n".to_owned() };
        let mut text = String::new();
        for info in runtime.task_tree() {
            let _ = write!(text, "{}{} {}", "  ".repeat(info.depth), info.task.id(), info.status.as_str());
            if let Some(waiting) = &info.waiting {
                let _ = write!(text, ": {waiting}");
                if let Some((module, offset)) = waiting.location
                    && let Some(unit) = program.modules.get(module as usize)
                {
                    let _ = write!(text, " at {}:{}", unit.source.path, unit.source.line(offset));
                }
            }
            text.push('\n');
        }
        text
    }

    fn status(&self) -> Option<i32> {
        self.0.lock().signal.map(|signal| if signal == "SIGTERM" { 143 } else { 130 })
    }

    fn start(&self, node: CancelNode, runtime: RuntimeHandle, program: Arc<Program>) {
        let mut state = self.0.lock();
        if let Some(signal) = state.signal {
            node.cancel(CancelReason::new(CancelKind::Signal, signal));
        }
        state.running = Some((node, runtime, program));
    }

    fn end(&self) {
        self.0.lock().running = None;
    }
}

/// Compiles and runs programs.
#[derive(Clone)]
pub struct Engine {
    builtins: Arc<BuiltinTable>,
}

impl Default for Engine {
    fn default() -> Engine {
        Engine::new()
    }
}

impl Engine {
    /// An engine with the whole library.
    pub fn new() -> Engine {
        let mut table = BuiltinTable::new();
        madrigal_vm::methods::register(&mut table);
        madrigal_stdlib::register(&mut table);
        madrigal_agents::register(&mut table);
        install_prelude(&mut table);
        Engine { builtins: Arc::new(table) }
    }

    /// What programs can call without importing anything.
    pub fn builtins(&self) -> &Arc<BuiltinTable> {
        &self.builtins
    }

    /// An engine whose programs may call only the builtins that `permits` accepts; calls of others fail.
    pub fn restricted(permits: impl Fn(&str) -> bool) -> Engine {
        let Engine { mut builtins } = Engine::new();
        let table = Arc::get_mut(&mut builtins).expect("the engine is fresh");
        let forbidden: Vec<String> = table.names().filter(|name| !permits(name)).map(str::to_owned).collect();
        for name in forbidden {
            table.forbid(&name);
            let text = format!("fn refused(...args) {{ return __not_permitted(\"{name}\") }}");
            program::compile_functions("restricted.harn", &text, table, |table, _, function| {
                table.add_script(name.clone(), function);
            })
            .unwrap_or_else(|rejected| panic!("{name}: {}", report::rejected(&rejected)));
        }
        Engine { builtins }
    }

    fn compile(&self, source: &Source, check_calls: bool) -> Result<Program, Rejected> {
        let (name, text) = source.read()?;
        program::compile(&name, &text, &Files, self.builtins.clone(), CompileOptions { check_calls })
            .map_err(|rejected| Rejected { rendered: report::rejected(&rejected) })
    }

    /// Reads, parses and resolves a program without running it.
    pub fn check(&self, source: &Source) -> Result<(), Rejected> {
        self.compile(source, true).map(drop)
    }

    /// The bytecode of a program and of what it imports, as text.
    pub fn disassemble(&self, source: &Source) -> Result<String, Rejected> {
        let program = self.compile(source, true)?;
        Ok(madrigal_vm::bytecode::disassemble(program.modules[0].body.proto()))
    }

    /// Runs a program to its end. Whatever goes wrong is reported on `options.stderr`.
    pub fn run(&self, source: &Source, options: Options) -> Finished {
        match self.compile(source, options.check_calls) {
            Ok(program) => execute(Arc::new(program), options),
            Err(rejected) => {
                say(&options.stderr, &rejected.rendered);
                Finished { status: 1 }
            }
        }
    }
}

fn say(stream: &Output, text: &str) {
    stream.write(|out| out.extend_from_slice(text.as_bytes()));
    stream.flush();
}

fn execute(program: Arc<Program>, options: Options) -> Finished {
    let runtime = build_runtime(&options);
    let mut tasks = TaskState::default();
    if let Some(fuel) = options.fuel {
        tasks.fuel = fuel.max(1);
    }
    let limits = options.limits;
    tasks.probe = options.probe;
    tasks.limits = madrigal_stdlib::task::Limits {
        tasks: limits.tasks,
        fuel: limits.fuel,
        channel_capacity: limits.channel_capacity,
    };
    if let Some(depth) = limits.depth {
        tasks.depth_max = depth.max(1);
    }
    let grace = tasks.grace;
    let has_lost = Arc::new(AtomicBool::new(false));
    let seed = match options.executor {
        Executor::Simulated { seed } => Some(seed),
        Executor::AllCores => None,
    };
    let defaults = RunOptions::default();
    let run = Arc::new_cyclic(|run: &Weak<Run>| {
        let (run, program, has_lost) = (run.clone(), program.clone(), has_lost.clone());
        tasks.lost = Arc::new(move |failure: TaskFault| {
            has_lost.store(true, Ordering::Release);
            if let Some(run) = run.upgrade() {
                report::say_uncaught(&run, &failure.0, &program);
            }
        });
        Run::new(RunOptions {
            stdout: match limits.output {
                Some(bytes) => options.stdout.limited(bytes),
                None => options.stdout,
            },
            stderr: options.stderr,
            stdin: options.stdin,
            argv: options.argv,
            execution_root: options.execution_root.unwrap_or(defaults.execution_root),
            environment: options.environment,
            permissions: options.permissions,
            seed,
            tasks,
            surroundings: Arc::new(runtime.handle()),
        })
    });
    let entry_file = program.modules.first().map(|it| Path::new(&*it.source.path));
    let files = (options.llm_mock.as_deref(), options.llm_mock_record.as_deref());
    if let Err(message) = prepare_models(&run, entry_file, files) {
        say(&run.stderr, &format!("error: {message}\n"));
        return Finished { status: 1 };
    }
    let interrupter = options.interrupter;
    let entry = program.modules[0].body.clone();
    let mut watch = None;
    let ended =
        runtime.block_on_root::<Value, TaskFault, _>(TaskSpec::new(TaskKind::ROOT).with_grace(grace), |context| {
            interrupter.start(context.run_node(), context.runtime(), program.clone());
            watch = limits.time.and_then(|time| Watch::start(time, run.clone(), context.run_node()));
            let mut vm = Vm::new(program.clone(), entry, &[]);
            vm.set_depth_max(run.tasks.depth_max);
            ScriptTask::new(vm, run.clone(), context, None)
        });
    interrupter.end();
    drop(watch);
    if let Some(probe) = &run.tasks.probe {
        *probe.left.lock() = left_behind(&runtime, &run);
    }
    run.stdout.flush();
    let status = conclude(ended, &run, &program, &interrupter);
    run.stdout.flush();
    let status = if status == 0 && has_lost.load(Ordering::Acquire) { 1 } else { status };
    Finished { status }
}

/// Ends a run whose time is over: a thread of its own, as real time passes whatever the clock of the run says.
struct Watch {
    /// Dropped at the end of the run; the thread waits for that.
    _alive: mpsc::Sender<()>,
}

impl Watch {
    fn start(time: Duration, run: Arc<Run>, node: CancelNode) -> Option<Watch> {
        let (alive, ended) = mpsc::channel();
        let watch = move || {
            if ended.recv_timeout(time) == Err(mpsc::RecvTimeoutError::Timeout) {
                let message = format!("the program ran for more than {}ms", time.as_millis());
                let message = run.tasks.stopped.get_or_init(|| message);
                node.cancel(CancelReason::by_nobody(CancelKind::Shutdown, message.as_str()));
            }
        };
        std::thread::Builder::new().name("madrigal-limit".to_owned()).spawn(watch).ok()?;
        Some(Watch { _alive: alive })
    }
}

/// Reads the configuration of models, and the file of mocks.
fn prepare_models(run: &Run, entry: Option<&Path>, files: (Option<&Path>, Option<&Path>)) -> Result<(), String> {
    let models = madrigal_agents::Models::prepare(run, entry, false).map_err(|error| error.0)?;
    if let Some(path) = files.0 {
        models.mock.load(path)?;
    }
    files.1.map_or(Ok(()), |path| models.recorder.open(path))
}

/// What should have ended with the run and did not.
fn left_behind(runtime: &Runtime, run: &Run) -> Vec<String> {
    let mut left: Vec<String> = runtime.task_tree().iter().map(|it| format!("task {}", it.task.id())).collect();
    if runtime.clock().armed() > 0 {
        left.push(format!("{} timers", runtime.clock().armed()));
    }
    for it in run.tasks.registry(runtime.clock()).metrics() {
        if it.current_held + it.current_queue_depth > 0 {
            let (held, waiting) = (it.current_held, it.current_queue_depth);
            left.push(format!("{} '{}': {held} held, {waiting} waiting", it.kind.as_str(), it.key));
        }
    }
    left
}

fn build_runtime(options: &Options) -> Runtime {
    let mut builder = Runtime::builder();
    if let Some(workers) = options.workers {
        builder = builder.workers(workers.max(1));
    }
    if let Executor::Simulated { seed } = options.executor {
        builder = builder.executor(ExecutorKind::Simulated).seed(seed);
    } else if options.virtual_time {
        builder = builder.clock(Clock::virtual_at(0));
    }
    builder.build()
}

/// Says what there is to say about the end of a run; the exit status.
fn conclude(
    ended: Result<Outcome<Value, TaskFault>, madrigal_runtime::DeadlockReport>,
    run: &Run,
    program: &Program,
    interrupter: &Interrupter,
) -> i32 {
    if let Some(message) = run.tasks.stopped.get() {
        say(&run.stderr, &format!("error: {message}\n"));
        return 1;
    }
    let asked = run.tasks.exit.lock().map(|status| status.clamp(0, 255) as i32);
    match ended {
        Err(deadlock) => {
            say(&run.stderr, &report::deadlock(&deadlock, program));
            1
        }
        Ok(Outcome::Failed(failure)) if failure.0.ends_task() => {
            failure.0.suppressed().iter().for_each(|it| (run.tasks.lost)(TaskFault(it.clone())));
            asked.or_else(|| interrupter.status()).unwrap_or(1)
        }
        Ok(Outcome::Failed(failure)) => {
            say(&run.stderr, &report::uncaught(&failure.0, program));
            asked.or_else(|| interrupter.status()).unwrap_or(1)
        }
        Ok(Outcome::Cancelled(_)) => asked.or_else(|| interrupter.status()).unwrap_or(1),
        Ok(Outcome::Ok(value)) => asked.or_else(|| interrupter.status()).unwrap_or_else(|| {
            let (status, text) = report::status_of(&value);
            if let Some(text) = text {
                say(&run.stderr, &text);
            }
            status
        }),
    }
}

/// Compiles the part of the library that is written in Harn.
fn install_prelude(table: &mut BuiltinTable) {
    let parts = [
        ("prelude.harn", PRELUDE),
        ("iterators.harn", ITERATORS),
        ("streams.harn", STREAMS),
        ("agents.harn", madrigal_agents::PRELUDE),
    ];
    for (name, text) in parts {
        program::compile_functions(name, text, table, |table, name, function| install(table, text, name, function))
            .unwrap_or_else(|rejected| panic!("{name} compiles: {}", report::rejected(&rejected)));
    }
}

/// Iterator methods that ranges have of their own.
const RANGE_OWN: [&str; 7] = ["count", "first", "last", "min", "max", "sum", "to_list"];

/// Enters a function of the library in the table, by the convention of names (`madrigal_stdlib::prelude`).
fn install(table: &mut BuiltinTable, text: &'static str, name: &str, function: Closure) {
    // The same name as a piece of the text, which lives as long as the program.
    let declared = text.find(&format!("fn {name}(")).expect("functions are declared in the text") + "fn ".len();
    let name: &'static str = &text[declared..declared + name.len()];
    if let Some(member) = name.strip_prefix("event_log_") {
        return table.add_script(format!("event_log.{member}"), function);
    }
    // An owner of several words is set off by two underscores.
    let long = name.split_once("__").filter(|(owner, _)| owner.contains('_'));
    match long.or_else(|| name.split_once('_')) {
        Some(("function", name)) => table.add_script(name, function),
        Some(("stream", method)) if method != "iter" => table.add_script(format!("stream.{method}"), function),
        Some((owner, method)) => {
            if owner == "iter" && !RANGE_OWN.contains(&method) && method != "iter" {
                table.add_method("range", method, Method::Script(function.clone()));
            }
            table.add_method(owner, method, Method::Script(function));
        }
        None => {}
    }
}
