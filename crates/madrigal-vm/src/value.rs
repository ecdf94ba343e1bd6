//! The value type: 16 bytes, immediates inline, everything else one shared pointer, copied on write.
//! One file per kind below; here only what all kinds share. Invariant: nothing can come to contain itself.

mod bytes;
mod closure;
mod compare;
mod dict;
mod display;
mod enumeration;
mod handle;
mod list;
mod pair;
mod range;
mod set;
mod structure;
mod text;

pub use bytes::Bytes;
pub use closure::{Closure, ClosureObject};
pub use compare::{compare, equal, structural_key};
pub use dict::Dict;
pub use display::{display_duration, display_float};
pub use enumeration::EnumValue;
pub use handle::{Handle, HandleObject, Observed};
pub use list::List;
pub(crate) use list::position as list_position;
pub use pair::Pair;
pub use range::Range;
pub use set::Set;
pub use structure::{Shape, Struct};
pub use text::Str;

use crate::builtin::Builtin;
use triomphe::Arc;

/// Wraps what a value variant shares.
pub fn shared<T>(it: T) -> Arc<T> {
    Arc::new(it)
}

/// A value of the language.
#[derive(Debug, Default)]
pub enum Value {
    /// `nil`.
    #[default]
    Nil,
    /// No value: a variable whose declaration has not run, an absent struct field, the end of an iteration.
    /// Never visible to a program.
    Unset,
    /// `true`, `false`.
    Bool(bool),
    /// A signed 64-bit integer.
    Int(i64),
    /// A double.
    Float(f64),
    /// Whole milliseconds.
    Duration(i64),
    /// Text.
    String(Str),
    /// Bytes.
    Bytes(Bytes),
    /// A list.
    List(List),
    /// A dict.
    Dict(Dict),
    /// A set.
    Set(Set),
    /// A range of ints.
    Range(Range),
    /// A pair.
    Pair(Pair),
    /// An instance of a struct.
    Struct(Struct),
    /// A variant of an enum.
    Enum(EnumValue),
    /// A function or closure.
    Closure(Closure),
    /// A builtin used as a value.
    Builtin(Arc<Builtin>),
    /// What `atomic_add` and `atomic_set` return: an int that also stands for its atomic.
    Observed(Arc<Observed>),
    /// Something shared that lives outside the interpreter.
    Handle(Handle),
}

/// The kinds of value that have methods of their own, as index of method tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Kind {
    Nil,
    Bool,
    Int,
    Float,
    Duration,
    String,
    List,
    Dict,
    Set,
    Range,
    Pair,
    Struct,
    Enum,
    Closure,
    Builtin,
    Bytes,
    Handle,
}

impl Kind {
    /// How many kinds there are.
    pub const COUNT: usize = 17;
}

impl Clone for Value {
    #[inline(always)]
    fn clone(&self) -> Value {
        match self {
            Value::Nil => Value::Nil,
            Value::Unset => Value::Unset,
            Value::Bool(it) => Value::Bool(*it),
            Value::Int(it) => Value::Int(*it),
            Value::Float(it) => Value::Float(*it),
            Value::Duration(it) => Value::Duration(*it),
            _ => self.clone_shared(),
        }
    }
}

impl Value {
    fn clone_shared(&self) -> Value {
        match self {
            Value::String(it) => Value::String(it.clone()),
            Value::Bytes(it) => Value::Bytes(it.clone()),
            Value::List(it) => Value::List(it.clone()),
            Value::Dict(it) => Value::Dict(it.clone()),
            Value::Set(it) => Value::Set(it.clone()),
            Value::Range(it) => Value::Range(it.clone()),
            Value::Pair(it) => Value::Pair(it.clone()),
            Value::Struct(it) => Value::Struct(it.clone()),
            Value::Enum(it) => Value::Enum(it.clone()),
            Value::Closure(it) => Value::Closure(it.clone()),
            Value::Builtin(it) => Value::Builtin(it.clone()),
            Value::Observed(it) => Value::Observed(it.clone()),
            Value::Handle(it) => Value::Handle(it.clone()),
            Value::Nil | Value::Unset => Value::Nil,
            Value::Bool(it) => Value::Bool(*it),
            Value::Int(it) => Value::Int(*it),
            Value::Float(it) => Value::Float(*it),
            Value::Duration(it) => Value::Duration(*it),
        }
    }

    /// Whether the value is stored inline and needs neither counting nor dropping.
    #[inline(always)]
    pub fn is_immediate(&self) -> bool {
        matches!(
            self,
            Value::Nil | Value::Unset | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Duration(_)
        )
    }

    /// The value of a text.
    pub fn text(text: impl Into<Str>) -> Value {
        Value::String(text.into())
    }

    /// A list of these values.
    pub fn list(items: Vec<Value>) -> Value {
        Value::List(List::from(items))
    }

