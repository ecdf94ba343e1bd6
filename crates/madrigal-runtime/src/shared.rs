//! State that tasks share: one value, or values by key, each with a version that every change raises.
//! Not here: who finds which cell by what name. Invariant: a key that was deleted and set again never has a version
//! it had before, so a comparison by version cannot mistake one for the other.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

/// A value with the number of changes it has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot<T> {
    /// The value.
    pub value: T,
    /// Its version.
    pub version: u64,
}

/// What happened to a cell or a map so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SharedMetrics {
    /// The present version; of a map, the number of all changes.
    pub version: u64,
    /// How often it was read.
    pub read_count: u64,
    /// How often it was changed, in whatever way.
    pub write_count: u64,
    /// Comparisons that held, and changed it.
    pub cas_success_count: u64,
    /// Comparisons that did not hold.
    pub cas_failure_count: u64,
    /// Those among them that came with the version of an earlier read.
    pub stale_read_count: u64,
}

impl SharedMetrics {
    fn compared(&mut self, held: bool, by_version: bool) {
        if held {
            self.cas_success_count += 1;
            self.write_count += 1;
        } else {
            self.cas_failure_count += 1;
            self.stale_read_count += u64::from(by_version);
        }
    }
}

/// One shared value. Clones are the same cell. No operation waits; there is nothing to cancel.
///
/// ```
/// use madrigal_runtime::SharedCell;
///
/// let total = SharedCell::new(40);
/// assert_eq!(total.update(|n| n + 2), 42);
/// let seen = total.snapshot();
/// total.set(7);
/// assert!(!total.compare_version_and_set(seen.version, 0), "somebody was faster");
/// ```
pub struct SharedCell<T>(Arc<Mutex<CellState<T>>>);

struct CellState<T> {
    value: T,
    metrics: SharedMetrics,
}

impl<T> Clone for SharedCell<T> {
    fn clone(&self) -> Self {
        SharedCell(self.0.clone())
    }
}

impl<T> fmt::Debug for SharedCell<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SharedCell").field("version", &self.0.lock().metrics.version).finish_non_exhaustive()
    }
}

// In all of these, old values are dropped unlocked: what they own may come back here when it goes.
impl<T: Clone> SharedCell<T> {
    /// A cell at version 0.
    pub fn new(initial: T) -> SharedCell<T> {
        SharedCell(Arc::new(Mutex::new(CellState { value: initial, metrics: SharedMetrics::default() })))
    }

    /// The value.
    pub fn get(&self) -> T {
        self.snapshot().value
    }

    /// The value with its version.
    pub fn snapshot(&self) -> Snapshot<T> {
        let mut cell = self.0.lock();
        cell.metrics.read_count += 1;
        Snapshot { value: cell.value.clone(), version: cell.metrics.version }
    }

    /// Replaces the value; the previous one.
    pub fn set(&self, value: T) -> T {
        let mut cell = self.0.lock();
        cell.metrics.version += 1;
        cell.metrics.write_count += 1;
        std::mem::replace(&mut cell.value, value)
    }

    /// Replaces the value if it equals `expected`; whether it did.
    pub fn compare_and_set(&self, expected: &T, new: T) -> bool
    where
        T: PartialEq,
    {
        self.replace_if(new, false, |cell| cell.value == *expected)
    }

    /// Replaces the value if nobody changed it since it had this version; whether it did.
    pub fn compare_version_and_set(&self, version: u64, new: T) -> bool {
        self.replace_if(new, true, |cell| cell.metrics.version == version)
    }

    fn replace_if(&self, new: T, by_version: bool, holds: impl FnOnce(&CellState<T>) -> bool) -> bool {
        let mut cell = self.0.lock();
        let held = holds(&cell);
        cell.metrics.compared(held, by_version);
        if !held {
            drop(cell);
            return false;
        }
        cell.metrics.version += 1;
        let old = std::mem::replace(&mut cell.value, new);
        drop(cell);
        drop(old);
        true
    }

    /// Replaces the value by what `change` makes of it, asking again whenever somebody else was faster; the new value.
    pub fn update(&self, mut change: impl FnMut(&T) -> T) -> T {
        loop {
            let seen = self.snapshot();
            let new = change(&seen.value);
            if self.compare_version_and_set(seen.version, new.clone()) {
                return new;
            }
        }
    }

    /// What happened so far.
    pub fn metrics(&self) -> SharedMetrics {
        self.0.lock().metrics
    }
}

/// Shared values by key, each with a version of its own. Clones are the same map. No operation waits.
pub struct SharedMap<T>(Arc<Mutex<MapState<T>>>);

struct MapState<T> {
    entries: BTreeMap<String, Snapshot<T>>,
    /// The highest version a key had when it was deleted: absent keys are at this version.
    floor: u64,
    metrics: SharedMetrics,
}

impl<T> Clone for SharedMap<T> {
    fn clone(&self) -> Self {
        SharedMap(self.0.clone())
    }
}

impl<T> Default for SharedMap<T> {
    fn default() -> Self {
        let state = MapState { entries: BTreeMap::new(), floor: 0, metrics: SharedMetrics::default() };
        SharedMap(Arc::new(Mutex::new(state)))
    }
}

