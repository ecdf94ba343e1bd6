//! Ways out of code that does not end normally: throws, returns and jumps through cleanups, catches and regions.
//! Invariant: handlers are ordered by frame, innermost last; every way out pops them one by one from the end.

use crate::bytecode::Instruction;
use crate::effect::{Effect, Leaving, Region, Step};
use crate::fault::{Fault, Frame as Trail};
use crate::program::Program;
use crate::stack::Frame;
use crate::value::{Handle, Value};
use crate::vm::{OpenStream, Vm, Waiting};

/// Something between a way out and its end.
#[derive(Debug)]
pub(crate) struct Handler {
    /// Number of frames when it was pushed.
    pub frame: u32,
    pub kind: HandlerKind,
}

#[derive(Debug)]
pub(crate) enum HandlerKind {
    /// Faults continue at `to`. With `retry` cancellations pass.
    Catch { retry: bool, dst: u16, to: u32 },
    /// Every way out passes through `to`.
    Cleanup { replaces: bool, to: u32 },
    /// A cleanup is running; what it interrupted is on `Vm::pending`.
    Running { replaces: bool },
    /// A catch body is running for this fault; `shields` when that is a cancellation.
    Catching { fault: Fault, shields: bool },
    /// A region of the outside world is open.
    Region { region: Region, dst: u16, to: u32 },
}

/// A way out on its way.
#[derive(Debug)]
pub(crate) enum Completion {
    Throw(Fault),
    Return(Value),
    /// Continue at `to` once only `depth` handlers are left. `ends` when it is the normal end of a block.
    Jump {
        to: u32,
        depth: u32,
        ends: bool,
    },
}

/// How the loop goes on after a way out was taken.
pub(crate) enum Flow {
    /// In the frame on top.
    Continue,
    Stop(Step),
}

impl Vm {
    /// Throws out of the running instruction.
    pub(crate) fn throw(&mut self, mut fault: Fault) -> Flow {
        if fault.frames().is_empty()
            && let Some(frame) = self.frames.last()
        {
            note(&mut fault, frame, &self.shared.program);
        }
        self.complete(Completion::Throw(fault))
    }

    /// What `throw value` throws. A catch body that throws on a cancellation or an outer deadline which it caught does
    /// not make a failure of it; the library throws on whatever it caught unchanged.
    #[cold]
    pub(crate) fn thrown(&self, value: Value) -> Fault {
        let catching = self.handlers.iter().rev().find_map(|it| match &it.kind {
            HandlerKind::Catching { fault, .. } => Some(fault),
            _ => None,
        });
        let in_library = || {
            let frame = self.frames.last();
            frame.is_some_and(|it| self.shared.program.is_internal(it.proto().module))
        };
        match catching {
            Some(fault) if (fault.passes_retry() || in_library()) && fault.caught() == value => fault.clone(),
            _ => Fault::thrown(value),
        }
    }

    /// First handler of the running frame.
    pub(crate) fn first_handler(&self) -> usize {
        self.handlers.partition_point(|it| (it.frame as usize) < self.frames.len())
    }

    /// Follows a way out to the next piece of code that wants it.
    pub(crate) fn complete(&mut self, mut completion: Completion) -> Flow {
        loop {
            let floor = match &completion {
                Completion::Throw(_) => 0,
                Completion::Return(_) => self.first_handler(),
                Completion::Jump { depth, .. } => *depth as usize,
            };
            if let Some(open) = self.streams.last()
                && self.leaves_loop(&completion, open)
            {
                return self.close_stream(completion);
            }
            if self.handlers.len() <= floor {
                return self.arrive(completion);
            }
            let handler = self.handlers.pop().expect("longer than the floor");
            if let Completion::Throw(fault) = &mut completion {
                self.drop_frames(handler.frame as usize, fault);
            }
            match handler.kind {
                HandlerKind::Catch { retry, dst, to } => match completion {
                    Completion::Throw(fault) if !(retry && fault.passes_retry()) => {
                        self.enter_catch(fault, dst, to);
                        return Flow::Continue;
                    }
                    other => completion = other,
                },
                HandlerKind::Cleanup { replaces, to } => {
                    self.pending.push(completion);
                    self.push_handler(HandlerKind::Running { replaces });
                    self.shield += 1;
                    self.jump(to);
                    return Flow::Continue;
                }
                HandlerKind::Running { replaces } => {
                    self.shield -= 1;
                    completion = combine(self.pending.pop(), completion, replaces);
                }
                HandlerKind::Catching { shields, .. } => self.shield -= u32::from(shields),
                HandlerKind::Region { region, dst, to } => return self.leave_region(region, dst, to, completion),
            }
        }
    }

    /// Whether a way out leaves this loop before it meets another handler.
    fn leaves_loop(&self, completion: &Completion, open: &OpenStream) -> bool {
        if self.handlers.len() > open.handlers as usize {
            return false;
        }
        match completion {
            Completion::Throw(_) => true,
            Completion::Return(_) => open.frame as usize == self.frames.len(),
            Completion::Jump { depth, .. } => *depth < open.handlers,
        }
    }

    fn close_stream(&mut self, completion: Completion) -> Flow {
        let open = self.streams.pop().expect("seen by the caller");
        self.waiting = Waiting::Leave { dst: 0, to: 0, completion };
        Flow::Stop(Step::Suspended(Effect::Close { source: Value::Handle(open.source) }))
    }

