//! Lists: a shared vector, written in place by its only holder.

use super::Value;
use super::display::drop_deep;
use std::ops::Deref;
use triomphe::Arc;

/// A list of the language.
#[derive(Clone, Debug)]
pub struct List(Arc<Items>);

#[derive(Clone, Debug)]
struct Items(Vec<Value>);

impl List {
    /// The items, for writing; copies them first when somebody else holds the list.
    #[inline]
    pub fn make_mut(&mut self) -> &mut Vec<Value> {
        &mut Arc::make_mut(&mut self.0).0
    }

    /// The items, moved out when this is the only holder.
    pub fn into_vec(self) -> Vec<Value> {
        match Arc::try_unwrap(self.0) {
            Ok(mut items) => std::mem::take(&mut items.0),
            Err(shared) => shared.0.clone(),
        }
    }

    /// Where the object lies in memory, for identity only.
    pub fn address(&self) -> *const () {
        Arc::as_ptr(&self.0).cast()
    }

    /// Whether both are the same object in memory.
    pub fn same(&self, other: &List) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The position an index of the language means: negative counts from the end; `None` when out of range.
    #[inline]
    pub fn position(&self, index: i64) -> Option<usize> {
        position(index, self.0.0.len())
    }
}

/// The position a possibly negative `index` means among `len` items.
#[inline]
pub(crate) fn position(index: i64, len: usize) -> Option<usize> {
    let at = if index < 0 { index.checked_add(len as i64)? } else { index };
    let at = usize::try_from(at).ok()?;
    (at < len).then_some(at)
}

impl Deref for List {
    type Target = [Value];
    #[inline]
    fn deref(&self) -> &[Value] {
        &self.0.0
    }
}

impl From<Vec<Value>> for List {
    fn from(items: Vec<Value>) -> List {
        List(Arc::new(Items(items)))
    }
}

impl FromIterator<Value> for List {
    fn from_iter<I: IntoIterator<Item = Value>>(items: I) -> List {
        List::from(items.into_iter().collect::<Vec<_>>())
    }
}

impl Drop for Items {
    fn drop(&mut self) {
        if self.0.iter().any(|it| !it.is_immediate()) {
            drop_deep(std::mem::take(&mut self.0));
        }
    }
}
