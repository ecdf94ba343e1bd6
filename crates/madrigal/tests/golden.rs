//! Runs every program below `tests/golden/` and compares what it writes with the files beside it.
//!
//! | file | holds |
//! |---|---|
//! | `claim.harn` | the program; files that begin with `_` and those in `modules/` are only imported |
//! | `claim.expected` | standard output, exactly |
//! | `claim.error` | first line of standard error; without a final newline only how it begins |
//! | `claim.status` | exit status; without it 1 where there is a `.error`, else 0 |
//!
//! `tests/pending.txt` names the programs of features that do not exist yet, one a line, with the reason behind a colon.
//! They must fail: one that succeeds has to leave the list.
//!
//! Each runs under several seeds of the simulator and on several numbers of threads, always in virtual time.
//! `GOLDEN=text` runs only the programs whose path contains the text; `GOLDEN_ROUNDS=n` sets how often each program of
//! `concurrency/` is repeated on real threads.

#[path = "support/diff.rs"]
mod diff;
#[path = "support/run.rs"]
mod run;

use diff::diff;
use madrigal::Source;
use run::{Ran, Setting};
use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

const SETTINGS: [Setting; 6] = [
    Setting::Simulated(1),
    Setting::Simulated(2),
    Setting::Simulated(3),
    Setting::Workers(1),
    Setting::Workers(2),
    Setting::Workers(4),
];

/// How often each concurrent program is repeated on each number of workers, unless `GOLDEN_ROUNDS` says otherwise.
const ROUNDS: usize = 20;

#[test]
fn every_program_does_what_it_claims() {
    let failures = check_all(&programs(""), |program| {
        let mut failures = Vec::new();
        for setting in SETTINGS {
            if let Err(what) = program.check(setting) {
                let hangs = what.trim_start().starts_with(run::HANGS);
                failures.push((setting.to_string(), what));
                // It still runs, and would run beside itself.
                if hangs {
                    break;
                }
            }
        }
        merged(failures)
    });
    report(&failures);
}

#[test]
fn concurrent_programs_do_so_every_time() {
    let rounds = env::var("GOLDEN_ROUNDS").map_or(ROUNDS, |it| it.parse().expect("GOLDEN_ROUNDS is a number"));
    let failures = check_all(&programs("concurrency/"), |program| {
        for round in 1..=rounds {
            for setting in [Setting::Workers(1), Setting::Workers(2), Setting::Workers(4)] {
                if let Err(what) = program.check(setting) {
                    return Some(format!("  {setting}, round {round}:\n{what}"));
                }
            }
        }
        None
    });
    report(&failures);
}

#[test]
fn pending_programs_do_not_work_yet() {
    for (name, reason) in pending() {
        assert!(root().join(&name).with_extension("harn").exists(), "{name} is pending but does not exist");
        assert!(!reason.is_empty(), "{name} is pending without a reason");
    }
    let working: Vec<String> = all_programs("")
        .into_iter()
        .filter(|program| is_pending(&program.name) && program.check(Setting::Simulated(1)).is_ok())
        .map(|program| program.name)
        .collect();
    assert!(working.is_empty(), "no longer pending, take them off the list: {}", working.join(", "));
}

#[test]
fn every_expectation_belongs_to_a_program() {
    let mut stray = Vec::new();
    for path in files_below(&root()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_expectation = path.extension().is_some_and(|it| it == "expected" || it == "error" || it == "status");
        if is_expectation && (name.starts_with('_') || !path.with_extension("harn").exists()) {
            stray.push(path.display().to_string());
        }
    }
    assert!(stray.is_empty(), "expectations without a program:\n{}", stray.join("\n"));
}

/// A golden program with what it should do.
struct Program {
    /// Path below the root, without extension.
    name: String,
    path: PathBuf,
    stdout: String,
    stderr: Option<String>,
    status: i32,
}

impl Program {
    fn read(path: &Path) -> Program {
        let beside = |extension: &str| fs::read_to_string(path.with_extension(extension)).ok();
        let stderr = beside("error");
        let status = match beside("status") {
            Some(text) => text.trim().parse().expect("a .status file holds a number"),
            None => i32::from(stderr.is_some()),
        };
        let name = path.with_extension("").strip_prefix(root()).expect("it was found there").display().to_string();
        let stdout = beside("expected").unwrap_or_else(|| panic!("{name} has no .expected file"));
        Program { name, path: path.to_owned(), stdout, stderr, status }
    }

