//! Concurrency kernels on bare tokio: the floor for any language hosted on it.
//! `bench-tokio KERNEL [SIZE]` prints `<name> <seconds> <check>`. Not here: computing kernels, which would only measure
//! Rust. mimalloc is on because it makes this the strongest floor, not the most typical one.
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, Mutex, Semaphore};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

async fn spawn_join(n: u64) -> u64 {
    let handles: Vec<_> = (0..n).map(|i| tokio::spawn(async move { i })).collect();
    let mut sum = 0;
    for h in handles {
        sum += h.await.unwrap();
    }
    sum
}

async fn ping_pong(n: u64) -> u64 {
    let (a, mut a_rx) = mpsc::channel::<u64>(1);
    let (b, mut b_rx) = mpsc::channel::<u64>(1);
    tokio::spawn(async move {
        while let Some(v) = a_rx.recv().await {
            b.send(v + 1).await.unwrap();
        }
    });
    let mut v = 0;
    for _ in 0..n {
        a.send(v).await.unwrap();
        v = b_rx.recv().await.unwrap();
    }
    v
}

async fn ring(tasks: u64, hops: u64) -> u64 {
    let (done, mut done_rx) = mpsc::channel::<u64>(1);
    let (first, mut rx) = mpsc::channel::<u64>(1);
    for id in 0..tasks {
        let (tx, next_rx) = mpsc::channel::<u64>(1);
        let out = if id == tasks - 1 { first.clone() } else { tx };
        let mut input = std::mem::replace(&mut rx, next_rx);
        let done = done.clone();
        tokio::spawn(async move {
            while let Some(v) = input.recv().await {
                if v == 0 {
                    let _ = done.send(id).await;
                    return;
                }
                if out.send(v - 1).await.is_err() {
                    return;
                }
            }
        });
    }
    first.send(hops).await.unwrap();
    done_rx.recv().await.unwrap()
}

async fn fan_in(producers: u64, each: u64) -> u64 {
    let (tx, mut rx) = mpsc::channel::<u64>(64);
    for _ in 0..producers {
        let tx = tx.clone();
        tokio::spawn(async move {
            for i in 0..each {
                tx.send(i).await.unwrap();
            }
        });
    }
    drop(tx);
    let mut sum = 0;
    while let Some(v) = rx.recv().await {
        sum += v;
    }
    sum
}

async fn bounded(items: u64, limit: usize) -> u64 {
    let sem = Arc::new(Semaphore::new(limit));
    let mut handles = Vec::new();
    for i in 0..items {
        let permit = sem.clone().acquire_owned().await.unwrap();
        handles.push(tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            drop(permit);
            i
        }));
    }
    let mut sum = 0;
    for h in handles {
        sum += h.await.unwrap();
    }
    sum
}

async fn mutex(tasks: u64, each: u64) -> u64 {
    let n = Arc::new(Mutex::new(0u64));
    let handles: Vec<_> = (0..tasks)
        .map(|_| {
            let n = n.clone();
            tokio::spawn(async move {
                for _ in 0..each {
                    *n.lock().await += 1;
                }
            })
        })
        .collect();
    for h in handles {
        h.await.unwrap();
    }
    let r = *n.lock().await;
    r
}

async fn idle(n: u64) -> u64 {
    let handles: Vec<_> = (0..n)
        .map(|_| tokio::spawn(tokio::time::sleep(Duration::from_secs(2))))
        .collect();
    for h in handles {
        h.await.unwrap();
    }
    n
}

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    let arg = |d: u64| args.get(2).map_or(d, |s| s.parse().unwrap());
    let name = args[1].as_str();
    let t = Instant::now();
    let a = arg(match name {
        "ping_pong" => 500_000,
        "fan_in" => 250_000,
        "bounded" | "mutex" => 10_000,
        _ => 1_000_000,
    });
    let name_owned = name.to_string();
    // Run on a worker, as a program's tasks do, rather than on the blocking main thread.
    let r = tokio::spawn(async move {
        match name_owned.as_str() {
            "spawn_join" => spawn_join(a).await,
            "ping_pong" => ping_pong(a).await,
            "ring" => ring(503, a).await,
            "fan_in" => fan_in(4, a).await,
            "bounded" => bounded(a, 100).await,
            "mutex" => mutex(100, a).await,
            "idle" => idle(a).await,
            other => panic!("unknown kernel {other}"),
        }
    })
    .await
    .unwrap();
    println!("{name} {:.4} {r}", t.elapsed().as_secs_f64());
}
