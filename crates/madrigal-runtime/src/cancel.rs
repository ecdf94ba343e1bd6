//! Cancellation as a tree: every task is a node, and a task may open nested nodes for its deadline and scope blocks.
//! Not here: *when* to cancel (`deadline.rs`, `scope.rs`) and what a cancelled task does (`task.rs`, or the future itself).
//! Invariants: once cancelled, a node never goes back and its reason never changes; a child of a cancelled node is
//! cancelled; a node's parent lives as long as the node. Locks are taken upwards only (child, then parent).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, Waker};

use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};

use crate::identity::Identity;
use crate::task::AnyTask;

/// What made somebody cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CancelKind {
    /// Somebody asked for it.
    Cancel,
    /// Another part of the scope failed.
    ScopeFailed,
    /// Another contender of a race ended first.
    RaceLost,
    /// A `with_timeout` ran out.
    Timeout,
    /// A deadline block ran out.
    Deadline,
    /// The runtime, or whatever the task served, is ending.
    Shutdown,
    /// The operating system asked for it.
    Signal,
    /// The owner of the task went away without waiting for it.
    ParentCancelled,
}

impl CancelKind {
    /// The kind as scripts and reports spell it, for example `scope_failed`.
    pub fn as_str(self) -> &'static str {
        match self {
            CancelKind::Cancel => "cancel",
            CancelKind::ScopeFailed => "scope_failed",
            CancelKind::RaceLost => "race_lost",
            CancelKind::Timeout => "timeout",
            CancelKind::Deadline => "deadline",
            CancelKind::Shutdown => "shutdown",
            CancelKind::Signal => "signal",
            CancelKind::ParentCancelled => "parent_cancelled",
        }
    }
}

impl fmt::Display for CancelKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// Why a task was cancelled; the whole cancelled subtree shares one of these.
#[derive(Debug, PartialEq, Eq)]
pub struct CancelReason {
    /// What made somebody cancel.
    pub kind: CancelKind,
    /// In words; may be empty.
    pub message: String,
    /// The task that asked, when it was a task.
    pub by_task: ByTask,
}

impl CancelReason {
    /// A reason of `kind` with `message`, naming the task being polled on this thread as the one that asked.
    pub fn new(kind: CancelKind, message: impl Into<String>) -> Arc<CancelReason> {
        let by_task = ByTask::of(crate::frame::current().map(|task| task.header.identity.share()));
        Arc::new(CancelReason { kind, message: message.into(), by_task })
    }

    /// As `new`, asked for by nobody: time passed, the system wants it.
    pub fn by_nobody(kind: CancelKind, message: impl Into<String>) -> Arc<CancelReason> {
        Arc::new(CancelReason { kind, message: message.into(), by_task: ByTask::of(None) })
    }
}

/// The id of the task that asked for a cancel, if any. Built when first asked for; keeps no task alive.
pub struct ByTask {
    identity: Option<Identity>,
    id: OnceLock<String>,
}

impl ByTask {
    fn of(identity: Option<Identity>) -> ByTask {
        ByTask { identity, id: OnceLock::new() }
    }

    /// The id, when it was a task.
    pub fn as_deref(&self) -> Option<&str> {
        self.identity.as_ref().map(|identity| self.id.get_or_init(|| identity.id()).as_str())
    }
}

impl PartialEq for ByTask {
    fn eq(&self, other: &Self) -> bool {
        self.as_deref() == other.as_deref()
    }
}

impl Eq for ByTask {}

impl fmt::Debug for ByTask {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.as_deref(), out)
    }
}

impl fmt::Display for CancelReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.kind)?;
        if !self.message.is_empty() {
            write!(out, ": {}", self.message)?;
        }
        if let Some(by_task) = self.by_task.as_deref() {
            write!(out, " (by {by_task})")?;
        }
        Ok(())
    }
}

/// A place in the cancellation tree: a task, or a block a task has open. Clones are the same node.
///
/// A nested node leaves the tree when its last clone and the last task beneath it are gone; dropping cancels nothing.
#[derive(Clone)]
pub struct CancelNode(NodeRef);

#[derive(Clone)]
enum NodeRef {
    Task(Arc<AnyTask>),
    Nested(Arc<NestedNode>),
}

