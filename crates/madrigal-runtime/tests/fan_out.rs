//! Fan-out: order of results, the cap, failing, settling, streaming.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use madrigal_runtime::{
    CancelKind, Channel, FanMode, FanOptions, FanOut, Items, Outcome, Policy, Received, Runtime, Scope, TaskContext,
    TaskError, TaskKind, map_concurrent, map_concurrent_settled, scope, yield_now,
};
use support::{each_runtime, reason};

fn capped(limit: usize) -> FanOptions {
    FanOptions { limit: Some(limit), ..FanOptions::default() }
}

#[test]
fn results_are_in_order_and_at_most_so_many_are_in_flight() {
    each_runtime(|runtime| {
        for limit in [1, 2, 7, 100, 0] {
            let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let (counter, peak) = (now.clone(), most.clone());
            let run = runtime.run(async move || {
                map_concurrent(capped(limit), Items(0..300), |index, item| {
                    let (now, most) = (counter.clone(), peak.clone());
                    async move {
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        for _ in 0..item % 5 {
                            yield_now().await;
                        }
                        now.fetch_sub(1, Ordering::SeqCst);
                        Ok::<_, TaskError>((index, item))
                    }
                })
                .await
            });
            let expected: Vec<_> = (0..300).map(|n| (n as usize, n)).collect();
            assert_eq!(run.unwrap(), expected, "limit {limit}");
            assert!(limit == 0 || most.load(Ordering::SeqCst) <= limit, "limit {limit}");
        }
    });
}

#[test]
fn the_cap_is_used_fully() {
    let runtime = Runtime::simulated(5);
    let run = runtime.run(async || {
        let clock = TaskContext::current().expect("inside").runtime().clock().clone();
        map_concurrent(capped(10), Items(0..100), |_, _| {
            let clock = clock.clone();
            async move {
                clock.sleep(Duration::from_millis(1)).await;
                Ok::<_, TaskError>(())
            }
        })
        .await
    });
    assert_eq!(run.unwrap().len(), 100);
    assert_eq!(runtime.clock().now_ms(), 10);
}

#[test]
fn the_first_failure_stops_the_source_and_waits_for_the_rest() {
    each_runtime(|runtime| {
        let started = Arc::new(AtomicUsize::new(0));
        let counter = started.clone();
        let run = runtime.run(async move || {
            map_concurrent(capped(3), Items(0..), |index, _: i32| {
                counter.fetch_add(1, Ordering::SeqCst);
                async move {
                    match index {
                        5 => Err(TaskError::new("five")),
                        _ => {
                            yield_now().await;
                            Ok(index)
                        }
                    }
                }
            })
            .await
        });
        assert_eq!(run.unwrap_err().to_string(), "five");
        assert!(started.load(Ordering::SeqCst) <= 300);
        assert!(runtime.task_tree().is_empty());
    });
}

#[test]
fn a_failure_surfaces_while_the_source_is_slow() {
    each_runtime(|runtime| {
        let run = runtime.run(async || {
            let items = Channel::new(4);
            items.try_send(1).expect("room");
            map_concurrent(capped(2), Received::new(items), |_, n| async move {
                yield_now().await;
                Err::<(), _>(TaskError::new(format!("item {n}")))
            })
            .await
        });
        assert_eq!(run.unwrap_err().to_string(), "item 1");
    });
}

#[test]
fn settling_keeps_every_outcome_in_its_place() {
    each_runtime(|runtime| {
        let run = runtime.run(async || {
            map_concurrent_settled(capped(4), Items(0..50), |_, n| async move {
                yield_now().await;
                if n % 7 == 0 { Err(TaskError::new(n.to_string())) } else { Ok(n) }
            })
            .await
        });
        for (n, outcome) in run.unwrap().into_iter().enumerate() {
            match outcome {
                Outcome::Ok(value) => assert_eq!(value, n),
                Outcome::Failed(error) => assert!(n % 7 == 0 && error.to_string() == n.to_string()),
                Outcome::Cancelled(_) => panic!("nobody cancelled"),
            }
        }
    });
}

