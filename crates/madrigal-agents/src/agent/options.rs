//! The options of a loop, profiles filled in.

use crate::capabilities::Capabilities;
use crate::failure::LlmError;
use crate::messages::{some, text_field};
use crate::options::{Given, Reader};
use crate::tools::{self, Guard, ceiling_of};
use crate::transport::CallCx;
use madrigal_vm::{Dict, Str, Value};

/// Options of a loop that a single call does not have.
pub const KNOWN: [&str; 50] = [
    "profile",
    "max_iterations",
    "max_nudges",
    "persistent",
    "done_sentinel",
    "nudge",
    "mcp_servers",
    "policy",
    "permissions",
    "approval_policy",
    "on_approval",
    "command_policy",
    "tool_retries",
    "tool_backoff_ms",
    "max_parallel_tools",
    "tool_dispatch",
    "loop_detect_warn",
    "loop_detect_block",
    "loop_detect_skip",
    "native_tool_fallback",
    "deadline",
    "token_budget",
    "stop_after_successful_tools",
    "require_successful_tools",
    "compaction",
    "auto_compact",
    "compact_threshold",
    "compact_keep_first",
    "compact_keep_last",
    "compact_strategy",
    "compact_callback",
    "context_callback",
    "context_filter",
    "post_turn_callback",
    "on_event",
    "inbox",
    "pending_handles",
    "daemon",
    "wake_interval_ms",
    "watch_paths",
    "persist_path",
    "resume_path",
    "consolidate_on_idle",
    "idle_watchdog_attempts",
    "session_busy",
    "name",
    "allowed_tools",
    "returns",
    "carry",
    "max_agent_depth",
];

/// Name, iterations, nudges, schema retries.
const PROFILES: [(&str, u64, u64, i64); 4] =
    [("tool_using", 50, 8, 0), ("researcher", 30, 4, 0), ("verifier", 5, 0, 3), ("completer", 1, 0, 0)];

const NUDGE: &str = "Continue with the task. Use tools where they help, and say so when everything is done.";

/// How a loop is to run.
pub struct AgentOptions {
    pub max_iterations: u64,
    pub max_nudges: u64,
    pub persistent: bool,
    pub done_sentinel: String,
    pub nudge: String,
    pub entries: Vec<Value>,
    /// Bytes of the tools' schemas.
    pub schema_bytes: usize,
    /// Tools are offered natively.
    pub native: bool,
    pub native_tool_fallback: String,
    pub tool_retries: u64,
    pub tool_backoff_ms: u64,
    pub max_parallel_tools: usize,
    pub serial: bool,
    /// Repeats at which a hint is given, the result replaced, the handler not run.
    pub loop_detect: [u64; 3],
    /// What reaches the session from outside is taken into the conversation.
    pub inbox: bool,
    /// Background commands are waited for before the loop ends.
    pub waits_for_handles: bool,
    /// Monotonic time at which the loop ends.
    pub ends_at: Option<i64>,
    pub token_budget: Option<u64>,
    pub stop_after_successful_tools: Vec<String>,
    pub require_successful_tools: Vec<String>,
    pub compaction: Dict,
    /// Tokens that the model takes.
    pub window: Option<u64>,
    pub context_callback: Option<Value>,
    pub post_turn_callback: Option<Value>,
    pub on_event: Option<Value>,
    permissions: Option<Dict>,
    approval: Option<Dict>,
    policy: Option<Dict>,
    on_approval: Option<Value>,
}

fn names(read: &Reader<'_>, key: &str) -> Result<Vec<String>, LlmError> {
    Ok(read.list(key)?.unwrap_or_default().iter().map(ToString::to_string).collect())
}

fn closure(read: &Reader<'_>, key: &str) -> Result<Option<Value>, LlmError> {
    match read.some(key) {
        Some(it) if it.is_callable() => Ok(Some(it.clone())),
        Some(it) => Err(LlmError::invalid(format!("{key} must be a closure, got {}", it.type_name()))),
        None => Ok(None),
    }
}

