//! Dicts: hashed by key; the key order that iteration and printing need is derived on demand and kept until the set
//! of keys changes. The hash key is random per dict and can never be observed: every visible order is the key order.

use super::display::drop_deep;
use super::{Str, Value};
use indexmap::IndexMap;
use std::sync::OnceLock;
use triomphe::Arc;

type Entries = IndexMap<Str, Value, foldhash::fast::RandomState>;

/// A dict of the language.
#[derive(Clone, Debug, Default)]
pub struct Dict(Arc<Table>);

#[derive(Clone, Debug, Default)]
struct Table {
    entries: Entries,
    /// Indices of `entries` in key order. Emptied by every change of the set of keys.
    order: OnceLock<Box<[u32]>>,
}

impl Dict {
    /// An empty dict.
    pub fn new() -> Dict {
        Dict::default()
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.0.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.0.entries.is_empty()
    }

    /// The value under `key`.
    #[inline]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.entries.get(key)
    }

    /// Whether `key` is present, also with the value nil.
    pub fn has(&self, key: &str) -> bool {
        self.0.entries.contains_key(key)
    }

    /// Sets `key`; copies first when somebody else holds the dict.
    pub fn insert(&mut self, key: Str, value: Value) {
        let table = Arc::make_mut(&mut self.0);
        match table.entries.get_mut(&key) {
            Some(slot) => *slot = value,
            None => {
                table.entries.insert(key, value);
                table.order = OnceLock::new();
            }
        }
    }

    /// The value under `key` for writing; adds nil when missing.
    pub fn slot(&mut self, key: &Str) -> &mut Value {
        let table = Arc::make_mut(&mut self.0);
        if !table.entries.contains_key(key.as_str()) {
            table.order = OnceLock::new();
        }
        table.entries.entry(key.clone()).or_insert(Value::Nil)
    }

    /// Removes `key` and gives its value.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        if !self.has(key) {
            return None;
        }
        let table = Arc::make_mut(&mut self.0);
        table.order = OnceLock::new();
        table.entries.swap_remove(key)
    }

    fn order(&self) -> &[u32] {
        self.0.order.get_or_init(|| {
            let mut order: Box<[u32]> = (0..self.0.entries.len() as u32).collect();
            order.sort_unstable_by(|a, b| self.entry(*a).0.cmp(self.entry(*b).0));
            order
        })
    }

    fn entry(&self, index: u32) -> (&Str, &Value) {
        self.0.entries.get_index(index as usize).expect("the order holds indices of entries")
    }

    /// The `position`-th entry in key order.
    pub fn nth(&self, position: usize) -> Option<(&Str, &Value)> {
        self.order().get(position).map(|index| self.entry(*index))
    }

    /// The entries in key order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Str, &Value)> + '_ {
        self.order().iter().map(|index| self.entry(*index))
    }

    /// The keys in order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &Str> + '_ {
        self.iter().map(|(key, _)| key)
    }

    /// The values in key order.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &Value> + '_ {
        self.iter().map(|(_, value)| value)
    }

    /// Where the object lies in memory, for identity only.
    pub fn address(&self) -> *const () {
        Arc::as_ptr(&self.0).cast()
    }

    /// Whether both are the same object in memory.
    pub fn same(&self, other: &Dict) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl FromIterator<(Str, Value)> for Dict {
    fn from_iter<I: IntoIterator<Item = (Str, Value)>>(entries: I) -> Dict {
        let entries = entries.into_iter().collect();
        Dict(Arc::new(Table { entries, order: OnceLock::new() }))
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        if self.entries.values().any(|it| !it.is_immediate()) {
            drop_deep(std::mem::take(&mut self.entries).into_values().collect());
        }
    }
}
