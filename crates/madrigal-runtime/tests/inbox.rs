//! The inbox: order, wake-ups, bounds, and what is left after sessions have gone (nothing).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use madrigal_runtime::inbox::{Inbox, InboxConfig, InboxEntry, InboxHub, NewEntry, Overflow, PushError, WaitOutcome};
use madrigal_runtime::{Clock, Runtime, TaskError, scope, yield_now};
use proptest::prelude::*;
use support::each_runtime;

fn hub() -> InboxHub {
    InboxHub::new(InboxConfig::new(&Clock::virtual_at(0)))
}

fn note(content: impl ToString) -> NewEntry {
    NewEntry::new("note", content.to_string(), "test")
}

fn contents(entries: &[InboxEntry]) -> Vec<&str> {
    entries.iter().map(|it| it.content.as_str()).collect()
}

fn sequences(entries: &[InboxEntry]) -> Vec<u64> {
    entries.iter().map(|it| it.sequence).collect()
}

#[test]
fn many_producers_and_two_drainers_lose_and_repeat_nothing() {
    const PRODUCERS: usize = 8;
    const EACH: usize = 2_000;
    let clock = Clock::virtual_at(0);
    let config = InboxConfig { capacity: usize::MAX, max_bytes: usize::MAX, ..InboxConfig::new(&clock) };
    let hub = InboxHub::new(config);
    let inbox = hub.open("s");
    let (seen, running) = (Mutex::new(Vec::new()), AtomicUsize::new(PRODUCERS));
    std::thread::scope(|threads| {
        for producer in 0..PRODUCERS {
            let (hub, running) = (&hub, &running);
            threads.spawn(move || {
                for n in 0..EACH {
                    hub.try_push("s", note(producer * EACH + n)).unwrap();
                }
                running.fetch_sub(1, Ordering::SeqCst);
            });
        }
        for _ in 0..2 {
            threads.spawn(|| {
                let mut own = Vec::new();
                loop {
                    let last_round = running.load(Ordering::SeqCst) == 0;
                    own.extend(inbox.drain());
                    if last_round {
                        break;
                    }
                    let _ = inbox.wait_sync(Duration::from_millis(1));
                }
                assert!(own.windows(2).all(|pair| pair[0].sequence < pair[1].sequence), "each view ascends");
                seen.lock().unwrap().extend(own);
            });
        }
    });
    let mut seen = seen.into_inner().unwrap();
    seen.sort_by_key(|it| it.sequence);
    assert_eq!(sequences(&seen), (1..=(PRODUCERS * EACH) as u64).collect::<Vec<_>>());
    let mut by_content: Vec<usize> = seen.iter().map(|it| it.content.parse().unwrap()).collect();
    by_content.sort_unstable();
    assert_eq!(by_content, (0..PRODUCERS * EACH).collect::<Vec<_>>());
}

#[test]
fn hand_overs_between_threads_never_wait_for_the_timeout() {
    let hub = hub();
    let (there, back) = (hub.open("there"), hub.open("back"));
    let rounds = 5_000;
    std::thread::scope(|threads| {
        threads.spawn(|| {
            for n in 0..rounds {
                assert_eq!(there.wait_sync(Duration::from_secs(10)), Ok(WaitOutcome::Ready));
                assert_eq!(contents(&there.drain()), [n.to_string()]);
                back.try_push(note(n)).unwrap();
            }
        });
        for n in 0..rounds {
            there.try_push(note(n)).unwrap();
            assert_eq!(back.wait_sync(Duration::from_secs(10)), Ok(WaitOutcome::Ready));
            back.drain();
        }
    });
}

