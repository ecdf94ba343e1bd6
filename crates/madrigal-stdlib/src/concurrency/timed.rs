//! Waits with a timeout: how one is read from arguments, and the race against the clock.

use crate::host::Run;
use madrigal_vm::{Fault, Value};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// How long to wait: for ever, unless given as a time or as `{timeout_ms}` or `{max_wait_ms}`.
pub fn timeout_of(name: &str, value: &Value) -> Result<Option<Duration>, Fault> {
    let time = match value {
        Value::Dict(options) => options.get("timeout_ms").or_else(|| options.get("max_wait_ms")).unwrap_or(&Value::Nil),
        other => other,
    };
    match (time, time.as_millis()) {
        (Value::Nil, _) => Ok(None),
        (_, Some(millis)) => Ok(Some(Duration::from_millis(u64::try_from(millis).unwrap_or(0)))),
        (other, None) => {
            let got = other.type_name();
            Err(Fault::type_error(format!("{name}: timeout must be a duration or int milliseconds, got {got}")))
        }
    }
}

/// The outcome of `future`; None when `timeout` passes first. What is ready by then wins.
pub(super) async fn timed<F: Future>(run: Arc<Run>, timeout: Option<Duration>, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut timer = timeout.map(|time| Box::pin(async move { run.sleep(time).await }));
    poll_fn(|cx| {
        if let Poll::Ready(outcome) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(outcome));
        }
        match timer.as_mut().map(|it| it.as_mut().poll(cx)) {
            Some(Poll::Ready(())) => Poll::Ready(None),
            Some(Poll::Pending) | None => Poll::Pending,
        }
    })
    .await
}
