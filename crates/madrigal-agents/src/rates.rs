//! The builtins of rate limits, usage and budgets.

use crate::budget::{self, usd};
use crate::builtins::call_cx;
use crate::call::{Handed, note_wait};
use crate::config::Layer;
use crate::limiter::{Limits, Metrics};
use crate::messages::{field, some};
use crate::models::{Models, host};
use crate::transport::Tokens;
use madrigal_stdlib::{Run, TaskHost, category_of};
use madrigal_vm::{Args, Cx, Dict, Fault, Handle, HandleObject, Outcome, Str, Value, Wait};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

madrigal_vm::builtins! {
    /// The requests a minute of a provider; with limits it sets them, with "status" it tells how things stand.
    "llm_rate_limit" (provider: string, limit: any) -> any = llm_rate_limit;
    /// What the rate limit of a provider did; of all providers without a name.
    "llm_rate_metrics" (provider: string) -> dict = llm_rate_metrics;
    /// What a number of tokens costs in USD.
    "llm_cost" (model: string, input_tokens: int, output_tokens: int) -> float = llm_cost;
    /// What this run has spent on models.
    "llm_session_cost" () -> dict = llm_session_cost;
    /// What this run has used of models.
    "llm_usage" () -> dict = llm_usage;
    /// Sets the ceiling of this run in USD; nil removes it.
    "llm_budget" (usd: float) -> nil = llm_budget;
    /// What is left under the ceiling; nil without one.
    "llm_budget_remaining" () -> float = llm_budget_remaining;
    /// Checks the arguments of `with_rate_limit`.
    "__with_rate_limit" (provider: string, body: closure, options: dict) -> any = with_rate_limit;
    /// Takes a permit and hands it down.
    "__rate_permit" (limit: any) -> nil = rate_permit;
    /// Takes a permit that was handed down back.
    "__rate_return" (limit: any) -> nil = rate_return;
    /// How long to wait before another attempt; -1 when there is none.
    "__rate_retry" (limit: any, retries: int, error: any) -> int = rate_retry;
}

fn models(cx: &mut Cx<'_>) -> (Arc<Run>, Arc<Models>) {
    let run = host(cx).run.clone();
    let models = Models::of(&run);
    (run, models)
}

fn llm_rate_limit(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let (run, models) = models(cx);
    let provider = args.string(0);
    if provider.is_empty() {
        return Err(Fault::thrown("llm_rate_limit: provider is required"));
    }
    let limiter = models.limiter(&run, &provider);
    let now = run.now_monotonic();
    let count = |it: Option<i64>| it.and_then(|it| u64::try_from(it).ok()).filter(|it| *it > 0);
    let int = |it: Option<u64>| it.map_or(Value::Nil, |it| Value::Int(it as i64));
    let limits = limiter.limits();
    let changed = match args.get(1) {
        _ if args.len() < 2 => return Ok(int(limits.rpm)),
        Value::String(word) if word.as_str() == "status" => {
            let status = limiter.status(now);
            return Ok(Value::dict([
                ("rpm", int(limits.rpm)),
                ("tpm", int(limits.tpm)),
                ("max_concurrent", int(limits.max_concurrent)),
                ("in_window", Value::from(status.in_window)),
                ("tokens_in_window", Value::Int(status.tokens_in_window as i64)),
                ("in_flight", Value::Int(status.in_flight as i64)),
                ("waiting", Value::from(status.waiting)),
                ("next_grant_ms", Value::Int(status.next_grant_ms)),
                ("source", Value::from(limits.source.name())),
            ]));
        }
        Value::Nil => Limits { rpm: None, ..limits },
        Value::Dict(given) => {
            let limit = |key: &str, before: Option<u64>| match given.get(key) {
                Some(value) => count(value.as_int()),
                None => before,
            };
            Limits {
                rpm: limit("rpm", limits.rpm),
                tpm: limit("tpm", limits.tpm),
                max_concurrent: limit("max_concurrent", limits.max_concurrent),
                ..limits
            }
        }
        other => match other.as_int() {
            Some(rpm) => Limits { rpm: count(Some(rpm)), ..limits },
            None => {
                let got = other.type_name();
                return Err(Fault::thrown(format!("llm_rate_limit: expected an int, a dict or \"status\", got {got}")));
            }
        },
    };
    limiter.set(Limits { source: Layer::Runtime, ..changed }, now);
    Ok(Value::Bool(true))
}

