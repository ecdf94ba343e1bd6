//! JSON pointers (RFC 6901) into values.

use madrigal_vm::{Args, Cx, Fault, Str, Value};

madrigal_vm::builtins! {
    /// What a pointer leads to; nil when it leads nowhere.
    "json_pointer" (value: any, pointer: string) -> any = json_pointer;
    /// The value with what a pointer leads to replaced or added; unchanged when the way there is missing.
    "json_pointer_set" (value: any, pointer: string, replacement: any) -> any = json_pointer_set;
    /// The value without what a pointer leads to.
    "json_pointer_delete" (value: any, pointer: string) -> any = json_pointer_delete;
}

/// Fails with fewer than `count` arguments.
pub(crate) fn require(args: &Args<'_>, name: &str, count: usize) -> Result<(), Fault> {
    if args.len() >= count {
        return Ok(());
    }
    Err(Fault::thrown(format!("{name} requires {count} arguments")))
}

/// The tokens of the pointer in the second argument.
fn tokens(args: &Args<'_>, name: &str) -> Result<Vec<Str>, Fault> {
    let pointer = args.string(1);
    parse(&pointer).map_err(|what| Fault::thrown(format!("{name}: {what}")))
}

fn parse(pointer: &str) -> Result<Vec<Str>, String> {
    if pointer.is_empty() {
        return Ok(Vec::new());
    }
    let Some(rest) = pointer.strip_prefix('/') else {
        return Err("pointer must be empty or start with '/'".to_owned());
    };
    rest.split('/').map(unescaped).collect()
}

fn unescaped(token: &str) -> Result<Str, String> {
    let mut out = String::with_capacity(token.len());
    let mut chars = token.chars();
    while let Some(it) = chars.next() {
        match it {
            '~' => match chars.next() {
                Some('0') => out.push('~'),
                Some('1') => out.push('/'),
                Some(other) => return Err(format!("invalid escape '~{other}' in pointer")),
                None => return Err("dangling '~' in pointer".to_owned()),
            },
            it => out.push(it),
        }
    }
    Ok(Str::from(out))
}

/// The position that a token means in a list.
fn index(token: &str) -> Option<usize> {
    let plain = token.bytes().all(|it| it.is_ascii_digit()) && (token == "0" || !token.starts_with('0'));
    plain.then(|| token.parse().ok())?
}

fn child<'a>(value: &'a Value, token: &Str) -> Option<&'a Value> {
    match value {
        Value::Dict(entries) => entries.get(token),
        Value::Struct(it) => it.get(token),
        Value::List(items) => items.get(index(token)?),
        _ => None,
    }
}

/// The child for writing; only of values that [`child`] has one of.
fn child_mut<'a>(value: &'a mut Value, token: &Str) -> Option<&'a mut Value> {
    match value {
        Value::Dict(entries) => Some(entries.slot(token)),
        Value::Struct(it) => Some(it.slot(token)),
        Value::List(items) => items.make_mut().get_mut(index(token)?),
        _ => None,
    }
}

fn target<'a>(value: &'a Value, tokens: &[Str]) -> Option<&'a Value> {
    tokens.iter().try_fold(value, child)
}

/// The value after `change` of what the tokens but the last lead to; unchanged when they lead nowhere.
fn changed(mut value: Value, parents: &[Str], change: impl FnOnce(&mut Value)) -> Value {
    if target(&value, parents).is_some()
        && let Some(parent) = parents.iter().try_fold(&mut value, child_mut)
    {
        change(parent);
    }
    value
}

fn json_pointer(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    require(&args, "json_pointer", 2)?;
    let tokens = tokens(&args, "json_pointer")?;
    Ok(target(args.get(0), &tokens).cloned().unwrap_or_default())
}

fn json_pointer_set(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    require(&args, "json_pointer_set", 3)?;
    let tokens = tokens(&args, "json_pointer_set")?;
    let (value, new) = (args.take(0), args.take(2));
    let Some((last, parents)) = tokens.split_last() else { return Ok(new) };
    Ok(changed(value, parents, |parent| match parent {
        Value::Dict(entries) => entries.insert(last.clone(), new),
        Value::Struct(it) => *it.slot(last) = new,
        Value::List(items) => {
            let at = if last.as_str() == "-" { Some(items.len()) } else { index(last) };
            match at {
                Some(at) if at < items.len() => items.make_mut()[at] = new,
                Some(at) if at == items.len() => items.make_mut().push(new),
                _ => {}
            }
        }
        _ => {}
    }))
}

fn json_pointer_delete(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    require(&args, "json_pointer_delete", 2)?;
    let tokens = tokens(&args, "json_pointer_delete")?;
    let Some((last, parents)) = tokens.split_last() else { return Ok(Value::Nil) };
    Ok(changed(args.take(0), parents, |parent| match parent {
        Value::Dict(entries) => {
            entries.remove(last);
        }
        Value::List(items) => {
            if let Some(at) = index(last).filter(|at| *at < items.len()) {
                items.make_mut().remove(at);
            }
        }
        _ => {}
    }))
}
