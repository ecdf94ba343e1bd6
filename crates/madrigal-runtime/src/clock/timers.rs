//! The armed timers of one clock, ordered by deadline and then by the order they were armed in.
//! A removed timer leaves its heap entry behind until it surfaces or until such entries are the majority.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::task::Waker;

/// What firing does.
pub(super) enum Action {
    Wake(Waker),
    Call(Box<dyn FnOnce() + Send>),
}

/// Names one armed timer; finds nothing once it fired or was removed.
#[derive(Clone, Copy)]
pub(super) struct TimerKey {
    slot: u32,
    generation: u32,
    pub(super) after_all_others: bool,
}

/// Fired timers in order.
pub(super) type Due = Vec<(TimerKey, Action)>;

#[derive(Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<Entry>>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    armed: usize,
    sequence: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    deadline_ns: u64,
    /// The top bit puts an entry behind all others of its instant.
    sequence: u64,
    slot: u32,
    generation: u32,
}

struct Slot {
    generation: u32,
    action: Option<Action>,
}

impl Timers {
    pub(super) fn is_empty(&self) -> bool {
        self.armed == 0
    }

    pub(super) fn len(&self) -> usize {
        self.armed
    }

    /// The key, and whether the new timer is now the first one due.
    pub(super) fn insert(&mut self, deadline_ns: u64, after_all_others: bool, action: Action) -> (TimerKey, bool) {
        let is_first = self.heap.peek().is_none_or(|Reverse(first)| deadline_ns < first.deadline_ns);
        let slot = self.take_slot(action);
        let generation = self.slots[slot as usize].generation;
        self.sequence += 1;
        let sequence = self.sequence | if after_all_others { 1 << 63 } else { 0 };
        self.heap.push(Reverse(Entry { deadline_ns, sequence, slot, generation }));
        self.armed += 1;
        (TimerKey { slot, generation, after_all_others }, is_first)
    }

    fn take_slot(&mut self, action: Action) -> u32 {
        match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize].action = Some(action);
                slot
            }
            None => {
                self.slots.push(Slot { generation: 0, action: Some(action) });
                u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 timers")
            }
        }
    }

    pub(super) fn contains(&self, key: TimerKey) -> bool {
        self.slots.get(key.slot as usize).is_some_and(|slot| slot.generation == key.generation && slot.action.is_some())
    }

    pub(super) fn waker_mut(&mut self, key: TimerKey) -> Option<&mut Waker> {
        let slot = self.slots.get_mut(key.slot as usize).filter(|slot| slot.generation == key.generation)?;
        match &mut slot.action {
            Some(Action::Wake(waker)) => Some(waker),
            Some(Action::Call(_)) | None => None,
        }
    }

    pub(super) fn remove(&mut self, key: TimerKey) -> Option<Action> {
        let action = self.release(key.slot, key.generation)?;
        if self.heap.len() > 64 && self.heap.len() > 2 * self.armed {
            let slots = &self.slots;
            self.heap.retain(|Reverse(entry)| slots[entry.slot as usize].generation == entry.generation);
            self.heap.shrink_to(2 * self.heap.len());
        }
        Some(action)
    }

    fn release(&mut self, slot: u32, generation: u32) -> Option<Action> {
        // The index may be gone for good: the clock ended and dropped its timers.
        let place = self.slots.get_mut(slot as usize)?;
        if place.generation != generation {
            return None;
        }
        let action = place.action.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(slot);
        self.armed -= 1;
        Some(action)
    }

    /// When the first timer is due.
    pub(super) fn next_deadline(&mut self) -> Option<u64> {
        while let Some(Reverse(first)) = self.heap.peek() {
            if self.slots[first.slot as usize].generation == first.generation {
                return Some(first.deadline_ns);
            }
            self.heap.pop();
        }
        None
    }

    /// Takes out what is due until `until_ns`, at most so many that others get a turn in between.
    pub(super) fn take_due(&mut self, until_ns: u64) -> Due {
        let mut due = Vec::new();
        while let Some(Reverse(first)) = self.heap.peek().copied() {
            if first.deadline_ns > until_ns {
                break;
            }
            let after_all_others = first.sequence >> 63 == 1;
            if after_all_others && !due.is_empty() {
                // Alone in its round: what the others of its instant woke runs first.
                break;
            }
            self.heap.pop();
            if let Some(action) = self.release(first.slot, first.generation) {
                due.push((TimerKey { slot: first.slot, generation: first.generation, after_all_others }, action));
            }
            if after_all_others {
                break;
            }
        }
        due
    }
}
