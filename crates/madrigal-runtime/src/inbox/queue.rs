//! The entries of one session: in order of their sequences, with those in flight and those given up. No locks, no time.
//! Invariants: sequences rise by one; an entry is queued, in flight, dead or gone, and only one of these.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use super::{InboxEntry, NewEntry};

/// How many acknowledged names are remembered.
const REMEMBERED_MAX: usize = 1000;

#[derive(Default)]
pub(super) struct Queue {
    entries: VecDeque<Item>,
    in_flight: BTreeMap<u64, Item>,
    dead: VecDeque<InboxEntry>,
    bytes: usize,
    last_sequence: u64,
    /// What had been pushed when the session was last cleared.
    cleared_to: u64,
    /// Names given by producers, of entries that are queued, in flight or remembered.
    by_id: HashMap<String, u64>,
    /// Names acknowledged, oldest first.
    acknowledged: VecDeque<String>,
}

struct Item {
    entry: InboxEntry,
    named: bool,
    priority: bool,
    replaces: Option<String>,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn snapshot(&self) -> Vec<InboxEntry> {
        self.entries.iter().map(|item| item.entry.clone()).collect()
    }

    /// The sequence of the entry that `new` repeats, or that it has just replaced.
    pub(super) fn repeated_or_replaced(&mut self, new: &NewEntry, ts_ms: i64) -> Option<u64> {
        if let Some(sequence) = new.id.as_ref().and_then(|id| self.by_id.get(id)) {
            return Some(*sequence);
        }
        let key = new.replaces.as_ref()?;
        let same = |item: &&mut Item| {
            item.replaces.as_ref() == Some(key) && item.entry.kind == new.kind && item.entry.source == new.source
        };
        let item = self.entries.iter_mut().find(same)?;
        self.bytes = self.bytes - item.entry.content.len() + new.content.len();
        item.entry.content.clone_from(&new.content);
        item.entry.ts_ms = ts_ms;
        Some(item.entry.sequence)
    }

    pub(super) fn push(&mut self, session_id: &str, new: &NewEntry, ts_ms: i64) -> u64 {
        self.last_sequence += 1;
        let sequence = self.last_sequence;
        if let Some(id) = &new.id {
            self.by_id.insert(id.clone(), sequence);
        }
        let entry = InboxEntry {
            sequence,
            session_id: session_id.to_owned(),
            kind: new.kind.clone(),
            content: new.content.clone(),
            source: new.source.clone(),
            ts_ms,
            id: new.id.clone().unwrap_or_else(|| format!("{session_id}:{sequence}")),
            attempts: 0,
        };
        self.bytes += entry.content.len();
        let (named, priority, replaces) = (new.id.is_some(), new.priority, new.replaces.clone());
        self.entries.push_back(Item { entry, named, priority, replaces });
        sequence
    }

    /// Drops the oldest entry without priority.
    pub(super) fn drop_oldest(&mut self) -> Option<InboxEntry> {
        let at = self.entries.iter().position(|item| !item.priority)?;
        let item = self.entries.remove(at)?;
        self.bytes -= item.entry.content.len();
        if item.named {
            self.by_id.remove(&item.entry.id);
        }
        Some(item.entry)
    }

    /// Takes the first `max` entries, of those with these sequences if any are given; in flight until acknowledged if
    /// `lease`, else for good.
    pub(super) fn take(&mut self, wanted: Option<&HashSet<u64>>, max: usize, lease: bool) -> Vec<InboxEntry> {
        let mut taken = Vec::new();
        let mut kept = VecDeque::new();
        for item in std::mem::take(&mut self.entries) {
            let sequence = item.entry.sequence;
            let matches = wanted.is_none_or(|wanted| wanted.contains(&sequence));
            if taken.len() == max || !matches {
                kept.push_back(item);
                continue;
            }
            taken.push(item.entry.clone());
            if lease {
                self.in_flight.insert(sequence, item);
            } else {
                self.forget(item);
            }
        }
        self.entries = kept;
        taken
    }

    /// An entry is done with; its name is remembered for a while.
    fn forget(&mut self, item: Item) {
        self.bytes -= item.entry.content.len();
        if !item.named {
            return;
        }
        self.acknowledged.push_back(item.entry.id);
        if self.acknowledged.len() > REMEMBERED_MAX
            && let Some(oldest) = self.acknowledged.pop_front()
        {
            self.by_id.remove(&oldest);
        }
    }

    /// Entries in flight are done with: how many of them were.
    pub(super) fn acknowledge(&mut self, sequences: &[u64]) -> usize {
        let items: Vec<Item> = sequences.iter().filter_map(|it| self.in_flight.remove(it)).collect();
        let count = items.len();
        items.into_iter().for_each(|item| self.forget(item));
        count
    }

    /// Entries in flight come back, or are given up: how many were, and the latter.
    pub(super) fn refuse(&mut self, sequences: &[u64], max_attempts: u32, dead_max: usize) -> (usize, Vec<InboxEntry>) {
        let mut given_up = Vec::new();
        let mut count = 0;
        for sequence in sequences {
            let Some(mut item) = self.in_flight.remove(sequence) else { continue };
            count += 1;
            item.entry.attempts += 1;
            if item.entry.attempts < max_attempts {
                self.insert_in_order(item);
                continue;
            }
            given_up.push(item.entry.clone());
            self.dead.push_back(item.entry.clone());
            if self.dead.len() > dead_max {
                self.dead.pop_front();
            }
            self.forget(item);
        }
        (count, given_up)
    }

    fn insert_in_order(&mut self, item: Item) {
        let at = self.entries.partition_point(|it| it.entry.sequence < item.entry.sequence);
        self.entries.insert(at, item);
    }

    /// Puts an entry back that was taken: where it was, or at the head. `false`: it is there, or has no place any more.
    pub(super) fn put_back(&mut self, entry: InboxEntry, at_head: bool, replaces: Option<String>) -> bool {
        let sequence = entry.sequence;
        let known = sequence > self.cleared_to && sequence <= self.last_sequence;
        if !known || self.entries.iter().any(|it| it.entry.sequence == sequence) {
            return false;
        }
        let item = match self.in_flight.remove(&sequence) {
            Some(item) => item,
            None => {
                let named = self.by_id.get(&entry.id) == Some(&sequence);
                if named {
                    self.acknowledged.retain(|it| *it != entry.id);
                }
                self.bytes += entry.content.len();
                Item { entry, named, priority: false, replaces }
            }
        };
        if at_head {
            self.entries.push_front(item);
        } else {
            self.insert_in_order(item);
        }
        true
    }

    /// Drops everything queued and in flight: how many.
    pub(super) fn clear(&mut self) -> usize {
        let dropped = self.entries.len() + self.in_flight.len();
        self.cleared_to = self.last_sequence;
        self.entries.clear();
        self.in_flight.clear();
        self.bytes = 0;
        // What was done with stays known.
        let remembered: HashSet<&String> = self.acknowledged.iter().collect();
        self.by_id.retain(|id, _| remembered.contains(id));
        dropped
    }

    pub(super) fn dead(&mut self, take: bool) -> Vec<InboxEntry> {
        if take { std::mem::take(&mut self.dead).into() } else { self.dead.iter().cloned().collect() }
    }
}
