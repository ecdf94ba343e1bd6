//! The builtins that look at what is configured, and `provider_register`.

use crate::builtins::call_cx;
use crate::call::within;
use crate::capabilities::Capabilities;
use crate::config::{Alias, Config, Fields, TIERS, Target};
use crate::failure::LlmError;
use crate::http;
use crate::job::job;
use crate::messages::{field, some};
use crate::models::{Models, host};
use crate::options::ToolFormat;
use crate::redact::HIDDEN;
use crate::transport::CallCx;
use madrigal_stdlib::Run;
use madrigal_vm::{Args, Cx, Dict, Fault, Str, Value};
use std::sync::Arc;
use std::time::Duration;

madrigal_vm::builtins! {
    /// Names of all providers.
    "llm_providers" () -> list = llm_providers;
    /// How a provider is configured; nil for an unknown one.
    "llm_config" (provider: string) -> dict = llm_config;
    /// Providers whose credentials are there or not needed.
    "llm_available_providers" () -> list = llm_available_providers;
    /// The provider that a model's name leads to.
    "llm_infer_provider" (model: string) -> string = llm_infer_provider;
    /// What a name of a model means.
    "llm_resolve_model" (model: string) -> dict = llm_resolve_model;
    /// The same, with what is known of the model.
    "llm_model_info" (model: string) -> dict = llm_model_info;
    /// The tier of a model.
    "llm_model_tier" (model: string) -> string = llm_model_tier;
    /// The model for a tier or name.
    "llm_pick_model" (tier: string) -> dict = llm_pick_model;
    /// Aliases and configured models.
    "llm_known_models" () -> list = llm_known_models;
    /// Everything that is configured, each value with its layer.
    "llm_provider_catalog" () -> dict = llm_provider_catalog;
    /// What a model can do.
    "provider_capabilities" (provider: string, model: string) -> dict = provider_capabilities;
    /// Adds a provider, or lays fields over one, for this run.
    "provider_register" (name: string, fields: dict) -> nil = provider_register;
    /// What a call without options goes to.
    "llm_info" () -> dict = llm_info;
    /// The events of models and agents in this run, oldest first.
    "agent_trace" () -> list = agent_trace;
    /// A job that asks a provider whether it works.
    "__llm_healthcheck" (provider: any, options: dict) -> any = llm_healthcheck;
}

fn state(cx: &mut Cx<'_>) -> (Arc<Run>, Arc<Models>, Arc<Config>) {
    let run = host(cx).run.clone();
    let models = Models::of(&run);
    let config = models.config();
    (run, models, config)
}

fn names<'a>(names: impl IntoIterator<Item = &'a str>) -> Value {
    Value::list(names.into_iter().map(Value::from).collect())
}

