//! The driver: a script task as a future. Its poll runs the interpreter for a budget; what the interpreter asks for
//! becomes calls of the runtime. Not here: fan-outs (`fan.rs`), what builtins wait for (`madrigal-stdlib`).
//! Invariant: `regions` and the open nodes of the host mirror the regions that the interpreter has open.

use crate::fan::Fan;
use crate::launch::Launcher;
use crate::race::Race;
use crate::stream::{self, Closing, StreamObject};
use madrigal_runtime::sync::NamedPermit;
use madrigal_runtime::{
    CancelKind, CancelReason, Deadline, Describe, FanMode, Outcome, Policy, Scope, TaskContext, TaskKind, TaskRef,
    TaskSpec, TryReceiveError, WaitKind, Waiting, note_wait,
};
use madrigal_stdlib::concurrency::{ChannelObject, Items, channel_of, selected};
use madrigal_stdlib::process::{Own, Placing};
use madrigal_stdlib::task::{ScopeObject, TaskObject, deadlock, has_holder, holder_of, waited_on};
use madrigal_stdlib::{Run, TaskFault, TaskHost};
use madrigal_vm::{
    Closure, Dict, Effect, Fault, FaultKind, Handle, Leaving, ParallelMode, Region, Resume, Seed, Spawning, Step,
    Value, Vm, Wait,
};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// What a wait that is over at once costs of a task's budget.
const EFFECT_FUEL: u32 = 20;

/// A running script task.
pub(crate) struct ScriptTask {
    vm: Vm,
    host: TaskHost,
    doing: Doing,
    /// Open regions, innermost last.
    regions: Vec<Open>,
    /// What the body spawned outside of `scope` blocks; opened when first needed.
    body: Option<Scope<TaskFault>>,
    /// The depth of the cancelled node whose cancellation running code has seen; waits see it again and again.
    delivered: Option<usize>,
    role: Role,
}

/// What else a task is.
enum Role {
    Plain,
    /// Part of a fan-out or a race, whose owner takes whatever it fails with.
    Child,
    /// Nobody waits for it: its failure is reported.
    Background,
    /// The body of a stream.
    Stream(Items),
}

/// What a task is at.
enum Doing {
    Running,
    /// Waiting; a cancellation ends the wait.
    Waiting(Wait),
    /// Running a `parallel` statement; a cancellation reaches its children and is seen when they have ended.
    Fan(Box<Fan>),
    /// Starting the children of `parallel .. as stream`, as far as there is room.
    Starting(Box<Fan>),
    /// Running a race; a cancellation reaches its contenders and is seen when they have ended.
    Race(Box<Race>),
    /// Waiting for the tasks of the innermost region to end.
    Leaving(Leaving),
    /// Waiting for a stream to end whose loop is left.
    Closing(Closing),
    /// The program of the task is over; its tasks are not.
    Ending(Option<Result<Value, Fault>>),
}

/// An open region with the number of nodes outside it; a deadline also with the position of its own node.
enum Open {
    Scope(Scope<TaskFault>, usize),
    Deadline(Deadline, usize, usize),
    Mutex { _permit: Option<NamedPermit> },
}

/// The thing a task waits on, for reports.
struct Described(Value);

impl Describe for Described {
    fn describe(&self) -> String {
        self.0.to_string()
    }

    fn holder(&self) -> Option<TaskRef> {
        holder_of(&self.0)
    }
}

impl ScriptTask {
    /// A task that runs `vm`.
    pub fn new(vm: Vm, run: Arc<Run>, context: TaskContext, values: Option<Dict>) -> ScriptTask {
        ScriptTask {
            vm,
            host: TaskHost::new(run, context, values),
            doing: Doing::Running,
            regions: Vec::new(),
            body: None,
            delivered: None,
            role: Role::Plain,
        }
    }

    /// The body of a stream, which hands over `items`.
    pub fn of_stream(vm: Vm, run: Arc<Run>, context: TaskContext, values: Option<Dict>, items: Items) -> ScriptTask {
        let mut task = ScriptTask { role: Role::Stream(items.clone()), ..ScriptTask::new(vm, run, context, values) };
        task.host.stream = Some(items);
        task
    }

    /// As `new`, for a task that is a process.
    pub fn with_process(mut self, own: Option<Own>) -> ScriptTask {
        self.host.process = own.map(Box::new);
        self
    }

