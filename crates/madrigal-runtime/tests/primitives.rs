//! Channels, select, locks, permits, timers: order, fairness, and what a cancelled wait leaves behind (nothing).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use madrigal_runtime::sync::{Lock, Semaphore};
use madrigal_runtime::{
    Channel, Clock, Closed, Runtime, Selected, TaskContext, TaskError, TryReceiveError, TrySendError, scope, select,
    try_select, yield_now,
};
use support::{each_runtime, log};

/// A waker that counts.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A future polled by hand.
struct Hand<F> {
    future: Pin<Box<F>>,
    count: Arc<Count>,
}

fn hand<F: Future>(future: F) -> Hand<F> {
    Hand { future: Box::pin(future), count: Arc::default() }
}

impl<F: Future> Hand<F> {
    fn poll(&mut self) -> Poll<F::Output> {
        let waker = Waker::from(self.count.clone());
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    fn parked(mut self) -> Self {
        assert!(self.poll().is_pending());
        self
    }

    fn woken(&self) -> usize {
        self.count.0.load(Ordering::SeqCst)
    }
}

#[test]
fn values_come_in_order_and_receivers_are_served_in_order() {
    let channel = Channel::new(2);
    let mut first = hand(channel.receive()).parked();
    let mut second = hand(channel.receive()).parked();
    channel.try_send(1).unwrap();
    assert_eq!((first.woken(), second.woken()), (1, 0), "one value wakes one receiver");
    assert_eq!(channel.try_receive(), Err(TryReceiveError::Empty), "nobody overtakes the parked");
    channel.try_send(2).unwrap();
    assert_eq!((second.poll(), first.poll()), (Poll::Ready(Some(2)), Poll::Ready(Some(1))));
}

#[test]
fn senders_wait_for_room_in_order() {
    let channel = Channel::new(1);
    channel.try_send(0).unwrap();
    assert_eq!(channel.try_send(9), Err(TrySendError::Full(9)));
    let mut first = hand(channel.send(1)).parked();
    let mut second = hand(channel.send(2)).parked();
    assert_eq!(channel.try_receive(), Ok(0));
    assert_eq!((first.poll(), second.poll()), (Poll::Ready(Ok(())), Poll::Pending));
    assert_eq!(channel.try_send(9), Err(TrySendError::Full(9)), "the room went to the parked sender");
    assert_eq!((channel.try_receive(), channel.try_receive()), (Ok(1), Ok(2)));
    assert_eq!(second.poll(), Poll::Ready(Ok(())));
    assert_eq!((channel.len(), channel.capacity()), (0, 1));
}

#[test]
fn a_dropped_send_has_sent_nothing() {
    let channel = Channel::new(1);
    channel.try_send(0).unwrap();
    drop(hand(channel.send(1)).parked());
    drop(hand(channel.send(2)));
    let mut third = hand(channel.send(3)).parked();
    assert_eq!((channel.try_receive(), channel.try_receive()), (Ok(0), Ok(3)));
    assert_eq!(third.poll(), Poll::Ready(Ok(())));
    assert_eq!(channel.try_receive(), Err(TryReceiveError::Empty));
}

#[test]
fn a_dropped_receive_passes_its_value_on() {
    let channel = Channel::new(2);
    let first = hand(channel.receive()).parked();
    let mut second = hand(channel.receive()).parked();
    channel.try_send(1).unwrap();
    drop(first);
    assert_eq!((second.woken(), second.poll()), (1, Poll::Ready(Some(1))));

    let lone = hand(channel.receive()).parked();
    channel.try_send(2).unwrap();
    channel.try_send(3).unwrap();
    drop(lone);
    assert_eq!((channel.try_receive(), channel.try_receive()), (Ok(2), Ok(3)), "back to the front");

    drop(hand(channel.receive()).parked());
    channel.try_send(4).unwrap();
    assert_eq!(channel.try_receive(), Ok(4));
}

#[test]
fn closing_wakes_everyone_and_keeps_what_is_there() {
    let full = Channel::new(1);
    full.try_send(0).unwrap();
    let mut senders = [hand(full.send(1)).parked(), hand(full.send(2)).parked()];
    full.close();
    full.close();
    assert!(senders.iter().all(|sender| sender.woken() == 1));
    assert_eq!(senders.each_mut().map(Hand::poll), [Poll::Ready(Err(Closed(1))), Poll::Ready(Err(Closed(2)))]);
    assert_eq!(full.try_send(3), Err(TrySendError::Closed(3)));
    assert!(full.is_closed() && !full.is_drained());
    assert_eq!(hand(full.receive()).poll(), Poll::Ready(Some(0)));
    assert_eq!((full.try_receive(), hand(full.receive()).poll()), (Err(TryReceiveError::Closed), Poll::Ready(None)));

    let empty = Channel::<i32>::new(1);
    let mut receivers = [hand(empty.receive()).parked(), hand(empty.receive()).parked()];
    let mut selecting = hand(select(vec![empty.clone()])).parked();
    empty.close();
    assert_eq!(receivers.each_mut().map(Hand::poll), [Poll::Ready(None), Poll::Ready(None)]);
    assert_eq!((selecting.woken(), selecting.poll()), (1, Poll::Ready(Selected::AllClosed)));
}

#[test]
fn select_takes_exactly_one_value_the_first_in_order() {
    let (a, b) = (Channel::new(2), Channel::new(2));
    assert_eq!(try_select(&[a.clone(), b.clone()]), None);
    b.try_send(1).unwrap();
    a.try_send(2).unwrap();
    assert_eq!(hand(select(vec![a.clone(), b.clone()])).poll(), Poll::Ready(Selected::Value(0, 2)));
    assert_eq!((a.len(), b.len()), (0, 1));

    assert_eq!(b.try_receive(), Ok(1));
    let mut parked = hand(select(vec![a.clone(), b.clone()])).parked();
    b.try_send(3).unwrap();
    a.try_send(4).unwrap();
    assert_eq!((parked.woken(), parked.poll()), (1, Poll::Ready(Selected::Value(1, 3))));
    assert_eq!((a.try_receive(), b.try_receive()), (Ok(4), Err(TryReceiveError::Empty)));
}

#[test]
fn a_dropped_select_has_taken_nothing() {
    let (a, b) = (Channel::new(2), Channel::new(2));
    drop(hand(select(vec![a.clone(), b.clone()])).parked());
    a.try_send(1).unwrap();
    assert_eq!(a.try_receive(), Ok(1));

    let committed = hand(select(vec![a.clone(), b.clone()])).parked();
    let mut behind = hand(b.receive()).parked();
    b.try_send(2).unwrap();
    assert_eq!(behind.woken(), 0);
    drop(committed);
    assert_eq!(behind.poll(), Poll::Ready(Some(2)));
}

#[test]
fn select_skips_closed_channels() {
    let (a, b) = (Channel::new(1), Channel::new(1));
    a.close();
    let mut parked = hand(select(vec![a.clone(), b.clone()])).parked();
    b.try_send(1).unwrap();
    assert_eq!(parked.poll(), Poll::Ready(Selected::Value(1, 1)));
    let mut parked = hand(select(vec![a.clone(), b.clone()])).parked();
    b.close();
    assert_eq!(parked.poll(), Poll::Ready(Selected::AllClosed));
    assert_eq!(try_select(&[a, b]), Some(Selected::AllClosed));
    assert_eq!(try_select::<i32>(&[]), Some(Selected::AllClosed));
}

#[test]
fn permits_are_granted_in_order_and_never_lost() {
    let semaphore = Semaphore::new(3);
    let held = semaphore.try_acquire(2).unwrap();
    let mut big = hand(semaphore.acquire(2)).parked();
    let small = hand(semaphore.acquire(1)).parked();
    assert!(semaphore.try_acquire(1).is_none(), "nobody overtakes the parked");
    drop(held);
    assert_eq!((big.woken(), small.woken(), semaphore.available()), (1, 1, 0));
    drop(big.poll());
    drop(small);
    assert_eq!(semaphore.available(), 3, "a granted permit nobody took comes back");

    let held = semaphore.try_acquire(3).unwrap();
    let big = hand(semaphore.acquire(3)).parked();
    let mut small = hand(semaphore.acquire(1)).parked();
    drop(held);
    drop(big);
    assert_eq!(small.woken(), 1, "what was granted to the dropped one goes to the next");
    assert!(matches!(small.poll(), Poll::Ready(permit) if permit.permits() == 1));
    assert_eq!((semaphore.available(), semaphore.waiting()), (3, 0));
}

#[test]
fn dropping_a_big_wait_lets_small_ones_behind_it_through() {
    let semaphore = Semaphore::new(2);
    let held = semaphore.try_acquire(1).unwrap();
    let big = hand(semaphore.acquire(2)).parked();
    let mut small = hand(semaphore.acquire(1)).parked();
    drop(big);
    assert!(small.poll().is_ready());
    drop(held);
    assert_eq!(semaphore.available(), 2);
}

#[test]
fn a_lock_goes_round_in_order_and_survives_dropped_waits() {
    let lock = Lock::new();
    let held = lock.try_acquire().unwrap().unwrap();
    let first = hand(lock.acquire()).parked();
    let mut second = hand(lock.acquire()).parked();
    assert_eq!(lock.waiting(), 2);
    drop(held);
    assert!(lock.is_held(), "it belongs to the first waiter already");
    assert!(lock.try_acquire().unwrap().is_none());
    drop(first);
    assert_eq!(second.woken(), 1);
    assert!(matches!(second.poll(), Poll::Ready(Ok(_))));
    assert!(!lock.is_held());
}

#[test]
fn a_fair_lock_alternates() {
    each_runtime(|runtime| {
        let seen = log();
        let out = seen.clone();
        let run = runtime.run(async move || {
            scope(async |s| {
                let lock = Lock::new();
                let start = lock.acquire().await.expect("free");
                for task in 0..2 {
                    let (lock, out) = (lock.clone(), out.clone());
                    s.spawn_future(async move {
                        for _ in 0..100 {
                            let _held = lock.acquire().await.expect("not held by this task");
                            out.push(task.to_string());
                        }
                        Ok(())
                    })?;
                }
                while lock.waiting() < 2 {
                    yield_now().await;
                }
                drop(start);
                Ok::<_, TaskError>(())
            })
            .await
        });
        run.unwrap();
        let order = seen.take();
        assert_eq!(order.len(), 200);
        let turns = order.windows(2).take(150).filter(|pair| pair[0] != pair[1]).count();
        assert!(turns >= 140, "a task that runs does not keep the lock to itself: {turns} of 150");
    });
}

#[test]
fn virtual_time_jumps_and_timers_fire_in_order() {
    for seed in 0..5 {
        let runtime = Runtime::simulated(seed);
        let seen = log();
        let out = seen.clone();
        let run = runtime.run(async move || {
            scope(async |s| {
                let clock = TaskContext::current().expect("inside").runtime().clock().clone();
                for hours in [3, 1, 2] {
                    let (clock, out) = (clock.clone(), out.clone());
                    s.spawn_future(async move {
                        clock.sleep(Duration::from_secs(hours * 3600)).await;
                        out.push(format!("{hours}h at {}", clock.now_ms() / 3_600_000));
                        Ok(())
                    })?;
                }
                Ok::<_, TaskError>(())
            })
            .await
        });
        run.unwrap();
        assert_eq!(seen.take(), ["1h at 1", "2h at 2", "3h at 3"]);
    }
}

#[test]
fn advancing_runs_everything_due_first() {
    let tokio = Runtime::builder().workers(2).clock(Clock::virtual_at(1_000)).build();
    for runtime in [tokio, Runtime::builder().workers(1).build(), Runtime::simulated(1)] {
        let seen = log();
        let out = seen.clone();
        let run = runtime.run(async move || {
            let runtime = TaskContext::current().expect("inside").runtime();
            runtime.mock_time(5_000);
            scope(async |s| {
                let clock = runtime.clock().clone();
                let start = clock.now_ns();
                let ticker = {
                    let (clock, out) = (clock.clone(), out.clone());
                    async move {
                        for tick in 1..=3 {
                            clock.sleep(Duration::from_millis(10)).await;
                            out.push(format!("tick {tick} at {}", (clock.now_ns() - start) / 1_000_000));
                        }
                        Ok(())
                    }
                };
                s.spawn_future(ticker)?;
                clock.advance(Duration::from_millis(20)).await;
                out.push(format!("advanced to {}", clock.wall_ms()));
                Ok::<_, TaskError>(())
            })
            .await
        });
        run.unwrap();
        assert_eq!(seen.take(), ["tick 1 at 10", "tick 2 at 20", "advanced to 5020", "tick 3 at 30"]);
    }
}

#[test]
fn a_dropped_sleep_leaves_no_timer_behind() {
    let runtime = Runtime::simulated(0);
    let run = runtime.run(async || {
        let clock = TaskContext::current().expect("inside").runtime().clock().clone();
        for _ in 0..10_000 {
            let mut sleep = Box::pin(clock.sleep(Duration::from_secs(3600)));
            std::future::poll_fn(|cx| {
                assert!(sleep.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
        }
        clock.sleep(Duration::from_millis(1)).await;
        assert_eq!(clock.now_ms(), 1);
        Ok::<_, TaskError>(())
    });
    run.unwrap();
    assert_eq!(runtime.clock().now_ms(), 1);
}

#[test]
fn ping_pong_loses_no_wake_up() {
    each_runtime(|runtime| {
        let run = runtime.run(async || {
            scope(async |s| {
                let (ping, pong) = (Channel::new(1), Channel::new(1));
                let (hear, answer) = (ping.clone(), pong.clone());
                s.spawn_future(async move {
                    while let Some(n) = hear.receive().await {
                        answer.send(n + 1).await.map_err(|_| TaskError::new("closed"))?;
                    }
                    Ok(())
                })?;
                let mut n = 0;
                while n < 20_000 {
                    ping.send(n).await.map_err(|_| TaskError::new("closed"))?;
                    n = pong.receive().await.expect("open");
                }
                ping.close();
                Ok::<_, TaskError>(n)
            })
            .await
        });
        assert_eq!(run.unwrap(), 20_000);
    });
}

#[test]
fn four_producers_lose_and_reorder_nothing() {
    each_runtime(|runtime| {
        let run = runtime.run(async || {
            scope(async |s| {
                let channel = Channel::new(3);
                let mut producers = Vec::new();
                for producer in 0..4_usize {
                    let channel = channel.clone();
                    producers.push(s.spawn_future(async move {
                        for n in 0..5_000_usize {
                            channel.send((producer, n)).await.map_err(|_| TaskError::new("closed"))?;
                        }
                        Ok(())
                    })?);
                }
                let closing = channel.clone();
                s.spawn_future(async move {
                    for producer in producers {
                        producer.await.into_result()?;
                    }
                    closing.close();
                    Ok(())
                })?;
                let mut next = [0; 4];
                while let Some((producer, n)) = channel.receive().await {
                    assert_eq!(n, next[producer], "order of producer {producer}");
                    next[producer] += 1;
                }
                assert_eq!(next, [5_000; 4]);
                Ok::<_, TaskError>(())
            })
            .await
        });
        run.unwrap();
    });
}

#[test]
fn cancels_at_every_wait_lose_nothing() {
    // Receivers and selects are dropped at random points while values stream through; every value arrives once.
    each_runtime(|runtime| {
        let handle = runtime.handle();
        let run = runtime.run(async move || {
            scope(async |s| {
                let (a, b) = (Channel::new(2), Channel::new(1));
                let got = Arc::new(AtomicUsize::new(0));
                for _ in 0..3 {
                    let (a, b, got, handle) = (a.clone(), b.clone(), got.clone(), handle.clone());
                    s.spawn_future(async move {
                        loop {
                            let patience = handle.random() % 4;
                            let taken = if handle.random().is_multiple_of(2) {
                                patient(select(vec![a.clone(), b.clone()]), patience).await
                            } else {
                                let one = if handle.random().is_multiple_of(2) { &a } else { &b };
                                patient(one.receive(), patience).await.flatten().map(|n| Selected::Value(0, n))
                            };
                            match taken {
                                Some(Selected::Value(_, n)) => got.fetch_add(n, Ordering::SeqCst),
                                Some(Selected::AllClosed) => return Ok(()),
                                None => 0,
                            };
                            if a.is_drained() && b.is_drained() {
                                return Ok(());
                            }
                        }
                    })?;
                }
                for n in 1..=2_000 {
                    let channel = if n % 3 == 0 { &b } else { &a };
                    while !patient_send(channel, n, handle.random() % 3).await {
                        yield_now().await;
                    }
                }
                a.close();
                b.close();
                Ok::<_, TaskError>(got)
            })
            .await
        });
        assert_eq!(run.unwrap().load(Ordering::SeqCst), 2_000 * 2_001 / 2);
    });
}

/// Polls `future` for so many turns, then drops it.
async fn patient<F: Future>(future: F, turns: u64) -> Option<F::Output> {
    let mut future = Box::pin(future);
    for _ in 0..=turns {
        let polled = std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
        if let Poll::Ready(output) = polled {
            return Some(output);
        }
        yield_now().await;
    }
    None
}

/// As `patient`; answers whether the value was sent.
async fn patient_send<T>(channel: &Channel<T>, value: T, turns: u64) -> bool {
    let mut send = channel.send(value);
    for _ in 0..=turns {
        let polled = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut send).poll(cx))).await;
        if let Poll::Ready(sent) = polled {
            assert!(sent.is_ok(), "nobody closed it");
            return true;
        }
        yield_now().await;
    }
    send.withdraw().is_none()
}
