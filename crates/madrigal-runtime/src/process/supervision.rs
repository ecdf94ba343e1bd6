//! The rules of supervision: who is restarted, when, and how often. Plain values; nothing here waits.

use std::collections::VecDeque;
use std::time::Duration;

/// Whom the failure of one child concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Strategy {
    /// That child.
    #[default]
    OneForOne,
    /// All children.
    OneForAll,
    /// That child and those started after it.
    RestForOne,
    /// The supervisor, which fails with it.
    EscalateToParent,
}

impl Strategy {
    /// The strategy spelt like that.
    pub fn from_name(name: &str) -> Option<Strategy> {
        Some(match name {
            "one_for_one" => Strategy::OneForOne,
            "one_for_all" => Strategy::OneForAll,
            "rest_for_one" => Strategy::RestForOne,
            "escalate_to_parent" => Strategy::EscalateToParent,
            _ => return None,
        })
    }

    /// As it is spelt.
    pub fn as_str(self) -> &'static str {
        match self {
            Strategy::OneForOne => "one_for_one",
            Strategy::OneForAll => "one_for_all",
            Strategy::RestForOne => "rest_for_one",
            Strategy::EscalateToParent => "escalate_to_parent",
        }
    }
}

/// After which ends a child is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Restart {
    /// Every end (`permanent`, `always`).
    #[default]
    Always,
    /// Failures (`transient`, `on_failure`).
    OnFailure,
    /// None (`temporary`, `never`).
    Never,
}

impl Restart {
    /// Whether an end calls for a restart.
    pub fn applies(self, failed: bool) -> bool {
        match self {
            Restart::Always => true,
            Restart::OnFailure => failed,
            Restart::Never => false,
        }
    }
}

/// How often one child may be restarted.
#[derive(Clone, Copy, Debug)]
pub struct Cap {
    /// Restarts allowed in the window.
    pub max_restarts: u32,
    /// The window; zero is the whole life of the supervisor.
    pub window: Duration,
    /// How long a child over its cap rests before it is probed; without it, it is given up.
    pub circuit_open: Option<Duration>,
}

/// How often all children together may be restarted before the supervisor gives up.
#[derive(Clone, Copy, Debug)]
pub struct Intensity {
    /// Restarts allowed in the window.
    pub max_restarts: u32,
    /// The window.
    pub within: Duration,
}

/// How long to wait before a restart.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// Before the first.
    pub first: Duration,
    /// What each further wait is multiplied by.
    pub factor: f64,
    /// The longest wait.
    pub max: Duration,
    /// A random part of at most this much is added.
    pub jitter: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff { first: Duration::ZERO, factor: 2.0, max: Duration::from_secs(30), jitter: Duration::ZERO }
    }
}

impl Backoff {
    /// The wait before the next restart when there were `restarts` before; `random` decides the jitter.
    pub fn delay(&self, restarts: u64, random: u64) -> Duration {
        let exponent = i32::try_from(restarts).unwrap_or(i32::MAX);
        let millis = self.first.as_secs_f64() * 1e3 * self.factor.max(0.0).powi(exponent);
        let max = self.max.as_secs_f64() * 1e3;
        // A product that is no number (zero times infinity) is no wait.
        let wait = if millis.is_nan() { 0.0 } else { millis.min(max) };
        let jitter = u64::try_from(self.jitter.as_millis()).unwrap_or(u64::MAX);
        let extra = if jitter == 0 { 0 } else { random % jitter.saturating_add(1) };
        Duration::from_millis((wait as u64).saturating_add(extra))
    }
}

/// Instants of the recent past, to count against a limit.
#[derive(Clone, Debug, Default)]
pub(super) struct History(VecDeque<u64>);

impl History {
    /// Notes `now` (nanoseconds) and says whether there were more than `max` within `window` (zero: ever).
    pub(super) fn exceeds(&mut self, now: u64, max: u32, window: Duration) -> bool {
        self.0.push_back(now);
        let length = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
        if length > 0 {
            while self.0.front().is_some_and(|at| now.saturating_sub(*at) > length) {
                self.0.pop_front();
            }
        }
        // More than the limit and one need not be remembered.
        let most = max as usize + 1;
        while self.0.len() > most {
            self.0.pop_front();
        }
        self.0.len() == most
    }
}

/// Where a child is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildState {
    /// Not started yet.
    Pending,
    /// Running.
    Running,
    /// Asked to stop.
    Draining,
    /// Waiting to be started again.
    Waiting,
    /// Over its cap, resting.
    CircuitOpen,
    /// Returned, or ended by a stop.
    Stopped,
    /// Failed for good.
    Failed,
    /// Over its cap, given up.
    Suppressed,
}

impl ChildState {
    /// As scripts spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            ChildState::Pending => "pending",
            ChildState::Running => "running",
            ChildState::Draining => "draining",
            ChildState::Waiting => "waiting",
            ChildState::CircuitOpen => "circuit_open",
            ChildState::Stopped => "stopped",
            ChildState::Failed => "failed",
            ChildState::Suppressed => "suppressed",
        }
    }

    /// Whether nothing more will happen to it by itself.
    pub fn is_final(self) -> bool {
        matches!(self, ChildState::Stopped | ChildState::Failed | ChildState::Suppressed)
    }
}

/// What a child waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitReason {
    /// The time before its restart.
    RestartBackoff,
    /// The restart of a sibling that it shares.
    PropagationRestart,
    /// The time before a probe.
    CircuitOpen,
    /// Nothing: it is over its cap.
    RestartCapExceeded,
    /// Its end.
    Shutdown,
}

impl WaitReason {
    /// As scripts spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            WaitReason::RestartBackoff => "restart_backoff",
            WaitReason::PropagationRestart => "propagation_restart",
            WaitReason::CircuitOpen => "circuit_open",
            WaitReason::RestartCapExceeded => "restart_cap_exceeded",
            WaitReason::Shutdown => "shutdown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_their_limit() {
        let backoff =
            Backoff { first: Duration::from_millis(10), max: Duration::from_millis(50), ..Backoff::default() };
        let waits: Vec<u128> = (0..5).map(|it| backoff.delay(it, 7).as_millis()).collect();
        assert_eq!(waits, [10, 20, 40, 50, 50]);
        assert_eq!(backoff.delay(u64::MAX, 7).as_millis(), 50);
        let jitter = Backoff { jitter: Duration::from_millis(4), ..backoff };
        assert_eq!(jitter.delay(0, 9).as_millis(), 14, "9 of 0..=4 is 4");
    }

    #[test]
    fn only_the_window_counts() {
        let mut history = History::default();
        let window = Duration::from_nanos(10);
        assert_eq!([0, 5, 9].map(|at| history.exceeds(at, 2, window)), [false, false, true]);
        assert!(!history.exceeds(20, 2, window), "only 20 is left");
        let mut ever = History::default();
        assert_eq!([1, 1_000_000].map(|at| ever.exceeds(at, 1, Duration::ZERO)), [false, true]);
        assert!(History::default().exceeds(1, 0, window), "no restart is allowed");
    }
}
