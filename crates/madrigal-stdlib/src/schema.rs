//! Schemas: dicts that describe values. Aliases of their keys are resolved in `canonical.rs`, values are checked in
//! `validation.rs`, JSON Schema is written in `export.rs`. Values are looked at as they are, never as JSON: sets,
//! structs, ints and floats matter.

mod canonical;
mod export;
mod validation;

use crate::host::run;
use crate::json::pointer::require;
use crate::strict::{PART_BYTES, parts, sized};
use canonical::canonical;
use madrigal_vm::{Args, Cx, Dict, Fault, Outcome, Str, Value};
use validation::{Checked, Validator};

madrigal_vm::builtins! {
    /// True when the value fits; throws what does not.
    "json_validate" (value: any, schema: dict) -> bool = json_validate;
    /// `Ok(value)` when it fits, else `Err({message, errors, value})`.
    "schema_check" (value: any, schema: dict) -> enum = schema_check;
    /// Like `schema_check`, with defaults filled in.
    "schema_parse" (value: any, schema: dict) -> enum = schema_parse;
    /// Whether the value fits.
    "schema_is" (value: any, schema: dict) -> bool = schema_is;
    /// Whether the value fits.
    "is_type" (value: any, schema: dict) -> bool = is_type;
    /// The value when it fits, with defaults filled in on request; throws what does not.
    "schema_expect" (value: any, schema: dict, defaults: bool = false) -> any = schema_expect;
    /// The schema of a type alias; a schema is returned as it is.
    "schema_of" (type: any) -> dict = schema_of;
    /// The schema as JSON Schema.
    "schema_to_json_schema" (schema: dict) -> dict = schema_to_json_schema;
    /// The schema as OpenAPI writes it.
    "schema_to_openapi_schema" (schema: dict) -> dict = schema_to_openapi_schema;
    /// The schema that JSON Schema describes.
    "schema_from_json_schema" (schema: dict) -> dict = schema_from_json_schema;
    /// The schema that an OpenAPI document describes.
    "schema_from_openapi_schema" (schema: dict) -> dict = schema_from_openapi_schema;
    /// The entries of both schemas; those of `b` win.
    "schema_extend" (a: dict, b: dict) -> dict = schema_extend;
    /// The schema with nothing required, at any depth.
    "schema_partial" (schema: dict) -> dict = schema_partial;
    /// The schema of a dict with these keys only.
    "schema_pick" (schema: dict, keys: list) -> dict = schema_pick;
    /// The schema of a dict without these keys.
    "schema_omit" (schema: dict, keys: list) -> dict = schema_omit;
}

/// The canonical form of the schema in an argument.
fn schema_in(args: &Args<'_>, index: usize) -> Result<Dict, Fault> {
    canonical(args.get(index)).map_err(Fault::thrown)
}

/// Checks the first argument against a schema and gives what `conclude` makes of the outcome.
fn check<C>(cx: &mut Cx<'_>, args: &Args<'_>, schema: Dict, defaults: bool, conclude: C) -> Result<Outcome, Fault>
where
    C: FnOnce(Checked) -> Result<Value, Fault> + Send + 'static,
{
    let (run, value) = (run(cx).clone(), args.get(0).clone());
    let parts = parts(&value);
    sized(cx, "validate", parts * PART_BYTES, move || {
        conclude(Validator::new(&run.patterns, &schema, defaults, parts).check(&value))
    })
}

/// The normalised value; throws what does not fit.
fn expected(checked: Checked) -> Result<Value, Fault> {
    if checked.errors.is_empty() { Ok(checked.value) } else { Err(Fault::thrown(checked.errors.join("; "))) }
}

fn json_validate(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    require(&args, "json_validate", 2)?;
    let schema = schema_in(&args, 1)?;
    check(cx, &args, schema, false, |checked| expected(checked).map(|_| Value::Bool(true)))
}

fn schema_expect(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    require(&args, "schema_expect", 2)?;
    let schema = schema_in(&args, 1)?;
    check(cx, &args, schema, args.get(2).is_truthy(), expected)
}

