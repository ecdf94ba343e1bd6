//! `race`, `with_timeout` and `parallel_race`: contenders run as children; once it is decided, the others are
//! cancelled and waited for. Not here: how children are started (`fan.rs`).

use crate::fan::Fan;
use madrigal_runtime::{CancelKind, CancelReason, Ended, Lost, Outcome, TaskHandle};
use madrigal_stdlib::task::{TaskObject, deadlock, value_of};
use madrigal_stdlib::{TaskFault, TaskHost};
use madrigal_vm::{Fault, Racing, Seed, Value};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// A race under way.
pub(crate) struct Race {
    fan: Fan,
    /// Contenders that were tasks already.
    tasks: Vec<Contender>,
    timer: Option<Timer>,
    /// Only a success ends the race; these are the texts of the failures so far.
    failures: Option<Vec<String>>,
    decided: Option<Result<Value, Fault>>,
    /// Takes what losers fail with when the winner has a value.
    lost: Lost<TaskFault>,
    what: &'static str,
}

struct Contender {
    handle: TaskHandle<Value, TaskFault>,
    ended: Ended<Value, TaskFault>,
}

struct Timer {
    sleep: Pin<Box<dyn Future<Output = ()> + Send>>,
    fallback: Value,
}

impl Race {
    pub fn open(host: &TaskHost, seed: Seed, racing: Racing) -> Result<Race, Fault> {
        let lost = host.run.tasks.lost.clone();
        match racing {
            Racing::Ends { contenders } => {
                let (tasks, closures) = contenders_of(contenders)?;
                let fan = Fan::of_race(host, seed, Value::list(closures), None, &Value::Nil)?;
                Ok(Race { fan, tasks, timer: None, failures: None, decided: None, lost, what: "race" })
            }
            Racing::Timeout { millis, body, fallback } => {
                closure("with_timeout", &body)?;
                let fan = Fan::of_race(host, seed, Value::list(vec![body]), None, &Value::Nil)?;
                let run = host.run.clone();
                let sleep = Box::pin(async move { run.sleep(Duration::from_millis(millis)).await });
                let timer = Some(Timer { sleep, fallback });
                Ok(Race { fan, tasks: Vec::new(), timer, failures: None, decided: None, lost, what: "with_timeout" })
            }
            Racing::Succeeds { source, body, max_concurrent } => {
                closure("parallel_race", &body)?;
                let Value::Closure(body) = body else { return Err(Fault::type_error("parallel_race: no closure")) };
                let fan = Fan::of_race(host, seed, source, Some(body), &max_concurrent)?;
                let (tasks, failures) = (Vec::new(), Some(Vec::new()));
                Ok(Race { fan, tasks, timer: None, failures, decided: None, lost, what: "parallel_race" })
            }
        }
    }

