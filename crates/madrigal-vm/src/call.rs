//! Calls of every kind: script functions push a frame, builtins run at once or ask to wait.

use crate::builtin::{Args, Builtin, Cx, Method, Outcome};
use crate::bytecode::Proto;
use crate::effect::Effect;
use crate::fault::Fault;
use crate::generator::{GeneratorObject, Goal};
use crate::interpreter::Called;
use crate::stack::Frame;
use crate::unwind::{Flow, HandlerKind};
use crate::value::{ClosureObject, Handle, HandleObject, List, Str, Value};
use crate::vm::{Vm, Waiting};
use std::any::Any;
use std::ptr::NonNull;
use std::sync::OnceLock;

impl Vm {
    /// Enters a function whose arguments stand from `base` on.
    pub(crate) fn push_frame(
        &mut self,
        closure: NonNull<ClosureObject>,
        base: usize,
        passed: usize,
    ) -> Result<Called, Fault> {
        if self.frames.len() >= self.shared.depth_max {
            return Err(Fault::plain("Stack overflow: too many nested calls"));
        }
        let frame = Frame { closure, base: base as u32, pc: 0, passed: passed as u32 };
        let proto = frame.proto();
        self.stack.reserve(base + (proto.registers as usize).max(passed));
        let params = proto.params as usize;
        if passed != params || proto.rest {
            self.fit_arguments(base, passed, params, proto.rest);
        }
        if !proto.copied_captures.is_empty() {
            self.copy_captures(&frame);
        }
        self.frames.push(frame);
        Ok(Called::Entered)
    }

    /// As `push_frame`, at once for a call that needs nothing but a frame.
    #[inline(always)]
    pub(crate) fn push_plain_frame(
        &mut self,
        closure: NonNull<ClosureObject>,
        base: usize,
        passed: u16,
    ) -> Result<Called, Fault> {
        let frame = Frame { closure, base: base as u32, pc: 0, passed: u32::from(passed) };
        let proto = frame.proto();
        let fits = self.stack.holds(base + proto.registers as usize) && self.frames.len() < self.shared.depth_max;
        if proto.plain_params == u32::from(passed) && fits {
            self.frames.push(frame);
            return Ok(Called::Entered);
        }
        self.push_frame(closure, base, passed as usize)
    }

    fn copy_captures(&mut self, frame: &Frame) {
        let w = self.stack.window(frame.base as usize);
        for &(capture, register) in &frame.proto().copied_captures {
            w.set(register, frame.closure().captures()[capture as usize].clone());
        }
    }

    /// Missing arguments are nil, surplus ones go to the rest parameter or away.
    #[cold]
    fn fit_arguments(&mut self, base: usize, passed: usize, params: usize, rest: bool) {
        for missing in passed..params {
            *self.stack.at(base + missing) = Value::Nil;
        }
        let surplus: Vec<Value> = if passed > params {
            self.stack.range(base + params, base + passed).iter_mut().map(Value::take).collect()
        } else {
            Vec::new()
        };
        if rest {
            *self.stack.at(base + params) = Value::list(surplus);
        }
    }

    /// Calls register `at` of the running frame.
    pub(crate) fn call(
        &mut self,
        host: &mut (dyn Any + Send),
        base: usize,
        at: u16,
        count: usize,
    ) -> Result<Called, Fault> {
        self.call_at(host, base + at as usize, count)
    }

    /// Calls the value in the absolute slot `slot`.
    pub(crate) fn call_at(&mut self, host: &mut (dyn Any + Send), slot: usize, count: usize) -> Result<Called, Fault> {
        match self.stack.at(slot) {
            Value::Closure(callee) => {
                let object = NonNull::from(callee.object());
                self.push_frame(object, slot + 1, count)
            }
            Value::Builtin(builtin) => {
                let builtin = builtin.clone();
                self.call_builtin(host, &builtin, slot, count)
            }
            other => Err(Fault::type_error(format!("Cannot call {other}"))),
        }
    }

    /// Runs a builtin whose arguments stand after `slot`; the result replaces `slot`.
    pub(crate) fn call_builtin(
        &mut self,
        host: &mut (dyn Any + Send),
        builtin: &Builtin,
        slot: usize,
        count: usize,
    ) -> Result<Called, Fault> {
        let frame = self.frames.last().expect("code runs in a frame");
        let at = (frame.pc as usize).saturating_sub(1);
        let site = (frame.proto().module, frame.proto().spans.get(at).copied().unwrap_or_default());
        let mut cx = Cx { host, program: &self.shared.program, received: &mut self.received, site };
        let arguments = self.stack.range(slot + 1, slot + 1 + count);
        let outcome = (builtin.run)(&mut cx, Args::new(arguments));
        for argument in arguments {
            *argument = Value::Nil;
        }
        match outcome? {
            Outcome::Value(value) => {
                *self.stack.at(slot) = value;
                Ok(Called::Done)
            }
            Outcome::Effect(effect) => {
                self.waiting = Waiting::Value { slot };
                Ok(Called::Waits(effect))
            }
        }
    }

