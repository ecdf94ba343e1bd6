//! Colour, what is a terminal, and progress lines.

use crate::host::{Run, run};
use madrigal_vm::{Args, Cx, Dict, Fault, Value};
use parking_lot::Mutex;

madrigal_vm::builtins! {
    /// `text` in a colour, when standard output shows colours.
    "color" (text: string, name: string) -> string = color;
    /// `text` in bold, when standard output shows colours.
    "bold" (text: string) -> string = bold;
    /// `text` dimmed, when standard output shows colours.
    "dim" (text: string) -> string = dim;
    /// Whether colours are written: `always`, `never` or `auto`.
    "set_color_mode" (mode: string) -> nil = set_color_mode;
    /// Whether somebody types standard input.
    "is_stdin_tty" () -> bool = is_stdin_tty;
    /// Whether somebody watches standard output.
    "is_stdout_tty" () -> bool = is_stdout_tty;
    /// Whether somebody watches standard error.
    "is_stderr_tty" () -> bool = is_stderr_tty;
    /// Fixes the answer for `stdin`, `stdout` or `stderr`.
    "mock_tty" (stream: string, on: bool) -> nil = mock_tty;
    /// Goes back to the real answers.
    "unmock_tty" () -> nil = unmock_tty;
    /// Writes a progress line.
    "progress" (phase: string, message: string, progress: any, total: int) -> nil = progress;
}

/// What a run was told about its terminal.
#[derive(Default)]
pub(crate) struct Terminal(Mutex<Settings>);

#[derive(Default)]
struct Settings {
    mode: Mode,
    /// Fixed answers by stream.
    fixed: [Option<bool>; 3],
}

#[derive(Clone, Copy, Default)]
enum Mode {
    #[default]
    Auto,
    Always,
    Never,
}

const STREAMS: [&str; 3] = ["stdin", "stdout", "stderr"];
const STDOUT: usize = 1;

fn is_terminal(run: &Run, stream: usize) -> bool {
    let fixed = run.terminal.0.lock().fixed[stream];
    fixed.unwrap_or_else(|| match stream {
        0 => run.stdin.is_terminal(),
        STDOUT => run.stdout.is_terminal(),
        _ => run.stderr.is_terminal(),
    })
}

fn has_colours(run: &Run) -> bool {
    let mode = run.terminal.0.lock().mode;
    match mode {
        Mode::Always => true,
        Mode::Never => false,
        Mode::Auto if run.variable("FORCE_COLOR").is_some() => true,
        Mode::Auto => run.variable("NO_COLOR").is_none() && is_terminal(run, STDOUT),
    }
}

/// The text in the first argument, between a code and its end.
fn coded(cx: &mut Cx<'_>, args: &Args<'_>, code: u8) -> Value {
    let text = args.string(0);
    if has_colours(run(cx)) { Value::from(format!("\x1b[{code}m{text}\x1b[0m")) } else { Value::from(text) }
}

fn code_of(name: &str) -> Option<u8> {
    const COLOURS: [&str; 8] = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];
    if name == "gray" || name == "grey" {
        return Some(90);
    }
    let (first, name) = name.strip_prefix("bright_").map_or((30, name), |rest| (90, rest));
    COLOURS.iter().position(|it| *it == name).map(|at| first + at as u8)
}

fn color(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(match code_of(&args.string(1)) {
        Some(code) => coded(cx, &args, code),
        None => Value::from(args.string(0)),
    })
}

fn bold(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(coded(cx, &args, 1))
}

fn dim(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(coded(cx, &args, 2))
}

fn set_color_mode(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    let mode = match args.string(0).as_str() {
        "always" => Mode::Always,
        "never" => Mode::Never,
        "auto" => Mode::Auto,
        mode => {
            let text = format!("set_color_mode: invalid mode '{mode}'. Expected 'auto', 'always', or 'never'.");
            return Err(Fault::thrown(text));
        }
    };
    run(cx).terminal.0.lock().mode = mode;
    Ok(())
}

fn is_stdin_tty(cx: &mut Cx<'_>, _: Args<'_>) -> Result<bool, Fault> {
    Ok(is_terminal(run(cx), 0))
}

fn is_stdout_tty(cx: &mut Cx<'_>, _: Args<'_>) -> Result<bool, Fault> {
    Ok(is_terminal(run(cx), STDOUT))
}

fn is_stderr_tty(cx: &mut Cx<'_>, _: Args<'_>) -> Result<bool, Fault> {
    Ok(is_terminal(run(cx), 2))
}

fn mock_tty(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    let name = args.string(0);
    let Some(stream) = STREAMS.iter().position(|it| *it == name.as_str()) else {
        let text = format!("mock_tty: invalid stream '{name}'. Expected 'stdin', 'stdout', or 'stderr'.");
        return Err(Fault::thrown(text));
    };
    run(cx).terminal.0.lock().fixed[stream] = Some(matches!(args.get(1), Value::Bool(true)));
    Ok(())
}

fn unmock_tty(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Fault> {
    run(cx).terminal.0.lock().fixed = [None; 3];
    Ok(())
}

fn progress(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    let (phase, message) = (args.string(0), args.string(1));
    let line = match (args.get(2), args.int(2), args.int(3)) {
        (_, Some(done), Some(total)) => format!("[{phase}] {message} ({done}/{total})\n"),
        (_, Some(percent), None) => format!("[{phase}] {message} ({percent}%)\n"),
        (Value::Dict(options), ..) => match options.get("mode").and_then(Value::as_str) {
            Some("spinner") => format!("[{phase}] {} {message}\n", spinner(options)),
            Some("bar") => bar(&phase, &message, options),
            _ => format!("[{phase}] {message}\n"),
        },
        _ => format!("[{phase}] {message}\n"),
    };
    run(cx).stdout.write(|out| out.extend_from_slice(line.as_bytes()));
    Ok(())
}

fn int(options: &Dict, key: &str) -> Option<i64> {
    options.get(key).and_then(Value::as_int)
}

fn spinner(options: &Dict) -> char {
    let step = int(options, "step").or_else(|| int(options, "current")).unwrap_or(0);
    ['|', '/', '-', '\\'][step.rem_euclid(4) as usize]
}

fn bar(phase: &str, message: &str, options: &Dict) -> String {
    let (current, total) = (int(options, "current").unwrap_or(0), int(options, "total").unwrap_or(0));
    let width = int(options, "width").unwrap_or(10).clamp(3, 40) as usize;
    let filled = match total {
        1.. => (current.clamp(0, total) as f64 / total as f64 * width as f64).round() as usize,
        _ => 0,
    };
    let (full, empty) = ("#".repeat(filled), "-".repeat(width - filled));
    format!("[{phase}] [{full}{empty}] {message} ({current}/{total})\n")
}