    fn check(&self, setting: Setting) -> Result<(), String> {
        let ran = run::run(Source::file(&self.path), setting).map_err(|it| {
            // At once and uncaught: a program that hangs may also eat the memory of the whole test.
            let _ = writeln!(std::io::stderr(), "{} {setting}: {it}", self.name);
            format!("    {it}\n")
        })?;
        let mut what = diff(&self.stdout, &ran.stdout);
        if ran.status != self.status {
            what += &format!("    exit status {} instead of {}\n", ran.status, self.status);
        }
        what += &self.check_stderr(&ran);
        if what.is_empty() {
            return Ok(());
        }
        for line in ran.stderr.lines().take(8) {
            what += &format!("    stderr: {line}\n");
        }
        Err(what)
    }

    fn check_stderr(&self, ran: &Ran) -> String {
        let first = ran.stderr.lines().next().unwrap_or_default();
        match &self.stderr {
            Some(wanted) if wanted.ends_with('\n') && first != wanted.trim_end_matches('\n') => {
                format!("    the error report should begin with the line: {wanted}")
            }
            Some(wanted) if !first.starts_with(wanted.trim_end_matches('\n')) => {
                format!("    the error report should begin with: {wanted}\n")
            }
            None if ran.stderr.lines().any(|it| it.starts_with("error") || it.starts_with("deadlock")) => {
                "    an error was reported\n".to_owned()
            }
            _ => String::new(),
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Names and reasons of the list of pending programs.
fn pending() -> Vec<(String, String)> {
    include_str!("pending.txt")
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, reason)| (name.to_owned(), reason.trim().to_owned()))
        .collect()
}

fn is_pending(name: &str) -> bool {
    pending().iter().any(|it| it.0 == name)
}

/// The programs that have to work.
fn programs(area: &str) -> Vec<Program> {
    let mut programs = all_programs(area);
    programs.retain(|it| !is_pending(&it.name));
    programs
}

/// The programs whose path begins with `area` and contains what `GOLDEN` asks for.
fn all_programs(area: &str) -> Vec<Program> {
    let wanted = env::var("GOLDEN").unwrap_or_default();
    let mut paths = files_below(&root());
    paths.retain(|path| {
        let below = path.strip_prefix(root()).expect("it was found there");
        let imported = below.components().any(|it| it.as_os_str() == "modules")
            || path.file_name().is_some_and(|it| it.to_string_lossy().starts_with('_'));
        let name = below.display().to_string();
        path.extension().is_some_and(|it| it == "harn") && !imported && name.starts_with(area) && name.contains(&wanted)
    });
    assert!(!paths.is_empty() || !wanted.is_empty(), "there are no golden programs in {}", root().display());
    paths.iter().map(|it| Program::read(it)).collect()
}

/// All files below a folder, in order.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut entries: Vec<_> = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", folder.display()))
        .map(|it| it.expect("a folder entry can be read").path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// Checks all programs on all cores; the failures come in the order of the programs.
fn check_all(programs: &[Program], check: impl Fn(&Program) -> Option<String> + Sync) -> Vec<(String, String)> {
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(program) = programs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Some(what) = check(program) {
                        let mut failures = failures.lock().expect("no check panics while it holds the lock");
                        failures.push((program.name.clone(), what));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().expect("no check panicked");
    failures.sort();
    failures
}

/// One text for the failures of a program under several settings; equal ones are shown once.
fn merged(failures: Vec<(String, String)>) -> Option<String> {
    let mut by_text: Vec<(String, Vec<String>)> = Vec::new();
    for (setting, what) in failures {
        match by_text.iter_mut().find(|it| it.0 == what) {
            Some((_, settings)) => settings.push(setting),
            None => by_text.push((what, vec![setting])),
        }
    }
    let texts = by_text.into_iter().map(|(what, settings)| match settings.len() {
        all if all == SETTINGS.len() => format!("  always:\n{what}"),
        _ => format!("  {}:\n{what}", settings.join(", ")),
    });
    Some(texts.collect::<String>()).filter(|it| !it.is_empty())
}

fn report(failures: &[(String, String)]) {
    let texts: String = failures.iter().map(|(name, what)| format!("\n{name}\n{what}")).collect();
    assert!(failures.is_empty(), "{} programs failed:\n{texts}", failures.len());
}
