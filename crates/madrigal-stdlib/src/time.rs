//! Clock, sleep and durations. All time comes from the clock of the run.

mod mock;

pub use mock::register as register_mock;

use crate::host::{Run, run};
use madrigal_vm::{Args, Cx, Effect, Fault, Outcome, Value, Wait};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

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
    /// `n` milliseconds as a duration.
    "duration_ms" (n: number) -> duration = duration_ms;
    /// `n` seconds as a duration.
    "duration_seconds" (n: number) -> duration = duration_seconds;
    /// `n` minutes as a duration.
    "duration_minutes" (n: number) -> duration = duration_minutes;
    /// `n` hours as a duration.
    "duration_hours" (n: number) -> duration = duration_hours;
    /// `n` days as a duration.
    "duration_days" (n: number) -> duration = duration_days;
    /// Whole seconds of a duration.
    "duration_to_seconds" (duration: duration) -> int = duration_to_seconds;
    /// The three largest units of a duration, as in `1d 1h 1m`.
    "duration_to_human" (duration: duration) -> string = duration_to_human;
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

/// A time to wait, from a duration or a number of milliseconds; others are none.
pub fn waiting_time(value: &Value) -> Duration {
    let millis = match value {
        Value::Float(it) => it.ceil() as i64,
        other => other.as_millis().unwrap_or(0),
    };
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
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

fn duration_of(args: &Args<'_>, name: &str, unit: i64) -> Result<Value, Fault> {
    let overflow = || Fault::thrown(format!("{name}: duration overflow"));
    let Some(value) = args.all().first() else {
        return Err(Fault::thrown(format!("{name}: missing value argument")));
    };
    if let Some(n) = value.as_int() {
        return n.checked_mul(unit).map(Value::Duration).ok_or_else(overflow);
    }
    let Value::Float(n) = value else {
        return Err(Fault::thrown(format!("{name}: expected number, got {}", value.type_name())));
    };
    let millis = (n * unit as f64).round();
    if millis.abs() < 9.2e18 { Ok(Value::Duration(millis as i64)) } else { Err(overflow()) }
}

fn duration_ms(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    duration_of(&args, "duration_ms", 1)
}

fn duration_seconds(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    duration_of(&args, "duration_seconds", 1000)
}

fn duration_minutes(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    duration_of(&args, "duration_minutes", 60_000)
}

fn duration_hours(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    duration_of(&args, "duration_hours", 3_600_000)
}

fn duration_days(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    duration_of(&args, "duration_days", 86_400_000)
}

fn strict_duration(args: &Args<'_>, name: &str) -> Result<i64, Fault> {
    match args.all().first() {
        Some(Value::Duration(it)) => Ok(*it),
        Some(other) => Err(Fault::thrown(format!("{name}: expected duration, got {}", other.type_name()))),
        None => Err(Fault::thrown(format!("{name}: missing duration argument"))),
    }
}

fn duration_to_seconds(_: &mut Cx<'_>, args: Args<'_>) -> Result<i64, Fault> {
    Ok(strict_duration(&args, "duration_to_seconds")? / 1000)
}

fn duration_to_human(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    let millis = strict_duration(&args, "duration_to_human")?;
    let mut rest = millis.unsigned_abs();
    let mut units = Vec::new();
    for (size, suffix) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")] {
        if rest >= size {
            units.push(format!("{}{suffix}", rest / size));
            rest %= size;
        }
    }
    units.truncate(3);
    let sign = if millis < 0 { "-" } else { "" };
    Ok(if units.is_empty() { "0s".to_owned() } else { format!("{sign}{}", units.join(" ")) })
}

/// A time as RFC 3339 in UTC with three fraction digits.
pub fn rfc3339(unix_ms: i64) -> String {
    let (days, millis) = (unix_ms.div_euclid(86_400_000), unix_ms.rem_euclid(86_400_000));
    let (year, month, day) = civil(days);
    let seconds = millis / 1000;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut text = String::with_capacity(24);
    write!(text, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", millis % 1000)
        .expect("writing to a string cannot fail");
    text
}

/// Year, month and day of a number of days since 1970, by counting 400-year cycles of years that begin in March.
fn civil(days: i64) -> (i64, i64, i64) {
    let since_cycle = days + 719_468;
    let (cycle, day_of_cycle) = (since_cycle.div_euclid(146_097), since_cycle.rem_euclid(146_097));
    let year_of_cycle = (day_of_cycle - day_of_cycle / 1460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (cycle * 400 + year_of_cycle + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::check;

    #[test]
    fn times_are_written_in_utc() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(951_782_399_999), "2000-02-28T23:59:59.999Z");
        assert_eq!(rfc3339(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn durations_convert() {
        check("duration_to_human", [Value::Duration(90_061_000)], "1d 1h 1m");
        check("duration_to_human", [Value::Duration(i64::MIN)], "-106751991167d 7h 12m");
        check("duration_seconds", [Value::Float(1.5)], "1500ms");
        check("duration_days", [Value::Int(i64::MAX)], "duration_days: duration overflow");
    }
}
