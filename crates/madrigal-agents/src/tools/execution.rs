//! Running tools: arguments checked, hooks and permissions asked, the handler called, its result rendered.

use super::permission::{Guard, Verdict};
use super::{entries_of, input_schema};
use crate::config::glob;
use crate::job::{Asker, job};
use crate::messages::{field, items, some, text_field};
use crate::models::{Models, host};
use crate::schema;
use madrigal_stdlib::{Run, json};
use madrigal_vm::{Args, Cx, Dict, Fault, Str, Value};
use std::sync::Arc;

madrigal_vm::builtins! {
    /// A job that runs a tool.
    "__tool_call" (registry: dict, name: string, arguments: dict) -> any = tool_call;
    /// Adds a hook around the execution of tools.
    "register_tool_hook" (hook: dict) -> nil = register_tool_hook;
    /// Removes all hooks around the execution of tools.
    "clear_tool_hooks" () -> nil = clear_tool_hooks;
}

/// How long a tool may run unless it says otherwise.
const TIMEOUT_MS: u64 = 120_000;

/// Characters that are kept of a result unless the tool says otherwise.
const OUTPUT_CHARS_MAX: usize = 65_536;

/// What running a tool needs.
#[derive(Clone)]
pub struct Runner {
    /// Clock.
    pub run: Arc<Run>,
    /// Hooks.
    pub models: Arc<Models>,
    /// For closures of the script.
    pub asker: Asker,
    /// The tools.
    pub entries: Arc<Vec<Value>>,
    /// Who may call what.
    pub guard: Arc<Guard>,
    /// How often a handler that throws is called again.
    pub retries: u64,
    /// Delay before the first of these.
    pub backoff_ms: u64,
    /// Monotonic time at which handlers are given up.
    pub ends_at: Option<i64>,
}

/// What became of a call.
#[derive(Clone, Debug)]
pub struct Ran {
    /// What the model sees.
    pub content: String,
    /// Whether it is an error.
    pub is_error: bool,
    /// `ok`, `error` or `rejected`.
    pub status: &'static str,
    /// What the handler gave, or the dict of the error.
    pub value: Value,
}

impl Ran {
    fn error<const N: usize>(kind: &str, fields: [(&str, Value); N]) -> Ran {
        let value = Value::dict([("error", Value::from(kind))].into_iter().chain(fields));
        Ran { content: json::stringify(&value), is_error: true, status: "error", value }
    }

    fn denied(tool: &str, reason: &str) -> Ran {
        let fields = [("tool", Value::from(tool)), ("reason", Value::from(reason))];
        Ran { status: "rejected", ..Ran::error("permission_denied", fields) }
    }

    fn ok(value: Value) -> Ran {
        Ran { content: rendered(&value), is_error: false, status: "ok", value }
    }
}

/// A result as a model sees it.
pub fn rendered(value: &Value) -> String {
    match value {
        Value::Nil => String::new(),
        Value::String(text) => text.to_string(),
        other => json::stringify(other),
    }
}

