//! How model calls fail: the categories, their kinds and reasons, and the dict that scripts catch.

use madrigal_vm::{Dict, Fault, Str, Value};
use std::ops::{Deref, DerefMut};

/// Longest message of an error, in characters.
const MESSAGE_CHARS_MAX: usize = 2000;

/// Why a call of a model failed.
#[derive(Clone, Debug)]
pub struct LlmError(Box<Details>);

/// What is known of a failure.
#[derive(Clone, Debug)]
pub struct Details {
    /// One of [`CATEGORIES`].
    pub category: &'static str,
    /// Finer grained.
    pub reason: String,
    /// For people.
    pub message: String,
    /// What was called.
    pub provider: String,
    /// What was called.
    pub model: String,
    /// HTTP status.
    pub status: Option<u16>,
    /// How long the server wants us to wait.
    pub retry_after_ms: Option<u64>,
    /// Attempts made.
    pub attempts: u32,
    /// The provider's name of the request.
    pub request_id: Option<String>,
    /// Text received before a stream broke.
    pub partial_text: Option<String>,
    /// Whether it is terminal although its category is transient.
    pub terminal: bool,
    /// Fields that only some errors have.
    pub details: Vec<(&'static str, Value)>,
}

/// Every category with whether it is transient and its usual reason.
const CATEGORIES: [(&str, bool, &str); 18] = [
    ("rate_limit", true, "rate_limit"),
    ("overloaded", true, "server_error"),
    ("server_error", true, "server_error"),
    ("timeout", true, "timeout"),
    ("transient_network", true, "network_error"),
    ("auth", false, "auth_failure"),
    ("invalid_request", false, "invalid_request"),
    ("context_overflow", false, "context_overflow"),
    ("content_filter", false, "content_policy"),
    ("not_found", false, "model_unavailable"),
    ("schema_validation", false, "schema_validation"),
    ("budget_exceeded", false, "budget_exceeded"),
    ("circuit_open", false, "circuit_open"),
    ("tool_error", false, "tool_error"),
    ("tool_rejected", false, "tool_rejected"),
    ("egress_blocked", false, "egress_blocked"),
    ("cancelled", false, "cancelled"),
    ("generic", false, "unknown"),
];

/// The category that `name` or its alias means; `generic` for an unknown one.
pub fn category_named(name: &str) -> &'static str {
    let name = match name {
        "rate_limited" => "rate_limit",
        "network" => "transient_network",
        other => other,
    };
    CATEGORIES.iter().find(|it| it.0 == name).map_or("generic", |it| it.0)
}

/// The category of an HTTP status that is no success.
pub fn category_of_status(status: u16) -> &'static str {
    match status {
        401 | 403 => "auth",
        404 | 410 => "not_found",
        408 | 504 | 522 | 524 => "timeout",
        429 => "rate_limit",
        503 | 529 => "overloaded",
        500..=599 => "server_error",
        400..=499 => "invalid_request",
        _ => "generic",
    }
}

impl LlmError {
    /// An error of this category with its usual reason.
    pub fn new(category: &str, message: impl Into<String>) -> LlmError {
        let category = category_named(category);
        let usual = CATEGORIES.iter().find(|it| it.0 == category).map_or("unknown", |it| it.2);
        LlmError(Box::new(Details {
            category,
            reason: usual.to_owned(),
            message: message.into(),
            provider: String::new(),
            model: String::new(),
            status: None,
            retry_after_ms: None,
            attempts: 0,
            request_id: None,
            partial_text: None,
            terminal: false,
            details: Vec::new(),
        }))
    }

    /// The same with something changed.
    pub fn with(mut self, change: impl FnOnce(&mut Details)) -> LlmError {
        change(&mut self.0);
        self
    }

    /// With another reason than the usual one.
    pub fn because(mut self, reason: &str) -> LlmError {
        self.reason = reason.to_owned();
        self.terminal |= matches!(reason, "quota" | "too_large");
        self
    }