    /// A loop begins: what it goes over may have to be closed when it is left.
    #[cold]
    pub(crate) fn open_stream(&mut self, iter: u16, source: Handle) {
        let (frame, handlers) = (self.frames.len() as u32, self.handlers.len() as u32);
        self.streams.push(OpenStream { frame, handlers, iter, source });
    }

    /// The stream of a loop that ends normally or by `break`.
    pub(crate) fn stream_of_loop(&mut self, iter: u16) -> Option<Handle> {
        let open = self.streams.last()?;
        let own = open.frame as usize == self.frames.len() && open.iter == iter;
        if own { self.streams.pop().map(|it| it.source) } else { None }
    }

    /// Nothing is in the way any more.
    fn arrive(&mut self, completion: Completion) -> Flow {
        match completion {
            Completion::Jump { to, .. } => {
                self.jump(to);
                Flow::Continue
            }
            Completion::Return(value) => match self.pop_frame(value) {
                Some(_) if self.end_generator() => Flow::Continue,
                Some(value) => Flow::Stop(Step::Done(value)),
                None => Flow::Continue,
            },
            Completion::Throw(mut fault) => {
                self.drop_frames(0, &mut fault);
                match self.fail_generator(fault) {
                    Ok(flow) => flow,
                    Err(fault) => Flow::Stop(Step::Faulted(fault)),
                }
            }
        }
    }

    fn enter_catch(&mut self, fault: Fault, dst: u16, to: u32) {
        if !fault.suppressed().is_empty() || self.received.is_some() {
            self.received.get_or_insert_default().note(&fault);
        }
        let base = self.frames.last().expect("a handler belongs to a frame").base as usize;
        *self.stack.at(base + dst as usize) = fault.caught();
        let shields = fault.is_cancelled();
        self.shield += u32::from(shields);
        self.push_handler(HandlerKind::Catching { fault, shields });
        self.jump(to);
    }

    fn leave_region(&mut self, region: Region, dst: u16, to: u32, completion: Completion) -> Flow {
        let outcome = match &completion {
            Completion::Throw(fault) => Leaving::Failed(fault.clone()),
            Completion::Jump { ends: true, .. } => Leaving::Completed,
            Completion::Return(_) | Completion::Jump { .. } => Leaving::Jumped,
        };
        self.waiting = Waiting::Leave { dst, to, completion };
        Flow::Stop(Step::Suspended(Effect::Leave { region, outcome }))
    }

    pub(crate) fn push_handler(&mut self, kind: HandlerKind) {
        self.handlers.push(Handler { frame: self.frames.len() as u32, kind });
    }

    pub(crate) fn jump(&mut self, to: u32) {
        self.frames.last_mut().expect("code runs in a frame").pc = to;
    }

    /// Ends the running frame with a result; gives it back when it was the last one.
    pub(crate) fn pop_frame(&mut self, value: Value) -> Option<Value> {
        match self.end_frame() {
            // Overwriting the slot may free the function that has just ended.
            Some(slot) => {
                *self.stack.at(slot) = value;
                None
            }
            None => Some(value),
        }
    }

    /// Ends the running frame; the slot for its result, or none when it was the last one.
    #[inline]
    pub(crate) fn end_frame(&mut self) -> Option<usize> {
        let frame = self.frames.last().expect("code runs in a frame");
        let (base, registers) = (frame.base as usize, frame.proto().registers as usize);
        self.frames.pop();
        self.stack.clear(base, base + registers);
        if self.frames.is_empty() {
            self.stack.clear(base - 1, base);
            return None;
        }
        Some(base - 1)
    }

    /// Drops frames until `keep` are left, noting where each was called.
    fn drop_frames(&mut self, keep: usize, fault: &mut Fault) {
        while self.frames.len() > keep {
            self.pop_frame(Value::Nil);
            if let Some(caller) = self.frames.last() {
                note(fault, caller, &self.shared.program);
            }
        }
    }
}

impl Fault {
    /// Whether `retry` lets it pass: the task is being cancelled, or an outer deadline passed.
    fn passes_retry(&self) -> bool {
        matches!(self.kind(), crate::fault::FaultKind::Cancelled { .. } | crate::fault::FaultKind::Deadline)
    }
}

/// What remains when a cleanup itself ends abruptly.
fn combine(old: Option<Completion>, new: Completion, replaces: bool) -> Completion {
    match (old, new) {
        (Some(Completion::Throw(mut first)), Completion::Throw(later)) if !replaces => {
            first.suppress(later);
            Completion::Throw(first)
        }
        (Some(Completion::Throw(first)), Completion::Throw(mut later)) => {
            if !first.is_cancelled() {
                later.suppress(first);
            }
            Completion::Throw(later)
        }
        // What a `defer` returns changes nothing.
        (Some(old), Completion::Return(_) | Completion::Jump { .. }) if !replaces => old,
        (_, new) => new,
    }
}

/// Adds the place where `frame` stands to the trail; the library leaves none.
fn note(fault: &mut Fault, frame: &Frame, program: &Program) {
    let proto = frame.proto();
    if program.is_internal(proto.module) {
        return;
    }
    let at = (frame.pc as usize).saturating_sub(1);
    let span = proto.spans.get(at).copied().unwrap_or_default();
    debug_assert!(at < proto.code.len() || matches!(proto.code.last(), Some(Instruction::ReturnNil {})));
    fault.pass(Trail { function: proto.name.clone(), module: proto.module, span });
}
