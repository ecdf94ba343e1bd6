//! The Harn library: builtins and standard modules, one file per area.
//!
//! [`register`] adds every builtin to a table; [`host::Run`] is what they share during a run. Builtins that take
//! callbacks are written in Harn ([`prelude`]). Not here: the statements of concurrency (the driver).

#![forbid(unsafe_code)]

mod agent_state;
mod archives;
mod assertions;
mod breakers;
mod bytes;
mod compression;
pub mod concurrency;
mod conversion;
mod cookies;
mod crypto;
mod csv;
mod egress;
mod encodings;
mod environment;
mod errors;
mod event_log;
mod files;
pub mod host;
mod host_call;
pub mod http;
mod ids;
pub mod inbox;
mod input;
pub mod iterators;
pub mod json;
mod junit;
mod lists;
mod math;
pub mod modules;
mod multipart;
pub mod net_rules;
mod output;
mod paths;
mod plain;
pub mod prelude;
pub mod process;
mod regexes;
mod results;
pub mod sandbox;
mod schema;
mod secrets;
mod sets;
mod shells;
mod spawning;
mod store;
mod strict;
pub mod task;
pub mod tcp;
mod templates;
mod terminal;
#[cfg(test)]
mod testing;
mod text;
pub mod time;
mod toml;
mod tracing;
mod transports;
mod unicode;
mod urls;
mod waitpoints;
mod yaml;

pub use errors::category_of;
pub use host::{Run, RunOptions};
pub use prelude::PRELUDE;
pub use task::{TaskFault, TaskHost, TaskState};

use madrigal_vm::BuiltinTable;

/// Adds the whole library to a table.
pub fn register(table: &mut BuiltinTable) {
    agent_state::register(table);
    archives::register(table);
    assertions::register(table);
    breakers::register(table);
    bytes::register(table);
    compression::register(table);
    concurrency::register(table);
    conversion::register(table);
    cookies::register(table);
    crypto::register(table);
    csv::register(table);
    egress::register(table);
    encodings::register(table);
    environment::register(table);
    errors::register(table);
    event_log::register(table);
    files::register(table);
    host_call::register_all(table);
    http::register_all(table);
    ids::register(table);
    input::register(table);
    inbox::register(table);
    iterators::register(table);
    json::register_all(table);
    junit::register(table);
    lists::register(table);
    math::register(table);
    multipart::register(table);
    output::register(table);
    paths::register(table);
    prelude::register(table);
    process::register(table);
    process::register_processes(table);
    regexes::register(table);
    results::register(table);
    sandbox::register(table);
    schema::register(table);
    secrets::register(table);
    sets::register(table);
    store::register(table);
    tcp::register(table);
    templates::register(table);
    terminal::register(table);
    text::register(table);
    time::register(table);
    toml::register(table);
    tracing::register(table);
    transports::register_all(table);
    unicode::register(table);
    urls::register(table);
    waitpoints::register(table);
    yaml::register(table);
}
