//! The resolved configuration of models as text, for people: every value with the layer it came from, secrets hidden.

use madrigal_agents::{Models, catalog};
use madrigal_stdlib::{Run, RunOptions};
use madrigal_vm::{Dict, Value};
use std::fmt::Write;
use std::path::Path;

/// What is configured for programs in `folder`. The error is ready to be shown.
pub fn describe_models(folder: &Path) -> Result<String, String> {
    let run = Run::new(RunOptions::default());
    let models = Models::prepare(&run, Some(&folder.join("main.harn")), false).map_err(|error| error.0)?;
    let all = catalog(&run, &models);
    let mut text = String::new();
    if let Some(Value::Dict(defaults)) = entry(&all, "defaults") {
        let show = |key: &str| defaults.get(key).map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(text, "default: {} {}", show("provider"), show("model"));
    }
    for (title, section) in [("provider", "providers"), ("model", "models")] {
        for (name, fields) in entries(&all, section) {
            let _ = writeln!(text, "\n{title} {name}");
            fields_of(&mut text, &fields);
        }
    }
    text.push('\n');
    for (name, alias) in entries(&all, "aliases") {
        let show = |key: &str| alias.get(key).filter(|it| !it.is_nil()).map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(text, "alias {name} = {} {} ({})", show("provider"), show("id"), show("layer"));
    }
    Ok(text)
}

fn entry<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    match value {
        Value::Dict(it) => it.get(key),
        _ => None,
    }
}

fn entries(value: &Value, key: &str) -> Vec<(String, Dict)> {
    let Some(Value::Dict(section)) = entry(value, key) else { return Vec::new() };
    let dict = |it: &Value| match it {
        Value::Dict(it) => it.clone(),
        _ => Dict::new(),
    };
    section.iter().map(|(name, it)| (name.to_string(), dict(it))).collect()
}

fn fields_of(text: &mut String, fields: &Dict) {
    let layers = fields.get("layers").cloned().unwrap_or_default();
    let shown = fields.iter().filter(|it| !matches!(it.0.as_str(), "layers" | "name") && !it.1.is_nil());
    for (key, value) in shown {
        let layer = entry(&layers, key).map_or_else(|| "environment".to_owned(), ToString::to_string);
        let _ = writeln!(text, "  {key} = {value} ({layer})");
    }
}
