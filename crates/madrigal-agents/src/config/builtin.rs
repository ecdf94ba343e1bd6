//! The built-in table: providers, the catalog of models and the rules for names.

use super::{Alias, Config, Fields, Layer, Pattern, Rule};
use madrigal_vm::Value;
use std::collections::BTreeMap;

/// Name, protocol, base URL, its variable, variables of the key, default model.
type ProviderRow = (&'static str, &'static str, &'static str, &'static str, &'static [&'static str], &'static str);

const PROVIDERS: [ProviderRow; 10] = [
    ("mock", "mock", "", "", &[], "mock-model"),
    ("openai", "openai", "https://api.openai.com/v1", "OPENAI_BASE_URL", &["OPENAI_API_KEY"], "gpt-4o"),
    (
        "anthropic",
        "anthropic",
        "https://api.anthropic.com/v1",
        "ANTHROPIC_BASE_URL",
        &["ANTHROPIC_API_KEY"],
        "claude-sonnet-4-20250514",
    ),
    ("ollama", "ollama", "http://127.0.0.1:11434", "OLLAMA_HOST", &[], "llama3.2"),
    ("local", "openai", "http://127.0.0.1:8000/v1", "LOCAL_LLM_BASE_URL", &["LOCAL_LLM_API_KEY"], ""),
    ("openrouter", "openai", "https://openrouter.ai/api/v1", "", &["OPENROUTER_API_KEY"], ""),
    ("huggingface", "openai", "https://router.huggingface.co/v1", "", &["HF_TOKEN", "HUGGINGFACE_API_KEY"], ""),
    ("together", "openai", "https://api.together.xyz/v1", "", &["TOGETHER_API_KEY"], ""),
    ("groq", "openai", "https://api.groq.com/openai/v1", "", &["GROQ_API_KEY"], ""),
    ("deepseek", "openai", "https://api.deepseek.com/v1", "", &["DEEPSEEK_API_KEY"], ""),
];

/// Id, provider, tier, prices of input, output, cache read and cache write.
type ModelRow = (&'static str, &'static str, &'static str, &'static [(&'static str, f64)]);

const MODELS: [ModelRow; 5] = [
    (
        "claude-sonnet-4-20250514",
        "anthropic",
        "frontier",
        &[
            ("input_per_mtok", 3.0),
            ("output_per_mtok", 15.0),
            ("cache_read_per_mtok", 0.3),
            ("cache_write_per_mtok", 3.75),
        ],
    ),
    ("claude-opus-4-20250514", "anthropic", "frontier", &[("input_per_mtok", 15.0), ("output_per_mtok", 75.0)]),
    ("gpt-4o", "openai", "frontier", &[("input_per_mtok", 2.5), ("output_per_mtok", 10.0)]),
    ("gpt-4o-mini", "openai", "mid", &[("input_per_mtok", 0.15), ("output_per_mtok", 0.6)]),
    ("Qwen/Qwen3.5-9B", "openrouter", "small", &[]),
];

/// Tier words, which are aliases too.
const TIER_ALIASES: [(&str, &str, &str); 3] = [
    ("frontier", "claude-sonnet-4-20250514", "anthropic"),
    ("mid", "gpt-4o-mini", "openai"),
    ("small", "Qwen/Qwen3.5-9B", "openrouter"),
];

/// The configuration without any file.
pub(super) fn config() -> Config {
    let providers = PROVIDERS.iter().map(|row| (row.0.to_owned(), provider(row)));
    let models = MODELS.iter().map(|row| (row.0.to_lowercase(), (row.0.to_owned(), model(row))));
    let aliases = TIER_ALIASES.iter().map(|(name, id, provider)| {
        let alias = Alias {
            id: (*id).to_owned(),
            provider: Some((*provider).to_owned()),
            tool_format: None,
            layer: Layer::BuiltIn,
        };
        ((*name).to_owned(), alias)
    });
    let tier = |pattern: Pattern, tier: &str| Rule { pattern, value: tier.to_owned() };
    Config {
        providers: providers.collect(),
        aliases: aliases.collect(),
        models: models.collect::<BTreeMap<_, _>>(),
        inference: Vec::new(),
        tiers: vec![
            tier(Pattern::Glob("claude-*".to_owned()), "frontier"),
            tier(Pattern::Contains("9b".to_owned()), "small"),
            tier(Pattern::Contains("a3b".to_owned()), "small"),
        ],
        tier_default: "mid".to_owned(),
        default_provider: None,
        strict_options: false,
        warnings: Vec::new(),
    }
}

fn provider(row: &ProviderRow) -> Fields {
    let (name, protocol, url, url_variable, keys, model) = *row;
    let style = match (name, keys.is_empty()) {
        (_, true) => "none",
        ("anthropic", false) => "header",
        (_, false) => "bearer",
    };
    let mut fields = Fields::default();
    let mut set = |name: &str, value: &str| {
        if !value.is_empty() {
            fields.set(name, Value::from(value), Layer::BuiltIn);
        }
    };
    set("protocol", protocol);
    set("base_url", url);
    set("base_url_env", url_variable);
    set("auth_style", style);
    set("default_model", model);
    if style == "header" {
        set("auth_header", "x-api-key");
    }
    if !keys.is_empty() {
        let keys = keys.iter().map(|it| Value::from(*it)).collect();
        fields.set("auth_env", Value::list(keys), Layer::BuiltIn);
    }
    fields
}

fn model(row: &ModelRow) -> Fields {
    let (_, provider, tier, prices) = *row;
    let mut fields = Fields::default();
    fields.set("provider", Value::from(provider), Layer::BuiltIn);
    fields.set("tier", Value::from(tier), Layer::BuiltIn);
    if !prices.is_empty() {
        let prices = prices.iter().map(|(name, price)| (*name, Value::Float(*price)));
        fields.set("pricing", Value::dict(prices), Layer::BuiltIn);
    }
    fields
}
