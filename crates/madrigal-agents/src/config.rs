//! The resolved configuration of models: providers, aliases, the catalog and the rules for names, each value with the
//! layer it came from. A snapshot, made once for a run; what scripts register later lies above it.

mod builtin;
mod files;
mod names;

pub use files::load;
pub use names::{TIERS, Target, canonical};

use madrigal_vm::{Dict, Str, Value};
use std::collections::BTreeMap;

/// Where a value came from; a later layer overrides an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Layer {
    BuiltIn,
    UserFile,
    Manifest,
    Environment,
    Runtime,
}

impl Layer {
    /// As shown.
    pub fn name(self) -> &'static str {
        match self {
            Layer::BuiltIn => "builtin",
            Layer::UserFile => "user_file",
            Layer::Manifest => "manifest",
            Layer::Environment => "environment",
            Layer::Runtime => "runtime",
        }
    }
}

/// Named values, each with its layer.
#[derive(Clone, Debug, Default)]
pub struct Fields(BTreeMap<String, (Value, Layer)>);

impl Fields {
    /// The value of a field that is set.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).map(|it| &it.0).filter(|it| !it.is_nil())
    }

    /// The layer a field came from.
    pub fn layer(&self, name: &str) -> Option<Layer> {
        self.0.get(name).map(|it| it.1)
    }

    /// Text of a field.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str).filter(|it| !it.is_empty())
    }

    /// A field that counts something; zero and less count as absent.
    pub fn count(&self, name: &str) -> Option<u64> {
        self.get(name).and_then(Value::as_int).and_then(|it| u64::try_from(it).ok()).filter(|it| *it > 0)
    }

    /// Whether a flag is set.
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.get(name).map(Value::is_truthy)
    }

    /// Sets a field, unless a higher layer did; tables are merged entry by entry.
    pub fn set(&mut self, name: &str, value: Value, layer: Layer) {
        match self.0.get_mut(name) {
            Some((_, before)) if *before > layer => {}
            Some((Value::Dict(old), before)) if matches!(value, Value::Dict(_)) => {
                if let Value::Dict(new) = value {
                    for (key, value) in new.iter() {
                        old.insert(key.clone(), value.clone());
                    }
                }
                *before = layer;
            }
            _ => {
                self.0.insert(name.to_owned(), (value, layer));
            }
        }
    }

    /// All fields, with where they came from.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value, Layer)> {
        self.0.iter().map(|(name, (value, layer))| (name.as_str(), value, *layer))
    }

    /// The fields as a dict.
    pub fn to_dict(&self) -> Dict {
        self.iter().map(|(name, value, _)| (Str::from(name), value.clone())).collect()
    }
}

/// How a rule looks at the name of a model.
#[derive(Clone, Debug)]
pub enum Pattern {
    /// The whole name.
    Exact(String),
    /// With `*` for any run of characters.
    Glob(String),
    /// A part of the name.
    Contains(String),
}

/// What follows from the name of a model.
#[derive(Clone, Debug)]
pub struct Rule {
    pattern: Pattern,
    /// A provider or a tier.
    pub value: String,
}

impl Rule {
    fn fits(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        match &self.pattern {
            Pattern::Exact(it) => name == it.to_lowercase(),
            Pattern::Glob(it) => glob(&it.to_lowercase(), &name),
            Pattern::Contains(it) => name.contains(&it.to_lowercase()),
        }
    }
}

/// Whether `text` has the form of `pattern`, in which `*` stands for any run of characters.
pub fn glob(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Another name of a model.
#[derive(Clone, Debug)]
pub struct Alias {
    /// The model.
    pub id: String,
    /// Who serves it.
    pub provider: Option<String>,
    /// How tools are offered to it.
    pub tool_format: Option<String>,
    /// Where the alias came from.
    pub layer: Layer,
}

/// Everything that is configured.
#[derive(Clone, Debug)]
pub struct Config {
    /// By name.
    pub providers: BTreeMap<String, Fields>,
    /// By name in lower case.
    pub aliases: BTreeMap<String, Alias>,
    /// The catalog, by id in lower case, with the id as written.
    pub models: BTreeMap<String, (String, Fields)>,
    inference: Vec<Rule>,
    tiers: Vec<Rule>,
    /// The tier of models no rule knows.
    pub tier_default: String,
    /// Who serves calls that name nobody.
    pub default_provider: Option<(String, Layer)>,
    /// Whether unknown options are errors.
    pub strict_options: bool,
    /// What is odd about the files.
    pub warnings: Vec<String>,
}

impl Default for Config {
    /// The built-in table.
    fn default() -> Config {
        builtin::config()
    }
}

impl Config {
    /// The catalog's entry of a model.
    pub fn model(&self, id: &str) -> Option<&Fields> {
        self.models.get(&id.to_lowercase()).map(|it| &it.1)
    }

    /// Price in USD of a million tokens of this kind (`input_per_mtok` ..).
    pub fn price(&self, model: &str, kind: &str) -> Option<f64> {
        match self.model(model)?.get("pricing")? {
            Value::Dict(prices) => prices.get(kind).and_then(Value::as_number),
            _ => None,
        }
    }

    /// The tier of a model.
    pub fn tier(&self, model: &str) -> String {
        if let Some(tier) = self.model(model).and_then(|it| it.text("tier")) {
            return tier.to_owned();
        }
        let rule = self.tiers.iter().find(|it| it.fits(model));
        rule.map_or_else(|| self.tier_default.clone(), |it| it.value.clone())
    }
}

/// What is wrong with the configuration; the program does not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_run() {
        let check = |pattern: &str, text: &str, expected: bool| assert_eq!(glob(pattern, text), expected, "{pattern}");
        check("a*c", "abbc", true);
        check("a*c", "ac", true);
        check("a*a", "a", false);
        check("*b*", "a\nb\nc", true);
        check("abc", "abc", true);
        check("abc", "abcd", false);
        check("*", "", true);
        check("", "", true);
        check("*ab*ab", "ab", false);
    }

    #[test]
    fn fields_of_higher_layers_stay() {
        let mut fields = Fields::default();
        fields.set("rpm", Value::Int(1), Layer::Manifest);
        fields.set("rpm", Value::Int(2), Layer::UserFile);
        assert_eq!(fields.count("rpm"), Some(1));
        fields.set("rpm", Value::Int(3), Layer::Runtime);
        assert_eq!((fields.count("rpm"), fields.layer("rpm")), (Some(3), Some(Layer::Runtime)));
    }

    #[test]
    fn tables_merge_entry_by_entry() {
        let mut fields = Fields::default();
        fields.set("headers", Value::dict([("a", "1".into()), ("b", "2".into())]), Layer::UserFile);
        fields.set("headers", Value::dict([("b", "3".into())]), Layer::Manifest);
        assert_eq!(fields.get("headers").map(ToString::to_string).as_deref(), Some("{a: 1, b: 3}"));
    }
}
