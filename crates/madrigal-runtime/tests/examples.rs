//! Runs the examples as they are and compares what they print.

#![allow(dead_code, missing_docs, clippy::unwrap_used, reason = "programs of their own, run here")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// The example as cargo built it, beside this test.
fn built(name: &str) -> PathBuf {
    let deps = std::env::current_exe().unwrap();
    let target = deps.ancestors().nth(2).unwrap();
    Path::new(target).join("examples").join(name)
}

fn printed(name: &str) -> String {
    let ran = Command::new(built(name)).output().unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(ran.status.success(), "{name}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

#[test]
fn the_pipeline_sums_up_or_fails() {
    assert_eq!(printed("pipeline"), "sum: 5050\nfailed: no number: two\n");
}

#[test]
fn the_shutdown_waits_for_one_and_drops_the_other() {
    let expected = "shutting down\n\
                    first: did 2 s of work, 2 s in\n\
                    first: stops (shutdown: maintenance)\n\
                    a worker ended well\n\
                    a worker was dropped\n\
                    all over after 6 s\n";
    assert_eq!(printed("shutdown"), expected);
}

#[test]
fn the_crawler_fetches_every_page_a_few_at_a_time() {
    assert_eq!(printed("crawler"), "40 pages, never more than 4 at a time: true\n");
}
