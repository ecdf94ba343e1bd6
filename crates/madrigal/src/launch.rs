//! Script tasks that the library starts: processes, and the children of supervisors.
//! Not here: where they are put, and what ends them (`madrigal-stdlib/src/process`).

use crate::driver::ScriptTask;
use madrigal_runtime::TaskContext;
use madrigal_stdlib::Run;
use madrigal_stdlib::process::{Launch, Own, Script};
use madrigal_vm::{Closure, Dict, Seed, Value};
use std::sync::Arc;

/// Makes tasks that start from the state of the task it was made in.
#[derive(Clone)]
pub(crate) struct Launcher {
    pub(crate) seed: Seed,
    pub(crate) run: Arc<Run>,
    pub(crate) values: Option<Dict>,
}

impl Launcher {
    fn task(&self, body: &Closure, args: &[Value], context: TaskContext, own: Option<Own>) -> ScriptTask {
        let vm = self.seed.task(body.clone(), args);
        ScriptTask::new(vm, self.run.clone(), context, self.values.clone()).with_process(own)
    }
}

impl Launch for Launcher {
    fn launch(&self, body: &Value, args: &[Value], context: TaskContext, own: Option<Own>) -> Script {
        match body {
            Value::Closure(body) => Box::pin(self.task(body, args, context, own)),
            _ => unreachable!("the library checks what it launches"),
        }
    }

    fn share(&self) -> Arc<dyn Launch> {
        Arc::new(self.clone())
    }
}
