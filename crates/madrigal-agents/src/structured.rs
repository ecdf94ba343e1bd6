//! Answers that have to be data: found in the text, checked against the schema, asked for again when they do not fit.

use crate::call::{self, Answer, Handed};
use crate::extract;
use crate::failure::LlmError;
use crate::messages::message;
use crate::options::{Plan, SchemaPlan, Validation};
use crate::reply;
use crate::schema;
use crate::transport::{CallCx, Deltas};
use madrigal_vm::{Dict, Str, Value};
use std::sync::Arc;

/// A call whose answer was checked.
pub struct Checked {
    /// The result as scripts see it.
    pub result: Dict,
    /// The data; nil when there is none.
    pub data: Value,
    /// What is wrong with it.
    pub errors: Vec<String>,
    /// Whether the text held no JSON at all.
    pub missing_json: bool,
    /// Whether the JSON had to be cut out of other text.
    pub extracted: bool,
    /// The text of the answer.
    pub text: String,
    /// Answers that were received and checked.
    pub checks: u32,
}

impl Checked {
    /// The error that an answer which does not fit is.
    pub fn failure(&self, plan: &Plan) -> LlmError {
        let (reason, message) = match self.missing_json {
            true => ("missing_json", "the reply holds no parseable JSON".to_owned()),
            false => ("schema_validation", format!("the reply does not match the schema: {}", self.errors.join("; "))),
        };
        let mut error = LlmError::new("schema_validation", message).because(reason);
        let errors = self.errors.iter().map(|it| Value::from(it.as_str())).collect();
        error.details = vec![("schema_errors", Value::list(errors))];
        error.attempts = self.checks;
        error.at(&plan.target.provider, &plan.target.model)
    }
}

/// Makes a call and checks its answer, again as often as the plan says. An error is that of the transport.
pub async fn checked(
    plan: &Plan,
    cx: &CallCx,
    handed: Option<Arc<Handed>>,
    deltas: &mut dyn Deltas,
) -> Result<Checked, LlmError> {
    let mut sent = plan.clone();
    let mut checks = 0;
    loop {
        let answer = call::answer(&sent, cx, handed.clone(), deltas).await?;
        checks += 1;
        let mut found = check(plan, &sent, cx, &answer);
        found.checks = checks;
        let Some(schema) = plan.schema.as_ref().filter(|it| it.validation != Validation::Off || it.retries > 0) else {
            return Ok(found);
        };
        if found.errors.is_empty() || u64::from(checks) > schema.retries {
            return Ok(found);
        }
        sent = again(plan, schema, &found.errors, checks, cx);
    }
}

/// The plan of another attempt at an answer that fits: the messages of the first and one more.
fn again(plan: &Plan, schema: &SchemaPlan, errors: &[String], attempt: u32, cx: &CallCx) -> Plan {
    let correction = schema.correction(errors);
    let fields = [
        ("attempt", Value::Int(i64::from(attempt))),
        ("errors", Value::list(errors.iter().map(|it| Value::from(it.as_str())).collect())),
        ("correction_prompt", correction.as_deref().map_or(Value::Nil, Value::from)),
        ("nudge_used", Value::Bool(correction.is_some())),
    ];
    cx.models.trace.emit(&cx.run, "schema_retry", fields);
    let mut next = plan.clone();
    next.request.messages.extend(correction.map(|it| message("user", it)));
    next
}

fn check(plan: &Plan, sent: &Plan, cx: &CallCx, answer: &Answer) -> Checked {
    let mut result = reply::result(&cx.models.config(), sent, answer);
    let text = answer.reply.text.clone();
    let mut checked = Checked {
        result: Dict::new(),
        data: Value::Nil,
        errors: Vec::new(),
        missing_json: false,
        extracted: false,
        text,
        checks: 0,
    };
    if plan.request.json {
        match extract::json_in(&checked.text) {
            Some((data, extracted)) => {
                checked.extracted = extracted;
                if let Some(schema) = &plan.schema {
                    checked.errors = schema::validate(&data, &schema.schema);
                }
                checked.data = data;
            }
            None => {
                checked.missing_json = true;
                checked.errors = vec!["(root): the reply holds no parseable JSON".to_owned()];
            }
        }
        result.insert(Str::from("data"), checked.data.clone());
        let reported = plan.schema.as_ref().is_some_and(|it| it.validation != Validation::Off);
        if reported && !checked.errors.is_empty() {
            let errors = checked.errors.iter().map(|it| Value::from(it.as_str())).collect();
            result.insert(Str::from("schema_errors"), Value::list(errors));
        }
    }
    checked.result = result;
    checked
}

/// Makes a call; an answer that does not fit is an error when the plan says so.
pub async fn call(
    plan: &Plan,
    cx: &CallCx,
    handed: Option<Arc<Handed>>,
    deltas: &mut dyn Deltas,
) -> Result<Dict, LlmError> {
    let checked = checked(plan, cx, handed, deltas).await?;
    let fails = plan.schema.as_ref().is_some_and(|it| it.validation == Validation::Error);
    if fails && !checked.errors.is_empty() { Err(checked.failure(plan)) } else { Ok(checked.result) }
}