    /// A dict of these entries; later ones win.
    pub fn dict<K: Into<Str>>(entries: impl IntoIterator<Item = (K, Value)>) -> Value {
        Value::Dict(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }

    /// A set of these values, unique by structural key.
    pub fn set(values: impl IntoIterator<Item = Value>) -> Value {
        Value::Set(values.into_iter().collect())
    }

    /// `Result.Ok(value)`.
    pub fn ok(value: Value) -> Value {
        Value::Enum(EnumValue::ok(value))
    }

    /// `Result.Err(value)`.
    pub fn err(value: Value) -> Value {
        Value::Enum(EnumValue::err(value))
    }

    /// What `type_of` answers.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Nil | Value::Unset => "nil",
            Value::Bool(_) => "bool",
            Value::Int(_) | Value::Observed(_) => "int",
            Value::Float(_) => "float",
            Value::Duration(_) => "duration",
            Value::String(_) => "string",
            Value::Bytes(_) => "bytes",
            Value::List(_) => "list",
            Value::Dict(_) => "dict",
            Value::Set(_) => "set",
            Value::Range(_) => "range",
            Value::Pair(_) => "pair",
            Value::Struct(_) => "struct",
            Value::Enum(_) => "enum",
            Value::Closure(_) => "closure",
            Value::Builtin(_) => "builtin",
            Value::Handle(it) => it.type_name(),
        }
    }

    /// The kind whose methods apply.
    pub fn kind(&self) -> Kind {
        match self {
            Value::Nil | Value::Unset => Kind::Nil,
            Value::Bool(_) => Kind::Bool,
            Value::Int(_) | Value::Observed(_) => Kind::Int,
            Value::Float(_) => Kind::Float,
            Value::Duration(_) => Kind::Duration,
            Value::String(_) => Kind::String,
            Value::Bytes(_) => Kind::Bytes,
            Value::List(_) => Kind::List,
            Value::Dict(_) => Kind::Dict,
            Value::Set(_) => Kind::Set,
            Value::Range(_) => Kind::Range,
            Value::Pair(_) => Kind::Pair,
            Value::Struct(_) => Kind::Struct,
            Value::Enum(_) => Kind::Enum,
            Value::Closure(_) => Kind::Closure,
            Value::Builtin(_) => Kind::Builtin,
            Value::Handle(_) => Kind::Handle,
        }
    }

    /// Whether conditions take it as true (language reference, truthiness).
    #[inline]
    pub fn is_truthy(&self) -> bool {
        match self {
            Value::Bool(it) => *it,
            Value::Nil | Value::Unset => false,
            Value::Int(it) => *it != 0,
            Value::Float(it) => *it != 0.0,
            Value::Duration(it) => *it != 0,
            Value::String(it) => !it.is_empty(),
            Value::Bytes(it) => !it.is_empty(),
            Value::List(it) => !it.is_empty(),
            Value::Dict(it) => !it.is_empty(),
            Value::Set(it) => !it.is_empty(),
            Value::Observed(it) => it.value != 0,
            _ => true,
        }
    }

    /// Whether it is `nil`.
    #[inline]
    pub fn is_nil(&self) -> bool {
        matches!(self, Value::Nil | Value::Unset)
    }

    /// Whether calling it can work.
    pub fn is_callable(&self) -> bool {
        matches!(self, Value::Closure(_) | Value::Builtin(_))
    }

    /// The int, also that of an observation.
    #[inline]
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Value::Int(it) => Some(*it),
            Value::Observed(it) => Some(it.value),
            _ => None,
        }
    }

    /// The number as a double, for ints and floats.
    #[inline]
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Value::Float(it) => Some(*it),
            other => other.as_int().map(|it| it as f64),
        }
    }

    /// The text of a string value (not a display form).
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(it) => Some(it.as_str()),
            _ => None,
        }
    }

    /// The bytes of a bytes value, or those of a string.
    pub fn as_octets(&self) -> Option<&[u8]> {
        match self {
            Value::Bytes(it) => Some(it),
            other => other.as_str().map(str::as_bytes),
        }
    }

    /// Milliseconds of a duration or an int, as times and timeouts accept them.
    pub fn as_millis(&self) -> Option<i64> {
        match self {
            Value::Duration(it) => Some(*it),
            other => other.as_int(),
        }
    }

    /// The display form.
    pub fn display(&self) -> Str {
        match self {
            Value::String(it) => it.clone(),
            other => Str::from(other.to_string()),
        }
    }

    /// Moves the value out, leaving nil.
    #[inline(always)]
    pub fn take(&mut self) -> Value {
        std::mem::replace(self, Value::Nil)
    }
}

/// Structural equality of the language; note that NaN and closures are not equal to themselves.
impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        equal(self, other)
    }
}

impl From<bool> for Value {
    fn from(it: bool) -> Value {
        Value::Bool(it)
    }
}

impl From<i64> for Value {
    fn from(it: i64) -> Value {
        Value::Int(it)
    }
}

impl From<usize> for Value {
    fn from(it: usize) -> Value {
        Value::Int(i64::try_from(it).unwrap_or(i64::MAX))
    }
}

impl From<f64> for Value {
    fn from(it: f64) -> Value {
        Value::Float(it)
    }
}

impl From<&str> for Value {
    fn from(it: &str) -> Value {
        Value::String(Str::from(it))
    }
}

impl From<String> for Value {
    fn from(it: String) -> Value {
        Value::String(Str::from(it))
    }
}

impl From<Str> for Value {
    fn from(it: Str) -> Value {
        Value::String(it)
    }
}

impl From<Bytes> for Value {
    fn from(it: Bytes) -> Value {
        Value::Bytes(it)
    }
}

impl From<Vec<Value>> for Value {
    fn from(it: Vec<Value>) -> Value {
        Value::list(it)
    }
}

impl From<Dict> for Value {
    fn from(it: Dict) -> Value {
        Value::Dict(it)
    }
}

impl From<()> for Value {
    fn from((): ()) -> Value {
        Value::Nil
    }
}

const _: () = assert!(size_of::<Value>() == 16, "values are two words");
