//! Printing and structured log lines. Where the text goes is the business of [`crate::host::Output`].

use crate::host::{Run, run};
use crate::json;
use crate::time::rfc3339;
use madrigal_vm::{Args, Cx, Dict, Fault, Value};
use std::io::Write;

madrigal_vm::builtins! {
    /// Writes the display form of `value` to standard output.
    "print" (value: any) -> nil = print;
    /// Writes the display form of `value` and a line end to standard output.
    "println" (value: any) -> nil = println;
    /// Writes `[harn] `, the display form of `value` and a line end to standard output.
    "log" (value: any) -> nil = log;
    /// Writes the display form of `value` to standard error.
    "eprint" (value: any) -> nil = eprint;
    /// Writes the display form of `value` and a line end to standard error.
    "eprintln" (value: any) -> nil = eprintln;
    /// Gathers what is written to standard error from now on, instead of writing it.
    "capture_stderr_start" () -> nil = capture_stderr_start;
    /// What was gathered since `capture_stderr_start`; ends the gathering.
    "capture_stderr_take" () -> string = capture_stderr_take;
    /// Writes a JSON log line of level `debug`.
    "log_debug" (message: string, fields: dict) -> nil = log_debug;
    /// Writes a JSON log line of level `info`.
    "log_info" (message: string, fields: dict) -> nil = log_info;
    /// Writes a JSON log line of level `warn`.
    "log_warn" (message: string, fields: dict) -> nil = log_warn;
    /// Writes a JSON log line of level `error`.
    "log_error" (message: string, fields: dict) -> nil = log_error;
    /// Suppresses log lines below `level`.
    "log_set_level" (level: string) -> nil = log_set_level;
    /// Writes a JSON line with one key and its value, whatever the level.
    "log_json" (key: string, value: any) -> nil = log_json;
}

const LEVELS: [&str; 4] = ["debug", "info", "warn", "error"];

/// Appends the display form of the first argument, if there is one.
fn append_first(out: &mut Vec<u8>, args: &Args<'_>) {
    match args.all().first() {
        Some(Value::String(text)) => out.extend_from_slice(text.as_bytes()),
        Some(value) => append(out, format_args!("{value}")),
        None => {}
    }
}

fn append(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to memory cannot fail");
}

fn print(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    run(cx).stdout.write(|out| append_first(out, &args));
    Ok(())
}

fn println(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    run(cx).stdout.write(|out| {
        append_first(out, &args);
        out.push(b'\n');
    });
    Ok(())
}

fn log(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    run(cx).stdout.write(|out| {
        out.extend_from_slice(b"[harn] ");
        append_first(out, &args);
        out.push(b'\n');
    });
    Ok(())
}

/// Writes to standard error, or to where it is captured.
fn write_error(run: &Run, write: impl FnOnce(&mut Vec<u8>)) {
    if let Some(captured) = &mut *run.captured_errors.lock() {
        return write(captured);
    }
    // Both streams often end in one place: keep the order there.
    run.stdout.flush();
    run.stderr.write(write);
}

fn eprint(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    write_error(run(cx), |out| append_first(out, &args));
    Ok(())
}

fn eprintln(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    write_error(run(cx), |out| {
        append_first(out, &args);
        out.push(b'\n');
    });
    Ok(())
}

