//! The options of a call: checked, defaults filled in, made into a plan.

mod reader;
mod schema;

pub use reader::Reader;
pub use schema::{SchemaPlan, Validation};

use crate::capabilities::Capabilities;
use crate::config::{Config, Target};
use crate::failure::LlmError;
use crate::messages::{has_image, message, normalised, some};
use crate::models::Models;
use crate::tools;
use crate::transport::{ChatRequest, Thinking};
use madrigal_stdlib::Run;
use madrigal_vm::{Dict, Str, Value};
use std::time::Duration;

/// Most tokens of an answer unless the call says otherwise.
const MAX_TOKENS: i64 = 16_384;

/// Most stop texts.
const STOPS_MAX: usize = 16;

/// Settings that are numbers and passed on as they are.
const SETTINGS: [&str; 4] = ["temperature", "top_p", "frequency_penalty", "presence_penalty"];

/// Every option of a model call.
pub const KNOWN: [&str; 47] = [
    "provider",
    "model",
    "model_tier",
    "max_tokens",
    "temperature",
    "top_p",
    "frequency_penalty",
    "presence_penalty",
    "top_k",
    "seed",
    "stop",
    "response_format",
    "schema",
    "output_schema",
    "json_schema",
    "output_format",
    "output_validation",
    "schema_retries",
    "schema_retry_nudge",
    "tools",
    "tool_choice",
    "tool_format",
    "parallel_tool_calls",
    "thinking",
    "vision",
    "messages",
    "transcript",
    "session_id",
    "stream",
    "timeout",
    "idle_timeout",
    "llm_retries",
    "llm_backoff_ms",
    "max_retry_after_ms",
    "budget",
    "cache",
    "headers",
    "extra_body",
    "metadata",
    // Of some builtins only.
    "system",
    "retries",
    "repair",
    "chunks",
    "buffer",
    "warm",
    "suffix",
    "native_tool_fallback",
];

/// Options of features that do not exist; ignoring them would change what the program means.
const UNSUPPORTED: [&str; 12] = [
    "tool_search",
    "defer_loading",
    "skills",
    "skill_registry",
    "persona",
    "personas",
    "worktree",
    "handoff",
    "handoffs",
    "structural_experiment",
    "eval_pack",
    "memory",
];

/// How tools are offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolFormat {
    /// In a field of the request.
    Native,
    /// In the system prompt.
    Text,
}

/// A call, ready to be made.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What it goes to.
    pub target: Target,
    /// What is sent.
    pub request: ChatRequest,
    /// Attempts after the first; none is the provider's default.
    pub retries: Option<u32>,
    /// Delay before the first retry.
    pub backoff_ms: Option<u64>,
    /// Hints above this end the call.
    pub max_retry_after_ms: u64,
    /// Of the whole call.
    pub timeout: Duration,
    /// Longest silence.
    pub idle_timeout: Option<Duration>,
    /// Limits of this call.
    pub budget: Option<Dict>,
    /// What the answer has to look like.
    pub schema: Option<SchemaPlan>,
    /// Whether calls written as text are taken for calls.
    pub reads_tool_text: bool,
    /// Copied to events.
    pub metadata: Value,
}

/// The three arguments that most builtins take.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// The prompt.
    pub prompt: String,
    /// The system prompt.
    pub system: Option<String>,
    /// The options.
    pub options: Dict,
}

impl Given {
    /// From the arguments of a builtin.
    pub fn new(prompt: &Value, system: &Value, options: &Value) -> Result<Given, LlmError> {
        let text = |it: &Value| (!it.is_nil()).then(|| it.to_string());
        let options = match options {
            Value::Nil => Dict::new(),
            Value::Dict(it) => it.clone(),
            other => return Err(LlmError::invalid(format!("options must be a dict, got {}", other.type_name()))),
        };
        Ok(Given { prompt: text(prompt).unwrap_or_default(), system: text(system), options })
    }
}

/// Checks the options and resolves what they name. The error names what the call would have gone to.
pub fn plan(run: &Run, models: &Models, given: &Given, extra_known: &[&str]) -> Result<Plan, LlmError> {
    let config = models.config();
    let read = Reader(&given.options);
    check_names(run, models, &config, &given.options, extra_known)?;
    let target = config.target(
        run,
        read.text("provider")?.as_deref(),
        read.text("model")?.as_deref(),
        read.text("model_tier")?.as_deref(),
        models.testing,
    )?;
    let at = |error: LlmError| error.at(&target.provider, &target.model);
    let plan = fill(&config, given, &target).map_err(at)?;
    Ok(plan)
}

