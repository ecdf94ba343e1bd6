//! Tasks on tokio's multi-threaded scheduler.
//! Noticing that nothing runs costs nothing while something does: tokio calls a hook when a worker has found no work
//! anywhere and parks. If all workers are between that hook and the one after, over the whole time in which the
//! injection queue, the timers and the outside operations are seen to be empty, then no task could run.

use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle, Runtime};

use super::Stall;
use crate::deadlock::{DeadlockReport, find_deadlock};
use crate::runtime::RuntimeShared;
use crate::task::AnyTask;

pub(crate) struct Tokio {
    handle: Handle,
    /// Taken when the runtime ends.
    runtime: Mutex<Option<Runtime>>,
    activity: Arc<Activity>,
}

/// What the workers' hooks leave behind.
struct Activity {
    workers: u64,
    /// Low half: parked workers. High half: how often that number changed.
    parked: AtomicU64,
    /// Whether somebody wants to hear of the next time all are parked.
    armed: AtomicBool,
    stall: Arc<Stall>,
}

const CHANGE: u64 = 1 << 32;

/// How long all workers must have been idle in real time before a look is worth it; saves looks, decides nothing.
const SETTLE: Duration = Duration::from_millis(2);

/// How often to look after virtual time while tasks are busy.
const BUSY_LOOK: Duration = Duration::from_millis(5);

impl Activity {
    fn park(&self) {
        let before = self.parked.fetch_add(CHANGE + 1, Ordering::SeqCst);
        if (before + 1) % CHANGE == self.workers && self.armed.swap(false, Ordering::SeqCst) {
            self.stall.poke();
        }
    }

    fn unpark(&self) {
        self.parked.fetch_add(CHANGE - 1, Ordering::SeqCst);
    }
}

enum Look {
    Busy,
    TimeMoved,
    Deadlock(DeadlockReport),
}

impl Tokio {
    pub(super) fn new(workers: usize) -> Tokio {
        let activity = Arc::new(Activity {
            workers: workers as u64,
            parked: AtomicU64::new(0),
            armed: AtomicBool::new(false),
            stall: Arc::default(),
        });
        let (parking, unparking) = (activity.clone(), activity.clone());
        let runtime = Builder::new_multi_thread()
            .worker_threads(workers)
            .thread_name("madrigal-worker")
            .enable_all()
            .on_thread_park(move || parking.park())
            .on_thread_unpark(move || unparking.unpark())
            .build()
            .expect("the system can start the worker threads");
        Tokio { handle: runtime.handle().clone(), runtime: Mutex::new(Some(runtime)), activity }
    }

    pub(super) fn spawn_all(&self, tasks: &mut Vec<Arc<AnyTask>>) {
        poll_inline(tasks, |task| self.spawn(task));
        if tasks.iter().all(|task| task.header.inline_start) {
            let share = tasks.len() / (2 * self.activity.workers as usize);
            let batches: Vec<_> = tasks.chunks(share.clamp(1, BATCH_MAX)).map(<[_]>::to_vec).collect();
            tasks.clear();
            in_order(batches, |tasks| drop(self.handle.spawn(Batch(tasks))));
        } else {
            in_order(tasks.drain(..), |task| self.spawn(task));
        }
    }