#[test]
fn a_channel_is_a_source() {
    each_runtime(|runtime| {
        let run = runtime.run(async || {
            scope(async |s| {
                let items = Channel::new(2);
                let producer = items.clone();
                s.spawn_future(async move {
                    for n in 0..100 {
                        producer.send(n).await.map_err(|_| TaskError::new("closed"))?;
                    }
                    producer.close();
                    Ok(())
                })?;
                map_concurrent(capped(3), Received::new(items), |_, n| async move { Ok::<_, TaskError>(n * 2) }).await
            })
            .await
        });
        assert_eq!(run.unwrap(), (0..100).map(|n| n * 2).collect::<Vec<_>>());
    });
}

#[test]
fn a_stream_comes_in_completion_order_and_can_be_left() {
    let runtime = Runtime::simulated(2);
    let run = runtime.run(async || {
        let cx = TaskContext::current().expect("inside a task");
        let clock = cx.runtime().clock().clone();
        let options = FanOptions { kind: TaskKind::PARALLEL_EACH_STREAM, mode: FanMode::Stream, ..capped(3) };
        let mut fan = FanOut::<u64, TaskError>::open(&cx, &cx.node(), &options);
        for ms in [30, 10, 20] {
            assert!(poll_fn(|cx| fan.poll_room(cx)).await);
            let clock = clock.clone();
            fan.start(|_, child| async move {
                assert!(child.task().id().starts_with("task_root:parallel_each_stream:1:"));
                assert_eq!(child.task().group_id().as_deref(), Some("task_root:parallel_each_stream:1"));
                clock.sleep(Duration::from_millis(ms)).await;
                Ok(ms)
            });
        }
        let mut seen = Vec::new();
        for _ in 0..2 {
            match poll_fn(|cx| fan.poll_next(cx)).await {
                Some((index, Outcome::Ok(ms))) => seen.push((index, ms)),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(seen, [(1, 10), (2, 20)]);
        fan.cancel(reason(CancelKind::Cancel));
        poll_fn(|cx| fan.poll_closed(cx)).await;
        assert_eq!(fan.in_flight(), 0);
        Ok::<_, TaskError>(())
    });
    run.unwrap();
    assert_eq!(runtime.clock().now_ms(), 20);
}

#[test]
fn cancelling_the_owner_cancels_the_children_first() {
    each_runtime(|runtime| {
        let run = runtime.run(async || {
            let cx = TaskContext::current().expect("inside a task");
            let mut body = Scope::<TaskError>::open(&cx, &cx.node(), Policy::TaskBody);
            let running = Arc::new(AtomicUsize::new(0));
            let counter = running.clone();
            let owner = body.spawn_future(async move {
                map_concurrent(capped(0), Items(0..20), |_, _| {
                    let guard = Running::new(&counter);
                    async move {
                        let _guard = guard;
                        std::future::pending::<Result<(), TaskError>>().await
                    }
                })
                .await
            })?;
            while running.load(Ordering::SeqCst) < 20 {
                yield_now().await;
            }
            owner.cancel(reason(CancelKind::Cancel));
            assert!(matches!(owner.join().await, Outcome::Cancelled(_)));
            assert_eq!(running.load(Ordering::SeqCst), 0);
            body.close().await
        });
        run.unwrap();
    });
}

struct Running(Arc<AtomicUsize>);

impl Running {
    fn new(counter: &Arc<AtomicUsize>) -> Running {
        counter.fetch_add(1, Ordering::SeqCst);
        Running(counter.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn a_hundred_thousand_items_pass_through() {
    each_runtime(|runtime| {
        let run = runtime.run(async || {
            map_concurrent(capped(0), Items(0..100_000_u64), |_, n| async move { Ok::<_, TaskError>(n) }).await
        });
        assert_eq!(run.unwrap().into_iter().sum::<u64>(), 99_999 * 50_000);
    });
}
