//! Assertions: they throw plain strings.

use madrigal_vm::{Args, Cx, Fault};

madrigal_vm::builtins! {
    /// Throws unless `condition` is truthy.
    "assert" (condition: any, message: any) -> nil = assert;
    /// Throws unless `actual` equals `expected`.
    "assert_eq" (actual: any, expected: any, message: any) -> nil = assert_eq;
    /// Throws if both values are equal.
    "assert_ne" (a: any, b: any, message: any) -> nil = assert_ne;
    /// Always fails; says that this place cannot be reached.
    "unreachable" (value: any) -> never = unreachable;
}

/// The message argument, else what `otherwise` says.
fn failed(args: &Args<'_>, message: usize, otherwise: impl FnOnce() -> String) -> Fault {
    if args.has(message) { Fault::thrown(args.string(message)) } else { Fault::thrown(otherwise()) }
}

fn assert(_: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    if args.get(0).is_truthy() {
        return Ok(());
    }
    Err(failed(&args, 1, || "Assertion failed".to_owned()))
}

fn assert_eq(_: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    if !args.has(1) {
        return Err(Fault::thrown("assert_eq requires at least 2 arguments"));
    }
    if args.get(0) == args.get(1) {
        return Ok(());
    }
    Err(failed(&args, 2, || format!("Assertion failed: expected {}, got {}", args.get(1), args.get(0))))
}

fn assert_ne(_: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    if !args.has(1) {
        return Err(Fault::thrown("assert_ne requires at least 2 arguments"));
    }
    if args.get(0) != args.get(1) {
        return Ok(());
    }
    Err(failed(&args, 2, || format!("Assertion failed: values should not be equal: {}", args.get(0))))
}

fn unreachable(_: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    if args.is_empty() {
        return Err(Fault::runtime("unreachable code was reached"));
    }
    Err(Fault::runtime(format!("unreachable code was reached: {}", args.get(0))))
}
