//! Transcripts: what was said and what happened, as a value.

use crate::messages::{field, items, message, normalised, some, text_field, text_of};
use crate::models::host;
use madrigal_stdlib::{Run, json};
use madrigal_vm::{Args, Cx, Dict, Fault, Str, Value};

madrigal_vm::builtins! {
    /// An empty transcript.
    "transcript" (metadata: dict) -> dict = empty;
    /// A transcript of these messages.
    "transcript_from_messages" (messages: list) -> dict = from_messages;
    /// The messages of a transcript.
    "transcript_messages" (transcript: dict) -> list = messages;
    /// The events of a transcript.
    "transcript_events" (transcript: dict) -> list = events;
    /// The events of one kind.
    "transcript_events_by_kind" (transcript: dict, kind: string) -> list = events_by_kind;
    /// The summary of a transcript, or nil.
    "transcript_summary" (transcript: dict) -> string = summary;
    /// The id of a transcript, or nil.
    "transcript_id" (transcript: dict) -> string = id;
    /// Numbers about a transcript; zeros for nil.
    "transcript_stats" (transcript: dict) -> dict = stats;
    /// The public part as text.
    "transcript_render_visible" (transcript: dict) -> string = render_visible;
    /// Everything as text.
    "transcript_render_full" (transcript: dict) -> string = render_full;
    /// Keeps the last messages; a summary stands for the others.
    "transcript_compact" (transcript: dict, options: dict) -> dict = compact;
    /// A copy with an id of its own.
    "transcript_fork" (transcript: dict) -> dict = fork;
    /// Marks a transcript as archived.
    "transcript_archive" (transcript: dict) -> dict = archive;
    /// Marks a transcript as active again.
    "transcript_resume" (transcript: dict) -> dict = resume;
    /// Marks a transcript as abandoned.
    "transcript_abandon" (transcript: dict) -> dict = abandon;
    /// An empty transcript.
    "transcript_reset" (options: dict) -> dict = reset;
    /// A transcript as JSON text.
    "transcript_export" (transcript: dict) -> string = export;
    /// The transcript of a JSON text.
    "transcript_import" (text: string) -> dict = import;
    /// The transcript with a message of the user more.
    "add_user" (transcript: dict, content: any) -> dict = add_user;
    /// The transcript with a message of the model more.
    "add_assistant" (transcript: dict, content: any) -> dict = add_assistant;
    /// The transcript with a system message more.
    "add_system" (transcript: dict, content: any) -> dict = add_system;
    /// The transcript with the result of a tool more.
    "add_tool_result" (transcript: dict, tool_call_id: string, content: any) -> dict = add_tool_result;
    /// The transcript with an asset more.
    "transcript_add_asset" (transcript: dict, asset: dict) -> dict = add_asset;
    /// The assets of a transcript.
    "transcript_assets" (transcript: dict) -> list = assets;
}

/// A fresh transcript of these messages.
pub fn of_messages(messages: Vec<Value>) -> Value {
    Value::dict([
        ("_type", Value::from("transcript")),
        ("version", Value::Int(2)),
        ("id", Value::Nil),
        ("state", Value::from("active")),
        ("summary", Value::Nil),
        ("metadata", Value::dict::<&str>([])),
        ("messages", Value::list(messages)),
        ("events", Value::list(Vec::new())),
        ("assets", Value::list(Vec::new())),
    ])
}

/// The transcript of a session: its messages, each also an event, and what else happened.
pub fn with_events(id: &str, messages: Vec<Value>, more: Vec<Value>, summary: Option<&str>) -> Value {
    let mut events: Vec<Value> = messages.iter().map(message_event).collect();
    events.extend(more);
    let Value::Dict(mut transcript) = of_messages(messages) else { return Value::Nil };
    put(&mut transcript, "id", Value::from(id));
    put(&mut transcript, "events", Value::list(events));
    put(&mut transcript, "summary", summary.map_or(Value::Nil, Value::from));
    Value::Dict(transcript)
}

/// An event of a transcript.
pub fn event(run: &Run, kind: &str, role: &str, visibility: &str, text: &str, metadata: Value) -> Value {
    Value::dict([
        ("id", Value::from(format!("event-{}", run.next_id()))),
        ("kind", Value::from(kind)),
        ("role", Value::from(role)),
        ("visibility", Value::from(visibility)),
        ("text", Value::from(text)),
        ("metadata", metadata),
        ("ts_ms", Value::Int(run.now_ms())),
    ])
}

