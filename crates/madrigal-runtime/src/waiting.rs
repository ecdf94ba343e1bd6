//! What a task waits for: the few words that dumps and deadlock reports are made of.

use std::fmt;
use std::sync::Arc;

use crate::task::TaskRef;

/// The kinds of wait this library knows. A task in one of them can only be woken by another task or a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum WaitKind {
    /// Not in a wait of this library: something outside may wake it.
    Unknown = 0,
    /// For tasks of a scope to end.
    Tasks,
    /// For one task's outcome.
    Join,
    /// For time to pass.
    Sleep,
    /// For room in a channel.
    Send,
    /// For a value from a channel.
    Receive,
    /// For a value from one of several channels.
    Select,
    /// For a lock.
    Lock,
    /// For permits.
    Permits,
    /// For a condition to be notified.
    Notification,
    /// For a barrier's round to be complete.
    Barrier,
    /// For a latch to open.
    Latch,
    /// For a value somebody else is making.
    Once,
    /// For an entry of an inbox.
    Inbox,
}

impl WaitKind {
    const ALL: [WaitKind; 14] = [
        WaitKind::Unknown,
        WaitKind::Tasks,
        WaitKind::Join,
        WaitKind::Sleep,
        WaitKind::Send,
        WaitKind::Receive,
        WaitKind::Select,
        WaitKind::Lock,
        WaitKind::Permits,
        WaitKind::Notification,
        WaitKind::Barrier,
        WaitKind::Latch,
        WaitKind::Once,
        WaitKind::Inbox,
    ];

    pub(crate) fn from_u8(byte: u8) -> WaitKind {
        WaitKind::ALL.get(usize::from(byte)).copied().unwrap_or(WaitKind::Unknown)
    }

    /// In words, for example `receive`.
    pub fn as_str(self) -> &'static str {
        match self {
            WaitKind::Unknown => "something outside",
            WaitKind::Tasks => "its tasks",
            WaitKind::Join => "a task",
            WaitKind::Sleep => "sleep",
            WaitKind::Send => "send",
            WaitKind::Receive => "receive",
            WaitKind::Select => "select",
            WaitKind::Lock => "a lock",
            WaitKind::Permits => "permits",
            WaitKind::Notification => "a notification",
            WaitKind::Barrier => "a barrier",
            WaitKind::Latch => "a latch",
            WaitKind::Once => "a value in the making",
            WaitKind::Inbox => "an inbox",
        }
    }
}

/// Something that can be waited on and named in a report.
pub trait Describe: Send + Sync {
    /// What it is, for example `channel jobs`.
    fn describe(&self) -> String;

    /// The task that holds it, when it is something one task holds.
    fn holder(&self) -> Option<TaskRef> {
        None
    }
}

/// What a task says about its current wait.
#[derive(Clone)]
pub struct Waiting {
    /// The operation, for example `receive`.
    pub what: &'static str,
    /// What it waits on.
    pub on: Option<Arc<dyn Describe>>,
    /// Where in the program: (file, line), in whatever numbering the publisher has.
    pub location: Option<(u32, u32)>,
}

impl fmt::Display for Waiting {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.what)?;
        match &self.on {
            Some(on) => write!(out, " on {}", on.describe()),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Waiting({self})")
    }
}
