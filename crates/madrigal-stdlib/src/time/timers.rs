//! Timers: how long something took, on the wall clock.

use crate::host::run;
use madrigal_vm::{Args, Cx, Fault, Str, Value};

madrigal_vm::builtins! {
    /// A timer `{name, start_ms}` that starts now.
    "timer_start" (name: string = "default") -> dict = timer_start;
    /// Writes and gives the milliseconds since the timer was started.
    "timer_end" (timer: dict) -> int = timer_end;
}

fn timer_start(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let name = if args.get(0).is_nil() { Str::from("default") } else { args.string(0) };
    Ok(Value::dict([("name", Value::from(name)), ("start_ms", Value::Int(run(cx).now_ms()))]))
}

fn timer_end(cx: &mut Cx<'_>, args: Args<'_>) -> Result<i64, Fault> {
    let timer = args.dict(0).and_then(|it| Some((it.get("name")?.display(), it.get("start_ms")?.as_int()?)));
    let (name, start) =
        timer.ok_or_else(|| Fault::thrown("timer_end: argument must be a timer dict from timer_start"))?;
    let run = run(cx);
    let millis = run.now_ms().saturating_sub(start).max(0);
    run.stdout.write(|out| out.extend_from_slice(format!("[timer] {name}: {millis}ms\n").as_bytes()));
    Ok(millis)
}
