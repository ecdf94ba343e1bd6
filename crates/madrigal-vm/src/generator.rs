//! Generators, streams and iterators: functions whose body runs on demand. That of a generator or an iterator runs in
//! the task that pulls it: a pull puts the generator's stack in the place of the puller's until the body yields or
//! ends; no interpreter nests. The body of a stream is a task of its own, which the outside world runs.
//! Invariant: a generator that is `Running` has its object on [`Vm::pulls`] of one task, innermost last.

use crate::effect::{Effect, Wait};
use crate::fault::Fault;
use crate::interpreter::Called;
use crate::stack::{Frame, Stack};
use crate::unwind::{Completion, Flow, Handler, HandlerKind};
use crate::value::{Dict, Handle, HandleObject, Value};
use crate::vm::{OpenStream, Seed, Vm, Waiting};
use std::any::Any;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

/// What a function with `yield` or `emit` gives when called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum GeneratorKind {
    /// A `fn` with `yield`.
    Generator,
    /// A `gen fn`.
    Stream,
    /// An iterator of the prelude.
    Iter,
}

/// The part of a [`Vm`] that belongs to one stack.
pub(crate) struct Context {
    pub stack: Stack,
    pub frames: Vec<Frame>,
    pub handlers: Vec<Handler>,
    pub pending: Vec<Completion>,
    pub waiting: Waiting,
    pub shield: u32,
    pub streams: Vec<OpenStream>,
}

/// A pull under way: the puller's stack, and what it pulls.
pub(crate) struct Pull {
    context: Context,
    source: Pulled,
    goal: Goal,
}

impl Pull {
    /// Handlers of the puller.
    pub fn handlers(&self) -> &[Handler] {
        &self.context.handlers
    }
}

/// A generator that is running. Dropping it ends the generator, as a task that goes away in the middle of a pull does.
struct Pulled(Option<Handle>);

impl Pulled {
    fn object(&self) -> Option<&GeneratorObject> {
        self.0.as_ref().and_then(Handle::downcast)
    }

    /// It goes on from `context` when it is pulled again.
    fn pause(mut self, context: Context) {
        if let Some(object) = self.object() {
            object.stop(State::Ready(Box::new(context)));
        }
        self.0 = None;
    }
}

impl Drop for Pulled {
    fn drop(&mut self) {
        if let Some(object) = self.object() {
            object.end();
        }
    }
}

/// The wait for another task to be done with a generator.
fn turn(source: Handle) -> Wait {
    let future = poll_fn(move |cx| {
        let Some(object) = source.downcast::<GeneratorObject>() else { return Poll::Ready(Ok(Value::Nil)) };
        match &mut *object.state() {
            State::Running(waiting) => {
                waiting.retain(|it| !it.will_wake(cx.waker()));
                waiting.push(cx.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(Ok(Value::Nil)),
        }
    });
    Wait::new("its turn at a generator", future).inside()
}

/// Where a pulled item goes, in the puller's stack.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    /// `for`: the item to a slot, or a jump at the end.
    Item { slot: usize, to: u32 },
    /// `.next()`: `{done, value}` to a slot.
    Next { slot: usize },
}

/// A generator, stream or iterator.
pub struct GeneratorObject {
    kind: GeneratorKind,
    state: Mutex<State>,
    /// What the body of a stream starts from.
    seed: Option<Seed>,
}

enum State {
    /// Not started, or at a yield.
    Ready(Box<Context>),
    /// In a task; others that pull it wait for their turn.
    Running(Vec<Waker>),
    /// A stream whose body is a task; what the outside world keeps of it.
    Task(Arc<dyn Any + Send + Sync>),
    Done,
}

/// The body of a stream that was not pulled yet.
pub struct StreamBody(Box<Context>, Option<Seed>);

impl StreamBody {
    /// The task that runs it; `seed` is that of whoever pulls first.
    pub fn task(self, seed: &Seed) -> Vm {
        let mut vm = Vm::empty(self.1.unwrap_or_else(|| seed.clone()));
        drop(vm.switch(*self.0));
        vm
    }
}

impl GeneratorObject {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Nothing panics while it is held; a poisoned lock would still be consistent.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Whether pulling it is up to the task that pulls.
    pub(crate) fn is_pulled(handle: &Handle) -> bool {
        handle.downcast::<GeneratorObject>().is_some_and(|it| it.kind != GeneratorKind::Stream)
    }

    /// Has the body of a stream run as a task, unless it does or has ended.
    pub fn start_task<T: Any + Send + Sync>(&self, start: impl FnOnce(StreamBody) -> T) {
        let mut state = self.state();
        if self.kind != GeneratorKind::Stream || !matches!(*state, State::Ready(_)) {
            return;
        }
        if let State::Ready(context) = std::mem::replace(&mut *state, State::Done) {
            *state = State::Task(Arc::new(start(StreamBody(context, self.seed.clone()))));
        }
    }

    /// What runs this stream; none before it was started and once it has ended.
    pub fn task<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        match &*self.state() {
            State::Task(task) => task.clone().downcast().ok(),
            State::Ready(_) | State::Running(_) | State::Done => None,
        }
    }

    /// Ends this stream; what ran it, if it was started.
    pub fn end_task<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let ended = std::mem::replace(&mut *self.state(), State::Done);
        match ended {
            State::Task(task) => task.downcast().ok(),
            State::Ready(_) | State::Running(_) | State::Done => None,
        }
    }

    /// Ends it, wherever it stands.
    pub fn end(&self) {
        self.stop(State::Done);
    }

    /// Stops running it, and lets others that pull it go on.
    fn stop(&self, next: State) {
        let stopped = std::mem::replace(&mut *self.state(), next);
        if let State::Running(waiting) = stopped {
            waiting.into_iter().for_each(Waker::wake);
        }
    }
}

