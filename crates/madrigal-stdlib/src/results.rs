//! The two variants of `Result` and how to look into one.

use madrigal_vm::{Args, Cx, Fault, Value};

madrigal_vm::builtins! {
    /// A success with this payload.
    "Ok" (value: any) -> enum = make_ok;
    /// A failure with this payload.
    "Err" (value: any) -> enum = make_err;
    /// Whether `x` is a `Result.Ok`.
    "is_ok" (x: any) -> bool = is_ok;
    /// Whether `x` is a `Result.Err`.
    "is_err" (x: any) -> bool = is_err;
    /// The payload of a success; fails on a failure; anything else is returned as it is.
    "unwrap" (x: any) -> any = unwrap;
    /// The payload of a success, `default` for a failure; anything else is returned as it is.
    "unwrap_or" (x: any, default: any) -> any = unwrap_or;
    /// The payload of a failure.
    "unwrap_err" (x: any) -> any = unwrap_err;
}

fn as_result(value: &Value) -> Option<Result<Value, Value>> {
    match value {
        Value::Enum(it) => it.as_result(),
        _ => None,
    }
}

fn make_ok(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    Ok(Value::ok(args.take(0)))
}

fn make_err(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    Ok(Value::err(args.take(0)))
}

fn is_ok(_: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    Ok(matches!(as_result(args.get(0)), Some(Ok(_))))
}

fn is_err(_: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    Ok(matches!(as_result(args.get(0)), Some(Err(_))))
}

fn unwrap(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    match as_result(args.get(0)) {
        Some(Ok(payload)) => Ok(payload),
        Some(Err(payload)) => Err(Fault::runtime(format!("unwrap called on Err: {payload}"))),
        None => Ok(args.take(0)),
    }
}

fn unwrap_or(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    Ok(match as_result(args.get(0)) {
        Some(Ok(payload)) => payload,
        Some(Err(_)) => args.take(1),
        None => args.take(0),
    })
}

fn unwrap_err(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    match as_result(args.get(0)) {
        Some(Err(payload)) => Ok(payload),
        _ => Err(Fault::runtime("unwrap_err called on non-Err")),
    }
}
