//! The poll of one task: who is running on this thread, and which children it created meanwhile.
//! Not here: what the poll does (`task.rs`). Invariant: children created during a poll reach the executor when the
//! poll returns, in creation order, so nothing of a child runs before what directly follows its creation.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::WaitKind;
use crate::context::ContextValues;
use crate::task::{AnyTask, TaskHeader};

struct Frame {
    current: RefCell<Option<Arc<AnyTask>>>,
    wait: Cell<WaitKind>,
    created: RefCell<Vec<Arc<AnyTask>>>,
    inline: Cell<bool>,
}

thread_local! {
    static FRAME: Frame = const {
        Frame { current: RefCell::new(None), wait: Cell::new(WaitKind::Unknown), created: RefCell::new(Vec::new()), inline: Cell::new(false) }
    };
}

/// The task being polled on this thread.
pub(crate) fn current() -> Option<Arc<AnyTask>> {
    FRAME.with(|frame| frame.current.borrow().clone())
}

/// Gives `look` the task being polled on this thread. It must not poll or create any.
pub(crate) fn with_current<R>(look: impl FnOnce(Option<&Arc<AnyTask>>) -> R) -> R {
    FRAME.with(|frame| look(frame.current.borrow().as_ref()))
}

/// The context values of the task being polled on this thread.
pub(crate) fn context_values() -> Option<ContextValues> {
    FRAME.with(|frame| frame.current.borrow().as_ref().and_then(|task| task.header.context_values()))
}

/// Whether `task` is the one being polled on this thread.
pub(crate) fn is_current(task: &Arc<AnyTask>) -> bool {
    FRAME.with(|frame| frame.current.borrow().as_ref().is_some_and(|current| Arc::ptr_eq(current, task)))
}

/// As `is_current`, for a task known by its header: that is part of the task and of no other.
pub(crate) fn is_current_header(header: &TaskHeader) -> bool {
    FRAME.with(|frame| frame.current.borrow().as_ref().is_some_and(|current| std::ptr::eq(&current.header, header)))
}

/// The wait noted so far in the poll going on.
pub(crate) fn noted_wait() -> WaitKind {
    FRAME.with(|frame| frame.wait.get())
}

/// Says that the poll going on is about to return because of a wait that only this runtime can end: for futures made
/// outside of this library whose wakers are in the hands of its tasks and timers.
pub fn note_wait(kind: WaitKind) {
    FRAME.with(|frame| frame.wait.set(kind));
}

/// Begins to poll new tasks where they were created. `false`: that is going on already, and does not nest; a chain of
/// tasks that each create one would need a stack as deep as the chain.
pub(crate) fn enter_inline() -> bool {
    FRAME.with(|frame| !frame.inline.replace(true))
}

/// Whether tasks are polled at the place of their creation, with a waker that does nothing.
pub(crate) fn is_inline() -> bool {
    FRAME.with(|frame| frame.inline.get())
}

pub(crate) fn leave_inline() {
    FRAME.with(|frame| frame.inline.set(false));
}

/// Keeps a new task until the poll going on returns; without one it is handed over at once.
pub(crate) fn hand_over_later(task: Arc<AnyTask>) {
    FRAME.with(|frame| {
        if frame.current.borrow().is_some() {
            frame.created.borrow_mut().push(task);
        } else {
            start(task);
        }
    });
}

/// Polls `task` as the current one.
pub(crate) fn poll(task: &Arc<AnyTask>, cx: &mut Context<'_>) -> Poll<()> {
    FRAME.with(|frame| {
        let outer = frame.current.replace(Some(task.clone()));
        let outer_wait = frame.wait.replace(WaitKind::Unknown);
        let outer_created = outer.is_some().then(|| frame.created.take());
        let polled = task.body.poll(task, cx);
        let wait = frame.wait.replace(outer_wait);
        if polled.is_pending() {
            task.header.parked(task, wait);
        }
        let mut created = frame.created.take();
        let ran = frame.current.replace(outer);
        start_all(&mut created);
        match outer_created {
            // Inside another poll: ending unstarted children may have created more for it.
            Some(mut outer_created) => {
                outer_created.append(&mut frame.created.borrow_mut());
                *frame.created.borrow_mut() = outer_created;
            }
            // Reuse the allocation, unless it is a huge one.
            None if created.capacity() <= 1024 => *frame.created.borrow_mut() = created,
            None => {}
        }
        drop(ran);
        polled
    })
}

/// Hands tasks to their executor, in creation order. Those that were cancelled before they started end here and now.
fn start_all(created: &mut Vec<Arc<AnyTask>>) {
    if created.iter().any(|task| task.header.node.is_cancelled()) {
        created.retain(|task| {
            let cancelled = task.header.node.is_cancelled();
            if cancelled {
                task.body.end_unstarted(task);
            }
            !cancelled
        });
    }
    if let Some(first) = created.first() {
        let runtime = first.header.runtime().clone();
        runtime.executor.spawn_all(created);
    }
}

fn start(task: Arc<AnyTask>) {
    start_all(&mut vec![task]);
}