    /// What is wrong with the options of a call.
    pub fn invalid(message: impl Into<String>) -> LlmError {
        LlmError::new("invalid_request", message)
    }

    /// An option or capability there is none of.
    pub fn unsupported(message: impl Into<String>) -> LlmError {
        LlmError::invalid(message).because("unsupported")
    }

    /// Says what was called, unless that is known.
    pub fn at(mut self, provider: &str, model: &str) -> LlmError {
        if self.provider.is_empty() {
            self.provider = provider.to_owned();
        }
        if self.model.is_empty() {
            self.model = model.to_owned();
        }
        self
    }

    /// Whether another attempt may help.
    pub fn is_transient(&self) -> bool {
        !self.terminal && CATEGORIES.iter().any(|it| it.0 == self.category && it.1)
    }

    /// What a `catch` binds.
    pub fn to_value(&self) -> Value {
        let message: String = self.message.chars().take(MESSAGE_CHARS_MAX).collect();
        let mut fields: Dict = [
            ("category", Value::from(self.category)),
            ("kind", Value::from(if self.is_transient() { "transient" } else { "terminal" })),
            ("reason", Value::from(self.reason.as_str())),
            ("message", Value::from(message)),
            ("provider", Value::from(self.provider.as_str())),
            ("model", Value::from(self.model.as_str())),
            ("attempts", Value::Int(i64::from(self.attempts))),
        ]
        .into_iter()
        .map(|(name, value)| (Str::from(name), value))
        .collect();
        let optional = [
            ("status", self.status.map(|it| Value::Int(i64::from(it)))),
            ("retry_after_ms", self.retry_after_ms.map(|it| Value::Int(i64::try_from(it).unwrap_or(i64::MAX)))),
            ("request_id", self.request_id.as_deref().map(Value::from)),
            ("partial_text", self.partial_text.as_deref().map(Value::from)),
        ];
        let details = self.details.iter().map(|(name, value)| (*name, Some(value.clone())));
        for (name, value) in optional.into_iter().chain(details) {
            if let Some(value) = value {
                fields.insert(Str::from(name), value);
            }
        }
        Value::Dict(fields)
    }

    /// The error of a closure that stands for a provider: a dict with a category keeps it.
    pub fn of_thrown(thrown: &Value) -> LlmError {
        let Value::Dict(dict) = thrown else { return LlmError::new("generic", thrown.to_string()) };
        let text = |key: &str| dict.get(key).filter(|it| !it.is_nil()).map(|it| it.to_string());
        let category = madrigal_stdlib::category_of(thrown);
        let mut error = LlmError::new(&category, text("message").unwrap_or_else(|| thrown.to_string()));
        if let Some(reason) = text("reason") {
            error = error.because(&reason);
        }
        error
    }
}

impl Deref for LlmError {
    type Target = Details;

    fn deref(&self) -> &Details {
        &self.0
    }
}

impl DerefMut for LlmError {
    fn deref_mut(&mut self) -> &mut Details {
        &mut self.0
    }
}

impl From<LlmError> for Fault {
    fn from(error: LlmError) -> Fault {
        Fault::thrown(error.to_value())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_of_categories_are_read_and_never_written() {
        assert_eq!(LlmError::new("rate_limited", "").category, "rate_limit");
        assert_eq!(LlmError::new("network", "").category, "transient_network");
        assert_eq!(LlmError::new("made_up", "").category, "generic");
    }

    #[test]
    fn a_quota_is_terminal_although_rate_limits_are_transient() {
        assert!(LlmError::new("rate_limit", "").is_transient());
        assert!(!LlmError::new("rate_limit", "").because("quota").is_transient());
        assert!(!LlmError::new("server_error", "").because("too_large").is_transient());
    }

    #[test]
    fn absent_fields_are_left_out() {
        let shown = LlmError::new("auth", "no").at("p", "m").to_value().to_string();
        let expected =
            "{attempts: 0, category: auth, kind: terminal, message: no, model: m, provider: p, reason: auth_failure}";
        assert_eq!(shown, expected);
    }
}
