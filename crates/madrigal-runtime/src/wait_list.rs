//! A queue of parked waiters: first in, first out, removable from the middle in constant time, and without an
//! allocation per waiter once it has grown. Not here: what a waiter waits for (`channel.rs`, `sync/`).
//! The one thing to know: a key stays valid after its waiter left the *queue* (`pop_front`), until `remove`.

/// Names one waiter. A key of a removed waiter finds nothing, even when its place is taken again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaitKey {
    index: u32,
    generation: u32,
}

const NONE: u32 = u32::MAX;

struct Node<W> {
    generation: u32,
    previous: u32,
    next: u32,
    queued: bool,
    waiter: Option<W>,
}

pub(crate) struct WaitList<W> {
    nodes: Vec<Node<W>>,
    first: u32,
    last: u32,
    /// Head of the chain of unused nodes, linked by `next`.
    unused: u32,
    queued: usize,
    used: usize,
    /// Counts on through the life of the list, so a key stays unique even after the nodes were given back.
    generation: u32,
}

impl<W> Default for WaitList<W> {
    fn default() -> Self {
        WaitList { nodes: Vec::new(), first: NONE, last: NONE, unused: NONE, queued: 0, used: 0, generation: 0 }
    }
}

impl<W> WaitList<W> {
    pub(crate) fn len(&self) -> usize {
        self.queued
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queued == 0
    }

    /// Parks `waiter` behind everyone else.
    pub(crate) fn push_back(&mut self, waiter: W) -> WaitKey {
        let index = self.take_node(waiter);
        self.nodes[index as usize].previous = self.last;
        self.nodes[index as usize].next = NONE;
        self.nodes[index as usize].queued = true;
        match self.last {
            NONE => self.first = index,
            last => self.nodes[last as usize].next = index,
        }
        self.last = index;
        self.queued += 1;
        WaitKey { index, generation: self.nodes[index as usize].generation }
    }

    fn take_node(&mut self, waiter: W) -> u32 {
        self.used += 1;
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let node = Node { generation, previous: NONE, next: NONE, queued: false, waiter: Some(waiter) };
        if self.unused != NONE {
            let index = self.unused;
            self.unused = self.nodes[index as usize].next;
            self.nodes[index as usize] = node;
            return index;
        }
        let index = u32::try_from(self.nodes.len()).expect("fewer than 2^32 waiters");
        self.nodes.push(node);
        index
    }

    /// The waiter whose turn is next.
    pub(crate) fn front(&self) -> Option<&W> {
        self.nodes.get(self.first as usize).and_then(|node| node.waiter.as_ref())
    }

    /// Those in the queue, in order.
    pub(crate) fn queued(&self) -> impl Iterator<Item = &W> {
        let at = |index: u32| self.nodes.get(index as usize);
        std::iter::successors(at(self.first), move |node| at(node.next)).filter_map(|node| node.waiter.as_ref())
    }

    /// Takes the first waiter out of the queue; it stays reachable under its key until `remove`.
    pub(crate) fn pop_front(&mut self) -> Option<&mut W> {
        let first = self.first;
        if first == NONE {
            return None;
        }
        self.unlink(first);
        self.nodes[first as usize].waiter.as_mut()
    }

    fn unlink(&mut self, index: u32) {
        let Node { previous, next, .. } = self.nodes[index as usize];
        match previous {
            NONE => self.first = next,
            previous => self.nodes[previous as usize].next = next,
        }
        match next {
            NONE => self.last = previous,
            next => self.nodes[next as usize].previous = previous,
        }
        self.nodes[index as usize].queued = false;
        self.queued -= 1;
    }

    pub(crate) fn get_mut(&mut self, key: WaitKey) -> Option<&mut W> {
        let node = self.nodes.get_mut(key.index as usize)?;
        if node.generation == key.generation { node.waiter.as_mut() } else { None }
    }

    /// Forgets a waiter, queued or not.
    pub(crate) fn remove(&mut self, key: WaitKey) -> Option<W> {
        let node = self.nodes.get_mut(key.index as usize)?;
        if node.generation != key.generation {
            return None;
        }
        let waiter = node.waiter.take()?;
        if node.queued {
            self.unlink(key.index);
        }
        self.nodes[key.index as usize].next = self.unused;
        self.unused = key.index;
        self.used -= 1;
        if self.used == 0 && self.nodes.len() > 64 {
            // Gives the memory of a crowd back.
            self.nodes = Vec::new();
            self.unused = NONE;
        }
        Some(waiter)
    }
}

#[cfg(test)]
mod tests {
    use super::WaitList;

    #[test]
    fn keeps_order_when_the_middle_leaves() {
        let mut list = WaitList::default();
        let keys: Vec<_> = (0..4).map(|n| list.push_back(n)).collect();
        assert_eq!(list.remove(keys[1]), Some(1));
        assert_eq!(list.remove(keys[1]), None, "a key works once");
        assert_eq!(list.pop_front().copied(), Some(0));
        assert_eq!(list.get_mut(keys[0]).copied(), Some(0), "popped but still known");
        assert_eq!(list.remove(keys[0]), Some(0));
        let key = list.push_back(9);
        assert_ne!(key, keys[0], "a reused place has a new key");
        assert_eq!(list.len(), 3);
        let rest: Vec<_> = std::iter::from_fn(|| list.pop_front().copied()).collect();
        assert_eq!(rest, [2, 3, 9]);
    }
}