#[test]
fn tasks_wait_by_the_injected_clock() {
    each_runtime(|runtime| {
        let clock = runtime.clock().clone();
        clock.make_virtual(0);
        let hub = InboxHub::new(InboxConfig::new(&clock));
        let outcome = runtime.run(async move || {
            let inbox = hub.open("s");
            let early = inbox.wait_async(Some(Duration::from_secs(60))).await;
            assert!(inbox.wait_sync(Duration::ZERO).is_err(), "refused in a task");
            scope(async |s| {
                let pusher = hub.clone();
                s.spawn_future(async move {
                    clock.sleep(Duration::from_secs(5)).await;
                    pusher.try_push("s", note("late")).unwrap();
                    Ok(())
                })?;
                let ready = inbox.wait_async(None).await;
                let entry = inbox.drain().remove(0);
                Ok::<_, TaskError>((early, ready, entry.ts_ms))
            })
            .await
        });
        assert_eq!(outcome.unwrap(), (WaitOutcome::TimedOut, WaitOutcome::Ready, 65_000));
    });
}

#[test]
fn threads_wait_by_the_wall() {
    let hub = hub();
    let inbox = hub.open("s");
    let started = std::time::Instant::now();
    assert_eq!(inbox.wait_sync(Duration::from_millis(20)), Ok(WaitOutcome::TimedOut));
    assert!(started.elapsed() >= Duration::from_millis(20));
}

#[test]
fn nothing_is_left_of_sessions_that_have_gone() {
    let hub = hub();
    for n in 0..100_000 {
        let id = format!("session-{n}");
        let inbox = hub.open(&id);
        hub.try_push(&id, note(n)).unwrap();
        if n % 2 == 0 {
            inbox.drain();
        } else {
            hub.close_session(&id);
        }
    }
    assert_eq!(hub.sessions(), 0);
    assert!(hub.find("session-1").is_none(), "a look makes nothing");
    assert_eq!(hub.try_push("big", note("x".repeat(2 << 20))), Err(PushError::TooLarge { max_bytes: 1 << 20 }));
    drop(hub.reserve("reserved").unwrap());
    assert_eq!(hub.sessions(), 0);
}

#[test]
fn a_session_with_entries_outlives_its_handles() {
    let hub = hub();
    let inbox = hub.open("s");
    hub.try_push("s", note(1)).unwrap();
    let second = inbox.clone();
    drop(inbox);
    drop(second);
    assert_eq!(hub.sessions(), 1);
    assert_eq!(contents(&hub.open("s").drain()), ["1"]);
    assert_eq!(hub.sessions(), 0);
}

fn waiters(outcome: WaitOutcome, act: impl Fn(&InboxHub) + Copy + Send + Sync + 'static) {
    each_runtime(|runtime| {
        let hub = InboxHub::new(InboxConfig::new(runtime.clock()));
        let outcomes = runtime.run(async move || {
            scope(async |s| {
                let inbox = hub.open("s");
                let mut waiting = Vec::new();
                for _ in 0..3 {
                    let inbox = inbox.clone();
                    waiting.push(s.spawn_future(async move { Ok(inbox.wait_async(None).await) })?);
                }
                for _ in 0..100 {
                    yield_now().await;
                }
                act(&hub);
                let mut outcomes = Vec::new();
                for task in waiting {
                    outcomes.push(task.await.into_result()?);
                }
                Ok::<_, TaskError>(outcomes)
            })
            .await
        });
        let outcomes = outcomes.unwrap();
        // On threads a waiter may begin only after the act.
        assert!(outcomes.iter().all(|it| *it == outcome), "{outcomes:?}");
    });
}

#[test]
fn a_push_wakes_all_who_wait() {
    waiters(WaitOutcome::Ready, |hub| assert_eq!(hub.try_push("s", note(1)), Ok(1)));
}

#[test]
fn closing_wakes_all_who_wait() {
    waiters(WaitOutcome::Closed, |hub| assert_eq!(hub.close_session("s"), 0));
}