impl AgentOptions {
    /// From the options of a call; what the profile says is put into those.
    pub fn of(cx: &CallCx, given: &mut Given) -> Result<AgentOptions, LlmError> {
        let profile = Reader(&given.options).text("profile")?.unwrap_or_else(|| "tool_using".to_owned());
        let profile = PROFILES
            .iter()
            .find(|it| it.0 == profile)
            .ok_or_else(|| LlmError::invalid("profile must be one of tool_using, researcher, verifier, completer"))?;
        if some(&given.options, "schema_retries").is_none() && profile.3 > 0 {
            given.options.insert(Str::from("schema_retries"), Value::Int(profile.3));
        }
        for unsupported in ["daemon", "resume_path", "mcp_servers"] {
            if some(&given.options, unsupported).is_some_and(Value::is_truthy) {
                return Err(LlmError::unsupported(format!("the option '{unsupported}' is not supported")));
            }
        }
        let read = Reader(&given.options);
        let config = cx.models.config();
        let target = config.target(
            &cx.run,
            read.text("provider")?.as_deref(),
            read.text("model")?.as_deref(),
            read.text("model_tier")?.as_deref(),
            cx.models.testing,
        )?;
        let entries = match read.some("tools") {
            Some(tools) => tools::entries_of(tools)?,
            None => Vec::new(),
        };
        check_entries(&entries)?;
        let schema_bytes =
            entries.iter().map(|it| madrigal_stdlib::json::stringify(&tools::input_schema(it)).len()).sum();
        let format = read.text("tool_format")?.or(target.tool_format);
        let native = match format.as_deref() {
            Some("native") => true,
            Some("text") => false,
            _ => Capabilities::of(&config, &target.provider, &target.model).native_tools,
        };
        let now = cx.run.now_monotonic();
        let count = |key: &str, default: u64| Ok::<u64, LlmError>(read.count(key)?.unwrap_or(default));
        Ok(AgentOptions {
            max_iterations: count("max_iterations", profile.1)?,
            max_nudges: count("max_nudges", profile.2)?,
            persistent: read.flag("persistent")?.unwrap_or(false),
            done_sentinel: read.text("done_sentinel")?.unwrap_or_else(|| "##DONE##".to_owned()),
            nudge: read.text("nudge")?.unwrap_or_else(|| NUDGE.to_owned()),
            entries,
            schema_bytes,
            native,
            native_tool_fallback: read.text("native_tool_fallback")?.unwrap_or_else(|| "allow".to_owned()),
            tool_retries: count("tool_retries", 0)?,
            tool_backoff_ms: count("tool_backoff_ms", 1000)?,
            max_parallel_tools: usize::try_from(count("max_parallel_tools", 8)?.max(1)).unwrap_or(8),
            serial: read.text("tool_dispatch")?.as_deref() == Some("serial"),
            loop_detect: [count("loop_detect_warn", 2)?, count("loop_detect_block", 3)?, count("loop_detect_skip", 4)?],
            inbox: read.text("inbox")?.as_deref() != Some("off"),
            waits_for_handles: match read.text("pending_handles")?.as_deref() {
                None | Some("cancel") => false,
                Some("wait") => true,
                Some(_) => return Err(LlmError::invalid("pending_handles must be one of cancel, wait")),
            },
            ends_at: read.seconds("deadline")?.map(|it| now + i64::try_from(it.as_millis()).unwrap_or(i64::MAX - now)),
            token_budget: read.count("token_budget")?,
            stop_after_successful_tools: names(&read, "stop_after_successful_tools")?,
            require_successful_tools: names(&read, "require_successful_tools")?,
            compaction: compaction(&read)?,
            window: config.model(&target.model).and_then(|it| it.count("context_window")),
            context_callback: closure(&read, "context_callback")?.or(closure(&read, "context_filter")?),
            post_turn_callback: closure(&read, "post_turn_callback")?,
            on_event: closure(&read, "on_event")?,
            permissions: read.dict("permissions")?,
            approval: read.dict("approval_policy")?,
            policy: read.dict("policy")?,
            on_approval: closure(&read, "on_approval")?,
        })
    }

    /// Who may call what.
    pub fn guard(&self, session_id: &str) -> Guard {
        let mut guard = Guard::default();
        guard.ceilings.extend(self.policy.as_ref().and_then(ceiling_of));
        guard.permissions.clone_from(&self.permissions);
        guard.approval.clone_from(&self.approval);
        guard.on_approval.clone_from(&self.on_approval);
        guard.session_id = Value::from(session_id);
        guard
    }
}

/// Every tool has to have a form in which it can be called.
fn check_entries(entries: &[Value]) -> Result<(), LlmError> {
    for entry in entries {
        let name = text_field(entry, "name").unwrap_or_default();
        if !tools::is_name(name) {
            return Err(LlmError::invalid(format!("invalid tool name '{name}'")));
        }
        let runs = crate::messages::field(entry, "handler").is_some_and(Value::is_callable);
        if !runs && crate::messages::field(entry, "executor").is_none() {
            return Err(LlmError::invalid(format!("tool '{name}' has neither a handler nor an executor")));
        }
    }
    tools::offered(entries).map(drop)
}

/// The fields of the compaction, in whichever of their spellings.
fn compaction(read: &Reader<'_>) -> Result<Dict, LlmError> {
    let mut fields = match read.some("compaction") {
        None => Dict::new(),
        Some(Value::Bool(false)) => [(Str::from("strategy"), Value::from("none"))].into_iter().collect(),
        Some(Value::Bool(true)) => Dict::new(),
        Some(Value::String(strategy)) => {
            [(Str::from("strategy"), Value::String(strategy.clone()))].into_iter().collect()
        }
        Some(Value::Dict(it)) => it.clone(),
        Some(other) => {
            let got = other.type_name();
            return Err(LlmError::invalid(format!("compaction must be a string, a dict or false, got {got}")));
        }
    };
    if read.flag("auto_compact")? == Some(false) {
        fields.insert(Str::from("strategy"), Value::from("none"));
    }
    for key in ["compact_threshold", "compact_keep_first", "compact_keep_last", "compact_strategy", "compact_callback"]
    {
        if let Some(value) = read.some(key) {
            fields.insert(Str::from(key), value.clone());
        }
    }
    Ok(fields)
}