fn metrics_value(metrics: Metrics) -> Value {
    let int = |it: u64| Value::Int(i64::try_from(it).unwrap_or(i64::MAX));
    Value::dict([
        ("granted", int(metrics.granted)),
        ("waited", int(metrics.waited)),
        ("cancelled", int(metrics.cancelled)),
        ("wait_ms_total", int(metrics.wait_ms_total)),
        ("wait_ms_max", int(metrics.wait_ms_max)),
        ("max_queue_depth", int(metrics.max_queue_depth)),
        ("paused_ms_total", int(metrics.paused_ms_total)),
    ])
}

fn llm_rate_metrics(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let (run, models) = models(cx);
    if !args.get(0).is_nil() {
        return Ok(metrics_value(models.limiter(&run, &args.string(0)).metrics()));
    }
    Ok(Value::dict(models.limiters().into_iter().map(|(name, it)| (name, metrics_value(it.metrics())))))
}

fn llm_cost(cx: &mut Cx<'_>, args: Args<'_>) -> Result<f64, Fault> {
    let (_, models) = models(cx);
    let count = |at: usize| args.int(at).and_then(|it| u64::try_from(it).ok());
    let tokens = Tokens { input: count(1), output: count(2), ..Tokens::default() };
    let config = models.config();
    let name = args.string(0);
    let id = config.aliases.get(&name.to_lowercase()).map_or_else(|| name.to_string(), |it| it.id.clone());
    Ok(usd(budget::cost_of(&config, &id, &tokens)))
}