    /// The fault of a cancellation that is to be delivered now.
    fn delivery(&self) -> Option<(usize, Fault)> {
        let nodes = &self.host.nodes;
        if !nodes.is_cancelled() {
            return None;
        }
        // A running cleanup holds back what was cancelled outside of it, not the deadlines it opened itself.
        let from = self.vm.regions_outside_shield().map_or(Some(0), |outside| self.first_node_in(outside))?;
        let (depth, node) = nodes.outermost_cancelled_from(from)?;
        let reason = node.reason()?;
        let expired = reason.kind == CancelKind::Deadline
            && self.regions.iter().any(|it| matches!(it, Open::Deadline(_, _, position) if *position == depth));
        let fault = if expired { Fault::new(FaultKind::Deadline) } else { Fault::cancelled(reason.to_string()) };
        Some((depth, fault))
    }

    /// Position of the first node whose cancellation is not held back by a running cleanup.
    fn own_nodes(&self) -> usize {
        let outside = self.vm.regions_outside_shield();
        outside.and_then(|it| self.first_node_in(it)).unwrap_or(0)
    }

    /// Position of the first node opened by the regions from `outside` on.
    fn first_node_in(&self, outside: usize) -> Option<usize> {
        self.regions.iter().skip(outside).find_map(|it| match it {
            Open::Scope(_, nodes) | Open::Deadline(_, nodes, _) => Some(*nodes),
            Open::Mutex { .. } => None,
        })
    }

    /// Runs the interpreter until it needs something; `true` when the task has to give up its turn.
    fn run(&mut self, fuel: &mut u32) -> bool {
        // Running code is told of a cancellation once, when its turn begins; waits are told every time.
        if *fuel == self.host.fuel() {
            self.tell_of_cancellation();
        }
        let given = *fuel;
        let step = self.vm.step(&mut self.host, given);
        self.spend(given, matches!(step, Step::Suspended(_)));
        match step {
            Step::Done(value) => self.doing = Doing::Ending(Some(Ok(value))),
            Step::Faulted(fault) => self.fail(fault),
            Step::OutOfBudget => {
                self.pass_point();
                self.host.context.runtime().turn_used_up();
                return true;
            }
            Step::Suspended(effect) => {
                *fuel = self.vm.fuel_left().saturating_sub(EFFECT_FUEL);
                if let Err(fault) = self.perform(effect) {
                    self.vm.resume(Resume::Fault(fault));
                }
            }
        }
        false
    }

    /// Interrupts running code with a cancellation it has not seen; `false` when there is none.
    fn tell_of_cancellation(&mut self) -> bool {
        let Some((depth, fault)) = self.delivery().filter(|(depth, _)| self.delivered != Some(*depth)) else {
            return false;
        };
        self.delivered = Some(depth);
        self.vm.interrupt(fault);
        true
    }

    /// Counts what a step used, where there is a limit.
    fn spend(&self, given: u32, waits: bool) {
        let tasks = &self.host.run.tasks;
        if tasks.limits.fuel.is_some()
            && let Some(message) = tasks.spend(given - if waits { self.vm.fuel_left().min(given) } else { 0 })
        {
            self.stop(message);
        }
    }

    /// A cancellation could be delivered here.
    fn pass_point(&self) {
        if let Some(probe) = &self.host.run.tasks.probe
            && probe.pass()
        {
            self.host.context.run_node().cancel(CancelReason::by_nobody(CancelKind::Cancel, "probed"));
        }
    }

    /// Ends the run: it went beyond a limit.
    fn stop(&self, message: String) {
        let stopped = &self.host.run.tasks.stopped;
        let reason = CancelReason::by_nobody(CancelKind::Shutdown, stopped.get_or_init(|| message).as_str());
        self.host.context.run_node().cancel(reason);
    }

    /// The body threw: what it spawned is cancelled before the failure leaves.
    fn fail(&mut self, mut fault: Fault) {
        if self.host.context.is_cancelled() && fault.is_text_of_cancellation() {
            let mut cancelled = Fault::cancelled("");
            cancelled.suppress_those_of(&fault);
            fault = cancelled;
        }
        let task = self.host.context.task();
        let id = task.id();
        if id != "task_root" {
            fault.leave_task(|| task_path(&id));
        }
        if let Some(scope) = &self.body {
            if fault.is_cancelled() && self.host.context.is_cancelled() {
                scope.cancel(CancelReason::new(CancelKind::ParentCancelled, ""));
            } else {
                scope.fail(TaskFault(fault.clone()));
            }
        }
        self.doing = Doing::Ending(Some(Err(fault)));
    }

