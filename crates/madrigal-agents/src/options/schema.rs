//! The options about what an answer has to look like.

use super::Reader;
use crate::failure::LlmError;
use crate::schema::to_json_schema;
use madrigal_stdlib::json;
use madrigal_vm::Value;

/// What happens to an answer that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validation {
    /// Nothing.
    Off,
    /// The errors are reported beside the answer.
    Warn,
    /// The call fails.
    Error,
}

/// What a retry says about the mistakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nudge {
    /// Nothing: the messages are sent again as they were.
    Silent,
    /// The mistakes, after this sentence.
    Says(String),
}

/// What an answer has to look like.
#[derive(Clone, Debug)]
pub struct SchemaPlan {
    /// JSON Schema.
    pub schema: Value,
    /// What happens to an answer that does not fit.
    pub validation: Validation,
    /// How often to ask again.
    pub retries: u64,
    /// What asking again says.
    pub nudge: Nudge,
}

/// How a message about mistakes begins.
const NUDGE: &str = "Your previous reply did not match the required JSON schema.";

impl SchemaPlan {
    /// From the options; none without a schema.
    pub(super) fn of(read: &Reader<'_>) -> Result<Option<SchemaPlan>, LlmError> {
        let given = given(read)?;
        // JSON of any shape is checked as well when the call says what to do about an answer that is none.
        let any_shape = given.is_none() && read.wants_json()?;
        let schema = match given {
            Some(schema) => to_json_schema(&schema).map_err(LlmError::invalid)?,
            None if any_shape => Value::dict::<&str>([]),
            None => return Ok(None),
        };
        let validation = match read.text("output_validation")?.as_deref() {
            None if any_shape => Validation::Off,
            None | Some("warn") => Validation::Warn,
            Some("off") => Validation::Off,
            Some("error") => Validation::Error,
            Some(other) => {
                return Err(LlmError::invalid(format!("output_validation must be off, warn or error, not '{other}'")));
            }
        };
        let nudge = match read.some("schema_retry_nudge") {
            None | Some(Value::Bool(true)) => Nudge::Says(NUDGE.to_owned()),
            Some(Value::Bool(false)) => Nudge::Silent,
            Some(Value::String(text)) => Nudge::Says(text.to_string()),
            Some(other) => {
                return Err(LlmError::invalid(format!(
                    "schema_retry_nudge must be a bool or a string, got {}",
                    other.type_name()
                )));
            }
        };
        Ok(Some(SchemaPlan { schema, validation, retries: read.count("schema_retries")?.unwrap_or(0), nudge }))
    }

    /// What models are told that take no schema; nothing when any shape will do.
    pub fn instruction(&self) -> Option<String> {
        let text = json::stringify(&self.schema);
        (text != "{}").then(|| format!("Reply with nothing but JSON that matches this JSON schema: {text}"))
    }

    /// The message about the mistakes of a reply.
    pub fn correction(&self, errors: &[String]) -> Option<String> {
        const SHOWN_MAX: usize = 5;
        const SCHEMA_BYTES_MAX: usize = 4096;
        let Nudge::Says(lead) = &self.nudge else { return None };
        let mut text = format!("{lead}\nErrors against the schema:");
        for error in errors.iter().take(SHOWN_MAX) {
            text.push_str("\n- ");
            text.push_str(error);
        }
        let schema = json::stringify(&self.schema);
        if schema.len() < SCHEMA_BYTES_MAX {
            text.push_str("\nThe schema: ");
            text.push_str(&schema);
        }
        text.push_str("\nReply with the corrected JSON only.");
        Some(text)
    }
}

/// The schema, by whichever of its names it is given.
fn given(read: &Reader<'_>) -> Result<Option<Value>, LlmError> {
    let format = read.dict("output_format")?;
    let in_format = match &format {
        Some(format) => {
            let inner = Reader(format);
            let schema = inner.some("schema").cloned();
            if inner.text("kind")?.as_deref() == Some("json_schema") && schema.is_none() {
                return Err(LlmError::invalid("output_format of kind json_schema needs a schema"));
            }
            schema
        }
        None => None,
    };
    let named = ["schema", "output_schema", "json_schema"].into_iter().filter_map(|it| read.some(it)).cloned();
    let mut all = named.chain(in_format);
    let Some(first) = all.next() else { return Ok(None) };
    if all.any(|it| it != first) {
        return Err(LlmError::invalid("schema, output_schema, json_schema and output_format give different schemas"));
    }
    Ok(Some(first))
}
