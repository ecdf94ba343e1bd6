//! What a parameter annotation asks of an argument when the function is entered. Not here: asking
//! (`ops/parameters.rs`). A check is as deep as the annotation was written, never as deep as a value.

use crate::value::{Str, Value};

/// The run-time part of an annotated type. Types without one (`any`, structs, enums, type parameters) have no check.
#[derive(Clone, Debug)]
pub enum TypeCheck {
    /// A value of this kind.
    Simple(Simple),
    /// A list; every item passes the check.
    List(Box<TypeCheck>),
    /// A dict or struct.
    Dict(Box<DictCheck>),
    /// One of several.
    Union(Box<[TypeCheck]>),
    /// One of these literals, which are of the kind.
    Literals(Simple, Box<[Value]>),
    /// Exactly this literal, which is of the kind.
    Constant(Simple, Value),
    /// An instance of a struct, for the interface of this name.
    Interface(Str),
}

/// What is asked of a dict or struct.
#[derive(Clone, Debug, Default)]
pub struct DictCheck {
    /// Names of the fields that have to be present, as declared.
    pub required: Vec<Str>,
    /// Checks of fields that are present, in alphabetical order.
    pub fields: Vec<(Str, TypeCheck)>,
    /// Check of all other entries.
    pub others: Option<TypeCheck>,
}

/// Kinds that can be asked for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Simple {
    Int,
    Float,
    String,
    Bool,
    List,
    Set,
    Nil,
    Closure,
    Bytes,
}

impl Simple {
    /// The kind of this name in annotations.
    pub fn named(name: &str) -> Option<Simple> {
        Some(match name {
            "int" => Simple::Int,
            "float" => Simple::Float,
            "string" => Simple::String,
            "bool" => Simple::Bool,
            "list" => Simple::List,
            "set" => Simple::Set,
            "nil" => Simple::Nil,
            "closure" => Simple::Closure,
            "bytes" => Simple::Bytes,
            _ => return None,
        })
    }

    /// The name in annotations and messages.
    pub fn name(self) -> &'static str {
        match self {
            Simple::Int => "int",
            Simple::Float => "float",
            Simple::String => "string",
            Simple::Bool => "bool",
            Simple::List => "list",
            Simple::Set => "set",
            Simple::Nil => "nil",
            Simple::Closure => "closure",
            Simple::Bytes => "bytes",
        }
    }
}
