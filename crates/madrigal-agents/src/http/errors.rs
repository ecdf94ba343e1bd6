//! Failures of providers over HTTP, made into categories: by status and structured fields first, by the text of the
//! body only for what nothing else tells.

use crate::failure::{LlmError, category_of_status};
use crate::messages::{field, text_field};
use madrigal_stdlib::{http::with_causes, json};
use madrigal_vm::Value;
use reqwest::header::HeaderMap;

/// Texts that say the prompt was too long.
const OVERFLOW: [&str; 6] = [
    "prompt is too long",
    "maximum context length",
    "context length",
    "context window",
    "too many tokens",
    "input is too long",
];

/// Texts that say the content was refused.
const POLICY: [&str; 4] = ["content policy", "content management policy", "content_filter", "safety system"];

/// A request that got no answer.
pub fn of_send(error: &reqwest::Error) -> LlmError {
    let text = with_causes(error);
    if error.is_timeout() {
        let reason = if error.is_connect() { "connect" } else { "timeout" };
        return LlmError::new("timeout", text).because(reason);
    }
    let lower = text.to_lowercase();
    let dns = lower.contains("dns") || lower.contains("failed to lookup");
    LlmError::new("transient_network", text).because(if dns { "dns" } else { "network_error" })
}

/// An answer that broke off.
pub fn of_body(error: &reqwest::Error) -> LlmError {
    let reason = "truncated_stream";
    LlmError::new("transient_network", format!("the answer broke off: {}", with_causes(error))).because(reason)
}

/// A chunk or body that is not what the protocol says.
pub fn malformed(what: &str) -> LlmError {
    LlmError::new("server_error", format!("malformed answer: {what}")).because("malformed_chunk")
}

/// The provider's name of a request.
pub fn request_id(headers: &HeaderMap) -> Option<String> {
    let id = ["x-request-id", "request-id"].into_iter().find_map(|it| headers.get(it))?;
    id.to_str().ok().map(str::to_owned)
}

/// An answer with a status that is no success.
pub fn of_response(status: u16, headers: &HeaderMap, body: &str, now_ms: i64) -> LlmError {
    let parsed = json::parse(body).unwrap_or_default();
    let object = field(&parsed, "error").cloned().unwrap_or(parsed);
    let said = text_field(&object, "message").or_else(|| object.as_str()).unwrap_or(body).trim();
    let message = if said.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}: {said}") };
    let mut error = match by_fields(&object) {
        Some((category, reason)) => LlmError::new(category, message).because(reason),
        None => match by_text(status, body) {
            Some(category) => LlmError::new(category, message),
            None => LlmError::new(category_of_status(status), message),
        },
    };
    if status == 401 || status == 403 {
        error = LlmError::new("auth", error.message.as_str());
    }
    error.status = Some(status);
    error.retry_after_ms = retry_after(headers, now_ms);
    error.request_id = request_id(headers);
    error
}

/// An error object within an answer that began well.
pub fn of_object(object: &Value) -> LlmError {
    let message = text_field(object, "message").map_or_else(|| json::stringify(object), str::to_owned);
    if let Some((category, reason)) = by_fields(object) {
        return LlmError::new(category, message).because(reason);
    }
    let status = field(object, "code").or_else(|| field(object, "status")).and_then(Value::as_int);
    match status.and_then(|it| u16::try_from(it).ok()).filter(|it| (400..600).contains(it)) {
        Some(status) => {
            let category = by_text(status, &message).unwrap_or_else(|| category_of_status(status));
            LlmError::new(category, message).with(|it| it.status = Some(status))
        }
        None => LlmError::new("server_error", message),
    }
}

/// Category and reason by the type or code that a provider gives.
fn by_fields(object: &Value) -> Option<(&'static str, &'static str)> {
    let words = [text_field(object, "code"), text_field(object, "type")];
    words.into_iter().flatten().find_map(|word| {
        Some(match word {
            "insufficient_quota" | "billing_hard_limit_reached" | "billing_error" => ("rate_limit", "quota"),
            "rate_limit_exceeded" | "rate_limit_error" | "tokens" | "requests" => ("rate_limit", "rate_limit"),
            "overloaded_error" => ("overloaded", "server_error"),
            "context_length_exceeded" => ("context_overflow", "context_overflow"),
            "content_policy_violation" | "content_filter" => ("content_filter", "content_policy"),
            "authentication_error" | "permission_error" | "invalid_api_key" => ("auth", "auth_failure"),
            "not_found_error" | "model_not_found" => ("not_found", "model_unavailable"),
            "api_error" | "server_error" | "internal_server_error" => ("server_error", "server_error"),
            "timeout_error" => ("timeout", "timeout"),
            _ => return None,
        })
    })
}