    /// What it is, for reports.
    pub fn what(&self) -> &'static str {
        self.what
    }

    /// The owner is being cancelled: contenders that were tasks before are left alone.
    pub fn interrupt(&mut self, fault: Fault) {
        if self.decided.is_none() {
            self.tasks.clear();
            self.decided = Some(Err(fault));
        }
    }

    /// The value or failure of the winner.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Value, Fault>> {
        if self.decided.is_none() {
            let (decided, why) = ready!(self.poll_winner(cx));
            self.decided = Some(decided);
            self.fan.cancel(why);
            for task in &self.tasks {
                task.handle.cancel(CancelReason::new(why, ""));
            }
        }
        self.poll_losers(cx)
    }

    fn poll_winner(&mut self, cx: &mut Context<'_>) -> Poll<(Result<Value, Fault>, CancelKind)> {
        for at in 0..self.tasks.len() {
            if Pin::new(&mut self.tasks[at].ended).poll(cx).is_ready() {
                let winner = self.tasks.remove(at).handle;
                winner.mark_observed();
                let value = winner.try_outcome().map_or(Ok(Value::Nil), value_of);
                return Poll::Ready((value, CancelKind::RaceLost));
            }
        }
        loop {
            match self.fan.poll_outcome(cx) {
                Poll::Ready(Some(outcome)) => {
                    if let Some(decided) = self.judge(outcome) {
                        return Poll::Ready((decided, CancelKind::RaceLost));
                    }
                }
                Poll::Ready(None) if self.failures.is_some() => {
                    if let Some(fault) = self.fan.take_failure() {
                        return Poll::Ready((Err(fault), CancelKind::ScopeFailed));
                    }
                    return Poll::Ready((Err(self.nobody()), CancelKind::RaceLost));
                }
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        if let Some(fault) = self.fan.take_failure() {
            return Poll::Ready((Err(fault), CancelKind::ScopeFailed));
        }
        if let Some(timer) = &mut self.timer {
            ready!(timer.sleep.as_mut().poll(cx));
            return Poll::Ready((Ok(timer.fallback.take()), CancelKind::Timeout));
        }
        Poll::Pending
    }

    /// What an end means for the race.
    fn judge(&mut self, outcome: Outcome<Value, TaskFault>) -> Option<Result<Value, Fault>> {
        let result = value_of(outcome);
        let Some(failures) = &mut self.failures else { return Some(result) };
        let failure = match result {
            Ok(Value::Enum(it)) if it.is_result() => match it.as_result() {
                Some(Ok(payload)) => return Some(Ok(payload)),
                Some(Err(payload)) => payload,
                None => return Some(Ok(Value::Enum(it))),
            },
            Ok(value) => return Some(Ok(value)),
            Err(fault) => fault.caught(),
        };
        failures.push(failure.to_string());
        None
    }

    fn nobody(&self) -> Fault {
        if self.fan.started() == 0 {
            return Fault::thrown("parallel_race: expected at least one item");
        }
        let failures = self.failures.as_deref().unwrap_or_default();
        Fault::thrown(format!("parallel_race: all {} task(s) failed: {}", failures.len(), failures.join("; ")))
    }

    /// Waits for the losers; what their cleanups fail with is attached to the failure of the winner.
    fn poll_losers(&mut self, cx: &mut Context<'_>) -> Poll<Result<Value, Fault>> {
        let (decided, lost) = (&mut self.decided, &self.lost);
        let mut attach = |later| match decided {
            Some(Err(first)) => first.suppress(later),
            Some(Ok(_)) | None => lost(TaskFault(later)),
        };
        ready!(self.fan.poll_drained(cx, &mut attach));
        while let Some(task) = self.tasks.last_mut() {
            ready!(Pin::new(&mut task.ended).poll(cx));
            if let Some(Outcome::Failed(failure)) = task.handle.try_outcome() {
                attach(failure.0);
            }
            self.tasks.pop();
        }
        Poll::Ready(self.decided.take().unwrap_or(Ok(Value::Nil)))
    }
}

/// The tasks and the closures among the contenders.
fn contenders_of(contenders: Vec<Value>) -> Result<(Vec<Contender>, Vec<Value>), Fault> {
    let (mut tasks, mut closures) = (Vec::new(), Vec::new());
    for contender in contenders {
        match &contender {
            Value::Handle(handle) if let Some(TaskObject(task)) = handle.downcast() => {
                if task.task().is_current() {
                    return Err(deadlock(format!("race: task {} waits for itself", task.id())));
                }
                tasks.push(Contender { handle: task.clone(), ended: task.ended() });
            }
            other => {
                closure("race", other)?;
                closures.push(contender);
            }
        }
    }
    Ok((tasks, closures))
}

fn closure(name: &str, value: &Value) -> Result<(), Fault> {
    match value {
        Value::Closure(_) => Ok(()),
        other => Err(Fault::type_error(format!("{name}: expected a closure, got {}", other.type_name()))),
    }
}
