//! Channels and the function forms of select.

use super::tasks::chosen;
use super::{host, wait};
use madrigal_runtime::{Channel, Selected, TryReceiveError, TrySendError, select, try_select};
use madrigal_vm::{Args, Cx, Fault, Handle, HandleObject, Outcome, Value, Wait};
use parking_lot::Mutex;
use std::future::Future;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

madrigal_vm::builtins! {
    /// A bounded channel; an int as only argument is its capacity.
    "channel" (name: string = "default", capacity: int = 256) -> channel = channel;
    /// Sends, waiting while the channel is full; false once it is closed.
    "send" (channel: channel, value: any) -> bool = send;
    /// Sends if there is room now.
    "try_send" (channel: channel, value: any) -> bool = try_send;
    /// The next value, waiting for one; nil once the channel is closed and drained.
    "receive" (channel: channel) -> any = receive;
    /// The next value if there is one now, else nil.
    "try_receive" (channel: channel) -> any = try_receive;
    /// Closes the channel; what is in it stays receivable.
    "close_channel" (channel: channel) -> nil = close_channel;
    /// Whether the channel was closed.
    "channel_is_closed" (channel: channel) -> bool = channel_is_closed;
    /// Waits for one of several channels: `{channel, index, value}`.
    "select" (channels: channel) -> dict = select_channels;
    /// As `select` over a list, with a timeout; nil when it passes or all are closed.
    "channel_select" (channels: list, timeout: duration) -> dict = channel_select;
}

/// A channel as a value. One that the runtime fills also has what its producer leaves behind.
pub struct ChannelObject(pub Channel<Value>, Option<Arc<Produced>>);

/// What the producer of a channel leaves behind when it ends, and how it learns that nobody wants more.
#[derive(Default)]
pub struct Produced {
    ended: Mutex<Ended>,
    closing: Mutex<Closing>,
}

#[derive(Default)]
struct Ended {
    outcome: Option<Result<Value, Fault>>,
    /// Whether a receiver has met the failure.
    delivered: bool,
}

#[derive(Default)]
struct Closing {
    closed: bool,
    waker: Option<Waker>,
}

impl Produced {
    /// The producer has ended so; close the channel next.
    pub fn finish(&self, outcome: Result<Value, Fault>) {
        self.ended.lock().outcome = Some(outcome);
    }

    /// How the producer ended, if it did.
    pub fn result(&self) -> Option<Result<Value, Fault>> {
        self.ended.lock().outcome.clone()
    }

    /// Resolves once a script closes the channel.
    pub fn closed(self: &Arc<Self>) -> impl Future<Output = ()> + Send + use<> {
        let produced = Arc::clone(self);
        std::future::poll_fn(move |cx| {
            let mut closing = produced.closing.lock();
            closing.waker = Some(cx.waker().clone());
            if closing.closed { Poll::Ready(()) } else { Poll::Pending }
        })
    }

