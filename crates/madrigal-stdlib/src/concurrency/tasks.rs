//! Tasks by handle: awaiting, cancelling, asking.

use super::joining::Joining;
use super::{host, wait};
use crate::task::{TaskFault, TaskObject, deadlock, value_of};
use madrigal_runtime::{CancelKind, CancelReason, Outcome as Ended, TaskHandle};
use madrigal_vm::effect::Spawning;
use madrigal_vm::{Args, Cx, Effect, Fault, Outcome, Pair, Received, Value, Wait};
use std::future::poll_fn;
use std::time::Duration;

madrigal_vm::builtins! {
    /// The value of a task, or its failure; for a list of tasks, the list of their values, or the first failure in
    /// time. A value that is no task is returned unchanged.
    "await" (task: any) -> any = await_tasks;
    /// The outcome of a task as a `Result`; for a list of tasks, a list of them.
    "settle" (task: any) -> any = settle;
    /// The first task to end, as `{index, handle, remaining}`.
    "await_first" (tasks: list) -> dict = await_first;
    /// Asks a task to stop, and goes on at once.
    "cancel" (task: any) -> nil = cancel;
    /// Asks a task to stop, waits for its cleanup, and drops it after `timeout`.
    "cancel_graceful" (task: any, timeout: duration = 5s) -> Result = cancel_graceful;
    /// Whether this task is being cancelled.
    "is_cancelled" () -> bool = is_cancelled;
    /// Why this task is being cancelled, as `{kind, message, by_task}`.
    "cancel_reason" () -> dict = cancel_reason;
    /// Lets other tasks run.
    "yield_now" () -> nil = yield_now;
    /// Starts a task that outlives the scope it is started in; it is cancelled when the program ends.
    "spawn_background" (body: closure) -> task_handle = spawn_background;
    /// Starts a task in this scope.
    "scope.spawn" (scope: scope, body: closure) -> task_handle = scope_spawn;
    /// Starts a task in this scope whose failure is only seen by `settle`.
    "scope.spawn_settled" (scope: scope, body: closure) -> task_handle = scope_spawn_settled;
    /// Ends the scope early: its tasks are cancelled.
    "scope.cancel" (scope: scope, reason: string) -> nil = scope_cancel;
    /// Ids of the scope's live tasks.
    "scope.tasks" (scope: scope) -> list = scope_tasks;
    /// Waits before the next attempt of `retry`, or tells that there must be none.
    "__retry_wait" (options: dict, error: any, left: int) -> bool = retry_wait;
}

fn task_of(value: &Value) -> Option<&TaskHandle<Value, TaskFault>> {
    match value {
        Value::Handle(handle) => handle.downcast::<TaskObject>().map(|it| &it.0),
        _ => None,
    }
}

pub(super) fn tasks_of(name: &str, value: &Value) -> Result<Vec<TaskHandle<Value, TaskFault>>, Fault> {
    let wrong =
        |it: &Value| Fault::type_error(format!("{name}: expected a task or a list of tasks, got {}", it.type_name()));
    let Value::List(items) = value else { return Err(wrong(value)) };
    let tasks = items.iter().map(|it| task_of(it).cloned().ok_or_else(|| wrong(it))).collect::<Result<Vec<_>, _>>()?;
    tasks.iter().try_for_each(|it| not_itself(name, it))?;
    Ok(tasks)
}

fn not_itself(name: &str, task: &TaskHandle<Value, TaskFault>) -> Result<(), Fault> {
    if task.is_current() {
        return Err(deadlock(format!("{name}: task {} waits for itself", task.id())));
    }
    Ok(())
}

