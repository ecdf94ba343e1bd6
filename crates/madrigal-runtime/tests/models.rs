//! Models of the primitives under schedules drawn at random: the production code, compiled with locks at whose every
//! operation another thread may go on. Each model is also run with a planted bug, which the schedules must find:
//! a wait that is forgotten instead of dropped (what it was given is lost), or one that nobody can wake.

#![allow(dead_code, unused_imports, missing_docs, reason = "the primitives are compiled in, and used in part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::drop_non_drop, reason = "a task of the model has nothing to drop")]

/// The locks of the primitives, as the scheduler of the test provides them.
mod facade {
    use std::ops::{Deref, DerefMut};
    use std::time::Instant;

    #[derive(Default)]
    pub struct Mutex<T>(shuttle::sync::Mutex<T>);
    pub struct MutexGuard<'a, T>(Option<shuttle::sync::MutexGuard<'a, T>>);
    pub struct Condvar(shuttle::sync::Condvar);
    pub struct Waited;

    impl<T> Mutex<T> {
        pub fn new(value: T) -> Self {
            Mutex(shuttle::sync::Mutex::new(value))
        }

        pub fn lock(&self) -> MutexGuard<'_, T> {
            MutexGuard(Some(self.0.lock().unwrap()))
        }
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            self.0.as_ref().unwrap()
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.0.as_mut().unwrap()
        }
    }

    impl Condvar {
        pub fn new() -> Self {
            Condvar(shuttle::sync::Condvar::new())
        }

        pub fn notify_all(&self) {
            self.0.notify_all();
        }

        pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
            guard.0 = guard.0.take().map(|inner| self.0.wait(inner).unwrap());
        }

        /// Time never passes here.
        pub fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, _: Instant) -> Waited {
            self.wait(guard);
            Waited
        }
    }

    impl Waited {
        pub fn timed_out(&self) -> bool {
            false
        }
    }
}

mod frame {
    pub fn note_wait(_: crate::waiting::WaitKind) {}

    pub fn current() -> Option<()> {
        None
    }
}

mod task {
    /// A thread of the model stands for a task.
    #[derive(Clone, Debug, PartialEq)]
    pub struct TaskRef(shuttle::thread::ThreadId);

    impl TaskRef {
        pub fn current() -> Option<TaskRef> {
            Some(TaskRef(shuttle::thread::current().id()))
        }

        pub fn is_current(&self) -> bool {
            TaskRef::current().as_ref() == Some(self)
        }
    }
}

/// Time that never passes.
mod clock {
    use std::task::{Context, Poll};
    use std::time::Duration;

    #[derive(Clone)]
    pub struct Clock;
    pub struct Timer;

    impl Clock {
        pub fn wall_ms(&self) -> i64 {
            0
        }
    }

    impl Timer {
        pub fn after(_: &Clock, _: Duration) -> Timer {
            Timer
        }

        pub fn poll_due(&mut self, _: &mut Context<'_>) -> Poll<()> {
            Poll::Pending
        }
    }
}

#[path = "../src/channel.rs"]
mod channel;
#[path = "../src/inbox.rs"]
mod inbox;
#[path = "../src/select.rs"]
mod select;
#[path = "../src/sync"]
mod sync {
    pub mod barrier;
    pub mod condvar;
    pub mod latch;
    pub mod line;
    pub mod lock;
    pub mod once;
    pub mod rwlock;
    pub mod semaphore;

    pub use self::lock::{AlreadyHeld, Lock};
}
#[path = "../src/wait_list.rs"]
mod wait_list;
#[path = "../src/waiting.rs"]
mod waiting;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use channel::Channel;
use inbox::{InboxConfig, InboxHub, NewEntry, Overflow, WaitOutcome};
use select::{Selected, select};
use shuttle::future::block_on;
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner, thread};
use sync::barrier::Barrier;
use sync::condvar::Condvar;
use sync::latch::Latch;
use sync::lock::Lock;
use sync::once::{Entered, Once};
use sync::rwlock::{Access, RwLock};
use sync::semaphore::Semaphore;

const SCHEDULES: usize = 2_000;

/// Where the schedules start: the same ones are tried every time.
const SEED: u64 = 20_261;

/// What is planted.
#[derive(Clone, Copy, PartialEq)]
enum Bug {
    None,
    /// A wait that is given up is forgotten, not dropped.
    Forgotten,
    /// The first wake-up of a wait is lost.
    Deaf,
}

fn random(schedules: usize, model: impl Fn() + Send + Sync + 'static) {
    Runner::new(RandomScheduler::new_from_seed(SEED, schedules), Config::new()).run(model);
}