#[test]
fn clearing_tells_who_waits_and_sequences_go_on() {
    let runtime = Runtime::simulated(1);
    let hub = InboxHub::new(InboxConfig::new(runtime.clock()));
    let ended = runtime.run(async move || {
        scope(async |s| {
            let inbox = hub.open("s");
            hub.try_push("s", note(1)).unwrap();
            assert_eq!(hub.clear_session("s"), 1);
            let waiting = inbox.clone();
            let waiter = s.spawn_future(async move { Ok(waiting.wait_async(None).await) })?;
            for _ in 0..10 {
                yield_now().await;
            }
            hub.clear_session("s");
            let cleared = waiter.await.into_result()?;
            let waiting = inbox.clone();
            let waiter = s.spawn_future(async move { Ok(waiting.wait_async(None).await) })?;
            yield_now().await;
            let sequence = hub.try_push("s", note(2)).unwrap();
            Ok::<_, TaskError>((cleared, waiter.await.into_result()?, sequence))
        })
        .await
    });
    assert_eq!(ended.unwrap(), (WaitOutcome::Cleared, WaitOutcome::Ready, 2));
}

#[test]
fn a_full_session_refuses_drops_or_waits() {
    let of = |overflow| {
        let config = InboxConfig { capacity: 2, overflow, ..InboxConfig::new(&Clock::virtual_at(0)) };
        let hub = InboxHub::new(config);
        let inbox = hub.open("s");
        hub.try_push("s", note(1).priority(true)).unwrap();
        hub.try_push("s", note(2)).unwrap();
        let third = hub.try_push("s", note(3));
        (third, contents(&inbox.drain()).join(" "), hub.metrics().dropped)
    };
    let full = Err(PushError::Full { capacity: 2 });
    assert_eq!(of(Overflow::Reject), (full, "1 2".to_owned(), 0));
    assert_eq!(of(Overflow::Block), (full, "1 2".to_owned(), 0));
    assert_eq!(of(Overflow::DropOldest), (Ok(3), "1 3".to_owned(), 1));
}

#[test]
fn a_reserved_slot_is_never_refused() {
    let hub = InboxHub::new(InboxConfig { capacity: 2, ..InboxConfig::new(&Clock::virtual_at(0)) });
    let inbox = hub.open("s");
    let reservation = hub.reserve("s").unwrap();
    hub.try_push("s", note(1)).unwrap();
    assert_eq!(hub.try_push("s", note(2)), Err(PushError::Full { capacity: 2 }));
    assert!(hub.reserve("s").is_err());
    assert_eq!(reservation.push(note("done")), Ok(2));
    assert_eq!(contents(&inbox.drain()), ["1", "done"]);
    let late = hub.reserve("s").unwrap();
    hub.close_session("s");
    assert_eq!(late.push(note("x")), Err(PushError::Closed));
}

#[test]
fn blocked_pushes_are_served_in_order() {
    each_runtime(|runtime| {
        let config = InboxConfig { capacity: 1, overflow: Overflow::Block, ..InboxConfig::new(runtime.clock()) };
        let hub = InboxHub::new(config);
        let got = runtime.run(async move || {
            scope(async |s| {
                let inbox = hub.open("s");
                for n in 0..4 {
                    let pusher = hub.clone();
                    s.spawn_future(async move {
                        pusher.push("s", note(n), None).await.map(drop).map_err(|it| TaskError::new(it.to_string()))
                    })?;
                    for _ in 0..50 {
                        yield_now().await;
                    }
                }
                let mut got = Vec::new();
                while got.len() < 4 {
                    inbox.wait_async(None).await;
                    got.extend(inbox.drain().into_iter().map(|it| it.content));
                }
                Ok::<_, TaskError>(got)
            })
            .await
        });
        let mut got = got.unwrap();
        // On threads the pushes may begin in another order.
        got.sort();
        assert_eq!(got, ["0", "1", "2", "3"]);
    });
}

#[test]
fn a_dropped_lease_gives_everything_back() {
    let hub = hub();
    let inbox = hub.open("s");
    (1..=3).for_each(|n| assert_eq!(hub.try_push("s", note(n)), Ok(n)));
    drop(inbox.lease(2));
    assert_eq!(
        inbox.snapshot().iter().map(|it| (it.sequence, it.attempts)).collect::<Vec<_>>(),
        [(1, 1), (2, 1), (3, 0)]
    );
    inbox.lease(2).commit();
    assert_eq!(sequences(&inbox.drain()), [3]);
}

