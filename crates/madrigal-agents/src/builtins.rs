//! The builtins that call a model: arguments become a plan, the plan a job that the prelude drives.

use crate::call::Handed;
use crate::failure::LlmError;
use crate::job::job;
use crate::messages::{field, items, message, some};
use crate::models::{Models, host};
use crate::options::{Given, Plan, plan};
use crate::rates;
use crate::structured::{self, Checked};
use crate::transport::{CallCx, NoDeltas};
use madrigal_stdlib::json;
use madrigal_vm::{Args, Cx, Dict, Fault, Str, Value};
use std::sync::Arc;

madrigal_vm::builtins! {
    /// A job that calls a model.
    "__llm_call" (prompt: string, system: string, options: dict) -> any = llm_call;
    /// The same; a failure becomes part of the result.
    "__llm_call_safe" (prompt: string, system: string, options: dict) -> any = llm_call_safe;
    /// A job that calls a model for data.
    "__llm_structured" (form: string, prompt: string, schema: dict, options: dict) -> any = llm_structured;
    /// A job that completes a text.
    "__llm_completion" (prefix: string, suffix: string, system: string, options: dict) -> any = llm_completion;
}

/// What a call needs: its plan, what it has at hand, and a permit that was handed down to it.
pub fn planned(
    cx: &mut Cx<'_>,
    given: &Given,
    extra_known: &[&str],
) -> Result<(Plan, CallCx, Option<Arc<Handed>>), LlmError> {
    let handed = rates::handed(host(cx));
    let call_cx = call_cx(cx);
    let plan = plan(&call_cx.run, &call_cx.models, given, extra_known)?;
    Ok((plan, call_cx, handed))
}

/// What a call has at hand; its asker is that of the job it becomes part of.
pub fn call_cx(cx: &mut Cx<'_>) -> CallCx {
    let host = host(cx);
    let run = host.run.clone();
    let models = Models::of(&run);
    let now_ns = host.context.runtime().clock().now_ns();
    let left = |at_ns: u64| i64::try_from(at_ns.saturating_sub(now_ns) / 1_000_000).unwrap_or(i64::MAX);
    let block_ends_at = host.nodes.innermost().earliest_deadline_ns();
    let block_ends_at = block_ends_at.map(|it| run.now_monotonic().saturating_add(left(it)));
    CallCx { run, models, asker: Default::default(), ends_at: None, block_ends_at, idle_timeout: None }
}

fn llm_call(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let mut given = Given::new(args.get(0), args.get(1), args.get(2))?;
    let session = with_session(cx, &mut given);
    let (plan, call_cx, handed) = planned(cx, &given, &[])?;
    Ok(job(move |asker| async move {
        let call_cx = CallCx { asker, ..call_cx };
        let result = structured::call(&plan, &call_cx, handed, &mut NoDeltas).await?;
        if let Some((id, known)) = session {
            let said = some(&result, "transcript").and_then(|it| field(it, "messages"));
            let new = items(said).get(known..).unwrap_or_default();
            call_cx.models.sessions.append(&call_cx.run, &id, new);
        }
        Ok(Value::Dict(result))
    }))
}

/// Puts the messages of the session that the options name before those of the call; its name, and how many.
fn with_session(cx: &mut Cx<'_>, given: &mut Given) -> Option<(String, usize)> {
    let id = some(&given.options, "session_id")?.to_string();
    let (run, models) = {
        let run = host(cx).run.clone();
        let models = Models::of(&run);
        (run, models)
    };
    let hub = madrigal_stdlib::inbox::hub(host(cx)).clone();
    let messages = models.sessions.visible(&run, &hub, &id);
    let known = messages.len();
    put(&mut given.options, "transcript", crate::transcript::of_messages(messages));
    Some((id, known))
}

