//! Handles of connections: texts `{kind}-{n}` from one counter. Functions also accept a dict with `id`.

use madrigal_vm::{Args, Fault, Str, Value};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers handles.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// A fresh handle.
    pub(crate) fn next(&self, kind: &str) -> String {
        format!("{kind}-{}", self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// The handle in the first argument.
pub(crate) fn handle(args: &Args<'_>, name: &str) -> Result<Str, Fault> {
    match args.get(0) {
        Value::String(id) => Ok(id.clone()),
        Value::Dict(it) => match it.get("id") {
            Some(id) => Ok(id.display()),
            None => Err(Fault::thrown(format!("{name}: handle dict must contain id"))),
        },
        _ => Err(Fault::thrown(format!("{name}: first argument must be a handle string or dict"))),
    }
}

/// Open things of one kind by handle.
pub(crate) struct Open<T>(Mutex<BTreeMap<String, Arc<T>>>);

impl<T> Default for Open<T> {
    fn default() -> Open<T> {
        Open(Mutex::new(BTreeMap::new()))
    }
}

impl<T> Open<T> {
    /// Registers a thing; false when there are `max` already.
    pub(crate) fn add(&self, id: &str, thing: Arc<T>, max: usize) -> bool {
        let mut open = self.0.lock();
        let room = open.len() < max;
        if room {
            open.insert(id.to_owned(), thing);
        }
        room
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<T>> {
        self.0.lock().get(id).cloned()
    }

    pub(crate) fn remove(&self, id: &str) -> Option<Arc<T>> {
        self.0.lock().remove(id)
    }

    /// Whether there is room for another one.
    pub(crate) fn has_room(&self, max: usize) -> bool {
        self.0.lock().len() < max
    }

    /// Takes all out.
    pub(crate) fn drain(&self) -> Vec<Arc<T>> {
        std::mem::take(&mut *self.0.lock()).into_values().collect()
    }
}
