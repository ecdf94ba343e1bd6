//! From the names in a call to a provider and a model.

use super::Config;
use crate::failure::LlmError;
use madrigal_stdlib::Run;

/// The tiers, smallest first.
pub const TIERS: [&str; 3] = ["small", "mid", "frontier"];

/// Most aliases an alias may lead over.
const HOPS_MAX: usize = 8;

/// Providers that are taken when their key is set and nothing says otherwise.
const BY_KEY: [&str; 3] = ["anthropic", "openai", "openrouter"];

/// What a call goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Name of the provider.
    pub provider: String,
    /// Id of the model.
    pub model: String,
    /// The alias that named it.
    pub alias: Option<String>,
    /// How the alias wants tools offered.
    pub tool_format: Option<String>,
    /// Nothing was configured that could serve it.
    pub by_default: bool,
}

/// What the name of a model says.
#[derive(Default)]
struct Named {
    id: String,
    provider: Option<String>,
    alias: Option<String>,
    tool_format: Option<String>,
}

/// The form in which names of providers are compared with variables.
pub fn canonical(name: &str) -> String {
    name.to_uppercase().chars().map(|it| if it.is_ascii_alphanumeric() { it } else { '_' }).collect()
}

impl Config {
    /// The name of a known provider, however its letters are written.
    pub fn provider_named(&self, name: &str) -> Option<&str> {
        self.providers.keys().find(|it| it.eq_ignore_ascii_case(name)).map(String::as_str)
    }

    /// Follows aliases and takes a `provider:` prefix off.
    fn named(&self, name: &str) -> Result<Named, LlmError> {
        let mut named = Named { id: name.to_owned(), ..Named::default() };
        let mut hops = 0;
        while let Some(alias) = self.aliases.get(&named.id.to_lowercase()) {
            hops += 1;
            if hops > HOPS_MAX {
                return Err(LlmError::invalid(format!("the alias '{name}' leads over more than {HOPS_MAX} aliases")));
            }
            named.alias.get_or_insert_with(|| name.to_owned());
            named.provider = alias.provider.clone().or(named.provider);
            named.tool_format = alias.tool_format.clone().or(named.tool_format);
            if alias.id.eq_ignore_ascii_case(&named.id) {
                break;
            }
            named.id.clone_from(&alias.id);
        }
        if let Some((prefix, model)) = named.id.split_once(':') {
            let provider = match prefix {
                "local" => Some("ollama"),
                _ => self.provider_named(prefix),
            };
            if let Some(provider) = provider {
                named.provider = Some(provider.to_owned());
                named.id = model.to_owned();
            }
        }
        Ok(named)
    }

    /// The provider that the name of a model suggests.
    pub fn inferred(&self, model: &str) -> Option<String> {
        if let Some(rule) = self.inference.iter().find(|it| it.fits(model)) {
            return Some(rule.value.clone());
        }
        if let Some(provider) = self.model(model).and_then(|it| it.text("provider")) {
            return Some(provider.to_owned());
        }
        let lower = model.to_lowercase();
        let starts = |prefixes: &[&str]| prefixes.iter().any(|it| lower.starts_with(it));
        let name = match &lower {
            _ if starts(&["claude"]) => "anthropic",
            _ if starts(&["gpt-", "o1", "o3", "o4", "chatgpt"]) => "openai",
            _ if lower.contains('/') => "openrouter",
            _ if lower.contains(':') => "ollama",
            _ => return None,
        };
        Some(name.to_owned())
    }

    /// The provider of calls that name nobody, and whether only the mock was left.
    fn default_for(&self, run: &Run) -> (String, bool) {
        let set = |name: &str| run.variable(name).is_some_and(|it| !it.is_empty());
        if let Some((name, _)) = &self.default_provider {
            return (name.clone(), false);
        }
        let keyed = BY_KEY.into_iter().find(|name| self.key_variables(name).iter().any(|it| set(it)));
        match keyed {
            Some(name) => (name.to_owned(), false),
            None if set("LOCAL_LLM_BASE_URL") => ("local".to_owned(), false),
            None => ("mock".to_owned(), true),
        }
    }

    /// The variables that may hold the key of a provider.
    pub fn key_variables(&self, provider: &str) -> Vec<String> {
        match self.providers.get(provider).and_then(|it| it.get("auth_env")) {
            Some(madrigal_vm::Value::List(names)) => names.iter().map(ToString::to_string).collect(),
            _ => Vec::new(),
        }
    }

