//! Categories of errors: throwing them and reading them off caught values.

use madrigal_vm::{Args, Cx, Fault, Value};

madrigal_vm::builtins! {
    /// Throws the dict `{message, category}`; an unknown category becomes `generic`.
    "throw_error" (message: string, category: string = "generic") -> never = throw_error;
    /// Thrown values of the failures attached to the equal error that this task received last.
    "error_suppressed" (error: any) -> list = error_suppressed;
    /// The category of a caught error.
    "error_category" (error: any) -> string = error_category;
    /// Whether a caught error is a timeout.
    "is_timeout" (error: any) -> bool = is_timeout;
    /// Whether a caught error is a rate limit.
    "is_rate_limited" (error: any) -> bool = is_rate_limited;
    /// Whether trying again may help.
    "is_transient" (error: any) -> bool = is_transient;
}

const CATEGORIES: [&str; 18] = [
    "timeout",
    "auth",
    "rate_limit",
    "overloaded",
    "server_error",
    "transient_network",
    "schema_validation",
    "tool_error",
    "tool_rejected",
    "egress_blocked",
    "cancelled",
    "not_found",
    "circuit_open",
    "budget_exceeded",
    "generic",
    "invalid_request",
    "context_overflow",
    "content_filter",
];

const TRANSIENT: [&str; 5] = ["rate_limit", "overloaded", "server_error", "timeout", "transient_network"];

/// Phrases of providers, matched as written.
const PHRASES: [(&str, &str); 11] = [
    ("Deadline exceeded", "timeout"),
    ("context deadline exceeded", "timeout"),
    ("overloaded_error", "overloaded"),
    ("api_error", "server_error"),
    ("insufficient_quota", "rate_limit"),
    ("billing_hard_limit_reached", "rate_limit"),
    ("invalid_api_key", "auth"),
    ("authentication_error", "auth"),
    ("not_found_error", "not_found"),
    ("model_not_found", "not_found"),
    ("circuit_open", "circuit_open"),
];

/// Phrases of network failures, matched in lower case.
const NETWORK_PHRASES: [&str; 7] = [
    "connection reset",
    "connection refused",
    "connection closed",
    "broken pipe",
    "dns error",
    "stream error",
    "unexpected eof",
];

/// The category of a caught value.
pub fn category_of(error: &Value) -> String {
    match error {
        Value::Dict(it) => match it.get("category").map(|it| it.display()) {
            None => "generic".to_owned(),
            Some(name) => match name.as_str() {
                "rate_limited" => "rate_limit".to_owned(),
                "network" => "transient_network".to_owned(),
                other => other.to_owned(),
            },
        },
        Value::String(text) => category_of_text(text).to_owned(),
        _ => "generic".to_owned(),
    }
}

fn known(name: &str) -> Option<&'static str> {
    CATEGORIES.into_iter().find(|it| *it == name)
}

fn category_of_text(text: &str) -> &'static str {
    named_category(text)
        .or_else(|| status_codes(text).find_map(category_of_status))
        .or_else(|| PHRASES.iter().find(|(phrase, _)| text.contains(phrase)).map(|it| it.1))
        .unwrap_or_else(|| {
            let lower = text.to_lowercase();
            let network = NETWORK_PHRASES.iter().any(|phrase| lower.contains(phrase));
            if network { "transient_network" } else { "generic" }
        })
}

/// The category a text names at its start.
fn named_category(text: &str) -> Option<&'static str> {
    let bracketed = text.strip_prefix("Error [").and_then(|rest| rest.split_once("]: "));
    let named = bracketed.or_else(|| text.strip_prefix("kind:").and_then(|rest| rest.split_once(':')));
    named.and_then(|(name, _)| known(name))
}

/// The stand-alone three-digit numbers of a text that look like HTTP errors.
fn status_codes(text: &str) -> impl Iterator<Item = u16> + '_ {
    let runs = text.split(|it: char| !it.is_ascii_digit()).filter(|run| run.len() == 3);
    runs.filter_map(|run| run.parse().ok()).filter(|code| (400..600).contains(code))
}

fn category_of_status(code: u16) -> Option<&'static str> {
    Some(match code {
        401 | 403 => "auth",
        404 | 410 => "not_found",
        408 | 504 | 522 | 524 => "timeout",
        429 => "rate_limit",
        503 | 529 => "overloaded",
        500 | 502 => "server_error",
        _ => return None,
    })
}

fn throw_error(_: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    let category = known(&args.string(1)).unwrap_or("generic");
    let error = [("message", Value::String(args.string(0))), ("category", Value::from(category))];
    Err(Fault::thrown(Value::dict(error)))
}

fn error_suppressed(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(Value::list(cx.received.as_ref().map(|it| it.suppressed_by(args.get(0))).unwrap_or_default()))
}

fn error_category(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    Ok(category_of(args.get(0)))
}

fn is_timeout(_: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    Ok(category_of(args.get(0)) == "timeout")
}

fn is_rate_limited(_: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    Ok(category_of(args.get(0)) == "rate_limit")
}

fn is_transient(_: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    Ok(TRANSIENT.contains(&category_of(args.get(0)).as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_classified_first_hit_wins() {
        let check = |text: &str, expected: &str| assert_eq!(category_of(&Value::from(text)), expected, "{text}");
        check("Error [tool_error]: 503", "tool_error");
        check("Error [made_up]: 503", "overloaded");
        check("kind:cancelled:VM cancelled by host", "cancelled");
        check("HTTP 418 then 429", "rate_limit");
        check("id 14290", "generic");
        check("Deadline exceeded", "timeout");
        check("Connection Refused (os error 111)", "transient_network");
        check("", "generic");
    }
}