enum WeakNode {
    Task(Weak<AnyTask>),
    Nested(Weak<NestedNode>),
}

/// A node that is not itself a task.
struct NestedNode {
    core: NodeCore,
    /// The task whose block this is: woken when the node is cancelled.
    owner: Option<Weak<AnyTask>>,
    /// A cancelled parent does not reach a shielded node; only `cancel` on the node itself does.
    shielded: bool,
    /// What the block is called, when it has a name.
    label: OnceLock<Arc<str>>,
    /// When its deadline passes, in the clock's nanoseconds.
    deadline_ns: Option<u64>,
}

/// The part every node has. In a task it is embedded, so that a leaf of the tree costs no allocation of its own.
#[derive(Default)]
pub(crate) struct NodeCore {
    reason: OnceLock<Arc<CancelReason>>,
    link: Mutex<Option<Link>>,
    /// Made with the first child: most tasks never have one.
    children: Mutex<Option<Box<Children>>>,
}

/// The way up. Strong: what is beneath keeps the chain to the root alive, so a cancel at the root reaches everyone.
struct Link {
    parent: CancelNode,
    key: u32,
}

#[derive(Default)]
struct Children {
    entries: Vec<Entry>,
    free: Option<u32>,
    taken: u32,
    /// Tasks beneath that have not ended, plus nested nodes with such tasks. Zero ⇒ no task lives beneath.
    live: usize,
    drained: Option<Waker>,
}

enum Entry {
    Free(Option<u32>),
    Taken(WeakNode),
}

impl Children {
    fn insert(&mut self, node: WeakNode) -> u32 {
        self.taken += 1;
        match self.free {
            Some(key) => {
                let Entry::Free(next) = self.entries[key as usize] else {
                    unreachable!("free list holds free entries")
                };
                self.free = next;
                self.entries[key as usize] = Entry::Taken(node);
                key
            }
            None => {
                let key = u32::try_from(self.entries.len()).expect("fewer than 2^32 children");
                self.entries.push(Entry::Taken(node));
                key
            }
        }
    }

    fn remove(&mut self, key: u32) {
        self.entries[key as usize] = Entry::Free(self.free);
        self.free = Some(key);
        self.taken -= 1;
        if self.taken == 0 && self.entries.len() > 1024 {
            // Gives the memory of a large fan-out back once nothing is left of it.
            self.entries = Vec::new();
            self.free = None;
        }
    }
}

impl NodeCore {
    pub(crate) fn reason(&self) -> Option<&Arc<CancelReason>> {
        self.reason.get()
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.reason.get().is_some()
    }