fn by_text(status: u16, body: &str) -> Option<&'static str> {
    if !matches!(status, 400 | 413 | 422) {
        return None;
    }
    let lower = body.to_lowercase();
    if OVERFLOW.iter().any(|it| lower.contains(it)) {
        return Some("context_overflow");
    }
    POLICY.iter().any(|it| lower.contains(it)).then_some("content_filter")
}

/// How long the server wants us to wait.
fn retry_after(headers: &HeaderMap, now_ms: i64) -> Option<u64> {
    let text = |name: &str| headers.get(name).and_then(|it| it.to_str().ok()).map(str::trim);
    let millis = |it: f64| if it.is_finite() && it >= 0.0 { Some(it.ceil() as u64) } else { None };
    if let Some(found) = text("retry-after-ms").and_then(|it| it.parse::<f64>().ok()).and_then(millis) {
        return Some(found);
    }
    let value = text("retry-after")?;
    match value.parse::<f64>() {
        Ok(seconds) => millis(seconds * 1000.0),
        Err(_) => http_date(value).map(|at| u64::try_from(at.saturating_sub(now_ms)).unwrap_or(0)),
    }
}

/// Unix milliseconds of an HTTP date such as `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut parts = text.split_whitespace().skip(1);
    let day: i64 = parts.next()?.parse().ok()?;
    let month = parts.next().and_then(|name| MONTHS.iter().position(|it| *it == name))? as i64 + 1;
    let year: i64 = parts.next()?.parse().ok()?;
    let mut clock = parts.next()?.split(':').map(|it| it.parse::<i64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let plausible = (1..=31).contains(&day) && (1970..=9999).contains(&year);
    // Days since 1970, by counting from the first of March.
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 306 + 5) / 10 + day - 1 - 719_468;
    plausible.then_some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::{HeaderName, HeaderValue};

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        [(HeaderName::from_static(name), HeaderValue::from_static(value))].into_iter().collect()
    }

    #[test]
    fn hints_come_in_three_forms() {
        assert_eq!(retry_after(&headers("retry-after-ms", "1500"), 0), Some(1500));
        assert_eq!(retry_after(&headers("retry-after", "0.25"), 0), Some(250));
        let date = headers("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(retry_after(&date, 784_111_777_000 - 4000), Some(4000));
        assert_eq!(retry_after(&date, 784_111_778_000), Some(0));
        assert_eq!(retry_after(&headers("retry-after", "soon"), 0), None);
    }

    #[test]
    fn classification_prefers_structure_to_text() {
        let check = |status: u16, body: &str, expected: &str| {
            let error = of_response(status, &HeaderMap::new(), body, 0);
            assert_eq!(format!("{}/{}", error.category, error.reason), expected, "{status} {body}");
        };
        check(429, r#"{"error":{"code":"insufficient_quota","message":"no"}}"#, "rate_limit/quota");
        check(429, "slow down", "rate_limit/rate_limit");
        check(529, r#"{"type":"error","error":{"type":"overloaded_error","message":"x"}}"#, "overloaded/server_error");
        check(400, r#"{"error":{"message":"prompt is too long: 3 tokens"}}"#, "context_overflow/context_overflow");
        check(400, r#"{"error":{"type":"invalid_request_error","message":"x"}}"#, "invalid_request/invalid_request");
        check(400, r#"{"error":{"code":"content_policy_violation"}}"#, "content_filter/content_policy");
        check(401, "context window", "auth/auth_failure");
        check(404, "", "not_found/model_unavailable");
        check(410, "", "not_found/model_unavailable");
        check(524, "", "timeout/timeout");
        check(502, "", "server_error/server_error");
        check(503, "", "overloaded/server_error");
        check(413, "big", "invalid_request/invalid_request");
    }
}
