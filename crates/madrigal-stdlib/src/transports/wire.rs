//! A WebSocket on the wire: one task of the I/O runtime per connection, which hands messages between the socket and two
//! queues. It ends with the connection, or when its handle goes.

use futures_util::{SinkExt, StreamExt};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Mutex, mpsc};
use tokio::task::AbortHandle;
use tokio_tungstenite::WebSocketStream;
pub(super) use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};

/// Messages received and not yet taken by the script, before the sender has to wait.
const RECEIVED_MAX: usize = 64;

/// What comes from the connection.
#[derive(Debug)]
pub(super) enum Received {
    Message(Message),
    /// A message was longer than allowed.
    TooLong,
}

/// What goes to the connection.
enum Order {
    Send(Message),
    Close(Option<CloseFrame>),
}

/// A connection, seen from the script.
pub(super) struct Wire {
    orders: mpsc::Sender<Order>,
    received: Mutex<mpsc::Receiver<Received>>,
    /// The connection waits for orders and for messages: nothing is being written.
    idle: Arc<AtomicBool>,
    /// Sends never wait: a full queue is a failure.
    queue_len: Option<usize>,
    task: AbortHandle,
}

impl Drop for Wire {
    fn drop(&mut self) {
        // A close that was ordered is on its way already or never will be.
        if !self.orders.is_closed() && self.orders.capacity() == self.orders.max_capacity() {
            self.task.abort();
        }
    }
}

/// Why a message was not sent.
pub(super) enum NotSent {
    Full,
    Closed,
}

/// How a connection is run.
pub(super) struct Settings {
    pub message_bytes_max: usize,
    /// `None`: sends wait for room.
    pub queue_len: Option<usize>,
    pub idle_timeout: Option<Duration>,
    /// Whether a message that is too long closes with code 1009.
    pub is_server: bool,
}

/// The limits of the protocol for these settings.
pub(super) fn config(message_bytes_max: usize) -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(Some(message_bytes_max)).max_frame_size(Some(message_bytes_max))
}

impl Wire {
    /// Takes over a connection. Must be called where sockets can be used.
    pub(super) fn new<S>(stream: WebSocketStream<S>, settings: Settings) -> Wire
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (orders, ordered) = mpsc::channel(settings.queue_len.unwrap_or(64).max(1));
        let (sender, received) = mpsc::channel(RECEIVED_MAX);
        let idle = Arc::new(AtomicBool::new(false));
        let queue_len = settings.queue_len;
        let task = tokio::spawn(serve(stream, ordered, sender, idle.clone(), settings)).abort_handle();
        Wire { orders, received: Mutex::new(received), idle, queue_len, task }
    }

    pub(super) async fn send(&self, message: Message) -> Result<(), NotSent> {
        let order = Order::Send(message);
        match self.queue_len {
            None => self.orders.send(order).await.map_err(|_| NotSent::Closed),
            Some(0) if !self.orders.is_closed() && !self.idle.load(Ordering::Acquire) => Err(NotSent::Full),
            Some(_) => self.orders.try_send(order).map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => NotSent::Full,
                mpsc::error::TrySendError::Closed(_) => NotSent::Closed,
            }),
        }
    }

    /// The next thing, `None` once the connection has ended.
    pub(super) async fn receive(&self) -> Option<Received> {
        self.received.lock().await.recv().await
    }

    /// Says good-bye.
    pub(super) fn close(&self, code: u16, reason: &str) {
        let frame = CloseFrame { code: CloseCode::from(code), reason: reason.into() };
        if self.orders.try_send(Order::Close(Some(frame))).is_err() {
            self.task.abort();
        }
    }
}

async fn serve<S>(
    mut stream: WebSocketStream<S>,
    mut orders: mpsc::Receiver<Order>,
    received: mpsc::Sender<Received>,
    idle: Arc<AtomicBool>,
    settings: Settings,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    loop {
        let silence = async {
            match settings.idle_timeout {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
            Event::Silence
        };
        idle.store(true, Ordering::Release);
        let order = async { Event::Order(orders.recv().await) };
        let read = read(&mut stream, &received, settings.message_bytes_max);
        let event = either(either(order, read), silence).await;
        idle.store(false, Ordering::Release);
        let close = match event {
            Event::Order(Some(Order::Send(message))) => {
                if stream.send(message).await.is_err() {
                    return;
                }
                continue;
            }
            Event::Read(false) => continue,
            Event::Order(Some(Order::Close(frame))) => frame,
            Event::TooLong if settings.is_server => {
                Some(CloseFrame { code: CloseCode::Size, reason: "message too big".into() })
            }
            Event::Silence => Some(CloseFrame { code: CloseCode::Away, reason: "idle timeout".into() }),
            Event::TooLong | Event::Order(None) => None,
            Event::Read(true) | Event::Gone => {
                // The answer to the peer's close is on its way; give it a chance to leave.
                let _ = stream.flush().await;
                return;
            }
        };
        let _ = stream.close(close).await;
        drain(&mut stream).await;
        return;
    }
}

/// The first of two futures to end; the other is dropped, which takes nothing with it.
async fn either<T>(one: impl Future<Output = T>, other: impl Future<Output = T>) -> T {
    futures_util::future::select(pin!(one), pin!(other)).await.factor_first().0
}

/// Hands on the next message. Messages are read only when there is room for one: a script that does not read slows the
/// peer down.
async fn read<S>(stream: &mut WebSocketStream<S>, received: &mpsc::Sender<Received>, bytes_max: usize) -> Event
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Ok(permit) = received.reserve().await else { return Event::Gone };
    match stream.next().await {
        Some(Ok(message)) if message.len() <= bytes_max => {
            let ends = message.is_close();
            permit.send(Received::Message(message));
            Event::Read(ends)
        }
        Some(Ok(_) | Err(Error::Capacity(CapacityError::MessageTooLong { .. }))) => {
            permit.send(Received::TooLong);
            Event::TooLong
        }
        Some(Err(_)) | None => Event::Gone,
    }
}

/// Reads until the peer has answered the close, for a while.
async fn drain<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut WebSocketStream<S>) {
    const PATIENCE: Duration = Duration::from_secs(5);
    let answered = async { while let Some(Ok(_)) = stream.next().await {} };
    let _ = tokio::time::timeout(PATIENCE, answered).await;
}

enum Event {
    Order(Option<Order>),
    /// A message was handed on; whether it was the last.
    Read(bool),
    TooLong,
    Gone,
    Silence,
}
