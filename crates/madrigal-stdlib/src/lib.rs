//! The Harn library: builtins and standard modules, one file per area.
//!
//! [`register`] adds every builtin to a table; [`host::Run`] is what they share during a run. Builtins that take
//! callbacks are written in Harn ([`prelude`]). Not here: the statements of concurrency (the driver).

#![forbid(unsafe_code)]

mod archives;
mod assertions;
mod bytes;
mod compression;
pub mod concurrency;
mod conversion;
mod cookies;
mod crypto;
mod csv;
mod encodings;
mod environment;
mod errors;
mod files;
pub mod host;
pub mod http;
mod ids;
pub mod inbox;
mod input;
pub mod iterators;
pub mod json;
mod lists;
mod math;
pub mod modules;
mod multipart;
mod output;
mod paths;
pub mod prelude;
pub mod process;
mod regexes;
mod results;
mod schema;
mod sets;
mod strict;
pub mod task;
pub mod tcp;
mod terminal;
#[cfg(test)]
mod testing;
mod text;
pub mod time;
mod toml;
mod unicode;
mod urls;
mod yaml;

pub use errors::category_of;
pub use host::{Run, RunOptions};
pub use prelude::PRELUDE;
pub use task::{TaskFault, TaskHost, TaskState};

use madrigal_vm::BuiltinTable;

/// Adds the whole library to a table.
pub fn register(table: &mut BuiltinTable) {
    archives::register(table);
    assertions::register(table);
    bytes::register(table);
    compression::register(table);
    concurrency::register(table);
    conversion::register(table);
    cookies::register(table);
    crypto::register(table);
    csv::register(table);
    encodings::register(table);
    environment::register(table);
    errors::register(table);
    files::register(table);
    http::register(table);
    ids::register(table);
    input::register(table);
    inbox::register(table);
    iterators::register(table);
    json::register_all(table);
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
    schema::register(table);
    sets::register(table);
    tcp::register(table);
    terminal::register(table);
    text::register(table);
    time::register(table);
    toml::register(table);
    unicode::register(table);
    urls::register(table);
    yaml::register(table);
}
