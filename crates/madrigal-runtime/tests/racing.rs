//! Races, timeouts, merges, context values, rate limits, named permits: what Rust users have beyond tasks and channels.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use madrigal_runtime::sync::{Access, Barrier, Condvar, Latch, Lock, RwLock, SyncError, SyncRegistry, SyncRequest};
use madrigal_runtime::{
    CancelKind, Channel, Clock, ContextKey, Exhaustive, FanOptions, Items, Mailbox, Outcome, RateLimiter, Received,
    Runtime, ScopeHandle, Source, TaskContext, TaskError, TaskHandle, TaskSpec, as_completed, deadline,
    for_each_concurrent, join_concurrent, join_concurrent_settled, merge, race, scope, select_first, with_timeout,
    yield_now,
};
use support::{each_runtime, log, reason};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Waits, then gives `value` or fails; says when it was cancelled.
async fn after(clock: Clock, time: u64, value: Result<u64, &'static str>, log: support::Log) -> Result<u64, TaskError> {
    struct Cancelled(Option<(support::Log, u64)>);
    impl Drop for Cancelled {
        fn drop(&mut self) {
            if let Some((log, time)) = self.0.take() {
                log.push(format!("{time} was cancelled"));
            }
        }
    }
    let mut guard = Cancelled(Some((log, time)));
    clock.sleep(ms(time)).await;
    guard.0 = None;
    value.map_err(TaskError::from)
}

/// Runs `main` in virtual time on threads and under seeds.
fn virtually<F>(main: impl Fn(Clock) -> F)
where
    F: Future<Output = Result<(), TaskError>> + Send + 'static,
{
    each_runtime(|runtime| {
        runtime.clock().make_virtual(0);
        runtime.run(|| main(runtime.clock().clone())).unwrap();
    });
}

#[test]
fn the_first_to_end_wins_and_the_others_are_waited_for() {
    virtually(async |clock| {
        let log = log();
        let contenders = [(30, Ok(1)), (10, Ok(2)), (20, Err("late"))];
        let racing = contenders.map(|(time, value)| after(clock.clone(), time, value, log.clone()));
        assert!(matches!(race(racing).await, Some(Outcome::Ok(2))));
        let mut cancelled = log.take();
        cancelled.sort();
        assert_eq!(cancelled, ["20 was cancelled", "30 was cancelled"]);
        assert!(matches!(race([after(clock, 1, Err("x"), log)]).await, Some(Outcome::Failed(_))));
        let nobody: [std::future::Ready<Result<(), TaskError>>; 0] = [];
        assert!(race(nobody).await.is_none());
        Ok(())
    });
}

#[test]
fn time_runs_out_or_it_does_not() {
    virtually(async |clock| {
        let log = log();
        let work = |time| after(clock.clone(), time, Ok(time), log.clone());
        assert!(matches!(with_timeout(ms(10), work(5)).await, Some(Outcome::Ok(5))));
        assert!(with_timeout(ms(10), work(50)).await.is_none());
        assert!(deadline(ms(10), work(50)).await.is_err());
        assert!(matches!(deadline(ms(10), work(10)).await, Ok(Outcome::Ok(10)) | Err(_)));
        assert_eq!(log.take().iter().filter(|it| *it == "50 was cancelled").count(), 2);
        Ok(())
    });
}

async fn three(s: &ScopeHandle<TaskError>, clock: &Clock) -> Result<Vec<TaskHandle<u64, TaskError>>, TaskError> {
    let spec = |_: u64| TaskSpec::default().settled();
    let values = [(30, Ok(30)), (10, Err("ten")), (20, Ok(20))];
    let spawned = values.map(|(time, value)| s.spawn(spec(time), |_| after(clock.clone(), time, value, log())));
    spawned.into_iter().map(|it| it.map_err(TaskError::from)).collect()
}

