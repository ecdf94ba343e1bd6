//! What the integration tests share.
#![allow(dead_code, reason = "every test binary uses a part of it")]

use std::sync::Arc;

use madrigal_runtime::{CancelKind, CancelReason, Runtime};
use std::sync::Mutex;

/// Runs `check` on tokio with two workers and on the simulator with a few seeds.
pub fn each_runtime(check: impl Fn(&Runtime)) {
    check(&Runtime::builder().workers(2).build());
    for seed in 0..4 {
        check(&Runtime::simulated(seed));
    }
}

pub fn reason(kind: CancelKind) -> Arc<CancelReason> {
    CancelReason::new(kind, "")
}

/// Lines written by tasks, in order.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

pub fn log() -> Log {
    Log::default()
}

impl Log {
    pub fn push(&self, line: String) {
        self.0.lock().expect("no panic while logging").push(line);
    }

    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("no panic while logging"))
    }
}
