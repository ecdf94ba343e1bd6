//! Runs one program once and reads what it cost.
//! Not here: who runs when (`main.rs`) and what the numbers mean (`report.rs`). Memory is the kernel's own high-water mark
//! (`VmHWM`), polled while the process lives, so the last few milliseconds before its end may be missed.

use std::fs;
use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::kernels::{Kernel, Unit};
use crate::programs::Program;

/// A kernel that takes longer than this counts as failed.
const LIMIT: Duration = Duration::from_secs(300);
const MEMORY_POLL: Duration = Duration::from_millis(20);
const END_POLL: Duration = Duration::from_micros(200);
/// One start-up is too short to time; a sample is the median of this many.
const STARTS_PER_SAMPLE: usize = 9;

/// One measurement: the number in the kernel's unit, and the kernel's result for comparison.
pub struct Sample {
    pub value: f64,
    pub check: String,
}

/// Runs `kernel` (called `name` there) once.
pub fn sample(program: &Program, kernel: &Kernel, name: &str, size: u64) -> Result<Sample, String> {
    match kernel.unit {
        Unit::ProcessMs => start_up(program, name),
        Unit::Seconds => {
            let finished = run(program.command(name, size), END_POLL)?;
            parse(&finished.stdout, name)
        }
        Unit::BytesPerTask => {
            let finished = run(program.command(name, size), MEMORY_POLL)?;
            let printed = parse(&finished.stdout, name)?;
            let value = finished.peak_bytes as f64 / size as f64;
            Ok(Sample { value, check: printed.check })
        }
    }
}

fn start_up(program: &Program, name: &str) -> Result<Sample, String> {
    let mut times = Vec::new();
    let mut check = String::new();
    for _ in 0..STARTS_PER_SAMPLE {
        let finished = run(program.command(name, 0), END_POLL)?;
        check = finished.stdout.trim().to_string();
        times.push(finished.elapsed.as_secs_f64() * 1000.0);
    }
    Ok(Sample { value: median(&times), check })
}

/// The middle value; the mean of the two middle ones for an even count.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => sorted[middle],
        _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

/// Reads the line `<name> <seconds> <check>`.
fn parse(stdout: &str, name: &str) -> Result<Sample, String> {
    let line = stdout.lines().rfind(|line| line.split_whitespace().next() == Some(name));
    let fields: Vec<&str> = line.unwrap_or_default().split_whitespace().collect();
    match fields[..] {
        [_, seconds, check] => match seconds.parse() {
            Ok(value) => Ok(Sample { value, check: check.to_string() }),
            Err(_) => Err(format!("printed '{seconds}' for the seconds")),
        },
        _ => Err(format!("printed no line '{name} SECONDS CHECK'")),
    }
}

struct Finished {
    stdout: String,
    elapsed: Duration,
    peak_bytes: u64,
}

fn run(mut command: Command, poll: Duration) -> Result<Finished, String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let started = Instant::now();
    let mut child = command.spawn().map_err(|error| format!("cannot start: {error}"))?;
    let stdout = drain(child.stdout.take());
    let stderr = drain(child.stderr.take());
    let mut peak_bytes = 0;
    let status = loop {
        if poll == MEMORY_POLL {
            peak_bytes = peak_bytes.max(peak_memory(&child));
        }
        match ended(&mut child, started)? {
            Some(status) => break status,
            None => thread::sleep(poll),
        }
    };
    let elapsed = started.elapsed();
    let said = stderr.join().unwrap_or_default();
    match status.success() {
        true => Ok(Finished { stdout: stdout.join().unwrap_or_default(), elapsed, peak_bytes }),
        false => Err(format!("{status}: {}", said.lines().next().unwrap_or("no message"))),
    }
}

/// The exit status once there is one; a child beyond the limit is killed and reported.
fn ended(child: &mut Child, started: Instant) -> Result<Option<ExitStatus>, String> {
    let status = child.try_wait().map_err(|error| error.to_string())?;
    if status.is_none() && started.elapsed() > LIMIT {
        // Both may fail only because the child has just ended by itself.
        let _ = child.kill();
        let _ = child.wait();
        return Err(format!("stopped after {} s", LIMIT.as_secs()));
    }
    Ok(status)
}

/// Reads a pipe to its end on a thread of its own, so that a talkative child never blocks.
fn drain(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What arrived before an error is still worth showing.
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// High-water mark of resident memory, 0 where the system does not tell.
fn peak_memory(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()).and_then(|number| number.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_count_is_the_mean_of_the_middle() {
        assert_eq!(median(&[4.0, 1.0, 3.0]), 3.0);
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
    }

    #[test]
    fn the_last_line_with_the_name_counts() {
        let sample = parse("warming up\nfib 0.25 7\nfib 0.5 8\n", "fib").expect("a line of three fields");
        assert_eq!((sample.value, sample.check.as_str()), (0.5, "8"));
        assert!(parse("fib 0.5\n", "fib").is_err());
        assert!(parse("fib soon 8\n", "fib").is_err());
    }
}
