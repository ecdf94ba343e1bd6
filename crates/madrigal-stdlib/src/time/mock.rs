//! Virtual time on request: the clock of the whole run stands still until it is moved, or until nothing can run.

use crate::host::run;
use madrigal_vm::{Args, Cx, Fault, Outcome, Value, Wait};
use std::time::Duration;

madrigal_vm::builtins! {
    /// Switches to virtual time that stands at `ms`, a Unix time in milliseconds.
    "mock_time" (ms: int) -> nil = mock_time;
    /// Moves virtual time, with all timers due until then firing in order; the new Unix time in milliseconds.
    "advance_time" (time: duration) -> int = advance_time;
    /// Switches back to real time.
    "unmock_time" () -> nil = unmock_time;
}

fn mock_time(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    let ms = args.int(0).ok_or_else(|| Fault::thrown("mock_time(ms): expected an integer millisecond timestamp"))?;
    run(cx).mock_time(ms);
    Ok(())
}

fn advance_time(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let run = run(cx).clone();
    if !run.is_time_mocked() {
        return Err(Fault::thrown("advance_time: no mock active. Call mock_time(ms) first."));
    }
    let Some(ms) = args.get(0).as_millis() else {
        let got = args.get(0).type_name();
        return Err(Fault::type_error(format!("advance_time: expected a duration or int milliseconds, got {got}")));
    };
    let time = u64::try_from(ms)
        .map_err(|_| Fault::thrown(format!("advance_time: the time must not be negative, got {}", args.get(0))))?;
    Ok(Outcome::from(Wait::new("advance_time", async move {
        run.advance(Duration::from_millis(time)).await;
        Ok(Value::Int(run.now_ms()))
    })))
}

fn unmock_time(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Fault> {
    run(cx).unmock_time();
    Ok(())
}