    /// Does what the interpreter asks for, or starts waiting for it.
    fn perform(&mut self, effect: Effect) -> Result<(), Fault> {
        match effect {
            Effect::Wait(wait) => self.wait(wait),
            Effect::Spawn { body, how } => {
                let handle = self.spawn(body, how)?;
                self.vm.resume(Resume::Value(handle));
            }
            Effect::Parallel { mode, source, body, max_concurrent } => {
                self.parallel(mode, source, body, &max_concurrent)?;
            }
            Effect::Race(racing) => {
                self.doing = Doing::Race(Box::new(Race::open(&self.host, self.vm.seed(), racing)?));
            }
            Effect::Enter { region, operand } => self.enter(region, &operand)?,
            Effect::Leave { region: _, outcome } => self.leave(outcome),
            Effect::Select { channels, timeout, default } => self.select(&channels, &timeout, default)?,
            Effect::Next { source } => self.next(source),
            Effect::Close { source } => match stream::close(&source) {
                Some(closing) => self.doing = Doing::Closing(closing),
                None => self.vm.resume(Resume::Closed(Vec::new())),
            },
            Effect::Pull { sources, wait } => {
                let seed = self.vm.seed();
                sources.iter().for_each(|it| stream::start(&self.host, &seed, it));
                self.wait(wait);
            }
            Effect::Emit { item } => match &self.role {
                Role::Stream(items) => {
                    let wanted = items.give(item);
                    self.wait(Wait::new("the next pull of its stream", async move {
                        wanted.await;
                        Ok(Value::Nil)
                    }));
                }
                Role::Plain | Role::Child | Role::Background => self.vm.resume(Resume::Value(Value::Nil)),
            },
            Effect::Yield => {
                let turn = async {
                    madrigal_runtime::yield_now().await;
                    Ok(Value::Nil)
                };
                self.wait(Wait::new("yield", turn));
            }
            Effect::Exit(status) => {
                self.host.run.tasks.exit.lock().get_or_insert(status);
                let reason = CancelReason::new(CancelKind::Shutdown, "exit");
                self.host.context.run_node().cancel(reason);
                if !self.tell_of_cancellation() {
                    self.vm.resume(Resume::Value(Value::Nil));
                }
            }
        }
        Ok(())
    }

    fn wait(&mut self, wait: Wait) {
        self.doing = Doing::Waiting(wait);
    }

    /// Starts a task; its handle.
    fn spawn(&mut self, body: Value, how: Spawning) -> Result<Value, Fault> {
        if let Spawning::Placed { place } = &how {
            return self.place(place, body);
        }
        let Value::Closure(body) = body else {
            return Err(Fault::type_error(format!("spawn: expected a closure, got {}", body.type_name())));
        };
        self.host.run.tasks.admit_task()?;
        let vm = self.vm.seed().task(body, &[]);
        let (run, values) = (self.host.run.clone(), self.host.values.clone());
        let grace = run.tasks.grace;
        let spec = |kind| TaskSpec { inline_start: true, ..TaskSpec::new(kind).with_grace(grace) };
        let make = |context: TaskContext| ScriptTask::new(vm, run, context, values);
        let handle = match how {
            Spawning::Child => {
                let spec = spec(TaskKind::SPAWN).under(self.host.nodes.innermost());
                self.innermost_scope().spawn(spec, make)
            }
            // Not a task of the scope: it is cancelled when the scope ends, not waited for.
            Spawning::Helper => {
                let spec = spec(TaskKind::SPAWN).under(self.host.nodes.innermost()).settled();
                Ok(self.host.context.spawn_background(spec, make))
            }
            Spawning::Background => {
                let make = |context| ScriptTask { role: Role::Background, ..make(context) };
                Ok(self.host.context.spawn_background(spec(TaskKind::BACKGROUND), make))
            }
            Spawning::Into { scope, settled } => {
                let Value::Handle(scope) = scope else { return Err(Fault::thrown("scope is closed")) };
                let Some(object) = scope.downcast::<ScopeObject>() else {
                    return Err(Fault::thrown("scope is closed"));
                };
                let spec = if settled { spec(TaskKind::SPAWN).settled() } else { spec(TaskKind::SPAWN) };
                object.scope.spawn(spec, make)
            }
            Spawning::Placed { .. } => return Ok(Value::Nil),
        };
        match handle {
            Ok(handle) => Ok(Value::Handle(Handle::new(TaskObject(handle)))),
            Err(closed) => Err(Fault::thrown(closed.to_string())),
        }
    }

