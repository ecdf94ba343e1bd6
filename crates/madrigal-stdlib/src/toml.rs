//! TOML. Values that TOML has no form for become the text of their display form; nil cannot be written.

use crate::json::{check_depth, plain_bytes};
use crate::strict::{sized, sized_by};
use madrigal_vm::{Args, Cx, Fault, Outcome, Str, Value};
use toml::{Table, Value as Toml};

madrigal_vm::builtins! {
    /// The value a TOML text describes; dates are texts.
    "toml_parse" (text: string) -> dict = toml_parse;
    /// The TOML text of a dict.
    "toml_stringify" (value: dict) -> string = toml_stringify;
}

fn toml_parse(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let text = args.string(0);
    sized(cx, "toml_parse", text.len(), move || {
        let table: Table = text.parse().map_err(|error| located(&text, &error))?;
        Ok(value_of(Toml::Table(table)))
    })
}

/// The mistake on one line.
fn located(text: &str, error: &toml::de::Error) -> Fault {
    let at = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = at.matches('\n').count() + 1;
    let column = at.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Fault::thrown(format!("TOML parse error: {} at line {line} column {column}", error.message()))
}

/// The reader bounds the depth, so recursion is fine.
fn value_of(toml: Toml) -> Value {
    match toml {
        Toml::String(it) => Value::from(it),
        Toml::Integer(it) => Value::Int(it),
        Toml::Float(it) => Value::Float(it),
        Toml::Boolean(it) => Value::Bool(it),
        Toml::Datetime(it) => Value::from(it.to_string()),
        Toml::Array(items) => Value::list(items.into_iter().map(value_of).collect()),
        Toml::Table(entries) => Value::dict(entries.into_iter().map(|(key, value)| (key, value_of(value)))),
    }
}

fn toml_stringify(cx: &mut Cx<'_>, mut args: Args<'_>) -> Result<Outcome, Fault> {
    sized_by(cx, "toml_stringify", args.take(0), |value| {
        let failed = |error: String| Fault::thrown(format!("toml_stringify: {error}"));
        check_depth(value).map_err(failed)?;
        match toml_of(value).map_err(failed)? {
            Toml::Table(table) => toml::to_string(&table).map(Value::from).map_err(|error| failed(error.to_string())),
            _ => Err(failed(format!("expected a dict, got {}", value.type_name()))),
        }
    })
}

fn toml_of(value: &Value) -> Result<Toml, String> {
    Ok(match value {
        Value::Nil => return Err("nil has no form in TOML".to_owned()),
        Value::Bool(it) => Toml::Boolean(*it),
        Value::Float(it) => Toml::Float(*it),
        Value::String(it) => Toml::String(it.to_string()),
        Value::List(items) => Toml::Array(items.iter().map(toml_of).collect::<Result<_, _>>()?),
        Value::Set(items) => Toml::Array(items.iter().map(toml_of).collect::<Result<_, _>>()?),
        Value::Dict(entries) => table(entries.iter())?,
        Value::Struct(it) => table(it.fields())?,
        Value::Bytes(it) => toml_of(&plain_bytes(it))?,
        other => other.as_int().map_or_else(|| Toml::String(other.to_string()), Toml::Integer),
    })
}

fn table<'a>(entries: impl Iterator<Item = (&'a Str, &'a Value)>) -> Result<Toml, String> {
    let entries = entries.map(|(key, value)| Ok((key.to_string(), toml_of(value)?)));
    entries.collect::<Result<Table, String>>().map(Toml::Table)
}
