//! The seam to the runtime: its clock, and the place where work that waits for the outside is carried out.
//! Implemented by the runtime itself, and by real time for runs without one.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What the library needs of the runtime.
pub trait Surroundings: Send + Sync {
    /// Wall clock, Unix milliseconds.
    fn now_ms(&self) -> i64;

    /// A clock that never decreases, in milliseconds.
    fn monotonic_ms(&self) -> i64;

    /// Resolves after `time`.
    fn sleep(&self, time: Duration) -> Work<'static>;

    /// Switches to virtual time, calling this instant `wall_ms`.
    fn mock_time(&self, wall_ms: i64) {
        let _ = wall_ms;
    }

    /// Switches back to real time.
    fn unmock_time(&self) {}

    /// Whether time is virtual.
    fn is_time_virtual(&self) -> bool {
        false
    }

    /// Moves virtual time.
    fn advance(&self, time: Duration) -> Work<'static> {
        self.sleep(time)
    }

    /// Carries out work that waits for the outside. Until it is done or dropped the run is not deadlocked and virtual
    /// time does not jump; sockets, processes and the blocking pool can be used inside.
    fn external<'a>(&self, work: Work<'a>) -> Work<'a>;
}

/// Work that leaves its result elsewhere.
pub type Work<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Real time without bookkeeping, for runs without a runtime of ours.
#[derive(Debug)]
pub struct RealTime {
    started: Instant,
}

impl RealTime {
    /// Starts the monotonic clock.
    pub fn new() -> RealTime {
        RealTime { started: Instant::now() }
    }
}

impl Default for RealTime {
    fn default() -> RealTime {
        RealTime::new()
    }
}

impl Surroundings for RealTime {
    fn now_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    fn monotonic_ms(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    fn sleep(&self, time: Duration) -> Work<'static> {
        Box::pin(tokio::time::sleep(time))
    }

    fn external<'a>(&self, work: Work<'a>) -> Work<'a> {
        work
    }
}

impl Surroundings for madrigal_runtime::RuntimeHandle {
    fn now_ms(&self) -> i64 {
        self.clock().wall_ms()
    }

    fn monotonic_ms(&self) -> i64 {
        i64::try_from(self.clock().now_ms()).unwrap_or(i64::MAX)
    }

    fn sleep(&self, time: Duration) -> Work<'static> {
        Box::pin(self.clock().sleep(time))
    }

    fn mock_time(&self, wall_ms: i64) {
        self.mock_time(wall_ms);
    }

    fn unmock_time(&self) {
        self.unmock_time();
    }

    fn is_time_virtual(&self) -> bool {
        self.clock().is_virtual()
    }

    fn advance(&self, time: Duration) -> Work<'static> {
        Box::pin(self.clock().advance(time))
    }

    fn external<'a>(&self, work: Work<'a>) -> Work<'a> {
        Box::pin(self.external(work))
    }
}
