//! Tasks on one thread, in an order drawn from a seed; virtual time jumps when none can run.
//! The thread is the one that calls `Runtime::block_on_root`. Invariant: same program, same seed, same order. Tasks
//! that never ran keep their creation order among themselves; everything else is drawn.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle, Runtime};

use super::Stall;
use crate::cancel::CancelNode;
use crate::deadlock::{DeadlockReport, find_deadlock};
use crate::runtime::{Random, RuntimeShared};
use crate::task::AnyTask;

pub(crate) struct Simulated {
    ready: Mutex<Ready>,
    /// Held by whoever polls tasks: one thread at a time.
    turn: Mutex<Random>,
    stall: Arc<Stall>,
    io: OnceLock<Io>,
}

#[derive(Default)]
struct Ready {
    woken: Vec<Arc<Job>>,
    fresh: VecDeque<Arc<Job>>,
    /// The thread found nothing to run and sleeps: whoever makes a task ready pokes it.
    sleeping: bool,
}

/// A task as the simulator sees it.
struct Job {
    task: Mutex<Option<Arc<AnyTask>>>,
    queued: AtomicBool,
    executor: Arc<Simulated>,
}

/// Where tokio's I/O and blocking work run: threads of its own, started when first needed.
struct Io(Option<Runtime>);

impl Drop for Io {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Simulated {
    pub(super) fn new(seed: u64) -> Arc<Simulated> {
        Arc::new(Simulated {
            ready: Mutex::default(),
            turn: Mutex::new(Random::new(seed)),
            stall: Arc::default(),
            io: OnceLock::new(),
        })
    }

    pub(super) fn spawn_all(self: &Arc<Self>, tasks: &mut Vec<Arc<AnyTask>>) {
        let job = |task| Job { task: Mutex::new(Some(task)), queued: AtomicBool::new(true), executor: self.clone() };
        self.make_ready(|ready| ready.fresh.extend(tasks.drain(..).map(|task| Arc::new(job(task)))));
    }

    fn make_ready(&self, push: impl FnOnce(&mut Ready)) {
        let poke = {
            let mut ready = self.ready.lock();
            push(&mut ready);
            std::mem::take(&mut ready.sleeping)
        };
        if poke {
            self.stall.poke();
        }
    }

    pub(super) fn stall(&self) -> Arc<Stall> {
        self.stall.clone()
    }

    pub(super) fn io(&self) -> Handle {
        let start = || {
            let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("madrigal-io").enable_all().build();
            Io(Some(runtime.expect("the system can start the I/O thread")))
        };
        self.io.get_or_init(start).0.as_ref().expect("present until dropped").handle().clone()
    }

    pub(super) fn run_until_stalled(
        &self,
        runtime: &RuntimeShared,
        stop: &dyn Fn() -> bool,
    ) -> ControlFlow<DeadlockReport> {
        let mut random = self.turn.lock();
        loop {
            if stop() {
                return ControlFlow::Continue(());
            }
            let seen = self.stall.pokes();
            if let Some(job) = self.take_next(&mut random) {
                job.run();
                runtime.move_time_past_busy_tasks();
                continue;
            }
            let outside = runtime.awaits_outside();
            if runtime.clock.jump(outside) {
                runtime.time_moved();
                continue;
            }
            if !outside
                && runtime.clock.is_idle()
                && let Some(report) = find_deadlock(&runtime.root)
            {
                return ControlFlow::Break(report);
            }
            self.stall.wait(seen);
        }
    }

    fn take_next(&self, random: &mut Random) -> Option<Arc<Job>> {
        let mut ready = self.ready.lock();
        let choices = ready.woken.len() + usize::from(!ready.fresh.is_empty());
        if choices == 0 {
            ready.sleeping = true;
            return None;
        }
        ready.sleeping = false;
        let choice = if choices == 1 { 0 } else { (random.next() % choices as u64) as usize };
        if choice < ready.woken.len() { Some(ready.woken.swap_remove(choice)) } else { ready.fresh.pop_front() }
    }

    pub(super) fn shut_down(&self, root: &CancelNode) {
        for (_, task) in root.tasks().into_iter().rev() {
            task.body.abandon(&task);
        }
        // Jobs own the executor: what is left in the queue would keep both alive.
        let left = std::mem::take(&mut *self.ready.lock());
        drop(left);
    }
}

impl Job {
    fn run(self: &Arc<Self>) {
        self.queued.store(false, Ordering::Release);
        let Some(task) = self.task.lock().clone() else {
            return;
        };
        let waker = Waker::from(self.clone());
        if crate::frame::poll(&task, &mut Context::from_waker(&waker)).is_ready() {
            let ended = self.task.lock().take();
            drop(ended);
        }
    }
}

impl Wake for Job {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            let executor = self.executor.clone();
            executor.make_ready(|ready| ready.woken.push(self));
        }
    }
}