    /// Has the library put what it calls where it belongs.
    fn place(&mut self, place: &Value, body: Value) -> Result<Value, Fault> {
        let launcher = Launcher { seed: self.vm.seed(), run: self.host.run.clone(), values: self.host.values.clone() };
        let this = std::cell::RefCell::new(self);
        let scope = || this.borrow_mut().innermost_scope().handle();
        madrigal_stdlib::process::put(place, Placing { launcher: &launcher, body, scope: &scope })
    }

    /// The scope that a plain `spawn` belongs to.
    fn innermost_scope(&mut self) -> &Scope<TaskFault> {
        let open = self.regions.iter().rev().find_map(|it| match it {
            Open::Scope(scope, _) => Some(scope),
            _ => None,
        });
        match open {
            Some(scope) => scope,
            None => {
                let context = &self.host.context;
                self.body.get_or_insert_with(|| Scope::open(context, &context.node(), Policy::TaskBody))
            }
        }
    }

    fn parallel(
        &mut self,
        mode: ParallelMode,
        source: Value,
        body: Value,
        max_concurrent: &Value,
    ) -> Result<(), Fault> {
        let Value::Closure(body) = body else { return Err(Fault::type_error("parallel: expected a closure")) };
        let fan = Fan::open(&self.host, self.vm.seed(), mode, source, body, max_concurrent)?;
        match mode {
            ParallelMode::Stream => self.doing = Doing::Starting(Box::new(fan)),
            ParallelMode::Count | ParallelMode::Each | ParallelMode::Settle | ParallelMode::Discard => {
                self.doing = Doing::Fan(Box::new(fan));
            }
        }
        Ok(())
    }

    fn enter(&mut self, region: Region, operand: &Value) -> Result<(), Fault> {
        let outside = self.host.nodes.depth();
        let handle = match region {
            Region::Scope => {
                let scope = Scope::open(&self.host.context, self.host.nodes.innermost(), Policy::FailFast);
                self.host.nodes.push(scope.node().clone());
                let owner = format!("{}:{}", self.host.context.task().id(), self.host.run.next_id());
                scope.node().set_label(owner.as_str());
                let object = ScopeObject { scope: scope.handle(), owner };
                self.regions.push(Open::Scope(scope, outside));
                Value::Handle(Handle::new(object))
            }
            Region::Deadline => {
                let Some(millis) = operand.as_millis() else {
                    return Err(Fault::type_error(format!(
                        "deadline: expected a duration or int milliseconds, got {}",
                        operand.type_name()
                    )));
                };
                let after = Duration::from_millis(u64::try_from(millis).unwrap_or(0));
                let runtime = self.host.context.runtime();
                if self.vm.is_shielded() {
                    let shield = self.host.nodes.innermost().shielded_child();
                    self.host.nodes.push(shield);
                }
                let deadline = Deadline::open(self.host.nodes.innermost(), runtime.clock(), after);
                let position = self.host.nodes.depth();
                self.host.nodes.push(deadline.node().clone());
                self.regions.push(Open::Deadline(deadline, outside, position));
                Value::Nil
            }
            Region::Mutex => return self.enter_mutex(),
        };
        self.vm.resume(Resume::Value(handle));
        Ok(())
    }

    fn enter_mutex(&mut self) -> Result<(), Fault> {
        let mut acquire = self.host.run.tasks.mutex(self.host.context.runtime().clock()).acquire();
        let held = |_| deadlock("mutex: this task holds the mutex already");
        if let Some(permit) = acquire.try_now().map_err(held)? {
            self.in_mutex(Some(permit));
            self.vm.resume(Resume::Value(Value::Nil));
            return Ok(());
        }
        let on = waited_on(acquire.resource());
        // The permit comes through the value of the wait, as the region is entered only then.
        let future = async move {
            let permit = acquire.await.map_err(held)?;
            Ok(Value::Handle(Handle::new(PermitObject(parking_lot::Mutex::new(Some(permit))))))
        };
        self.wait(Wait::new("mutex", future).on(on));
        Ok(())
    }

