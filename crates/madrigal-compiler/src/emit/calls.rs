//! Calls by name, method calls, pipes, tail calls.

use super::expressions::Role;
use super::*;
use crate::hir::{Argument, Expr, ExprKind};
use madrigal_vm::bytecode::Instruction as I;

/// What a called name means.
enum Callee {
    Storage(Storage),
    Constructor(Arc<Shape>),
    Builtin(u16),
    /// A function of the prelude.
    Script(madrigal_vm::Closure),
    /// Declared in the file but not in scope here, or unknown in text without a file.
    Unknown,
}

impl Emitter<'_> {
    pub(super) fn method(&mut self, name: &str) -> u16 {
        let set = self.unit.builtins.method(name);
        self.state().builder.method(name, set)
    }

    /// A register at which a call window can start: `dst` itself when it is the last one.
    fn window(&mut self, dst: u16) -> u16 {
        if self.state().is_top(dst) { dst } else { self.state().allocate() }
    }

    fn callee(&mut self, name: &(Name, Span)) -> Callee {
        if let Some((place, _)) = self.resolve(&name.0) {
            return Callee::Storage(place);
        }
        if let Some(shape) = self.shape(&name.0) {
            return Callee::Constructor(shape);
        }
        let allowed = self.unit.library || !name.0.starts_with("__") || &*name.0 == crate::lower::DECLARE;
        if let Some(builtin) = self.unit.builtins.function(&name.0)
            && allowed
        {
            return Callee::Builtin(self.state().builder.builtin(builtin));
        }
        if let Some(function) = self.unit.builtins.script(&name.0) {
            return Callee::Script(function.clone());
        }
        if self.unit.check_calls && !self.declared.contains(&name.0) {
            self.unknown_target(name);
        }
        Callee::Unknown
    }

    /// The builtin that a call of this name means, if it means one.
    pub(super) fn callee_builtin(&mut self, name: &(Name, Span)) -> Option<u16> {
        match self.callee(name) {
            Callee::Builtin(builtin) => Some(builtin),
            _ => None,
        }
    }

    fn unknown_target(&mut self, name: &(Name, Span)) {
        let mut known: Vec<String> = self.declared.iter().map(|it| it.to_string()).collect();
        known.extend(self.unit.imported.keys().map(|it| it.to_string()));
        known.extend(self.unit.builtins.names().map(str::to_owned));
        let hint = crate::suggest::static_name(&name.0, known.iter().map(String::as_str))
            .map_or(String::new(), |it| format!(" — did you mean `{it}`?"));
        self.error(
            Code::UNKNOWN_CALL_TARGET,
            format!("call target `{}` is not defined or imported{hint}", name.0),
            name.1,
        );
    }

    pub(super) fn call(&mut self, name: &(Name, Span), arguments: &[Argument], dst: u16, span: Span) {
        let at = self.window(dst);
        let callee = self.callee(name);
        self.call_callee(callee, name, arguments, at, span);
        if at != dst {
            self.op(I::Take { dst, src: at }, span);
        }
    }

    fn call_callee(&mut self, callee: Callee, name: &(Name, Span), arguments: &[Argument], at: u16, span: Span) {
        let spread = arguments.iter().any(|it| it.spread);
        match callee {
            Callee::Storage(Storage::Function(function)) if !spread => {
                let count = self.arguments(arguments);
                self.op(I::CallFunction { at, function, count }, span);
            }
            Callee::Storage(place) => {
                self.read_callee(place, &name.0, at, name.1);
                if spread {
                    self.spread_arguments(arguments, span);
                    return self.op(I::CallSpread { at }, span);
                }
                let count = self.arguments(arguments);
                self.op(I::Call { at, count }, span);
            }
            Callee::Constructor(shape) => {
                let first = self.state().allocate();
                match arguments.first() {
                    Some(argument) => self.expr_to(&argument.value, first),
                    None => self.op(I::LoadNil { dst: first }, span),
                }
                let shape = self.state().builder.shape(&shape);
                self.op(I::StructFromDict { dst: at, src: first, shape }, span);
            }
            Callee::Builtin(builtin) if spread => {
                self.spread_arguments(arguments, span);
                self.op(I::CallBuiltinSpread { at, builtin }, span);
            }
            Callee::Builtin(builtin) => {
                let count = self.arguments(arguments);
                self.op(I::CallBuiltin { at, builtin, count }, span);
            }
            Callee::Script(function) => {
                let constant = self.state().builder.constant(madrigal_vm::Value::Closure(function));
                self.op(I::LoadConst { dst: at, constant }, name.1);
                if spread {
                    self.spread_arguments(arguments, span);
                    return self.op(I::CallSpread { at }, span);
                }
                let count = self.arguments(arguments);
                self.op(I::Call { at, count }, span);
            }
            Callee::Unknown => {
                let text = self.undefined_builtin_text(&name.0);
                self.op(I::UndefinedVariable { text }, span);
            }
        }
    }

    fn undefined_builtin_text(&mut self, name: &Name) -> u32 {
        let mut known: Vec<String> = self.slots.keys().map(|it| it.to_string()).collect();
        known.extend(self.unit.builtins.names().map(str::to_owned));
        let hint = crate::suggest::runtime_name(name, known.iter().map(String::as_str))
            .map_or(String::new(), |it| format!(" (did you mean `{it}`?)"));
        self.state().builder.constant(madrigal_vm::Value::from(format!("Undefined builtin: {name}{hint}")))
    }

    /// Arguments in the registers after the window's first.
    fn arguments(&mut self, arguments: &[Argument]) -> u16 {
        for argument in arguments {
            let register = self.state().allocate();
            self.expr_to(&argument.value, register);
        }
        arguments.len() as u16
    }

    /// Arguments with spreads: one list in the next register.
    fn spread_arguments(&mut self, arguments: &[Argument], span: Span) {
        let list = self.state().allocate();
        self.op(I::MakeList { dst: list, start: list, count: 0 }, span);
        for argument in arguments {
            let src = self.state().allocate();
            self.expr_to(&argument.value, src);
            let instruction = if argument.spread { I::ListExtend { list, src } } else { I::ListAppend { list, src } };
            self.op(instruction, argument.value.span);
            self.state().release(src);
        }
    }

    pub(super) fn method_call(
        &mut self,
        receiver: &Expr,
        name: &(Name, Span),
        arguments: &[Argument],
        optional: bool,
        dst: u16,
        span: Span,
    ) {
        let at = self.window(dst);
        if let Some(callee) = self.namespace_function(receiver, &name.0) {
            self.call_callee(callee, name, arguments, at, span);
        } else if let Some(enumeration) = self.enum_receiver(receiver) {
            self.enum_variant(&enumeration, &name.0, arguments, at, span);
        } else {
            let register = self.state().allocate();
            self.expr_to(receiver, register);
            let method = self.method(&name.0);
            let spread = arguments.iter().any(|it| it.spread);
            let count = if spread {
                self.spread_arguments(arguments, span);
                0
            } else {
                self.arguments(arguments)
            };
            let (none, end) = (self.state().builder.label(), self.state().builder.label());
            if optional {
                let to = self.state().builder.to(none);
                self.op(I::JumpIfNil { src: register, to }, span);
            }
            let call = if spread { I::CallMethodSpread { at, method } } else { I::CallMethod { at, method, count } };
            self.op(call, span);
            if optional {
                let to = self.state().builder.to(end);
                self.op(I::Jump { to }, span);
                self.state().builder.place(none);
                self.op(I::LoadNil { dst: at }, span);
                self.state().builder.place(end);
            }
        }
        if at != dst {
            self.op(I::Take { dst, src: at }, span);
        }
    }

    /// The function that `NAMESPACE.name` means, unless a variable hides the namespace.
    fn namespace_function(&mut self, receiver: &Expr, name: &Name) -> Option<Callee> {
        let ExprKind::Name(namespace) = &receiver.kind else { return None };
        if self.resolve(namespace).is_some() {
            return None;
        }
        if let Some(Export::Namespace(members)) = self.unit.imported.get(namespace) {
            return Some(match members.get(name) {
                Some(Export::Function(slot)) => Callee::Storage(Storage::Function(*slot)),
                _ => Callee::Unknown,
            });
        }
        self.unit.builtins.script(&format!("{namespace}.{name}")).map(|it| Callee::Script(it.clone()))
    }

    /// The slot of the function that `NAMESPACE.name` means, for an imported namespace.
    pub(super) fn namespace_member(&mut self, object: &Expr, name: &Name) -> Option<u16> {
        match self.namespace_function(object, name)? {
            Callee::Storage(Storage::Function(slot)) => Some(slot),
            _ => None,
        }
    }

    /// `E.V(arguments)`: the fields stand from `at` on.
    fn enum_variant(&mut self, enumeration: &Name, variant: &Name, arguments: &[Argument], at: u16, span: Span) {
        let Ok(count) = u8::try_from(arguments.len()) else {
            return self.compile_error("an enum value has at most 255 fields", span);
        };
        for (position, argument) in arguments.iter().enumerate() {
            let register = if position == 0 { at } else { self.state().allocate() };
            self.expr_to(&argument.value, register);
        }
        let (enumeration, variant) = (self.name(enumeration), self.name(variant));
        self.op(I::MakeEnum { count, at, enumeration, variant }, span);
    }

    /// `value |> callee`.
    pub(super) fn pipe_call(&mut self, value: &Expr, callee: &Expr, dst: u16, span: Span) {
        let at = self.window(dst);
        let argument = self.state().allocate();
        self.expr_to(value, argument);
        self.expr_to(callee, at);
        self.op(I::PipeInto { at }, span);
        if at != dst {
            self.op(I::Take { dst, src: at }, span);
        }
    }

    /// `return callee(arguments)` and `return value |> callee` in constant stack; false when it is no such call.
    pub(super) fn tail_call(&mut self, value: &Expr, src: u16) -> bool {
        let piped;
        let (name, arguments) = match &value.kind {
            ExprKind::Call { name, arguments } => (name, arguments.as_slice()),
            ExprKind::PipeCall { value, callee } => match &callee.kind {
                ExprKind::Name(name) => {
                    piped = ((name.clone(), callee.span), value);
                    return self.tail_pipe(&piped.0, piped.1, src);
                }
                _ => return false,
            },
            _ => return false,
        };
        if arguments.iter().any(|it| it.spread) {
            return false;
        }
        let Some((place, _)) = self.resolve(&name.0) else { return false };
        let at = self.window(src);
        self.read_callee(place, &name.0, at, name.1);
        let count = self.arguments(arguments);
        self.op(I::TailCall { at, count }, name.1);
        self.return_value(at, name.1);
        true
    }

    fn tail_pipe(&mut self, name: &(Name, Span), value: &Expr, src: u16) -> bool {
        let Some((place @ (Storage::Function(_) | Storage::Itself | Storage::Register(_) | Storage::Captured(_)), _)) =
            self.resolve(&name.0)
        else {
            return false;
        };
        let at = self.window(src);
        let argument = self.state().allocate();
        self.expr_to(value, argument);
        self.read_place(place, &name.0, at, Role::Called, name.1);
        if may_hold_anything(place) {
            let callable = self.state().builder.label();
            let to = self.state().builder.to(callable);
            self.op(I::JumpIfCallable { src: at, to }, name.1);
            self.op(I::PipeInto { at }, name.1);
            self.state().builder.place(callable);
        }
        self.op(I::TailCall { at, count: 1 }, name.1);
        self.return_value(at, name.1);
        true
    }

    /// Reads a name that is about to be called: the nearest binding that is callable, then functions of the file, then
    /// builtins.
    fn read_callee(&mut self, place: Storage, name: &Name, at: u16, span: Span) {
        self.read_place(place, name, at, Role::Called, span);
        if !may_hold_anything(place) {
            return;
        }
        let done = self.state().builder.label();
        let to = self.state().builder.to(done);
        let mut others: Vec<Storage> =
            self.state().find_all(name).map(|it| it.place).filter(|it| *it != place).collect();
        others.extend(self.resolve_top(name).map(|it| it.0).filter(|it| matches!(it, Storage::Function(_))));
        for other in others {
            self.op(I::JumpIfCallable { src: at, to }, span);
            self.read_place(other, name, at, Role::Called, span);
        }
        if let Some(builtin) = self.unit.builtins.function(name) {
            self.op(I::JumpIfCallable { src: at, to }, span);
            let builtin = self.state().builder.builtin(builtin);
            self.op(I::LoadBuiltin { dst: at, builtin }, span);
        } else if let Some(function) = self.unit.builtins.script(name) {
            self.op(I::JumpIfCallable { src: at, to }, span);
            self.load(madrigal_vm::Value::Closure(function.clone()), at, span);
        }
        self.state().builder.place(done);
    }
}

/// Whether a place may hold a value that cannot be called.
fn may_hold_anything(place: Storage) -> bool {
    matches!(place, Storage::Register(_) | Storage::Captured(_) | Storage::State(_))
}
