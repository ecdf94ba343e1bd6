//! Functions as values: code and the values captured when the function was created.

use super::Value;
use super::display::drop_deep;
use crate::bytecode::Proto;
use triomphe::Arc;

/// A function or closure.
#[derive(Clone, Debug)]
pub struct Closure(Arc<ClosureObject>);

/// What a [`Closure`] points to.
#[derive(Debug)]
pub struct ClosureObject {
    proto: Arc<Proto>,
    captures: Box<[Value]>,
}

impl Closure {
    /// A closure over these captured values.
    pub fn new(proto: Arc<Proto>, captures: Box<[Value]>) -> Closure {
        Closure(Arc::new(ClosureObject { proto, captures }))
    }

    /// Its code.
    #[inline]
    pub fn proto(&self) -> &Arc<Proto> {
        &self.0.proto
    }

    /// The captured values.
    #[inline]
    pub fn captures(&self) -> &[Value] {
        &self.0.captures
    }

    /// Whether both are the same object in memory.
    pub fn same(&self, other: &Closure) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Where the object lies in memory, for identity only.
    pub fn address(&self) -> *const () {
        Arc::as_ptr(&self.0).cast()
    }

    /// The object itself, for frames.
    #[inline]
    pub(crate) fn object(&self) -> &ClosureObject {
        &self.0
    }
}

impl ClosureObject {
    /// Its code.
    #[inline]
    pub fn proto(&self) -> &Arc<Proto> {
        &self.proto
    }

    /// The captured values.
    #[inline]
    pub fn captures(&self) -> &[Value] {
        &self.captures
    }
}

impl Drop for ClosureObject {
    fn drop(&mut self) {
        if self.captures.iter().any(|it| !it.is_immediate()) {
            drop_deep(std::mem::take(&mut self.captures).into_vec());
        }
    }
}
