//! Checks of annotated parameters: which part of a type can be asked of a value when a function is entered. Aliases
//! are not expanded, so annotations by alias, struct or enum are not checked.

use super::*;
use crate::hir::{Function, Type};
use madrigal_vm::Value;
use madrigal_vm::bytecode::{DictCheck, Simple, TypeCheck};

impl Emitter<'_> {
    /// Emits the checks of the parameters, whose registers come first and hold their values.
    pub(super) fn check_parameters(&mut self, function: &Function) {
        for (position, param) in function.params.iter().enumerate() {
            let Some(annotation) = &param.annotation else { continue };
            let check = match annotation {
                Type::Named(name, args) if args.is_empty() && self.is_interface(function, name) => {
                    Some(TypeCheck::Interface(Str::from(&**name)))
                }
                other => check_of(other),
            };
            let check = if param.rest { check.map(of_rest) } else { check };
            if let Some(check) = check {
                let check = self.state().builder.check(Str::from(&*param.name.0), check);
                self.op(Instruction::CheckParam { src: position as u16, check }, param.name.1);
            }
        }
    }

    fn is_interface(&self, function: &Function, name: &Name) -> bool {
        self.interfaces.contains(name) && !function.type_params.contains(name)
    }
}

/// The check of a rest parameter, which may be annotated with the type of the list or with that of its items.
fn of_rest(annotation: TypeCheck) -> TypeCheck {
    match annotation {
        list @ (TypeCheck::List(_) | TypeCheck::Simple(Simple::List)) => list,
        item => TypeCheck::List(Box::new(item)),
    }
}

/// What can be asked of a value; a shape or union with a part of which nothing can be asked has no check either.
fn check_of(annotation: &Type) -> Option<TypeCheck> {
    match annotation {
        Type::Named(name, args) => named(name, args),
        Type::Function(..) => Some(TypeCheck::Simple(Simple::Closure)),
        Type::Shape(fields) => shape(fields),
        Type::Union(members) => union(members),
        Type::StringLiteral(text) => Some(TypeCheck::Constant(Simple::String, Value::from(&**text))),
        Type::IntLiteral(number) => Some(TypeCheck::Constant(Simple::Int, Value::Int(*number))),
    }
}

fn named(name: &str, args: &[Type]) -> Option<TypeCheck> {
    match (name, args) {
        ("list", [item]) => {
            Some(check_of(item).map_or(TypeCheck::Simple(Simple::List), |it| TypeCheck::List(Box::new(it))))
        }
        ("dict", []) => Some(TypeCheck::Dict(Box::default())),
        ("dict", [key, value]) => {
            let by_text = matches!(key, Type::Named(name, _) if &**name == "string");
            let others = check_of(value).filter(|_| by_text);
            Some(TypeCheck::Dict(Box::new(DictCheck { others, ..DictCheck::default() })))
        }
        (name, []) => Simple::named(name).map(TypeCheck::Simple),
        _ => None,
    }
}

fn shape(declared: &[(Name, bool, Type)]) -> Option<TypeCheck> {
    let required = declared.iter().filter(|(_, optional, _)| !optional).map(|(name, ..)| Str::from(&**name)).collect();
    let field = |(name, _, annotation): &(Name, bool, Type)| Some((Str::from(&**name), check_of(annotation)?));
    let mut fields = declared.iter().map(field).collect::<Option<Vec<_>>>()?;
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    Some(TypeCheck::Dict(Box::new(DictCheck { required, fields, others: None })))
}

fn union(members: &[Type]) -> Option<TypeCheck> {
    let texts = |it: &Type| if let Type::StringLiteral(text) = it { Some(Value::from(&**text)) } else { None };
    let numbers = |it: &Type| if let Type::IntLiteral(number) = it { Some(Value::Int(*number)) } else { None };
    if let Some(literals) = members.iter().map(texts).collect() {
        return Some(TypeCheck::Literals(Simple::String, literals));
    }
    if let Some(literals) = members.iter().map(numbers).collect() {
        return Some(TypeCheck::Literals(Simple::Int, literals));
    }
    members.iter().map(check_of).collect::<Option<_>>().map(TypeCheck::Union)
}
