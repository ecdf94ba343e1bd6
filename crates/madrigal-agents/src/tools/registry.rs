//! The builtins of registries: dicts `{_type: "tool_registry", tools: [entry]}`.

use super::{contract, input_schema, is_name, parameters};
use crate::messages::{field, items, some, text_field};
use madrigal_stdlib::json;
use madrigal_vm::{Args, Cx, Dict, Fault, Str, Value};

madrigal_vm::builtins! {
    /// An empty tool registry.
    "tool_registry" () -> dict = tool_registry;
    /// The registry with one tool more, or with the tool of that name replaced.
    "tool_define" (registry: dict, name: string, description: string, config: dict) -> dict = tool_define;
    /// Number of tools.
    "tool_count" (registry: dict) -> int = tool_count;
    /// The entries of a registry.
    "tool_list" (registry: dict) -> list = tool_list;
    /// The entry of this name, or nil.
    "tool_find" (registry: dict, name: string) -> dict = tool_find;
    /// The registry with only these tools.
    "tool_select" (registry: dict, names: list) -> dict = tool_select;
    /// The registry without this tool.
    "tool_remove" (registry: dict, name: string) -> dict = tool_remove;
    /// Both registries in one; tools of one name have to be the same.
    "tool_merge" (a: dict, b: dict) -> dict = tool_merge;
    /// The tools, for people.
    "tool_describe" (registry: dict) -> string = tool_describe;
    /// The tools, for a model.
    "tool_prompt" (registry: dict) -> string = tool_prompt;
    /// The tools with JSON Schemas.
    "tool_schema" (registry: dict) -> dict = tool_schema;
    /// The calls that are written into a text.
    "tool_parse_call" (text: string) -> list = tool_parse_call;
    /// The result of a tool as text for a model.
    "tool_format_result" (name: string, result: any) -> string = tool_format_result;
    /// Binds a registry to this task and those it starts; nil unbinds.
    "tool_bind" (registry: dict) -> nil = tool_bind;
    /// The name of a tool of the bound registry.
    "tool_ref" (name: string) -> string = tool_ref;
    /// The entry of a tool of the bound registry.
    "tool_def" (name: string) -> dict = tool_def;
    /// The registry of a `tool` declaration.
    "__tool_declare" (name: string, description: string, parameters: dict, returns: any, handler: closure) -> dict = declare;
}

/// A registry of these entries.
pub fn registry(entries: Vec<Value>) -> Value {
    Value::dict([("_type", Value::from("tool_registry")), ("tools", Value::list(entries))])
}

fn tools_of<'a>(name: &str, value: &'a Value) -> Result<&'a [Value], Fault> {
    if text_field(value, "_type") == Some("tool_registry") {
        return Ok(items(field(value, "tools")));
    }
    let got = value.type_name();
    Err(Fault::thrown(format!("{name}: first argument must be a tool registry, got {got}")))
}

fn name_of(entry: &Value) -> &str {
    text_field(entry, "name").unwrap_or_default()
}

fn tool_registry(_: &mut Cx<'_>, _: Args<'_>) -> Result<Value, Fault> {
    Ok(registry(Vec::new()))
}

fn tool_define(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let mut entries = tools_of("tool_define", args.get(0))?.to_vec();
    let name = args.string(1);
    let config = match args.get(3) {
        Value::Dict(it) => it.clone(),
        Value::Nil => Dict::new(),
        other => return Err(Fault::thrown(format!("tool_define: config must be a dict, got {}", other.type_name()))),
    };
    let entry = entry(&name, &args.string(2), &config)?;
    match entries.iter_mut().find(|it| name_of(it) == name.as_str()) {
        Some(place) => *place = entry,
        None => entries.push(entry),
    }
    Ok(registry(entries))
}

/// Keys of a definition that are copied into the entry.
const COPIED: [&str; 9] = [
    "handler",
    "annotations",
    "metadata",
    "mcp_server",
    "host_capability",
    "timeout_ms",
    "parallel",
    "max_output",
    "policy",
];

