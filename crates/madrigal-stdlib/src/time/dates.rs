//! Calendar dates. A moment is Unix seconds, whole or with a fraction, or a dict with a `timestamp`; results are ints
//! when whole. Zones are IANA names.

use super::{durations, moment_of, rfc3339};
use crate::host::run;
use jiff::civil::{Date, DateTime};
use jiff::fmt::strtime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, Zoned};
use madrigal_vm::{Args, Cx, Dict, Fault, Value};

madrigal_vm::builtins! {
    /// The current time in UTC, in its parts.
    "date_now" () -> dict = date_now;
    /// The current time in UTC, as in `2026-01-31T08:09:10.123Z`.
    "date_now_iso" () -> string = date_now_iso;
    /// The current time in UTC, as in `2026-01-31T08:09:10.123Z`.
    "date_iso" () -> string = date_now_iso;
    /// The moment a text describes.
    "date_parse" (text: string) -> number = date_parse;
    /// A moment as the codes of `format` (those of strftime) say.
    "date_format" (moment: any, format: string = "%Y-%m-%d %H:%M:%S", zone: string = "UTC") -> string = date_format;
    /// A moment in a zone, as in `1970-01-01T09:00:00+09:00`.
    "date_to_zone" (moment: any, zone: string) -> string = date_to_zone;
    /// A moment in a zone, in its parts.
    "date_in_zone" (moment: any, zone: string) -> dict = date_in_zone;
    /// The moment of `{year, month, day, hour, minute, second}` in a zone.
    "date_from_components" (parts: dict, zone: string = "UTC") -> number = date_from_components;
    /// The moment a duration later.
    "date_add" (moment: any, duration: duration) -> number = date_add;
    /// How much later `a` is than `b`.
    "date_diff" (a: any, b: any) -> duration = date_diff;
    /// English name of the day of the week.
    "weekday_name" (moment: any, zone: string = "UTC") -> string = weekday_name;
    /// English name of the month.
    "month_name" (moment: any, zone: string = "UTC") -> string = month_name;
}

/// The moment in an argument.
fn moment(args: &Args<'_>, index: usize, name: &str) -> Result<Timestamp, Fault> {
    let failed = |what: &str| Fault::thrown(format!("{name}: {what}"));
    let Some(found) = args.all().get(index) else { return Err(failed("missing timestamp argument")) };
    let number = match found {
        Value::Dict(parts) => parts.get("timestamp").unwrap_or(found),
        other => other,
    };
    let micros = match number {
        Value::Float(it) if !it.is_finite() => return Err(failed("timestamp must be finite")),
        Value::Float(it) => Some((it * 1e6).round()).filter(|it| it.abs() < 9e18).map(|it| it as i64),
        other => match other.as_int() {
            Some(it) => it.checked_mul(1_000_000),
            None => {
                let kind = number.type_name();
                return Err(failed(&format!("expected timestamp number or date dict, got {kind}")));
            }
        },
    };
    let moment = micros.and_then(|it| Timestamp::from_microsecond(it).ok());
    moment.ok_or_else(|| failed("timestamp out of range"))
}

/// A moment as a number.
fn seconds(moment: Timestamp) -> Value {
    match moment.subsec_nanosecond() {
        0 => Value::Int(moment.as_second()),
        nanos if nanos % 1000 == 0 => Value::Float(moment.as_microsecond() as f64 / 1e6),
        _ => Value::Float(moment.as_nanosecond() as f64 / 1e9),
    }
}

fn named_zone(name: &str, zone: &str) -> Result<TimeZone, Fault> {
    if zone.eq_ignore_ascii_case("utc") {
        return Ok(TimeZone::UTC);
    }
    TimeZone::get(zone).map_err(|_| Fault::thrown(format!("{name}: unknown timezone '{zone}'")))
}

/// The zone in an argument, UTC when there is none.
fn zone_or_utc(args: &Args<'_>, index: usize, name: &str) -> Result<TimeZone, Fault> {
    if args.get(index).is_nil() { Ok(TimeZone::UTC) } else { named_zone(name, &args.string(index)) }
}

fn zone(args: &Args<'_>, index: usize, name: &str) -> Result<TimeZone, Fault> {
    if !args.has(index) {
        return Err(Fault::thrown(format!("{name}: missing timezone argument")));
    }
    named_zone(name, &args.string(index))
}