impl Runner {
    /// Runs a call: whatever goes wrong becomes a result.
    pub async fn call(&self, id: &str, name: &str, arguments: &Value) -> Ran {
        let Some(entry) = self.entries.iter().find(|it| text_field(it, "name") == Some(name)) else {
            let available = self.entries.iter().filter_map(|it| field(it, "name")).take(20).cloned().collect();
            return Ran::error("unknown_tool", [("tool", Value::from(name)), ("available", Value::list(available))]);
        };
        let mut arguments = match checked(entry, arguments) {
            Ok(arguments) => arguments,
            Err(details) => return invalid(details),
        };
        let hooks: Vec<Value> =
            self.models.tool_hooks.lock().iter().filter(|it| hook_fits(it, name)).cloned().collect();
        if let Some(reason) = self.guard.ceiling(name) {
            return Ran::denied(name, &reason);
        }
        let call = |arguments: &Dict| {
            Value::dict([
                ("id", Value::from(id)),
                ("name", Value::from(name)),
                ("tool", Value::from(name)),
                ("arguments", Value::Dict(arguments.clone())),
                ("args", Value::Dict(arguments.clone())),
            ])
        };
        let mut given = None;
        for hook in &hooks {
            if let Some(reason) = field(hook, "deny").filter(|it| it.is_truthy()) {
                let reason = if matches!(reason, Value::Bool(true)) { Value::from("denied") } else { reason.clone() };
                return Ran::denied(name, &format!("hook_denied: {reason}"));
            }
            let Some(pre) = field(hook, "pre") else { continue };
            let said = match self.asker.call(pre.clone(), call(&arguments)).await {
                Ok(said) => said,
                Err(thrown) => return Ran::denied(name, &format!("hook_denied: {}", text_of_thrown(&thrown))),
            };
            if let Some(reason) = field(&said, "deny") {
                return Ran::denied(name, &format!("hook_denied: {reason}"));
            }
            if let Some(rewritten) = field(&said, "arguments") {
                arguments = match checked(entry, rewritten) {
                    Ok(arguments) => arguments,
                    Err(details) => return invalid(details),
                };
            }
            if let Value::Dict(said) = &said
                && let Some(result) = said.get("result")
            {
                given = Some(result.clone());
                break;
            }
        }
        if let Verdict::Denied(reason) = self.guard.decide(&self.asker, entry, name, &arguments, call(&arguments)).await
        {
            return Ran::denied(name, &reason);
        }
        let mut ran = match given {
            Some(result) => Ran::ok(result),
            None => self.execute(entry, name, &arguments).await,
        };
        let own = field(entry, "max_output").and_then(Value::as_int).and_then(|it| usize::try_from(it).ok());
        let hooked = hooks.iter().filter_map(|it| field(it, "max_output").and_then(Value::as_int)).min();
        let hooked = hooked.and_then(|it| usize::try_from(it).ok());
        let most = own.unwrap_or(OUTPUT_CHARS_MAX).min(hooked.unwrap_or(usize::MAX));
        ran.content = snipped(&ran.content, most);
        for post in hooks.iter().filter_map(|it| field(it, "post")) {
            let Value::Dict(mut seen) = call(&arguments) else { continue };
            seen.insert(Str::from("result"), Value::from(ran.content.as_str()));
            seen.insert(Str::from("is_error"), Value::Bool(ran.is_error));
            match self.asker.call(post.clone(), Value::Dict(seen)).await {
                Ok(Value::Nil) | Err(_) => {}
                Ok(said) => ran.content = rendered(field(&said, "result").unwrap_or(&said)),
            }
        }
        ran
    }

    async fn execute(&self, entry: &Value, name: &str, arguments: &Dict) -> Ran {
        let Some(handler) = field(entry, "handler") else {
            let executor = text_field(entry, "executor").unwrap_or("harn");
            let message = format!("the tool '{name}' cannot be run here (executor {executor})");
            let fields = [("message", Value::from(message)), ("category", Value::from("tool_error"))];
            return Ran::error("tool_error", fields);
        };
        let timeout = field(entry, "timeout_ms").and_then(Value::as_millis).and_then(|it| u64::try_from(it).ok());
        let timeout = timeout.filter(|it| *it > 0).unwrap_or(TIMEOUT_MS);
        let left = self.ends_at.map(|it| u64::try_from(it - self.run.now_monotonic()).unwrap_or(0).max(1));
        let timeout = timeout.min(left.unwrap_or(u64::MAX));
        let mut retried = 0;
        loop {
            let started = self.run.now_monotonic();
            let argument = Value::Dict(arguments.clone());
            let thrown = match self.asker.call_within(handler.clone(), argument, timeout).await {
                Ok(value) => return Ran::ok(value),
                Err(thrown) => thrown,
            };
            let late = self.run.now_monotonic() - started >= i64::try_from(timeout).unwrap_or(i64::MAX);
            if late && thrown.as_str() == Some("Deadline exceeded") {
                return Ran::error("timeout", [("after_ms", Value::Int(timeout as i64))]);
            }
            if retried >= self.retries {
                let category = madrigal_stdlib::category_of(&thrown);
                let category = if category == "generic" { "tool_error".to_owned() } else { category };
                let message = Value::from(text_of_thrown(&thrown));
                return Ran::error("tool_error", [("message", message), ("category", Value::from(category))]);
            }
            let delay = self.backoff_ms.saturating_mul(1u64.checked_shl(retried as u32).unwrap_or(u64::MAX));
            retried += 1;
            self.run.sleep(std::time::Duration::from_millis(delay.min(30_000))).await;
        }
    }
}

/// The message of something thrown.
fn text_of_thrown(thrown: &Value) -> String {
    text_field(thrown, "message").map_or_else(|| thrown.to_string(), str::to_owned)
}

fn invalid(details: Vec<String>) -> Ran {
    let details = details.into_iter().map(Value::from).collect();
    Ran::error("invalid_arguments", [("details", Value::list(details))])
}

fn hook_fits(hook: &Value, name: &str) -> bool {
    glob(text_field(hook, "pattern").unwrap_or("*"), name)
}

