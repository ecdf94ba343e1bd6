//! Spans that scripts open and close by hand. The open ones are a stack of the run; log lines carry the innermost.

use crate::host::{Run, run};
use crate::output::log_fields;
use madrigal_vm::{Args, Cx, Fault, Value};
use parking_lot::Mutex;

madrigal_vm::builtins! {
    /// Opens a span: a dict `{trace_id, span_id, name, start_ms}`.
    "trace_start" (name: string) -> dict = trace_start;
    /// Closes a span and logs how long it took.
    "trace_end" (span: dict) -> nil = trace_end;
    /// The trace of the innermost open span, nil when there is none.
    "trace_id" () -> string = trace_id;
}

/// The open spans of a run, innermost last.
#[derive(Default)]
pub(crate) struct Traces(Mutex<Vec<Span>>);

/// The ids of a span.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub trace_id: String,
    pub span_id: String,
}

impl Traces {
    /// The innermost open span.
    pub(crate) fn current(&self) -> Option<Span> {
        self.0.lock().last().cloned()
    }
}

/// Eight hexadecimal digits.
fn fresh_id(run: &Run) -> String {
    run.random(|generator| format!("{:08x}", generator.bits() as u32))
}

fn trace_start(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let run = run(cx);
    let span_id = fresh_id(run);
    let trace_id = run.traces.current().map_or_else(|| fresh_id(run), |outer| outer.trace_id);
    run.traces.0.lock().push(Span { trace_id: trace_id.clone(), span_id: span_id.clone() });
    Ok(Value::dict([
        ("trace_id", Value::from(trace_id)),
        ("span_id", Value::from(span_id)),
        ("name", Value::String(args.string(0))),
        ("start_ms", Value::Int(run.now_ms())),
    ]))
}

fn trace_end(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    let part = |key: &str| args.dict(0).and_then(|it| it.get(key)).cloned();
    let span = (part("span_id"), part("trace_id"), part("name"), part("start_ms").and_then(|it| it.as_int()));
    let (Some(span_id), Some(trace_id), Some(name), Some(start)) = span else {
        return Err(Fault::thrown("trace_end: argument must be a span dict from trace_start"));
    };
    let run = run(cx);
    {
        let mut open = run.traces.0.lock();
        if open.last().is_some_and(|it| span_id.as_str() == Some(it.span_id.as_str())) {
            open.pop();
        }
    }
    let duration = Value::Int((run.now_ms() - start).max(0));
    let fields = [("duration_ms", duration), ("name", name), ("span_id", span_id), ("trace_id", trace_id)];
    let fields: madrigal_vm::Dict = fields.into_iter().map(|(key, value)| (key.into(), value)).collect();
    log_fields(run, "span_end", &fields);
    Ok(())
}

fn trace_id(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Value, Fault> {
    Ok(run(cx).traces.current().map_or(Value::Nil, |it| Value::from(it.trace_id)))
}
