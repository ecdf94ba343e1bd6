//! Handles: shared things that live outside the interpreter (tasks, channels, atomics, sockets). The interpreter
//! knows only how to name, print, compare and read members of them.

use super::display::drop_object;
use super::{Str, Value};
use std::any::Any;
use std::fmt;
use triomphe::Arc;

/// A shared thing outside the interpreter.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

/// What a handle points to; there until it is dropped.
struct Shared(Option<Box<dyn HandleObject>>);

impl Shared {
    fn object(&self) -> &dyn HandleObject {
        self.0.as_deref().expect("the object is there until the last handle goes")
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop_object(object);
        }
    }
}

/// What the interpreter asks of a handle.
pub trait HandleObject: Any + Send + Sync {
    /// What `type_of` answers.
    fn type_name(&self) -> &'static str;

    /// The printed form.
    fn display(&self) -> String;

    /// A readable member, such as `h.status`; `None` is an unknown one.
    fn property(&self, name: &str) -> Option<Value> {
        let _ = name;
        None
    }

    /// What `==` compares: handles with equal keys are equal; `None` is never equal, not even to itself.
    fn identity(&self) -> Option<u64>;

    /// Whether `for` can pull values out of it.
    fn is_iterable(&self) -> bool {
        false
    }

    /// Whether leaving a loop over it ends it.
    fn ends_with_loop(&self) -> bool {
        false
    }
}

impl Handle {
    /// Wraps a thing.
    pub fn new(object: impl HandleObject) -> Handle {
        Handle(Arc::new(Shared(Some(Box::new(object)))))
    }

    /// The thing, when it is a `T`.
    pub fn downcast<T: HandleObject>(&self) -> Option<&T> {
        let object: &dyn Any = self.0.object();
        object.downcast_ref()
    }

    /// What `type_of` answers.
    pub fn type_name(&self) -> &'static str {
        self.0.object().type_name()
    }

    /// A readable member.
    pub fn property(&self, name: &Str) -> Option<Value> {
        self.0.object().property(name)
    }

    /// Whether `for` can pull values out of it.
    pub fn is_iterable(&self) -> bool {
        self.0.object().is_iterable()
    }

    /// Whether leaving a loop over it ends it.
    pub fn ends_with_loop(&self) -> bool {
        self.0.object().ends_with_loop()
    }

    /// Whether `==` holds.
    pub fn equals(&self, other: &Handle) -> bool {
        match (self.0.object().identity(), other.0.object().identity()) {
            (Some(a), Some(b)) => a == b && self.type_name() == other.type_name(),
            _ => false,
        }
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.object().display())
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An int that also stands for the atomic it was read from.
#[derive(Debug)]
pub struct Observed {
    /// The value from before the operation.
    pub value: i64,
    /// The atomic.
    pub atomic: Handle,
}