impl<T> fmt::Debug for SharedMap<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SharedMap").field("len", &self.0.lock().entries.len()).finish_non_exhaustive()
    }
}

impl<T> MapState<T> {
    fn put(&mut self, key: &str, value: T) -> Option<T> {
        self.metrics.version += 1;
        match self.entries.get_mut(key) {
            Some(entry) => {
                entry.version += 1;
                Some(std::mem::replace(&mut entry.value, value))
            }
            None => {
                let version = self.floor + 1;
                self.entries.insert(key.to_owned(), Snapshot { value, version });
                None
            }
        }
    }
}

impl<T: Clone> SharedMap<T> {
    /// An empty map.
    pub fn new() -> SharedMap<T> {
        SharedMap::default()
    }

    /// A map of these entries, all at version 0.
    pub fn with_entries(entries: impl IntoIterator<Item = (String, T)>) -> SharedMap<T> {
        let map = SharedMap::default();
        let entries = entries.into_iter().map(|(key, value)| (key, Snapshot { value, version: 0 }));
        map.0.lock().entries = entries.collect();
        map
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<T> {
        self.snapshot(key).value
    }

    /// The value of a key with its version. An absent key has one too: comparing with it sets the key if still absent.
    pub fn snapshot(&self, key: &str) -> Snapshot<Option<T>> {
        let mut map = self.0.lock();
        map.metrics.read_count += 1;
        match map.entries.get(key) {
            Some(entry) => Snapshot { value: Some(entry.value.clone()), version: entry.version },
            None => Snapshot { value: None, version: map.floor },
        }
    }

    /// All keys and values, in key order.
    pub fn entries(&self) -> Vec<(String, T)> {
        let mut map = self.0.lock();
        map.metrics.read_count += 1;
        map.entries.iter().map(|(key, entry)| (key.clone(), entry.value.clone())).collect()
    }

    /// Sets a key; its previous value.
    pub fn set(&self, key: &str, value: T) -> Option<T> {
        let mut map = self.0.lock();
        map.metrics.write_count += 1;
        map.put(key, value)
    }

    /// Deletes a key; its previous value.
    pub fn delete(&self, key: &str) -> Option<T> {
        let mut map = self.0.lock();
        let removed = map.entries.remove(key)?;
        map.metrics.version += 1;
        map.metrics.write_count += 1;
        map.floor = map.floor.max(removed.version + 1);
        Some(removed.value)
    }

    /// Sets a key if its value equals `expected` (None: if it is absent); whether it did.
    pub fn compare_and_set(&self, key: &str, expected: Option<&T>, new: T) -> bool
    where
        T: PartialEq,
    {
        self.set_when(key, new, |present| present == expected)
    }

    /// Sets a key if nobody changed it since it had this version; whether it did.
    pub fn compare_version_and_set(&self, key: &str, version: u64, new: T) -> bool {
        self.set_if(key, new, true, |map| map.entries.get(key).map_or(map.floor, |entry| entry.version) == version)
    }

    /// Sets a key if `holds` of its present value (None: it is absent); whether it did. `holds` must not come back here.
    pub fn set_when(&self, key: &str, new: T, holds: impl FnOnce(Option<&T>) -> bool) -> bool {
        self.set_if(key, new, false, |map| holds(map.entries.get(key).map(|entry| &entry.value)))
    }

    fn set_if(&self, key: &str, new: T, by_version: bool, holds: impl FnOnce(&MapState<T>) -> bool) -> bool {
        let mut map = self.0.lock();
        let held = holds(&map);
        map.metrics.compared(held, by_version);
        let old = held.then(|| map.put(key, new));
        drop(map);
        old.is_some()
    }

    /// What happened so far.
    pub fn metrics(&self) -> SharedMetrics {
        self.0.lock().metrics
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_set_afresh_has_no_version_it_had_before() {
        let map = SharedMap::new();
        let absent = map.snapshot("a");
        assert!(map.compare_version_and_set("a", absent.version, 1));
        assert!(!map.compare_version_and_set("a", absent.version, 2), "it is there now");
        let before = map.snapshot("a");
        assert_eq!(map.delete("a"), Some(1));
        map.set("a", 1);
        assert!(!map.compare_version_and_set("a", before.version, 2), "it is another one");
        assert_eq!(map.delete("b"), None);
        let metrics = map.metrics();
        assert_eq!((metrics.version, metrics.write_count), (3, 3));
        assert_eq!((metrics.cas_success_count, metrics.cas_failure_count, metrics.stale_read_count), (1, 2, 2));
    }

    #[test]
    fn versions_are_those_of_the_key() {
        let map = SharedMap::new();
        map.set("a", 1);
        map.set("a", 2);
        map.set("b", 1);
        assert_eq!((map.snapshot("a").version, map.snapshot("b").version), (2, 1));
        assert_eq!(map.entries(), [("a".to_owned(), 2), ("b".to_owned(), 1)]);
        assert!(map.compare_and_set("c", None, 3) && !map.compare_and_set("c", None, 4));
    }

    #[test]
    fn no_update_is_lost() {
        let cell = SharedCell::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..500).map(|_| cell.update(|n| n + 1)).max());
            }
        });
        assert_eq!(cell.get(), 2000);
        assert_eq!(cell.metrics().cas_success_count, 2000);
    }
}
