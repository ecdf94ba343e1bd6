//! Graceful shutdown: workers take jobs until they are told to stop, finish what they are at, and clean up; one that
//! takes too long is dropped after its grace period. Everything in virtual time, so it is over at once.
//!
//! Run with `cargo run -p madrigal-runtime --example shutdown`.

use std::time::Duration;

use madrigal_runtime::{
    CancelKind, CancelReason, Channel, Clock, ExecutorKind, Runtime, ScopeHandle, TaskContext, TaskError, TaskSpec,
    scope,
};

/// Takes jobs until the channel is closed or the task is cancelled; a job begun is finished all the same.
async fn work(cx: TaskContext, name: &'static str, jobs: Channel<u64>, clock: Clock) -> Result<(), TaskError> {
    while !cx.is_cancelled() {
        let Some(seconds) = jobs.receive().await else { break };
        clock.sleep(Duration::from_secs(seconds)).await;
        println!("{name}: did {seconds} s of work, {} s in", clock.now_ms() / 1000);
    }
    println!("{name}: stops ({})", cx.cancel_reason().map_or("no more jobs".to_owned(), |reason| reason.to_string()));
    Ok(())
}

async fn serve(clock: Clock) -> Result<(), TaskError> {
    let jobs = Channel::named("jobs", 10);
    scope(async |s: ScopeHandle<TaskError>| {
        let grace = TaskSpec::default().settled().with_grace(Duration::from_secs(5));
        let mut workers = Vec::new();
        for name in ["first", "second"] {
            let (jobs, clock) = (jobs.clone(), clock.clone());
            workers.push(s.spawn(grace.clone(), move |cx| work(cx, name, jobs, clock))?);
        }
        for seconds in [2, 60] {
            jobs.send(seconds).await.map_err(|_| TaskError::new("closed"))?;
        }
        clock.sleep(Duration::from_secs(1)).await;
        println!("shutting down");
        let reason = CancelReason::by_nobody(CancelKind::Shutdown, "maintenance");
        for worker in &workers {
            worker.cancel(reason.clone());
        }
        jobs.close();
        for worker in workers {
            let outcome = worker.await;
            println!("a worker {}", if outcome.into_result().is_ok() { "ended well" } else { "was dropped" });
        }
        println!("all over after {} s", clock.now_ms() / 1000);
        Ok(())
    })
    .await
}

fn main() {
    let runtime = Runtime::builder().executor(ExecutorKind::Simulated).seed(1).build();
    let clock = runtime.clock().clone();
    runtime.run(|| serve(clock)).expect("a shutdown is no failure");
}
