//! Providers over HTTP: credentials, requests, the reading of streams and bodies, the classification of failures. What
//! is said in which protocol is known in one file each; the clients and their connections are those of the library.

mod anthropic;
mod assembly;
mod errors;
mod lines;
mod ollama;
mod openai;

use crate::call::within;
use crate::config::{Config, Fields};
use crate::failure::LlmError;
use crate::messages::{field, items, text_field};
use crate::transport::{CallCx, ChatDelta, ChatReply, ChatRequest, ChatTransport, Deltas, NoDeltas, Pending};
use assembly::Assembly;
use lines::{Framing, Lines};
use madrigal_stdlib::{Run, json};
use madrigal_vm::{Dict, FaultKind, Str, Value};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response, Url};
use std::time::Duration;

/// Longest body that is taken into memory.
const BODY_BYTES_MAX: usize = 64 << 20;

/// The code that speaks to a configured provider.
pub fn transport(name: &str, fields: Fields) -> Box<dyn ChatTransport> {
    Box::new(Endpoint { name: name.to_owned(), fields, key: None })
}

/// Whether a provider is the mock under some name.
pub fn is_mock(config: &Config, name: &str) -> bool {
    config.providers.get(name).is_some_and(|it| it.text("protocol") == Some("mock"))
}

/// Real providers can be switched off by a variable.
pub fn check_enabled(run: &Run) -> Result<(), LlmError> {
    const VARIABLE: &str = "HARN_LLM_CALLS_DISABLED";
    match run.variable(VARIABLE) {
        Some(value) if !value.is_empty() && value != "0" => {
            Err(LlmError::invalid(format!("calls of models are disabled by {VARIABLE}")).because("disabled"))
        }
        _ => Ok(()),
    }
}

/// A sandboxed run has to be granted its providers.
pub fn check_allowed(run: &Run, provider: &str) -> Result<(), LlmError> {
    run.may_ask("llm_call", provider).map_err(|fault| match fault.kind() {
        FaultKind::Categorised { category, text } => LlmError::new(category, text.clone()),
        _ => LlmError::invalid(fault.caught().to_string()),
    })
}

/// The key of a provider: the first of its variables that is set, read anew each time.
pub fn key(run: &Run, fields: &Fields) -> Option<String> {
    let variables = items(fields.get("auth_env"));
    variables.iter().filter_map(|it| run.variable(&it.display())).find(|it| !it.is_empty())
}

/// How a provider wants to be given the key; a local one without a key wants none.
pub fn auth_style<'a>(run: &Run, name: &str, fields: &'a Fields) -> &'a str {
    let style = fields.text("auth_style").unwrap_or("bearer");
    if name == "local" && key(run, fields).is_none() { "none" } else { style }
}

/// The base URL of a provider, by its variable or its field, without a slash at the end.
pub fn base_url(run: &Run, name: &str, fields: &Fields) -> Option<String> {
    let variable = fields.text("base_url_env").and_then(|it| run.variable(it)).filter(|it| !it.trim().is_empty());
    let mut url = variable.or_else(|| fields.text("base_url").map(str::to_owned))?.trim().to_owned();
    if !url.contains("://") {
        url.insert_str(0, "http://");
    }
    let trimmed = url.trim_end_matches('/');
    let without = trimmed.strip_suffix("/v1").unwrap_or(trimmed);
    Some(match (name, fields.text("protocol")) {
        (_, Some("ollama")) => without.to_owned(),
        ("local", _) => format!("{without}/v1"),
        _ => trimmed.to_owned(),
    })
}

/// A provider that is reached over HTTP.
pub struct Endpoint {
    name: String,
    fields: Fields,
    /// Given by the call instead of the environment.
    key: Option<String>,
}

/// One way of talking.
trait Wire: Send + Sync {
    fn framing(&self) -> Framing;
    fn path<'a>(&self, fields: &'a Fields) -> &'a str;
    fn body(&self, request: &ChatRequest) -> Result<Dict, LlmError>;
    /// Takes one event of a stream; the pieces it brings.
    fn event(&self, data: &str, into: &mut Assembly) -> Result<Vec<ChatDelta>, LlmError>;
    /// Takes a whole body.
    fn whole(&self, body: &Value, into: &mut Assembly) -> Result<(), LlmError>;
    /// Options that the protocol has no field for.
    fn ignores(&self) -> &'static [&'static str];
}