    /// Calls a method: receiver in `at + 1`, arguments after it.
    pub(crate) fn call_method(
        &mut self,
        host: &mut (dyn Any + Send),
        base: usize,
        at: u16,
        method: u16,
        count: usize,
    ) -> Result<Called, Fault> {
        let slot = base + at as usize;
        let (name, set) = &self.running().methods[method as usize];
        let receiver = &*self.stack.at(slot + 1);
        if let Value::Handle(source) = receiver
            && GeneratorObject::is_pulled(source)
            && name.as_str() == "next"
        {
            let source = source.clone();
            return self.pull(&source, Goal::Next { slot });
        }
        if let Value::Handle(source) = receiver
            && source.is_iterable()
            && source.type_name() == "stream"
            && name.as_str() == "next"
        {
            let source = Value::Handle(source.clone());
            self.waiting = Waiting::NextDict { slot };
            return Ok(Called::Waits(Effect::Next { source }));
        }
        match set.of(receiver) {
            Some(Method::Native(builtin)) => self.call_builtin(host, builtin, slot, count + 1),
            Some(Method::Script(closure)) => {
                *self.stack.at(slot) = Value::Closure(closure.clone());
                self.call_at(host, slot, count + 1)
            }
            None => self.call_own_method(host, slot, name, count),
        }
    }

    /// Methods of structs, callables kept in fields and entries, and nil for what does not exist.
    fn call_own_method(
        &mut self,
        host: &mut (dyn Any + Send),
        slot: usize,
        name: &Str,
        count: usize,
    ) -> Result<Called, Fault> {
        let receiver = &*self.stack.at(slot + 1);
        let own = match receiver {
            Value::Struct(it) => self.shared.impls.get(it.name()).and_then(|methods| methods.get(name)).cloned(),
            _ => None,
        };
        if let Some(function) = own {
            *self.stack.at(slot) = function;
            return self.call_at(host, slot, count + 1);
        }
        let receiver = &*self.stack.at(slot + 1);
        let member = match receiver {
            Value::Struct(it) => it.get(name).cloned(),
            Value::Dict(entries) => entries.get(name).cloned(),
            _ => None,
        };
        match member {
            Some(callee) if callee.is_callable() => {
                *self.stack.at(slot) = callee;
                self.stack.range(slot + 1, slot + 2 + count).rotate_left(1);
                *self.stack.at(slot + 1 + count) = Value::Nil;
                self.call_at(host, slot, count)
            }
            _ => {
                for used in self.stack.range(slot, slot + 2 + count) {
                    *used = Value::Nil;
                }
                Ok(Called::Done)
            }
        }
    }

    /// `return callee(arguments)`: the running frame is replaced when the callee is a script function.
    pub(crate) fn tail_call(
        &mut self,
        host: &mut (dyn Any + Send),
        base: usize,
        at: u16,
        count: usize,
    ) -> Result<Called, Fault> {
        let slot = base + at as usize;
        let in_stream_loop = self.streams.last().is_some_and(|it| it.frame as usize == self.frames.len());
        let replaces = !in_stream_loop && matches!(self.stack.at(slot), Value::Closure(_));
        if !replaces {
            // Gives a value at once: the `Return` that follows hands it on.
            return self.call_at(host, slot, count);
        }
        let callee = self.stack.at(slot).take();
        for position in 0..count {
            let argument = self.stack.at(slot + 1 + position).take();
            *self.stack.at(base + position) = argument;
        }
        self.stack.clear(base + count, base + (self.running().registers as usize).max(count));
        self.frames.pop();
        // Last use of the old function was above: its slot now keeps the new one alive.
        *self.stack.at(base - 1) = callee;
        self.call_at(host, base - 1, count)
    }

    /// Unpacks the list in an absolute slot into arguments from that slot on.
    pub(crate) fn spread(&mut self, slot: usize) -> Result<usize, Fault> {
        let items = match self.stack.at(slot).take() {
            Value::List(items) => List::into_vec(items),
            other => return Err(crate::ops::places::not_a_list(&other)),
        };
        let count = items.len();
        if count > ARGUMENTS_MAX {
            let text = format!("a call takes at most {ARGUMENTS_MAX} arguments, got {count}");
            return Err(Fault::categorised("budget_exceeded", text));
        }
        self.stack.reserve(slot + count + 1);
        for (position, item) in items.into_iter().enumerate() {
            *self.stack.at(slot + position) = item;
        }
        Ok(count)
    }