fn await_tasks(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Outcome, Fault> {
    if args.is_empty() {
        return Err(Fault::type_error("await: expected a task or a list of tasks, got nothing"));
    }
    if let Some(task) = task_of(args.get(0)) {
        not_itself("await", task)?;
        task.mark_observed();
        if let Some(outcome) = task.try_outcome() {
            return value_of(outcome).map(Outcome::from);
        }
        let join = task.join();
        let on = args.take(0);
        return Ok(Wait::new("await", async move { value_of(join.await) }).on(on).into());
    }
    match args.get(0) {
        Value::List(items) if items.iter().any(|it| task_of(it).is_some()) => await_list(args.get(0)),
        _ => Ok(Outcome::from(args.take(0))),
    }
}

fn await_list(list: &Value) -> Result<Outcome, Fault> {
    let Value::List(items) = list else { return Ok(Outcome::from(list.clone())) };
    // Values that are no tasks stand for themselves.
    let mut values: Vec<Value> = items.to_vec();
    let positions: Vec<usize> = (0..values.len()).filter(|at| task_of(&values[*at]).is_some()).collect();
    let tasks = tasks_of("await", &positions.iter().map(|at| values[*at].clone()).collect::<Vec<_>>().into())?;
    tasks.iter().for_each(TaskHandle::mark_observed);
    let mut joining = Joining::new(tasks.iter().map(TaskHandle::join));
    Ok(wait("await", async move {
        while let Some((at, outcome)) = poll_fn(|cx| joining.poll_next(cx)).await {
            values[positions[at]] = value_of(outcome)?;
        }
        Ok(Value::list(values))
    }))
}

/// Outcome as a `Result`, wrapped as it is.
pub(super) fn settled(outcome: Ended<Value, TaskFault>, received: &Received) -> Value {
    match value_of(outcome) {
        Ok(value) => Value::ok(value),
        Err(fault) => {
            received.note(&fault);
            Value::err(fault.caught())
        }
    }
}

fn settle(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let received = cx.received.get_or_insert_default().clone();
    if args.is_empty() {
        return Err(Fault::type_error("settle: expected a task or a list of tasks, got nothing"));
    }
    if let Some(task) = task_of(args.get(0)) {
        not_itself("settle", task)?;
        task.mark_observed();
        let join = task.join();
        let on = args.get(0).clone();
        return Ok(Wait::new("settle", async move { Ok(settled(join.await, &received)) }).on(on).into());
    }
    let tasks = tasks_of("settle", args.get(0))?;
    tasks.iter().for_each(TaskHandle::mark_observed);
    let joins: Vec<_> = tasks.iter().map(TaskHandle::join).collect();
    Ok(wait("settle", async move {
        let mut results = Vec::with_capacity(joins.len());
        for join in joins {
            results.push(settled(join.await, &received));
        }
        Ok(Value::list(results))
    }))
}

fn await_first(_: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let tasks = tasks_of("await_first", args.get(0))?;
    if tasks.is_empty() {
        return Err(Fault::type_error("await_first: expected at least one task"));
    }
    let handles = args.list(0).map(|it| it.to_vec()).unwrap_or_default();
    let mut joining = Joining::new(tasks.iter().map(TaskHandle::ended));
    Ok(wait("await_first", async move {
        let first = poll_fn(|cx| joining.poll_next(cx)).await;
        let index = first.map_or(0, |it| it.0);
        tasks[index].mark_observed();
        let mut remaining = handles;
        let handle = remaining.remove(index);
        Ok(Value::dict([("index", Value::from(index)), ("handle", handle), ("remaining", Value::list(remaining))]))
    }))
}

fn target<'a>(name: &str, args: &'a Args<'_>) -> Result<&'a TaskHandle<Value, TaskFault>, Fault> {
    let got = if args.is_empty() { "nothing" } else { args.get(0).type_name() };
    task_of(args.get(0)).ok_or_else(|| Fault::type_error(format!("{name}: expected a task, got {got}")))
}

fn cancel(_: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    let task = target("cancel", &args)?;
    task.mark_observed();
    task.cancel(CancelReason::new(CancelKind::Cancel, ""));
    Ok(())
}

fn cancel_graceful(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let task = target("cancel_graceful", &args)?.clone();
    not_itself("cancel_graceful", &task)?;
    task.mark_observed();
    let timeout = if args.has(1) { crate::time::waiting_time(args.get(1)) } else { Duration::from_secs(5) };
    let run = host(cx).run.clone();
    task.cancel(CancelReason::new(CancelKind::Cancel, ""));
    Ok(wait("cancel_graceful", async move {
        let mut joining =
            Joining::new([Either::Task(Box::pin(task.join())), Either::Timer(Box::pin(run_sleep(run, timeout)))]);
        let first = poll_fn(|cx| joining.poll_next(cx)).await;
        Ok(match first {
            Some((0, Some(outcome))) => match value_of(outcome) {
                Ok(value) => Value::ok(value),
                Err(fault) => Value::err(Value::from(fault.caught().to_string())),
            },
            _ => {
                let reason = CancelReason::new(CancelKind::Cancel, "the timeout of cancel_graceful passed");
                task.task().abort_all(&reason);
                task.ended().await;
                Value::err(Value::from("cancel_graceful: timeout, task forcefully aborted"))
            }
        })
    }))
}

async fn run_sleep(run: std::sync::Arc<crate::host::Run>, time: Duration) {
    run.sleep(time).await;
}

/// A task's end or a timer's.
enum Either<A, B> {
    Task(std::pin::Pin<Box<A>>),
    Timer(std::pin::Pin<Box<B>>),
}

impl<A: Future, B: Future<Output = ()>> Future for Either<A, B> {
    type Output = Option<A::Output>;

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<Option<A::Output>> {
        match &mut *self {
            Either::Task(task) => task.as_mut().poll(cx).map(Some),
            Either::Timer(timer) => timer.as_mut().poll(cx).map(|()| None),
        }
    }
}

fn is_cancelled(cx: &mut Cx<'_>, _: Args<'_>) -> Result<bool, Fault> {
    Ok(host(cx).nodes.is_cancelled())
}

fn cancel_reason(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Value, Fault> {
    let host = host(cx);
    let reason = host.nodes.outermost_cancelled().and_then(|(_, node)| node.reason().cloned());
    Ok(reason.map_or(Value::Nil, |reason| {
        Value::dict([
            ("kind", Value::from(reason.kind.as_str())),
            ("message", Value::from(reason.message.as_str())),
            ("by_task", reason.by_task.as_deref().map_or(Value::Nil, Value::from)),
        ])
    }))
}

fn yield_now(_: &mut Cx<'_>, _: Args<'_>) -> Result<Outcome, Fault> {
    Ok(Effect::Yield.into())
}

fn body_of(name: &str, value: Value) -> Result<Value, Fault> {
    if value.is_callable() {
        return Ok(value);
    }
    Err(Fault::type_error(format!("{name}: expected a closure, got {}", value.type_name())))
}

fn spawn_background(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Outcome, Fault> {
    let body = body_of("spawn_background", args.take(0))?;
    Ok(Effect::Spawn { body, how: Spawning::Background }.into())
}

fn scope_spawn(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Outcome, Fault> {
    let body = body_of("scope.spawn", args.take(1))?;
    Ok(Effect::Spawn { body, how: Spawning::Into { scope: args.take(0), settled: false } }.into())
}

fn scope_spawn_settled(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Outcome, Fault> {
    let body = body_of("scope.spawn_settled", args.take(1))?;
    Ok(Effect::Spawn { body, how: Spawning::Into { scope: args.take(0), settled: true } }.into())
}

fn scope_of<'a>(args: &'a Args<'_>) -> Option<&'a crate::task::ScopeObject> {
    match args.get(0) {
        Value::Handle(handle) => handle.downcast(),
        _ => None,
    }
}

fn scope_cancel(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    if let Some(object) = scope_of(&args) {
        let message = if args.has(1) { args.string(1).to_string() } else { String::new() };
        let reason = CancelReason::new(CancelKind::Cancel, message);
        let own = host(cx).nodes.position(object.scope.node()).is_some();
        if own {
            // The body made the call itself: only its tasks stop, it goes on.
            object.scope.end_tasks(&reason);
        } else {
            object.scope.cancel(reason);
        }
    }
    Ok(())
}

fn scope_tasks(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let tasks = scope_of(&args).map(|it| it.scope.tasks()).unwrap_or_default();
    Ok(Value::list(tasks.iter().map(|it| Value::from(it.id())).collect()))
}

fn retry_wait(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let options = args.dict(0).cloned().unwrap_or_default();
    if let Some(Value::List(categories)) = options.get("on") {
        let category = crate::category_of(args.get(1));
        if !categories.iter().any(|it| it.as_str() == Some(category.as_str())) {
            return Ok(Outcome::from(false));
        }
    }
    let left = args.int(2).unwrap_or(0);
    let backoff = options.get("backoff").and_then(Value::as_millis).unwrap_or(0);
    if left <= 0 || backoff <= 0 {
        return Ok(Outcome::from(true));
    }
    let factor = options.get("factor").and_then(Value::as_number).unwrap_or(2.0);
    let made = options.get("__attempts").and_then(Value::as_int).unwrap_or(1) - left;
    let mut delay = backoff as f64 * factor.powi(i32::try_from(made - 1).unwrap_or(0));
    if let Some(most) = options.get("max_backoff").and_then(Value::as_millis) {
        delay = delay.min(most as f64);
    }
    let run = host(cx).run.clone();
    if options.get("jitter").is_some_and(Value::is_truthy) {
        delay *= run.random(|it| it.fraction());
    }
    let time = Duration::from_millis(delay.clamp(0.0, 1e15) as u64);
    Ok(wait("retry backoff", async move {
        run.sleep(time).await;
        Ok(Value::Bool(true))
    }))
}

/// The pair that a `select` resumes with.
pub(super) fn chosen(index: i64, value: Value) -> Value {
    Value::Pair(Pair::new(Value::Int(index), value))
}
