//! Durations: signed milliseconds, from and to numbers and text.

use madrigal_vm::{Args, Cx, Fault, Value};

madrigal_vm::builtins! {
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

/// Milliseconds of the duration in an argument, which has to be one.
pub(super) fn strict(args: &Args<'_>, index: usize, name: &str) -> Result<i64, Fault> {
    match args.all().get(index) {
        Some(Value::Duration(it)) => Ok(*it),
        Some(other) => Err(Fault::thrown(format!("{name}: expected duration, got {}", other.type_name()))),
        None => Err(Fault::thrown(format!("{name}: missing duration argument"))),
    }
}

fn duration_to_seconds(_: &mut Cx<'_>, args: Args<'_>) -> Result<i64, Fault> {
    Ok(strict(&args, 0, "duration_to_seconds")? / 1000)
}

fn duration_to_human(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    let millis = strict(&args, 0, "duration_to_human")?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::check;

    #[test]
    fn durations_convert() {
        check("duration_to_human", [Value::Duration(90_061_000)], "1d 1h 1m");
        check("duration_to_human", [Value::Duration(i64::MIN)], "-106751991167d 7h 12m");
        check("duration_seconds", [Value::Float(1.5)], "1500ms");
        check("duration_days", [Value::Int(i64::MAX)], "duration_days: duration overflow");
    }
}
