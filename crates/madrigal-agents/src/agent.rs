//! The agent loop: a model called in turns, its tool calls run between them, until it is done.

mod builtins;
mod commands;
mod compaction;
mod events;
mod options;
mod outcome;
mod tooling;
mod workers;

pub use builtins::register;
pub use compaction::register as register_compaction;
pub use workers::{Workers, register as register_workers};

use crate::budget::{estimated_tokens, message_bytes};
use crate::call::{self, Answer, Handed};
use crate::extract;
use crate::failure::LlmError;
use crate::messages::{field, message, normalised, some, text_field};
use crate::options::{Given, Plan, append, plan};
use crate::reply::{self, assistant_message};
use crate::schema;
use crate::sessions::Lease;
use crate::tools::{Guard, formatted_result};
use crate::transport::{CallCx, ToolCall};
use compaction::Compaction;
use events::{Emitter, Live};
use madrigal_vm::{Dict, Str, Value};
use options::AgentOptions;
use outcome::Outcome;
use std::sync::Arc;

/// How a loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Done,
    Stuck,
    BudgetExhausted,
    Deadline,
    Failed,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Status::Done => "done",
            Status::Stuck => "stuck",
            Status::BudgetExhausted => "budget_exhausted",
            Status::Deadline => "deadline",
            Status::Failed => "failed",
        }
    }
}

/// A loop under way.
pub(crate) struct Agent {
    cx: CallCx,
    options: AgentOptions,
    /// The options of its model calls.
    call_options: Dict,
    system: Option<String>,
    /// What the next request is built from.
    visible: Vec<Value>,
    /// Everything that was said in this loop and before.
    recorded: Vec<Value>,
    compaction: Compaction,
    guard: Arc<Guard>,
    emitter: Emitter,
    outcome: Outcome,
    handed: Option<Arc<Handed>>,
    lease: Lease,
    started: i64,
    nudges: u64,
    schema_retries: u64,
    /// The call that was repeated last, with its result, and how often in a row.
    streak: (String, String, u64),
    /// Answers whose native calls were written as text.
    fallbacks: u64,
    /// Entries of the inbox that this turn took and has not finished with.
    taken: Vec<u64>,
}

impl Agent {
    /// A loop that is ready to run.
    pub(crate) fn new(
        cx: CallCx,
        given: &Given,
        options: AgentOptions,
        handed: Option<Arc<Handed>>,
        lease: Lease,
    ) -> Agent {
        let guard = Arc::new(options.guard(&lease.id));
        let subscribers = options.on_event.iter().cloned().chain(lease.subscribers()).collect();
        let emitter = Emitter::new(cx.clone(), &lease.id, subscribers);
        let mut call_options = given.options.clone();
        for key in ["messages", "transcript", "session_id"] {
            call_options.remove(key);
        }
        for (key, value) in [("llm_retries", 2), ("llm_backoff_ms", 2000)] {
            if some(&call_options, key).is_none() {
                call_options.insert(Str::from(key), Value::Int(value));
            }
        }
        let started = cx.run.now_monotonic();
        let compaction = Compaction::of(&options.compaction, options.window);
        Agent {
            visible: lease.visible(),
            recorded: lease.recorded(),
            system: given.system.clone(),
            cx,
            options,
            call_options,
            compaction,
            guard,
            emitter,
            outcome: Outcome::default(),
            handed,
            lease,
            started,
            nudges: 0,
            schema_retries: 0,
            streak: (String::new(), String::new(), 0),
            fallbacks: 0,
            taken: Vec::new(),
        }
    }

    /// Runs the loop to its end.
    pub(crate) async fn run(mut self, given: &Given) -> Result<Value, LlmError> {
        let earlier = given.options.get("transcript").and_then(|it| field(it, "messages"));
        for list in [earlier, given.options.get("messages")].into_iter().flatten() {
            for it in normalised(crate::messages::items(Some(list)))? {
                self.append(it);
            }
        }
        if !given.prompt.is_empty() {
            self.append(message("user", given.prompt.as_str()));
        }
        self.emitter.emit("loop_start", Vec::new()).await;
        let commands = commands::Ending::of(&self.cx.run, &self.lease.id);
        let ended = self.turns().await;
        commands.end().await;
        self.lease.store(&self.visible, &self.recorded, &self.outcome.transcript_events);
        let status = match &ended {
            Ok(status) => status.name(),
            Err(_) => "failed",
        };
        self.emitter.emit("loop_end", vec![("status", Value::from(status))]).await;
        let status = ended?;
        let duration = self.cx.run.now_monotonic() - self.started;
        let native = self.options.native;
        Ok(self.outcome.result(status.name(), &self.lease, &self.recorded, duration, native))
    }

