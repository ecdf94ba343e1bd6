//! A subset of jq: `jq(value, ".xs[] | select(.n > 2)")`. The text is read in `query/parser.rs`; here it is evaluated.

mod parser;

use super::pointer::require;
use crate::strict::sized_by;
use madrigal_vm::value::{compare, equal};
use madrigal_vm::{Args, Cx, Dict, Fault, Outcome, Str, Value, methods};
use parser::{Comparison, Expr, Step};
use std::cmp::Ordering;

madrigal_vm::builtins! {
    /// All values that an expression emits for `value`.
    "jq" (value: any, expression: string) -> list = jq;
    /// The first value that an expression emits; nil when there is none.
    "jq_first" (value: any, expression: string) -> any = jq_first;
}

/// Evaluates the expression in the second argument and gives what `conclude` makes of the values.
fn run<C>(cx: &mut Cx<'_>, mut args: Args<'_>, name: &'static str, conclude: C) -> Result<Outcome, Fault>
where
    C: FnOnce(Vec<Value>) -> Value + Send + 'static,
{
    require(&args, name, 2)?;
    let text = args.string(1);
    sized_by(cx, name, args.take(0), move |value| {
        let expr = parser::parse(&text).map_err(|what| Fault::thrown(format!("jq: {what}")))?;
        let mut out = Vec::new();
        emit(&expr, value, &mut out)?;
        Ok(conclude(out))
    })
}

fn jq(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    run(cx, args, "jq", Value::list)
}

fn jq_first(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    run(cx, args, "jq_first", |values| values.into_iter().next().unwrap_or_default())
}

/// Adds what `expr` emits for `input`.
fn emit(expr: &Expr, input: &Value, out: &mut Vec<Value>) -> Result<(), Fault> {
    match expr {
        Expr::Pipe(stages) => {
            let mut values = vec![input.clone()];
            for stage in stages {
                let mut next = Vec::new();
                values.iter().try_for_each(|it| emit(stage, it, &mut next))?;
                values = next;
            }
            out.extend(values);
        }
        Expr::Comma(parts) => parts.iter().try_for_each(|it| emit(it, input, out))?,
        Expr::And(a, b) => out.push(Value::Bool(holds(a, input)? && holds(b, input)?)),
        Expr::Or(a, b) => out.push(Value::Bool(holds(a, input)? || holds(b, input)?)),
        Expr::Not(it) => out.push(Value::Bool(!holds(it, input)?)),
        Expr::Compare(how, a, b) => {
            let (a, b) = (first(a, input)?.unwrap_or_default(), first(b, input)?.unwrap_or_default());
            out.push(Value::Bool(compares(*how, &a, &b)));
        }
        Expr::Path(steps) => {
            let mut values = vec![input.clone()];
            for step in steps {
                values = values.into_iter().flat_map(|it| follow(step, it)).collect();
            }
            out.extend(values);
        }
        Expr::Descend => descend(input, out),
        Expr::Object(fields) => {
            let mut object = Dict::new();
            for (key, value) in fields {
                object.insert(key.clone(), first(value, input)?.unwrap_or_default());
            }
            out.push(Value::Dict(object));
        }
        Expr::Literal(it) => out.push(it.clone()),
        Expr::Length => out.push(length(input)),
        Expr::Keys => out.push(keys(input)),
        Expr::Values => out.push(Value::list(children(input))),
        Expr::Type => out.push(Value::from(type_of(input))),
        Expr::Map(it) => {
            let mut items = Vec::new();
            children(input).iter().try_for_each(|child| emit(it, child, &mut items))?;
            out.push(Value::list(items));
        }
        Expr::Select(it) => {
            if holds(it, input)? {
                out.push(input.clone());
            }
        }
    }
    methods::check_items("jq", Some(out.len()))
}

fn first(expr: &Expr, input: &Value) -> Result<Option<Value>, Fault> {
    let mut out = Vec::new();
    emit(expr, input, &mut out)?;
    Ok(out.into_iter().next())
}

/// Whether the first value is truthy.
fn holds(expr: &Expr, input: &Value) -> Result<bool, Fault> {
    Ok(first(expr, input)?.is_some_and(|it| it.is_truthy()))
}

fn compares(how: Comparison, a: &Value, b: &Value) -> bool {
    let comparable =
        (a.as_number().is_some() && b.as_number().is_some()) || (a.as_str().is_some() && b.as_str().is_some());
    match how {
        Comparison::Equal => equal(a, b),
        Comparison::Unequal => !equal(a, b),
        Comparison::Less => comparable && compare(a, b) == Ordering::Less,
        Comparison::Greater => comparable && compare(a, b) == Ordering::Greater,
    }
}

fn children(value: &Value) -> Vec<Value> {
    match value {
        Value::List(items) => items.to_vec(),
        Value::Set(items) => items.iter().cloned().collect(),
        Value::Dict(entries) => entries.values().cloned().collect(),
        Value::Struct(it) => it.fields().map(|(_, value)| value.clone()).collect(),
        _ => Vec::new(),
    }
}

fn follow(step: &Step, value: Value) -> Vec<Value> {
    match (step, &value) {
        (Step::Each, _) => children(&value),
        (Step::Field(name), Value::Dict(entries)) => vec![entries.get(name).cloned().unwrap_or_default()],
        (Step::Field(name), Value::Struct(it)) => vec![it.get(name).cloned().unwrap_or_default()],
        (Step::Field(_), _) => vec![Value::Nil],
        (Step::Index(at), Value::List(items)) => {
            vec![items.position(*at).map_or(Value::Nil, |at| items[at].clone())]
        }
        (Step::Index(_), _) => vec![Value::Nil],
        (Step::Slice(start, end), Value::List(items)) => {
            let clip = |it: i64| {
                let from_start = if it < 0 { it.saturating_add(items.len() as i64) } else { it };
                usize::try_from(from_start.max(0)).map_or(items.len(), |it| it.min(items.len()))
            };
            let (start, end) = (start.map_or(0, clip), end.map_or(items.len(), clip));
            vec![Value::list(items.get(start..end).unwrap_or_default().to_vec())]
        }
        (Step::Slice(..), _) => vec![Value::list(Vec::new())],
    }
}

/// The value, then everything inside it, each before what it contains.
fn descend(value: &Value, out: &mut Vec<Value>) {
    let mut waiting = vec![value.clone()];
    while let Some(value) = waiting.pop() {
        waiting.extend(children(&value).into_iter().rev());
        out.push(value);
    }
}

fn length(value: &Value) -> Value {
    Value::from(match value {
        Value::Nil => 0,
        Value::String(it) => it.count(),
        Value::List(it) => it.len(),
        Value::Set(it) => it.len(),
        Value::Dict(it) => it.len(),
        Value::Struct(it) => it.fields().count(),
        _ => 1,
    })
}

fn keys(value: &Value) -> Value {
    let name = |it: &Str| Value::String(it.clone());
    Value::list(match value {
        Value::Dict(entries) => entries.keys().map(name).collect(),
        Value::Struct(it) => it.fields().map(|(key, _)| name(key)).collect(),
        Value::List(items) => (0..items.len()).map(Value::from).collect(),
        Value::Set(items) => (0..items.len()).map(Value::from).collect(),
        _ => Vec::new(),
    })
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Nil => "null",
        Value::Bool(_) => "boolean",
        Value::String(_) => "string",
        Value::List(_) | Value::Set(_) => "array",
        Value::Dict(_) | Value::Struct(_) => "object",
        other if other.as_number().is_some() => "number",
        other => other.type_name(),
    }
}