#[test]
fn tasks_come_in_the_order_in_which_they_end() {
    virtually(async |clock| {
        scope(async |s| {
            let tasks = three(&s, &clock).await?;
            let first = select_first(&tasks).await.unwrap();
            assert_eq!((first.0, first.1.into_result().is_err()), (1, true));
            let mut order = Vec::new();
            let mut completed = as_completed(&tasks);
            while let Some((index, _)) = completed.next().await {
                order.push(index);
            }
            assert_eq!(order, [1, 2, 0]);
            assert!(select_first::<u64, TaskError>(&[]).await.is_none());
            Ok(())
        })
        .await
    });
}

#[test]
fn a_graceful_cancel_ends_in_time_or_by_force() {
    virtually(async |clock| {
        scope(async |s| {
            let tasks = three(&s, &clock).await?;
            let outcome = tasks[0].cancel_graceful(reason(CancelKind::Cancel), ms(5)).await;
            assert!(matches!(outcome, Some(Outcome::Cancelled(_))));
            let stubborn = s.spawn(TaskSpec::default().with_grace(ms(1_000_000)).settled(), |_| {
                let clock = clock.clone();
                async move {
                    clock.sleep(ms(500_000)).await;
                    Ok::<_, TaskError>(())
                }
            })?;
            clock.sleep(ms(1)).await;
            assert!(stubborn.cancel_graceful(reason(CancelKind::Cancel), ms(5)).await.is_none());
            assert!(matches!(stubborn.await, Outcome::Cancelled(_)));
            assert!(clock.now_ms() < 500_000);
            Ok(())
        })
        .await
    });
}

#[test]
fn merged_sources_end_with_the_first_or_the_last() {
    virtually(async |_| {
        let of = |exhaustive| merge(vec![Items(1..=1), Items(10..=13)], exhaustive);
        let mut all = Vec::new();
        let mut merged = of(Exhaustive::Yes);
        while let Some(item) = merged.next::<TaskError>().await {
            all.push(item?);
        }
        assert_eq!(all, [1, 10, 11, 12, 13]);
        let mut merged = of(Exhaustive::No);
        let mut all = Vec::new();
        while let Some(item) = merged.next::<TaskError>().await {
            all.push(item?);
        }
        assert_eq!(all, [1, 10]);
        let (a, b) = (Channel::new(2), Channel::<u8>::new(2));
        let mut channels = merge(vec![Received::new(a.clone()), Received::new(b.clone())], Exhaustive::Yes);
        a.try_send(1).unwrap();
        assert_eq!(channels.next::<TaskError>().await.map(Result::unwrap), Some(1));
        drop(channels);
        b.try_send(2).unwrap();
        assert_eq!(b.try_receive(), Ok(2), "a merge that has gone takes nothing");
        Ok(())
    });
}

/// Fails after its items.
struct Failing(u8);

impl Source<TaskError> for Failing {
    type Item = u8;