impl Endpoint {
    /// An endpoint with a key of its own.
    pub fn with_key(name: &str, fields: Fields, key: Option<String>) -> Endpoint {
        Endpoint { name: name.to_owned(), fields, key }
    }

    fn wire(&self) -> Box<dyn Wire> {
        match self.fields.text("protocol") {
            Some("anthropic") => Box::new(anthropic::Anthropic),
            Some("ollama") => Box::new(ollama::Ollama),
            _ => Box::new(openai::OpenAi { own: self.name == "openai" }),
        }
    }

    fn limit(&self, name: &str, default: u64) -> Duration {
        Duration::from_millis(self.fields.count(name).unwrap_or(default))
    }

    fn url(&self, run: &Run, path: &str) -> Result<Url, LlmError> {
        let base = base_url(run, &self.name, &self.fields);
        let base = base.ok_or_else(|| LlmError::invalid(format!("the provider '{}' has no base_url", self.name)))?;
        let text = format!("{base}/{}", path.trim_start_matches('/'));
        Url::parse(&text).map_err(|error| LlmError::invalid(format!("{text}: {error}")))
    }

    fn headers(&self, run: &Run, extra: &Dict) -> Result<HeaderMap, LlmError> {
        let mut headers = HeaderMap::new();
        let mut set = |name: &str, value: &str, secret: bool| {
            let parsed = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value));
            let (Ok(name), Ok(mut value)) = parsed else {
                return Err(LlmError::invalid(format!("the header '{name}' has a name or value that HTTP forbids")));
            };
            value.set_sensitive(secret);
            headers.insert(name, value);
            Ok(())
        };
        set("content-type", "application/json", false)?;
        if self.fields.text("protocol") == Some("anthropic") {
            set("anthropic-version", "2023-06-01", false)?;
        }
        let style = if self.key.is_some() {
            self.fields.text("auth_style").unwrap_or("bearer")
        } else {
            auth_style(run, &self.name, &self.fields)
        };
        if style != "none" {
            let key = self.key.clone().or_else(|| key(run, &self.fields)).ok_or_else(|| self.missing_key())?;
            match style {
                "header" => set(self.fields.text("auth_header").unwrap_or("x-api-key"), &key, true)?,
                _ => set("authorization", &format!("Bearer {key}"), true)?,
            }
        }
        let configured = match self.fields.get("headers") {
            Some(Value::Dict(it)) => it.clone(),
            _ => Dict::new(),
        };
        for (name, value) in configured.iter().chain(extra.iter()) {
            set(name, &value.display(), true)?;
        }
        Ok(headers)
    }

    fn missing_key(&self) -> LlmError {
        let tried: Vec<_> = items(self.fields.get("auth_env")).iter().map(ToString::to_string).collect();
        let tried = if tried.is_empty() { "no variable is configured".to_owned() } else { tried.join(", ") };
        LlmError::new("auth", format!("no API key for the provider '{}' (tried: {tried})", self.name))
            .because("missing_key")
    }

    /// Sends a request and gives the answer with its head read; statuses that are no success are errors.
    async fn open(
        &self,
        cx: &CallCx,
        method: Method,
        path: &str,
        body: Option<String>,
        extra: &Dict,
    ) -> Result<Response, LlmError> {
        let url = self.url(&cx.run, path)?;
        let headers = self.headers(&cx.run, extra)?;
        let mut options = Dict::new();
        let connect = self.fields.count("connect_timeout_ms").unwrap_or(10_000);
        options.insert(Str::from("connect_timeout_ms"), Value::Int(connect as i64));
        if let Some(file) = self.fields.get("tls").and_then(|it| text_field(it, "ca_file")) {
            options.insert(Str::from("tls"), Value::dict([("ca_bundle_path", Value::from(file))]));
        }
        let client = madrigal_stdlib::http::shared_client(&cx.run, &url, &options)
            .map_err(|fault| LlmError::new("transient_network", fault.caught().to_string()))?;
        let mut request = reqwest::Request::new(method, url);
        *request.headers_mut() = headers;
        *request.body_mut() = body.map(Into::into);
        let limit = self.limit("first_byte_timeout_ms", 60_000);
        let expired = || self.expired("first_byte", "no answer began", limit);
        let sent = async { cx.run.external(client.execute(request)).await.map_err(|error| errors::of_send(&error)) };
        let response = within(cx, limit, sent, expired).await.map_err(|error| self.named(error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = self.read_body(cx, response).await.unwrap_or_default();
        Err(self.named(errors::of_response(status, &headers, &body, cx.run.now_ms())))
    }

    fn expired(&self, reason: &str, what: &str, limit: Duration) -> LlmError {
        LlmError::new("timeout", format!("{what} within {} ms", limit.as_millis())).because(reason)
    }

    /// Names the provider in the message.
    fn named(&self, error: LlmError) -> LlmError {
        error.with(|it| it.message = format!("{}: {}", self.name, it.message))
    }

    async fn read_body(&self, cx: &CallCx, mut response: Response) -> Result<String, LlmError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = cx.run.external(response.chunk()).await.map_err(|it| errors::of_body(&it))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > BODY_BYTES_MAX {
                return Err(LlmError::new("server_error", "the answer is longer than 64 MiB").because("too_large"));
            }
        }
        String::from_utf8(bytes)
            .map_err(|_| LlmError::new("server_error", "the answer is not UTF-8").because("malformed_chunk"))
    }

    async fn exchange(
        &self,
        request: &ChatRequest,
        cx: &CallCx,
        deltas: &mut dyn Deltas,
        wire: &dyn Wire,
    ) -> Result<ChatReply, LlmError> {
        for key in wire.ignores() {
            if request.settings.has(key) {
                let fields = [("option", Value::from(*key)), ("provider", Value::from(self.name.as_str()))];
                cx.models.trace.warn(&cx.run, "llm.option_ignored", fields);
            }
        }
        let mut body = wire.body(request)?;
        for (key, value) in request.extra_body.iter() {
            body.insert(key.clone(), value.clone());
        }
        let body = json::stringify(&Value::Dict(body));
        let path = wire.path(&self.fields).to_owned();
        let response = self.open(cx, Method::POST, &path, Some(body), &request.headers).await?;
        let mut assembly = Assembly::new(request);
        assembly.reply.request_id = errors::request_id(response.headers());
        if request.stream {
            self.read_stream(cx, response, deltas, wire, &mut assembly).await?;
        } else {
            let text = self.read_body(cx, response).await.map_err(|error| self.named(error))?;
            let body = json::parse(&text).map_err(|error| self.named(errors::malformed(&error)))?;
            if let Some(error) = field(&body, "error") {
                return Err(self.named(errors::of_object(error)));
            }
            wire.whole(&body, &mut assembly)?;
            assembly.reply.first_token_at = Some(cx.run.now_monotonic());
        }
        let whole = !request.stream;
        let (reply, calls) = assembly.finish();
        if whole && !reply.text.is_empty() {
            deltas.take(ChatDelta::Text(reply.text.clone())).await?;
        }
        for call in calls {
            deltas.take(ChatDelta::ToolCall(call)).await?;
        }
        if reply.is_empty() && reply.tokens.output.unwrap_or(0) > 0 {
            let message = format!("the model reported output tokens but delivered no content ({})", request.model);
            return Err(self.named(LlmError::new("server_error", message).because("empty_completion")));
        }
        Ok(reply)
    }

    async fn read_stream(
        &self,
        cx: &CallCx,
        mut response: Response,
        deltas: &mut dyn Deltas,
        wire: &dyn Wire,
        assembly: &mut Assembly,
    ) -> Result<(), LlmError> {
        let idle = cx.idle_timeout.unwrap_or_else(|| self.limit("idle_timeout_ms", 30_000));
        let mut lines = Lines::new(wire.framing());
        let mut received = 0;
        loop {
            let chunk = within(
                cx,
                idle,
                async { cx.run.external(response.chunk()).await.map_err(|error| errors::of_body(&error)) },
                || self.expired("idle", "the stream was silent, nothing came", idle),
            )
            .await;
            let chunk = match chunk {
                Ok(Some(chunk)) => chunk,
                // What was said to be complete is complete, however the connection ended.
                _ if assembly.finished => return Ok(()),
                Ok(None) => {
                    let cut = LlmError::new("transient_network", "the stream ended before the answer was complete");
                    return Err(self.broken(cut.because("truncated_stream"), assembly));
                }
                Err(error) => return Err(self.broken(error, assembly)),
            };
            received += chunk.len();
            if received > BODY_BYTES_MAX {
                let long = LlmError::new("server_error", "the answer is longer than 64 MiB").because("too_large");
                return Err(self.broken(long, assembly));
            }
            lines.push(&chunk);
            while let Some(event) = lines.next().map_err(|error| self.broken(error, assembly))? {
                if event == "[DONE]" {
                    assembly.finished = true;
                    return Ok(());
                }
                let pieces = wire.event(&event, assembly).map_err(|error| self.broken(error, assembly))?;
                for piece in pieces {
                    assembly.reply.first_token_at.get_or_insert_with(|| cx.run.now_monotonic());
                    deltas.take(piece).await?;
                }
                if assembly.closed {
                    return Ok(());
                }
            }
        }
    }

    fn broken(&self, error: LlmError, assembly: &Assembly) -> LlmError {
        self.named(error).with(|it| it.partial_text = Some(assembly.reply.text.clone()))
    }

    /// The whole exchange within the provider's time limit.
    async fn limited(
        &self,
        request: &ChatRequest,
        cx: &CallCx,
        deltas: &mut dyn Deltas,
        wire: &dyn Wire,
    ) -> Result<ChatReply, LlmError> {
        let limit = self.limit("timeout_ms", 120_000);
        let expired = || self.named(self.expired("timeout", "no complete answer came", limit));
        within(cx, limit, self.exchange(request, cx, deltas, wire), expired).await
    }

    /// Ids of the models that are served.
    pub async fn models(&self, cx: &CallCx) -> Result<Vec<String>, LlmError> {
        let is_ollama = self.fields.text("protocol") == Some("ollama");
        let path = if is_ollama { "/api/tags" } else { "/models" };
        let response = self.open(cx, Method::GET, path, None, &Dict::new()).await?;
        let text = self.read_body(cx, response).await.map_err(|error| self.named(error))?;
        let body = json::parse(&text).map_err(|error| self.named(errors::malformed(&error)))?;
        let (list, name) = if is_ollama { ("models", "name") } else { ("data", "id") };
        Ok(items(field(&body, list)).iter().filter_map(|it| text_field(it, name)).map(str::to_owned).collect())
    }

    /// Loads a model where that is something to ask for.
    pub async fn warm(&self, cx: &CallCx, model: &str) -> Result<(), LlmError> {
        if self.fields.text("protocol") != Some("ollama") {
            return Ok(());
        }
        let body = Value::dict([("model", Value::from(model)), ("stream", Value::Bool(false))]);
        let body = Some(json::stringify(&body));
        let response = self.open(cx, Method::POST, "/api/generate", body, &Dict::new()).await?;
        self.read_body(cx, response).await.map(drop)
    }
}

impl ChatTransport for Endpoint {
    fn chat<'a>(
        &'a self,
        request: &'a ChatRequest,
        cx: &'a CallCx,
        deltas: &'a mut dyn Deltas,
    ) -> Pending<'a, Result<ChatReply, LlmError>> {
        Box::pin(async move {
            let wire = self.wire();
            self.limited(request, cx, deltas, &*wire).await
        })
    }

    fn complete<'a>(&'a self, request: &'a ChatRequest, cx: &'a CallCx) -> Pending<'a, Result<ChatReply, LlmError>> {
        Box::pin(async move {
            let wire: Box<dyn Wire> = match self.fields.text("protocol") {
                Some("ollama") => Box::new(ollama::Generate),
                _ => Box::new(openai::Completions),
            };
            self.limited(request, cx, &mut NoDeltas, &*wire).await
        })
    }

    fn completes(&self) -> bool {
        match self.fields.text("protocol") {
            Some("ollama") => true,
            Some("anthropic") => false,
            _ => self.fields.text("completion_endpoint").is_some(),
        }
    }

    fn list_models<'a>(&'a self, cx: &'a CallCx) -> Pending<'a, Result<Vec<String>, LlmError>> {
        Box::pin(self.models(cx))
    }
}
