//! Free functions on lists that need no callback; those with one are in `lib/prelude.harn`.

use madrigal_vm::{Args, Cx, Fault, List, Value, methods};

madrigal_vm::builtins! {
    /// Consecutive slices of `size` items, the last may be shorter.
    "chunk" (items: list, size: int = 1) -> list = chunk;
    /// All slices of exactly `size` items that start every `step` items.
    "window" (items: list, size: int = 2, step: int = 1) -> list = window;
}

/// The list in the first argument, which has to be one.
fn strict_list<'a>(args: &'a Args<'_>, name: &str) -> Result<&'a List, Fault> {
    args.list(0).ok_or_else(|| wrong_list(name, args.all().first()))
}

/// What is wrong with a first argument that is no list.
pub(crate) fn wrong_list(name: &str, found: Option<&Value>) -> Fault {
    let text = format!("{name}: first argument must be a list");
    match found {
        Some(value) => Fault::type_error(format!("{text}, got {}", value.type_name())),
        None => Fault::runtime(text),
    }
}

fn chunk(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(methods::chunks(strict_list(&args, "chunk")?, args.int(1).unwrap_or(1)))
}

fn window(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let items = strict_list(&args, "window")?;
    methods::windows(items, args.int(1).unwrap_or(2), args.int(2).unwrap_or(1))
}
