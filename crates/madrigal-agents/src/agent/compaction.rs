//! Compaction: the middle of a history that has grown too long gives way to a summary.

use crate::budget::{estimated_tokens, message_bytes};
use crate::failure::LlmError;
use crate::job::job;
use crate::messages::{message, normalised, some, text_field, text_of};
use crate::models::host;
use crate::options::{Given, plan};
use crate::transport::{CallCx, NoDeltas};
use madrigal_stdlib::Run;
use madrigal_vm::{Args, Cx, Dict, Fault, Str, Value};

madrigal_vm::builtins! {
    /// A job that compacts messages.
    "__transcript_auto_compact" (messages: list, options: dict) -> any = auto_compact;
    /// A job that compacts the history of a session; how many messages are left.
    "__session_compact" (id: string, options: dict) -> any = session_compact;
    /// A text of at most so many characters, its middle left out.
    "microcompact" (text: string, max_chars: int) -> string = microcompact;
    /// Tokens that messages are estimated to have.
    "estimate_tokens" (messages: list) -> int = estimate_tokens;
}

/// Tokens from which on a history is compacted when nobody knows how many the model takes.
const THRESHOLD: u64 = 100_000;

const PROMPT: &str = "Summarize the conversation below. Keep facts, decisions, open questions and results that later work \
                      needs; leave out greetings and repetitions.";

/// How a history is compacted.
pub(super) struct Compaction {
    /// `hybrid` and so on.
    pub strategy: String,
    threshold: u64,
    keep_first: usize,
    keep_last: usize,
    hard_limit: u64,
    callback: Option<Value>,
    model: Option<Value>,
    provider: Option<Value>,
    prompt: String,
}

/// A history that was compacted.
pub(super) struct Compacted {
    pub messages: Vec<Value>,
    pub summary: String,
    pub archived: usize,
    /// `llm`, `truncate` or `custom`.
    pub engine: &'static str,
    /// The summarizer failed.
    pub fell_back: bool,
}

impl Compaction {
    /// From its fields, each also with the prefix `compact_`.
    pub fn of(fields: &Dict, window: Option<u64>) -> Compaction {
        let get = |key: &str| some(fields, key).or_else(|| some(fields, &format!("compact_{key}"))).cloned();
        let count = |key: &str| get(key).and_then(|it| it.as_int()).and_then(|it| u64::try_from(it).ok());
        let size = |it: u64| usize::try_from(it).unwrap_or(usize::MAX);
        let text = |key: &str| get(key).map(|it| it.to_string());
        Compaction {
            strategy: text("strategy").unwrap_or_else(|| "hybrid".to_owned()),
            threshold: count("threshold").unwrap_or_else(|| window.map_or(THRESHOLD, |it| it * 8 / 10)),
            keep_first: size(count("keep_first").unwrap_or(0)),
            keep_last: size(count("keep_last_n").or_else(|| count("keep_last")).unwrap_or(10)),
            hard_limit: count("hard_limit").unwrap_or_else(|| window.map_or(u64::MAX, |it| it * 95 / 100)),
            callback: get("callback"),
            model: get("model"),
            provider: get("provider"),
            prompt: text("summarize_prompt").unwrap_or_else(|| PROMPT.to_owned()),
        }
    }

    pub fn is_on(&self) -> bool {
        self.strategy != "none"
    }

    /// Whether a history of so many tokens is to be compacted.
    pub fn is_due(&self, tokens: u64, divisor: u64) -> bool {
        self.is_on() && tokens >= self.threshold / divisor.max(1)
    }

    /// The messages that give way: their range.
    fn archived(&self, messages: &[Value]) -> Option<(usize, usize)> {
        let start = self.keep_first.min(messages.len());
        let wanted = messages.len().saturating_sub(self.keep_last);
        let role = |at: usize| messages.get(at).and_then(|it| text_field(it, "role"));
        // What is kept begins with a user message, so that no result of a tool loses its call.
        let user = (start + 1..=wanted).rev().find(|at| *at == messages.len() || role(*at) == Some("user"));
        let end = match user {
            Some(end) => end,
            None => (wanted..messages.len()).find(|at| role(*at) != Some("tool")).unwrap_or(messages.len()),
        };
        (end > start && wanted > start).then_some((start, end))
    }

    /// The compacted history; none when nothing is left to archive.
    pub async fn compact(&self, cx: &CallCx, messages: &[Value], call: &Dict, forced: bool) -> Option<Compacted> {
        let (start, end) = self.archived(messages)?;
        let archived = &messages[start..end];
        let count = archived.len();
        let mut fell_back = false;
        let (mut engine, mut summary) = match (self.strategy.as_str(), &self.callback) {
            (_, Some(callback)) => {
                let said = cx.asker.call(callback.clone(), Value::list(archived.to_vec())).await;
                let said = said.map(|it| text_field(&it, "summary").map_or_else(|| it.to_string(), str::to_owned));
                match said {
                    Ok(text) => ("custom", text),
                    Err(_) => ("truncate", String::new()),
                }
            }
            ("truncate" | "none" | "custom", None) => ("truncate", String::new()),
            _ => match self.summarize(cx, archived, call).await {
                Ok(text) => ("llm", text),
                Err(_) => {
                    fell_back = true;
                    ("truncate", String::new())
                }
            },
        };
        if engine == "truncate" && summary.is_empty() {
            summary = truncated(archived);
        }
        let build = |summary: &str| {
            let note = message("user", format!("[auto-compacted {count} earlier messages]\n{summary}"));
            let mut all = messages[..start].to_vec();
            all.push(note);
            all.extend_from_slice(&messages[end..]);
            all
        };
        let mut compacted = build(&summary);
        let tokens = |list: &[Value]| estimated_tokens(list.iter().map(message_bytes).sum());
        if self.strategy == "hybrid" && !forced && tokens(&compacted) > self.hard_limit {
            engine = "truncate";
            summary = truncated(archived);
            compacted = build(&summary);
        }
        Some(Compacted { messages: compacted, summary, archived: count, engine, fell_back })
    }

