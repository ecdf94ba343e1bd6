//! The builtins of racing. Not here: how a race runs (the driver).

use madrigal_vm::{Args, Cx, Effect, Fault, Outcome, Racing, Value};

madrigal_vm::builtins! {
    /// The outcome of the first of several closures and tasks to end; the others are cancelled and waited for.
    "race" (contenders: list) -> any = race;
    /// The value of `body`, or `fallback` when `time` passes first.
    "with_timeout" (time: duration, body: closure, fallback: any = nil) -> any = with_timeout;
    /// The first success among calls of `f` with each item; the others are cancelled and waited for.
    "__parallel_race" (items: any, f: closure, options: dict = nil) -> any = parallel_race;
}

fn race(_: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let got = if args.is_empty() { "nothing" } else { args.get(0).type_name() };
    let Some(contenders) = args.list(0) else {
        return Err(Fault::type_error(format!("race: expected a list of closures and tasks, got {got}")));
    };
    if contenders.is_empty() {
        return Err(Fault::thrown("race: expected at least one contender"));
    }
    Ok(Effect::Race(Racing::Ends { contenders: contenders.to_vec() }).into())
}

fn with_timeout(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Outcome, Fault> {
    let Some(millis) = args.get(0).as_millis() else {
        let got = args.get(0).type_name();
        return Err(Fault::type_error(format!("with_timeout: expected a duration or int milliseconds, got {got}")));
    };
    let millis = u64::try_from(millis)
        .map_err(|_| Fault::thrown(format!("with_timeout: the time must not be negative, got {}", args.get(0))))?;
    Ok(Effect::Race(Racing::Timeout { millis, body: args.take(1), fallback: args.take(2) }).into())
}

fn parallel_race(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Outcome, Fault> {
    let max_concurrent = args.dict(2).and_then(|it| it.get("max_concurrent")).cloned().unwrap_or(Value::Nil);
    Ok(Effect::Race(Racing::Succeeds { source: args.take(0), body: args.take(1), max_concurrent }).into())
}
