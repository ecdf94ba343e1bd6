//! What `host_call` can do here, for scripts that ask first.

use crate::host::{Run, run};
use madrigal_vm::{Args, Cx, Fault, Value};
use std::collections::BTreeMap;

madrigal_vm::builtins! {
    /// What the host offers, by capability: dicts `{description, ops, operations}`.
    "host_capabilities" () -> dict = host_capabilities;
    /// Whether the host offers a capability, or one of its operations.
    "host_has" (capability: string, operation: string) -> bool = host_has;
}

/// Operations with their descriptions.
type Operations = BTreeMap<String, String>;

const PROCESS: [(&str, &str); 5] = [
    ("exec", "Run a program and capture its output."),
    ("list_shells", "List the shells of this machine."),
    ("get_default_shell", "Describe the default shell."),
    ("set_default_shell", "Choose the default shell."),
    ("shell_invocation", "Say how a shell would be started."),
];

/// Capabilities with a description and their operations.
fn offered(run: &Run) -> BTreeMap<String, (String, Operations)> {
    let builtin = [
        ("process", "Local programs.", &PROCESS[..]),
        ("template", "Templates.", &[("render", "Render a template file.")][..]),
        ("interaction", "The person at the terminal.", &[("ask", "Ask a question.")][..]),
    ];
    let mut offered = BTreeMap::new();
    for (capability, description, operations) in builtin {
        let operations = operations.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        offered.insert(capability.to_owned(), (description.to_owned(), operations));
    }
    for (capability, operation) in run.host_mocks.mocked() {
        let entry = offered.entry(capability);
        let (_, operations) = entry.or_insert_with(|| ("Mocked host capability.".to_owned(), Operations::new()));
        operations.entry(operation).or_insert_with(|| "Mocked host operation.".to_owned());
    }
    offered
}

fn host_capabilities(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Value, Fault> {
    let described = |text: String| Value::dict([("description", Value::from(text))]);
    let capabilities = offered(run(cx)).into_iter().map(|(name, (description, operations))| {
        let names = operations.keys().map(|it| Value::from(it.as_str())).collect();
        let operations = operations.into_iter().map(|(name, text)| (name, described(text)));
        let value = Value::dict([
            ("description", Value::from(description)),
            ("ops", Value::list(names)),
            ("operations", Value::dict(operations)),
        ]);
        (name, value)
    });
    Ok(Value::dict(capabilities))
}

fn host_has(cx: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    let offered = offered(run(cx));
    Ok(offered
        .get(args.string(0).as_str())
        .is_some_and(|(_, operations)| args.get(1).is_nil() || operations.contains_key(args.string(1).as_str())))
}
