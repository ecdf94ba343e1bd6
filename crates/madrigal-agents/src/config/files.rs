//! The files: the user's `providers.toml` and the table `[llm]` of the nearest `harn.toml`. A file that cannot be read
//! as TOML keeps the program from starting; keys nobody knows are warnings.

use super::{Alias, Config, ConfigError, Layer, Pattern, Rule};
use madrigal_stdlib::Run;
use madrigal_vm::{Dict, Value};
use std::path::{Path, PathBuf};

/// Fields of a provider, with the older names of two of them.
const PROVIDER_FIELDS: [&str; 24] = [
    "protocol",
    "base_url",
    "base_url_env",
    "auth_style",
    "auth_header",
    "auth_env",
    "headers",
    "chat_endpoint",
    "completion_endpoint",
    "default_model",
    "rpm",
    "tpm",
    "max_concurrent",
    "connect_timeout_ms",
    "timeout_ms",
    "first_byte_timeout_ms",
    "idle_timeout_ms",
    "retry_count",
    "retry_delay_ms",
    "fallback",
    "tls",
    "kind",
    "extra_headers",
    "capabilities",
];

const MODEL_FIELDS: [&str; 9] = [
    "provider",
    "name",
    "context_window",
    "max_output_tokens",
    "tier",
    "native_tools",
    "json_schema",
    "vision",
    "pricing",
];

/// The configuration for a program whose entry file is `entry`.
pub fn load(run: &Run, entry: Option<&Path>) -> Result<Config, ConfigError> {
    let mut config = Config::default();
    if let Some((path, text)) = user_file(run)? {
        let table = parse(&path, &text)?;
        config.merge(&table, Layer::UserFile, &path.display().to_string())?;
    }
    if let Some((path, text)) = entry.and_then(|it| manifest(&run.resolve(&it.to_string_lossy()))) {
        let table = parse(&path, &text)?;
        if let Some(Value::Dict(llm)) = table.get("llm") {
            config.merge(llm, Layer::Manifest, &path.display().to_string())?;
        }
    }
    config.check_fallbacks()?;
    Ok(config)
}

fn user_file(run: &Run) -> Result<Option<(PathBuf, String)>, ConfigError> {
    let set = |name: &str| run.variable(name).filter(|it| !it.is_empty());
    if let Some(path) = set("HARN_PROVIDERS_CONFIG") {
        let path = run.resolve(&path);
        let text = std::fs::read_to_string(&path)
            .map_err(|error| ConfigError(format!("HARN_PROVIDERS_CONFIG: {}: {error}", path.display())))?;
        return Ok(Some((path, text)));
    }
    let folder = set("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".config")));
    Ok(folder.and_then(|it| read(it.join("harn/providers.toml"))))
}

/// The nearest `harn.toml` at or above the folder of `entry`.
fn manifest(entry: &Path) -> Option<(PathBuf, String)> {
    entry.parent()?.ancestors().find_map(|folder| read(folder.join("harn.toml")))
}

fn read(path: PathBuf) -> Option<(PathBuf, String)> {
    let text = std::fs::read_to_string(&path).ok()?;
    Some((path, text))
}

fn parse(path: &Path, text: &str) -> Result<Dict, ConfigError> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let offset = error.span().map_or(0, |it| it.start).min(text.len());
        let before = &text.as_bytes()[..offset];
        let line = before.iter().filter(|it| **it == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|it| **it != b'\n').count() + 1;
        ConfigError(format!("{}:{line}:{column}: {}", path.display(), error.message()))
    })?;
    match value_of(toml::Value::Table(table)) {
        Value::Dict(dict) => Ok(dict),
        _ => Ok(Dict::new()),
    }
}

fn value_of(value: toml::Value) -> Value {
    match value {
        toml::Value::String(it) => Value::from(it),
        toml::Value::Integer(it) => Value::Int(it),
        toml::Value::Float(it) => Value::Float(it),
        toml::Value::Boolean(it) => Value::Bool(it),
        toml::Value::Datetime(it) => Value::from(it.to_string()),
        toml::Value::Array(items) => Value::list(items.into_iter().map(value_of).collect()),
        toml::Value::Table(entries) => Value::dict(entries.into_iter().map(|(key, it)| (key, value_of(it)))),
    }
}

impl Config {
    /// Lays a table over what there is, field by field.
    fn merge(&mut self, table: &Dict, layer: Layer, file: &str) -> Result<(), ConfigError> {
        for (key, value) in table.iter() {
            match (key.as_str(), value) {
                ("default_provider", Value::String(name)) => {
                    self.default_provider = Some((name.to_string(), layer));
                }
                ("strict_options", Value::Bool(on)) => self.strict_options = *on,
                ("providers", Value::Dict(providers)) => {
                    for (name, fields) in providers.iter() {
                        if let Value::Dict(fields) = fields {
                            self.merge_provider(name, fields, layer, file)?;
                        }
                    }
                }
                ("aliases", Value::Dict(aliases)) => self.merge_aliases(aliases, layer),
                ("models", Value::Dict(models)) => self.merge_models(models, layer, file),
                ("inference_rules", Value::List(rules)) => {
                    let rules = self.rules(rules, "provider", file)?;
                    self.inference.splice(0..0, rules);
                }
                ("tier_rules", Value::List(rules)) => {
                    let rules = self.rules(rules, "tier", file)?;
                    self.tiers.splice(0..0, rules);
                }
                ("tier_defaults", Value::Dict(defaults)) => {
                    if let Some(tier) = defaults.get("default").and_then(Value::as_str) {
                        self.tier_default = tier.to_owned();
                    }
                }
                _ => self.unknown(key, file),
            }
        }
        Ok(())
    }