/// The model holds under all schedules tried, and the planted bug is found.
fn explore(bug: Bug, model: impl Fn(Bug) + Copy + Send + Sync + 'static) {
    random(SCHEDULES, move || model(Bug::None));
    let pct = PctScheduler::new_from_seed(SEED, 3, SCHEDULES / 2);
    Runner::new(pct, Config::new()).run(move || model(Bug::None));
    let planted = catch_unwind(AssertUnwindSafe(|| random(20 * SCHEDULES, move || model(bug))));
    assert!(planted.is_err(), "the planted bug was not found");
}

/// Looks twice whether `wait` is over, then gives it up.
fn give_up<F: Future + Unpin>(mut wait: F, bug: Bug) -> Option<F::Output> {
    for _ in 0..2 {
        if let Poll::Ready(output) = Pin::new(&mut wait).poll(&mut Context::from_waker(Waker::noop())) {
            return Some(output);
        }
        thread::yield_now();
    }
    if bug == Bug::Forgotten {
        std::mem::forget(wait);
    }
    None
}

/// Waits, with the first wake-up lost if that is the bug.
fn wait_for<F: Future + Unpin>(mut wait: F, bug: Bug) -> F::Output {
    if bug == Bug::Deaf
        && let Poll::Ready(output) = Pin::new(&mut wait).poll(&mut Context::from_waker(Waker::noop()))
    {
        return output;
    }
    if bug == Bug::Deaf {
        // Nobody polls it again before it is woken, and it cannot be.
        let woken = Arc::new(shuttle::sync::atomic::AtomicBool::new(false));
        return block_on(std::future::poll_fn(move |cx| match woken.swap(true, Ordering::SeqCst) {
            true => Pin::new(&mut wait).poll(cx),
            false => Poll::Pending,
        }));
    }
    block_on(wait)
}

fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> thread::JoinHandle<T> {
    thread::spawn(work)
}

#[test]
fn a_channel_keeps_each_senders_order() {
    explore(Bug::Deaf, |bug| {
        let channel = Channel::new(1);
        let senders: Vec<_> = (0..2)
            .map(|sender| {
                let channel = channel.clone();
                spawn(move || (0..2).for_each(|n| assert!(block_on(channel.send((sender, n))).is_ok())))
            })
            .collect();
        let got: Vec<_> = (0..4).map(|_| wait_for(channel.receive(), bug).unwrap()).collect();
        senders.into_iter().for_each(|it| it.join().unwrap());
        for sender in 0..2 {
            let own: Vec<i32> = got.iter().filter(|it| it.0 == sender).map(|it| it.1).collect();
            assert_eq!(own, [0, 1]);
        }
    });
}

#[test]
fn a_channel_loses_nothing_when_receivers_go() {
    explore(Bug::Forgotten, |bug| {
        let channel = Channel::new(1);
        let senders: Vec<_> = (0..2)
            .map(|sender| {
                let channel = channel.clone();
                spawn(move || (0..2).for_each(|n| assert!(block_on(channel.send((sender, n))).is_ok())))
            })
            .collect();
        let impatient = channel.clone();
        let impatient = spawn(move || give_up(impatient.receive(), bug).flatten());
        let patient = channel.clone();
        let patient = spawn(move || {
            let mut got = Vec::new();
            while let Some(value) = block_on(patient.receive()) {
                got.push(value);
            }
            got
        });
        senders.into_iter().for_each(|it| it.join().unwrap());
        let first = impatient.join().unwrap();
        channel.close();
        let got = patient.join().unwrap();
        let mut all: Vec<_> = got.into_iter().chain(first).collect();
        all.sort_unstable();
        assert_eq!(all, [(0, 0), (0, 1), (1, 0), (1, 1)]);
    });
}

#[test]
fn closing_a_channel_gives_every_parked_value_back() {
    explore(Bug::Forgotten, |bug| {
        let channel = Channel::new(1);
        let senders: Vec<_> = (0..2)
            .map(|n| {
                let channel = channel.clone();
                spawn(move || block_on(channel.send(n)).is_ok())
            })
            .collect();
        let impatient = channel.clone();
        let impatient = spawn(move || give_up(impatient.send(9), bug).is_some_and(|it| it.is_ok()));
        let taken = channel.clone();
        let taken = spawn(move || usize::from(give_up(taken.receive(), Bug::None).flatten().is_some()));
        let closing = channel.clone();
        let closing = spawn(move || closing.close());
        let sent = senders.into_iter().map(|it| it.join().unwrap()).filter(|it| *it).count();
        let impatiently = usize::from(impatient.join().unwrap());
        closing.join().unwrap();
        let received = taken.join().unwrap() + std::iter::from_fn(|| block_on(channel.receive())).count();
        assert_eq!(received, sent + impatiently);
        assert_eq!(channel.with_state(|state| state.receivers.len()), 0, "nobody is left in line");
    });
}

