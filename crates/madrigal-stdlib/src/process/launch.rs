//! How library code starts script tasks of its own: what the driver lends it, and where it puts them.
//! Not here: the driver, which makes the tasks.

use super::values::Own;
use crate::task::TaskFault;
use madrigal_runtime::{Outcome, ScopeHandle, TaskContext};
use madrigal_vm::{Effect, Fault, Handle, HandleObject, Spawning, Value};
use parking_lot::Mutex;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// A running script.
pub type Script = Pin<Box<dyn Future<Output = Outcome<Value, TaskFault>> + Send>>;

/// Makes script tasks that start from the state of one task: its modules and its task-local values.
pub trait Launch: Send + Sync {
    /// The future of a task that calls `body`.
    fn launch(&self, body: &Value, args: &[Value], context: TaskContext, own: Option<Own>) -> Script;

    /// To be kept.
    fn share(&self) -> Arc<dyn Launch>;
}

/// What a placing gets from the driver.
pub struct Placing<'a> {
    /// Makes tasks.
    pub launcher: &'a dyn Launch,
    /// What is to be called.
    pub body: Value,
    /// The innermost scope of the calling task.
    pub scope: &'a dyn Fn() -> ScopeHandle<TaskFault>,
}

type Put = Box<dyn FnOnce(Placing<'_>) -> Result<Value, Fault> + Send>;

/// Where a spawned closure goes, on its way to the driver.
struct PlaceObject(Mutex<Option<Put>>);

impl HandleObject for PlaceObject {
    fn type_name(&self) -> &'static str {
        "place"
    }

    fn display(&self) -> String {
        "<place>".to_owned()
    }

    fn identity(&self) -> Option<u64> {
        None
    }
}

/// Has the driver call `put` with what it takes to start tasks that run `body`.
pub(super) fn place(body: Value, put: impl FnOnce(Placing<'_>) -> Result<Value, Fault> + Send + 'static) -> Effect {
    let place = Value::Handle(Handle::new(PlaceObject(Mutex::new(Some(Box::new(put))))));
    Effect::Spawn { body, how: Spawning::Placed { place } }
}

/// Carries out a placing; for the driver.
pub fn put(place: &Value, placing: Placing<'_>) -> Result<Value, Fault> {
    let put = match place {
        Value::Handle(handle) => handle.downcast::<PlaceObject>().and_then(|it| it.0.lock().take()),
        _ => None,
    };
    put.map_or(Ok(Value::Nil), |put| put(placing))
}
