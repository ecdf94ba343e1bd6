//! Circuit breakers: they open after a number of failures and let a trial through once some time has passed.

use crate::host::run;
use madrigal_vm::{Args, Cx, Fault};
use parking_lot::Mutex;
use std::collections::HashMap;

madrigal_vm::builtins! {
    /// Makes or replaces a breaker; its name.
    "circuit_breaker" (name: string = "default", threshold: int = 5, reset_ms: int = 30000) -> string = circuit_breaker;
    /// `closed`, `open` or `half_open`.
    "circuit_check" (name: string = "default") -> string = circuit_check;
    /// Counts a failure; whether it opened the circuit.
    "circuit_record_failure" (name: string = "default") -> bool = circuit_record_failure;
    /// Counts a success, which closes the circuit.
    "circuit_record_success" (name: string = "default") -> nil = circuit_reset;
    /// Closes the circuit.
    "circuit_reset" (name: string = "default") -> nil = circuit_reset;
}

/// The breakers of a run by name.
#[derive(Default)]
pub(crate) struct Breakers(Mutex<HashMap<String, Breaker>>);

struct Breaker {
    threshold: i64,
    reset_ms: i64,
    failures: i64,
    /// When it opened, on the clock of the run.
    opened_at: Option<i64>,
}

impl Breaker {
    fn new(threshold: i64, reset_ms: i64) -> Breaker {
        Breaker { threshold, reset_ms, failures: 0, opened_at: None }
    }

    fn is_half_open(&self, now: i64) -> bool {
        self.opened_at.is_some_and(|at| now - at >= self.reset_ms)
    }
}

fn name(args: &Args<'_>) -> String {
    if args.get(0).is_nil() { "default".to_owned() } else { args.string(0).to_string() }
}

fn circuit_breaker(cx: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    let name = name(&args);
    let breaker = Breaker::new(args.int(1).unwrap_or(5).max(1), args.int(2).unwrap_or(30_000).max(0));
    run(cx).breakers.0.lock().insert(name.clone(), breaker);
    Ok(name)
}

fn circuit_check(cx: &mut Cx<'_>, args: Args<'_>) -> Result<&'static str, Fault> {
    let run = run(cx);
    let now = run.now_monotonic();
    Ok(match run.breakers.0.lock().get(&name(&args)) {
        Some(breaker) if breaker.is_half_open(now) => "half_open",
        Some(Breaker { opened_at: Some(_), .. }) => "open",
        _ => "closed",
    })
}

fn circuit_record_failure(cx: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    let run = run(cx);
    let now = run.now_monotonic();
    let mut breakers = run.breakers.0.lock();
    let breaker = breakers.entry(name(&args)).or_insert_with(|| Breaker::new(5, 30_000));
    breaker.failures = breaker.failures.saturating_add(1);
    let opens = match breaker.opened_at {
        // The trial failed: open for another while.
        Some(_) => breaker.is_half_open(now),
        None => breaker.failures >= breaker.threshold,
    };
    if opens {
        breaker.opened_at = Some(now);
    }
    Ok(opens)
}

fn circuit_reset(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    if let Some(breaker) = run(cx).breakers.0.lock().get_mut(&name(&args)) {
        *breaker = Breaker::new(breaker.threshold, breaker.reset_ms);
    }
    Ok(())
}
