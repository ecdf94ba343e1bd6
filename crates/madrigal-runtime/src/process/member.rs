//! What processes know of one another whatever messages they take: their numbers, links, monitors and ends.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Weak};

use super::reason::Reason;
use crate::failure::Failure;
use crate::task::TaskRef;
use crate::wait_list::WaitKey;

/// A process, whatever messages it takes. Implemented by this module only.
pub trait Member<E>: Any + Send + Sync {
    /// Its number, which no other process of its systems has.
    fn number(&self) -> u64;

    /// Whether it has not ended. A process that is cleaning up lives.
    fn is_alive(&self) -> bool;

    /// Its task, while it lives.
    fn task(&self) -> Option<TaskRef>;

    /// Why it ended, once it has.
    fn ended(&self) -> Option<Reason<E>>;

    /// Sends an exit signal, as `from`.
    fn exit(&self, from: Option<Arc<dyn Member<E>>>, reason: Reason<E>);

    /// Has `watch` called at its end; at once, and without a key, when it has ended.
    fn watch(&self, watch: Arc<dyn Watch<E>>) -> Option<WatchKey>;

    /// Undoes `watch`.
    fn unwatch(&self, key: WatchKey);

    /// Numbers of the processes it is linked to.
    fn links(&self) -> Vec<Arc<dyn Member<E>>>;

    /// The other end of a link came undone or ended.
    #[doc(hidden)]
    fn link_ended(&self, other: &Arc<dyn Member<E>>, reason: Reason<E>);

    /// Notes one end of a link; `false` when it has ended.
    #[doc(hidden)]
    fn add_link(&self, other: Arc<dyn Member<E>>) -> bool;

    /// Forgets one end of a link.
    #[doc(hidden)]
    fn remove_link(&self, other: u64);

    /// A monitored process ended.
    #[doc(hidden)]
    fn monitor_fired(&self, monitor: u64, pid: Arc<dyn Member<E>>, reason: Reason<E>);

    /// The name it is registered by.
    fn name(&self) -> Option<Arc<str>>;

    #[doc(hidden)]
    fn set_name(&self, name: Option<Arc<str>>) -> Option<Arc<str>>;

    /// Leaves its end to whoever took it over: its system no longer tells it to shut down.
    #[doc(hidden)]
    fn taken_over(&self);

    /// As itself, to find its type again.
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

impl<E: 'static> fmt::Debug for dyn Member<E> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "<pid:{}>", self.number())
    }
}

/// Names one `watch` of one process.
#[derive(Clone, Copy, Debug)]
pub struct WatchKey(pub(super) WaitKey);

/// Something to be told of a process's end. Called once, on whatever thread the end happens; it must not block.
pub trait Watch<E>: Send + Sync {
    /// The process ended.
    fn ended(&self, pid: Arc<dyn Member<E>>, reason: Reason<E>);
}

/// A monitor: somebody waits to be told of a process's end. Clones are the same monitor; dropping it changes nothing.
pub struct Monitor<E> {
    pub(super) number: u64,
    pub(super) target: Weak<dyn Member<E>>,
    pub(super) key: Option<WatchKey>,
}

impl<E> Clone for Monitor<E> {
    fn clone(&self) -> Self {
        Monitor { number: self.number, target: self.target.clone(), key: self.key }
    }
}

impl<E> Monitor<E> {
    /// Its number.
    pub fn number(&self) -> u64 {
        self.number
    }
}

/// What a monitored process holds of the one that monitors it.
pub(super) struct Monitoring<E> {
    pub(super) number: u64,
    pub(super) watcher: Weak<dyn Member<E>>,
}

impl<E: Failure> Watch<E> for Monitoring<E> {
    fn ended(&self, pid: Arc<dyn Member<E>>, reason: Reason<E>) {
        if let Some(watcher) = self.watcher.upgrade() {
            watcher.monitor_fired(self.number, pid, reason);
        }
    }
}