impl HandleObject for GeneratorObject {
    fn type_name(&self) -> &'static str {
        match self.kind {
            GeneratorKind::Generator => "generator",
            GeneratorKind::Stream => "stream",
            GeneratorKind::Iter => "iter",
        }
    }

    fn display(&self) -> String {
        let done = matches!(*self.state(), State::Done);
        match (self.kind, done) {
            (GeneratorKind::Iter, false) => "<iter>".to_owned(),
            (GeneratorKind::Iter, true) => "<iter (exhausted)>".to_owned(),
            (_, false) => format!("<{}>", self.type_name()),
            (_, true) => format!("<{} (done)>", self.type_name()),
        }
    }

    fn identity(&self) -> Option<u64> {
        (self.kind == GeneratorKind::Iter).then(|| std::ptr::from_ref(self) as u64)
    }

    fn is_iterable(&self) -> bool {
        true
    }

    fn ends_with_loop(&self) -> bool {
        self.kind == GeneratorKind::Stream
    }
}

/// What `.next()` gives.
pub(crate) fn next_dict(item: Option<Value>) -> Value {
    let done = Value::Bool(item.is_none());
    let entries = [("done", done), ("value", item.unwrap_or_default())];
    Value::Dict(entries.into_iter().map(|(k, v)| (k.into(), v)).collect::<Dict>())
}

/// The kinds by their numbers in code.
const KINDS: [GeneratorKind; 3] = [GeneratorKind::Generator, GeneratorKind::Stream, GeneratorKind::Iter];

/// Most generators that may pull one another.
const PULLS_MAX: usize = 1000;

impl Vm {
    /// Takes the running frame, whose parameters are in order, for a generator that goes on where it stands. The frame
    /// itself stays, to be ended with the generator as its result.
    pub(crate) fn generate(&mut self, kind: u8) -> Value {
        let frame = *self.frames.last().expect("code runs in a frame");
        let (base, registers) = (frame.base as usize, frame.proto().registers as usize);
        let mut stack = Stack::default();
        stack.reserve(1 + registers);
        *stack.at(0) = self.running_function(&frame);
        for (from, to) in self.stack.range(base, base + registers).iter_mut().zip(stack.range(1, 1 + registers)) {
            *to = from.take();
        }
        let context = Context {
            stack,
            frames: vec![Frame { base: 1, ..frame }],
            handlers: Vec::new(),
            pending: Vec::new(),
            waiting: Waiting::Nothing,
            shield: 0,
            streams: Vec::new(),
        };
        let kind = KINDS[usize::from(kind.min(2))];
        let seed = (kind == GeneratorKind::Stream).then(|| self.seed());
        let state = Mutex::new(State::Ready(Box::new(context)));
        Value::Handle(Handle::new(GeneratorObject { kind, state, seed }))
    }

    /// The function that runs in `frame`: the value below its registers, or that of its slot.
    fn running_function(&mut self, frame: &Frame) -> Value {
        let is_it = |it: &Value| matches!(it, Value::Closure(it) if std::ptr::eq(it.object(), frame.closure.as_ptr()));
        let below = self.stack.at(frame.base as usize - 1);
        if is_it(below) {
            return below.clone();
        }
        let slots = self.shared.program.functions.iter().filter_map(|it| it.value.get());
        let found = slots.into_iter().find(|it| is_it(it));
        found.cloned().expect("a running function stands below its registers or in a slot")
    }