fn llm_providers(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Value, Fault> {
    Ok(names(state(cx).2.providers.keys().map(String::as_str)))
}

/// A provider with its effective base URL and without secrets.
fn provider_value(run: &Run, name: &str, fields: &Fields) -> Dict {
    let mut shown = fields.to_dict();
    put(&mut shown, "name", Value::from(name));
    if let Some(url) = http::base_url(run, name, fields) {
        put(&mut shown, "base_url", Value::from(url));
    }
    if let Some(Value::Dict(headers)) = fields.get("headers") {
        let hidden = headers.keys().map(|key| (key.clone(), Value::from(HIDDEN)));
        put(&mut shown, "headers", Value::Dict(hidden.collect()));
    }
    put(&mut shown, "auth_style", Value::from(http::auth_style(run, name, fields)));
    let key = http::key(run, fields);
    put(&mut shown, "api_key", key.map_or(Value::Nil, |_| Value::from(HIDDEN)));
    shown
}

fn put(fields: &mut Dict, key: &str, value: Value) {
    fields.insert(Str::from(key), value);
}

fn llm_config(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let (run, models, config) = state(cx);
    let name = match args.get(0) {
        Value::Nil => default_target(&run, &models, &config)?.provider,
        name => name.to_string(),
    };
    let known = config.providers.get_key_value(name.as_str());
    Ok(known.map_or(Value::Nil, |(name, fields)| Value::Dict(provider_value(&run, name, fields))))
}

/// Whether calls to a provider would have what they need to identify themselves.
fn is_available(run: &Run, name: &str, fields: &Fields) -> bool {
    http::auth_style(run, name, fields) == "none" || http::key(run, fields).is_some()
}

fn llm_available_providers(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Value, Fault> {
    let (run, _, config) = state(cx);
    let available = config.providers.iter().filter(|(name, fields)| is_available(&run, name, fields));
    Ok(names(available.map(|it| it.0.as_str())))
}

fn target(run: &Run, models: &Models, config: &Config, model: &str) -> Result<Target, Fault> {
    Ok(config.target(run, None, Some(model), None, models.testing)?)
}

fn default_target(run: &Run, models: &Models, config: &Config) -> Result<Target, Fault> {
    Ok(config.target(run, None, None, None, models.testing)?)
}

fn llm_infer_provider(cx: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    let (run, models, config) = state(cx);
    let model = args.string(0);
    let target = target(&run, &models, &config, &model)?;
    if target.alias.is_some() {
        return Ok(target.provider);
    }
    Ok(config.inferred(&model).filter(|_| target.model == model.as_str()).unwrap_or(target.provider))
}

fn resolved(config: &Config, target: &Target) -> Dict {
    let native = Capabilities::of(config, &target.provider, &target.model).native_tools;
    let format = match target.tool_format.as_deref() {
        Some("native") => ToolFormat::Native,
        Some("text") => ToolFormat::Text,
        _ if native => ToolFormat::Native,
        _ => ToolFormat::Text,
    };
    let format = if format == ToolFormat::Native { "native" } else { "text" };
    let fields = [
        ("id", Value::from(target.model.as_str())),
        ("provider", Value::from(target.provider.as_str())),
        ("alias", target.alias.as_deref().map_or(Value::Nil, Value::from)),
        ("tier", Value::from(config.tier(&target.model))),
        ("tool_format", Value::from(format)),
    ];
    fields.into_iter().map(|(name, value)| (Str::from(name), value)).collect()
}

fn llm_resolve_model(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let (run, models, config) = state(cx);
    let target = target(&run, &models, &config, &args.string(0))?;
    Ok(Value::Dict(resolved(&config, &target)))
}

fn llm_model_info(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let (run, models, config) = state(cx);
    let target = target(&run, &models, &config, &args.string(0))?;
    let mut info = resolved(&config, &target);
    let entry = config.model(&target.model).map_or(Value::Nil, |it| Value::Dict(it.to_dict()));
    put(&mut info, "catalog", entry);
    put(&mut info, "capabilities", Capabilities::of(&config, &target.provider, &target.model).to_value());
    let fields = config.providers.get(&target.provider);
    let available = fields.is_some_and(|it| is_available(&run, &target.provider, it));
    put(&mut info, "auth_available", Value::Bool(available));
    Ok(Value::Dict(info))
}

fn llm_model_tier(cx: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    let (run, models, config) = state(cx);
    Ok(config.tier(&target(&run, &models, &config, &args.string(0))?.model))
}

fn llm_pick_model(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let (run, models, config) = state(cx);
    let wanted = args.string(0);
    let target = target(&run, &models, &config, &wanted)?;
    let tier = wanted.to_lowercase();
    let tier = if TIERS.contains(&tier.as_str()) { tier } else { config.tier(&target.model) };
    Ok(Value::dict([
        ("id", Value::from(target.model)),
        ("provider", Value::from(target.provider)),
        ("tier", Value::from(tier)),
    ]))
}

fn llm_known_models(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Value, Fault> {
    let config = state(cx).2;
    let ids = config.models.values().map(|it| it.0.as_str());
    Ok(names(config.aliases.keys().map(String::as_str).chain(ids)))
}

fn alias_value(alias: &Alias) -> Value {
    let optional = |it: &Option<String>| it.as_deref().map_or(Value::Nil, Value::from);
    Value::dict([
        ("id", Value::from(alias.id.as_str())),
        ("provider", optional(&alias.provider)),
        ("tool_format", optional(&alias.tool_format)),
        ("layer", Value::from(alias.layer.name())),
    ])
}

/// Everything that is configured, secrets hidden, each value with the layer it came from.
pub fn catalog(run: &Run, models: &Models) -> Value {
    let config = models.config();
    let layers = |fields: &Fields| Value::dict(fields.iter().map(|(key, _, layer)| (key, Value::from(layer.name()))));
    let providers = config.providers.iter().map(|(name, fields)| {
        let mut shown = provider_value(run, name, fields);
        put(&mut shown, "layers", layers(fields));
        (name.as_str(), Value::Dict(shown))
    });
    let models_shown = config.models.values().map(|(id, fields)| {
        let mut shown = fields.to_dict();
        put(&mut shown, "layers", layers(fields));
        (id.as_str(), Value::Dict(shown))
    });
    let target = config.target(run, None, None, None, models.testing);
    let defaults = target.map_or(Value::Nil, |it| {
        Value::dict([
            ("provider", Value::from(it.provider)),
            ("model", Value::from(it.model)),
            ("tier", Value::from(config.tier_default.as_str())),
        ])
    });
    Value::dict([
        ("providers", Value::dict(providers)),
        ("aliases", Value::dict(config.aliases.iter().map(|(name, it)| (name.as_str(), alias_value(it))))),
        ("models", Value::dict(models_shown)),
        ("defaults", defaults),
    ])
}

fn llm_provider_catalog(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Value, Fault> {
    let (run, models, _) = state(cx);
    Ok(catalog(&run, &models))
}

fn provider_capabilities(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let config = state(cx).2;
    let provider = args.string(0);
    let default = config.providers.get(provider.as_str()).and_then(|it| it.text("default_model"));
    let model = match args.get(1) {
        Value::Nil => default.unwrap_or_default().to_owned(),
        model => model.to_string(),
    };
    Ok(Capabilities::of(&config, &provider, &model).to_value())
}

fn provider_register(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    let name = args.string(0);
    let fields = args.dict(1).filter(|_| !name.is_empty());
    let fields = fields.ok_or_else(|| Fault::thrown("provider_register: expected a name and a dict"))?;
    state(cx).1.register(&name, fields).map_err(|error| LlmError::invalid(error.0).at(&name, "").into())
}

fn llm_info(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Value, Fault> {
    let (run, models, config) = state(cx);
    let target = default_target(&run, &models, &config)?;
    let key = config.providers.get(&target.provider).and_then(|it| http::key(&run, it));
    Ok(Value::dict([
        ("provider", Value::from(target.provider)),
        ("model", Value::from(target.model)),
        ("api_key_set", Value::Bool(key.is_some())),
    ]))
}

fn agent_trace(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Value, Fault> {
    let (run, models, config) = state(cx);
    Ok(crate::redact::Redactor::new(&run, &config).value(Value::list(models.trace.list())))
}

/// How long a provider may take to say that it works.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(10);

fn llm_healthcheck(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let mut options = args.dict(1).cloned().unwrap_or_default();
    let name = match args.get(0) {
        Value::Dict(given) => {
            for (key, value) in given.iter() {
                options.insert(key.clone(), value.clone());
            }
            field(args.get(0), "provider").map(ToString::to_string).unwrap_or_default()
        }
        name => name.to_string(),
    };
    let call_cx = call_cx(cx);
    Ok(job(move |asker| async move {
        let cx = CallCx { asker, ..call_cx };
        Ok(health(&cx, &name, &options).await)
    }))
}

async fn health(cx: &CallCx, name: &str, options: &Dict) -> Value {
    let started = cx.run.now_monotonic();
    let report = |valid: bool, status: &str, message: String, models: Option<Vec<String>>, reason: Option<&str>| {
        let metadata = reason.map(|it| ("reason", Value::from(it)));
        let mut fields = vec![
            ("provider", Value::from(name)),
            ("valid", Value::Bool(valid)),
            ("status", Value::from(status)),
            ("message", Value::from(message)),
            ("latency_ms", Value::Int(cx.run.now_monotonic() - started)),
            ("metadata", Value::dict(metadata)),
        ];
        fields.extend(models.map(|it| ("models", names(it.iter().map(String::as_str)))));
        Value::dict(fields)
    };
    let config = cx.models.config();
    let Some(fields) = config.providers.get(name) else {
        let (word, message) = ("unknown_provider", format!("Unknown provider: {name}"));
        return report(false, word, message, None, Some(word));
    };
    let warm = some(options, "warm").is_some_and(Value::is_truthy);
    let model = some(options, "model").map(ToString::to_string);
    if warm && model.is_none() {
        return report(false, "invalid_request", "warm needs a model".to_owned(), None, Some("invalid_request"));
    }
    let key = some(options, "api_key").map(ToString::to_string);
    let timeout = some(options, "timeout_ms").and_then(Value::as_millis).and_then(|it| u64::try_from(it).ok());
    let timeout = timeout.map_or(HEALTH_TIMEOUT, Duration::from_millis);
    let expired = || LlmError::new("timeout", format!("no answer within {} ms", timeout.as_millis()));
    let work = async {
        if http::is_mock(&config, name) {
            return Ok(vec!["mock-model".to_owned()]);
        }
        http::check_enabled(&cx.run)?;
        let endpoint = http::Endpoint::with_key(name, fields.clone(), key.clone());
        let models = endpoint.models(cx).await?;
        if let (true, Some(model)) = (warm, &model) {
            endpoint.warm(cx, model).await?;
        }
        Ok(models)
    };
    match within(cx, timeout, work, expired).await {
        Ok(models) => report(true, "ok", format!("{name} is reachable"), Some(models), None),
        Err(error) => {
            let message = crate::redact::Redactor::new(&cx.run, &config).text(&error.message);
            let message = key.filter(|it| it.len() >= 8).map_or(message.clone(), |it| message.replace(&it, HIDDEN));
            report(false, error.category, message, None, Some(&error.reason))
        }
    }
}
