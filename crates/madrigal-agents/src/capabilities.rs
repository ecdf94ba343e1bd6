//! What models can do: by the catalog where it says so, else by what is known of the provider and the name.

use crate::config::Config;
use madrigal_vm::Value;

/// What a model can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Takes tools in a field of the request.
    pub native_tools: bool,
    /// Takes a schema for its answer.
    pub json_schema: bool,
    /// Takes images.
    pub vision: bool,
    /// Thinks on demand.
    pub thinking: bool,
    /// Caches prompts on demand.
    pub prompt_caching: bool,
    /// Most tools of a request.
    pub max_tools: Option<i64>,
}

/// Parts of names of local models that take images.
const LOCAL_VISION: [&str; 6] = ["llava", "vision", "-vl", "gemma3", "minicpm-v", "moondream"];

impl Capabilities {
    /// Those of a model served by a provider; none for a provider nobody knows.
    pub fn of(config: &Config, provider: &str, model: &str) -> Capabilities {
        let protocol = config.providers.get(provider).map(|it| it.text("protocol").unwrap_or("openai"));
        let known = match protocol {
            None => Capabilities::default(),
            Some("mock") => match config.inferred(model) {
                Some(served_by) if served_by != "mock" => Capabilities::of(config, &served_by, model),
                _ => Capabilities { vision: true, ..Capabilities::default() },
            },
            Some("anthropic") => Capabilities {
                native_tools: true,
                vision: true,
                thinking: true,
                prompt_caching: true,
                ..Capabilities::default()
            },
            Some("ollama") => Capabilities {
                native_tools: true,
                json_schema: true,
                vision: LOCAL_VISION.iter().any(|it| model.contains(it)),
                thinking: ["deepseek-r1", "qwen3", "gpt-oss"].iter().any(|it| model.contains(it)),
                ..Capabilities::default()
            },
            Some(_) => openai(provider, model),
        };
        let entry = config.model(model);
        let flag = |name: &str, known: bool| entry.and_then(|it| it.flag(name)).unwrap_or(known);
        Capabilities {
            native_tools: flag("native_tools", known.native_tools),
            json_schema: flag("json_schema", known.json_schema),
            vision: flag("vision", known.vision),
            ..known
        }
    }

    /// As scripts see it.
    pub fn to_value(self) -> Value {
        Value::dict([
            ("native_tools", Value::Bool(self.native_tools)),
            ("json_schema", Value::Bool(self.json_schema)),
            ("vision", Value::Bool(self.vision)),
            ("thinking", Value::Bool(self.thinking)),
            ("prompt_caching", Value::Bool(self.prompt_caching)),
            ("max_tools", self.max_tools.map_or(Value::Nil, Value::Int)),
        ])
    }
}

fn openai(provider: &str, model: &str) -> Capabilities {
    let own = provider == "openai";
    let reasons = ["o1", "o3", "o4", "gpt-5"].iter().any(|it| model.starts_with(it));
    Capabilities {
        native_tools: true,
        json_schema: own,
        vision: own || ["gpt-4o", "vision", "-vl"].iter().any(|it| model.contains(it)),
        thinking: reasons,
        prompt_caching: false,
        max_tools: own.then_some(128),
    }
}