#[test]
fn a_panicking_predicate_takes_nothing() {
    let hub = hub();
    let inbox = hub.open("s");
    hub.try_push("s", note(1)).unwrap();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| inbox.drain_where(|_| panic!("no"))));
    assert!(panicked.is_err());
    assert_eq!(inbox.drain_where(|_| hub.try_push("s", note(2)).is_ok()).len(), 1, "it may use the inbox");
    assert_eq!(inbox.pending_count(), 1);
}

/// What the model keeps of an entry.
#[derive(Clone, Debug, Default)]
struct Model {
    queued: BTreeMap<u64, u32>,
    leased: BTreeMap<u64, u32>,
    drained: Vec<InboxEntry>,
    last: u64,
    cleared_to: u64,
}

fn step(inbox: &Inbox, hub: &InboxHub, model: &mut Model, action: u8, n: u64) {
    match action {
        0..=2 => {
            model.last += 1;
            assert_eq!(inbox.try_push(note(n)), Ok(model.last));
            model.queued.insert(model.last, 0);
        }
        3 => {
            let taken = inbox.drain();
            assert_eq!(sequences(&taken), model.queued.keys().copied().collect::<Vec<_>>());
            model.queued.clear();
            model.drained.extend(taken);
        }
        4 => {
            let taken = inbox.drain_where(|it| it.sequence % 3 == n % 3);
            let expected: Vec<u64> = model.queued.keys().copied().filter(|it| it % 3 == n % 3).collect();
            assert_eq!(sequences(&taken), expected);
            model.queued.retain(|it, _| it % 3 != n % 3);
            model.drained.extend(taken);
        }
        5 => {
            let back = std::mem::take(&mut model.drained);
            let expected: Vec<_> = back.iter().filter(|it| it.sequence > model.cleared_to).collect();
            model.queued.extend(expected.iter().map(|it| (it.sequence, it.attempts)));
            let count = expected.len();
            assert_eq!(inbox.requeue(back), count);
        }
        6 => {
            let taken = inbox.take_where(|_| true, n as usize % 3, true);
            assert!(taken.len() <= n as usize % 3);
            for entry in taken {
                assert_eq!(model.queued.remove(&entry.sequence), Some(entry.attempts));
                model.leased.insert(entry.sequence, entry.attempts);
            }
        }
        7 => {
            let all: Vec<u64> = model.leased.keys().copied().collect();
            assert_eq!(inbox.refuse(&all), all.len());
            let back = std::mem::take(&mut model.leased).into_iter().map(|(it, attempts)| (it, attempts + 1));
            model.queued.extend(back.filter(|(_, attempts)| *attempts < 5));
        }
        8 => {
            let all: Vec<u64> = model.leased.keys().copied().collect();
            assert_eq!(inbox.acknowledge(&all), all.len());
            model.leased.clear();
        }
        _ if n.is_multiple_of(4) => {
            assert_eq!(hub.clear_session("s"), model.queued.len() + model.leased.len());
            model.cleared_to = model.last;
            model.queued.clear();
            model.leased.clear();
        }
        _ => {}
    }
    let shown: Vec<(u64, u32)> = inbox.snapshot().iter().map(|it| (it.sequence, it.attempts)).collect();
    assert_eq!(shown, model.queued.iter().map(|(at, attempts)| (*at, *attempts)).collect::<Vec<_>>());
}

proptest! {
    #[test]
    fn a_session_does_what_a_sorted_map_does(actions in proptest::collection::vec((0u8..10, 0u64..100), 1..200)) {
        let hub = hub();
        let inbox = hub.open("s");
        let mut model = Model::default();
        for (action, n) in actions {
            step(&inbox, &hub, &mut model, action, n);
        }
    }
}
