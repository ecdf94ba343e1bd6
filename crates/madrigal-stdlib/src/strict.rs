//! Arguments that insist on their kind, and work that moves to the blocking pool when its input is large.

use crate::host::run;
use madrigal_vm::{Args, Bytes, Cx, Fault, Outcome, Str, Value, Wait};

/// Input up to this many bytes is worked on at once.
const AT_ONCE_MAX: usize = 256 * 1024;

/// Carries `work` on `len` bytes out at once, or on the blocking pool when it would keep other tasks waiting.
pub(crate) fn sized<W>(cx: &mut Cx<'_>, what: &'static str, len: usize, work: W) -> Result<Outcome, Fault>
where
    W: FnOnce() -> Result<Value, Fault> + Send + 'static,
{
    if len <= AT_ONCE_MAX {
        return work().map(Outcome::from);
    }
    Ok(Outcome::from(Wait::new(what, run(cx).blocking(work))))
}

/// As how many bytes of input a part of a value counts.
pub(crate) const PART_BYTES: usize = 32;

/// How many parts a value has, itself included, texts counting by their length; counting ends at a few million.
pub(crate) fn parts(value: &Value) -> usize {
    const COUNT_MAX: usize = 4_000_000;
    let mut count = 0;
    let mut waiting = vec![value];
    while let Some(value) = waiting.pop() {
        count += 1 + value.as_octets().map_or(0, <[u8]>::len) / PART_BYTES;
        if count >= COUNT_MAX {
            break;
        }
        match value {
            Value::List(items) => waiting.extend(items.iter()),
            Value::Set(items) => waiting.extend(items.iter()),
            Value::Dict(entries) => waiting.extend(entries.values()),
            Value::Struct(it) => waiting.extend(it.fields().map(|(_, value)| value)),
            _ => {}
        }
    }
    count
}

/// Like [`sized`], for work on a value.
pub(crate) fn sized_by<W>(cx: &mut Cx<'_>, what: &'static str, value: Value, work: W) -> Result<Outcome, Fault>
where
    W: FnOnce(&Value) -> Result<Value, Fault> + Send + 'static,
{
    sized(cx, what, parts(&value) * PART_BYTES, move || work(&value))
}

/// The argument at `index`; fails when it was not passed.
pub(crate) fn given<'a>(args: &'a Args<'_>, name: &str, index: usize) -> Result<&'a Value, Fault> {
    let value = args.all().get(index);
    value.ok_or_else(|| Fault::runtime(format!("{name}: missing argument {}", index + 1)))
}

/// What is wrong with an argument that should have been a `wanted`.
pub(crate) fn wrong(name: &str, wanted: &str, index: usize, found: &Value) -> Fault {
    Fault::runtime(format!("{name}: expected {wanted} at argument {}, got {}", index + 1, found.type_name()))
}

/// The bytes at `index`.
pub(crate) fn bytes<'a>(args: &'a Args<'_>, name: &str, index: usize) -> Result<&'a Bytes, Fault> {
    match given(args, name, index)? {
        Value::Bytes(it) => Ok(it),
        other => Err(wrong(name, "bytes", index, other)),
    }
}

/// The string at `index`.
pub(crate) fn string<'a>(args: &'a Args<'_>, name: &str, index: usize) -> Result<&'a Str, Fault> {
    match given(args, name, index)? {
        Value::String(it) => Ok(it),
        other => Err(wrong(name, "string", index, other)),
    }
}

/// The int at `index`.
pub(crate) fn int(args: &Args<'_>, name: &str, index: usize) -> Result<i64, Fault> {
    let value = given(args, name, index)?;
    value.as_int().ok_or_else(|| wrong(name, "int", index, value))
}

/// Bytes to work on: those of bytes, else those of the display form.
pub(crate) enum Octets {
    /// Of a bytes value.
    Bytes(Bytes),
    /// UTF-8 of a text.
    Text(Str),
}

impl Octets {
    /// Of the argument at `index`; none when it was not passed.
    pub(crate) fn of(args: &Args<'_>, index: usize) -> Octets {
        match args.get(index) {
            Value::Bytes(it) => Octets::Bytes(it.clone()),
            _ => Octets::Text(args.string(index)),
        }
    }
}

impl std::ops::Deref for Octets {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Octets::Bytes(it) => it,
            Octets::Text(it) => it.as_bytes(),
        }
    }
}
