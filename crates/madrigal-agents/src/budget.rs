//! Money and tokens: what calls cost, what a run has spent, ceilings. A call reserves what it may cost before it is
//! sent, so that calls at the same time cannot together pass a ceiling; the reservation becomes the real cost afterwards.

use crate::config::Config;
use crate::failure::LlmError;
use crate::messages::some;
use crate::transport::{ChatRequest, Tokens};
use madrigal_stdlib::json;
use madrigal_vm::{Dict, Value};
use parking_lot::Mutex;

/// Billionths of a dollar; sums of them do not depend on the order of summing.
pub type NanoUsd = i64;

fn nano(usd: f64) -> NanoUsd {
    (usd * 1e9).round() as NanoUsd
}

/// As a number of dollars.
pub fn usd(nano: NanoUsd) -> f64 {
    nano as f64 / 1e9
}

/// Totals of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Of all prompts.
    pub input_tokens: u64,
    /// Of all answers.
    pub output_tokens: u64,
    /// Spent.
    pub cost: NanoUsd,
    /// Time of all calls together.
    pub duration_ms: u64,
    /// Attempts that reported usage.
    pub calls: u64,
}

/// What a run has spent and may spend.
#[derive(Default)]
pub struct Ledger(Mutex<Account>);

#[derive(Default)]
struct Account {
    totals: Totals,
    reserved: NanoUsd,
    ceiling: Option<NanoUsd>,
}

/// What a call may cost, set aside until it is dropped.
pub struct Reservation<'a> {
    ledger: &'a Ledger,
    cost: NanoUsd,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.ledger.0.lock().reserved -= self.cost;
    }
}

/// What a request is expected to take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Projection {
    /// Estimated.
    pub input_tokens: u64,
    /// At most.
    pub output_tokens: u64,
    /// At most.
    pub cost: NanoUsd,
}

/// Tokens that a text of so many bytes is estimated to have.
pub fn estimated_tokens(bytes: usize) -> u64 {
    bytes.div_ceil(4) as u64
}

/// Bytes of the text that a request sends: messages, system prompt and tools.
fn bytes_of(request: &ChatRequest) -> usize {
    let infill = request.infill.as_ref().map_or(0, |it| it.0.len() + it.1.as_ref().map_or(0, String::len));
    let tools: usize =
        request.tools.iter().map(|it| it.name.len() + it.description.len() + json::stringify(&it.schema).len()).sum();
    let messages: usize = request.messages.iter().map(message_bytes).sum();
    messages + request.system.as_ref().map_or(0, String::len) + tools + infill
}

/// Bytes of the text of a message, calls of tools included.
pub fn message_bytes(message: &Value) -> usize {
    let calls = crate::messages::field(message, "tool_calls").map_or(0, |it| json::stringify(it).len());
    crate::messages::text_of(message).len() + calls
}

/// What a request is expected to take.
pub fn project(config: &Config, request: &ChatRequest) -> Projection {
    let input = estimated_tokens(bytes_of(request));
    let output = u64::try_from(request.max_tokens).unwrap_or(0);
    let tokens = Tokens { input: Some(input), output: Some(output), ..Tokens::default() };
    Projection { input_tokens: input, output_tokens: output, cost: cost_of(config, &request.model, &tokens) }
}

/// What these tokens cost.
pub fn cost_of(config: &Config, model: &str, tokens: &Tokens) -> NanoUsd {
    let price = |kind: &str| config.price(model, kind);
    let input_price = price("input_per_mtok").unwrap_or(0.0);
    let cached = tokens.cache_read + tokens.cache_write;
    let plain = tokens.input.unwrap_or(0).saturating_sub(cached);
    let per_million = |count: u64, price: f64| count as f64 * price / 1e6;
    nano(
        per_million(plain, input_price)
            + per_million(tokens.cache_read, price("cache_read_per_mtok").unwrap_or(input_price))
            + per_million(tokens.cache_write, price("cache_write_per_mtok").unwrap_or(input_price))
            + per_million(tokens.output.unwrap_or(0), price("output_per_mtok").unwrap_or(0.0)),
    )
}

/// What reading from the cache saved.
pub fn savings_of(config: &Config, model: &str, tokens: &Tokens) -> f64 {
    let input = config.price(model, "input_per_mtok").unwrap_or(0.0);
    let read = config.price(model, "cache_read_per_mtok").unwrap_or(input);
    usd(nano(tokens.cache_read as f64 * (input - read) / 1e6))
}

fn exceeded(limit: &str, projection: &Projection) -> LlmError {
    let cost = usd(projection.cost);
    let message = format!(
        "budget exceeded: {limit} (projected {} input tokens, {} USD)",
        projection.input_tokens,
        Value::Float(cost)
    );
    let mut error = LlmError::new("budget_exceeded", message);
    error.details = vec![
        ("limit", Value::from(limit)),
        ("projected_cost_usd", Value::Float(cost)),
        ("projected_input_tokens", Value::Int(projection.input_tokens as i64)),
    ];
    error
}

/// Compares a request with the `budget` option of its call.
pub fn check(budget: &Dict, projection: &Projection) -> Result<(), LlmError> {
    let limit = |key: &str| some(budget, key).and_then(Value::as_number);
    let checks = [
        ("max_input_tokens", projection.input_tokens as f64),
        ("max_output_tokens", projection.output_tokens as f64),
        ("max_cost_usd", usd(projection.cost)),
        ("total_budget_usd", usd(projection.cost)),
    ];
    match checks.into_iter().find(|(key, value)| limit(key).is_some_and(|it| *value > it)) {
        Some((key, _)) => Err(exceeded(key, projection)),
        None => Ok(()),
    }
}

impl Ledger {
    /// Sets what a request may cost aside, or fails when the ceiling of the run does not leave it.
    pub fn reserve(&self, projection: &Projection) -> Result<Reservation<'_>, LlmError> {
        let mut account = self.0.lock();
        let wanted = account.totals.cost + account.reserved + projection.cost;
        if account.ceiling.is_some_and(|it| wanted > it) {
            return Err(exceeded("run", projection));
        }
        account.reserved += projection.cost;
        Ok(Reservation { ledger: self, cost: projection.cost })
    }

    /// Counts an attempt.
    pub fn spend(&self, tokens: &Tokens, cost: NanoUsd, duration_ms: u64) {
        let totals = &mut self.0.lock().totals;
        totals.input_tokens += tokens.input.unwrap_or(0);
        totals.output_tokens += tokens.output.unwrap_or(0);
        totals.cost += cost;
        totals.duration_ms += duration_ms;
        totals.calls += 1;
    }

    /// The totals so far.
    pub fn totals(&self) -> Totals {
        self.0.lock().totals
    }

    /// Sets the ceiling of the run.
    pub fn set_ceiling(&self, dollars: Option<f64>) {
        self.0.lock().ceiling = dollars.map(nano);
    }

    /// What is left under the ceiling.
    pub fn remaining(&self) -> Option<f64> {
        let account = self.0.lock();
        account.ceiling.map(|it| usd(it - account.totals.cost - account.reserved))
    }
}
