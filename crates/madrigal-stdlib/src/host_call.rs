//! `host_call`: operations of the host by name, and their mocks, which answer first.

mod capabilities;
mod mocks;
mod process;

pub(crate) use mocks::HostMocks;

use crate::environment::source_directory;
use crate::host::run;
use crate::templates;
use madrigal_vm::{Args, BuiltinTable, Cx, Dict, Fault, Outcome, Value};

madrigal_vm::builtins! {
    /// Carries out an operation of the host, named `capability.operation`.
    "host_call" (name: string, params: dict) -> any = host_call;
}

/// Adds the builtins of this area.
pub fn register_all(table: &mut BuiltinTable) {
    register(table);
    capabilities::register(table);
    mocks::register(table);
}

/// A parameter that has to be there.
fn needed<'a>(params: &'a Dict, key: &str) -> Result<&'a Value, Fault> {
    let missing = || Fault::thrown(format!("host_call: missing required parameter '{key}'"));
    some(params, key).ok_or_else(missing)
}

/// The parameter under `key`, unless it is nil.
fn some<'a>(params: &'a Dict, key: &str) -> Option<&'a Value> {
    params.get(key).filter(|it| !it.is_nil())
}

fn host_call(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let name = args.string(0);
    let unsupported = |name: &str| Fault::thrown(format!("host_call: unsupported operation {name}"));
    let Some((capability, operation)) = name.split_once('.') else {
        return Err(Fault::thrown(format!("host_call: unsupported operation name '{name}'")));
    };
    let params = args.dict(1).cloned().unwrap_or_default();
    if let Some(answer) = run(cx).host_mocks.answer(capability, operation, &params) {
        return answer.map(Outcome::from);
    }
    let directory = source_directory(cx);
    let run = run(cx);
    let text = |it: Option<String>| Outcome::from(it.unwrap_or_default());
    Ok(match name.as_str() {
        "process.exec" => Outcome::from(process::exec(run, &params)?),
        "process.list_shells" => Outcome::from(process::list_shells(run)),
        "process.get_default_shell" => Outcome::from(process::default_shell(run)),
        "process.set_default_shell" => Outcome::from(process::set_default_shell(run, &params)?),
        "process.shell_invocation" => Outcome::from(process::invocation(run, &params)?),
        "template.render" => {
            let path = needed(&params, "path")?.display();
            let bindings = match params.get("bindings") {
                Some(Value::Dict(it)) => it.clone(),
                _ => Dict::new(),
            };
            Outcome::from(templates::render_file(run, "host_call", &path, &directory, bindings)?)
        }
        "interaction.ask" => Outcome::from(process::ask(run, &needed(&params, "question")?.display())),
        "runtime.task" => text(run.variable("HARN_TASK")),
        "runtime.set_result" => Outcome::from(Value::Nil),
        "workspace.project_root" => {
            text(run.variable("HARN_PROJECT_ROOT").or_else(|| Some(run.execution_root().display().to_string())))
        }
        "workspace.cwd" => text(Some(run.execution_root().display().to_string())),
        other => return Err(unsupported(other)),
    })
}