fn check_names(
    run: &Run,
    models: &Models,
    config: &Config,
    options: &Dict,
    extra_known: &[&str],
) -> Result<(), LlmError> {
    for (key, value) in options.iter() {
        let key = key.as_str();
        if UNSUPPORTED.contains(&key) && !value.is_nil() {
            return Err(LlmError::unsupported(format!("the option '{key}' is not supported")));
        }
        if KNOWN.contains(&key) || extra_known.contains(&key) || config.providers.contains_key(key) {
            continue;
        }
        let known = KNOWN.iter().chain(extra_known).copied();
        let nearest = madrigal_vm::suggest::static_name(key, known);
        if config.strict_options {
            let hint = nearest.map_or(String::new(), |it| format!(", did you mean '{it}'?"));
            return Err(LlmError::invalid(format!("unknown option '{key}'{hint}")));
        }
        let fields = [("option", Value::from(key)), ("nearest", nearest.map_or(Value::Nil, Value::from))];
        models.trace.warn(run, "llm.unknown_option", fields);
    }
    Ok(())
}

fn fill(config: &Config, given: &Given, target: &Target) -> Result<Plan, LlmError> {
    let read = Reader(&given.options);
    let capabilities = Capabilities::of(config, &target.provider, &target.model);
    let messages = messages(given, &read)?;
    let is_mock_model = target.model == "mock-model";
    check_vision(&read, &messages, capabilities)?;
    let max_tokens = max_tokens(config, &read, target)?;
    let schema = SchemaPlan::of(&read)?;
    let json = schema.is_some() || read.wants_json()?;
    let entries = match read.some("tools") {
        Some(tools) => tools::entries_of(tools)?,
        None => Vec::new(),
    };
    let tool_format = tool_format(&read, target, capabilities)?;
    let native = tool_format == ToolFormat::Native;
    let mut system = given.system.clone();
    if !native && !entries.is_empty() {
        append(&mut system, &tools::contract(&entries));
    }
    if let Some(instruction) = schema.as_ref().filter(|_| !capabilities.json_schema).and_then(SchemaPlan::instruction) {
        append(&mut system, &instruction);
    }
    let request = ChatRequest {
        provider: target.provider.clone(),
        model: target.model.clone(),
        messages,
        system,
        tools: if native { tools::offered(&entries)? } else { Vec::new() },
        tool_choice: tool_choice(&read)?,
        parallel_tool_calls: read.flag("parallel_tool_calls")?,
        max_tokens,
        settings: settings(&read)?,
        json,
        schema: schema.as_ref().filter(|_| capabilities.json_schema).map(|it| it.schema.clone()),
        thinking: thinking(&read)?.filter(|it| it.mode != "disabled" || capabilities.thinking),
        stream: read.flag("stream")?.unwrap_or(true),
        cache: read.flag("cache")?.unwrap_or(false),
        headers: read.dict("headers")?.unwrap_or_default(),
        extra_body: extra_body(&read, &target.provider)?,
        infill: None,
        options: given.options.clone(),
    };
    if request.thinking.is_some() && !capabilities.thinking && !is_mock_model && target.provider != "mock" {
        return Err(LlmError::unsupported(format!("the model '{}' does not think on demand", target.model)));
    }
    Ok(Plan {
        request,
        retries: read.count("llm_retries")?.map(|it| u32::try_from(it).unwrap_or(u32::MAX)),
        backoff_ms: read.count("llm_backoff_ms")?,
        max_retry_after_ms: read.count("max_retry_after_ms")?.unwrap_or(60_000),
        timeout: read.seconds("timeout")?.unwrap_or(Duration::from_secs(120)),
        idle_timeout: read.seconds("idle_timeout")?,
        budget: read.dict("budget")?,
        schema,
        reads_tool_text: !entries.is_empty()
            && (!native || read.text("native_tool_fallback")?.as_deref() != Some("reject")),
        metadata: read.some("metadata").cloned().unwrap_or_default(),
        target: target.clone(),
    })
}

/// Adds a paragraph to a system prompt.
pub fn append(system: &mut Option<String>, paragraph: &str) {
    match system {
        Some(text) if !text.is_empty() => {
            text.push_str("\n\n");
            text.push_str(paragraph);
        }
        _ => *system = Some(paragraph.to_owned()),
    }
}

fn messages(given: &Given, read: &Reader<'_>) -> Result<Vec<Value>, LlmError> {
    let mut all = Vec::new();
    if let Some(transcript) = read.dict("transcript")? {
        all.extend(normalised(crate::messages::items(some(&transcript, "messages")))?);
    }
    all.extend(normalised(read.list("messages")?.unwrap_or_default())?);
    if !given.prompt.is_empty() {
        all.push(message("user", given.prompt.as_str()));
    }
    if all.is_empty() {
        return Err(LlmError::invalid("there is no message to send: the prompt is empty"));
    }
    Ok(all)
}