fn llm_call_safe(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let planned = Given::new(args.get(0), args.get(1), args.get(2)).and_then(|given| self::planned(cx, &given, &[]));
    Ok(job(move |asker| async move {
        let outcome = match planned {
            Ok((plan, call_cx, handed)) => {
                let call_cx = CallCx { asker, ..call_cx };
                structured::call(&plan, &call_cx, handed, &mut NoDeltas).await
            }
            Err(error) => Err(error),
        };
        Ok(safe("response", outcome.map(Value::Dict)))
    }))
}

/// A result that says whether there is one.
fn safe(name: &'static str, outcome: Result<Value, LlmError>) -> Value {
    let (ok, value, error) = match outcome {
        Ok(value) => (true, value, Value::Nil),
        Err(error) => (false, Value::Nil, error.to_value()),
    };
    Value::dict([("ok", Value::Bool(ok)), (name, value), ("error", error)])
}

fn llm_completion(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let mut given = Given::new(args.get(0), args.get(2), args.get(3))?;
    let prefix = std::mem::take(&mut given.prompt);
    let suffix = (!args.get(1).is_nil()).then(|| args.string(1).to_string());
    // The messages of a chat do not matter; a completion needs none.
    given.prompt = if prefix.is_empty() { " ".to_owned() } else { prefix.clone() };
    let (mut plan, call_cx, handed) = planned(cx, &given, &[])?;
    plan.request.messages = vec![message("user", prefix.as_str())];
    plan.request.infill = Some((prefix, suffix));
    Ok(job(move |asker| async move {
        let call_cx = CallCx { asker, ..call_cx };
        Ok(Value::Dict(structured::call(&plan, &call_cx, handed, &mut NoDeltas).await?))
    }))
}

/// The arguments of a call for data with the defaults of such calls.
fn data_call(args: &Args<'_>) -> Result<Given, LlmError> {
    let mut given = Given::new(args.get(1), &Value::Nil, args.get(3))?;
    let options = &mut given.options;
    if args.get(2).is_nil() {
        return Err(LlmError::invalid("schema must be a dict or a type, got nil"));
    }
    given.system = some(options, "system").map(ToString::to_string);
    options.remove("system");
    let retries = options.remove("retries").filter(|it| !it.is_nil());
    options.remove("repair");
    let mut default = |key: &str, value: Value| {
        if some(options, key).is_none() {
            options.insert(Str::from(key), value);
        }
    };
    default("schema_retries", retries.unwrap_or(Value::Int(3)));
    default("output_validation", Value::from("error"));
    options.insert(Str::from("schema"), args.get(2).clone());
    Ok(given)
}

fn llm_structured(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let form = args.string(0);
    let planned = data_call(&args).and_then(|given| {
        let planned = self::planned(cx, &given, &[])?;
        Ok((given, planned))
    });
    if form.as_str() == "safe" {
        return Ok(job(move |asker| async move {
            let outcome = match planned {
                Ok((_, (plan, call_cx, handed))) => data(&plan, &CallCx { asker, ..call_cx }, handed).await,
                Err(error) => Err(error),
            };
            Ok(safe("data", outcome))
        }));
    }
    let (given, (plan, call_cx, handed)) = planned?;
    let repair = args.dict(3).and_then(|it| some(it, "repair")).cloned();
    Ok(job(move |asker| async move {
        let call_cx = CallCx { asker, ..call_cx };
        match form.as_str() {
            "envelope" => envelope(&given, &plan, &call_cx, handed, repair).await.map_err(Fault::from),
            _ => Ok(data(&plan, &call_cx, handed).await?),
        }
    }))
}

async fn data(plan: &Plan, cx: &CallCx, handed: Option<Arc<Handed>>) -> Result<Value, LlmError> {
    let checked = structured::checked(plan, cx, handed, &mut NoDeltas).await?;
    let fits = checked.errors.is_empty()
        || plan.schema.as_ref().is_none_or(|it| it.validation != crate::options::Validation::Error);
    if fits { Ok(checked.data) } else { Err(checked.failure(plan)) }
}