fn capture_stderr_start(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Fault> {
    *run(cx).captured_errors.lock() = Some(Vec::new());
    Ok(())
}

fn capture_stderr_take(cx: &mut Cx<'_>, _: Args<'_>) -> Result<String, Fault> {
    let captured = run(cx).captured_errors.lock().take().unwrap_or_default();
    Ok(String::from_utf8_lossy(&captured).into_owned())
}

fn log_debug(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    log_line(run(cx), 0, &args)
}

fn log_info(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    log_line(run(cx), 1, &args)
}

fn log_warn(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    log_line(run(cx), 2, &args)
}

fn log_error(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    log_line(run(cx), 3, &args)
}

fn log_line(run: &Run, level: u8, args: &Args<'_>) -> Result<(), Fault> {
    write_line(run, level, &args.string(0), args.dict(1));
    Ok(())
}

/// Writes a log line of level `info`.
pub(crate) fn log_fields(run: &Run, message: &str, fields: &Dict) {
    write_line(run, 1, message, Some(fields));
}

fn write_line(run: &Run, level: u8, message: &str, fields: Option<&Dict>) {
    if level < run.log_level() {
        return;
    }
    let mut line = format!("{{\"ts\":\"{}\",\"level\":\"{}\",\"msg\":", rfc3339(run.now_ms()), LEVELS[level as usize]);
    json::write_text(&mut line, message);
    if let Some(span) = run.traces.current() {
        append_text(&mut line, "trace_id", &span.trace_id);
        append_text(&mut line, "span_id", &span.span_id);
    }
    for (key, value) in fields.iter().flat_map(|fields| fields.iter()) {
        line.push(',');
        json::write_text(&mut line, key);
        line.push(':');
        write_field(&mut line, value);
    }
    line.push_str("}\n");
    run.stdout.write(|out| out.extend_from_slice(line.as_bytes()));
}

fn append_text(line: &mut String, key: &str, text: &str) {
    line.push(',');
    json::write_text(line, key);
    line.push(':');
    json::write_text(line, text);
}

/// The value of a log field: scalars as JSON, all else as the text of its display form.
fn write_field(line: &mut String, value: &Value) {
    match value {
        Value::Nil | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Observed(_) => {
            line.push_str(&json::stringify(value));
        }
        other => json::write_text(line, &other.display()),
    }
}

fn log_set_level(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    let level = args.string(0);
    let Some(position) = LEVELS.iter().position(|it| *it == level.as_str()) else {
        let text = format!("log_set_level: invalid level '{level}'. Expected debug, info, warn, or error");
        return Err(Fault::thrown(text));
    };
    run(cx).set_log_level(position as u8);
    Ok(())
}

fn log_json(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    let run = run(cx);
    let mut line = format!("{{\"ts\":\"{}\",\"key\":", rfc3339(run.now_ms()));
    json::write_text(&mut line, &args.string(0));
    line.push_str(",\"value\":");
    write_field(&mut line, args.get(1));
    line.push_str("}\n");
    run.stdout.write(|out| out.extend_from_slice(line.as_bytes()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::Bench;
    use madrigal_vm::Value;

    #[test]
    fn printing_takes_the_first_argument() {
        let mut bench = Bench::new();
        for (name, args) in [
            ("print", vec![1i64.into(), 2i64.into()]),
            ("print", vec![]),
            ("println", vec![]),
            ("println", vec![Value::Nil]),
            ("log", vec!["x".into()]),
        ] {
            bench.call(name, args).expect("printing works");
        }
        assert_eq!(bench.printed(), "1\nnil\n[harn] x\n");
    }

    #[test]
    fn log_lines_are_json_above_the_threshold() {
        let mut bench = Bench::new();
        bench.call("log_set_level", vec!["warn".into()]).expect("a level");
        bench.call("log_info", vec!["quiet".into()]).expect("it is dropped");
        let fields = Value::dict([("n", Value::Float(2.0)), ("l", Value::list(vec!["a\"".into()])), ("z", Value::Nil)]);
        bench.call("log_warn", vec!["loud".into(), fields]).expect("it is written");
        let line = bench.printed();
        let rest = line.strip_prefix("{\"ts\":\"").and_then(|it| it.get(24..)).expect("a timestamp");
        assert_eq!(rest, "\",\"level\":\"warn\",\"msg\":\"loud\",\"l\":\"[a\\\"]\",\"n\":2,\"z\":null}\n");
        let fault = bench.call("log_set_level", vec!["loud".into()]).expect_err("no level");
        assert!(fault.caught().to_string().starts_with("log_set_level: invalid level 'loud'. Expected"));
    }
}