fn check_vision(read: &Reader<'_>, messages: &[Value], capabilities: Capabilities) -> Result<(), LlmError> {
    let demanded = read.flag("vision")?.unwrap_or(false);
    if !capabilities.vision && (demanded || has_image(messages)) {
        return Err(LlmError::unsupported("the model does not take images"));
    }
    Ok(())
}

fn max_tokens(config: &Config, read: &Reader<'_>, target: &Target) -> Result<i64, LlmError> {
    let wanted = read.int("max_tokens")?;
    if wanted.is_some_and(|it| it < 1) {
        return Err(LlmError::invalid("max_tokens must be at least 1"));
    }
    let most = config.model(&target.model).and_then(|it| it.count("max_output_tokens"));
    let most = most.and_then(|it| i64::try_from(it).ok()).unwrap_or(i64::MAX);
    Ok(wanted.unwrap_or(MAX_TOKENS).min(most))
}

fn settings(read: &Reader<'_>) -> Result<Dict, LlmError> {
    let mut settings = Dict::new();
    for name in SETTINGS {
        if let Some(value) = read.number(name)? {
            settings.insert(Str::from(name), value);
        }
    }
    for name in ["top_k", "seed"] {
        if let Some(value) = read.int(name)? {
            settings.insert(Str::from(name), Value::Int(value));
        }
    }
    if let Some(stop) = read.list("stop")? {
        if stop.len() > STOPS_MAX {
            return Err(LlmError::invalid(format!("stop may hold at most {STOPS_MAX} strings")));
        }
        if let Some(odd) = stop.iter().find(|it| it.as_str().is_none()) {
            return Err(LlmError::invalid(format!("stop must hold strings, got {}", odd.type_name())));
        }
        settings.insert(Str::from("stop"), Value::list(stop.to_vec()));
    }
    Ok(settings)
}

fn tool_choice(read: &Reader<'_>) -> Result<Option<Value>, LlmError> {
    match read.some("tool_choice") {
        None => Ok(None),
        Some(Value::String(word)) if ["auto", "none", "required"].contains(&word.as_str()) => {
            Ok(Some(Value::String(word.clone())))
        }
        Some(choice) if crate::messages::text_field(choice, "name").is_some() => Ok(Some(choice.clone())),
        Some(other) => Err(LlmError::invalid(format!(
            "tool_choice must be auto, none, required or a dict with a name, got {other}"
        ))),
    }
}

fn tool_format(read: &Reader<'_>, target: &Target, capabilities: Capabilities) -> Result<ToolFormat, LlmError> {
    let given = read.text("tool_format")?.or_else(|| target.tool_format.clone());
    match given.as_deref().unwrap_or("auto") {
        "native" => Ok(ToolFormat::Native),
        "text" => Ok(ToolFormat::Text),
        "auto" if capabilities.native_tools => Ok(ToolFormat::Native),
        "auto" => Ok(ToolFormat::Text),
        other => Err(LlmError::invalid(format!("tool_format must be auto, native or text, not '{other}'"))),
    }
}

fn thinking(read: &Reader<'_>) -> Result<Option<Thinking>, LlmError> {
    let mode = |mode: &str| Thinking { mode: mode.to_owned(), ..Thinking::default() };
    match read.some("thinking") {
        None => Ok(None),
        Some(Value::Bool(true)) => Ok(Some(mode("enabled"))),
        Some(Value::Bool(false)) => Ok(Some(mode("disabled"))),
        Some(Value::Dict(it)) => {
            let inner = Reader(it);
            let mode = inner.text("mode")?.unwrap_or_else(|| "enabled".to_owned());
            if !["disabled", "enabled", "effort", "adaptive"].contains(&mode.as_str()) {
                return Err(LlmError::invalid(format!(
                    "thinking.mode must be disabled, enabled, effort or adaptive, not '{mode}'"
                )));
            }
            Ok(Some(Thinking { mode, budget_tokens: inner.int("budget_tokens")?, level: inner.text("level")? }))
        }
        Some(other) => Err(LlmError::invalid(format!("thinking must be a bool or a dict, got {}", other.type_name()))),
    }
}

/// What is merged into the body last: what is meant for this provider, then what is meant for any.
fn extra_body(read: &Reader<'_>, provider: &str) -> Result<Dict, LlmError> {
    let mut body = read.dict(provider)?.unwrap_or_default();
    for (key, value) in read.dict("extra_body")?.unwrap_or_default().iter() {
        body.insert(key.clone(), value.clone());
    }
    Ok(body)
}
