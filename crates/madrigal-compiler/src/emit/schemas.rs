//! Types as schema values: what the name of a type alias is as an expression, and the parameters of tools.

use super::*;
use crate::hir::Type;
use madrigal_vm::Value;

/// Deepest nesting of types that is followed; a recursive alias ends there.
const DEPTH_MAX: usize = 32;

impl<'a> Emitter<'a> {
    /// The schema of an alias; none when there is no such alias or it has no schema.
    pub(super) fn alias_schema(&self, name: &Name) -> Option<Value> {
        let definition = *self.aliases.get(name)?;
        self.schema(definition, 0)
    }

    /// The schema of a type of a tool's parameter or result; empty when there is none.
    pub(super) fn tool_schema(&self, definition: &Type) -> Value {
        self.schema(definition, 0).unwrap_or_else(|| Value::dict::<&str>([]))
    }

    fn schema(&self, definition: &Type, depth: usize) -> Option<Value> {
        if depth > DEPTH_MAX {
            return None;
        }
        let named = |name: &str| ("type", Value::from(name));
        match definition {
            Type::Named(name, args) => self.named_schema(name, args, depth),
            Type::Shape(fields) => {
                let mut properties = Vec::new();
                for (name, _, field) in fields {
                    properties.push((&**name, self.schema(field, depth + 1)?));
                }
                let required: Vec<_> = fields.iter().filter(|it| !it.1).map(|it| Value::from(&*it.0)).collect();
                let mut entries = vec![named("dict"), ("properties", Value::dict(properties))];
                if !required.is_empty() {
                    entries.push(("required", Value::list(required)));
                }
                Some(Value::dict(entries))
            }
            Type::Function(..) => Some(Value::dict([named("closure")])),
            Type::StringLiteral(text) => Some(Value::dict([named("string"), ("const", Value::from(&**text))])),
            Type::IntLiteral(number) => Some(Value::dict([named("int"), ("const", Value::Int(*number))])),
            Type::Union(members) => {
                let texts: Option<Vec<_>> = members.iter().map(string_literal).collect();
                let numbers: Option<Vec<_>> = members.iter().map(int_literal).collect();
                let (kind, literals) = match (texts, numbers) {
                    (Some(texts), _) => ("string", texts),
                    (None, Some(numbers)) => ("int", numbers),
                    (None, None) => {
                        let members: Option<Vec<_>> = members.iter().map(|it| self.schema(it, depth + 1)).collect();
                        return Some(Value::dict([("union", Value::list(members?))]));
                    }
                };
                Some(Value::dict([named(kind), ("enum", Value::list(literals))]))
            }
        }
    }

    fn named_schema(&self, name: &Name, args: &[Type], depth: usize) -> Option<Value> {
        let kind = ("type", Value::from(&**name));
        match (&**name, args) {
            ("list", [item]) => {
                let items = self.schema(item, depth + 1).map(|it| ("items", it));
                Some(Value::dict([kind].into_iter().chain(items)))
            }
            ("dict", [key, value]) => {
                let by_text = matches!(key, Type::Named(it, _) if &**it == "string");
                let others = self.schema(value, depth + 1).filter(|_| by_text);
                Some(Value::dict([kind].into_iter().chain(others.map(|it| ("additional_properties", it)))))
            }
            ("int" | "float" | "string" | "bool" | "list" | "dict" | "set" | "nil" | "closure" | "bytes", []) => {
                Some(Value::dict([kind]))
            }
            (_, []) => self.aliases.get(name).and_then(|it| self.schema(it, depth + 1)),
            _ => None,
        }
    }
}

fn string_literal(member: &Type) -> Option<Value> {
    match member {
        Type::StringLiteral(text) => Some(Value::from(&**text)),
        _ => None,
    }
}

fn int_literal(member: &Type) -> Option<Value> {
    match member {
        Type::IntLiteral(number) => Some(Value::Int(*number)),
        _ => None,
    }
}
