//! Natives of lazy iterators and of the stream namespace, which are written in Harn (`lib/iterators.harn`,
//! `lib/streams.harn`).

use madrigal_vm::{Args, Cx, Fault, Handle, Pair, Value};

/// Source of the iterators, compiled after the prelude.
pub const ITERATORS: &str = include_str!("lib/iterators.harn");

/// Source of the stream namespace, compiled after the iterators.
pub const STREAMS: &str = include_str!("lib/streams.harn");

madrigal_vm::builtins! {
    /// Whether `iter` accepts the value.
    "__is_iterable" (x: any) -> bool = is_iterable;
    /// What `for` walks to give the items of `iter(x)`.
    "__iter_source" (x: any) -> any = iter_source;
    /// Fails with a runtime error.
    "__runtime_error" (text: string) -> never = runtime_error;
    /// Checks the arguments of a function of the stream namespace with a callback.
    "__check_stream" (name: string, s: any, f: any) -> nil = check_stream;
    /// Checks those of one with a number, of which the text says what kind it has to be.
    "__check_stream_number" (name: string, s: any, n: any, kind: string) -> nil = check_stream_number;
    /// Checks those of one that folds.
    "__check_stream_fold" (name: string, s: any, init: any, f: any) -> nil = check_stream_fold;
    /// Checks those of one with a source only.
    "__check_stream_source" (name: string, s: any) -> nil = check_stream_source;
}

fn iterable(value: &Value) -> bool {
    match value {
        Value::List(_) | Value::Dict(_) | Value::String(_) | Value::Range(_) | Value::Set(_) => true,
        Value::Handle(handle) => handle.is_iterable(),
        _ => false,
    }
}

fn is_iterable(_: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    Ok(iterable(args.get(0)))
}

fn iter_source(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let value = args.take(0);
    if !iterable(&value) {
        return Err(Fault::type_error(format!("iter: value of type {} is not iterable", value.type_name())));
    }
    Ok(match &value {
        Value::Dict(entries) => Value::list(
            entries
                .iter()
                .map(|(key, value)| Value::Pair(Pair::new(Value::from(key.clone()), value.clone())))
                .collect(),
        ),
        Value::String(text) => Value::list(text.chars().map(|it| Value::String(it.into())).collect()),
        _ => value,
    })
}

fn runtime_error(_: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    Err(Fault::runtime(args.string(0).as_str()))
}

/// Whether the argument was passed.
fn passed(value: &Value) -> bool {
    !matches!(value, Value::Handle(it) if is_missing(it))
}

fn is_missing(handle: &Handle) -> bool {
    handle.type_name() == "missing"
}

fn need(args: &Args<'_>, position: usize) -> Result<(), Fault> {
    if passed(args.get(position)) {
        return Ok(());
    }
    Err(Fault::type_error(format!("stream.{}: missing argument {position}", args.string(0))))
}

fn need_callable(args: &Args<'_>, position: usize) -> Result<(), Fault> {
    need(args, position)?;
    let value = args.get(position);
    if value.is_callable() {
        return Ok(());
    }
    let (name, kind) = (args.string(0), value.type_name());
    Err(Fault::type_error(format!("stream.{name}: argument {position} must be callable, got {kind}")))
}

fn check_stream(_: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    need(&args, 1)?;
    need_callable(&args, 2)
}

fn check_stream_number(_: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    need(&args, 1)?;
    need(&args, 2)?;
    let (number, wanted) = (args.get(2), args.string(3));
    let fits = match wanted.as_str() {
        "positive int" => number.as_int().is_some_and(|it| it > 0),
        "positive number" => number.as_number().is_some_and(|it| it > 0.0),
        "duration or int" => number.as_millis().is_some(),
        _ => number.as_int().is_some_and(|it| it >= 0),
    };
    if fits {
        return Ok(());
    }
    let (name, kind) = (args.string(0), number.type_name());
    Err(Fault::type_error(format!("stream.{name}: argument 2 must be a {wanted}, got {kind}")))
}

fn check_stream_fold(_: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    need(&args, 1)?;
    need(&args, 2)?;
    need_callable(&args, 3)
}

fn check_stream_source(_: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    need(&args, 1)
}
