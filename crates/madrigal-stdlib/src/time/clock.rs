//! Reading the clock and waiting on it.

use super::waiting_time;
use crate::host::{Run, run};
use madrigal_vm::{Args, Cx, Effect, Fault, Outcome, Value, Wait};
use std::sync::Arc;

madrigal_vm::builtins! {
    /// Unix time in seconds, with milliseconds.
    "timestamp" () -> float = timestamp;
    /// Unix time in milliseconds.
    "now_ms" () -> int = now_ms;
    /// Milliseconds since the first use in this run; never decreases.
    "monotonic_ms" () -> int = monotonic_ms;
    /// Milliseconds since the first use in this run; never decreases.
    "elapsed" () -> int = monotonic_ms;
    /// Waits for a duration, or for milliseconds.
    "sleep" (time: duration) -> nil = sleep;
    /// Waits for milliseconds.
    "sleep_ms" (time: int) -> nil = sleep;
}

fn timestamp(cx: &mut Cx<'_>, _: Args<'_>) -> Result<f64, Fault> {
    Ok(run(cx).now_ms() as f64 / 1000.0)
}

fn now_ms(cx: &mut Cx<'_>, _: Args<'_>) -> Result<i64, Fault> {
    Ok(run(cx).now_ms())
}

fn monotonic_ms(cx: &mut Cx<'_>, _: Args<'_>) -> Result<i64, Fault> {
    Ok(run(cx).monotonic_ms())
}

fn sleep(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let time = waiting_time(args.get(0));
    if time.is_zero() {
        return Ok(Outcome::from(Effect::Yield));
    }
    let run: Arc<Run> = run(cx).clone();
    Ok(Outcome::from(Wait::new("sleep", async move {
        run.sleep(time).await;
        Ok(Value::Nil)
    })))
}