    fn in_mutex(&mut self, permit: Option<NamedPermit>) {
        self.host.in_mutex = true;
        self.regions.push(Open::Mutex { _permit: permit });
    }

    /// A mutex that had to be waited for is entered.
    fn entered(&mut self, value: Value) -> Value {
        if let Value::Handle(handle) = &value
            && let Some(object) = handle.downcast::<PermitObject>()
        {
            let permit = object.0.lock().take();
            self.in_mutex(permit);
            return Value::Nil;
        }
        value
    }

    fn leave(&mut self, outcome: Leaving) {
        match self.regions.last() {
            Some(Open::Mutex { .. }) | None => {
                self.host.in_mutex = false;
                self.regions.pop();
                self.vm.resume(Resume::Left);
            }
            Some(Open::Deadline(deadline, _, position)) => {
                let outermost = self.host.nodes.outermost_cancelled_from(self.own_nodes());
                let own = outermost.is_some_and(|(depth, _)| depth == *position);
                if own && deadline.is_cancelled() {
                    // It passed: what was started inside is cancelled, and waited for however the block ended.
                    self.doing = Doing::Leaving(outcome);
                } else {
                    self.left(Resume::Left);
                }
            }
            Some(Open::Scope(scope, outside)) => {
                if let Leaving::Failed(fault) = &outcome {
                    let own = self.host.nodes.outermost_cancelled().is_none_or(|(depth, _)| depth > *outside);
                    if !fault.is_cancelled() || (own && !scope.node().is_cancelled()) {
                        scope.fail(TaskFault(fault.clone()));
                    }
                }
                self.doing = Doing::Leaving(outcome);
            }
        }
    }

    /// The innermost region is left.
    fn left(&mut self, resume: Resume) {
        let outside = match self.regions.pop() {
            Some(Open::Scope(_, outside) | Open::Deadline(_, outside, _)) => outside,
            Some(Open::Mutex { .. }) | None => self.host.nodes.depth(),
        };
        self.host.nodes.close_to(outside);
        if self.delivered.is_some_and(|depth| depth >= outside) {
            self.delivered = None;
        }
        self.vm.resume(resume);
        self.doing = Doing::Running;
    }

    fn poll_leaving(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Doing::Leaving(outcome) = &self.doing else { return Poll::Ready(()) };
        let outcome = outcome.clone();
        let resume = match self.regions.last_mut() {
            Some(Open::Scope(scope, outside)) => {
                let Poll::Ready(closed) = scope.poll_close(cx) else { return Poll::Pending };
                let from_outside = self.host.nodes.outermost_cancelled().is_some_and(|(depth, _)| depth < *outside);
                let interrupted = scope.node().is_cancelled() && !from_outside;
                match (closed, outcome) {
                    (Err(mut failure), Leaving::Failed(fault)) if fault.is_cancelled() => {
                        failure.0.suppress_those_of(&fault);
                        Resume::Fault(failure.0)
                    }
                    (Err(failure), _) => Resume::Fault(failure.0),
                    (Ok(()), Leaving::Failed(fault)) if fault.is_cancelled() && interrupted => {
                        match failed_cleanup(&fault) {
                            Some(failure) => Resume::Fault(failure),
                            None => Resume::Absorbed(Value::Nil),
                        }
                    }
                    (Ok(()), _) => Resume::Left,
                }
            }
            Some(Open::Deadline(deadline, ..)) => {
                let mut drained = deadline.node().drained();
                if Pin::new(&mut drained).poll(cx).is_pending() {
                    return Poll::Pending;
                }
                match outcome {
                    Leaving::Failed(fault) if matches!(fault.kind(), FaultKind::Deadline) => {
                        let mut expired = Fault::thrown("Deadline exceeded");
                        expired.suppress_those_of(&fault);
                        Resume::Fault(expired)
                    }
                    _ => Resume::Left,
                }
            }
            Some(Open::Mutex { .. }) | None => Resume::Left,
        };
        self.left(resume);
        Poll::Ready(())
    }

