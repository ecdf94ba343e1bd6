//! Cancels concurrent programs at each point where a cancellation can be delivered, and asserts that nothing is left of
//! them: no task, no timer, no permit, no waiter. The points are counted in a first run under the simulator; the same
//! seed then reaches the same ones.
//!
//! By default every few programs are cancelled at some of their points; with `CANCEL_EVERYWHERE=1` all at all of them.

use madrigal::{Engine, Executor, Options, Output, Probe, Source};
use std::fs;
use std::path::{Path, PathBuf};

const SEED: u64 = 1;
/// Points of one program that are tried by default, spread over all.
const POINTS_MAX: u64 = 12;

fn programs() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/concurrency");
    let entries = fs::read_dir(folder).expect("the golden programs are there").map(|it| it.expect("it can be read"));
    let mut found: Vec<_> =
        entries.map(|it| it.path()).filter(|it| it.extension().is_some_and(|it| it == "harn")).collect();
    found.sort();
    found
}

/// Runs a program that is cancelled at a point; how many it passed, and what it left behind or said of a bug.
fn run(engine: &Engine, program: &Path, cancel_at: u64) -> (u64, Vec<String>) {
    let (probe, (stdout, _), (stderr, said)) = (Probe::new(cancel_at), Output::captured(), Output::captured());
    let executor = Executor::Simulated { seed: SEED };
    let options = Options { executor, stdout, stderr, probe: Some(probe.clone()), ..Options::default() };
    engine.run(&Source::file(program), options);
    let mut left = probe.left.lock().clone();
    if said.text().contains("internal error") {
        left.push(said.text());
    }
    (probe.passed(), left)
}

#[test]
fn nothing_is_left_wherever_a_program_is_cancelled() {
    let all = std::env::var_os("CANCEL_EVERYWHERE").is_some();
    let engine = Engine::new();
    let mut failures = Vec::new();
    for program in programs().iter().step_by(if all { 1 } else { 6 }) {
        let (points, _) = run(&engine, program, 0);
        let step = if all { 1 } else { usize::try_from(points / POINTS_MAX).expect("few points").max(1) };
        for point in (1..=points).step_by(step) {
            let (_, left) = run(&engine, program, point);
            if !left.is_empty() {
                failures.push(format!("{} cancelled at point {point}: {}", program.display(), left.join(", ")));
            }
        }
    }
    assert!(failures.is_empty(), "left behind:\n{}", failures.join("\n"));
}
