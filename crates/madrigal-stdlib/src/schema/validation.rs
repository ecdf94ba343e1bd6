//! Checking values against canonical schemas. Both may be deep: beyond a bound a value counts as wrong. Work is bounded
//! by the size of the value too, since unions of references could otherwise be followed for ever.

use crate::regexes::Patterns;
use madrigal_vm::{Dict, Str, Value};
use std::cell::Cell;
use std::fmt::Display;

/// How deep values are followed, and how many references lead on without going deeper.
const DEPTH_MAX: usize = 100;

/// A value after the check: normalised, with what is wrong with it.
pub(super) struct Checked {
    pub(super) value: Value,
    pub(super) errors: Vec<String>,
}

pub(super) struct Validator<'a> {
    patterns: &'a Patterns,
    root: &'a Dict,
    defaults: bool,
    /// How many more checks of a part of the value against a part of the schema there may be.
    fuel: Cell<usize>,
}

/// Where the value under check is: empty for the value itself, else as in `user.tags[2]`.
type Path = String;

impl<'a> Validator<'a> {
    /// `size` is that of the value.
    pub(super) fn new(patterns: &'a Patterns, root: &'a Dict, defaults: bool, size: usize) -> Validator<'a> {
        Validator { patterns, root, defaults, fuel: Cell::new(100_000 + size * 100) }
    }

    pub(super) fn check(&self, value: &Value) -> Checked {
        let mut errors = Vec::new();
        let value = self.node(value.clone(), self.root, &Path::new(), 0, &mut errors);
        Checked { value, errors }
    }

    /// The normalised value; adds what is wrong.
    fn node(&self, mut value: Value, schema: &Dict, path: &Path, depth: usize, errors: &mut Vec<String>) -> Value {
        let fuel = self.fuel.get();
        self.fuel.set(fuel.saturating_sub(1));
        if fuel == 0 {
            add(errors, path, "the schema takes too long to check");
            return value;
        }
        if depth > DEPTH_MAX {
            add(errors, path, format_args!("value nests deeper than {DEPTH_MAX} levels"));
            return value;
        }
        if let Some(reference) = schema.get("$ref") {
            match self.referenced(&reference.display()) {
                Some(target) => return self.node(value, target, path, depth + 1, errors),
                None => add(errors, path, format_args!("unresolved schema reference '{reference}'")),
            }
            return value;
        }
        if value.is_nil() && schema.has("nullable") {
            return value;
        }
        if let Some(wanted) = schema.get("const").filter(|it| **it != value) {
            add(errors, path, format_args!("expected constant {wanted}, got {value}"));
            return value;
        }
        for branch in branches(schema, "all_of") {
            value = self.node(value, branch, path, depth + 1, errors);
        }
        if schema.has("union") {
            value = self.union(value, schema, path, depth, errors);
        }
        if let Some(wanted) = schema.get("type").map(Value::display).filter(|it| !is_of(&value, it)) {
            add(errors, path, format_args!("expected type '{wanted}', got '{}'", value.type_name()));
            return value;
        }
        match value {
            Value::Dict(_) | Value::Struct(_) => self.fields(value, schema, path, depth, errors),
            Value::List(_) | Value::Set(_) => self.items(value, schema, path, depth, errors),
            other => {
                self.scalar(&other, schema, path, errors);
                other
            }
        }
    }

    /// What a pointer into the root schema leads to.
    fn referenced(&self, pointer: &str) -> Option<&'a Dict> {
        let mut place = self.root;
        for token in pointer.strip_prefix("#")?.split('/').skip(1) {
            let Some(Value::Dict(next)) = place.get(&token.replace("~1", "/").replace("~0", "~")) else { return None };
            place = next;
        }
        Some(place)
    }

    fn union(&self, value: Value, schema: &Dict, path: &Path, depth: usize, errors: &mut Vec<String>) -> Value {
        for branch in branches(schema, "union") {
            let mut own = Vec::new();
            let normalised = self.node(value.clone(), branch, path, depth + 1, &mut own);
            if own.is_empty() {
                return normalised;
            }
        }
        add(errors, path, "value did not match any union branch");
        value
    }

    /// Checks entries in order: missing ones, declared ones, unknown ones.
    fn fields(&self, mut value: Value, schema: &Dict, path: &Path, depth: usize, errors: &mut Vec<String>) -> Value {
        let empty = Dict::new();
        let properties = match schema.get("properties") {
            Some(Value::Dict(it)) => it,
            _ => &empty,
        };
        let default_of = |property: &Value| match property {
            Value::Dict(it) if self.defaults => it.get("default").cloned(),
            _ => None,
        };
        if let Some(Value::List(required)) = schema.get("required") {
            for key in required.iter().map(Value::display) {
                let filled = properties.get(&key).and_then(default_of).is_some();
                if field(&value, &key).is_none() && !filled {
                    add(errors, path, format_args!("missing required key '{key}'"));
                }
            }
        }
        for (key, property) in properties.iter() {
            let Value::Dict(own) = property else { continue };
            let present = field(&value, key).cloned();
            if let Some(found) = present.or_else(|| default_of(property)) {
                self.field(&mut value, key, found, own, path, depth, errors);
            }
        }
        let additional = schema.get("additional_properties");
        for key in keys(&value) {
            match additional {
                Some(Value::Bool(false)) if !properties.has(&key) => {
                    add(errors, path, format_args!("unexpected key '{key}'"));
                }
                Some(Value::Dict(own)) if !properties.has(&key) => {
                    let found = field(&value, &key).cloned().unwrap_or_default();
                    self.field(&mut value, &key, found, own, path, depth, errors);
                }
                _ => {}
            }
        }
        value
    }

    /// Checks a field and puts its normalised value in its place, unless it is wrong.
    #[allow(clippy::too_many_arguments)]
    fn field(
        &self,
        parent: &mut Value,
        key: &Str,
        found: Value,
        schema: &Dict,
        path: &Path,
        depth: usize,
        errors: &mut Vec<String>,
    ) {
        let below = if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
        let before = errors.len();
        let normalised = self.node(found, schema, &below, depth + 1, errors);
        if errors.len() == before {
            match parent {
                Value::Dict(entries) => entries.insert(key.clone(), normalised),
                Value::Struct(it) => *it.slot(key) = normalised,
                _ => {}
            }
        }
    }

    fn items(&self, value: Value, schema: &Dict, path: &Path, depth: usize, errors: &mut Vec<String>) -> Value {
        let (items, is_set): (Vec<Value>, bool) = match &value {
            Value::List(items) => (items.to_vec(), false),
            Value::Set(items) => (items.iter().cloned().collect(), true),
            _ => return value,
        };
        let bound = |key: &str| schema.get(key).and_then(Value::as_int);
        let len = items.len() as i64;
        if let Some(least) = bound("min_items").filter(|it| len < *it) {
            add(errors, path, format_args!("expected at least {least} items, got {len}"));
        }
        if let Some(most) = bound("max_items").filter(|it| len > *it) {
            add(errors, path, format_args!("expected at most {most} items, got {len}"));
        }
        let Some(Value::Dict(own)) = schema.get("items") else { return value };
        let mut kept = Vec::with_capacity(items.len());
        for (at, item) in items.into_iter().enumerate() {
            let before = errors.len();
            let normalised = self.node(item, own, &format!("{path}[{at}]"), depth + 1, errors);
            if errors.len() == before {
                kept.push(normalised);
            }
        }
        if is_set { Value::set(kept) } else { Value::list(kept) }
    }

    fn scalar(&self, value: &Value, schema: &Dict, path: &Path, errors: &mut Vec<String>) {
        let number = |key: &str| schema.get(key).and_then(Value::as_number);
        if let Some(found) = value.as_number() {
            if let Some(least) = number("min").filter(|it| found < *it) {
                add(errors, path, format_args!("expected value >= {least}, got {found}"));
            }
            if let Some(most) = number("max").filter(|it| found > *it) {
                add(errors, path, format_args!("expected value <= {most}, got {found}"));
            }
        }
        if let Value::String(text) = value {
            self.text(text, schema, path, errors);
        }
        let has_enum = matches!(value, Value::String(_) | Value::Bool(_) | Value::Nil) || value.as_number().is_some();
        if let Some(Value::List(choices)) = schema.get("enum").filter(|_| has_enum)
            && !choices.contains(value)
        {
            add(errors, path, format_args!("value must be one of {}", Value::List(choices.clone())));
        }
    }

    fn text(&self, text: &Str, schema: &Dict, path: &Path, errors: &mut Vec<String>) {
        let bound = |key: &str| schema.get(key).and_then(Value::as_int);
        let count = text.count() as i64;
        if let Some(least) = bound("min_length").filter(|it| count < *it) {
            add(errors, path, format_args!("expected length >= {least}, got {count}"));
        }
        if let Some(most) = bound("max_length").filter(|it| count > *it) {
            add(errors, path, format_args!("expected length <= {most}, got {count}"));
        }
        if let Some(pattern) = schema.get("pattern").map(Value::display) {
            match self.patterns.get(pattern.clone(), Str::from("")) {
                Ok(compiled) if compiled.is_match(text) => {}
                Ok(_) => add(errors, path, format_args!("value does not match pattern '{pattern}'")),
                Err(problem) => add(errors, path, format_args!("invalid regex pattern '{pattern}': {problem}")),
            }
        }
    }
}

