//! What builtins share during a run, and the seams through which they reach the world: output, environment, clock,
//! randomness, connections. Nothing of it belongs to the process, so two runs in one process never meet.
//! Invariant: whatever waits for something outside the runtime goes through [`Run::external`], and all time through
//! [`Run::sleep`]; otherwise a run that waits for the outside looks deadlocked.

mod input;
mod output;
mod random;
mod surroundings;

pub use input::Input;
pub use output::{Captured, Output};
pub use random::Generator;
pub use surroundings::{RealTime, Surroundings, Work};

use crate::breakers::Breakers;
use crate::egress::Egress;
use crate::event_log::EventLog;
use crate::host_call::HostMocks;
use crate::http::Http;
use crate::input::MockedInput;
use crate::regexes::Patterns;
use crate::sandbox::Permissions;
use crate::secrets::Detectors;
use crate::shells::Chosen;
use crate::store::Durable;
use crate::task::{TaskHost, TaskState};
use crate::templates::Prompts;
use crate::terminal::Terminal;
use crate::tracing::Traces;
use crate::transports::Transports;
use crate::waitpoints::Waitpoints;
use madrigal_vm::{Cx, Fault, Value};
use parking_lot::Mutex;
use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

/// How a run is set up.
pub struct RunOptions {
    /// Where `println` writes.
    pub stdout: Output,
    /// Where `eprintln` writes.
    pub stderr: Output,
    /// What `read_line` reads.
    pub stdin: Input,
    /// Program arguments.
    pub argv: Vec<String>,
    /// What relative paths of files and programs start from; absolute.
    pub execution_root: PathBuf,
    /// Environment variables; `None` is those of the process.
    pub environment: Option<BTreeMap<String, String>>,
    /// What may be touched.
    pub permissions: Permissions,
    /// Seed of `random` and friends; `None` draws one.
    pub seed: Option<u64>,
    /// Settings of tasks.
    pub tasks: TaskState,
    /// Clock and bookkeeping of the runtime.
    pub surroundings: Arc<dyn Surroundings>,
}

impl Default for RunOptions {
    fn default() -> RunOptions {
        RunOptions {
            stdout: Output::stdout(),
            stderr: Output::stderr(),
            stdin: Input::stdin(),
            argv: Vec::new(),
            execution_root: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
            environment: None,
            permissions: Permissions::default(),
            seed: None,
            tasks: TaskState::default(),
            surroundings: Arc::new(RealTime::new()),
        }
    }
}

/// The state of a run, shared by all its tasks.
pub struct Run {
    /// Standard output.
    pub stdout: Output,
    /// Standard error.
    pub stderr: Output,
    /// Standard input.
    pub stdin: Input,
    /// What only tasks need.
    pub tasks: TaskState,
    /// HTTP clients, sessions, mocks and streams.
    pub(crate) http: Http,
    /// Server-sent events and WebSockets.
    pub(crate) transports: Transports,
    /// Which hosts may be reached.
    pub(crate) egress: Egress,
    /// Mocks of host calls.
    pub(crate) host_mocks: HostMocks,
    /// Store and checkpoints.
    pub(crate) durable: Durable,
    /// Events by topic.
    pub(crate) events: EventLog,
    /// Named one-shot signals.
    pub(crate) waitpoints: Waitpoints,
    /// Open spans.
    pub(crate) traces: Traces,
    /// Circuit breakers.
    pub(crate) breakers: Breakers,
    /// The default shell, when the script chose one.
    pub(crate) shell: Chosen,
    /// Patterns of secrets.
    pub(crate) detectors: Detectors,
    /// How many prompts were used.
    pub(crate) prompts: Prompts,
    /// Compiled regular expressions.
    pub(crate) patterns: Patterns,
    /// A text in place of standard input.
    pub(crate) mocked_input: MockedInput,
    /// Colours and fixed answers about terminals.
    pub(crate) terminal: Terminal,
    /// What is written to standard error, while that is captured.
    pub(crate) captured_errors: Mutex<Option<Vec<u8>>>,
    argv: Vec<String>,
    execution_root: PathBuf,
    environment: Option<BTreeMap<String, String>>,
    permissions: Permissions,
    random: Mutex<Generator>,
    /// Whether all randomness comes from a seed, so that the run can be repeated.
    seeded: bool,
    surroundings: Arc<dyn Surroundings>,
    /// Threshold of structured log lines, 0 (debug) to 3 (error).
    log_level: AtomicU8,
    /// Monotonic time at the first use of the monotonic clock by the script, or when time was last mocked.
    monotonic_origin: Mutex<Option<i64>>,
    /// Number of the next handle.
    next_id: AtomicU64,
    /// What other libraries keep for this run, one value of a type each.
    extensions: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
}