    fn spawn(&self, task: Arc<AnyTask>) {
        drop(self.handle.spawn(Job(Some(task))));
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(super) fn stall(&self) -> Arc<Stall> {
        self.activity.stall.clone()
    }

    pub(super) fn run_until_stalled(
        &self,
        runtime: &RuntimeShared,
        stop: &dyn Fn() -> bool,
    ) -> ControlFlow<DeadlockReport> {
        let stall = &self.activity.stall;
        loop {
            let seen = stall.pokes();
            if stop() {
                return ControlFlow::Continue(());
            }
            self.activity.armed.store(true, Ordering::SeqCst);
            match self.look(runtime) {
                Look::Busy if runtime.clock.is_virtual() => {
                    // Nobody pokes while tasks run without ever waiting.
                    stall.wait_for(seen, BUSY_LOOK);
                    runtime.move_time_past_busy_tasks();
                }
                Look::Busy => stall.wait(seen),
                Look::TimeMoved => {
                    runtime.time_moved();
                    continue;
                }
                Look::Deadlock(report) => return ControlFlow::Break(report),
            }
            if !stop() && !runtime.clock.is_virtual() {
                stall.wait_for(stall.pokes(), SETTLE);
            }
        }
    }

    fn look(&self, runtime: &RuntimeShared) -> Look {
        let before = self.activity.parked.load(Ordering::SeqCst);
        if before % CHANGE != self.activity.workers {
            return Look::Busy;
        }
        // The queue is read after the timers and the outside operations: what they wake goes through it.
        let outside = runtime.awaits_outside();
        let timers_idle = runtime.clock.is_idle();
        if self.handle.metrics().global_queue_depth() > 0 {
            return Look::Busy;
        }
        let unchanged = || self.activity.parked.load(Ordering::SeqCst) == before;
        if !timers_idle {
            let moved = unchanged() && runtime.clock.is_virtual() && runtime.clock.jump(outside);
            return if moved { Look::TimeMoved } else { Look::Busy };
        }
        if outside {
            return Look::Busy;
        }
        match find_deadlock(&runtime.root) {
            Some(report) if unchanged() => Look::Deadlock(report),
            _ => Look::Busy,
        }
    }

    pub(super) fn shut_down(&self) {
        let Some(runtime) = self.runtime.lock().take() else {
            return;
        };
        if Handle::try_current().is_ok() {
            // Dropped inside some async context, where nobody may block.
            runtime.shutdown_background();
        } else {
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
    }
}

/// Hands work over so that it starts in order: a worker runs what it was handed last before all else, and the rest in
/// order.
fn in_order<W>(work: impl IntoIterator<Item = W>, hand_over: impl FnMut(W)) {
    let mut work = work.into_iter();
    let first = work.next();
    work.chain(first).for_each(hand_over);
}

/// How long first polls may take together in one go, before others get a turn or threads share in.
const INLINE_TIME_MAX: Duration = Duration::from_micros(50);

/// Most tasks whose polls are short that start as one job.
const BATCH_MAX: usize = 32;

/// Polls the first tasks of a batch right here, in order. Those that did not end at once go to `pending`; the others
/// stay when time is up.
fn poll_inline(tasks: &mut Vec<Arc<AnyTask>>, mut pending: impl FnMut(Arc<AnyTask>)) {
    if !tasks[0].header.inline_start || !crate::frame::enter_inline() {
        return;
    }
    let deadline = Instant::now() + INLINE_TIME_MAX;
    let mut done = 0;
    while let Some(task) = tasks.get(done).filter(|task| task.header.inline_start) {
        done += 1;
        // What wakes it meanwhile may do nothing: it is polled again, once the executor has it.
        if crate::frame::poll(task, &mut Context::from_waker(Waker::noop())).is_pending() {
            pending(task.clone());
        }
        if Instant::now() >= deadline {
            break;
        }
    }
    tasks.drain(..done);
    crate::frame::leave_inline();
}

/// Tasks that are likely to end at their first poll: only those that do not get a job of their own.
struct Batch(Vec<Arc<AnyTask>>);

impl Future for Batch {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let handle = Handle::current();
        if !self.0.is_empty() {
            poll_inline(&mut self.0, |task| drop(handle.spawn(Job(Some(task)))));
        }
        if self.0.is_empty() {
            return Poll::Ready(());
        }
        // They take their time: others may share in.
        if self.0.len() > 1 {
            let half = self.0.len() / 2;
            drop(handle.spawn(Batch(self.0.split_off(half))));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        for task in self.0.drain(..) {
            task.body.abandon(&task);
        }
    }
}

/// A task as tokio sees it. Kept to two words: then tokio's own part of a task fits in 128 bytes.
struct Job(Option<Arc<AnyTask>>);

impl Future for Job {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(task) = &self.0 else {
            return Poll::Ready(());
        };
        if crate::frame::poll(task, cx).is_pending() {
            return Poll::Pending;
        }
        self.0 = None;
        Poll::Ready(())
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.body.abandon(&task);
        }
    }
}