    /// What the transcript says of a compaction.
    pub fn metadata(&self, done: &Compacted, before: Value, after: Value) -> Value {
        Value::dict([
            ("strategy", Value::from(self.strategy.as_str())),
            ("engine_strategy", Value::from(done.engine)),
            ("archived_messages", Value::from(done.archived)),
            ("estimated_tokens_before", before),
            ("estimated_tokens_after", after),
        ])
    }

    fn event(&self, run: &Run, done: &Compacted, before: Value, after: Value) -> Value {
        let metadata = self.metadata(done, before, after);
        crate::transcript::event(run, "compaction", "system", "internal", &done.summary, metadata)
    }

    async fn summarize(&self, cx: &CallCx, archived: &[Value], call: &Dict) -> Result<String, LlmError> {
        let mut options = Dict::new();
        for (key, own) in [("model", &self.model), ("provider", &self.provider)] {
            if let Some(value) = own.clone().or_else(|| some(call, key).cloned()) {
                options.insert(Str::from(key), value);
            }
        }
        let lines =
            archived.iter().map(|it| format!("{}: {}", text_field(it, "role").unwrap_or_default(), text_of(it)));
        let prompt = format!("{}\n\n{}", self.prompt, lines.collect::<Vec<_>>().join("\n"));
        let given = Given { prompt, system: None, options };
        let plan = plan(&cx.run, &cx.models, &given, &[])?;
        let answer = crate::call::answer(&plan, cx, None, &mut NoDeltas).await?;
        Ok(crate::extract::visible(&answer.reply.text))
    }
}

/// The beginnings of messages, as a summary without a model.
fn truncated(archived: &[Value]) -> String {
    const LINE_CHARS: usize = 200;
    let line = |it: &Value| {
        let text: String = text_of(it).chars().take(LINE_CHARS).collect();
        format!("{}: {text}", text_field(it, "role").unwrap_or_default())
    };
    archived.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn messages_of(args: &Args<'_>, name: &str) -> Result<Vec<Value>, Fault> {
    let list = args.list(0).ok_or_else(|| {
        Fault::thrown(format!("{name}: first argument must be a list of messages, got {}", args.get(0).type_name()))
    })?;
    Ok(normalised(list)?)
}

fn auto_compact(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let messages = messages_of(&args, "transcript_auto_compact")?;
    let options = args.dict(1).cloned().unwrap_or_default();
    let call_cx = crate::builtins::call_cx(cx);
    Ok(job(move |asker| async move {
        let cx = CallCx { asker, ..call_cx };
        let compaction = Compaction::of(&options, None);
        if !compaction.is_on() {
            return Ok(Value::list(messages));
        }
        let done = compaction.compact(&cx, &messages, &Dict::new(), true).await;
        Ok(Value::list(done.map_or(messages, |it| it.messages)))
    }))
}

/// What a compaction may be told.
const FIELDS: [&str; 11] = [
    "strategy",
    "threshold",
    "keep_first",
    "keep_last_n",
    "keep_last",
    "hard_limit",
    "callback",
    "model",
    "provider",
    "summarize_prompt",
    "tool_output_max_chars",
];

fn session_compact(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    const NAME: &str = "agent_session_compact";
    let (id, options) = (args.string(0).to_string(), args.dict(1).cloned().unwrap_or_default());
    let is_known = |key: &str| FIELDS.contains(&key.strip_prefix("compact_").unwrap_or(key));
    if let Some(key) = options.keys().find(|it| !is_known(it)) {
        return Err(Fault::thrown(format!("{NAME}: unknown option '{key}'")));
    }
    let current = crate::sessions::current(host(cx));
    let hub = madrigal_stdlib::inbox::hub(host(cx)).clone();
    let call_cx = crate::builtins::call_cx(cx);
    if !call_cx.models.sessions.is_open(&id) {
        return Err(Fault::thrown(format!("{NAME}: unknown session '{id}'")));
    }
    Ok(job(move |asker| async move {
        let cx = CallCx { asker, ..call_cx };
        // A loop at work on the session comes first.
        let lease = cx.models.sessions.lease(&cx.run, &hub, id, false, current).await?;
        let (compaction, visible) = (Compaction::of(&options, None), lease.visible());
        if !compaction.is_on() {
            return Ok(Value::from(visible.len()));
        }
        let Some(done) = compaction.compact(&cx, &visible, &Dict::new(), true).await else {
            return Ok(Value::from(visible.len()));
        };
        let tokens = |list: &[Value]| Value::Int(estimated_tokens(list.iter().map(message_bytes).sum()) as i64);
        let event = compaction.event(&cx.run, &done, tokens(&visible), tokens(&done.messages));
        lease.store(&done.messages, &lease.recorded(), &[event]);
        cx.models.sessions.summarized(&lease.id, done.summary);
        Ok(Value::from(done.messages.len()))
    }))
}

fn microcompact(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    let most = args.int(1).and_then(|it| usize::try_from(it).ok()).unwrap_or(20_000);
    Ok(crate::tools::snipped(&args.string(0), most))
}

fn estimate_tokens(_: &mut Cx<'_>, args: Args<'_>) -> Result<i64, Fault> {
    let messages = messages_of(&args, "estimate_tokens")?;
    Ok(estimated_tokens(messages.iter().map(message_bytes).sum()) as i64)
}
