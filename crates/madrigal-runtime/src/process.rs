//! Processes: tasks with a mailbox, an identity and a death that others can see. Links, monitors, names, timers,
//! servers and supervisors are made of that; there is no scheduler besides the one all tasks share.
//!
//! A [`System`] owns processes; each is known to others by its [`Pid`] and to itself by its [`Process`].
//!
//! ```
//! use madrigal_runtime::process::{Received, System};
//! use madrigal_runtime::{Runtime, TaskError, scope};
//!
//! let echoed = Runtime::new().run(async || {
//!     scope(async |s| {
//!         let system = System::new(s.clone());
//!         let echo = system.spawn(async |process| {
//!             // A request is a word and where its echo goes.
//!             while let Received::Message((word, back)) = process.recv().await {
//!                 let back: madrigal_runtime::process::Pid<String, TaskError> = back;
//!                 back.send(format!("{word}, {word}"));
//!             }
//!             Ok::<_, TaskError>(())
//!         })?;
//!         let asking = system.start(async move |process| {
//!             echo.pid().send(("hello".to_owned(), process.pid()));
//!             match process.recv().await {
//!                 Received::Message(answer) => Ok(answer),
//!                 _ => Err(TaskError::new("the echo is gone")),
//!             }
//!         });
//!         asking.await
//!     })
//!     .await
//! });
//! assert_eq!(echoed.unwrap(), "hello, hello");
//! ```
//!
//! Dropping a pid, or any future of this module, changes nothing for the process; a dropped receive has taken nothing.

mod call;
mod cell;
mod mailbox;
mod member;
mod reason;
mod server;
mod supervision;
mod supervisor;
mod system;

pub use call::{Answer, Answered, Call, call};
pub use cell::{Pid, Process, Recv, RecvWithin};
pub use mailbox::Received;
pub use member::{Member, Monitor, Watch, WatchKey};
pub use reason::{Detail, Reason, ReasonKind};
pub use server::{CallError, GenServer, Letter, ServerRef, ServerStart, Signal, Step};
pub use supervision::{Backoff, Cap, ChildState, Intensity, Restart, Strategy, WaitReason};
pub use supervisor::{
    ChildEnd, ChildReport, ChildSpec, ChildStart, Control, EventKind, Logger, Metrics, Report, Running, Settings,
    StartChild, Supervisor, SupervisorEvent, SupervisorStatus,
};
pub use system::{Crashed, ProcessSpec, ShutDown, Spawned, System, SystemHooks, WeakSystem};
