//! Assigning to places. Nothing is half done: a step that fails leaves the container as it was.

use crate::fault::Fault;
use crate::value::{Str, Value};

/// `Type error` of a list pattern or spread.
pub fn not_a_list(value: &Value) -> Fault {
    Fault::type_error(format!("cannot destructure {} with [...] pattern — expected list", value.type_name()))
}

/// `Type error` of a dict pattern or spread.
pub fn not_a_dict(value: &Value) -> Fault {
    Fault::type_error(format!("cannot destructure {} with {{...}} pattern — expected dict", value.type_name()))
}

/// `object.name = value`.
pub fn set_field(object: &mut Value, name: &Str, value: Value) -> Result<(), Fault> {
    *field_slot(object, name)? = value;
    Ok(())
}

fn field_slot<'a>(object: &'a mut Value, name: &Str) -> Result<&'a mut Value, Fault> {
    match object {
        Value::Dict(entries) => Ok(entries.slot(name)),
        Value::Struct(it) => Ok(it.slot(name)),
        other => Err(Fault::type_error(format!("cannot set property `{name}` on {}", other.type_name()))),
    }
}

/// `object[index] = value`.
pub fn set_index(object: &mut Value, index: &Value, value: Value) -> Result<(), Fault> {
    *index_slot(object, index)? = value;
    Ok(())
}

fn index_slot<'a>(object: &'a mut Value, index: &Value) -> Result<&'a mut Value, Fault> {
    let wrong = |kind: &str| Fault::type_error(format!("cannot index into {kind} with {}", index.type_name()));
    match object {
        Value::Dict(entries) => Ok(match index {
            Value::String(key) => entries.slot(key),
            other => entries.slot(&other.display()),
        }),
        Value::List(items) => {
            let given = index.as_int().ok_or_else(|| wrong("list"))?;
            let len = items.len();
            match items.position(given) {
                Some(at) => Ok(&mut items.make_mut()[at]),
                None => Err(Fault::runtime(format!("Index {given} out of bounds for list of length {len}"))),
            }
        }
        other => Err(wrong(other.type_name())),
    }
}

/// Assigns to the place that `steps` reach from `root`; bit i of `properties` tells that step i is a property.
pub fn set_path(root: &mut Value, steps: &[Value], properties: u8, value: Value) -> Result<(), Fault> {
    check_path(root, steps, properties)?;
    let mut place = root;
    for (position, step) in steps.iter().enumerate() {
        place = match step {
            Value::String(name) if is_property(properties, position) => field_slot(place, name)?,
            index => index_slot(place, index)?,
        };
    }
    *place = value;
    Ok(())
}

fn is_property(properties: u8, position: usize) -> bool {
    properties >> position & 1 == 1
}

/// Fails where writing would, without changing anything: the slots on the way would be added otherwise.
fn check_path(root: &Value, steps: &[Value], properties: u8) -> Result<(), Fault> {
    let mut place = Some(root.clone());
    for (position, step) in steps.iter().enumerate() {
        let mut probe = place.take().unwrap_or_default();
        let next = match step {
            Value::String(name) if is_property(properties, position) => match &probe {
                Value::Dict(entries) => entries.get(name).cloned(),
                Value::Struct(it) => it.get(name).cloned(),
                _ => field_slot(&mut probe, name).map(|slot| Some(slot.clone()))?,
            },
            index => match &probe {
                Value::Dict(entries) => entries.get(&index.display()).cloned(),
                Value::List(items) => match index.as_int().and_then(|it| items.position(it)) {
                    Some(at) => Some(items[at].clone()),
                    None => index_slot(&mut probe, index).map(|slot| Some(slot.clone()))?,
                },
                _ => index_slot(&mut probe, index).map(|slot| Some(slot.clone()))?,
            },
        };
        place = next;
    }
    Ok(())
}
