//! A process that answers calls, one at a time, and keeps its state between them.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::call::{Answer, call};
use super::cell::{Pid, Process};
use super::mailbox::Received;
use super::member::Member;
use super::reason::Reason;
use super::system::{ProcessSpec, System};
use crate::clock::Timer;
use crate::failure::Failure;
use crate::scope::ScopeClosed;

/// What a server does next.
pub enum Step<E> {
    /// Takes the next message.
    Continue,
    /// Ends, for this reason.
    Stop(Reason<E>),
}

/// What a server does with what it is sent.
///
/// ```
/// use madrigal_runtime::process::{Answer, GenServer, ServerStart, Step, System};
/// use madrigal_runtime::{Runtime, TaskError, scope};
///
/// struct Counter(i64);
///
/// impl GenServer<TaskError> for Counter {
///     type Call = ();
///     type Answer = i64;
///     type Cast = i64;
///
///     async fn handle_call(&mut self, _: (), from: Answer<i64, TaskError>) -> Result<Step<TaskError>, TaskError> {
///         from.give(self.0);
///         Ok(Step::Continue)
///     }
///
///     async fn handle_cast(&mut self, by: i64) -> Result<Step<TaskError>, TaskError> {
///         self.0 += by;
///         Ok(Step::Continue)
///     }
/// }
///
/// let count = Runtime::new().run(async || {
///     scope(async |s| {
///         let system = System::new(s);
///         system
///             .clone()
///             .start(async move |_: madrigal_runtime::process::Process<(), _>| {
///                 let counter = ServerStart::in_system(&system).start(Counter(0))?;
///                 counter.cast(40);
///                 counter.cast(2);
///                 counter.call(()).await.map_err(|it| TaskError::new(it.to_string()))
///             })
///             .await
///     })
///     .await
/// });
/// assert_eq!(count.unwrap(), 42);
/// ```
pub trait GenServer<E: Failure>: Send + 'static {
    /// A question.
    type Call: Send + 'static;
    /// What answers it.
    type Answer: Send + 'static;
    /// A message without an answer.
    type Cast: Send + 'static;

    /// A question. The answer may be given now, or kept and given later by anybody.
    fn handle_call(
        &mut self,
        question: Self::Call,
        from: Answer<Self::Answer, E>,
    ) -> impl Future<Output = Result<Step<E>, E>> + Send;

    /// A message without an answer.
    fn handle_cast(&mut self, message: Self::Cast) -> impl Future<Output = Result<Step<E>, E>> + Send;

    /// An exit signal it trapped, or the end of a process it monitors.
    fn handle_info(&mut self, signal: Signal<E>) -> impl Future<Output = Result<Step<E>, E>> + Send {
        drop(signal);
        async { Ok(Step::Continue) }
    }
}

/// What a server hears of other processes.
pub enum Signal<E> {
    /// See [`Received::Exit`].
    Exit(Option<Arc<dyn Member<E>>>, Reason<E>),
    /// See [`Received::Down`].
    Down(u64, Arc<dyn Member<E>>, Reason<E>),
}

/// What the mailbox of a server holds.
pub enum Letter<S: GenServer<E>, E: Failure> {
    /// A question.
    Call(S::Call, Answer<S::Answer, E>),
    /// A message.
    Cast(S::Cast),
    /// A request to end.
    Stop(Reason<E>),
}

/// Where and how a server is started.
pub struct ServerStart<E: Failure> {
    system: System<E>,
    spec: ProcessSpec<E>,
}

impl<E: Failure> ServerStart<E> {
    /// In `system`, linked to nobody.
    pub fn in_system(system: &System<E>) -> ServerStart<E> {
        ServerStart { system: system.clone(), spec: ProcessSpec::default() }
    }

    /// Linked with `other`.
    pub fn linked(self, other: &Arc<dyn Member<E>>) -> ServerStart<E> {
        ServerStart { spec: ProcessSpec { link: Some(other.clone()), ..self.spec }, ..self }
    }

    /// Starts `server`. Its state is dropped when it ends, however that is.
    pub fn start<S: GenServer<E>>(self, server: S) -> Result<ServerRef<S, E>, ScopeClosed> {
        let spawned = self.system.spawn_with(self.spec, |_, process| Box::pin(serve(server, process)))?;
        Ok(ServerRef(spawned.pid()))
    }
}

async fn serve<S: GenServer<E>, E: Failure>(mut server: S, process: Process<Letter<S, E>, E>) -> Result<(), E> {
    loop {
        let step = match process.recv().await {
            Received::Message(Letter::Call(question, from)) => server.handle_call(question, from).await?,
            Received::Message(Letter::Cast(message)) => server.handle_cast(message).await?,
            Received::Message(Letter::Stop(reason)) => Step::Stop(reason),
            Received::Exit { from, reason } => server.handle_info(Signal::Exit(from, reason)).await?,
            Received::Down { monitor, pid, reason } => server.handle_info(Signal::Down(monitor, pid, reason)).await?,
        };
        if let Step::Stop(reason) = step {
            process.end_with(reason);
            return Ok(());
        }
    }
}

/// Why a call has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError<E: std::fmt::Display> {
    /// The server ended.
    #[error("server down: {0}")]
    Down(Reason<E>),
    /// The time passed; a late answer is discarded.
    #[error("no answer in time")]
    Timeout,
    /// It called itself.
    #[error("deadlock: a server calls itself")]
    Itself,
}

/// A server as its clients know it. Clones are the same server; dropping one changes nothing for it.
pub struct ServerRef<S: GenServer<E>, E: Failure>(Pid<Letter<S, E>, E>);

impl<S: GenServer<E>, E: Failure> Clone for ServerRef<S, E> {
    fn clone(&self) -> Self {
        ServerRef(self.0.clone())
    }
}

impl<S: GenServer<E>, E: Failure + std::fmt::Display> ServerRef<S, E> {
    /// Its pid.
    pub fn pid(&self) -> &Pid<Letter<S, E>, E> {
        &self.0
    }

    /// Asks, and waits five seconds for the answer.
    ///
    /// Dropping the future gives the call up; its answer is then discarded.
    pub async fn call(&self, question: S::Call) -> Result<S::Answer, CallError<E>> {
        self.call_within(Duration::from_secs(5), question).await
    }

    /// As `call`, for at most `time`.
    pub async fn call_within(&self, time: Duration, question: S::Call) -> Result<S::Answer, CallError<E>> {
        let member = self.0.member();
        if member.task().is_some_and(|it| it.is_current()) {
            return Err(CallError::Itself);
        }
        let (answer, mut answered) = call(&member);
        self.0.send(Letter::Call(question, answer));
        let mut timer = Timer::after(self.0.system().clock(), time);
        std::future::poll_fn(move |cx| {
            use std::task::Poll;
            match std::pin::Pin::new(&mut answered).poll(cx) {
                Poll::Ready(answered) => Poll::Ready(answered.map_err(CallError::Down)),
                Poll::Pending => timer.poll_due(cx).map(|()| Err(CallError::Timeout)),
            }
        })
        .await
    }

    /// Sends a message. `false` when the server has ended.
    pub fn cast(&self, message: S::Cast) -> bool {
        self.0.send(Letter::Cast(message))
    }

    /// Asks the server to end once it has handled what was sent before. `false` when it has ended.
    pub fn stop(&self, reason: Reason<E>) -> bool {
        self.0.send(Letter::Stop(reason))
    }
}