    /// The code of the running function.
    fn running<'p>(&self) -> &'p Proto {
        self.frames.last().expect("code runs in a frame").proto()
    }

    /// The running function as a value: it stands below its registers, as code that asks for it is entered by value.
    pub(crate) fn itself(&mut self, base: usize) -> Value {
        self.stack.at(base - 1).clone()
    }

    /// A top-level function.
    #[inline]
    pub(crate) fn function(&self, function: u16, role: &str) -> Result<&Value, Fault> {
        let slot = &self.shared.program.functions[function as usize];
        slot.value.get().ok_or_else(|| Fault::plain(format!("Undefined {role}: {}", slot.name)))
    }

    /// The fault of a call by name whose binding is not callable: the name is the text of the call.
    #[cold]
    pub(crate) fn not_callable(&self) -> Fault {
        Fault::plain(format!("Undefined builtin: {}", self.site_text()))
    }

    /// The text that the running instruction stands for.
    fn site_text(&self) -> &str {
        let text = self.site().and_then(|(module, (start, end))| {
            let source = &self.shared.program.modules.get(module as usize)?.source;
            source.text.get(start as usize..end as usize)
        });
        text.unwrap_or("?")
    }

    /// The general case of `CallFunction`.
    #[cold]
    pub(crate) fn call_slot(
        &mut self,
        host: &mut (dyn Any + Send),
        base: usize,
        at: u16,
        function: u16,
        count: usize,
    ) -> Result<Called, Fault> {
        let callee = self.function(function, "builtin")?.clone();
        let slot = base + at as usize;
        *self.stack.at(slot) = callee;
        self.call_at(host, slot, count)
    }

    /// A variable of an imported module.
    pub(crate) fn load_state(&self, module: u32, slot: u16) -> Result<Value, Fault> {
        match &self.shared.state[module as usize][slot as usize] {
            Value::Unset => Err(Fault::plain(format!("Undefined variable: {}", self.site_text()))),
            value => Ok(value.clone()),
        }
    }

    /// Throws on what the running catch body received.
    pub(crate) fn throw_on(&mut self) -> Flow {
        match self.handlers.pop().map(|it| it.kind) {
            Some(HandlerKind::Catching { fault, shields }) => {
                self.shield -= u32::from(shields);
                self.throw(fault)
            }
            _ => Flow::Continue,
        }
    }

    /// The catch body is done.
    pub(crate) fn end_catch(&mut self) {
        if let Some(HandlerKind::Catching { shields, .. }) = self.handlers.pop().map(|it| it.kind) {
            self.shield -= u32::from(shields);
        }
    }

    /// The cleanup is done: what it interrupted goes on.
    pub(crate) fn end_cleanup(&mut self) -> Flow {
        self.handlers.pop();
        self.shield -= 1;
        match self.pending.pop() {
            Some(interrupted) => self.complete(interrupted),
            None => Flow::Continue,
        }
    }
}

/// Most arguments that a spread may pass.
const ARGUMENTS_MAX: usize = 1 << 22;

/// A late-bound function of a local scope, filled when its declaration runs.
struct Cell(OnceLock<Value>);

impl HandleObject for Cell {
    fn type_name(&self) -> &'static str {
        "cell"
    }
    fn display(&self) -> String {
        "<cell>".to_owned()
    }
    fn identity(&self) -> Option<u64> {
        None
    }
}

pub(crate) fn new_cell() -> Value {
    Value::Handle(Handle::new(Cell(OnceLock::new())))
}

pub(crate) fn set_cell(cell: &Value, value: &Value) {
    if let Value::Handle(handle) = cell
        && let Some(cell) = handle.downcast::<Cell>()
        && value.is_callable()
    {
        let _ = cell.0.set(value.clone());
    }
}

pub(crate) fn get_cell(cell: &Value) -> Option<Value> {
    match cell {
        Value::Handle(handle) => handle.downcast::<Cell>().and_then(|it| it.0.get()).cloned(),
        _ => None,
    }
}

/// The fault of reading an unknown name; the text with a suggestion is a runtime error.
pub(crate) fn undefined(text: &Value) -> Fault {
    let text = text.to_string();
    if text.contains("(did you mean") { Fault::runtime(text) } else { Fault::plain(text) }
}
