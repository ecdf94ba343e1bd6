//! Live answers: a channel that a helper task fills while the answer arrives.

use crate::call::Handed;
use crate::failure::LlmError;
use crate::job;
use crate::options::{Given, Plan};
use crate::reply::call_value;
use crate::structured;
use crate::transport::{CallCx, ChatDelta, Deltas, Pending};
use madrigal_runtime::Channel;
use madrigal_stdlib::concurrency::{ChannelObject, Produced, channel_of};
use madrigal_vm::effect::{Effect, Spawning};
use madrigal_vm::{Args, Cx, Fault, Handle, Outcome, Value, Wait};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

madrigal_vm::builtins! {
    /// The channel of a live answer, and the job that fills it.
    "__llm_stream" (prompt: string, system: string, options: dict) -> list = open;
    /// Spawns a task that is cancelled when its scope ends.
    "__spawn_helper" (body: closure) -> any = spawn_helper;
    /// The whole result of a live answer, once it is complete; what was not received is dropped.
    "llm_stream_result" (channel: channel) -> dict = stream_result;
}

/// Items of a channel unless the call says otherwise.
const BUFFER: u64 = 64;

/// What the items are.
#[derive(Clone, Copy, PartialEq)]
enum Items {
    Text,
    Events,
}

/// Sends the pieces of an answer into a channel; a full channel makes it wait.
struct ToChannel {
    channel: Channel<Value>,
    items: Items,
    started: bool,
}

impl ToChannel {
    fn item(&self, delta: ChatDelta) -> Option<Value> {
        let event = |kind: &str, fields: Vec<(&'static str, Value)>| {
            Some(Value::dict([("type", Value::from(kind))].into_iter().chain(fields)))
        };
        match (self.items, delta) {
            (Items::Text, ChatDelta::Text(text)) => Some(Value::from(text)),
            (Items::Text, _) => None,
            (Items::Events, ChatDelta::Text(text)) => event("text", vec![("delta", Value::from(text))]),
            (Items::Events, ChatDelta::Thinking(text)) => event("thinking", vec![("delta", Value::from(text))]),
            (Items::Events, ChatDelta::ToolCallPart { index, id, name, arguments }) => {
                let mut fields = vec![("index", Value::from(index)), ("arguments_delta", Value::from(arguments))];
                fields.extend(id.map(|it| ("id", Value::from(it))));
                fields.extend(name.map(|it| ("name", Value::from(it))));
                event("tool_call_delta", fields)
            }
            (Items::Events, ChatDelta::ToolCall(call)) => match call_value(&call) {
                Value::Dict(mut dict) => {
                    dict.insert("type".into(), Value::from("tool_call"));
                    Some(Value::Dict(dict))
                }
                other => Some(other),
            },
        }
    }
}

impl Deltas for ToChannel {
    fn take(&mut self, delta: ChatDelta) -> Pending<'_, Result<(), LlmError>> {
        self.started = true;
        let item = self.item(delta);
        Box::pin(async move {
            if let Some(item) = item
                && self.channel.send(item).await.is_err()
            {
                // Whoever closed the channel ends the call as well.
                std::future::pending::<()>().await;
            }
            Ok(())
        })
    }

    fn started(&self) -> bool {
        self.started
    }
}

fn open(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let given = Given::new(args.get(0), args.get(1), args.get(2))?;
    let (plan, call_cx, handed) = crate::builtins::planned(cx, &given, &[])?;
    let read = crate::options::Reader(&given.options);
    let items = match read.text("chunks")?.as_deref() {
        None | Some("text") => Items::Text,
        Some("events") => Items::Events,
        Some(other) => {
            return Err(LlmError::invalid(format!("chunks must be text or events, not '{other}'")).into());
        }
    };
    let buffer = usize::try_from(read.count("buffer")?.unwrap_or(BUFFER)).unwrap_or(1).max(1);
    let object = ChannelObject::produced("llm_stream", buffer);
    let (closes, produced) = (Closes(object.0.clone()), object.producer().unwrap_or_default());
    let job = job::job(move |asker| fill(plan, CallCx { asker, ..call_cx }, handed, closes, produced, items));
    Ok(Value::list(vec![Value::Handle(Handle::new(object)), job]))
}

/// Closes a channel however its producer ends.
struct Closes(Channel<Value>);

impl Drop for Closes {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Makes the call and leaves its outcome with the channel. A channel that is closed meanwhile ends the call.
async fn fill(
    plan: Plan,
    cx: CallCx,
    handed: Option<Arc<Handed>>,
    closes: Closes,
    produced: Arc<Produced>,
    items: Items,
) -> Result<Value, Fault> {
    let channel = &closes.0;
    let mut deltas = ToChannel { channel: channel.clone(), items, started: false };
    let made = unless(produced.closed(), structured::call(&plan, &cx, handed, &mut deltas)).await;
    match made {
        Some(Ok(result)) => {
            let result = Value::Dict(result);
            produced.finish(Ok(result.clone()));
            if items == Items::Events {
                let done = Value::dict([("type", Value::from("done")), ("result", result)]);
                // Nobody has to take it.
                let _ = channel.send(done).await;
            }
        }
        Some(Err(error)) if !channel.is_closed() => produced.finish(Err(error.into())),
        Some(Err(_)) | None => {}
    }
    Ok(Value::Nil)
}

/// What `work` gives, unless `end` resolves first; then it is dropped.
async fn unless<T>(end: impl Future<Output = ()>, work: impl Future<Output = T>) -> Option<T> {
    let (mut end, mut work) = (pin!(end), pin!(work));
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => end.as_mut().poll(cx).map(|()| None),
    })
    .await
}

fn spawn_helper(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Outcome, Fault> {
    Ok(Outcome::Effect(Effect::Spawn { body: args.take(0), how: Spawning::Helper }))
}

fn stream_result(_: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let wrong = || Fault::thrown("llm_stream_result: first argument must be a channel of llm_stream");
    let channel = channel_of(args.get(0)).ok_or_else(wrong)?.clone();
    let produced = ChannelObject::of(args.get(0)).and_then(ChannelObject::producer).ok_or_else(wrong)?;
    let future = async move {
        while channel.receive().await.is_some() {}
        produced
            .result()
            .unwrap_or_else(|| Err(Fault::thrown("llm_stream_result: the stream was closed before its end")))
    };
    Ok(Wait::new("receive", future).on(args.get(0).clone()))
}
