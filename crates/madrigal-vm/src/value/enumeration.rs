//! Enum values, `Result` among them.

use super::display::drop_deep;
use super::{Str, Value};
use triomphe::Arc;

/// A variant of an enum with its fields.
#[derive(Clone, Debug)]
pub struct EnumValue(Arc<Variant>);

#[derive(Debug)]
struct Variant {
    /// `None` is `Result`.
    name: Option<Str>,
    variant: Case,
    fields: Vec<Value>,
}

#[derive(Clone, Debug)]
enum Case {
    Ok,
    Err,
    Named(Str),
}

impl EnumValue {
    /// `name.variant(fields)`.
    pub fn new(name: &Str, variant: &Str, fields: Vec<Value>) -> EnumValue {
        let case = |variant: &Str| Case::Named(variant.clone());
        let (name, variant) = match (name.as_str(), variant.as_str()) {
            ("Result", "Ok") => (None, Case::Ok),
            ("Result", "Err") => (None, Case::Err),
            ("Result", _) => (None, case(variant)),
            _ => (Some(name.clone()), case(variant)),
        };
        EnumValue(Arc::new(Variant { name, variant, fields }))
    }

    /// `Result.Ok(value)`.
    pub fn ok(value: Value) -> EnumValue {
        EnumValue(Arc::new(Variant { name: None, variant: Case::Ok, fields: vec![value] }))
    }

    /// `Result.Err(value)`.
    pub fn err(value: Value) -> EnumValue {
        EnumValue(Arc::new(Variant { name: None, variant: Case::Err, fields: vec![value] }))
    }

    /// Name of the enum.
    pub fn name(&self) -> &str {
        self.0.name.as_ref().map_or("Result", Str::as_str)
    }

    /// Name of the variant.
    pub fn variant(&self) -> &str {
        match &self.0.variant {
            Case::Ok => "Ok",
            Case::Err => "Err",
            Case::Named(name) => name,
        }
    }

    /// The payload.
    pub fn fields(&self) -> &[Value] {
        &self.0.fields
    }

    /// Whether it is a `Result`.
    pub fn is_result(&self) -> bool {
        self.0.name.is_none()
    }

    /// The payload of `Result.Ok` (nil when it has none), or that of `Result.Err`; `None` for other enums.
    pub fn as_result(&self) -> Option<Result<Value, Value>> {
        let payload = || self.0.fields.first().cloned().unwrap_or_default();
        match (&self.0.name, &self.0.variant) {
            (None, Case::Ok) => Some(Ok(payload())),
            (None, Case::Err) => Some(Err(payload())),
            _ => None,
        }
    }
}

impl Drop for Variant {
    fn drop(&mut self) {
        if self.fields.iter().any(|it| !it.is_immediate()) {
            drop_deep(std::mem::take(&mut self.fields));
        }
    }
}
