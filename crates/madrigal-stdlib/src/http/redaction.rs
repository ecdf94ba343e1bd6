//! Keeps secrets out of what is recorded and reported: credential headers and credential query parameters.

use madrigal_vm::Dict;

const HEADERS: [&str; 9] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "x-api-key",
    "api-key",
    "x-auth-token",
    "x-csrf-token",
    "x-xsrf-token",
];

const PARAMETERS: [&str; 9] =
    ["api_key", "apikey", "access_token", "refresh_token", "id_token", "client_secret", "password", "secret", "token"];

/// Whether a header carries credentials; the name is in lower case.
pub(super) fn is_secret_header(name: &str) -> bool {
    HEADERS.contains(&name)
}

fn is_secret_parameter(name: &str) -> bool {
    let name = name.to_lowercase();
    PARAMETERS.contains(&name.as_str()) || name.ends_with("_token") || name.ends_with("_secret")
}

/// The URL with the values of secret parameters replaced; all else stays as written.
pub(crate) fn redacted_url(url: &str) -> String {
    let Some((before, rest)) = url.split_once('?') else { return url.to_owned() };
    let (query, fragment) = rest.find('#').map_or((rest, ""), |at| rest.split_at(at));
    let pair = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if is_secret_parameter(&decoded(name)) => format!("{name}=%5Bredacted%5D"),
        _ => pair.to_owned(),
    };
    let pairs: Vec<String> = query.split('&').map(pair).collect();
    format!("{before}?{}{fragment}", pairs.join("&"))
}

fn decoded(name: &str) -> String {
    url::form_urlencoded::parse(name.as_bytes()).next().map_or(String::new(), |(name, _)| name.into_owned())
}

/// Whether `http_mock_calls(options)` asks for secrets as they are.
pub(super) fn shows_secrets(options: Option<&Dict>) -> bool {
    let option = |key: &str| options.and_then(|it| it.get(key)).filter(|it| !it.is_nil());
    let is = |key: &str, wanted: bool| option(key).is_some_and(|it| it.is_truthy() == wanted);
    is("redact_sensitive", false)
        || is("redact_headers", false)
        || is("include_sensitive", true)
        || is("include_sensitive_headers", true)
}
