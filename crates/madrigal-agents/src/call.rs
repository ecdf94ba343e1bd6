//! One logical call of a model: budget, slot and permit of the rate limit, attempts and their delays, time limits.
//! Everything here stands above the transports and so applies to every provider, the mock included.

use crate::budget::{self, Projection};
use crate::config::Fields;
use crate::failure::LlmError;
use crate::http;
use crate::limiter::Permit;
use crate::options::Plan;
use crate::redact::Redactor;
use crate::transport::{CallCx, ChatReply, ChatRequest, Deltas, Tokens};
use madrigal_vm::Value;
use parking_lot::Mutex;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// Longest delay before a retry that the server did not ask for.
const DELAY_MS_MAX: u64 = 30_000;

/// A permit that `with_rate_limit` took and a call inside it may use once.
#[derive(Default)]
pub struct Handed(Mutex<Option<(String, Permit)>>);

impl Handed {
    /// Hands a permit for a provider down.
    pub fn set(&self, provider: &str, permit: Permit) {
        *self.0.lock() = Some((provider.to_owned(), permit));
    }

    fn take(&self, provider: &str) -> Option<Permit> {
        self.0.lock().take_if(|it| it.0 == provider).map(|it| it.1)
    }
}

/// A call that succeeded.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What was answered.
    pub reply: ChatReply,
    /// Who answered.
    pub provider: String,
    /// Which model.
    pub model: String,
    /// Attempts made.
    pub attempts: u32,
    /// Of the whole call.
    pub duration_ms: i64,
    /// Until the first piece.
    pub first_token_ms: Option<i64>,
    /// Whether the numbers of tokens are estimates.
    pub estimated: bool,
    /// Attempts that delivered no content.
    pub empty_completions: u32,
}

/// What a call is at, for the reason of a timeout.
#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Queued,
    Sent,
}

struct Call<'a> {
    plan: &'a Plan,
    cx: &'a CallCx,
    stage: &'a Mutex<Stage>,
    handed: Option<Arc<Handed>>,
    started: i64,
    ends_at: i64,
    attempts: u32,
}

/// Makes the call, with all its attempts. Dropping the future ends it at once.
pub async fn answer(
    plan: &Plan,
    cx: &CallCx,
    handed: Option<Arc<Handed>>,
    deltas: &mut dyn Deltas,
) -> Result<Answer, LlmError> {
    let cx = &CallCx { idle_timeout: plan.idle_timeout, ..cx.clone() };
    let started = cx.run.now_monotonic();
    let timeout_ms = i64::try_from(plan.timeout.as_millis()).unwrap_or(i64::MAX);
    let stage = Mutex::new(Stage::Queued);
    let ends_at = started.saturating_add(timeout_ms).min(cx.ends_at.unwrap_or(i64::MAX));
    let ends_at = ends_at.min(cx.block_ends_at.unwrap_or(i64::MAX));
    let mut call = Call { plan, cx, stage: &stage, handed, started, ends_at, attempts: 0 };
    let expired = || {
        let error = LlmError::new("timeout", format!("no answer within {timeout_ms} ms"));
        if *stage.lock() == Stage::Queued { error.because("rate_limit_wait") } else { error }
    };
    let made = within(cx, plan.timeout, call.make(deltas), expired).await;
    let attempts = call.attempts;
    let redactor = Redactor::new(&cx.run, &cx.models.config());
    let outcome = made.map_err(|error| {
        error.at(&plan.target.provider, &plan.target.model).with(|it| {
            it.attempts = it.attempts.max(attempts);
            it.message = redactor.text(&it.message);
        })
    });
    let (duration, word) =
        (cx.run.now_monotonic() - started, outcome.as_ref().map_or_else(|error| error.category, |_| "ok"));
    let fields = [
        ("provider", Value::from(plan.target.provider.as_str())),
        ("model", Value::from(plan.target.model.as_str())),
        ("attempts", Value::Int(i64::from(attempts))),
        ("duration_ms", Value::Int(duration)),
        ("first_token_ms", outcome.as_ref().ok().and_then(|it| it.first_token_ms).map_or(Value::Nil, Value::Int)),
        ("outcome", Value::from(word)),
        ("metadata", plan.metadata.clone()),
    ];
    cx.models.trace.emit(&cx.run, "llm_call", fields);
    outcome
}

/// Gives `work` up when it takes longer than `limit` on the clock of the run. Work that is ready at that instant wins.
pub async fn within<T>(
    cx: &CallCx,
    limit: Duration,
    work: impl Future<Output = Result<T, LlmError>>,
    expired: impl Fn() -> LlmError,
) -> Result<T, LlmError> {
    let (mut work, mut alarm) = (pin!(work), pin!(cx.run.sleep(limit)));
    poll_fn(|task| {
        if let Poll::Ready(outcome) = work.as_mut().poll(task) {
            return Poll::Ready(outcome);
        }
        if alarm.as_mut().poll(task).is_pending() {
            return Poll::Pending;
        }
        // Another waiter's timer may be the one that makes room at this very instant.
        match work.as_mut().poll(task) {
            Poll::Ready(outcome) => Poll::Ready(outcome),
            Poll::Pending => Poll::Ready(Err(expired())),
        }
    })
    .await
}