    /// What is beneath, locked; for where something is, or is about to be.
    fn children(&self) -> MappedMutexGuard<'_, Children> {
        MutexGuard::map(self.children.lock(), |children| &mut **children.get_or_insert_default())
    }

    /// Everything beneath. Only moved here, never dropped under the lock: the last clone of a nested node takes it.
    fn collect_children(children: &Option<Box<Children>>) -> impl DoubleEndedIterator<Item = CancelNode> {
        children.iter().flat_map(|children| &children.entries).filter_map(|entry| match entry {
            Entry::Taken(child) => child.upgrade(),
            Entry::Free(_) => None,
        })
    }

    /// Whether no task lives beneath.
    pub(crate) fn is_drained(&self) -> bool {
        self.children.lock().as_ref().is_none_or(|children| children.live == 0)
    }

    /// As `is_drained`; when tasks still live beneath, `waker` is woken once none does.
    pub(crate) fn poll_drained(&self, waker: &Waker) -> Poll<()> {
        let mut children = self.children.lock();
        let Some(children) = children.as_mut().filter(|children| children.live > 0) else {
            return Poll::Ready(());
        };
        children.drained = Some(waker.clone());
        Poll::Pending
    }

    /// One more live child. A nested node that had none becomes a live child itself.
    fn gained(&self, children: &mut Children, is_task: bool) {
        children.live += 1;
        if children.live == 1
            && !is_task
            && let Some(link) = &*self.link.lock()
        {
            let parent = link.parent.core();
            parent.gained(&mut parent.children(), link.parent.is_task());
        }
    }

    /// One live child fewer; collects whoever waited for the last one.
    fn lost(&self, children: &mut Children, is_task: bool, wakers: &mut Vec<Waker>) {
        children.live -= 1;
        if children.live > 0 {
            return;
        }
        wakers.extend(children.drained.take());
        if !is_task && let Some(link) = &*self.link.lock() {
            let parent = link.parent.core();
            parent.lost(&mut parent.children(), link.parent.is_task(), wakers);
        }
    }

    /// Takes an ended task out of the tree.
    pub(crate) fn detach_task(&self) {
        let Some(link) = self.link.lock().take() else {
            return;
        };
        let mut wakers = Vec::new();
        {
            let parent = link.parent.core();
            let mut children = parent.children();
            parent.lost(&mut children, link.parent.is_task(), &mut wakers);
            children.remove(link.key);
        }
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl NestedNode {
    fn leave(&self) {
        let Some(link) = self.core.link.lock().take() else {
            return;
        };
        link.parent.core().children().remove(link.key);
    }
}

impl Drop for NestedNode {
    fn drop(&mut self) {
        self.leave();
    }
}

impl WeakNode {
    fn upgrade(&self) -> Option<CancelNode> {
        match self {
            WeakNode::Task(task) => task.upgrade().map(|task| CancelNode(NodeRef::Task(task))),
            WeakNode::Nested(node) => node.upgrade().map(|node| CancelNode(NodeRef::Nested(node))),
        }
    }
}

impl CancelNode {
    /// A tree of its own.
    pub fn root() -> CancelNode {
        CancelNode::nested(None, None, false, None)
    }

    fn nested(
        parent: Option<&CancelNode>,
        owner: Option<Weak<AnyTask>>,
        shielded: bool,
        deadline_ns: Option<u64>,
    ) -> CancelNode {
        let label = OnceLock::new();
        let node = Arc::new(NestedNode { core: NodeCore::default(), owner, shielded, label, deadline_ns });
        if let Some(parent) = parent {
            let mut children = parent.core().children();
            let key = children.insert(WeakNode::Nested(Arc::downgrade(&node)));
            *node.core.link.lock() = Some(Link { parent: parent.clone(), key });
            if let (Some(reason), false) = (parent.reason(), shielded) {
                let _ = node.core.reason.set(reason.clone());
            }
        }
        CancelNode(NodeRef::Nested(node))
    }

    pub(crate) fn of_task(task: Arc<AnyTask>) -> CancelNode {
        CancelNode(NodeRef::Task(task))
    }

    /// Puts a new task beneath this node; born cancelled when the node is.
    pub(crate) fn attach_task(&self, task: &Arc<AnyTask>) {
        let core = self.core();
        let mut children = core.children();
        let key = children.insert(WeakNode::Task(Arc::downgrade(task)));
        core.gained(&mut children, self.is_task());
        let child = &task.header.node;
        *child.link.lock() = Some(Link { parent: self.clone(), key });
        if let Some(reason) = core.reason() {
            let _ = child.reason.set(reason.clone());
        }
    }

    /// Opens a nested node. When it is cancelled, the task that owns this node is woken.
    ///
    /// Cancelled from the start when this node is. Dropping it takes it out of the tree and cancels nothing.
    pub fn child(&self) -> CancelNode {
        CancelNode::nested(Some(self), self.owner(), false, None)
    }

    /// As `child`, of a block whose deadline passes then.
    pub(crate) fn child_until(&self, deadline_ns: u64) -> CancelNode {
        CancelNode::nested(Some(self), self.owner(), false, Some(deadline_ns))
    }

    /// Gives the block a name. The first one stays.
    pub fn set_label(&self, label: impl Into<Arc<str>>) {
        if let NodeRef::Nested(node) = &self.0 {
            let _ = node.label.set(label.into());
        }
    }

    /// The name of the innermost block with a name that this node is, or lies beneath.
    pub fn innermost_label(&self) -> Option<Arc<str>> {
        self.upwards().find_map(|node| match &node.0 {
            NodeRef::Nested(node) => node.label.get().cloned(),
            NodeRef::Task(_) => None,
        })
    }

    /// When the first of the deadlines around this node passes, in the clock's nanoseconds.
    pub fn earliest_deadline_ns(&self) -> Option<u64> {
        let deadline = |node: CancelNode| match &node.0 {
            NodeRef::Nested(node) => node.deadline_ns,
            NodeRef::Task(_) => None,
        };
        self.upwards().filter_map(deadline).min()
    }

    /// This node and those above it, up to the root.
    fn upwards(&self) -> impl Iterator<Item = CancelNode> {
        std::iter::successors(Some(self.clone()), |node| node.core().link.lock().as_ref().map(|it| it.parent.clone()))
    }

    /// The tasks above this node, innermost first.
    pub(crate) fn tasks_above(&self) -> impl Iterator<Item = Arc<AnyTask>> {
        self.upwards().skip(1).filter_map(|node| match node.0 {
            NodeRef::Task(task) => Some(task),
            NodeRef::Nested(_) => None,
        })
    }

    /// Opens a nested node that a cancelled parent does not reach, for cleanup that has to wait.
    ///
    /// It is still waited for like any other child, and can be cancelled directly.
    pub fn shielded_child(&self) -> CancelNode {
        CancelNode::nested(Some(self), self.owner(), true, None)
    }

    fn core(&self) -> &NodeCore {
        match &self.0 {
            NodeRef::Task(task) => &task.header.node,
            NodeRef::Nested(node) => &node.core,
        }
    }

    fn is_task(&self) -> bool {
        matches!(self.0, NodeRef::Task(_))
    }

    fn is_shielded(&self) -> bool {
        matches!(&self.0, NodeRef::Nested(node) if node.shielded)
    }

    fn owner(&self) -> Option<Weak<AnyTask>> {
        match &self.0 {
            NodeRef::Task(task) => Some(Arc::downgrade(task)),
            NodeRef::Nested(node) => node.owner.clone(),
        }
    }

    fn owner_task(&self) -> Option<Arc<AnyTask>> {
        match &self.0 {
            NodeRef::Task(task) => Some(task.clone()),
            NodeRef::Nested(node) => node.owner.as_ref().and_then(Weak::upgrade),
        }
    }

    /// Whether it is `above`, or somewhere beneath it.
    pub fn is_beneath(&self, above: &CancelNode) -> bool {
        let mut node = self.clone();
        loop {
            if node.is_same(above) {
                return true;
            }
            let up = node.core().link.lock().as_ref().map(|link| link.parent.clone());
            match up {
                Some(parent) => node = parent,
                None => return false,
            }
        }
    }

    /// Whether this node, or one above it, was cancelled. One load.
    pub fn is_cancelled(&self) -> bool {
        self.core().is_cancelled()
    }

    /// Why, once cancelled.
    pub fn reason(&self) -> Option<&Arc<CancelReason>> {
        self.core().reason()
    }

    /// Cancels this node and everything beneath it: all of it is marked before anyone is woken.
    ///
    /// The first reason wins. `false` when the node was cancelled already.
    pub fn cancel(&self, reason: Arc<CancelReason>) -> bool {
        let mut to_visit = vec![self.clone()];
        let mut to_wake = Vec::new();
        while let Some(node) = to_visit.pop() {
            if node.is_shielded() && !node.is_same(self) {
                continue;
            }
            let core = node.core();
            {
                // Held while the reason is set: a child attached later sees it, one attached earlier is in the list.
                let children = core.children.lock();
                if core.reason.set(reason.clone()).is_err() {
                    continue;
                }
                to_visit.extend(NodeCore::collect_children(&children).rev());
            }
            to_wake.push(node);
        }
        let first = !to_wake.is_empty();
        for node in to_wake {
            if let Some(task) = node.owner_task() {
                task.header.wake();
            }
        }
        first
    }

    /// Cancels everything beneath this node, but not the node itself: what is attached later is not cancelled.
    pub fn cancel_below(&self, reason: &Arc<CancelReason>) {
        for child in self.children() {
            if !child.is_shielded() {
                child.cancel(reason.clone());
            }
        }
    }

    fn children(&self) -> Vec<CancelNode> {
        NodeCore::collect_children(&self.core().children.lock()).collect()
    }

    /// Waits until no task lives beneath this node. One waiter at a time; dropping the future has no effect.
    pub fn drained(&self) -> Drained {
        Drained { node: self.clone() }
    }

    /// Whether no task lives beneath this node.
    pub fn is_drained(&self) -> bool {
        self.core().is_drained()
    }

    /// Takes a nested node without live tasks out of the tree. Handles on an ended block may outlive its owner, and
    /// must not keep it alive.
    pub(crate) fn detach(&self) {
        if let NodeRef::Nested(node) = &self.0 {
            node.leave();
        }
    }

    /// The live tasks beneath, parents before children, each with its depth.
    pub(crate) fn tasks(&self) -> Vec<(usize, Arc<AnyTask>)> {
        let mut found = Vec::new();
        let mut to_visit = vec![(0, self.clone())];
        while let Some((depth, node)) = to_visit.pop() {
            let below = match &node.0 {
                NodeRef::Task(task) => {
                    found.push((depth, task.clone()));
                    depth + 1
                }
                NodeRef::Nested(_) => depth,
            };
            let children = node.core().children.lock();
            to_visit.extend(NodeCore::collect_children(&children).rev().map(|child| (below, child)));
        }
        found
    }

    pub(crate) fn is_same(&self, other: &CancelNode) -> bool {
        std::ptr::addr_eq(self.core(), other.core())
    }
}

impl fmt::Debug for CancelNode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("CancelNode").field("reason", &self.reason()).finish_non_exhaustive()
    }
}