    fn close(&self) {
        let waker = {
            let mut closing = self.closing.lock();
            closing.closed = true;
            closing.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The failure of the producer, once.
    fn failure(&self) -> Option<Fault> {
        let mut ended = self.ended.lock();
        match &ended.outcome {
            Some(Err(fault)) if !ended.delivered => {
                let fault = fault.clone();
                ended.delivered = true;
                Some(fault)
            }
            _ => None,
        }
    }
}

impl ChannelObject {
    /// A channel that the runtime fills.
    pub fn produced(name: &str, capacity: usize) -> ChannelObject {
        ChannelObject(Channel::named(name, capacity), Some(Arc::default()))
    }

    /// The channel object in a value.
    pub fn of(value: &Value) -> Option<&ChannelObject> {
        match value {
            Value::Handle(handle) => handle.downcast(),
            _ => None,
        }
    }

    /// What the producer leaves behind, when the runtime fills the channel.
    pub fn producer(&self) -> Option<Arc<Produced>> {
        self.1.clone()
    }

    /// What a receive from a drained channel gives: the failure of its producer the first time, `absent` from then on.
    pub fn end(channel: &Value, absent: Value) -> Result<Value, Fault> {
        let produced = ChannelObject::of(channel).and_then(|it| it.1.as_ref());
        produced.and_then(|it| it.failure()).map_or(Ok(absent), Err)
    }

    /// Waits for the next value of a channel, `absent` once it is closed and drained.
    pub fn receiving(channel: Value, absent: Value) -> Wait {
        let Some(receiving) = channel_of(&channel).map(Channel::receive) else {
            return Wait::new("receive", async move { Ok(absent) });
        };
        let on = channel.clone();
        let future = async move {
            match receiving.await {
                Some(value) => Ok(value),
                None => ChannelObject::end(&channel, absent),
            }
        };
        Wait::new("receive", future).on(on)
    }
}

impl HandleObject for ChannelObject {
    fn type_name(&self) -> &'static str {
        "channel"
    }

    fn display(&self) -> String {
        format!("<channel:{}>", self.0.name().unwrap_or("default"))
    }

    fn property(&self, name: &str) -> Option<Value> {
        Some(match name {
            "name" => Value::from(self.0.name().unwrap_or("default")),
            "len" => Value::from(self.0.len()),
            "capacity" => Value::from(self.0.capacity()),
            _ => Value::Nil,
        })
    }

    fn identity(&self) -> Option<u64> {
        None
    }

    fn is_iterable(&self) -> bool {
        true
    }
}

/// The channel in a value.
pub fn channel_of(value: &Value) -> Option<&Channel<Value>> {
    match value {
        Value::Handle(handle) => handle.downcast::<ChannelObject>().map(|it| &it.0),
        _ => None,
    }
}

fn first<'a>(name: &str, args: &'a Args<'_>) -> Result<&'a Channel<Value>, Fault> {
    channel_of(args.get(0)).ok_or_else(|| Fault::thrown(format!("{name}: first argument must be a channel")))
}

fn channel(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let (name, capacity) = match (args.len(), args.int(0)) {
        (1, Some(capacity)) => ("default".to_owned(), Some(capacity)),
        (0, _) => ("default".to_owned(), None),
        _ => (args.string(0).to_string(), args.int(1)),
    };
    let capacity = usize::try_from(capacity.unwrap_or(256)).unwrap_or(1).max(1);
    if let Some(limit) = host(cx).run.tasks.limits.channel_capacity
        && capacity > limit
    {
        let text = format!("channel: a capacity of {capacity} is more than {limit}");
        return Err(Fault::categorised("budget_exceeded", text));
    }
    Ok(Value::Handle(Handle::new(ChannelObject(Channel::named(name, capacity), None))))
}

fn send(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Outcome, Fault> {
    let value = args.take(1);
    let channel = first("send", &args)?;
    match channel.try_send(value) {
        Ok(()) => Ok(Outcome::from(true)),
        Err(TrySendError::Closed(_)) => Ok(Outcome::from(false)),
        Err(TrySendError::Full(value)) => {
            let sending = channel.send(value);
            let future = async move { Ok(Value::Bool(sending.await.is_ok())) };
            Ok(Wait::new("send", future).on(args.take(0)).into())
        }
    }
}

fn try_send(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<bool, Fault> {
    let value = args.take(1);
    Ok(first("try_send", &args)?.try_send(value).is_ok())
}

fn receive(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Outcome, Fault> {
    match first("receive", &args)?.try_receive() {
        Ok(value) => Ok(Outcome::from(value)),
        Err(TryReceiveError::Closed) => ChannelObject::end(args.get(0), Value::Nil).map(Outcome::from),
        Err(TryReceiveError::Empty) => Ok(ChannelObject::receiving(args.take(0), Value::Nil).into()),
    }
}

fn try_receive(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    match first("try_receive", &args)?.try_receive() {
        Ok(value) => Ok(value),
        Err(TryReceiveError::Closed) => ChannelObject::end(args.get(0), Value::Nil),
        Err(TryReceiveError::Empty) => Ok(Value::Nil),
    }
}

fn close_channel(_: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    first("close_channel", &args)?.close();
    if let Some(produced) = ChannelObject::of(args.get(0)).and_then(|it| it.1.as_ref()) {
        produced.close();
    }
    Ok(())
}

fn channel_is_closed(_: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    Ok(first("channel_is_closed", &args)?.is_closed())
}

fn channels_in(name: &str, values: &[Value]) -> Result<Vec<Channel<Value>>, Fault> {
    let wrong = |it: &Value| Fault::thrown(format!("{name}: expected channels, got {}", it.type_name()));
    values.iter().map(|it| channel_of(it).cloned().ok_or_else(|| wrong(it))).collect()
}

/// Waits for one of `channels`: the pair (index, value); index -1 when `timeout` passes first, -2 when all are closed.
pub fn selected(
    name: &str,
    channels: &[Value],
    timeout: Option<Duration>,
    run: Arc<crate::host::Run>,
) -> Result<Outcome, Fault> {
    let on = Value::list(channels.to_vec());
    let channels = channels_in(name, channels)?;
    match try_select(&channels) {
        Some(Selected::Value(index, value)) => return Ok(Outcome::from(chosen(index as i64, value))),
        Some(Selected::AllClosed) => return Ok(Outcome::from(chosen(-2, Value::Nil))),
        None if timeout == Some(Duration::ZERO) => return Ok(Outcome::from(chosen(-1, Value::Nil))),
        None => {}
    }
    let mut selecting = Box::pin(select(channels));
    let mut timer = timeout.map(|time| Box::pin(async move { run.sleep(time).await }));
    Ok(Wait::new(
        "select",
        std::future::poll_fn(move |cx| {
            match selecting.as_mut().poll(cx) {
                Poll::Ready(Selected::Value(index, value)) => return Poll::Ready(Ok(chosen(index as i64, value))),
                Poll::Ready(Selected::AllClosed) => return Poll::Ready(Ok(chosen(-2, Value::Nil))),
                Poll::Pending => {}
            }
            match timer.as_mut().map(|it| it.as_mut().poll(cx)) {
                Some(Poll::Ready(())) => Poll::Ready(Ok(chosen(-1, Value::Nil))),
                _ => Poll::Pending,
            }
        }),
    )
    .on(on)
    .into())
}

/// The dict that the function forms give.
fn described(names: &[String], pair: &Value, absent: Value) -> Value {
    let Value::Pair(pair) = pair else { return absent };
    match pair.first().as_int().and_then(|it| usize::try_from(it).ok()) {
        Some(index) => Value::dict([
            ("channel", Value::from(names[index].as_str())),
            ("index", Value::from(index)),
            ("value", pair.second().clone()),
        ]),
        None => absent,
    }
}

fn function_select(
    name: &'static str,
    channels: &[Value],
    timeout: Option<Duration>,
    absent: Value,
    cx: &mut Cx<'_>,
) -> Result<Outcome, Fault> {
    let names: Vec<String> =
        channels_in(name, channels)?.iter().map(|it| it.name().unwrap_or("default").to_owned()).collect();
    match selected(name, channels, timeout, host(cx).run.clone())? {
        Outcome::Value(pair) => Ok(Outcome::from(described(&names, &pair, absent))),
        Outcome::Effect(madrigal_vm::Effect::Wait(waiting)) => {
            Ok(wait("select", async move { Ok(described(&names, &waiting.future.await?, absent)) }))
        }
        other => Ok(other),
    }
}

fn select_channels(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let absent = Value::dict([("channel", Value::Nil), ("index", Value::Int(-1)), ("value", Value::Nil)]);
    function_select("select", args.all(), None, absent, cx)
}

fn channel_select(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let channels = args.list(0).ok_or_else(|| {
        Fault::thrown(format!("channel_select: expected a list of channels, got {}", args.get(0).type_name()))
    })?;
    let timeout = args.has(1).then(|| crate::time::waiting_time(args.get(1)));
    function_select("channel_select", channels, timeout, Value::Nil, cx)
}