impl Run {
    /// A fresh run.
    pub fn new(options: RunOptions) -> Run {
        Run {
            stdout: options.stdout,
            stderr: options.stderr,
            stdin: options.stdin,
            tasks: options.tasks,
            http: Http::default(),
            transports: Transports::default(),
            egress: Egress::default(),
            host_mocks: HostMocks::default(),
            durable: Durable::default(),
            events: EventLog::default(),
            waitpoints: Waitpoints::default(),
            traces: Traces::default(),
            breakers: Breakers::default(),
            shell: Chosen::default(),
            detectors: Detectors::default(),
            prompts: Prompts::default(),
            patterns: Patterns::default(),
            mocked_input: MockedInput::default(),
            terminal: Terminal::default(),
            captured_errors: Mutex::new(None),
            argv: options.argv,
            execution_root: options.execution_root,
            environment: options.environment,
            seeded: options.seed.is_some(),
            permissions: options.permissions,
            random: Mutex::new(options.seed.map_or_else(Generator::unpredictable, Generator::from_seed)),
            surroundings: options.surroundings,
            log_level: AtomicU8::new(0),
            monotonic_origin: Mutex::new(None),
            next_id: AtomicU64::new(1),
            extensions: Mutex::new(HashMap::new()),
        }
    }

    /// Writes a line on standard error, behind all output so far.
    pub(crate) fn complain(&self, text: &str) {
        self.stdout.flush();
        self.stderr.write(|out| {
            out.extend_from_slice(text.as_bytes());
            out.push(b'\n');
        });
        self.stderr.flush();
    }

    /// Program arguments.
    pub fn argv(&self) -> &[String] {
        &self.argv
    }

    /// What relative paths start from.
    pub fn execution_root(&self) -> &Path {
        &self.execution_root
    }

    /// A path of the script, made absolute.
    pub fn resolve(&self, path: &str) -> PathBuf {
        self.execution_root.join(path)
    }

    /// An environment variable.
    pub fn variable(&self, name: &str) -> Option<String> {
        match &self.environment {
            Some(fixed) => fixed.get(name).cloned(),
            None => std::env::var_os(name).map(|it| it.to_string_lossy().into_owned()),
        }
    }

    /// What may be touched.
    pub(crate) fn permissions(&self) -> &Permissions {
        &self.permissions
    }

    /// The variables, when they are not those of the process.
    pub fn fixed_environment(&self) -> Option<&BTreeMap<String, String>> {
        self.environment.as_ref()
    }

    /// Wall clock, Unix milliseconds.
    pub fn now_ms(&self) -> i64 {
        self.surroundings.now_ms()
    }

    /// Milliseconds since the first call in this run; never decreases.
    pub fn monotonic_ms(&self) -> i64 {
        let now = self.surroundings.monotonic_ms();
        now - *self.monotonic_origin.lock().get_or_insert(now)
    }

    /// Switches to virtual time.
    pub fn mock_time(&self, wall_ms: i64) {
        self.surroundings.mock_time(wall_ms);
        *self.monotonic_origin.lock() = Some(self.surroundings.monotonic_ms());
    }

    /// Switches back to real time.
    pub fn unmock_time(&self) {
        self.surroundings.unmock_time();
    }

    /// Whether time is virtual.
    pub fn is_time_mocked(&self) -> bool {
        self.surroundings.is_time_virtual()
    }

    /// Moves virtual time; ends when all timers due until then have fired.
    pub async fn advance(&self, time: Duration) {
        self.surroundings.advance(time).await;
    }

