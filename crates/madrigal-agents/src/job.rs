//! Jobs: asynchronous Rust that can have closures of the script called. A closure runs as bytecode of a task, so a job
//! does not call it: it asks, and the loop `__drive` of the prelude steps the job, calls what it asks for and hands the
//! answer back. Dropping the wait of a step (the task was cancelled) drops the job's future.

use madrigal_vm::{Args, Cx, Fault, Handle, HandleObject, Value, Wait};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use tokio::sync::oneshot;

madrigal_vm::builtins! {
    /// Lets a job go on; what it asks for as `[closure, argument, limit]`, nil once it has ended.
    "__job_step" (job: any) -> list = step;
    /// Answers what the job asked for.
    "__job_answer" (job: any, failed: bool, value: any) -> nil = answer;
    /// What a job that has ended gave.
    "__job_result" (job: any) -> any = result;
}

type Work = Pin<Box<dyn Future<Output = Result<Value, Fault>> + Send>>;

/// How a job asks. Clones ask for the same job.
#[derive(Clone, Default)]
pub struct Asker(Arc<Mutex<VecDeque<Ask>>>);

/// What a job asks for.
struct Ask {
    /// Nil: the argument is a list of jobs, to be driven at the same time.
    closure: Value,
    argument: Value,
    /// Of jobs at the same time, or of milliseconds; 0 is none.
    limit: usize,
    answer: oneshot::Sender<Result<Value, Value>>,
}

impl Asker {
    /// Has a closure called; the error is what a `catch` around the call would bind.
    pub async fn call(&self, closure: Value, argument: Value) -> Result<Value, Value> {
        self.ask(closure, argument, 0).await
    }

    /// The same; the call is given up after `limit_ms` with the error of a passed deadline.
    pub async fn call_within(&self, closure: Value, argument: Value, limit_ms: u64) -> Result<Value, Value> {
        self.ask(closure, argument, usize::try_from(limit_ms).unwrap_or(usize::MAX)).await
    }

    /// Has jobs driven as children of the task, at most `limit` at a time; their results as by `parallel settle`.
    pub async fn drive_all(&self, jobs: Vec<Value>, limit: usize) -> Result<Value, Value> {
        self.ask(Value::Nil, Value::list(jobs), limit).await
    }

    async fn ask(&self, closure: Value, argument: Value, limit: usize) -> Result<Value, Value> {
        let (answer, answered) = oneshot::channel();
        self.0.lock().push_back(Ask { closure, argument, limit, answer });
        answered.await.unwrap_or(Err(Value::Nil))
    }
}

/// A job as a value.
struct JobObject {
    asker: Asker,
    /// Missing while it is stepped, and once it has ended.
    work: Mutex<Option<Work>>,
    /// Who waits for the answer that the script is working on.
    asked: Mutex<Option<oneshot::Sender<Result<Value, Value>>>>,
    result: Mutex<Value>,
}

impl HandleObject for JobObject {
    fn type_name(&self) -> &'static str {
        "job"
    }

    fn display(&self) -> String {
        "<job>".to_owned()
    }

    fn identity(&self) -> Option<u64> {
        None
    }
}

/// A job that does what `work` makes; it starts when it is driven.
pub fn job<F>(work: impl FnOnce(Asker) -> F) -> Value
where
    F: Future<Output = Result<Value, Fault>> + Send + 'static,
{
    let asker = Asker::default();
    let work: Work = Box::pin(work(asker.clone()));
    let object =
        JobObject { asker, work: Mutex::new(Some(work)), asked: Mutex::new(None), result: Mutex::new(Value::Nil) };
    Value::Handle(Handle::new(object))
}

fn of<'a>(args: &'a Args<'_>) -> Result<&'a JobObject, Fault> {
    let job = match args.get(0) {
        Value::Handle(handle) => handle.downcast::<JobObject>(),
        _ => None,
    };
    job.ok_or_else(|| Fault::runtime("not a job"))
}

fn step(_: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let handle = args.get(0).clone();
    let mut work = of(&args)?.work.lock().take();
    let stepping = poll_fn(move |cx| {
        let args = &mut [handle.clone()];
        let args = Args::new(args);
        let job = of(&args)?;
        let Some(future) = work.as_mut() else { return Poll::Ready(Ok(Value::Nil)) };
        let polled = future.as_mut().poll(cx);
        if let Poll::Ready(outcome) = polled {
            work = None;
            *job.result.lock() = outcome?;
            return Poll::Ready(Ok(Value::Nil));
        }
        let Some(ask) = job.asker.0.lock().pop_front() else { return Poll::Pending };
        *job.work.lock() = work.take();
        *job.asked.lock() = Some(ask.answer);
        Poll::Ready(Ok(Value::list(vec![ask.closure, ask.argument, Value::from(ask.limit)])))
    });
    Ok(Wait::new("model", stepping))
}

fn answer(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<(), Fault> {
    let (failed, value) = (args.get(1).is_truthy(), args.take(2));
    if let Some(asked) = of(&args)?.asked.lock().take() {
        // A job that no longer waits does not miss the answer.
        let _ = asked.send(if failed { Err(value) } else { Ok(value) });
    }
    Ok(())
}

fn result(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(of(&args)?.result.lock().take())
}