    fn append(&mut self, message: Value) {
        self.visible.push(message.clone());
        self.recorded.push(message);
    }

    fn is_late(&self) -> bool {
        self.options.ends_at.is_some_and(|it| self.cx.run.now_monotonic() >= it)
    }

    async fn turns(&mut self) -> Result<Status, LlmError> {
        loop {
            if self.is_late() {
                return Ok(Status::Deadline);
            }
            if self.outcome.iterations >= self.options.max_iterations {
                self.emitter.emit("budget_exhausted", Vec::new()).await;
                return Ok(Status::BudgetExhausted);
            }
            self.outcome.iterations += 1;
            self.emitter.iteration = self.outcome.iterations;
            self.emitter.emit("turn_start", Vec::new()).await;
            let ended = self.turn().await;
            match &ended {
                Ok(_) => self.lease.inbox.acknowledge(&self.taken),
                Err(_) => self.lease.inbox.refuse(&self.taken),
            };
            self.taken.clear();
            let ended = match ended {
                Ok(ended) => ended,
                Err(error) if error.category == "budget_exceeded" => Some(Status::BudgetExhausted),
                Err(error) if error.category == "timeout" && self.is_late() => Some(Status::Deadline),
                Err(error) => return Err(error),
            };
            self.emitter.emit("turn_end", Vec::new()).await;
            let spent = self.outcome.input_tokens + self.outcome.output_tokens;
            if ended.is_none() && self.options.token_budget.is_some_and(|it| spent >= it) {
                return Ok(Status::BudgetExhausted);
            }
            if let Some(status) = ended {
                return Ok(status);
            }
        }
    }

    /// One turn; the status when it was the last.
    async fn turn(&mut self) -> Result<Option<Status>, LlmError> {
        self.drain(0).await;
        self.compact(1).await;
        // What arrived meanwhile is not summarized away, and is in this very request.
        self.drain(1).await;
        let (plan, answer) = self.ask().await?;
        let config = self.cx.models.config();
        let result = reply::result(&config, &plan, &answer);
        self.outcome.count(&config, &answer);
        let text = answer.reply.text.clone();
        let mut calls = answer.reply.tool_calls.clone();
        let mut written = Vec::new();
        if calls.is_empty() && !self.options.entries.is_empty() {
            let parsed = crate::tools::calls_in(&text);
            written = parsed.errors;
            calls = parsed.calls;
            if self.options.native && !calls.is_empty() && !self.accepts_text_calls(&calls) {
                let feedback = "Call tools natively, not as text: the calls in your reply were not run.";
                self.said(&text, &result, &[]).await;
                self.append(feedback_message("tool_format", feedback));
                return Ok(None);
            }
        }
        self.said(&text, &result, &calls).await;
        let done = self.says_done(&text);
        if !calls.is_empty() {
            let results = self.run_tools(&calls).await;
            self.nudges = 0;
            if let Some(status) = self.after_tools(&text, &calls, &results).await {
                return Ok(Some(status));
            }
            return Ok(done.then(|| self.finished()));
        }
        if done {
            return self.conclude(&plan, &text);
        }
        if !written.is_empty() {
            let errors = written.join("\n");
            self.append(feedback_message("tool_format", &format!("These tool calls could not be read:\n{errors}")));
            return Ok(None);
        }
        if !self.options.persistent {
            let waiting = commands::wakes(&self.cx.run, &self.options, &self.lease).await;
            return if waiting { Ok(None) } else { self.conclude(&plan, &text) };
        }
        self.nudges += 1;
        if self.nudges > self.options.max_nudges {
            self.emitter.emit("loop_stuck", Vec::new()).await;
            return Ok(Some(Status::Stuck));
        }
        self.append(message("user", self.options.nudge.as_str()));
        Ok(None)
    }

    /// Appends what has reached the session from outside of the turn.
    async fn drain(&mut self, which: usize) {
        if !self.options.inbox {
            return;
        }
        for entry in self.lease.inbox.take_where(|_| true, usize::MAX, true) {
            self.taken.push(entry.sequence);
            self.outcome.drained[which] += 1;
            self.append(match entry.kind.as_str() {
                "user_message" => message("user", entry.content.as_str()),
                kind => feedback_message(kind, &entry.content),
            });
            let fields = vec![
                ("kind", Value::from(entry.kind)),
                ("sequence", Value::Int(i64::try_from(entry.sequence).unwrap_or(i64::MAX))),
                ("drain", Value::from(which + 1)),
                ("wait_ms", Value::Int(self.cx.run.now_ms() - entry.ts_ms)),
            ];
            self.emitter.emit("feedback_injected", fields).await;
        }
    }

