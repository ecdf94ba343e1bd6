//! Concurrency builtins: tasks, channels, atomics, shared cells, runtime context. They try first and wait only when
//! they must. Not here: the statements (`spawn`, `parallel`, `scope` ..), which the interpreter hands to the driver.

mod atomics;
mod bounded;
mod cells;
mod channels;
mod completed;
mod context;
mod held;
mod joining;
mod mailboxes;
mod maps;
mod permits;
mod racing;
mod shared;
mod streams;
mod sync;
mod tasks;
pub(crate) mod timed;

pub use channels::{ChannelObject, Produced, channel_of, selected};
pub use completed::next_completed;
pub use context::SessionFields;
pub use held::Held;
pub use shared::SharedState;
pub use streams::{Items, StreamTask, next_item, next_of_branch, source_of};

use crate::task::TaskHost;
use madrigal_vm::{BuiltinTable, Cx, Fault, Outcome, Wait};

/// Adds the concurrency builtins.
pub fn register(table: &mut BuiltinTable) {
    atomics::register(table);
    bounded::register(table);
    cells::register(table);
    channels::register(table);
    completed::register(table);
    context::register(table);
    mailboxes::register(table);
    maps::register(table);
    permits::register(table);
    racing::register(table);
    streams::register_all(table);
    sync::register(table);
    tasks::register(table);
}

/// The task a builtin is called in.
fn host<'a>(cx: &'a mut Cx<'_>) -> &'a mut TaskHost {
    cx.host::<TaskHost>().expect("the library runs under a TaskHost")
}

/// A wait that is over at once when the future is ready at its first poll; the driver polls it right away.
fn wait(
    what: &'static str,
    future: impl Future<Output = Result<madrigal_vm::Value, Fault>> + Send + 'static,
) -> Outcome {
    Outcome::from(Wait::new(what, future))
}