fn entry(name: &str, description: &str, config: &Dict) -> Result<Value, Fault> {
    let wrong = |what: &str| Fault::thrown(format!("tool_define: tool '{name}': {what}"));
    if !is_name(name) {
        return Err(Fault::thrown(format!("tool_define: invalid tool name '{name}'")));
    }
    let given = match some(config, "parameters") {
        None => Dict::new(),
        Some(Value::Dict(it)) => it.clone(),
        Some(other) => return Err(wrong(&format!("parameters must be a dict, got {}", other.type_name()))),
    };
    let parameters = parameters(&given).ok_or_else(|| wrong("each parameter must be a type word or a schema dict"))?;
    let handler = some(config, "handler");
    if handler.is_some_and(|it| !it.is_callable()) {
        return Err(wrong("handler must be a closure"));
    }
    let executor = match some(config, "executor").map(ToString::to_string).as_deref() {
        Some("harn" | "madrigal" | "harn_builtin") => "harn",
        Some("mcp_server") if some(config, "mcp_server").is_none() => {
            return Err(wrong("executor mcp_server needs mcp_server"));
        }
        Some("host_bridge") if some(config, "host_capability").is_none() => {
            return Err(wrong("executor host_bridge needs host_capability"));
        }
        Some("mcp_server") => "mcp_server",
        Some("host_bridge") => "host_bridge",
        Some("provider_native") => "provider_native",
        Some(other) => return Err(wrong(&format!("unknown executor '{other}'"))),
        None if handler.is_some() => "harn",
        None => return Err(wrong("has neither a handler nor an executor")),
    };
    if executor == "harn" && handler.is_none() {
        return Err(wrong("executor harn needs a handler"));
    }
    let mut fields: Dict = [
        ("name", Value::from(name)),
        ("description", Value::from(description)),
        ("parameters", Value::Dict(parameters)),
        ("executor", Value::from(executor)),
    ]
    .into_iter()
    .map(|(key, value)| (Str::from(key), value))
    .collect();
    if let Some(returns) = some(config, "returns") {
        fields.insert(Str::from("outputSchema"), super::parameter(returns).unwrap_or_else(|| returns.clone()));
    }
    for key in COPIED {
        if let Some(value) = some(config, key) {
            fields.insert(Str::from(key), value.clone());
        }
    }
    Ok(Value::Dict(fields))
}

fn declare(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let mut config: Dict =
        [("parameters", args.get(2).clone()), ("handler", args.get(4).clone()), ("returns", args.get(3).clone())]
            .into_iter()
            .map(|(key, value)| (Str::from(key), value))
            .collect();
    if args.get(3).is_nil() {
        config.remove("returns");
    }
    Ok(registry(vec![entry(&args.string(0), &args.string(1), &config)?]))
}

/// The task-local value that holds the bound registry.
const BOUND: &str = "tools.registry";

fn tool_bind(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    let values = crate::models::host(cx).values.get_or_insert_default();
    if args.get(0).is_nil() {
        values.remove(BOUND);
        return Ok(());
    }
    tools_of("tool_bind", args.get(0))?;
    *values.slot(&Str::from(BOUND)) = args.get(0).clone();
    Ok(())
}

fn bound(cx: &mut Cx<'_>, builtin: &str, name: &str) -> Result<Value, Fault> {
    let values = crate::models::host(cx).values.as_ref();
    let registry = values.and_then(|it| it.get(BOUND)).cloned();
    let registry = registry.ok_or_else(|| Fault::thrown(format!("{builtin}: no tool registry bound")))?;
    let found = tools_of(builtin, &registry)?.iter().find(|it| name_of(it) == name).cloned();
    found.ok_or_else(|| Fault::thrown(format!("{builtin}: unknown tool '{name}'")))
}

fn tool_ref(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let name = args.string(0);
    bound(cx, "tool_ref", &name).map(|_| Value::String(name))
}

fn tool_def(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    bound(cx, "tool_def", &args.string(0))
}

fn tool_count(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(Value::from(tools_of("tool_count", args.get(0))?.len()))
}

fn tool_list(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(Value::list(tools_of("tool_list", args.get(0))?.to_vec()))
}

fn tool_find(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let name = args.string(1);
    let found = tools_of("tool_find", args.get(0))?.iter().find(|it| name_of(it) == name.as_str());
    Ok(found.cloned().unwrap_or_default())
}

fn tool_select(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let tools = tools_of("tool_select", args.get(0))?;
    let names = args.list(1).ok_or_else(|| Fault::thrown("tool_select: names must be a list"))?;
    let wanted = |it: &&Value| names.iter().any(|name| name.as_str() == Some(name_of(it)));
    Ok(registry(tools.iter().filter(wanted).cloned().collect()))
}

