//! Time: clock, dates, durations, timers and mocked time, each in its file. All time comes from the clock of the run.

mod clock;
mod dates;
mod durations;
mod mock;
mod timers;

use jiff::Timestamp;
use madrigal_vm::{BuiltinTable, Value};
use std::time::Duration;

/// Adds the builtins of all files.
pub fn register(table: &mut BuiltinTable) {
    clock::register(table);
    dates::register(table);
    durations::register(table);
    mock::register(table);
    timers::register(table);
}

/// A time to wait, from a duration or a number of milliseconds; others are none.
pub fn waiting_time(value: &Value) -> Duration {
    let millis = match value {
        Value::Float(it) => it.ceil() as i64,
        other => other.as_millis().unwrap_or(0),
    };
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// The moment of a Unix time; beyond the calendar the nearest there is.
fn moment_of(unix_ms: i64) -> Timestamp {
    Timestamp::from_millisecond(unix_ms).unwrap_or(if unix_ms < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

/// A time as RFC 3339 in UTC with three fraction digits.
pub fn rfc3339(unix_ms: i64) -> String {
    moment_of(unix_ms).strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(951_782_399_999), "2000-02-28T23:59:59.999Z");
        assert_eq!(rfc3339(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59.999Z");
    }
}
