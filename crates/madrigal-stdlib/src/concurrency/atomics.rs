//! Atomics: one shared integer. Adding and setting give an observation: the int from before, which stands for the
//! atomic wherever an atomic is wanted.

use madrigal_vm::value::Observed;
use madrigal_vm::{Args, Cx, Fault, Handle, HandleObject, Value};
use std::sync::atomic::{AtomicI64, Ordering};

madrigal_vm::builtins! {
    /// A shared integer.
    "atomic" (initial: int = 0) -> atomic = atomic;
    /// Its value.
    "atomic_get" (atomic: atomic) -> int = atomic_get;
    /// Adds in place; the value from before.
    "atomic_add" (atomic: atomic, n: int) -> int = atomic_add;
    /// Sets; the value from before.
    "atomic_set" (atomic: atomic, n: int) -> int = atomic_set;
    /// Sets to `new` if the value is `expected`; whether it did.
    "atomic_cas" (atomic: atomic, expected: int, new: int) -> bool = atomic_cas;
}

/// An atomic as a value.
struct AtomicObject(AtomicI64);

impl HandleObject for AtomicObject {
    fn type_name(&self) -> &'static str {
        "atomic"
    }

    fn display(&self) -> String {
        format!("<atomic:{}>", self.0.load(Ordering::SeqCst))
    }

    fn identity(&self) -> Option<u64> {
        // Equality is that of the present numbers.
        Some(self.0.load(Ordering::SeqCst) as u64)
    }
}

fn handle_of<'a>(name: &str, value: &'a Value) -> Result<&'a Handle, Fault> {
    match value {
        Value::Handle(handle) if handle.downcast::<AtomicObject>().is_some() => Ok(handle),
        Value::Observed(it) => Ok(&it.atomic),
        other => Err(Fault::thrown(format!("{name}: first argument must be an atomic, got {}", other.type_name()))),
    }
}

fn cell<'a>(name: &str, value: &'a Value) -> Result<(&'a Handle, &'a AtomicI64), Fault> {
    let handle = handle_of(name, value)?;
    let object = handle.downcast::<AtomicObject>().expect("handles of observations are atomics");
    Ok((handle, &object.0))
}

/// An int; floats truncate, bools are 0 and 1.
fn number(name: &str, value: &Value) -> Result<i64, Fault> {
    match value {
        Value::Float(it) => Ok(*it as i64),
        Value::Bool(it) => Ok(i64::from(*it)),
        other => {
            other.as_int().ok_or_else(|| Fault::thrown(format!("{name}: expected an int, got {}", other.type_name())))
        }
    }
}

fn observed(handle: &Handle, value: i64) -> Value {
    Value::Observed(madrigal_vm::value::shared(Observed { value, atomic: handle.clone() }))
}

fn atomic(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let initial = if args.is_empty() { 0 } else { number("atomic", args.get(0))? };
    Ok(Value::Handle(Handle::new(AtomicObject(AtomicI64::new(initial)))))
}

fn atomic_get(_: &mut Cx<'_>, args: Args<'_>) -> Result<i64, Fault> {
    Ok(cell("atomic_get", args.get(0))?.1.load(Ordering::SeqCst))
}

fn atomic_add(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let (handle, cell) = cell("atomic_add", args.get(0))?;
    let before = cell.fetch_add(number("atomic_add", args.get(1))?, Ordering::SeqCst);
    Ok(observed(handle, before))
}

fn atomic_set(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let (handle, cell) = cell("atomic_set", args.get(0))?;
    let before = cell.swap(number("atomic_set", args.get(1))?, Ordering::SeqCst);
    Ok(observed(handle, before))
}

fn atomic_cas(_: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    let (_, cell) = cell("atomic_cas", args.get(0))?;
    let (expected, new) = (number("atomic_cas", args.get(1))?, number("atomic_cas", args.get(2))?);
    Ok(cell.compare_exchange(expected, new, Ordering::SeqCst, Ordering::SeqCst).is_ok())
}
