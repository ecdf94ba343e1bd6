//! Pairs.

use super::Value;
use super::display::drop_deep;
use triomphe::Arc;

/// A pair of the language.
#[derive(Clone, Debug)]
pub struct Pair(Arc<Halves>);

#[derive(Debug)]
struct Halves(Value, Value);

impl Pair {
    /// `pair(first, second)`.
    pub fn new(first: Value, second: Value) -> Pair {
        Pair(Arc::new(Halves(first, second)))
    }

    /// The first half.
    pub fn first(&self) -> &Value {
        &self.0.0
    }

    /// Whether both are the same object in memory.
    pub fn same(&self, other: &Pair) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The second half.
    pub fn second(&self) -> &Value {
        &self.0.1
    }
}

impl Drop for Halves {
    fn drop(&mut self) {
        if !self.0.is_immediate() || !self.1.is_immediate() {
            drop_deep(vec![self.0.take(), self.1.take()]);
        }
    }
}
