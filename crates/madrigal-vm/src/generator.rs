//! Generators, streams and iterators: functions whose body runs on demand. That of a generator or an iterator runs in
//! the task that pulls it: a pull puts the generator's stack in the place of the puller's until the body yields or
//! ends; no interpreter nests. The body of a stream is a task of its own, which the outside world runs.
//! Invariant: a generator that is `Running` has its object on [`Vm::pulls`], innermost last.

use crate::fault::Fault;
use crate::stack::{Frame, Stack};
use crate::unwind::{Completion, Flow, Handler, HandlerKind};
use crate::value::{ClosureObject, Dict, Handle, HandleObject, Value};
use crate::vm::{OpenStream, Seed, Vm, Waiting};
use std::any::Any;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex};

/// What a function with `yield` or `emit` gives when called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    source: Handle,
    goal: Goal,
}

impl Pull {
    /// Handlers of the puller.
    pub fn handlers(&self) -> &[Handler] {
        &self.context.handlers
    }
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
}

enum State {
    /// Not started, or at a yield.
    Ready(Box<Context>),
    Running,
    /// A stream whose body is a task; what the outside world keeps of it.
    Task(Arc<dyn Any + Send + Sync>),
    Done,
}

/// The body of a stream that was not pulled yet.
pub struct StreamBody(Box<Context>);

impl StreamBody {
    /// The task that runs it.
    pub fn task(self, seed: &Seed) -> Vm {
        let mut vm = Vm::empty(seed.clone());
        drop(vm.switch(*self.0));
        vm.prepare_first_frame();
        vm
    }
}

impl GeneratorObject {
    /// A generator about to run `closure` with these arguments.
    pub fn handle(
        kind: GeneratorKind,
        closure: Value,
        object: NonNull<ClosureObject>,
        arguments: Vec<Value>,
    ) -> Handle {
        let passed = arguments.len();
        let mut stack = Stack::default();
        stack.reserve(1 + passed);
        *stack.at(0) = closure;
        for (position, argument) in arguments.into_iter().enumerate() {
            *stack.at(1 + position) = argument;
        }
        let frame = Frame { closure: object, base: 1, pc: 0, passed: passed as u32 };
        let context = Context {
            stack,
            frames: vec![frame],
            handlers: Vec::new(),
            pending: Vec::new(),
            waiting: Waiting::Nothing,
            shield: 0,
            streams: Vec::new(),
        };
        Handle::new(GeneratorObject { kind, state: Mutex::new(State::Ready(Box::new(context))) })
    }

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
        if let State::Ready(context) = std::mem::replace(&mut *state, State::Running) {
            *state = State::Task(Arc::new(start(StreamBody(context))));
        }
    }

    /// What runs this stream; none before it was started and once it has ended.
    pub fn task<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        match &*self.state() {
            State::Task(task) => task.clone().downcast().ok(),
            State::Ready(_) | State::Running | State::Done => None,
        }
    }

    /// Ends this stream; what ran it, if it was started.
    pub fn end_task<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let ended = std::mem::replace(&mut *self.state(), State::Done);
        match ended {
            State::Task(task) => task.downcast().ok(),
            State::Ready(_) | State::Running | State::Done => None,
        }
    }

    /// Ends it, wherever it stands.
    pub fn end(&self) {
        let ended = std::mem::replace(&mut *self.state(), State::Done);
        drop(ended);
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

/// Most generators that may pull one another.
const PULLS_MAX: usize = 1000;

impl Vm {
    /// Starts a pull. The running frame must have been saved; afterwards the frame on top may be another.
    pub(crate) fn pull(&mut self, source: &Handle, goal: Goal) -> Result<(), Fault> {
        let object = source.downcast::<GeneratorObject>().expect("only generators are pulled");
        if self.pulls.len() >= PULLS_MAX {
            return Err(Fault::plain("Stack overflow: too many nested calls"));
        }
        let state = {
            let mut state = object.state();
            match *state {
                State::Done => State::Done,
                _ => std::mem::replace(&mut *state, State::Running),
            }
        };
        match state {
            State::Done => self.deliver(goal, None),
            State::Running | State::Task(_) => {
                return Err(Fault::runtime(format!("{} is already running", object.type_name())));
            }
            State::Ready(context) => {
                let puller = self.switch(*context);
                self.pulls.push(Pull { context: puller, source: source.clone(), goal });
                let first = self.frames.last().is_some_and(|it| it.pc == 0) && self.frames.len() == 1;
                if first {
                    self.prepare_first_frame();
                }
            }
        }
        Ok(())
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
        let Some(pull) = self.pulls.pop() else { return Ok(()) };
        let paused = self.switch(pull.context);
        if let Some(object) = pull.source.downcast::<GeneratorObject>() {
            let mut state = object.state();
            if matches!(*state, State::Running) {
                *state = State::Ready(Box::new(paused));
            }
        }
        self.deliver(pull.goal, Some(item));
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
        if let Some(object) = pull.source.downcast::<GeneratorObject>() {
            object.end();
        }
        Some(pull.goal)
    }

    /// Cleanups that are running in pullers shield what they pull.
    pub(crate) fn pullers_shield(&self) -> bool {
        self.pulls.iter().any(|it| it.context.shield > 0)
    }
}
