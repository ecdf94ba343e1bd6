//! One program run by the engine, with what it wrote, and a guard against programs that never end.

use madrigal::{Engine, Executor, Input, Options, Output, Permissions, Source};
use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// What a run left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    pub stdout: String,
    pub stderr: String,
    pub status: i32,
}

/// On what a program runs; time is virtual in all of them, so sleeping costs nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// One thread, every choice drawn from the seed.
    Simulated(u64),
    /// This many threads.
    Workers(usize),
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Setting::Simulated(seed) => write!(f, "simulated with seed {seed}"),
            Setting::Workers(1) => write!(f, "on 1 worker"),
            Setting::Workers(workers) => write!(f, "on {workers} workers"),
        }
    }
}

/// How long a program may take before it counts as hanging. Nothing depends on it but the failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// How the message about a hanging program begins.
pub const HANGS: &str = "hangs";

/// Runs a program in an empty directory of its own; `Err` says that it hangs.
pub fn run(source: Source, setting: Setting) -> Result<Ran, String> {
    let place = Place::new();
    let mut environment: BTreeMap<String, String> = env::vars().collect();
    environment.insert("HARN_STATE_DIR".to_owned(), place.0.join("state").display().to_string());
    let options = Options {
        execution_root: Some(place.0.clone()),
        environment: Some(environment),
        permissions: Permissions::default(),
        ..Options::default()
    };
    let options = match setting {
        Setting::Simulated(seed) => Options { executor: Executor::Simulated { seed }, ..options },
        Setting::Workers(workers) => Options { workers: Some(workers), virtual_time: true, ..options },
    };
    run_with(source, options)
}

/// An empty directory that goes away again.
struct Place(PathBuf);

impl Place {
    fn new() -> Place {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("madrigal-program-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("the temporary directory is writable");
        Place(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A program that hangs may still write there.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Like [`run`], with options of the caller's choice; the streams are captured.
pub fn run_with(source: Source, options: Options) -> Result<Ran, String> {
    let (sender, receiver) = mpsc::channel();
    let work = move || {
        let (stdout, out) = Output::captured();
        let (stderr, err) = Output::captured();
        let finished = Engine::new().run(&source, Options { stdout, stderr, stdin: Input::empty(), ..options });
        // Nobody listens when the limit has passed.
        let _ = sender.send(Ran { stdout: out.text(), stderr: err.text(), status: finished.status });
    };
    let thread = thread::Builder::new().name("program".to_owned()).spawn(work).expect("a thread can be started");
    match receiver.recv_timeout(PATIENCE) {
        Ok(ran) => Ok(ran),
        Err(mpsc::RecvTimeoutError::Timeout) => Err(format!("{HANGS}: still running after {PATIENCE:?}")),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(format!("the engine panicked: {}", panic_of(thread))),
    }
}

fn panic_of(thread: thread::JoinHandle<()>) -> String {
    match thread.join() {
        Ok(()) => "no message".to_owned(),
        Err(payload) => {
            let text = payload.downcast_ref::<String>().cloned();
            text.or_else(|| payload.downcast_ref::<&str>().map(|it| (*it).to_owned())).unwrap_or_default()
        }
    }
}