    /// What a call with these options goes to; `testing` keeps it at the mock unless the options say otherwise.
    pub fn target(
        &self,
        run: &Run,
        provider: Option<&str>,
        model: Option<&str>,
        tier: Option<&str>,
        testing: bool,
    ) -> Result<Target, LlmError> {
        let set = |name: &str| run.variable(name).filter(|it| !it.is_empty() && !testing);
        let mut named = match (model, tier) {
            (Some(model), _) => Some(self.named(model)?),
            (None, Some(tier)) if !TIERS.contains(&tier.to_lowercase().as_str()) => {
                return Err(LlmError::invalid(format!("model_tier must be one of small, mid, frontier, not '{tier}'")));
            }
            (None, Some(tier)) => Some(self.named(tier)?),
            (None, None) => None,
        };
        if named.is_none()
            && let Some(model) = set("HARN_LLM_MODEL")
        {
            named = Some(self.named(&model)?);
        }
        let explicit = provider.filter(|it| *it != "auto").map(|it| self.provider_named(it).unwrap_or(it).to_owned());
        let chosen = explicit
            .or_else(|| named.as_ref().and_then(|it| it.provider.clone()).filter(|_| model.or(tier).is_some()))
            .or_else(|| set("HARN_LLM_PROVIDER"))
            .or_else(|| named.as_ref().and_then(|it| it.provider.clone()))
            .or_else(|| named.as_ref().filter(|_| !testing).and_then(|it| self.inferred(&it.id)));
        let (provider, by_default) = match chosen {
            Some(name) => (name, false),
            None if testing => ("mock".to_owned(), false),
            None => self.default_for(run),
        };
        let named = named.unwrap_or_default();
        let model = match named.id.is_empty() {
            false => named.id,
            true => self.default_model(run, &provider).unwrap_or_default(),
        };
        Ok(Target { provider, model, alias: named.alias, tool_format: named.tool_format, by_default })
    }

    fn default_model(&self, run: &Run, provider: &str) -> Option<String> {
        let configured = self.providers.get(provider).and_then(|it| it.text("default_model")).map(str::to_owned);
        let local = || run.variable("LOCAL_LLM_MODEL").filter(|it| provider == "local" && !it.is_empty());
        configured.or_else(local)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use madrigal_stdlib::RunOptions;
    use std::collections::BTreeMap;

    fn run(variables: &[(&str, &str)]) -> Run {
        let environment: BTreeMap<_, _> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Run::new(RunOptions { environment: Some(environment), ..RunOptions::default() })
    }

    fn target(variables: &[(&str, &str)], provider: Option<&str>, model: Option<&str>) -> String {
        let target = Config::default().target(&run(variables), provider, model, None, false).expect("it resolves");
        format!("{}/{}", target.provider, target.model)
    }

    #[test]
    fn names_lead_to_providers_in_the_stated_order() {
        assert_eq!(target(&[], None, None), "mock/mock-model");
        assert_eq!(target(&[], None, Some("claude-x")), "anthropic/claude-x");
        assert_eq!(target(&[], None, Some("o3-mini")), "openai/o3-mini");
        assert_eq!(target(&[], None, Some("a/b")), "openrouter/a/b");
        assert_eq!(target(&[], None, Some("llama3:8b")), "ollama/llama3:8b");
        assert_eq!(target(&[], None, Some("local:phi")), "ollama/phi");
        assert_eq!(target(&[], None, Some("groq:x")), "groq/x");
        assert_eq!(target(&[], None, Some("MID")), "openai/gpt-4o-mini");
        assert_eq!(target(&[], Some("mock"), Some("mid")), "mock/gpt-4o-mini");
        assert_eq!(target(&[], Some("auto"), Some("gpt-4o")), "openai/gpt-4o");
        assert_eq!(target(&[("HARN_LLM_PROVIDER", "groq")], None, Some("gpt-4o")), "groq/gpt-4o");
        assert_eq!(target(&[("HARN_LLM_PROVIDER", "groq")], None, Some("mid")), "openai/gpt-4o-mini");
        assert_eq!(target(&[("HARN_LLM_MODEL", "gpt-x")], None, None), "openai/gpt-x");
        assert_eq!(target(&[("OPENAI_API_KEY", "k")], None, None), "openai/gpt-4o");
        assert_eq!(target(&[("LOCAL_LLM_BASE_URL", "u"), ("LOCAL_LLM_MODEL", "m")], None, None), "local/m");
    }

    #[test]
    fn tiers_are_found_by_entry_and_rule() {
        let config = Config::default();
        assert_eq!(config.tier("GPT-4o"), "frontier");
        assert_eq!(config.tier("claude-next"), "frontier");
        assert_eq!(config.tier("some-9B-chat"), "small");
        assert_eq!(config.tier("anything"), "mid");
    }
}