    fn poll_next(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Option<Result<u8, TaskError>>> {
        self.0 += 1;
        std::task::Poll::Ready(Some(if self.0 > 2 { Err("source".into()) } else { Ok(self.0) }))
    }
}

#[test]
fn side_effects_are_bounded_and_fail_fast() {
    virtually(async |clock| {
        let (log, options) = (log(), FanOptions { limit: Some(2), ..FanOptions::default() });
        let work = |_, n: u64| {
            let (clock, log) = (clock.clone(), log.clone());
            async move {
                clock.sleep(ms(10)).await;
                log.push(format!("{n} at {}", clock.now_ms()));
                if n == 3 { Err(TaskError::from("three")) } else { Ok(()) }
            }
        };
        for_each_concurrent(options.clone(), Items([1, 2].into_iter()), work).await?;
        let failed = for_each_concurrent(options.clone(), Items(3..100), work).await;
        assert_eq!(failed.unwrap_err().to_string(), "three");
        assert!(log.take().len() <= 4, "nothing starts after a failure");
        let failed = for_each_concurrent(options.clone(), Failing(0), |_, _| async { Ok(()) }).await;
        assert_eq!(failed.unwrap_err().to_string(), "source");
        let ready = |n: u8| async move { if n == 2 { Err("two".into()) } else { Ok::<_, TaskError>(n) } };
        assert_eq!(join_concurrent(options.clone(), [ready(1), ready(3)]).await?, [1, 3]);
        assert!(join_concurrent(options.clone(), [ready(1), ready(2)]).await.is_err());
        assert_eq!(join_concurrent_settled(options, [ready(1), ready(2)]).await.len(), 2);
        Ok(())
    });
}

const NAME: ContextKey<&'static str> = ContextKey::new("name");

#[test]
fn children_start_with_the_values_of_their_parent() {
    assert_eq!((NAME.get(), NAME.set("outside")), (None, None), "there is no task here");
    virtually(async |_| {
        assert_eq!((NAME.set("a"), NAME.set("b")), (None, Some("a")));
        let options = FanOptions::default();
        let children =
            join_concurrent(options, (0..2).map(|_| async { Ok::<_, TaskError>((NAME.get(), NAME.set("c"))) }));
        assert_eq!(children.await?, [(Some("b"), Some("b")), (Some("b"), Some("b"))]);
        assert_eq!((NAME.get(), NAME.clear(), NAME.get()), (Some("b"), Some("b"), None));
        assert_eq!(ContextKey::<u8>::new("name").get(), None);
        Ok(())
    });
}

#[test]
fn starts_are_spaced_out_exactly_and_in_order() {
    virtually(async |clock| {
        let limiter = RateLimiter::new(&clock, 2, ms(100));
        scope(async |s| {
            let log = log();
            let mut tasks: Vec<TaskHandle<(), TaskError>> = Vec::new();
            for n in 0..6 {
                let (its, also, clock) = (limiter.clone(), log.clone(), clock.clone());
                tasks.push(s.spawn_future(async move {
                    its.acquire().await;
                    also.push(format!("{n} at {}", clock.now_ms()));
                    Ok(())
                })?);
                // In line before the next one.
                while limiter.in_window() + limiter.waiting() < n + 1 {
                    yield_now().await;
                }
            }
            tasks[3].cancel(reason(CancelKind::Cancel));
            for (n, task) in tasks.into_iter().enumerate() {
                assert_eq!(task.await.into_result().is_ok(), n != 3);
            }
            let mut starts = log.take();
            starts.sort();
            assert_eq!(starts, ["0 at 0", "1 at 0", "2 at 100", "4 at 100", "5 at 200"]);
            Ok(())
        })
        .await?;
        assert_eq!((limiter.waiting(), limiter.try_acquire(), limiter.try_acquire()), (0, true, false));
        limiter.set_limit(3);
        assert!(limiter.try_acquire());
        Ok(())
    });
}

#[test]
fn names_stand_for_one_resource_with_counters() {
    virtually(async |clock| {
        let registry = SyncRegistry::new(&clock);
        let gate = SyncRequest::Gate { limit: 1 };
        let held = registry.acquire("g", gate).unwrap().await.unwrap();
        assert!(matches!(registry.acquire("g", SyncRequest::Gate { limit: 2 }), Err(SyncError::OtherCapacity { .. })));
        let many = SyncRequest::Semaphore { capacity: 1, permits: 2 };
        let refused = registry.acquire("s", many).map(drop).unwrap_err();
        assert_eq!(refused.to_string(), "sync semaphore 's' requested 2 permits from capacity 1");
        let mut second = registry.acquire("g", gate).unwrap();
        assert!(second.try_now().unwrap().is_none());
        let waker = std::task::Waker::noop();
        let polled = std::pin::Pin::new(&mut second).poll(&mut std::task::Context::from_waker(waker));
        assert!(polled.is_pending());
        assert_eq!(registry.metrics()[0].current_queue_depth, 1);
        drop(second);
        clock.sleep(ms(7)).await;
        drop(held);
        let metrics = registry.metrics().remove(0);
        assert_eq!((metrics.current_held, metrics.current_queue_depth, metrics.max_queue_depth), (0, 0, 1));
        assert_eq!((metrics.cancellation_count, metrics.total_held_ms), (1, 7));
        let _mutex = registry.acquire("m", SyncRequest::Mutex).unwrap().await.unwrap();
        let again = registry.acquire("m", SyncRequest::Mutex).unwrap().await.map(drop);
        assert_eq!(again.unwrap_err().to_string(), "deadlock: sync mutex 'm' is held by this task already");
        let _reading = registry.acquire("rw", SyncRequest::RwLock(Access::Read)).unwrap().await.unwrap();
        let write = registry.acquire("rw", SyncRequest::RwLock(Access::Write)).unwrap().await;
        assert!(matches!(write, Err(SyncError::AlreadyHeld { .. })));
        Ok(())
    });
}

#[test]
fn what_nobody_can_end_is_a_deadlock_that_says_so() {
    type Wait = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
    let waits: [fn() -> Wait; 4] = [
        || Box::pin(async { Latch::new().wait().await }),
        || Box::pin(async { assert!(Barrier::new(2).wait().await) }),
        || {
            Box::pin(async {
                let guard = Lock::new().acquire().await.unwrap();
                drop(Condvar::new().wait(guard).await);
            })
        },
        || Box::pin(async { assert!(Mailbox::<u8>::new("m", 1).receive().await.is_none()) }),
    ];
    for wait in waits {
        let spec = TaskSpec::new(madrigal_runtime::TaskKind::ROOT);
        let ended = Runtime::simulated(1).block_on_root(spec, |_: TaskContext| async move {
            wait().await;
            Ok::<_, TaskError>(())
        });
        assert_eq!(ended.unwrap_err().tasks.len(), 1);
    }
}

#[test]
fn a_panic_releases_what_was_held() {
    virtually(async |_| {
        let (lock, rwlock) = (Lock::new(), RwLock::new());
        let (its, also) = (lock.clone(), rwlock.clone());
        let panicking = scope(async |s| {
            s.spawn_future(async move {
                let _guards = (its.acquire().await, also.write().await);
                if also.is_written() {
                    panic!("on purpose");
                }
                Ok(())
            })?
            .await
            .into_result()
        });
        let failed: Result<(), TaskError> = panicking.await;
        assert!(failed.unwrap_err().is_panic());
        assert!(!lock.is_held() && !rwlock.is_written());
        Ok(())
    });
}

/// A scope against spawns and cancels from everywhere: when it has ended, nothing of it lives. `leak` plants a task
/// that belongs to nobody.
fn close_under_fire(seed: u64, leak: bool) -> bool {
    let runtime = Runtime::simulated(seed);
    let live = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    struct Live(std::sync::Arc<std::sync::atomic::AtomicUsize>);
    impl Drop for Live {
        fn drop(&mut self) {
            self.0.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
        }
    }
    let clean = runtime.run(async move || {
        let counted = live.clone();
        let enter = move || {
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Live(counted.clone())
        };
        let ended = scope(async |s: ScopeHandle<TaskError>| {
            for n in 0..4 {
                let (inner, enter) = (s.clone(), enter.clone());
                s.spawn(TaskSpec::default(), move |cx| async move {
                    let _live = enter();
                    for step in 0..n {
                        yield_now().await;
                        let enter = enter.clone();
                        let child = async move {
                            let _live = enter();
                            yield_now().await;
                            yield_now().await;
                            Ok::<_, TaskError>(())
                        };
                        if leak && step == 1 {
                            cx.spawn_background(TaskSpec::default(), |_| child);
                        } else if inner.spawn_future(child).is_err() {
                            break;
                        }
                    }
                    if n == 3 { Err(TaskError::from("fails")) } else { Ok(()) }
                })?;
            }
            yield_now().await;
            s.cancel(reason(CancelKind::Cancel));
            Ok(())
        })
        .await;
        drop(ended);
        Ok::<_, TaskError>(live.load(std::sync::atomic::Ordering::SeqCst) == 0)
    });
    clean.unwrap()
}

#[test]
fn no_task_outlives_its_scope_whatever_the_schedule() {
    assert!((0..2_000).all(|seed| close_under_fire(seed, false)));
    assert!((0..2_000).any(|seed| !close_under_fire(seed, true)), "the planted leak is not found");
}