/// The fields of a date dict but for the moment itself.
fn parts(at: &Zoned) -> Vec<(&'static str, Value)> {
    let int = |it: i8| Value::Int(i64::from(it));
    vec![
        ("year", Value::Int(i64::from(at.year()))),
        ("month", int(at.month())),
        ("day", int(at.day())),
        ("hour", int(at.hour())),
        ("minute", int(at.minute())),
        ("second", int(at.second())),
        ("weekday", int(at.weekday().to_sunday_zero_offset())),
    ]
}

fn date_now(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Value, Fault> {
    let now = run(cx).now_ms();
    let mut parts = parts(&moment_of(now).to_zoned(TimeZone::UTC));
    parts.push(("timestamp", Value::Float(now as f64 / 1000.0)));
    parts.push(("iso8601", Value::from(rfc3339(now))));
    Ok(Value::dict(parts))
}

fn date_now_iso(cx: &mut Cx<'_>, _: Args<'_>) -> Result<String, Fault> {
    Ok(rfc3339(run(cx).now_ms()))
}

fn date_format(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    let at = moment(&args, 0, "date_format")?.to_zoned(zone_or_utc(&args, 2, "date_format")?);
    let format = if args.get(1).is_nil() { "%Y-%m-%d %H:%M:%S".into() } else { args.string(1) };
    strtime::format(format.as_str(), &at).map_err(|error| Fault::thrown(format!("date_format: {error}")))
}

/// RFC 3339 with a numeric offset; a fraction only where there is one.
fn with_offset(at: &Zoned) -> String {
    let fraction = match at.timestamp().subsec_microsecond() {
        0 => "",
        micros if micros % 1000 == 0 => ".%3f",
        _ => ".%6f",
    };
    at.strftime(&format!("%Y-%m-%dT%H:%M:%S{fraction}%:z")).to_string()
}

fn date_to_zone(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    Ok(with_offset(&moment(&args, 0, "date_to_zone")?.to_zoned(zone(&args, 1, "date_to_zone")?)))
}

fn date_in_zone(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let at = moment(&args, 0, "date_in_zone")?.to_zoned(zone(&args, 1, "date_in_zone")?);
    let mut parts = parts(&at);
    parts.push(("zone", Value::from(args.string(1))));
    parts.push(("offset_seconds", Value::Int(i64::from(at.offset().seconds()))));
    parts.push(("timestamp", seconds(at.timestamp())));
    parts.push(("iso8601", Value::from(with_offset(&at))));
    Ok(Value::dict(parts))
}

/// Year, month, day, hour, minute and second, none of them checked.
type Fields = [i64; 6];

/// The local time that fields describe.
fn civil(fields: Fields) -> Result<DateTime, Fault> {
    let [year, month, day, hour, minute, second] = fields;
    let check = |name: &str, value: i64, low: i64, high: i64| match i8::try_from(value) {
        Ok(small) if (low..=high).contains(&value) => Ok(small),
        _ => Err(Fault::thrown(format!("Invalid {name}: {value} (must be {low}-{high})"))),
    };
    let (month, day) = (check("month", month, 1, 12)?, check("day", day, 1, 31)?);
    let (hour, minute) = (check("hour", hour, 0, 23)?, check("minute", minute, 0, 59)?);
    let second = check("second", second, 0, 59)?;
    let date = i16::try_from(year).ok().and_then(|year| Date::new(year, month, day).ok());
    let date = date.ok_or_else(|| Fault::thrown(format!("Invalid date: {year:04}-{month:02}-{day:02}")))?;
    Ok(date.at(hour, minute, second, 0))
}

/// A text with an offset, or one of the forms without, taken apart: fields, nanoseconds, seconds east of UTC.
struct Written {
    fields: Fields,
    nanos: i64,
    offset: i64,
}

/// Reads `Y-M-D`, with `h:m`, `h:m:s` or `h:m:s.f` after a blank or `T`, the latter two also with an offset.
fn read(text: &str) -> Option<Written> {
    let (year, rest) = number(text)?;
    let (month, rest) = number(rest.strip_prefix('-')?)?;
    let (day, rest) = number(rest.strip_prefix('-')?)?;
    let date_only = Written { fields: [year, month, day, 0, 0, 0], nanos: 0, offset: 0 };
    if rest.is_empty() {
        return Some(date_only);
    }
    let (hour, rest) = number(rest.strip_prefix([' ', 'T', 't'])?)?;
    let (minute, rest) = number(rest.strip_prefix(':')?)?;
    let mut written = Written { fields: [year, month, day, hour, minute, 0], ..date_only };
    if rest.is_empty() {
        return Some(written);
    }
    let (second, mut rest) = number(rest.strip_prefix(':')?)?;
    written.fields[5] = second;
    if let Some(fraction) = rest.strip_prefix('.') {
        let digits = fraction.find(|it: char| !it.is_ascii_digit()).unwrap_or(fraction.len());
        let nine: String = fraction[..digits].chars().chain("000000000".chars()).take(9).collect();
        written.nanos = (digits > 0).then(|| nine.parse().ok())??;
        rest = &fraction[digits..];
    }
    written.offset = if rest.is_empty() { 0 } else { offset(rest)? };
    Some(written)
}

/// Up to nine digits at the start, and the rest.
fn number(text: &str) -> Option<(i64, &str)> {
    let digits = text.find(|it: char| !it.is_ascii_digit()).unwrap_or(text.len());
    (digits <= 9).then(|| Some((text[..digits].parse().ok()?, &text[digits..])))?
}

/// Seconds of `Z` or `+hh:mm`.
fn offset(text: &str) -> Option<i64> {
    if text.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = text.strip_prefix(['+', '-'])?.split_once(':')?;
    let two = |it: &str| (it.len() == 2).then(|| number(it).filter(|(_, rest)| rest.is_empty()))?.map(|it| it.0);
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// The first six groups of digits anywhere in the text; at least three.
fn digit_groups(text: &str) -> Option<Fields> {
    let groups = text.split(|it: char| !it.is_ascii_digit()).filter(|it| !it.is_empty());
    let numbers: Option<Vec<i64>> = groups.take(6).map(|it| it.parse().ok()).collect();
    let mut fields = [0; 6];
    let numbers = numbers.filter(|it| it.len() >= 3)?;
    fields[..numbers.len()].copy_from_slice(&numbers);
    Some(fields)
}

fn date_parse(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let text = args.string(0);
    let nothing = || Fault::thrown(format!("Cannot parse date: {text}"));
    let trimmed = text.trim();
    let written = read(trimmed)
        .or_else(|| Some(Written { fields: digit_groups(trimmed)?, nanos: 0, offset: 0 }))
        .ok_or_else(nothing)?;
    let local = civil(written.fields)?.to_zoned(TimeZone::UTC).map_err(|_| nothing())?;
    let nanos =
        local.timestamp().as_nanosecond() + i128::from(written.nanos) - i128::from(written.offset) * 1_000_000_000;
    Timestamp::from_nanosecond(nanos).map(seconds).map_err(|_| nothing())
}

/// A part of a date dict; those with a default may be missing.
fn component(parts: &Dict, key: &str, default: Option<i64>) -> Result<i64, Fault> {
    match (parts.get(key).filter(|it| !it.is_nil()), default) {
        (Some(value), _) => value.as_int().ok_or_else(|| {
            Fault::thrown(format!("date_from_components: {key} must be an integer, got {}", value.type_name()))
        }),
        (None, Some(default)) => Ok(default),
        (None, None) => Err(Fault::thrown(format!("date_from_components: missing {key}"))),
    }
}

fn date_from_components(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let parts = args.dict(0).cloned().unwrap_or_default();
    let mut fields = [0; 6];
    for (field, (key, default)) in fields.iter_mut().zip([
        ("year", None),
        ("month", None),
        ("day", None),
        ("hour", Some(0)),
        ("minute", Some(0)),
        ("second", Some(0)),
    ]) {
        *field = component(&parts, key, default)?;
    }
    let zone = zone_or_utc(&args, 1, "date_from_components")?;
    let local = zone.to_ambiguous_timestamp(civil(fields)?);
    if matches!(local.offset(), AmbiguousOffset::Gap { .. }) {
        return Err(Fault::thrown("date_from_components: local time does not exist in that timezone"));
    }
    local.earlier().map(seconds).map_err(|_| Fault::thrown("date_from_components: timestamp out of range"))
}

fn date_add(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let at = moment(&args, 0, "date_add")?;
    let millis = durations::strict(&args, 1, "date_add")?;
    let later = at.checked_add(jiff::SignedDuration::from_millis(millis));
    later.map(seconds).map_err(|_| Fault::thrown("date_add: timestamp out of range"))
}

fn date_diff(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let (a, b) = (moment(&args, 0, "date_diff")?, moment(&args, 1, "date_diff")?);
    Ok(Value::Duration((a.as_microsecond() - b.as_microsecond()) / 1000))
}

fn weekday_name(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    let at = moment(&args, 0, "weekday_name")?.to_zoned(zone_or_utc(&args, 1, "weekday_name")?);
    Ok(at.strftime("%A").to_string())
}

fn month_name(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    let at = moment(&args, 0, "month_name")?.to_zoned(zone_or_utc(&args, 1, "month_name")?);
    Ok(at.strftime("%B").to_string())
}