    /// Records what the model said.
    async fn said(&mut self, text: &str, result: &Dict, calls: &[ToolCall]) {
        let calls_kept = if self.options.native { calls } else { &[] };
        self.append(assistant_message(text, calls_kept));
        self.outcome.said(text, some(result, "visible_text").and_then(Value::as_str).unwrap_or_default());
        let fields = vec![("text", Value::from(text)), ("role", Value::from("assistant"))];
        self.emitter.emit("message", fields).await;
    }

    fn says_done(&self, text: &str) -> bool {
        text.contains(&self.options.done_sentinel) || (!self.options.native && !extract::spans(text, "done").is_empty())
    }

    fn finished(&self) -> Status {
        let needed = &self.options.require_successful_tools;
        let some_succeeded = needed.iter().any(|it| self.outcome.successful.contains(it));
        if needed.is_empty() || some_succeeded { Status::Done } else { Status::Failed }
    }

    /// The last answer was given: checks it against the schema, if there is one.
    fn conclude(&mut self, plan: &Plan, text: &str) -> Result<Option<Status>, LlmError> {
        if let Some(wanted) = &plan.schema {
            let found = extract::json_in(text);
            let errors = match &found {
                Some((data, _)) => schema::validate(data, &wanted.schema),
                None => vec!["(root): the reply holds no parseable JSON".to_owned()],
            };
            self.outcome.data = found.map(|it| it.0).unwrap_or_default();
            if !errors.is_empty() && self.schema_retries < wanted.retries {
                self.schema_retries += 1;
                self.outcome.schema_retries += 1;
                if let Some(correction) = wanted.correction(&errors) {
                    self.append(message("user", correction));
                }
                return Ok(None);
            }
            if !errors.is_empty() && wanted.validation == crate::options::Validation::Error {
                let message = format!("the reply does not match the schema: {}", errors.join("; "));
                let error = LlmError::new("schema_validation", message);
                return Err(error.at(&plan.target.provider, &plan.target.model));
            }
        }
        Ok(Some(self.finished()))
    }

    fn accepts_text_calls(&mut self, calls: &[ToolCall]) -> bool {
        self.fallbacks += 1;
        self.outcome.text_fallbacks += 1;
        let accepted = match self.options.native_tool_fallback.as_str() {
            "reject" => false,
            "allow_once" => self.fallbacks == 1,
            _ => true,
        };
        if !accepted {
            self.outcome.text_fallback_rejections += 1;
        }
        let names = calls.iter().map(|it| Value::from(it.name.as_str())).collect();
        let metadata = Value::dict([("accepted", Value::Bool(accepted)), ("tools", Value::list(names))]);
        self.outcome.note(&self.cx.run, "native_tool_fallback", "internal", "", metadata);
        accepted
    }

    /// Compacts the visible history when it has grown too long; a larger `divisor` lowers the bar.
    async fn compact(&mut self, divisor: u64) {
        let estimate = self.estimate();
        if !self.compaction.is_due(estimate, divisor) {
            return;
        }
        let done = self.compaction.compact(&self.cx, &self.visible, &self.call_options, false).await;
        let Some(compacted) = done else { return };
        self.visible.clone_from(&compacted.messages);
        self.outcome.compactions += 1;
        self.outcome.summary = Some(compacted.summary.clone());
        if compacted.fell_back {
            self.emitter.emit("compaction_failed", Vec::new()).await;
        }
        let after = Value::Int(self.estimate() as i64);
        let metadata = self.compaction.metadata(&compacted, Value::Int(estimate as i64), after);
        self.outcome.note(&self.cx.run, "compaction", "internal", &compacted.summary, metadata.clone());
        self.emitter.emit("compaction", vec![("metadata", metadata)]).await;
    }

    fn estimate(&self) -> u64 {
        let messages: usize = self.visible.iter().map(message_bytes).sum();
        estimated_tokens(messages + self.system.as_ref().map_or(0, String::len) + self.options.schema_bytes)
    }

    /// Calls the model; a prompt that is too long is compacted once.
    async fn ask(&mut self) -> Result<(Plan, Answer), LlmError> {
        match self.ask_once().await {
            Err(error) if error.category == "context_overflow" && self.compaction.is_on() => {
                self.compact(u64::MAX).await;
                self.ask_once().await
            }
            other => other,
        }
    }