/// The arguments with defaults filled in and unknown ones left out; the error lists what is wrong with them.
fn checked(entry: &Value, arguments: &Value) -> Result<Dict, Vec<String>> {
    let given = match arguments {
        Value::Dict(it) => it.clone(),
        Value::Nil => Dict::new(),
        other => return Err(vec![format!("(root): arguments must be a JSON object, got {}", rendered(other))]),
    };
    let schema = input_schema(entry);
    let Some(Value::Dict(properties)) = field(&schema, "properties") else { return Ok(given) };
    let closed = matches!(field(&schema, "additionalProperties"), Some(Value::Bool(false)));
    let mut arguments: Dict =
        given.iter().filter(|it| !closed || properties.has(it.0)).map(|(key, it)| (key.clone(), it.clone())).collect();
    for (name, property) in properties.iter() {
        if let Value::Dict(property) = property
            && !arguments.has(name)
            && let Some(default) = property.get("default")
        {
            arguments.insert(name.clone(), default.clone());
        }
    }
    // An optional argument may be given as nil.
    let required = items(field(&schema, "required"));
    let absent = |name: &Str, value: &Value| value.is_nil() && !required.iter().any(|it| it.as_str() == Some(name));
    let seen: Dict =
        arguments.iter().filter(|it| !absent(it.0, it.1)).map(|(key, it)| (key.clone(), it.clone())).collect();
    let errors = schema::validate(&Value::Dict(seen), &schema);
    if errors.is_empty() { Ok(arguments) } else { Err(errors) }
}

/// A text of at most so many characters: whole lines of its head and tail, and what was left out between them.
pub fn snipped(text: &str, most: usize) -> String {
    let total = text.chars().count();
    if total <= most {
        return text.to_owned();
    }
    let lines: Vec<&str> = text.split('\n').collect();
    let (mut head, mut tail, mut kept) = (0, 0, 0);
    loop {
        let from_head = head <= tail;
        let next =
            if from_head { lines.get(head) } else { lines.len().checked_sub(tail + 1).and_then(|it| lines.get(it)) };
        let len = next.map_or(usize::MAX, |it| it.chars().count() + 1);
        if head + tail >= lines.len() || len > most.saturating_sub(kept) {
            break;
        }
        kept += len;
        if from_head { head += 1 } else { tail += 1 }
    }
    let note = format!("[... {} characters snipped ...]", total - kept.min(total));
    let parts = lines[..head].iter().copied().chain([note.as_str()]).chain(lines[lines.len() - tail..].iter().copied());
    parts.collect::<Vec<_>>().join("\n")
}

fn tool_call(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let entries = entries_of(args.get(0)).map_err(|_| {
        Fault::thrown(format!("tool_call: first argument must be a tool registry, got {}", args.get(0).type_name()))
    })?;
    let (name, arguments) = (args.string(1), args.get(2).clone());
    let run = host(cx).run.clone();
    let models = Models::of(&run);
    Ok(job(move |asker| async move {
        let (entries, guard) = (Arc::new(entries), Arc::new(Guard::default()));
        let runner = Runner { run, models, asker, entries, guard, retries: 0, backoff_ms: 1000, ends_at: None };
        let ran = runner.call("tool_call_1", &name, &arguments).await;
        if !ran.is_error {
            return Ok(ran.value);
        }
        let Value::Dict(mut error) = ran.value else { return Err(Fault::thrown(ran.content)) };
        if some(&error, "category").is_none() {
            error.insert(Str::from("category"), Value::from("tool_error"));
        }
        Err(Fault::thrown(Value::Dict(error)))
    }))
}

fn register_tool_hook(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    let hook = args.dict(0).ok_or_else(|| {
        Fault::thrown(format!("register_tool_hook: expected a dict, got {}", args.get(0).type_name()))
    })?;
    if some(hook, "pattern").and_then(Value::as_str).is_none() {
        return Err(Fault::thrown("register_tool_hook: pattern is required"));
    }
    Models::of(&host(cx).run).tool_hooks.lock().push(Value::Dict(hook.clone()));
    Ok(())
}

fn clear_tool_hooks(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Fault> {
    Models::of(&host(cx).run).tool_hooks.lock().clear();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_results_keep_whole_lines_of_both_ends() {
        assert_eq!(snipped("short", 10), "short");
        assert_eq!(snipped("aa\nbb\ncc\ndd\nee", 6), "aa\n[... 8 characters snipped ...]\nee");
        assert_eq!(snipped("one long line", 5), "[... 13 characters snipped ...]");
    }
}
