//! Structured concurrency over futures: scopes, tasks, cancellation, deadlines, channels, locks, clock.
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
//! # The model
//!
//! **Tasks.** A task is a future that the runtime polls on any of its threads. It has an id, a parent, a node in the
//! cancellation tree and context values ([`ContextKey`]). The future given to [`Runtime::run`] is the root task.
//!
//! **Ownership.** Every task belongs to exactly one scope, and *a scope never ends before all its tasks have ended*.
//! Scopes are: the run, a [`scope`], a fan-out ([`map_concurrent`], [`for_each_concurrent`], [`join_concurrent`]), a
//! [`race`], a [`with_timeout`] or [`deadline`]. There is no orphan and no leak. [`TaskContext::spawn_background`] is
//! the way out: such a task belongs to the run, which cancels it (reason `shutdown`) when the root has ended.
//!
//! **Failure.** An error that leaves a task is its failure: an [`Outcome::Failed`] with a value of your own error type
//! (the [`Failure`] trait; [`TaskError`] for those without one). Within a scope the first failure in time, of the body
//! or of any task, cancels the rest and is what the scope gives, once everything has ended; later ones are attached to
//! it. No failure is ever lost, and none turns into a cancellation. A panic in a task is that task's failure.
//!
//! **Cancellation** is a request that reaches a task and everything beneath it at once, and carries a reason
//! ([`CancelReason`]: kind, message, who asked). A cancelled task's future is *dropped* at its next poll, which is how
//! Rust futures clean up; one spawned with [`TaskSpec::with_grace`] is polled on, has to look at
//! [`TaskContext::is_cancelled`] itself, and is dropped when its grace period is over. A task that was not started never
//! runs; one that ended is unaffected; the first reason stays. A task ended by its cancellation is [`Outcome::Cancelled`]:
//! that fails no scope, and only who awaits it meets it.
//!
//! **Order.** Tasks start in the order of their creation, and not before their creator next waits or ends: what directly
//! follows a spawn, say a cancel, comes before the new task's first poll. Waiters on any one primitive are served first
//! come, first served, and a running task cannot overtake a parked one; values sent by one task arrive in order.
//!
//! **Time and chance.** Executor, clock and randomness hang off one [`Runtime`] value; nothing belongs to the process.
//! So a program runs on all cores in real time ([`Runtime::new`]), or on one thread in virtual time with every choice
//! drawn from a seed ([`Runtime::simulated`]): the same seed gives the same run. When nothing can run and no timer is
//! armed, and nothing outside is awaited ([`RuntimeHandle::external`]), the run ends with a [`DeadlockReport`].
//!
//! # On cancel, on drop, on panic
//!
//! Dropping any future of this crate at any point is safe: it loses no message, no permit and no wake-up. Scopes are
//! owned by the runtime, not by the future that opened them, since a dropped future cannot wait: their tasks are then
//! cancelled (reason `parent_cancelled`), and the task that opened them ends after they did. In detail (locks and the
//! like: [`sync`], sessions: [`inbox`]):
//!
//! | operation | when the task that waits is cancelled, or the future dropped | when a task of it panics |
//! |---|---|---|
//! | [`Runtime::run`], [`Runtime::block_on_root`] | blocks its thread; what it runs is cancelled by [`TaskContext::run_node`] | the root's failure is the result |
//! | [`scope`] | its tasks are cancelled, and have ended before the task does | that failure cancels the rest and is the result |
//! | [`ScopeHandle::spawn`] | does not wait; the task lives on in its scope | the failure of that task |
//! | [`Scope::close`] | the scope stays open; dropping the [`Scope`] cancels its tasks | as [`scope`] |
//! | [`TaskHandle::join`], [`TaskHandle::ended`], `.await` on a handle | no effect on the task | gives the failure |
//! | [`TaskHandle::cancel`], [`TaskHandle::abort`] | do not wait | – |
//! | [`TaskHandle::cancel_graceful`] | the request stands; nobody drops the task | gives the failure |
//! | dropping a [`TaskHandle`] | nothing: the task goes on | its scope sees the failure |
//! | [`map_concurrent`], [`for_each_concurrent`], [`join_concurrent`] | no further item is taken; children are cancelled, and have ended before the task does | cancels the rest and is the result |
//! | [`map_concurrent_settled`], [`join_concurrent_settled`] | as above | is that child's outcome |
//! | [`FanOut`] | dropping it cancels its children | by [`FanMode`] |
//! | [`race`], [`with_timeout`], [`deadline`] | contenders are cancelled, and have ended before the task does | is that contender's outcome |
//! | [`select_first`], [`as_completed`] | no effect on the tasks; nothing was handed out | is that task's outcome |
//! | [`merge`] | nothing was taken | – |
//! | [`Channel::send`], [`Mailbox::send`] | nothing was sent, unless a receiver already has it ([`Send::withdraw`] tells) | – |
//! | [`Channel::receive`], [`Mailbox::receive`], [`select`](fn@select) | nothing was taken: a value on its way goes to the next receiver, or back in front | – |
//! | [`Clock::sleep`], [`Clock::advance`] | the timer is disarmed; time stays where it got to | – |
//! | [`RateLimiter::acquire`] | no start was used up; those behind move up | – |
//! | [`RuntimeHandle::external`] | the future inside is dropped | resumes in the task that awaits it |
//! | [`RuntimeHandle::blocking`] | work that has begun goes on; its result is dropped | resumes in the task that awaits it |
//! | [`SharedCell`], [`SharedMap`], [`ContextKey`] | never wait | – |
//! | [`yield_now`] | no effect | – |
//! | dropping the last [`Runtime`] | all tasks are cancelled (reason `shutdown`), then dropped | – |
//!
//! # Conventions
//!
//! `poll_` functions follow `Future::poll`, `try_` functions never wait. Programs to start from are in `examples/`: a
//! bounded crawler, a pipeline, graceful shutdown.

#![deny(rustdoc::broken_intra_doc_links)]

mod cancel;
mod channel;
mod clock;
mod context;
mod deadline;
mod deadlock;
mod event;
mod executor;
mod facade;
mod failure;
mod fan_out;
mod frame;
mod handle;
mod handover;
mod identity;
pub mod inbox;
mod mailbox;
pub mod process;
mod racing;
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
pub use context::ContextKey;
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
pub use racing::{
    AsCompleted, DeadlineExceeded, Exhaustive, Merge, as_completed, deadline, join_concurrent, join_concurrent_settled,
    merge, race, select_first, with_timeout,
};
pub use rate_limiter::{RateAcquire, RateLimiter};
pub use runtime::{Blocking, ExecutorKind, External, ExternalGuard, Runtime, RuntimeBuilder, RuntimeHandle, TaskInfo};
pub use scope::{Close, Policy, Scope, ScopeClosed, ScopeHandle, scope};
pub use select::{Select, Selected, select, try_select};
pub use shared::{SharedCell, SharedMap, SharedMetrics, Snapshot};
pub use task::{OnCancel, Outcome, TaskContext, TaskRef, TaskSpec, TaskStatus, YieldNow, yield_now};
pub use waiting::{Describe, WaitKind, Waiting};
