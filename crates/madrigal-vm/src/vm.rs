//! The state of a task's interpreter, and how it is started, stepped, suspended and resumed.
//! Not here: the loop (`interpreter.rs`), calls (`call.rs`), ways out (`unwind.rs`).

use crate::effect::{Region, Resume, Step};
use crate::fault::Fault;
use crate::generator::{Pull, next_dict};
use crate::program::Program;
use crate::received::Received;
use crate::stack::{Frame, Stack};
use crate::unwind::{Completion, Flow, Handler, HandlerKind};
use crate::value::{Closure, Handle, Str, Value};
use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

/// Methods of structs, by struct name and method name.
pub(crate) type Impls = HashMap<Str, HashMap<Str, Value>>;

/// How many script frames a task may have by default.
pub const DEPTH_MAX: usize = 10_000;

/// The interpreter of one task.
pub struct Vm {
    pub(crate) shared: Arc<Shared>,
    pub(crate) stack: Stack,
    pub(crate) frames: Vec<Frame>,
    pub(crate) handlers: Vec<Handler>,
    /// What the running cleanups interrupted, innermost last.
    pub(crate) pending: Vec<Completion>,
    pub(crate) waiting: Waiting,
    /// A fault to throw when the loop goes on.
    pub(crate) incoming: Option<Fault>,
    pub(crate) fuel: i64,
    /// Number of running cleanups and catches of cancellations: while not zero, cancellation waits.
    pub(crate) shield: u32,
    /// Made when the program first receives an error that has others attached.
    pub(crate) received: Option<Received>,
    /// Pulls of generators under way, innermost last.
    pub(crate) pulls: Vec<Pull>,
    /// Loops over streams that have to be closed when the loop is left, innermost last.
    pub(crate) streams: Vec<OpenStream>,
}

/// A loop over a stream.
#[derive(Debug)]
pub(crate) struct OpenStream {
    /// Number of frames, its own included.
    pub frame: u32,
    /// Number of handlers outside of the loop.
    pub handlers: u32,
    /// First register of the loop.
    pub iter: u16,
    pub source: Handle,
}

/// A snapshot of a task that child tasks start from: module state and methods. Cheap to clone.
#[derive(Clone)]
pub struct Seed(Arc<Shared>);

/// What a task has in common with the task that created it, until one of them writes: one reference count for all.
#[derive(Clone)]
pub(crate) struct Shared {
    pub program: Arc<Program>,
    /// State of imported modules by module.
    pub state: Vec<Arc<Vec<Value>>>,
    pub impls: Arc<Impls>,
    pub depth_max: usize,
}

impl Seed {
    /// A task that will call `entry`.
    pub fn task(&self, entry: Closure, args: &[Value]) -> Vm {
        Vm::start(self.0.clone(), entry, args)
    }
}

/// What `resume` completes.
#[derive(Debug)]
pub(crate) enum Waiting {
    Nothing,
    /// A value for this absolute stack slot.
    Value {
        slot: usize,
    },
    /// The next item for `iter + 2` (absolute slot), or a jump at the end.
    Next {
        slot: usize,
        to: u32,
    },
    /// What `.next()` of a stream gives.
    NextDict {
        slot: usize,
    },
    /// Index and value for two slots.
    Select {
        slot: usize,
    },
    /// A region being entered; its handle goes to `dst`.
    Enter {
        region: Region,
        dst: u16,
        to: u32,
    },
    /// A region being left by `completion`.
    Leave {
        dst: u16,
        to: u32,
        completion: Completion,
    },
}

impl Vm {
    /// A task that will call `entry`, with no state inherited.
    pub fn new(program: Arc<Program>, entry: Closure, args: &[Value]) -> Vm {
        let state = program.modules.iter().map(|it| Arc::new(vec![Value::Unset; it.state_len])).collect();
        let shared = Shared { program, state, impls: Arc::default(), depth_max: DEPTH_MAX };
        Vm::start(Arc::new(shared), entry, args)
    }

    /// What child tasks of this moment start from.
    pub fn seed(&self) -> Seed {
        Seed(self.shared.clone())
    }

    fn start(shared: Arc<Shared>, entry: Closure, args: &[Value]) -> Vm {
        let mut vm = Vm::blank(shared);
        vm.stack.reserve(1 + args.len().max(entry.proto().registers as usize));
        for (position, arg) in args.iter().enumerate() {
            *vm.stack.at(position + 1) = arg.clone();
        }
        let object = std::ptr::NonNull::from(entry.object());
        *vm.stack.at(0) = Value::Closure(entry);
        if let Err(fault) = vm.push_frame(object, 1, args.len()) {
            vm.incoming = Some(fault);
        }
        vm
    }

    /// A task that has nothing to run yet.
    pub(crate) fn empty(seed: Seed) -> Vm {
        Vm::blank(seed.0)
    }

    fn blank(shared: Arc<Shared>) -> Vm {
        Vm {
            shared,
            stack: Stack::default(),
            frames: Vec::with_capacity(1),
            handlers: Vec::new(),
            pending: Vec::new(),
            waiting: Waiting::Nothing,
            incoming: None,
            fuel: 0,
            shield: 0,
            received: None,
            pulls: Vec::new(),
            streams: Vec::new(),
        }
    }

    /// The program it runs.
    pub fn program(&self) -> &Arc<Program> {
        &self.shared.program
    }

