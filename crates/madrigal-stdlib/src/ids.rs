//! Identifiers.

use crate::host::{Run, run};
use madrigal_vm::{Args, Cx, Fault, Value};
use uuid::{Builder, Uuid};

madrigal_vm::builtins! {
    /// A random UUID (version 4).
    "uuid" () -> string = uuid;
    /// A UUID that sorts by time (version 7).
    "uuid_v7" () -> string = uuid_v7;
    /// The UUID of a name in a namespace: a UUID, `dns`, `url`, `oid` or `x500` (version 5).
    "uuid_v5" (namespace: string, name: string) -> string = uuid_v5;
    /// A UUID in its canonical form; nil when it is none.
    "uuid_parse" (text: string) -> string = uuid_parse;
    /// The UUID of zeros.
    "uuid_nil" () -> string = uuid_nil;
}

fn uuid(cx: &mut Cx<'_>, _: Args<'_>) -> Result<String, Fault> {
    Ok(Builder::from_random_bytes(run(cx).entropy()?).into_uuid().to_string())
}

fn uuid_v7(cx: &mut Cx<'_>, _: Args<'_>) -> Result<String, Fault> {
    time_ordered(run(cx))
}

/// A fresh UUID of version 7.
pub(crate) fn time_ordered(run: &Run) -> Result<String, Fault> {
    let now = u64::try_from(run.now_ms()).unwrap_or(0);
    // The counter keeps those of one millisecond in order.
    let mut random: [u8; 10] = run.entropy()?;
    let order = run.next_id() as u32;
    random[0] = (order >> 18) as u8 & 0x0f;
    random[1] = (order >> 10) as u8;
    random[2] = (order >> 4) as u8 & 0x3f;
    random[3] = (order << 4) as u8 | random[3] & 0x0f;
    Ok(Builder::from_unix_timestamp_millis(now, &random).into_uuid().to_string())
}

fn uuid_v5(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    if !args.has(1) {
        return Err(Fault::runtime("uuid_v5(namespace, name): requires namespace and name"));
    }
    let namespace = args.string(0).to_lowercase();
    let namespace = match namespace.strip_prefix("namespace_").unwrap_or(&namespace) {
        "dns" => Uuid::NAMESPACE_DNS,
        "url" => Uuid::NAMESPACE_URL,
        "oid" => Uuid::NAMESPACE_OID,
        "x500" => Uuid::NAMESPACE_X500,
        other => Uuid::parse_str(other)
            .map_err(|_| Fault::runtime("uuid_v5: namespace must be a UUID or one of dns/url/oid/x500"))?,
    };
    Ok(Uuid::new_v5(&namespace, args.string(1).as_bytes()).to_string())
}

fn uuid_parse(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(Uuid::parse_str(&args.string(0)).map_or(Value::Nil, |it| Value::from(it.to_string())))
}

fn uuid_nil(_: &mut Cx<'_>, _: Args<'_>) -> Result<String, Fault> {
    Ok(Uuid::nil().to_string())
}
