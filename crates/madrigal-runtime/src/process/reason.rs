//! Why a process ended, as others learn it.

use std::fmt;
use std::sync::Arc;

/// The six kinds of end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReasonKind {
    /// Its body ended.
    Normal,
    /// It failed.
    Error,
    /// It was killed.
    Killed,
    /// It was asked to end, in order.
    Shutdown,
    /// A process it was linked to ended abnormally.
    Linked,
    /// It did not exist any more when somebody asked.
    Noproc,
}

impl ReasonKind {
    const ALL: [ReasonKind; 6] = [
        ReasonKind::Normal,
        ReasonKind::Error,
        ReasonKind::Killed,
        ReasonKind::Shutdown,
        ReasonKind::Linked,
        ReasonKind::Noproc,
    ];

    /// The kind as scripts spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            ReasonKind::Normal => "normal",
            ReasonKind::Error => "error",
            ReasonKind::Killed => "killed",
            ReasonKind::Shutdown => "shutdown",
            ReasonKind::Linked => "linked",
            ReasonKind::Noproc => "noproc",
        }
    }

    /// The kind spelt like that.
    pub fn from_name(name: &str) -> Option<ReasonKind> {
        ReasonKind::ALL.into_iter().find(|it| it.as_str() == name)
    }
}

/// What belongs to a kind.
#[derive(Clone, Debug)]
pub enum Detail<E> {
    /// Nothing.
    None,
    /// What was thrown, or handed over with the exit.
    Error(E),
    /// How the linked process ended.
    Reason(Arc<Reason<E>>),
}

/// Why a process ended.
#[derive(Clone, Debug)]
pub struct Reason<E> {
    /// Which kind of end.
    pub kind: ReasonKind,
    /// The rest.
    pub detail: Detail<E>,
}

impl<E> Reason<E> {
    /// A reason that is nothing but its kind.
    pub fn of(kind: ReasonKind) -> Reason<E> {
        Reason { kind, detail: Detail::None }
    }

    /// The body ended.
    pub fn normal() -> Reason<E> {
        Reason::of(ReasonKind::Normal)
    }

    /// Asked to end, in order.
    pub fn shutdown() -> Reason<E> {
        Reason::of(ReasonKind::Shutdown)
    }

    /// Killed.
    pub fn killed() -> Reason<E> {
        Reason::of(ReasonKind::Killed)
    }

    /// Nobody is there.
    pub fn noproc() -> Reason<E> {
        Reason::of(ReasonKind::Noproc)
    }

    /// Failed.
    pub fn error(error: E) -> Reason<E> {
        Reason { kind: ReasonKind::Error, detail: Detail::Error(error) }
    }

    /// Took the end of another process for its own.
    pub fn linked(other: Reason<E>) -> Reason<E> {
        Reason { kind: ReasonKind::Linked, detail: Detail::Reason(Arc::new(other)) }
    }

    /// Whether it leaves linked processes alone.
    pub fn is_normal(&self) -> bool {
        self.kind == ReasonKind::Normal
    }

    /// Whether a supervisor takes it for a failure: neither normal nor asked for.
    pub fn is_failure(&self) -> bool {
        !matches!(self.kind, ReasonKind::Normal | ReasonKind::Shutdown)
    }
}

impl<E: fmt::Display> fmt::Display for Reason<E> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A chain of links is as long as it likes: written in a loop.
        let mut next = self;
        loop {
            out.write_str(next.kind.as_str())?;
            match &next.detail {
                Detail::None => return Ok(()),
                Detail::Error(error) => return write!(out, ": {error}"),
                Detail::Reason(inner) => {
                    out.write_str(": ")?;
                    next = inner;
                }
            }
        }
    }
}

impl<E> Drop for Reason<E> {
    fn drop(&mut self) {
        // Unlinks a long chain step by step; dropping it recursively would use as much stack as the chain is long.
        let mut next = std::mem::replace(&mut self.detail, Detail::None);
        while let Detail::Reason(inner) = next {
            next = match Arc::into_inner(inner) {
                Some(mut inner) => std::mem::replace(&mut inner.detail, Detail::None),
                None => Detail::None,
            };
        }
    }
}