fn message_event(message: &Value) -> Value {
    let role = text_field(message, "role").unwrap_or("user");
    let visibility = if role == "tool" || role == "system" { "internal" } else { "public" };
    let mut fields = vec![
        ("kind", Value::from(if role == "tool" { "tool_result" } else { "message" })),
        ("role", Value::from(role)),
        ("visibility", Value::from(visibility)),
        ("text", Value::from(text_of(message))),
        ("metadata", Value::dict::<&str>([])),
    ];
    if let Some(blocks @ Value::List(_)) = field(message, "content") {
        fields.push(("blocks", blocks.clone()));
    }
    Value::dict(fields)
}

fn put(dict: &mut Dict, key: &str, value: Value) {
    dict.insert(Str::from(key), value);
}

fn dict_of(name: &str, args: &Args<'_>) -> Result<Dict, Fault> {
    let given = args.dict(0).filter(|it| some(it, "_type").and_then(Value::as_str) == Some("transcript"));
    given.cloned().ok_or_else(|| {
        Fault::thrown(format!("{name}: first argument must be a transcript, got {}", args.get(0).type_name()))
    })
}

fn list_of(name: &str, args: &Args<'_>, key: &str) -> Result<Vec<Value>, Fault> {
    Ok(items(some(&dict_of(name, args)?, key)).to_vec())
}

fn empty(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(with_metadata(args.dict(0).cloned()))
}

fn with_metadata(metadata: Option<Dict>) -> Value {
    let Value::Dict(mut transcript) = of_messages(Vec::new()) else { return Value::Nil };
    put(&mut transcript, "metadata", Value::Dict(metadata.unwrap_or_default()));
    Value::Dict(transcript)
}

fn reset(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let metadata = match args.dict(0).and_then(|it| some(it, "metadata")) {
        Some(Value::Dict(it)) => Some(it.clone()),
        _ => None,
    };
    Ok(with_metadata(metadata))
}

fn from_messages(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let list = args.list(0).ok_or_else(|| Fault::thrown("transcript_from_messages: expected a list of messages"))?;
    let messages = normalised(list)?;
    let events = messages.iter().map(message_event).collect();
    let Value::Dict(mut transcript) = of_messages(messages) else { return Ok(Value::Nil) };
    put(&mut transcript, "events", Value::list(events));
    Ok(Value::Dict(transcript))
}

fn messages(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(Value::list(list_of("transcript_messages", &args, "messages")?))
}

fn events(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(Value::list(list_of("transcript_events", &args, "events")?))
}

fn events_by_kind(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let kind = args.string(1);
    let mut found = list_of("transcript_events_by_kind", &args, "events")?;
    found.retain(|it| text_field(it, "kind") == Some(kind.as_str()));
    Ok(Value::list(found))
}

fn summary(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(dict_of("transcript_summary", &args)?.get("summary").cloned().unwrap_or_default())
}

fn id(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(dict_of("transcript_id", &args)?.get("id").cloned().unwrap_or_default())
}

fn assets(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(Value::list(list_of("transcript_assets", &args, "assets")?))
}

fn stats(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let transcript = args.dict(0).cloned().unwrap_or_default();
    let messages = items(some(&transcript, "messages"));
    let count = |role: &str| messages.iter().filter(|it| text_field(it, "role") == Some(role)).count();
    let bytes = messages.iter().map(crate::budget::message_bytes).sum();
    Ok(Value::dict([
        ("message_count", Value::from(messages.len())),
        ("user_messages", Value::from(count("user"))),
        ("assistant_messages", Value::from(count("assistant"))),
        ("tool_messages", Value::from(count("tool"))),
        ("event_count", Value::from(items(some(&transcript, "events")).len())),
        ("asset_count", Value::from(items(some(&transcript, "assets")).len())),
        ("estimated_tokens", Value::Int(crate::budget::estimated_tokens(bytes) as i64)),
    ]))
}

/// The content of a message as text; a block that is none by its type and name.
fn shown_content(message: &Value) -> String {
    let Some(Value::List(blocks)) = field(message, "content") else { return text_of(message) };
    let show = |block: &Value| match text_field(block, "text") {
        Some(text) => text.to_owned(),
        None => {
            let named = ["name", "url", "asset_id", "id"].iter().find_map(|it| text_field(block, it));
            format!("[{} {}]", text_field(block, "type").unwrap_or("block"), named.unwrap_or_default())
        }
    };
    blocks.iter().map(show).collect::<Vec<_>>().join("\n")
}

fn render(transcript: &Dict, only_public: bool) -> String {
    let is_hidden = |it: &Value| text_field(it, "visibility") == Some("internal");
    let mut lines = Vec::new();
    for message in items(some(transcript, "messages")) {
        let role = text_field(message, "role").unwrap_or("user");
        if !(only_public && (role == "tool" || role == "system" || is_hidden(message))) {
            lines.push(format!("{role}: {}", shown_content(message)));
        }
    }
    for event in items(some(transcript, "events")) {
        let kind = text_field(event, "kind").unwrap_or_default();
        let is_left_out = matches!(kind, "message" | "tool_result") || (only_public && is_hidden(event));
        if !is_left_out {
            lines.push(format!("[{kind}] {}", text_field(event, "text").unwrap_or_default()));
        }
    }
    lines.join("\n")
}