    fn unknown(&mut self, key: &str, file: &str) {
        self.warnings.push(format!("{file}: unknown key '{key}'"));
    }

    /// Lays the fields of one provider over what there is.
    pub fn merge_provider(&mut self, name: &str, given: &Dict, layer: Layer, file: &str) -> Result<(), ConfigError> {
        let known = self.providers.contains_key(name);
        for (key, value) in given.iter() {
            if !PROVIDER_FIELDS.contains(&key.as_str()) {
                self.unknown(&format!("providers.{name}.{key}"), file);
                continue;
            }
            let key = match key.as_str() {
                "kind" => "protocol",
                "extra_headers" => "headers",
                other => other,
            };
            let value = match (key, value) {
                ("auth_env", Value::String(one)) => Value::list(vec![Value::from(one.clone())]),
                (_, value) => value.clone(),
            };
            self.providers.entry(name.to_owned()).or_default().set(key, value, layer);
        }
        let fields = self.providers.entry(name.to_owned()).or_default();
        let wrong = |what: String| Err(ConfigError(format!("{file}: provider '{name}': {what}")));
        let protocol = fields.text("protocol").unwrap_or("openai");
        if !["openai", "anthropic", "ollama", "mock"].contains(&protocol) {
            return wrong(format!("protocol must be openai, anthropic, ollama or mock, not '{protocol}'"));
        }
        let style = fields.text("auth_style").unwrap_or("bearer");
        if !["bearer", "header", "none"].contains(&style) {
            return wrong(format!("auth_style must be bearer, header or none, not '{style}'"));
        }
        if !known && protocol != "mock" && fields.text("base_url").or(fields.text("base_url_env")).is_none() {
            return wrong("base_url is required".to_owned());
        }
        Ok(())
    }

    fn merge_aliases(&mut self, aliases: &Dict, layer: Layer) {
        for (name, value) in aliases.iter() {
            let text = |key: &str| match value {
                Value::Dict(it) => it.get(key).and_then(Value::as_str).map(str::to_owned),
                _ => None,
            };
            let Some(id) = text("id").or_else(|| value.as_str().map(str::to_owned)) else { continue };
            let alias = Alias { id, provider: text("provider"), tool_format: text("tool_format"), layer };
            self.aliases.insert(name.to_lowercase(), alias);
        }
    }

    fn merge_models(&mut self, models: &Dict, layer: Layer, file: &str) {
        for (id, given) in models.iter() {
            let Value::Dict(given) = given else { continue };
            let entry = self.models.entry(id.to_lowercase()).or_insert_with(|| (id.to_string(), Default::default()));
            let mut odd = Vec::new();
            for (key, value) in given.iter() {
                if MODEL_FIELDS.contains(&key.as_str()) {
                    entry.1.set(key, value.clone(), layer);
                } else {
                    odd.push(format!("models.{id}.{key}"));
                }
            }
            odd.iter().for_each(|it| self.unknown(it, file));
        }
    }

    fn rules(&mut self, rules: &[Value], value: &str, file: &str) -> Result<Vec<Rule>, ConfigError> {
        let mut read = Vec::new();
        for rule in rules {
            let Value::Dict(rule) = rule else { continue };
            let text = |key: &str| rule.get(key).and_then(Value::as_str).map(str::to_owned);
            let patterns = [
                text("exact").map(Pattern::Exact),
                text("pattern").map(Pattern::Glob),
                text("contains").map(Pattern::Contains),
            ];
            let mut patterns = patterns.into_iter().flatten();
            match (patterns.next(), patterns.next(), text(value)) {
                (Some(pattern), None, Some(value)) => read.push(Rule { pattern, value }),
                _ => {
                    return Err(ConfigError(format!(
                        "{file}: a rule needs exactly one of exact, pattern and contains, and {value}"
                    )));
                }
            }
        }
        Ok(read)
    }

    /// No chain of fallbacks may come back to where it began.
    pub fn check_fallbacks(&self) -> Result<(), ConfigError> {
        for name in self.providers.keys() {
            let mut seen = vec![name.as_str()];
            while let Some(next) =
                self.providers.get(*seen.last().unwrap_or(&"")).and_then(|fields| fields.text("fallback"))
            {
                if seen.contains(&next) {
                    return Err(ConfigError(format!("fallbacks form a cycle: {} → {next}", seen.join(" → "))));
                }
                seen.push(next);
            }
        }
        Ok(())
    }
}