/// Waits until no task lives beneath a node: see [`CancelNode::drained`].
#[must_use = "futures do nothing unless polled"]
pub struct Drained {
    node: CancelNode,
}

impl Future for Drained {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let polled = self.node.core().poll_drained(cx.waker());
        if polled.is_pending() {
            crate::frame::note_wait(crate::WaitKind::Tasks);
        }
        polled
    }
}

/// The nodes one task has open, outermost first; the task's own node is always at depth 0.
///
/// The answer to "which block does this cancellation belong to" is [`CancelStack::outermost_cancelled`].
pub struct CancelStack {
    base: CancelNode,
    nested: Vec<CancelNode>,
}

impl CancelStack {
    /// A stack with nothing open but `base`, usually the task's own node.
    pub fn new(base: CancelNode) -> CancelStack {
        CancelStack { base, nested: Vec::new() }
    }

    /// Opens a node beneath the innermost one and answers it.
    pub fn open(&mut self) -> CancelNode {
        let node = self.innermost().child();
        self.nested.push(node.clone());
        node
    }

    /// Pushes a node opened elsewhere, which must lie beneath the innermost one (a scope's, a deadline's).
    pub fn push(&mut self, node: CancelNode) {
        self.nested.push(node);
    }

    /// Closes everything above `depth` nodes. The task's own node stays whatever `depth` is.
    pub fn close_to(&mut self, depth: usize) {
        self.nested.truncate(depth.saturating_sub(1));
    }