fn render_visible(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    Ok(render(&dict_of("transcript_render_visible", &args)?, true))
}

fn render_full(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    Ok(render(&dict_of("transcript_render_full", &args)?, false))
}

fn compact(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let mut transcript = dict_of("transcript_compact", &args)?;
    let options = args.dict(1).cloned().unwrap_or_default();
    let keep = some(&options, "keep_last").or_else(|| some(&options, "keep_last_n")).and_then(Value::as_int);
    let keep = usize::try_from(keep.unwrap_or(10)).unwrap_or(0);
    let all = items(some(&transcript, "messages")).to_vec();
    let archived = all.len().saturating_sub(keep);
    if archived == 0 {
        return Ok(Value::Dict(transcript));
    }
    let lines = all[..archived].iter().map(|it| {
        let start: String = text_of(it).chars().take(200).collect();
        format!("{}: {start}", text_field(it, "role").unwrap_or_default())
    });
    let summary = match some(&options, "summary") {
        Some(text) => text.to_string(),
        None => lines.collect::<Vec<_>>().join("\n"),
    };
    let mut kept = vec![message("user", format!("[auto-compacted {archived} earlier messages]\n{summary}"))];
    kept.extend_from_slice(&all[archived..]);
    put(&mut transcript, "messages", Value::list(kept));
    put(&mut transcript, "summary", Value::from(summary));
    Ok(Value::Dict(transcript))
}

fn fork(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let mut transcript = dict_of("transcript_fork", &args)?;
    let id = format!("transcript-{}", host(cx).run.next_id());
    put(&mut transcript, "id", Value::from(id));
    Ok(Value::Dict(transcript))
}

fn set_state(cx: &mut Cx<'_>, args: &Args<'_>, name: &str, state: &str, word: &str) -> Result<Value, Fault> {
    let mut transcript = dict_of(&format!("transcript_{name}"), args)?;
    let mut events = items(some(&transcript, "events")).to_vec();
    let (text, metadata) = (format!("transcript {word}"), Value::dict::<&str>([]));
    events.push(event(&host(cx).run, word, "system", "internal", &text, metadata));
    put(&mut transcript, "state", Value::from(state));
    put(&mut transcript, "events", Value::list(events));
    Ok(Value::Dict(transcript))
}

fn archive(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    set_state(cx, &args, "archive", "archived", "archived")
}

fn resume(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    set_state(cx, &args, "resume", "active", "resumed")
}

fn abandon(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    set_state(cx, &args, "abandon", "abandoned", "abandoned")
}

fn export(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    Ok(json::stringify(&Value::Dict(dict_of("transcript_export", &args)?)))
}

fn import(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let value = json::parse(&args.string(0)).map_err(|error| Fault::thrown(format!("transcript_import: {error}")))?;
    match text_field(&value, "_type") {
        Some("transcript") => Ok(value),
        _ => Err(Fault::thrown("transcript_import: the text is not a transcript")),
    }
}

fn add(args: &Args<'_>, name: &str, added: Value) -> Result<Value, Fault> {
    let mut transcript = dict_of(name, args)?;
    let added = normalised(&[added])?;
    for (key, more) in [("messages", added.clone()), ("events", added.iter().map(message_event).collect())] {
        let mut list = items(some(&transcript, key)).to_vec();
        list.extend(more);
        put(&mut transcript, key, Value::list(list));
    }
    Ok(Value::Dict(transcript))
}

fn add_user(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    add(&args, "add_user", message("user", args.get(1).clone()))
}

fn add_assistant(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    add(&args, "add_assistant", message("assistant", args.get(1).clone()))
}

fn add_system(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    add(&args, "add_system", message("system", args.get(1).clone()))
}

fn add_tool_result(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let added = Value::dict([
        ("role", Value::from("tool")),
        ("tool_call_id", Value::String(args.string(1))),
        ("content", args.get(2).clone()),
    ]);
    add(&args, "add_tool_result", added)
}

fn add_asset(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let mut transcript = dict_of("transcript_add_asset", &args)?;
    let mut asset = args.dict(1).cloned().ok_or_else(|| Fault::thrown("transcript_add_asset: expected a dict"))?;
    if some(&asset, "id").is_none() {
        put(&mut asset, "id", Value::from(format!("asset-{}", host(cx).run.next_id())));
    }
    let mut assets = items(some(&transcript, "assets")).to_vec();
    assets.push(Value::Dict(asset));
    put(&mut transcript, "assets", Value::list(assets));
    Ok(Value::Dict(transcript))
}