impl Call<'_> {
    async fn make(&mut self, deltas: &mut dyn Deltas) -> Result<Answer, LlmError> {
        let provider = self.plan.target.provider.clone();
        let fields = self.cx.models.config().providers.get(&provider).cloned().unwrap_or_default();
        let retries = self.plan.retries.unwrap_or_else(|| default_retries(&fields));
        let backoff = self.plan.backoff_ms.unwrap_or_else(|| fields.count("retry_delay_ms").unwrap_or(250));
        let mut request = self.plan.request.clone();
        let (mut retried, mut empty) = (0, 0);
        let error = loop {
            let error = match self.attempt(&request, deltas).await {
                Ok(answer) => return Ok(Answer { empty_completions: empty, ..answer }),
                Err(error) => error,
            };
            empty += u32::from(error.reason == "empty_completion");
            if !error.is_transient() || deltas.started() {
                return Err(error);
            }
            if retried >= retries {
                break error;
            }
            retried += 1;
            let delay = self.delay_ms(backoff, retried, &error);
            let Some(delay) = delay.filter(|it| self.leaves_time_for(*it)) else { return Err(error) };
            let fields = [
                ("provider", Value::from(provider.as_str())),
                ("attempt", Value::Int(i64::from(self.attempts))),
                ("category", Value::from(error.category)),
                ("delay_ms", Value::Int(delay as i64)),
            ];
            self.cx.models.trace.emit(&self.cx.run, "llm_retry", fields);
            self.cx.run.sleep(Duration::from_millis(delay)).await;
        };
        let Some(fallback) = fields.text("fallback").map(str::to_owned) else { return Err(error) };
        let models = self.cx.models.config();
        if let Some(model) = models.providers.get(&fallback).and_then(|it| it.text("default_model")) {
            model.clone_into(&mut request.model);
        }
        request.provider = fallback;
        self.attempt(&request, deltas).await
    }

    /// How long to wait before the `k`-th retry; nothing when the server asks for more than the call allows.
    fn delay_ms(&self, backoff: u64, k: u32, error: &LlmError) -> Option<u64> {
        let doubled = backoff.saturating_mul(1u64.checked_shl(k - 1).unwrap_or(u64::MAX)).min(DELAY_MS_MAX);
        let jitter = self.cx.run.random(|it| 0.5 + it.fraction() / 2.0);
        let delay = (doubled as f64 * jitter).round() as u64;
        match error.retry_after_ms {
            Some(hint) if hint > self.plan.max_retry_after_ms => None,
            Some(hint) => Some(delay.max(hint)),
            None => Some(delay),
        }
    }

    fn leaves_time_for(&self, delay: u64) -> bool {
        let wake = self.cx.run.now_monotonic().saturating_add(i64::try_from(delay).unwrap_or(i64::MAX));
        wake <= self.ends_at
    }

    /// One attempt: budget, slot, permit, request.
    async fn attempt(&mut self, request: &ChatRequest, deltas: &mut dyn Deltas) -> Result<Answer, LlmError> {
        let (cx, run) = (self.cx, &self.cx.run);
        let config = cx.models.config();
        let projection = budget::project(&config, request);
        if let Some(budget) = &self.plan.budget {
            budget::check(budget, &projection)?;
        }
        let reservation = cx.models.ledger.reserve(&projection)?;
        *self.stage.lock() = Stage::Queued;
        let limiter = cx.models.limiter(run, &request.provider);
        let slot = limiter.slot(run).await;
        let permit = self.permit(&request.provider, projection).await;
        *self.stage.lock() = Stage::Sent;
        self.attempts += 1;
        let started = run.now_monotonic();
        let (outcome, real) = self.send(request, deltas).await;
        let now = run.now_monotonic();
        drop(slot);
        drop(reservation);
        let mut reply = match outcome {
            Ok(reply) => reply,
            Err(error) => {
                let error = error.at(&request.provider, &request.model);
                self.note_pause(&error, &request.provider, now);
                return Err(error.with(|it| it.attempts = self.attempts));
            }
        };
        let estimated = estimate_missing(&mut reply, projection);
        let used = reply.tokens.input.unwrap_or(0) + reply.tokens.output.unwrap_or(0);
        limiter.settle(permit, used, now);
        let model = reply.model.clone().unwrap_or_else(|| request.model.clone());
        let cost = budget::cost_of(&config, &request.model, &reply.tokens);
        cx.models.ledger.spend(&reply.tokens, cost, u64::try_from(now - started).unwrap_or(0));
        if reply.stop_reason() == "content_filter" && reply.text.is_empty() {
            return Err(LlmError::new("content_filter", "the provider's content policy stopped the answer"));
        }
        let answer = Answer {
            provider: reply.provider.clone().unwrap_or_else(|| request.provider.clone()),
            model,
            attempts: self.attempts,
            duration_ms: now - self.started,
            first_token_ms: reply.first_token_at.map(|it| it - self.started),
            estimated,
            empty_completions: 0,
            reply,
        };
        if real {
            cx.models.recorder.record(&answer);
        }
        Ok(answer)
    }

    async fn permit(&self, provider: &str, projection: Projection) -> Permit {
        let run = &self.cx.run;
        if let Some(permit) = self.handed.as_ref().filter(|_| self.attempts == 0).and_then(|it| it.take(provider)) {
            return permit;
        }
        let limiter = self.cx.models.limiter(run, provider);
        let tokens = projection.input_tokens + projection.output_tokens;
        if limiter.limits().tpm.is_some_and(|it| tokens > it) {
            let fields = [("provider", Value::from(provider)), ("tokens", Value::Int(tokens as i64))];
            self.cx.models.trace.warn(run, "llm.tpm_oversize", fields);
        }
        let permit = limiter.permit(run, tokens).await;
        note_wait(self.cx, provider, permit);
        permit
    }

    /// Sends the request to whoever serves it; also whether that is a real provider.
    async fn send(&self, request: &ChatRequest, deltas: &mut dyn Deltas) -> (Result<ChatReply, LlmError>, bool) {
        let (cx, models) = (self.cx, &self.cx.models);
        if self.plan.target.by_default {
            models.warn_of_mock(&cx.run);
        }
        if let Some(taken) = models.mock.take(request) {
            let mut request = request.clone();
            if request.model.is_empty() {
                request.model = "mock-model".to_owned();
            }
            return (models.mock.serve(Some(taken), &request, cx, deltas).await, false);
        }
        let real = !http::is_mock(&models.config(), &request.provider);
        (self.send_to_provider(request, real, deltas).await, real)
    }

    async fn send_to_provider(
        &self,
        request: &ChatRequest,
        real: bool,
        deltas: &mut dyn Deltas,
    ) -> Result<ChatReply, LlmError> {
        let (cx, models) = (self.cx, &self.cx.models);
        let transport = models.transport(&request.provider)?;
        if request.model.is_empty() {
            return Err(LlmError::invalid(format!("no model for the provider '{}'", request.provider)));
        }
        if real {
            http::check_enabled(&cx.run)?;
            http::check_allowed(&cx.run, &request.provider)?;
        }
        match &request.infill {
            Some(_) if transport.completes() => transport.complete(request, cx).await,
            Some((prefix, suffix)) => {
                let chat = crate::completion::as_chat(request, prefix, suffix.as_deref());
                let reply = transport.chat(&chat, cx, deltas).await?;
                Ok(ChatReply { emulated: true, ..reply })
            }
            None => transport.chat(request, cx, deltas).await,
        }
    }

    /// A provider that says when to come back is left alone until then.
    fn note_pause(&self, error: &LlmError, provider: &str, now: i64) {
        let hint = error.retry_after_ms.filter(|_| error.category == "rate_limit" && error.is_transient());
        let Some(hint) = hint else { return };
        let run = &self.cx.run;
        self.cx.models.limiter(run, provider).pause(Duration::from_millis(hint), now);
        let fields = [("provider", Value::from(provider)), ("pause_ms", Value::Int(hint as i64))];
        self.cx.models.trace.emit(run, "llm.provider_paused", fields);
    }
}

/// Notes a wait for a permit that was worth noting.
pub fn note_wait(cx: &CallCx, provider: &str, permit: Permit) {
    const NOTED_FROM_MS: u64 = 10;
    if permit.waited_ms > NOTED_FROM_MS {
        let fields = [
            ("provider", Value::from(provider)),
            ("wait_ms", Value::Int(permit.waited_ms as i64)),
            ("queue_depth", Value::from(permit.queue_depth)),
        ];
        cx.models.trace.emit(&cx.run, "llm.rate_limited", fields);
    }
}

fn default_retries(fields: &Fields) -> u32 {
    fields.count("retry_count").map_or(0, |it| u32::try_from(it).unwrap_or(u32::MAX))
}

/// Fills in the numbers of tokens that the provider did not send; whether it had to.
fn estimate_missing(reply: &mut ChatReply, projection: Projection) -> bool {
    let missing = reply.tokens.input.is_none() || reply.tokens.output.is_none();
    let output = budget::estimated_tokens(reply.text.len());
    let Tokens { input, output: answered, .. } = &mut reply.tokens;
    input.get_or_insert(projection.input_tokens);
    answered.get_or_insert(output);
    missing
}
