//! Everything of the library that talks to a model: providers, calls, rate limits, budgets, tools.
//!
//! [`register`] adds the builtins, [`PRELUDE`] is the part written in Harn, [`Models::prepare`] reads the configuration
//! of a run. The way of a call: `options` makes a plan, `call` makes the attempts under budget and limits, a
//! [`transport::ChatTransport`] answers, `reply` turns the answer into a value.

#![forbid(unsafe_code)]

mod agent;
mod budget;
mod builtins;
mod call;
mod capabilities;
mod completion;
pub mod config;
mod events;
mod extract;
pub mod failure;
mod http;
mod introspection;
mod job;
mod limiter;
mod messages;
mod mock;
mod models;
mod options;
mod rates;
mod redact;
mod reply;
mod schema;
mod sessions;
mod stream;
mod structured;
mod tools;
mod transcript;
pub mod transport;

pub use introspection::catalog;
pub use models::Models;

use madrigal_vm::BuiltinTable;

/// The part of this library that is written in Harn.
pub const PRELUDE: &str = include_str!("prelude.harn");

/// Adds the library to a table.
pub fn register(table: &mut BuiltinTable) {
    agent::register(table);
    agent::register_compaction(table);
    agent::register_workers(table);
    builtins::register(table);
    introspection::register(table);
    job::register(table);
    mock::register(table);
    rates::register(table);
    sessions::register(table);
    stream::register(table);
    tools::register(table);
    transcript::register(table);
}
