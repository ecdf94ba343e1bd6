//! Tasks, scopes, cancellation, deadlock: the rules that hold whatever the executor.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use madrigal_runtime::{
    CancelKind, CancelReason, CancelStack, Channel, Deadline, OnCancel, Outcome, Policy, Runtime, Scope, TaskContext,
    TaskError, TaskKind, TaskSpec, TaskStatus, scope, sync::Lock, yield_now,
};
use support::{each_runtime, log, reason};

type Body = Scope<TaskError>;

fn body_scope() -> Body {
    let cx = TaskContext::current().expect("inside a task");
    Scope::open(&cx, &cx.node(), Policy::TaskBody)
}

#[test]
fn a_task_gives_its_value_to_any_number_of_waiters() {
    each_runtime(|runtime| {
        let sum = runtime.run(async || {
            scope(async |s| {
                let answer = s.spawn_future(async {
                    yield_now().await;
                    Ok(21)
                })?;
                let again = answer.clone();
                let other = s.spawn_future(async move { again.await.into_result() })?;
                assert!(answer != other && answer == answer.clone());
                Ok::<_, TaskError>(answer.await.into_result()? + other.await.into_result()?)
            })
            .await
        });
        assert_eq!(sum.unwrap(), 42);
    });
}

#[test]
fn children_start_in_order_and_after_what_follows_their_creation() {
    for seed in 0..20 {
        let seen = log();
        let out = seen.clone();
        let run = Runtime::simulated(seed).run(async move || {
            scope(async |s| {
                for n in 0..5 {
                    let out = out.clone();
                    s.spawn_future(async move {
                        out.push(format!("child {n}"));
                        Ok(())
                    })?;
                }
                out.push("parent".into());
                Ok::<_, TaskError>(())
            })
            .await
        });
        run.unwrap();
        assert_eq!(seen.take(), ["parent", "child 0", "child 1", "child 2", "child 3", "child 4"], "seed {seed}");
    }
}

#[test]
fn a_task_cancelled_before_it_started_never_runs() {
    each_runtime(|runtime| {
        let ran = Arc::new(AtomicBool::new(false));
        let flag = ran.clone();
        let run = runtime.run(async move || {
            let mut body = body_scope();
            let spec = TaskSpec::default().with_grace(Duration::from_secs(5));
            let task = body.spawn(spec, |_| async move {
                flag.store(true, Ordering::SeqCst);
                Ok(1)
            })?;
            assert_eq!(task.status(), TaskStatus::Pending);
            assert!(task.cancel(reason(CancelKind::Cancel)));
            assert!(!task.cancel(reason(CancelKind::Shutdown)), "cancelling twice is a no-op");
            let outcome = task.join().await;
            assert!(matches!(outcome, Outcome::Cancelled(reason) if reason.kind == CancelKind::Cancel));
            assert_eq!(task.status(), TaskStatus::Cancelled);
            body.close().await
        });
        run.unwrap();
        assert!(!ran.load(Ordering::SeqCst));
    });
}

#[test]
fn ids_name_creator_kind_and_number() {
    let run = Runtime::simulated(0).run(async || {
        scope(async |s| {
            let outer = s.spawn_future(async {
                scope(async |s| {
                    let inner = s.spawn_future(async { Ok(()) })?;
                    inner.join().await;
                    Ok::<_, TaskError>((inner.id(), inner.task().creator_id()))
                })
                .await
            })?;
            let second = s.spawn_future(async { Err::<(), _>(TaskError::new("unused")) });
            second?.mark_observed();
            let (id, creator) = outer.await.into_result()?;
            assert_eq!(id, "task_root:spawn:1:spawn:1");
            assert_eq!(creator.as_deref(), Some("task_root:spawn:1"));
            assert_eq!(TaskContext::current().expect("inside").task().id(), "task_root");
            Ok::<_, TaskError>(())
        })
        .await
    });
    assert_eq!(run.unwrap_err().to_string(), "unused", "observed or not, a failure ends a fail-fast scope");
}