    async fn ask_once(&mut self) -> Result<(Plan, Answer), LlmError> {
        let mut system = self.system.clone();
        if self.options.persistent {
            let note = format!(
                "Work until the whole task is finished. When it is, write {} in your reply.",
                self.options.done_sentinel
            );
            append(&mut system, &note);
        }
        let mut messages = self.visible.clone();
        if let Some(callback) = &self.options.context_callback {
            let seen = Value::dict([
                ("messages", Value::list(messages.clone())),
                ("system", system.as_deref().map_or(Value::Nil, Value::from)),
                ("iteration", Value::Int(self.outcome.iterations as i64)),
                ("session_id", Value::from(self.lease.id.as_str())),
            ]);
            let said = self.cx.asker.call(callback.clone(), seen).await;
            match said.map_err(|thrown| LlmError::of_thrown(&thrown))? {
                Value::List(list) => messages = normalised(&list)?,
                said @ Value::Dict(_) => {
                    if let Some(Value::List(list)) = field(&said, "messages") {
                        messages = normalised(list)?;
                    }
                    if let Some(text) = text_field(&said, "system") {
                        system = Some(text.to_owned());
                    }
                }
                _ => {}
            }
        }
        let mut options = self.call_options.clone();
        options.insert(Str::from("messages"), Value::list(messages));
        self.limit(&mut options);
        let given = Given { prompt: String::new(), system, options };
        let mut plan = plan(&self.cx.run, &self.cx.models, &given, &options::KNOWN)?;
        plan.request.options.remove("messages");
        let mut live = Live::new(self.emitter.clone());
        let answer = call::answer(&plan, &self.cx, self.handed.take(), &mut live).await?;
        self.outcome.empty_retries += u64::from(answer.empty_completions);
        Ok((plan, answer))
    }

    /// Lowers limits of the call to what is left of those of the loop.
    fn limit(&self, options: &mut Dict) {
        if let Some(Value::Dict(budget)) = some(options, "budget").cloned()
            && let Some(total) = some(&budget, "total_budget_usd").and_then(Value::as_number)
        {
            let mut budget = budget;
            let left = (total - crate::budget::usd(self.outcome.cost)).max(0.0);
            budget.insert(Str::from("total_budget_usd"), Value::Float(left));
            options.insert(Str::from("budget"), Value::Dict(budget));
        }
        if let Some(ends_at) = self.options.ends_at {
            let left = (ends_at - self.cx.run.now_monotonic()).max(0);
            let own = match some(options, "timeout") {
                Some(Value::Duration(it)) => *it,
                Some(other) => other.as_int().unwrap_or(120).saturating_mul(1000),
                None => 120_000,
            };
            options.insert(Str::from("timeout"), Value::Duration(left.min(own)));
        }
    }

    /// What happens once the calls of a turn have run; the status when the loop ends here.
    async fn after_tools(&mut self, text: &str, calls: &[ToolCall], results: &[tooling::Result]) -> Option<Status> {
        let stops = &self.options.stop_after_successful_tools;
        let stopped = results.iter().any(|it| it.status == "ok" && stops.contains(&it.name));
        if let Some(callback) = &self.options.post_turn_callback {
            let seen = Value::dict([
                ("iteration", Value::Int(self.outcome.iterations as i64)),
                ("session_id", Value::from(self.lease.id.as_str())),
                ("text", Value::from(text)),
                ("tool_calls", Value::list(calls.iter().map(reply::call_value).collect())),
                ("tool_results", Value::list(results.iter().map(tooling::Result::to_value).collect())),
            ]);
            let said = self.cx.asker.call(callback.clone(), seen).await.unwrap_or_default();
            let (more, stop) = match &said {
                Value::String(text) => (Some(text.to_string()), false),
                Value::Bool(stop) => (None, *stop),
                Value::Dict(it) => {
                    let more = some(it, "message").map(ToString::to_string);
                    (more, some(it, "stop").is_some_and(Value::is_truthy))
                }
                _ => (None, false),
            };
            if let Some(more) = more.filter(|it| !it.is_empty()) {
                self.append(message("user", more));
            }
            if stop {
                return Some(Status::Done);
            }
        }
        stopped.then(|| self.finished())
    }

    /// The message that carries the result of a call.
    fn result_message(&self, result: &tooling::Result) -> Value {
        if !self.options.native {
            return message("user", formatted_result(&result.name, &Value::from(result.content.as_str())));
        }
        let mut fields = vec![
            ("role", Value::from("tool")),
            ("tool_call_id", Value::from(result.id.as_str())),
            ("name", Value::from(result.name.as_str())),
            ("content", Value::from(result.content.as_str())),
        ];
        if result.is_error {
            fields.push(("is_error", Value::Bool(true)));
        }
        Value::dict(fields)
    }
}

/// A message by which the runtime tells the model something.
pub(crate) fn feedback_message(kind: &str, content: &str) -> Value {
    let kind = kind.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    let content = content.replace("</runtime_feedback", "&lt;/runtime_feedback");
    message("user", format!("<runtime_feedback kind=\"{kind}\">\n{content}\n</runtime_feedback>"))
}
