//! YAML. Values that YAML has no form for become the text of their display form.

use crate::json::{check_depth, plain_bytes};
use crate::strict::{sized, sized_by};
use madrigal_vm::{Args, Cx, Dict, Fault, Outcome, Str, Value};
use serde_yaml_ng::{Mapping, Number, Value as Yaml};

madrigal_vm::builtins! {
    /// The value a YAML text describes.
    "yaml_parse" (text: string) -> any = yaml_parse;
    /// The YAML text of a value.
    "yaml_stringify" (value: any) -> string = yaml_stringify;
}

fn yaml_parse(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let text = args.string(0);
    sized(cx, "yaml_parse", text.len(), move || {
        let mut document: Yaml =
            serde_yaml_ng::from_str(&text).map_err(|error| Fault::thrown(format!("YAML parse error: {error}")))?;
        document
            .apply_merge()
            .map_err(|error| error.to_string())
            .and_then(|()| value_of(document))
            .map_err(|error| Fault::thrown(format!("yaml_parse: {error}")))
    })
}

/// The reader bounds the depth, so recursion is fine.
fn value_of(yaml: Yaml) -> Result<Value, String> {
    Ok(match yaml {
        Yaml::Null => Value::Nil,
        Yaml::Bool(it) => Value::Bool(it),
        Yaml::Number(it) => it.as_i64().map_or_else(|| Value::Float(it.as_f64().unwrap_or(f64::NAN)), Value::Int),
        Yaml::String(it) => Value::from(it),
        Yaml::Sequence(items) => Value::list(items.into_iter().map(value_of).collect::<Result<_, _>>()?),
        Yaml::Mapping(entries) => {
            let mut dict = Dict::new();
            for (key, value) in entries {
                let Yaml::String(key) = key else { return Err("keys must be strings".to_owned()) };
                dict.insert(Str::from(key), value_of(value)?);
            }
            Value::Dict(dict)
        }
        Yaml::Tagged(it) => value_of(it.value)?,
    })
}

fn yaml_stringify(cx: &mut Cx<'_>, mut args: Args<'_>) -> Result<Outcome, Fault> {
    sized_by(cx, "yaml_stringify", args.take(0), |value| {
        let failed = |error: String| Fault::thrown(format!("yaml_stringify: {error}"));
        check_depth(value).map_err(failed)?;
        serde_yaml_ng::to_string(&yaml_of(value)).map(Value::from).map_err(|error| failed(error.to_string()))
    })
}

fn yaml_of(value: &Value) -> Yaml {
    match value {
        Value::Nil => Yaml::Null,
        Value::Bool(it) => Yaml::Bool(*it),
        Value::Float(it) => Yaml::Number(Number::from(*it)),
        Value::String(it) => Yaml::String(it.to_string()),
        Value::List(items) => Yaml::Sequence(items.iter().map(yaml_of).collect()),
        Value::Set(items) => Yaml::Sequence(items.iter().map(yaml_of).collect()),
        Value::Dict(entries) => mapping(entries.iter()),
        Value::Struct(it) => mapping(it.fields()),
        Value::Bytes(it) => yaml_of(&plain_bytes(it)),
        other => other.as_int().map_or_else(|| Yaml::String(other.to_string()), |it| Yaml::Number(Number::from(it))),
    }
}

fn mapping<'a>(entries: impl Iterator<Item = (&'a Str, &'a Value)>) -> Yaml {
    let entry = |(key, value): (&Str, &Value)| (Yaml::String(key.to_string()), yaml_of(value));
    Yaml::Mapping(entries.map(entry).collect::<Mapping>())
}
