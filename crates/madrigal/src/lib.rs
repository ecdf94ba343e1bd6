//! Run Harn programs from Rust: the engine, and the driver between interpreter and runtime.
//!
//! ```
//! use madrigal::{Engine, Options, Source};
//!
//! let (stdout, text) = madrigal::Output::captured();
//! let source = Source::text("hello.harn", "println(\"hi\")");
//! let finished = Engine::new().run(&source, Options { stdout, ..Options::default() });
//! assert_eq!(finished.status, 0);
//! assert_eq!(text.text(), "hi\n");
//! ```
//!
//! Not here: the command line (`madrigal-cli`).

#![forbid(unsafe_code)]

mod driver;
mod engine;
mod fan;
mod launch;
mod loader;
mod models;
mod race;
pub mod reference;
mod report;
mod stream;

pub use engine::{Engine, Executor, Finished, Interrupter, Limits, Options, Rejected, Source};
pub use madrigal_stdlib::host::{Captured, Input, Output};
pub use madrigal_stdlib::net_rules::NetRule;
pub use madrigal_stdlib::sandbox::{Grant, Permissions, is_permitted};
pub use madrigal_stdlib::task::Probe;
pub use models::describe_models;