fn llm_session_cost(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Value, Fault> {
    let totals = models(cx).1.ledger.totals();
    Ok(Value::dict([
        ("total_cost", Value::Float(usd(totals.cost))),
        ("input_tokens", Value::Int(totals.input_tokens as i64)),
        ("output_tokens", Value::Int(totals.output_tokens as i64)),
        ("call_count", Value::Int(totals.calls as i64)),
    ]))
}

fn llm_usage(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Value, Fault> {
    let totals = models(cx).1.ledger.totals();
    Ok(Value::dict([
        ("input_tokens", Value::Int(totals.input_tokens as i64)),
        ("output_tokens", Value::Int(totals.output_tokens as i64)),
        ("total_duration_ms", Value::Int(totals.duration_ms as i64)),
        ("call_count", Value::Int(totals.calls as i64)),
    ]))
}

fn llm_budget(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    let ceiling = args.get(0).as_number();
    if ceiling.is_none() && !args.get(0).is_nil() {
        let got = args.get(0).type_name();
        return Err(Fault::thrown(format!("llm_budget: expected a number of USD or nil, got {got}")));
    }
    models(cx).1.ledger.set_ceiling(ceiling);
    Ok(())
}

fn llm_budget_remaining(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Value, Fault> {
    Ok(models(cx).1.ledger.remaining().map_or(Value::Nil, Value::Float))
}

/// The task-local value under which a permit is handed down.
const HANDED: &str = "llm.permit";

/// A `with_rate_limit` under way.
struct LimitObject {
    provider: String,
    max_retries: u64,
    backoff_ms: u64,
    /// What the task-local value was before.
    outer: Mutex<Option<Value>>,
}

impl HandleObject for LimitObject {
    fn type_name(&self) -> &'static str {
        "rate_limit"
    }

    fn display(&self) -> String {
        format!("<rate_limit:{}>", self.provider)
    }

    fn identity(&self) -> Option<u64> {
        None
    }
}

/// A permit on its way to a call.
struct HandedObject(Arc<Handed>);

impl HandleObject for HandedObject {
    fn type_name(&self) -> &'static str {
        "rate_permit"
    }

    fn display(&self) -> String {
        "<rate_permit>".to_owned()
    }

    fn identity(&self) -> Option<u64> {
        None
    }
}

/// The permit that was handed down to this task.
pub fn handed(host: &TaskHost) -> Option<Arc<Handed>> {
    match host.values.as_ref()?.get(HANDED)? {
        Value::Handle(handle) => handle.downcast::<HandedObject>().map(|it| it.0.clone()),
        _ => None,
    }
}

fn with_rate_limit(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    if !args.get(1).is_callable() {
        let got = args.get(1).type_name();
        return Err(Fault::thrown(format!("with_rate_limit: second argument must be a closure, got {got}")));
    }
    let provider = args.string(0);
    if provider.is_empty() {
        return Err(Fault::thrown("with_rate_limit: provider is required"));
    }
    let count = |key: &str, default: u64| {
        let value = args.dict(2).and_then(|it| some(it, key)).and_then(Value::as_millis);
        value.map_or(default, |it| u64::try_from(it).unwrap_or(0))
    };
    let limit = LimitObject {
        provider: provider.to_string(),
        max_retries: count("max_retries", 5),
        backoff_ms: count("backoff_ms", 1000),
        outer: Mutex::new(None),
    };
    Ok(Value::Handle(Handle::new(limit)))
}

fn limit<'a>(args: &'a Args<'_>) -> Result<&'a LimitObject, Fault> {
    let limit = match args.get(0) {
        Value::Handle(handle) => handle.downcast::<LimitObject>(),
        _ => None,
    };
    limit.ok_or_else(|| Fault::runtime("not a rate limit"))
}

fn rate_permit(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let provider = limit(&args)?.provider.clone();
    let call_cx = call_cx(cx);
    let limiter = call_cx.models.limiter(&call_cx.run, &provider);
    let permit_slot = Arc::new(Handed::default());
    let object = Value::Handle(Handle::new(HandedObject(permit_slot.clone())));
    let values: &mut Dict = host(cx).values.get_or_insert_default();
    let outer = std::mem::replace(values.slot(&Str::from(HANDED)), object);
    *limit(&args)?.outer.lock() = Some(outer);
    let future = async move {
        let permit = limiter.permit(&call_cx.run, 0).await;
        note_wait(&call_cx, &provider, permit);
        permit_slot.set(&provider, permit);
        Ok(Value::Nil)
    };
    Ok(Wait::new("rate limit", future).into())
}

fn rate_return(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    let outer = limit(&args)?.outer.lock().take().unwrap_or_default();
    if let Some(values) = host(cx).values.as_mut() {
        if outer.is_nil() {
            values.remove(HANDED);
        } else {
            *values.slot(&Str::from(HANDED)) = outer;
        }
    }
    Ok(())
}

/// Longest delay of `with_rate_limit` that no server asked for.
const BACKOFF_MS_MAX: u64 = 30_000;

fn rate_retry(_: &mut Cx<'_>, args: Args<'_>) -> Result<i64, Fault> {
    let limit = limit(&args)?;
    let retries = args.int(1).and_then(|it| u64::try_from(it).ok()).unwrap_or(0);
    let error = args.get(2);
    let passing = ["rate_limit", "overloaded", "transient_network", "timeout"];
    let retried = matches!(error, Value::Dict(_)) && passing.contains(&category_of(error).as_str());
    if !retried || retries >= limit.max_retries {
        return Ok(-1);
    }
    let shift = u32::try_from(retries).unwrap_or(u32::MAX);
    let doubled = limit.backoff_ms.saturating_mul(1u64.checked_shl(shift).unwrap_or(u64::MAX)).min(BACKOFF_MS_MAX);
    let hint = field(error, "retry_after_ms").and_then(Value::as_millis).and_then(|it| u64::try_from(it).ok());
    let delay = Duration::from_millis(doubled.max(hint.unwrap_or(0)));
    Ok(i64::try_from(delay.as_millis()).unwrap_or(i64::MAX))
}