    /// How many nodes are open, the task's own included.
    pub fn depth(&self) -> usize {
        1 + self.nested.len()
    }

    /// Where new child tasks belong.
    pub fn innermost(&self) -> &CancelNode {
        self.nested.last().unwrap_or(&self.base)
    }

    /// Whether any open node is cancelled. One load: cancellation always reaches the innermost, shields excepted.
    pub fn is_cancelled(&self) -> bool {
        self.innermost().is_cancelled()
    }

    /// The outermost cancelled node with its depth (0 is the task itself): the block the cancellation belongs to.
    pub fn outermost_cancelled(&self) -> Option<(usize, &CancelNode)> {
        self.outermost_cancelled_from(0)
    }

    /// As `outermost_cancelled`, among the nodes from position `first` on.
    pub fn outermost_cancelled_from(&self, first: usize) -> Option<(usize, &CancelNode)> {
        self.nodes().enumerate().skip(first).find(|(_, node)| node.is_cancelled())
    }

    /// Whether `node` is one of the open ones, and at which depth.
    pub fn position(&self, node: &CancelNode) -> Option<usize> {
        self.nodes().position(|open| open.is_same(node))
    }

    fn nodes(&self) -> impl Iterator<Item = &CancelNode> {
        std::iter::once(&self.base).chain(&self.nested)
    }
}