#[test]
fn a_select_takes_one_value_or_none() {
    explore(Bug::Forgotten, |bug| {
        let channels = [Channel::new(1), Channel::new(1)];
        let of_both = channels.to_vec();
        let impatient = spawn(move || match give_up(select(of_both), bug) {
            Some(Selected::Value(..)) => 1,
            Some(Selected::AllClosed) | None => 0,
        });
        (0..4).for_each(|_| thread::yield_now());
        let senders: Vec<_> = channels
            .iter()
            .cloned()
            .map(|channel| spawn(move || (0..2).for_each(|n| assert!(block_on(channel.send(n)).is_ok()))))
            .collect();
        let of_both = channels.to_vec();
        let patient = spawn(move || {
            let mut got = 0;
            while let Selected::Value(..) = block_on(select(of_both.clone())) {
                got += 1;
            }
            got
        });
        senders.into_iter().for_each(|it| it.join().unwrap());
        let first = impatient.join().unwrap();
        channels.iter().for_each(Channel::close);
        assert_eq!(patient.join().unwrap() + first, 4);
    });
}

#[test]
fn permits_are_never_exceeded_and_never_lost() {
    explore(Bug::Forgotten, |bug| {
        let semaphore = Semaphore::new(2);
        let held = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = [1, 2, 1]
            .into_iter()
            .enumerate()
            .map(|(at, wanted)| {
                let (semaphore, held) = (semaphore.clone(), held.clone());
                spawn(move || {
                    let permit = match at {
                        0 => give_up(semaphore.acquire(wanted), bug),
                        _ => Some(block_on(semaphore.acquire(wanted))),
                    };
                    if permit.is_some() {
                        assert!(held.fetch_add(wanted, Ordering::SeqCst) + wanted <= 2);
                        thread::yield_now();
                        held.fetch_sub(wanted, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        tasks.into_iter().for_each(|it| it.join().unwrap());
        assert_eq!((semaphore.available(), semaphore.waiting()), (2, 0));
    });
}

#[test]
fn a_lock_is_passed_on_when_a_waiter_goes() {
    explore(Bug::Forgotten, |bug| {
        let lock = Lock::new();
        let inside = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..3)
            .map(|at| {
                let (lock, inside) = (lock.clone(), inside.clone());
                spawn(move || {
                    let guard = if at == 0 { give_up(lock.acquire(), bug) } else { Some(block_on(lock.acquire())) };
                    if let Some(guard) = guard {
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(guard.unwrap());
                    }
                })
            })
            .collect();
        tasks.into_iter().for_each(|it| it.join().unwrap());
        assert!(!lock.is_held() && lock.waiting() == 0);
    });
}

#[test]
fn writers_exclude_and_a_writer_that_goes_lets_readers_in() {
    explore(Bug::Forgotten, |bug| {
        let lock = RwLock::new();
        let tasks: Vec<_> = [Access::Write, Access::Read, Access::Write, Access::Read]
            .into_iter()
            .enumerate()
            .map(|(at, access)| {
                let lock = lock.clone();
                spawn(move || {
                    let acquire = lock.acquire(access);
                    let guard = if at == 0 { give_up(acquire, bug) } else { Some(block_on(acquire)) };
                    if guard.is_some() {
                        assert_eq!(lock.is_written(), access == Access::Write);
                        assert_eq!(lock.readers() > 0, access == Access::Read);
                    }
                })
            })
            .collect();
        tasks.into_iter().for_each(|it| it.join().unwrap());
        assert_eq!((lock.readers(), lock.is_written(), lock.waiting()), (0, false, 0));
    });
}

#[test]
fn a_notification_reaches_somebody_who_acts_on_it() {
    explore(Bug::Forgotten, |bug| {
        let (lock, changed, items) = (Lock::new(), Condvar::new(), Arc::new(AtomicUsize::new(0)));
        let (of_it, its, also) = (lock.clone(), changed.clone(), items.clone());
        let impatient = spawn(move || {
            let guard = block_on(of_it.acquire()).unwrap();
            if also.load(Ordering::SeqCst) == 0 && give_up(its.wait(guard), bug).is_some() {
                // It takes nothing, and says so.
                its.notify();
            }
        });
        let (of_it, its, also) = (lock.clone(), changed.clone(), items.clone());
        let patient = spawn(move || {
            let mut guard = block_on(of_it.acquire()).unwrap();
            while also.load(Ordering::SeqCst) == 0 {
                guard = block_on(its.wait(guard));
            }
        });
        {
            let _guard = block_on(lock.acquire()).unwrap();
            items.store(1, Ordering::SeqCst);
            changed.notify();
        }
        impatient.join().unwrap();
        patient.join().unwrap();
        assert!(!lock.is_held());
    });
}

#[test]
fn a_barrier_counts_those_who_are_there() {
    explore(Bug::Forgotten, |bug| {
        let barrier = Barrier::new(2);
        let gone = barrier.clone();
        assert_eq!(spawn(move || give_up(gone.wait(), bug)).join().unwrap(), None);
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let barrier = barrier.clone();
                spawn(move || block_on(barrier.wait()))
            })
            .collect();
        let leaders = tasks.into_iter().map(|it| it.join().unwrap()).filter(|it| *it).count();
        assert_eq!((leaders, barrier.waiting()), (2, 0), "one leads each round");
    });
}

#[test]
fn a_latch_lets_all_go() {
    explore(Bug::Deaf, |bug| {
        let latch = Latch::new();
        let tasks: Vec<_> = (0..2)
            .map(|_| {
                let latch = latch.clone();
                spawn(move || wait_for(latch.wait(), bug))
            })
            .collect();
        latch.open();
        tasks.into_iter().for_each(|it| it.join().unwrap());
    });
}

#[test]
fn a_once_is_made_by_one_at_a_time_until_it_is_there() {
    explore(Bug::Forgotten, |bug| {
        let once: Once<i32, ()> = Once::new();
        let (making, runs) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let tasks: Vec<_> = (0..3)
            .map(|at| {
                let (once, making, runs) = (once.clone(), making.clone(), runs.clone());
                spawn(move || {
                    if at == 0 {
                        return drop(give_up(once.enter(), bug));
                    }
                    loop {
                        match block_on(once.enter()).unwrap() {
                            Entered::Run(run) => {
                                assert_eq!(making.fetch_add(1, Ordering::SeqCst), 0);
                                thread::yield_now();
                                making.fetch_sub(1, Ordering::SeqCst);
                                // The first to make it goes away without a result: the next in line has to.
                                if runs.fetch_add(1, Ordering::SeqCst) > 0 {
                                    return run.finish(Ok(7));
                                }
                                drop(run);
                            }
                            Entered::Result(result) => return assert_eq!(result, Ok(7)),
                        }
                    }
                })
            })
            .collect();
        tasks.into_iter().for_each(|it| it.join().unwrap());
        assert_eq!(once.try_get(), Some(7));
    });
}

fn hub(capacity: usize, overflow: Overflow) -> InboxHub {
    InboxHub::new(InboxConfig { capacity, overflow, ..InboxConfig::new(&clock::Clock) })
}

fn note() -> NewEntry {
    NewEntry::new("note", "x", "test")
}

#[test]
fn an_inbox_wait_sees_every_push() {
    explore(Bug::Deaf, |bug| {
        let hub = hub(10, Overflow::Reject);
        let inbox = hub.open("s");
        let pusher = hub.clone();
        let pusher = spawn(move || (0..2).for_each(|_| assert!(pusher.try_push("s", note()).is_ok())));
        let mut sequences = Vec::new();
        while sequences.len() < 2 {
            assert_eq!(wait_for(inbox.wait_async(None), bug), WaitOutcome::Ready);
            sequences.extend(inbox.drain().into_iter().map(|it| it.sequence));
        }
        pusher.join().unwrap();
        assert_eq!(sequences, [1, 2]);
    });
}

#[test]
fn an_inbox_wait_is_told_of_clear_and_close() {
    explore(Bug::Deaf, |bug| {
        let hub = hub(10, Overflow::Reject);
        let inbox = hub.open("s");
        let (waiting, blocking) = (inbox.clone(), inbox.clone());
        let waiting = spawn(move || wait_for(waiting.wait_async(None), bug));
        let blocking = spawn(move || blocking.wait_sync(Duration::from_secs(1)).unwrap());
        let clearing = hub.clone();
        let clearing = spawn(move || clearing.clear_session("s"));
        hub.close_session("s");
        clearing.join().unwrap();
        for outcome in [waiting.join().unwrap(), blocking.join().unwrap()] {
            assert!(matches!(outcome, WaitOutcome::Cleared | WaitOutcome::Closed), "{outcome:?}");
        }
        drop(inbox);
        assert_eq!(hub.sessions(), 0);
    });
}

#[test]
fn pushes_that_wait_for_room_get_it() {
    explore(Bug::Forgotten, |bug| {
        let hub = hub(1, Overflow::Block);
        let inbox = hub.open("s");
        let pushers: Vec<_> = (0..3)
            .map(|at| {
                let hub = hub.clone();
                spawn(move || match at {
                    0 => give_up(hub.push("s", note(), None), bug).is_some_and(|it| it.is_ok()),
                    _ => block_on(hub.push("s", note(), None)).is_ok(),
                })
            })
            .collect();
        let mut drained = 0;
        while drained < 2 {
            assert_eq!(block_on(inbox.wait_async(None)), WaitOutcome::Ready);
            drained += inbox.drain().len();
        }
        let pushed = pushers.into_iter().map(|it| it.join().unwrap()).filter(|it| *it).count();
        assert_eq!(pushed, drained + inbox.drain().len());
    });
}