#[test]
fn a_returned_handle_of_a_child_leaks_nothing() {
    let alive = Arc::new(());
    let inside = alive.clone();
    let runtime = Runtime::simulated(0);
    let run = runtime.run(async move || {
        scope(async |s| {
            let outer = s.spawn_future(async {
                scope(async |s| {
                    let inner = s.spawn_future(async move { Ok(inside) })?;
                    inner.join().await;
                    Ok::<_, TaskError>(inner)
                })
                .await
            })?;
            outer.await.into_result().map(|_| ())
        })
        .await
    });
    run.unwrap();
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[test]
fn the_first_failure_cancels_the_rest_and_surfaces_with_the_others_attached() {
    each_runtime(|runtime| {
        let cleaned = Arc::new(AtomicUsize::new(0));
        let counter = cleaned.clone();
        let run = runtime.run(async move || {
            scope(async |s| {
                let (gate, started) = (Channel::<()>::new(1), Channel::<()>::new(3));
                for _ in 0..3 {
                    let (gate, started, counter) = (gate.clone(), started.clone(), counter.clone());
                    let spec = TaskSpec::default().with_grace(Duration::from_secs(5));
                    s.spawn(spec, move |cx| async move {
                        started.try_send(()).expect("room for all");
                        until_cancelled(&cx, &gate).await;
                        counter.fetch_add(1, Ordering::SeqCst);
                        Err::<(), _>(TaskError::new("in cleanup"))
                    })?;
                }
                s.spawn_future(async move {
                    for _ in 0..3 {
                        started.receive().await;
                    }
                    Err::<(), _>(TaskError::new("first"))
                })?;
                gate.receive().await;
                unreachable!("the body is interrupted");
                #[allow(unreachable_code)]
                Ok::<(), _>(())
            })
            .await
        });
        let error = run.unwrap_err();
        assert_eq!(error.to_string(), "first");
        assert_eq!(error.suppressed().len(), 3);
        assert_eq!(cleaned.load(Ordering::SeqCst), 3);
    });
}

/// Receives from a channel nobody sends to, and ends once the task is cancelled.
async fn until_cancelled(cx: &TaskContext, gate: &Channel<()>) {
    let mut receive = std::pin::pin!(gate.receive());
    std::future::poll_fn(|poll| {
        use std::future::Future;
        if cx.is_cancelled() {
            return std::task::Poll::Ready(());
        }
        receive.as_mut().poll(poll).map(|_| ())
    })
    .await;
}

#[test]
fn a_task_body_surfaces_only_what_nobody_observed() {
    each_runtime(|runtime| {
        let run = runtime.run(async || {
            let mut body = body_scope();
            let seen = body.spawn_future(async { Err::<(), _>(TaskError::new("seen")) })?;
            let unseen = body.spawn_future(async { Err::<(), _>(TaskError::new("unseen")) })?;
            let settled =
                body.spawn(TaskSpec::default().settled(), |_| async { Err::<(), _>(TaskError::new("settled")) })?;
            let value = body.spawn_future(async { Ok(7) })?;
            assert!(matches!(seen.await, Outcome::Failed(_)));
            assert_eq!(value.await.into_result()?, 7, "a failure cancels nobody here");
            unseen.ended().await;
            settled.ended().await;
            body.close().await
        });
        let error = run.unwrap_err();
        assert_eq!(error.to_string(), "unseen");
        assert!(error.suppressed().is_empty());
    });
}

#[test]
fn a_closed_scope_takes_no_task_and_nothing_survives_it() {
    each_runtime(|runtime| {
        let run = runtime.run(async || {
            let handle = scope(async |s| {
                for _ in 0..10 {
                    s.spawn_future(async {
                        yield_now().await;
                        Ok(1)
                    })?;
                }
                Ok::<_, TaskError>(s)
            })
            .await?;
            assert_eq!(handle.live(), 0);
            assert!(handle.tasks().is_empty() && handle.node().is_drained());
            assert!(handle.spawn_future(async { Ok(1) }).is_err());
            Ok::<_, TaskError>(())
        });
        run.unwrap();
        assert!(runtime.task_tree().is_empty());
    });
}

#[test]
fn dropping_a_scope_cancels_its_tasks_and_their_owner_ends_after_them() {
    each_runtime(|runtime| {
        let dropped = Arc::new(AtomicUsize::new(0));
        let counter = dropped.clone();
        let run = runtime.run(async move || {
            let body = Scope::<TaskError>::open(
                &TaskContext::current().expect("inside a task"),
                &TaskContext::current().expect("inside a task").node(),
                Policy::FailFast,
            );
            for _ in 0..4 {
                let guard = CountDrop(counter.clone());
                body.spawn_future(async move {
                    let _guard = guard;
                    std::future::pending::<Result<i64, TaskError>>().await
                })?;
            }
            yield_now().await;
            drop(body);
            Ok::<_, TaskError>(())
        });
        run.unwrap();
        assert_eq!(dropped.load(Ordering::SeqCst), 4);
        assert!(runtime.task_tree().is_empty());
    });
}

struct CountDrop(Arc<AtomicUsize>);

impl Drop for CountDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_panic_is_its_tasks_failure() {
    std::panic::set_hook(Box::new(|_| {}));
    each_runtime(|runtime| {
        let run = runtime.run(async || {
            scope(async |s| {
                s.spawn_future(async {
                    yield_now().await;
                    if true {
                        panic!("boom {}", 1);
                    }
                    Ok(())
                })?;
                Ok::<_, TaskError>(())
            })
            .await
        });
        let error = run.unwrap_err();
        assert!(error.is_panic());
        assert_eq!(error.to_string(), "task panicked: boom 1");
    });
}

#[test]
fn the_grace_period_ends_a_task_that_does_not_listen() {
    let runtime = Runtime::simulated(3);
    let run = runtime.run(async || {
        let mut body = body_scope();
        let spec = TaskSpec::default().with_grace(Duration::from_secs(5));
        let deaf = body.spawn(spec, |_| async {
            let never = Channel::<i64>::new(1);
            never.receive().await;
            Ok(0)
        })?;
        let clock = TaskContext::current().expect("inside").runtime().clock().clone();
        clock.sleep(Duration::from_secs(1)).await;
        deaf.cancel(reason(CancelKind::Cancel));
        assert!(matches!(deaf.join().await, Outcome::Cancelled(_)));
        assert_eq!(clock.now_ms(), 6_000);
        body.close().await
    });
    run.unwrap();
}

#[test]
fn abort_does_not_wait_for_the_grace_period() {
    let runtime = Runtime::simulated(3);
    let run = runtime.run(async || {
        let mut body = body_scope();
        let spec = TaskSpec { on_cancel: OnCancel::Grace(Duration::from_secs(5)), ..TaskSpec::default() };
        let deaf = body.spawn(spec, |_| std::future::pending::<Result<i64, TaskError>>())?;
        yield_now().await;
        deaf.cancel(reason(CancelKind::Cancel));
        yield_now().await;
        deaf.abort(reason(CancelKind::Shutdown));
        let outcome = deaf.join().await;
        assert!(
            matches!(outcome, Outcome::Cancelled(reason) if reason.kind == CancelKind::Cancel),
            "first reason wins"
        );
        body.close().await
    });
    run.unwrap();
    assert_eq!(runtime.clock().now_ms(), 0);
}

#[test]
fn the_outermost_cancelled_block_is_known() {
    let run = Runtime::simulated(0).run(async || {
        let cx = TaskContext::current().expect("inside a task");
        let runtime = cx.runtime();
        let mut stack = CancelStack::new(cx.node());
        let outer = Deadline::open(stack.innermost(), runtime.clock(), Duration::from_millis(10));
        stack.push(outer.node().clone());
        let inner = Deadline::open(stack.innermost(), runtime.clock(), Duration::from_millis(5));
        stack.push(inner.node().clone());
        assert!(!stack.is_cancelled());
        runtime.clock().sleep(Duration::from_millis(6)).await;
        assert_eq!(stack.outermost_cancelled().map(|(depth, _)| depth), Some(2));
        runtime.clock().sleep(Duration::from_millis(6)).await;
        assert_eq!(stack.outermost_cancelled().map(|(depth, _)| depth), Some(1), "the outer one takes over");
        stack.close_to(1);
        assert!(!stack.is_cancelled() && !cx.is_cancelled());
        Ok::<_, TaskError>(())
    });
    run.unwrap();
}

#[test]
fn a_shielded_node_is_reached_only_directly() {
    let run = Runtime::simulated(0).run(async || {
        let cx = TaskContext::current().expect("inside a task");
        let block = cx.node().child();
        let shield = block.shielded_child();
        let below = shield.child();
        block.cancel(reason(CancelKind::Cancel));
        assert!(block.is_cancelled() && !shield.is_cancelled() && !below.is_cancelled());
        assert!(!block.shielded_child().is_cancelled() && block.child().is_cancelled());
        shield.cancel(reason(CancelKind::Timeout));
        assert_eq!(below.reason().map(|reason| reason.kind), Some(CancelKind::Timeout));
        Ok::<_, TaskError>(())
    });
    run.unwrap();
}

#[test]
fn background_tasks_are_cancelled_when_the_root_ends() {
    each_runtime(|runtime| {
        let dropped = Arc::new(AtomicUsize::new(0));
        let counter = dropped.clone();
        let run = runtime.run(async move || {
            let cx = TaskContext::current().expect("inside a task");
            let guard = CountDrop(counter);
            let daemon = cx.spawn_background::<(), TaskError, _>(TaskSpec::new(TaskKind::BACKGROUND), |_| async move {
                let _guard = guard;
                std::future::pending::<Result<(), TaskError>>().await
            });
            yield_now().await;
            assert_eq!(daemon.id(), "task_root:background:1");
            Ok::<_, TaskError>(daemon)
        });
        let daemon = run.unwrap();
        assert!(
            matches!(daemon.try_outcome(), Some(Outcome::Cancelled(reason)) if reason.kind == CancelKind::Shutdown)
        );
        assert_eq!(dropped.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_deadlock_is_reported_with_who_waits_for_what() {
    each_runtime(|runtime| {
        let root = runtime.block_on_root::<(), TaskError, _>(TaskSpec::new(TaskKind::ROOT), |_| async {
            scope(async |s| {
                let (left, right) = (Lock::named("left"), Lock::named("right"));
                let met = Channel::<()>::new(2);
                for (first, second) in [(left.clone(), right.clone()), (right.clone(), left.clone())] {
                    let met = met.clone();
                    s.spawn_future(async move {
                        let _first = first.acquire().await.expect("not held");
                        met.send(()).await.expect("open");
                        while met.len() < 2 {
                            yield_now().await;
                        }
                        let _second = second.acquire().await.expect("not held by this task");
                        Ok(())
                    })?;
                }
                Ok::<_, TaskError>(())
            })
            .await
        });
        let report = root.unwrap_err();
        let waits: Vec<_> = report.tasks.iter().map(|task| (task.id.as_str(), task.waiting.as_str())).collect();
        let expected = [("task_root", "its tasks"), ("task_root:spawn:1", "a lock"), ("task_root:spawn:2", "a lock")];
        assert_eq!(waits, expected);
        assert!(runtime.task_tree().is_empty());
    });
}

#[test]
fn what_is_waited_for_outside_is_no_deadlock() {
    each_runtime(|runtime| {
        let channel = Channel::<i64>::new(1);
        let (receiver, handle) = (channel.clone(), runtime.handle());
        let run = runtime.run(async move || {
            scope(async |s| {
                let sender = channel.clone();
                let blocking = handle.blocking(move || 5);
                s.spawn_future(async move {
                    let value = blocking.await;
                    sender.send(value).await.map_err(|_| TaskError::new("closed"))
                })?;
                receiver.receive().await.ok_or(TaskError::new("closed"))
            })
            .await
        });
        assert_eq!(run.unwrap(), 5);
    });
}

#[test]
fn taking_a_lock_twice_is_an_error_at_once() {
    each_runtime(|runtime| {
        let run = runtime.run(async || {
            let lock = Lock::new();
            let guard = lock.acquire().await.expect("free");
            assert!(lock.acquire().await.is_err() && lock.try_acquire().is_err());
            assert_eq!(lock.holder(), TaskContext::current().map(|cx| cx.task().clone()));
            drop(guard);
            assert!(lock.try_acquire().is_ok_and(|guard| guard.is_some()));
            Ok::<_, TaskError>(())
        });
        run.unwrap();
    });
}

#[test]
fn cancelling_a_crowd_reaches_everyone() {
    each_runtime(|runtime| {
        let run = runtime.run(async || {
            let handle = scope(async |s| {
                let never = Channel::<()>::new(1);
                for _ in 0..100_000 {
                    let never = never.clone();
                    s.spawn_future(async move {
                        never.receive().await;
                        Ok(())
                    })?;
                }
                yield_now().await;
                s.cancel(CancelReason::new(CancelKind::Cancel, "enough"));
                Ok::<_, TaskError>(s)
            })
            .await?;
            assert_eq!(handle.live(), 0);
            Ok::<_, TaskError>(())
        });
        run.unwrap();
    });
}

#[test]
fn the_same_seed_gives_the_same_order() {
    let order = |seed| {
        let seen = log();
        let out = seen.clone();
        let run = Runtime::simulated(seed).run(async move || {
            scope(async |s| {
                for task in 0..4 {
                    let out = out.clone();
                    s.spawn_future(async move {
                        for step in 0..3 {
                            out.push(format!("{task}.{step}"));
                            yield_now().await;
                        }
                        Ok(())
                    })?;
                }
                Ok::<_, TaskError>(())
            })
            .await
        });
        run.unwrap();
        seen.take()
    };
    assert_eq!(order(1), order(1));
    assert!((2..12).any(|seed| order(seed) != order(1)), "seeds make a difference");
}

#[test]
fn tasks_that_start_inline_keep_order_and_lose_no_wake_up() {
    each_runtime(|runtime| {
        let run = runtime.run(async || {
            scope(async |s| {
                let (go, seen) = (Channel::new(1), log());
                let mut tasks = Vec::new();
                for n in 0..200 {
                    let (go, seen) = (go.clone(), seen.clone());
                    tasks.push(s.spawn(TaskSpec::default().inline_start(), move |_| async move {
                        if n == 0 {
                            seen.push("first".into());
                        }
                        if n % 2 == 0 {
                            let turn: i32 = go.receive().await.ok_or(TaskError::new("closed"))?;
                            return Ok(turn);
                        }
                        Ok(-1)
                    })?);
                }
                assert!(seen.take().is_empty(), "nothing runs before the creator waits");
                for turn in 0..100 {
                    go.send(turn).await.map_err(|_| TaskError::new("closed"))?;
                }
                let mut sum = 0;
                for task in tasks {
                    sum += task.await.into_result()?;
                }
                Ok::<_, TaskError>(sum)
            })
            .await
        });
        assert_eq!(run.unwrap(), 99 * 50 - 100);
    });
}

type Nested = std::pin::Pin<Box<dyn std::future::Future<Output = Result<String, TaskError>> + Send>>;

fn nest(depth: usize) -> Nested {
    Box::pin(async move {
        let cx = TaskContext::current().expect("inside a task");
        if depth == 0 {
            return Ok(cx.task().id());
        }
        let mut body = Scope::<TaskError>::open(&cx, &cx.node(), Policy::TaskBody);
        let child = body.spawn(TaskSpec::default().inline_start(), |_| nest(depth - 1))?;
        let id = child.await.into_result();
        body.close().await?;
        id
    })
}

#[test]
fn a_long_chain_of_tasks_needs_no_stack() {
    each_runtime(|runtime| {
        let id = runtime.run(|| nest(20_000)).unwrap();
        assert_eq!(id.matches(":spawn:1").count(), 20_000);
    });
}

#[test]
fn cancelling_a_long_chain_of_tasks_needs_no_stack() {
    each_runtime(|runtime| {
        let run = runtime.run(async || {
            let cx = TaskContext::current().expect("inside a task");
            let mut body = Scope::<TaskError>::open(&cx, &cx.node(), Policy::TaskBody);
            let top = body.spawn_future(forever(20_000))?;
            while body.tasks().len() < 20_001 {
                for _ in 0..1_000 {
                    yield_now().await;
                }
            }
            top.cancel(reason(CancelKind::Cancel));
            assert!(matches!(top.join().await, Outcome::Cancelled(_)));
            body.close().await
        });
        run.unwrap();
        assert!(runtime.task_tree().is_empty());
    });
}

fn forever(depth: usize) -> Nested {
    Box::pin(async move {
        let cx = TaskContext::current().expect("inside a task");
        if depth == 0 {
            return std::future::pending().await;
        }
        let body = Scope::<TaskError>::open(&cx, &cx.node(), Policy::TaskBody);
        body.spawn_future(forever(depth - 1))?.await.into_result()
    })
}