    fn select(&mut self, channels: &[Value], timeout: &Value, default: bool) -> Result<(), Fault> {
        let time = match timeout {
            Value::Unset if default => Some(Duration::ZERO),
            Value::Unset => None,
            value if value.as_millis().is_some() => {
                let millis = value.as_millis().unwrap_or(0);
                Some(Duration::from_millis(u64::try_from(millis).unwrap_or(0)))
            }
            other => {
                return Err(Fault::type_error(format!(
                    "select: timeout must be a duration or int milliseconds, got {}",
                    other.type_name()
                )));
            }
        };
        match selected("select", channels, time, self.host.run.clone())? {
            madrigal_vm::Outcome::Value(pair) => self.vm.resume(Resume::Value(pair)),
            madrigal_vm::Outcome::Effect(Effect::Wait(wait)) => self.wait(wait),
            madrigal_vm::Outcome::Effect(_) => self.vm.resume(Resume::Value(Value::Nil)),
        }
        Ok(())
    }

    /// The next item of an iterable handle.
    fn next(&mut self, source: Value) {
        if let Some(channel) = channel_of(&source) {
            match channel.try_receive() {
                Ok(value) => self.vm.resume(Resume::Value(value)),
                Err(TryReceiveError::Closed) => match ChannelObject::end(&source, Value::Unset) {
                    Ok(value) => self.vm.resume(Resume::Value(value)),
                    Err(fault) => self.vm.resume(Resume::Fault(fault)),
                },
                Err(TryReceiveError::Empty) => self.wait(ChannelObject::receiving(source, Value::Unset)),
            }
            return;
        }
        stream::start(&self.host, &self.vm.seed(), &source);
        match stream::next(&self.host.run, &source, self.host.stream.as_ref()) {
            Some(wait) => self.wait(wait),
            None => self.vm.resume(Resume::Value(Value::Unset)),
        }
    }

    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some((depth, fault)) = self.delivery() {
            self.delivered = Some(depth);
            self.doing = Doing::Running;
            self.host.context.clear_waiting();
            self.vm.interrupt(fault);
            return Poll::Ready(());
        }
        let Doing::Waiting(Wait { future, what, on, inside }) = &mut self.doing else { return Poll::Ready(()) };
        match future.as_mut().poll(cx) {
            Poll::Pending => {
                let in_circle = on.as_ref().is_some_and(has_holder);
                let on = on.clone().map(|it| Arc::new(Described(it)) as Arc<dyn Describe>);
                let what = *what;
                if *inside {
                    note_wait(WaitKind::Receive);
                }
                self.publish(what, on);
                if in_circle && let Some(circle) = self.host.context.break_cycle() {
                    self.doing = Doing::Running;
                    let text = crate::report::circle(&circle, self.vm.program());
                    self.vm.resume(Resume::Fault(deadlock(text)));
                    return Poll::Ready(());
                }
                Poll::Pending
            }
            Poll::Ready(result) => {
                // Others follow the circle of who waits for whom only as long as this waits.
                if on.as_ref().is_some_and(has_holder) {
                    self.host.context.clear_waiting();
                }
                self.doing = Doing::Running;
                match result {
                    Ok(value) => {
                        let value = self.entered(value);
                        self.vm.resume(Resume::Value(value));
                    }
                    Err(fault) => self.vm.resume(Resume::Fault(fault)),
                }
                Poll::Ready(())
            }
        }
    }

    fn poll_starting(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Doing::Starting(fan) = &mut self.doing
            && fan.has_more_to_start(cx)
        {
            return Poll::Pending;
        }
        if let Doing::Starting(fan) = std::mem::replace(&mut self.doing, Doing::Running) {
            let stream = Handle::new(StreamObject::new(*fan));
            self.vm.resume(Resume::Value(Value::Handle(stream)));
        }
        Poll::Ready(())
    }

    fn poll_closing(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Doing::Closing(closing) = &mut self.doing else { return Poll::Ready(()) };
        let Poll::Ready(failures) = closing.as_mut().poll(cx) else {
            self.publish("its stream to end", None);
            return Poll::Pending;
        };
        self.doing = Doing::Running;
        if self.vm.is_failing() {
            self.vm.resume(Resume::Closed(failures));
        } else {
            stream::report_lost(&self.host.run, failures);
            self.vm.resume(Resume::Closed(Vec::new()));
        }
        Poll::Ready(())
    }

    fn poll_fan(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let delivery = self.delivery();
        let (polled, what) = match &mut self.doing {
            Doing::Fan(fan) => (fan.poll(cx), "parallel"),
            Doing::Race(race) => {
                if let Some((_, fault)) = delivery {
                    race.interrupt(fault);
                }
                (race.poll(cx), race.what())
            }
            _ => return Poll::Ready(()),
        };
        match polled {
            Poll::Pending => {
                self.publish(what, None);
                Poll::Pending
            }
            Poll::Ready(result) => {
                self.doing = Doing::Running;
                match (result, self.delivery()) {
                    (Ok(value), _) => self.vm.resume(Resume::Value(value)),
                    (Err(fault), Some((depth, mut delivered))) => {
                        if !fault.is_cancelled() {
                            delivered.suppress(fault);
                        } else {
                            fault.suppressed().iter().for_each(|it| delivered.suppress(it.clone()));
                        }
                        self.delivered = Some(depth);
                        self.vm.interrupt(delivered);
                    }
                    (Err(fault), _) => self.vm.resume(Resume::Fault(fault)),
                }
                Poll::Ready(())
            }
        }
    }

    /// Hands output on. When its reader has gone, nobody waits for more: the run ends, without an error.
    fn flush(&self) {
        let run = &self.host.run;
        run.stdout.flush();
        if run.stdout.is_full() {
            self.stop("the program wrote more than it may".to_owned());
        }
        if run.stdout.is_closed() {
            run.tasks.exit.lock().get_or_insert(0);
            self.host.context.run_node().cancel(CancelReason::new(CancelKind::Shutdown, "nobody reads the output"));
        }
    }

    /// Tells reports what the task waits for, and where. Output is out before the wait.
    fn publish(&self, what: &'static str, on: Option<Arc<dyn Describe>>) {
        self.pass_point();
        self.flush();
        let location = self.vm.site().map(|(module, (start, _))| (module, start));
        self.host.context.set_waiting(Waiting { what, on, location });
    }

    fn poll_ending(&mut self, cx: &mut Context<'_>) -> Poll<Outcome<Value, TaskFault>> {
        let closed = match &mut self.body {
            None => Ok(()),
            Some(scope) => match scope.poll_close(cx) {
                Poll::Ready(closed) => closed,
                Poll::Pending => {
                    self.publish("its tasks", None);
                    return Poll::Pending;
                }
            },
        };
        // Before anybody learns of the end.
        drop(std::mem::take(&mut self.host.held));
        self.host.run.stdout.flush();
        let Doing::Ending(ended) = &mut self.doing else { return Poll::Pending };
        Poll::Ready(match (ended.take(), closed) {
            (Some(Err(fault)), closed) if fault.is_cancelled() && self.host.context.is_cancelled() => {
                self.cancelled(&fault, closed.err())
            }
            (_, Err(failure)) => self.failed(failure.0),
            (Some(Err(fault)), Ok(())) => self.failed(fault),
            (Some(Ok(value)), Ok(())) => Outcome::Ok(value),
            (None, Ok(())) => Outcome::Ok(Value::Nil),
        })
    }

    /// It ended by its cancellation. What its cleanups failed with is for whoever was the reason, if that reports it.
    fn cancelled(&self, fault: &Fault, below: Option<TaskFault>) -> Outcome<Value, TaskFault> {
        let reason = self.host.context.cancel_reason();
        let reason = reason.unwrap_or_else(|| CancelReason::new(CancelKind::Cancel, ""));
        let mut later = fault.suppressed().iter().cloned().chain(below.map(|it| it.0));
        let Some(mut first) = later.next() else { return Outcome::Cancelled(reason) };
        later.for_each(|it| first.suppress(it));
        let owned = matches!(self.role, Role::Child | Role::Stream(_))
            || matches!(reason.kind, CancelKind::ScopeFailed | CancelKind::RaceLost | CancelKind::Timeout);
        if owned {
            return Outcome::Failed(TaskFault(first));
        }
        if reason.kind == CancelKind::Cancel && self.host.context.task().is_observed() {
            let mut ended = fault.clone().with_ends_task(true);
            if fault.suppressed().is_empty() {
                ended.suppress(first);
            }
            return Outcome::Failed(TaskFault(ended));
        }
        (self.host.run.tasks.lost)(TaskFault(first));
        Outcome::Cancelled(reason)
    }

    fn failed(&self, fault: Fault) -> Outcome<Value, TaskFault> {
        if matches!(self.role, Role::Background) {
            crate::report::say_uncaught(&self.host.run, &fault, self.vm.program());
        }
        Outcome::Failed(TaskFault(fault))
    }

    /// Its consumers learn of the end of a stream.
    fn end(&self, outcome: Outcome<Value, TaskFault>) -> Outcome<Value, TaskFault> {
        if let Role::Stream(items) = &self.role {
            let failure = match &outcome {
                Outcome::Failed(failure) => Some(failure.clone()),
                Outcome::Ok(_) | Outcome::Cancelled(_) => None,
            };
            if let Some(failure) = items.end(failure) {
                (self.host.run.tasks.lost)(failure);
            }
        }
        outcome
    }
}