    /// Starts a pull, or waits for another task to be done with one. The running frame must have been saved;
    /// afterwards the frame on top may be another.
    pub(crate) fn pull(&mut self, source: &Handle, goal: Goal) -> Result<Called, Fault> {
        let object = source.downcast::<GeneratorObject>().expect("only generators are pulled");
        if self.pulls.len() >= PULLS_MAX {
            return Err(Fault::plain("Stack overflow: too many nested calls"));
        }
        let ready = {
            let mut state = object.state();
            match std::mem::replace(&mut *state, State::Done) {
                State::Ready(context) => {
                    *state = State::Running(Vec::new());
                    Some(context)
                }
                State::Done => None,
                running => {
                    *state = running;
                    drop(state);
                    return self.wait_for_turn(source, object);
                }
            }
        };
        match ready {
            None => self.deliver(goal, None),
            Some(context) => {
                let puller = self.switch(*context);
                self.pulls.push(Pull { context: puller, source: Pulled(Some(source.clone())), goal });
            }
        }
        Ok(Called::Entered)
    }

    fn wait_for_turn(&mut self, source: &Handle, object: &GeneratorObject) -> Result<Called, Fault> {
        let is_it = |it: &Pull| it.source.object().is_some_and(|it| std::ptr::eq(it, object));
        if self.pulls.iter().any(is_it) {
            return Err(Fault::runtime(format!("{} is already running", object.type_name())));
        }
        // The instruction that pulls runs again.
        self.frames.last_mut().expect("code runs in a frame").pc -= 1;
        Ok(Called::Waits(Effect::Wait(turn(source.clone()))))
    }

    /// Makes `context` the running one; gives what was.
    fn switch(&mut self, context: Context) -> Context {
        Context {
            stack: std::mem::replace(&mut self.stack, context.stack),
            frames: std::mem::replace(&mut self.frames, context.frames),
            handlers: std::mem::replace(&mut self.handlers, context.handlers),
            pending: std::mem::replace(&mut self.pending, context.pending),
            waiting: std::mem::replace(&mut self.waiting, context.waiting),
            shield: std::mem::replace(&mut self.shield, context.shield),
            streams: std::mem::replace(&mut self.streams, context.streams),
        }
    }

    /// An item, or the end, to whoever pulled.
    fn deliver(&mut self, goal: Goal, item: Option<Value>) {
        match (goal, item) {
            (Goal::Item { slot, .. }, Some(item)) => *self.stack.at(slot) = item,
            (Goal::Item { to, .. }, None) => self.jump(to),
            (Goal::Next { slot }, item) => *self.stack.at(slot) = next_dict(item),
        }
    }

    /// `yield`: the running generator pauses, its puller goes on with `item`.
    pub(crate) fn yield_item(&mut self, item: Value) -> Result<(), Fault> {
        let open = self.handlers.iter().any(|it| matches!(it.kind, HandlerKind::Region { .. }));
        if open {
            return Err(Fault::runtime("cannot yield inside of scope, deadline or mutex"));
        }
        if let Some(pull) = self.pulls.pop() {
            let paused = self.switch(pull.context);
            pull.source.pause(paused);
            self.deliver(pull.goal, Some(item));
        }
        Ok(())
    }

    /// The body of the running generator is over; its puller goes on. False when no generator is running.
    pub(crate) fn end_generator(&mut self) -> bool {
        let Some(goal) = self.leave_generator() else { return false };
        self.deliver(goal, None);
        true
    }

    /// A fault left the running generator: it goes on in the puller. Gives it back when no generator is running.
    pub(crate) fn fail_generator(&mut self, fault: Fault) -> Result<Flow, Fault> {
        if self.leave_generator().is_none() {
            return Err(fault);
        }
        Ok(self.throw(fault))
    }

    fn leave_generator(&mut self) -> Option<Goal> {
        let pull = self.pulls.pop()?;
        drop(self.switch(pull.context));
        drop(pull.source);
        Some(pull.goal)
    }

    /// Cleanups that are running in pullers shield what they pull.
    pub(crate) fn pullers_shield(&self) -> bool {
        self.pulls.iter().any(|it| it.context.shield > 0)
    }
}