/// A call for data that tells everything about itself and does not throw.
async fn envelope(
    given: &Given,
    plan: &Plan,
    cx: &CallCx,
    handed: Option<Arc<Handed>>,
    repair: Option<Value>,
) -> Result<Value, LlmError> {
    let checked = match structured::checked(plan, cx, handed, &mut NoDeltas).await {
        Ok(checked) => checked,
        Err(error) => {
            let mut fields = empty_envelope(plan);
            put(&mut fields, "error", Value::from(error.message.as_str()));
            put(&mut fields, "error_category", Value::from(error.category));
            return Ok(Value::Dict(fields));
        }
    };
    let mut fields = empty_envelope(plan);
    for key in ["usage", "model", "provider"] {
        put(&mut fields, key, checked.result.get(key).cloned().unwrap_or_default());
    }
    put(&mut fields, "raw_text", Value::from(checked.text.as_str()));
    put(&mut fields, "attempts", Value::Int(i64::from(checked.checks)));
    put(&mut fields, "extracted_json", Value::Bool(checked.extracted));
    if checked.errors.is_empty() {
        put(&mut fields, "ok", Value::Bool(true));
        put(&mut fields, "data", checked.data);
        return Ok(Value::Dict(fields));
    }
    let failure = checked.failure(plan);
    let category = if checked.missing_json { "missing_json" } else { "schema_validation" };
    put(&mut fields, "error", Value::from(failure.message.as_str()));
    put(&mut fields, "error_category", Value::from(category));
    let Some(Value::Dict(repair)) = repair else { return Ok(Value::Dict(fields)) };
    if !some(&repair, "enabled").is_none_or(Value::is_truthy) {
        return Ok(Value::Dict(fields));
    }
    match self::repair(given, plan, cx, &repair, &checked).await {
        Ok(data) => {
            put(&mut fields, "ok", Value::Bool(true));
            put(&mut fields, "repaired", Value::Bool(true));
            put(&mut fields, "data", data);
            put(&mut fields, "error", Value::from(""));
            put(&mut fields, "error_category", Value::Nil);
        }
        Err(error) => {
            put(&mut fields, "error", Value::from(error.message.as_str()));
            put(&mut fields, "error_category", Value::from("repair_failed"));
        }
    }
    Ok(Value::Dict(fields))
}

fn put(fields: &mut Dict, key: &str, value: Value) {
    fields.insert(Str::from(key), value);
}

fn empty_envelope(plan: &Plan) -> Dict {
    let fields = [
        ("ok", Value::Bool(false)),
        ("data", Value::Nil),
        ("raw_text", Value::from("")),
        ("error", Value::from("")),
        ("error_category", Value::Nil),
        ("attempts", Value::Int(0)),
        ("repaired", Value::Bool(false)),
        ("extracted_json", Value::Bool(false)),
        ("usage", Value::dict::<&str>([])),
        ("model", Value::from(plan.target.model.as_str())),
        ("provider", Value::from(plan.target.provider.as_str())),
    ];
    fields.into_iter().map(|(name, value)| (Str::from(name), value)).collect()
}

/// One more call, with the bad text, what is wrong with it and the schema.
async fn repair(given: &Given, plan: &Plan, cx: &CallCx, options: &Dict, bad: &Checked) -> Result<Value, LlmError> {
    let mut given = given.clone();
    for (key, value) in options.iter().filter(|it| it.0.as_str() != "enabled") {
        given.options.insert(key.clone(), value.clone());
    }
    put(&mut given.options, "schema_retries", Value::Int(0));
    given.options.remove("messages");
    if let Some(system) = given.options.remove("system").filter(|it| !it.is_nil()) {
        given.system = Some(system.to_string());
    }
    let schema = plan.schema.as_ref().map(|it| json::stringify(&it.schema)).unwrap_or_default();
    given.prompt = format!(
        "Repair this reply so that it matches the schema. Reply with the corrected JSON only.\n\nReply:\n{}\n\nErrors:\n- {}\n\nThe schema: {schema}",
        bad.text,
        bad.errors.join("\n- ")
    );
    let repaired = crate::options::plan(&cx.run, &cx.models, &given, &[])?;
    data(&repaired, cx, None).await
}