/// The permit of the mutex on its way from the wait to the region.
struct PermitObject(parking_lot::Mutex<Option<NamedPermit>>);

impl madrigal_vm::HandleObject for PermitObject {
    fn type_name(&self) -> &'static str {
        "permit"
    }

    fn display(&self) -> String {
        "<permit>".to_owned()
    }

    fn identity(&self) -> Option<u64> {
        None
    }
}

impl Future for ScriptTask {
    type Output = Outcome<Value, TaskFault>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let task = &mut *self;
        // One budget a turn, however many of its waits are over at once.
        let mut fuel = task.host.fuel();
        loop {
            let polled = match &task.doing {
                Doing::Running => {
                    if fuel == 0 || task.run(&mut fuel) {
                        task.flush();
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    Poll::Ready(())
                }
                Doing::Waiting(..) => task.poll_waiting(cx),
                Doing::Fan(_) | Doing::Race(_) => task.poll_fan(cx),
                Doing::Leaving(_) => {
                    let polled = task.poll_leaving(cx);
                    if polled.is_pending() {
                        task.publish("the tasks of its block", None);
                    }
                    polled
                }
                Doing::Closing(_) => task.poll_closing(cx),
                Doing::Starting(_) => task.poll_starting(cx),
                Doing::Ending(_) => return task.poll_ending(cx).map(|outcome| task.end(outcome)),
            };
            if polled.is_pending() {
                return Poll::Pending;
            }
        }
    }
}