    /// Limits the number of script frames.
    pub fn set_depth_max(&mut self, frames: usize) {
        Arc::make_mut(&mut self.shared).depth_max = frames.max(1);
    }

    /// Whether a cleanup or a catch of a cancellation is running, during which cancellation waits.
    pub fn is_shielded(&self) -> bool {
        self.shield > 0 || self.pullers_shield()
    }

    /// While shielded: how many regions were open when the outermost cleanup or catch of a cancellation began.
    pub fn regions_outside_shield(&self) -> Option<usize> {
        let pulled = self.pulls.iter().flat_map(|it| it.handlers());
        let mut regions = 0;
        for handler in pulled.chain(self.handlers.iter()) {
            match &handler.kind {
                HandlerKind::Region { .. } => regions += 1,
                HandlerKind::Running { .. } | HandlerKind::Catching { shields: true, .. } => return Some(regions),
                _ => {}
            }
        }
        None
    }

    /// Module index and span of what is running or waiting, innermost script frame first.
    pub fn site(&self) -> Option<(u32, (u32, u32))> {
        self.frames.iter().rev().find_map(|frame| {
            let proto = frame.proto();
            let at = (frame.pc as usize).saturating_sub(1);
            (!self.shared.program.is_internal(proto.module))
                .then(|| (proto.module, proto.spans.get(at).copied().unwrap_or_default()))
        })
    }

    /// Goes on after `Suspended`: the next `step` continues with this.
    pub fn resume(&mut self, with: Resume) {
        let waiting = std::mem::replace(&mut self.waiting, Waiting::Nothing);
        match (waiting, with) {
            (Waiting::Value { slot }, Resume::Value(value)) => *self.stack.at(slot) = value,
            (Waiting::Next { slot: _, to }, Resume::Value(Value::Unset)) => self.jump(to),
            (Waiting::Next { slot, .. }, Resume::Value(value)) => *self.stack.at(slot) = value,
            (Waiting::NextDict { slot }, Resume::Value(value)) => {
                let item = (!matches!(value, Value::Unset)).then_some(value);
                *self.stack.at(slot) = next_dict(item);
            }
            (Waiting::Select { slot }, Resume::Value(Value::Pair(chosen))) => {
                *self.stack.at(slot) = chosen.first().clone();
                *self.stack.at(slot + 1) = chosen.second().clone();
            }
            (Waiting::Enter { region, dst, to }, Resume::Value(handle)) => {
                self.set_register(dst, handle);
                self.push_handler(HandlerKind::Region { region, dst, to });
            }
            (Waiting::Leave { completion, .. }, Resume::Left | Resume::Value(_)) => self.pending.push(completion),
            (Waiting::Leave { mut completion, .. }, Resume::Closed(failures)) => {
                if let Completion::Throw(fault) = &mut completion {
                    failures.into_iter().for_each(|it| fault.suppress(it));
                }
                self.pending.push(completion);
            }
            (Waiting::Leave { dst, to, .. }, Resume::Absorbed(value)) => {
                self.set_register(dst, value);
                self.jump(to);
            }
            (_, Resume::Fault(fault)) => self.incoming = Some(fault),
            (_, Resume::Value(_) | Resume::Left | Resume::Absorbed(_) | Resume::Closed(_)) => {}
        }
    }

    /// Whether a failure is on its way out past what is being left.
    pub fn is_failing(&self) -> bool {
        matches!(self.waiting, Waiting::Leave { completion: Completion::Throw(_), .. })
    }

    /// Makes the next `step` throw, whatever the task was doing. For a wait that is to be given up and for running code.
    pub fn interrupt(&mut self, fault: Fault) {
        self.waiting = Waiting::Nothing;
        // A way out that was about to go on ends here; a failure stays the failure.
        self.incoming = match self.resumed_leave() {
            Some(Completion::Throw(first)) => Some(first),
            _ => Some(fault),
        };
    }

    /// How many arguments the running function was passed.
    pub(crate) fn passed(&self) -> u32 {
        self.frames.last().map_or(0, |it| it.passed)
    }

    fn set_register(&mut self, register: u16, value: Value) {
        let base = self.frames.last().expect("code runs in a frame").base as usize;
        *self.stack.at(base + register as usize) = value;
    }

    /// What is left of the budget of the last `step` that was suspended.
    pub fn fuel_left(&self) -> u32 {
        u32::try_from(self.fuel).unwrap_or(0)
    }

    /// Runs until the program ends, waits or has used up `budget` instructions (roughly).
    pub fn step(&mut self, host: &mut (dyn Any + Send), budget: u32) -> Step {
        self.fuel = i64::from(budget);
        if let Some(fault) = self.incoming.take() {
            if let Flow::Stop(step) = self.throw(fault) {
                return step;
            }
        } else if let Some(resumed) = self.resumed_leave()
            && let Flow::Stop(step) = self.complete(resumed)
        {
            return step;
        }
        self.run(host)
    }

    /// The way out that `resume` allowed to go on past a region: one more than there are running cleanups.
    fn resumed_leave(&mut self) -> Option<Completion> {
        if self.pending.is_empty() {
            return None;
        }
        let running = self.handlers.iter().filter(|it| matches!(it.kind, HandlerKind::Running { .. })).count();
        if self.pending.len() > running { self.pending.pop() } else { None }
    }
}
