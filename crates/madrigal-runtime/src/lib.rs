//! Structured concurrency over futures: scopes, tasks, cancellation, deadlines, channels, locks, clock.
//!
//! Every task belongs to a scope and no scope ends before its tasks have; a failure is never lost; a cancel reaches a
//! whole subtree at once and carries its reason. Executor, clock and randomness hang off one [`Runtime`] value, so a
//! program can run on all cores in real time, or on one thread in virtual time with every choice drawn from a seed.
//!
//! ```
//! use madrigal_runtime::{Channel, Runtime, TaskError, scope};
//!
//! let total = Runtime::new().run(async || {
//!     let numbers = Channel::new(4);
//!     scope(async |s| {
//!         let sender = numbers.clone();
//!         let produce = async move {
//!             for n in 1..=10 {
//!                 sender.send(n).await.map_err(|_| TaskError::new("closed"))?;
//!             }
//!             sender.close();
//!             Ok(())
//!         };
//!         s.spawn_future(produce).expect("the scope is open");
//!         let mut total = 0;
//!         while let Some(n) = numbers.receive().await {
//!             total += n;
//!         }
//!         Ok::<_, TaskError>(total)
//!     })
//!     .await
//! });
//! assert_eq!(total.unwrap(), 55);
//! ```
//!
//! In this crate `poll_` functions follow `Future::poll`, `try_` functions never wait, and dropping any future of it
//! at any point loses no message, no permit and no wake-up.

mod cancel;
mod channel;
mod clock;
mod deadline;
mod deadlock;
mod event;
mod executor;
mod failure;
mod fan_out;
mod frame;
mod handle;
mod handover;
mod identity;
pub mod inbox;
mod mailbox;
pub mod process;
mod rate_limiter;
mod runtime;
mod scope;
mod select;
mod shared;
pub mod sync;
mod task;
mod wait_list;
mod waiting;

pub use cancel::{ByTask, CancelKind, CancelNode, CancelReason, CancelStack, Drained};
pub use channel::{Channel, Closed, Receive, Send, TryReceiveError, TrySendError};
pub use clock::{Clock, Sleep, Timer};
pub use deadline::Deadline;
pub use deadlock::{DeadlockReport, DeadlockedTask};
pub use event::{Event, EventSink};
pub use failure::{Failure, TaskError};
pub use fan_out::{
    FanMode, FanOptions, FanOut, Items, Lost, Received, Source, for_each_concurrent, map_concurrent,
    map_concurrent_settled,
};
pub use frame::note_wait;
pub use handle::{Ended, Join, TaskHandle};
pub use handover::{Handover, Next, Producing, Wanted};
pub use identity::TaskKind;
pub use mailbox::{Mailbox, MailboxMetrics};
pub use rate_limiter::{RateAcquire, RateLimiter};
pub use runtime::{Blocking, ExecutorKind, External, ExternalGuard, Runtime, RuntimeBuilder, RuntimeHandle, TaskInfo};
pub use scope::{Close, Policy, Scope, ScopeClosed, ScopeHandle, scope};
pub use select::{Select, Selected, select, try_select};
pub use shared::{SharedCell, SharedMap, SharedMetrics, Snapshot};
pub use task::{OnCancel, Outcome, TaskContext, TaskRef, TaskSpec, TaskStatus, YieldNow, yield_now};
pub use waiting::{Describe, WaitKind, Waiting};