/// The `Err` of a failed check.
fn failure(errors: Vec<String>, value: Option<Value>) -> Value {
    let message = errors.first().cloned().unwrap_or_default();
    let errors = errors.into_iter().map(Value::from).collect();
    let entries = [("message", Value::from(message)), ("errors", Value::list(errors))];
    Value::err(Value::dict(entries.into_iter().chain(value.map(|it| ("value", it)))))
}

/// The outcome as a `Result`.
fn result(cx: &mut Cx<'_>, args: &Args<'_>, name: &str, defaults: bool) -> Result<Outcome, Fault> {
    require(args, name, 2)?;
    let schema = match canonical(args.get(1)) {
        Ok(schema) => schema,
        Err(problem) => return Ok(failure(vec![problem], None).into()),
    };
    check(cx, args, schema, defaults, |Checked { value, errors }| {
        Ok(if errors.is_empty() { Value::ok(value) } else { failure(errors, Some(value)) })
    })
}

fn schema_check(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    result(cx, &args, "schema_check", false)
}

fn schema_parse(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    result(cx, &args, "schema_parse", true)
}

fn fits(cx: &mut Cx<'_>, args: &Args<'_>, name: &str) -> Result<Outcome, Fault> {
    require(args, name, 2)?;
    let schema = schema_in(args, 1)?;
    check(cx, args, schema, false, |checked| Ok(Value::Bool(checked.errors.is_empty())))
}

fn schema_is(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    fits(cx, &args, "schema_is")
}

fn is_type(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    fits(cx, &args, "is_type")
}

fn schema_of(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    match args.take(0) {
        schema @ Value::Dict(_) => Ok(schema),
        other => {
            let text = format!("schema_of: expected a type alias or schema dict, got {}", other.type_name());
            Err(Fault::thrown(text))
        }
    }
}

fn schema_to_json_schema(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    require(&args, "schema_to_json_schema", 1)?;
    Ok(Value::Dict(export::json_schema(&schema_in(&args, 0)?, export::Dialect::JsonSchema)))
}

fn schema_to_openapi_schema(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    require(&args, "schema_to_openapi_schema", 1)?;
    Ok(Value::Dict(export::json_schema(&schema_in(&args, 0)?, export::Dialect::OpenApi)))
}

fn schema_from_json_schema(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    require(&args, "schema_from_json_schema", 1)?;
    schema_in(&args, 0).map(Value::Dict)
}

fn schema_from_openapi_schema(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    require(&args, "schema_from_openapi_schema", 1)?;
    schema_in(&args, 0).map(Value::Dict)
}

fn schema_extend(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    require(&args, "schema_extend", 2)?;
    let mut merged = schema_in(&args, 0)?;
    schema_in(&args, 1)?.iter().for_each(|(key, value)| merged.insert(key.clone(), value.clone()));
    Ok(Value::Dict(merged))
}

fn schema_partial(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    require(&args, "schema_partial", 1)?;
    Ok(Value::Dict(canonical::partial(&schema_in(&args, 0)?)))
}

/// The schema with the properties that `keeps` keeps.
fn filtered(args: &Args<'_>, name: &str, keeps: impl Fn(bool) -> bool) -> Result<Value, Fault> {
    require(args, name, 2)?;
    let mut schema = schema_in(args, 0)?;
    let Some(keys) = args.list(1) else {
        return Err(Fault::thrown(format!("{name}: keys must be a list")));
    };
    let keys: Vec<Str> = keys.iter().map(Value::display).collect();
    let kept = |key: &Str| keeps(keys.contains(key));
    if let Some(Value::Dict(properties)) = schema.get("properties") {
        let properties: Dict =
            properties.iter().filter(|(key, _)| kept(key)).map(|(key, value)| (key.clone(), value.clone())).collect();
        schema.insert(Str::from("properties"), Value::Dict(properties));
    }
    if let Some(Value::List(required)) = schema.get("required") {
        let required = required.iter().filter(|key| kept(&key.display())).cloned().collect();
        schema.insert(Str::from("required"), Value::list(required));
    }
    Ok(Value::Dict(schema))
}

fn schema_pick(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    filtered(&args, "schema_pick", |named| named)
}

fn schema_omit(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    filtered(&args, "schema_omit", |named| !named)
}