fn tool_remove(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let name = args.string(1);
    let rest = tools_of("tool_remove", args.get(0))?.iter().filter(|it| name_of(it) != name.as_str());
    Ok(registry(rest.cloned().collect()))
}

fn tool_merge(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let mut merged = tools_of("tool_merge", args.get(0))?.to_vec();
    for entry in tools_of("tool_merge", args.get(1))? {
        match merged.iter().find(|it| name_of(it) == name_of(entry)) {
            None => merged.push(entry.clone()),
            Some(same) if is_identical(same, entry) => {}
            Some(_) => {
                return Err(Fault::thrown(format!("tool_merge: both registries define '{}'", name_of(entry))));
            }
        }
    }
    Ok(registry(merged))
}

/// Whether both entries are the same, handlers compared by identity.
fn is_identical(a: &Value, b: &Value) -> bool {
    let (Value::Dict(a), Value::Dict(b)) = (a, b) else { return false };
    if a.same(b) {
        return true;
    }
    let same = |key: &Str, value: &Value| match (value, b.get(key)) {
        (Value::Closure(one), Some(Value::Closure(other))) => one.same(other),
        (value, other) => other == Some(value),
    };
    a.len() == b.len() && a.iter().all(|(key, value)| same(key, value))
}

fn tool_describe(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    let mut lines = vec!["Available tools:".to_owned()];
    for entry in tools_of("tool_describe", args.get(0))? {
        let parameters = match field(entry, "parameters") {
            Some(Value::Dict(it)) => it.clone(),
            _ => Dict::new(),
        };
        let shown: Vec<String> = parameters
            .iter()
            .map(|(name, schema)| {
                let kind = text_field(schema, "type").unwrap_or("any");
                let mark = match schema {
                    Value::Dict(it) if !super::is_required(it) => "?",
                    _ => "",
                };
                format!("{name}{mark}: {kind}")
            })
            .collect();
        let description = text_field(entry, "description").unwrap_or_default();
        let line = format!("- {}({}): {description}", name_of(entry), shown.join(", "));
        lines.push(line.trim_end_matches([':', ' ']).to_owned());
    }
    Ok(lines.join("\n"))
}

fn tool_prompt(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    Ok(contract(tools_of("tool_prompt", args.get(0))?))
}

fn tool_schema(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let describe = |entry: &Value| {
        let mut fields = vec![
            ("name", field(entry, "name").cloned().unwrap_or_default()),
            ("description", field(entry, "description").cloned().unwrap_or_default()),
            ("inputSchema", input_schema(entry)),
        ];
        if let Some(schema) = field(entry, "outputSchema") {
            fields.push(("outputSchema", crate::schema::to_json_schema(schema).unwrap_or_else(|_| schema.clone())));
        }
        if let Some(annotations) = field(entry, "annotations") {
            fields.push(("annotations", annotations.clone()));
        }
        Value::dict(fields)
    };
    let tools = tools_of("tool_schema", args.get(0))?.iter().map(describe).collect();
    Ok(Value::dict([("schema_version", Value::from("harn-tools/1.0")), ("tools", Value::list(tools))]))
}

fn tool_parse_call(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let parsed = super::calls_in(&args.string(0));
    let call =
        |it: crate::transport::ToolCall| Value::dict([("name", Value::from(it.name)), ("arguments", it.arguments)]);
    Ok(Value::list(parsed.calls.into_iter().map(call).collect()))
}

/// A result as the text format shows it.
pub fn formatted_result(name: &str, result: &Value) -> String {
    format!(
        "<tool_result>{{\"name\": {}, \"result\": {}}}</tool_result>",
        json::stringify(&Value::from(name)),
        spaced(&json::stringify(result))
    )
}

/// JSON with a space after each separator.
fn spaced(json: &str) -> String {
    let mut out = String::with_capacity(json.len() + json.len() / 8);
    let (mut in_string, mut escaped) = (false, false);
    for it in json.chars() {
        out.push(it);
        match it {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            ',' | ':' if !in_string => out.push(' '),
            _ => {}
        }
    }
    out
}

fn tool_format_result(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    Ok(formatted_result(&args.string(0), args.get(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_get_a_space_outside_of_texts() {
        assert_eq!(spaced(r#"{"a":[1,2],"b":"x,y:\"z,"}"#), r#"{"a": [1, 2], "b": "x,y:\"z,"}"#);
    }
}