fn add(errors: &mut Vec<String>, path: &Path, what: impl Display) {
    let place = if path.is_empty() { "root" } else { path };
    errors.push(format!("at {place}: {what}"));
}

fn branches<'a>(schema: &'a Dict, key: &str) -> impl Iterator<Item = &'a Dict> {
    let all = match schema.get(key) {
        Some(Value::List(all)) => &all[..],
        _ => &[],
    };
    all.iter().filter_map(|it| if let Value::Dict(branch) = it { Some(branch) } else { None })
}

/// Whether the value is of the kind that schemas call `wanted`.
fn is_of(value: &Value, wanted: &str) -> bool {
    match wanted {
        "any" => true,
        "dict" => matches!(value, Value::Dict(_) | Value::Struct(_)),
        "closure" => value.is_callable(),
        other => value.type_name() == other,
    }
}

fn field<'a>(value: &'a Value, key: &Str) -> Option<&'a Value> {
    match value {
        Value::Dict(entries) => entries.get(key),
        Value::Struct(it) => it.get(key),
        _ => None,
    }
}

fn keys(value: &Value) -> Vec<Str> {
    match value {
        Value::Dict(entries) => entries.keys().cloned().collect(),
        Value::Struct(it) => it.fields().map(|(key, _)| key.clone()).collect(),
        _ => Vec::new(),
    }
}