    /// What another library keeps for this run: one value of each type, made when first asked for.
    pub fn extension<T: Send + Sync + 'static>(&self, make: impl FnOnce() -> T) -> Arc<T> {
        let mut extensions = self.extensions.lock();
        let kept = extensions.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(make()));
        Arc::clone(kept).downcast().expect("it is kept under its type")
    }

    /// Milliseconds on the clock of the run; never decreases.
    pub fn now_monotonic(&self) -> i64 {
        self.surroundings.monotonic_ms()
    }

    /// Waits on the clock of the run.
    pub async fn sleep(&self, time: Duration) {
        self.surroundings.sleep(time).await;
    }

    /// The result of `work`, unless the limit passes first on the clock of the run; then `work` is dropped.
    pub async fn within<T>(&self, limit: Option<Duration>, work: impl Future<Output = T>) -> Option<T> {
        match limit {
            Some(limit) => first(work, self.sleep(limit)).await,
            None => Some(work.await),
        }
    }

    /// Like [`Run::within`], for work that waits for the outside. Virtual time stands still meanwhile, so real time
    /// counts as well: what stalls outside must not hold up the run for ever.
    pub async fn within_outside<T>(&self, limit: Option<Duration>, work: impl Future<Output = T>) -> Option<T> {
        let Some(limit) = limit.filter(|_| self.is_time_mocked()) else { return self.within(limit, work).await };
        let real = self.external(async move { tokio::time::sleep(limit).await });
        first(work, first(real, self.sleep(limit))).await
    }

    /// Carries out `future`, which waits for something outside the runtime: sockets, processes, files.
    pub fn external<'a, F>(&self, future: F) -> impl Future<Output = F::Output> + Send + use<'a, F>
    where
        F: Future + Send + 'a,
        F::Output: Send,
    {
        let (answer, answered) = tokio::sync::oneshot::channel();
        let work = self.surroundings.external(Box::pin(async move {
            // Nobody waits any more: then nobody misses the result.
            let _ = answer.send(future.await);
        }));
        async move {
            work.await;
            answered.await.expect("the work ends by sending its result")
        }
    }

    /// Runs blocking work where it keeps no task from running.
    pub fn blocking<W>(&self, work: W) -> Pin<Box<dyn Future<Output = Result<Value, Fault>> + Send>>
    where
        W: FnOnce() -> Result<Value, Fault> + Send + 'static,
    {
        Box::pin(self.external(async {
            let joined = tokio::task::spawn_blocking(work).await;
            joined.unwrap_or_else(|failure| Err(Fault::runtime(format!("blocking work failed: {failure}"))))
        }))
    }

    /// Draws from the random source of the run.
    pub fn random<T>(&self, draw: impl FnOnce(&mut Generator) -> T) -> T {
        draw(&mut self.random.lock())
    }

    /// Random bytes fit for secrets; in a run with a seed they come from it instead.
    pub fn entropy<const N: usize>(&self) -> Result<[u8; N], Fault> {
        let mut bytes = [0; N];
        if self.seeded {
            self.random(|it| {
                bytes.chunks_mut(8).for_each(|part| part.copy_from_slice(&it.bits().to_le_bytes()[..part.len()]))
            });
        } else {
            getrandom::fill(&mut bytes).map_err(|error| Fault::runtime(format!("no random numbers: {error}")))?;
        }
        Ok(bytes)
    }

    /// A number no other handle of this run has.
    pub fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn log_level(&self) -> u8 {
        self.log_level.load(Ordering::Relaxed)
    }

    pub(crate) fn set_log_level(&self, level: u8) {
        self.log_level.store(level, Ordering::Relaxed);
    }
}

/// The result of `work`, unless `alarm` ends first.
async fn first<T, U>(work: impl Future<Output = T>, alarm: impl Future<Output = U>) -> Option<T> {
    let (mut work, mut alarm) = (std::pin::pin!(work), std::pin::pin!(alarm));
    std::future::poll_fn(|cx| {
        if let Poll::Ready(outcome) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(outcome));
        }
        alarm.as_mut().poll(cx).map(|_| None)
    })
    .await
}

/// The run a builtin is called in.
pub fn run<'a>(cx: &'a mut Cx<'_>) -> &'a Arc<Run> {
    &cx.host::<TaskHost>().expect("the library runs under a TaskHost").run
}