/// A task id as the path that error reports show: `root › parallel each[3] › spawn[1]`.
fn task_path(id: &str) -> String {
    let mut path = vec!["root".to_owned()];
    let mut parts = id.split(':').skip(1).peekable();
    while let Some(kind) = parts.next() {
        let number = parts.next().unwrap_or_default();
        let index = match kind {
            "spawn" | "background" | "stream" => None,
            _ => parts.next_if(|it| it.bytes().all(|byte| byte.is_ascii_digit())),
        };
        path.push(format!("{}[{}]", kind.replace('_', " "), index.unwrap_or(number)));
    }
    path.join(" › ")
}

/// What cleanups of a body failed with that was cancelled, which is all that is left to report: the first, others attached.
fn failed_cleanup(cancelled: &Fault) -> Option<Fault> {
    let (first, later) = cancelled.suppressed().split_first()?;
    let mut first = first.clone();
    later.iter().for_each(|it| first.suppress(it.clone()));
    Some(first)
}

/// The modes of a fan-out.
pub(crate) fn fan_mode(mode: ParallelMode) -> (FanMode, &'static TaskKind) {
    match mode {
        ParallelMode::Count => (FanMode::FailFast, TaskKind::PARALLEL),
        ParallelMode::Each => (FanMode::FailFast, TaskKind::PARALLEL_EACH),
        ParallelMode::Settle => (FanMode::Settle, TaskKind::PARALLEL_SETTLE),
        ParallelMode::Stream => (FanMode::Stream, TaskKind::PARALLEL_EACH_STREAM),
        ParallelMode::Discard => (FanMode::Discard, TaskKind::PARALLEL_EACH),
    }
}

/// A child of a fan-out.
pub(crate) fn fan_child(
    seed: &Seed,
    body: Option<&Closure>,
    item: Value,
    run: &Arc<Run>,
    context: TaskContext,
    values: &Option<Dict>,
) -> ScriptTask {
    let vm = match (body, item) {
        (Some(body), item) => seed.task(body.clone(), &[item]),
        (None, Value::Closure(item)) => seed.task(item, &[]),
        (None, _) => unreachable!("without a body all items are closures"),
    };
    ScriptTask { role: Role::Child, ..ScriptTask::new(vm, run.clone(), context, values.clone()) }
}
