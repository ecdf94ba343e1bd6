//! The loop: one arm an instruction, each a few lines or a call. It never waits, sleeps or opens anything; what needs
//! the outside world ends `step` with an effect. Not here: what the operators mean (`ops/`), ways out (`unwind.rs`),
//! calls (`call.rs`). The file is long because the table of instructions is.

use crate::bytecode::{Capture, Instruction as I, Proto};
use crate::effect::{Effect, ParallelMode, Region, Spawning, Step};
use crate::fault::Fault;
use crate::generator::{GeneratorObject, Goal};
use crate::ops::{arithmetic, collections, iteration, parameters, places};
use crate::stack::Code;
use crate::unwind::{Completion, Flow, HandlerKind};
use crate::value::{Closure, EnumValue, List, Struct, Value, equal};
use crate::vm::{Vm, Waiting};
use std::any::Any;
use std::sync::Arc;

impl Vm {
    /// Runs until the program ends, waits or has used up its fuel.
    pub(crate) fn run(&mut self, host: &mut (dyn Any + Send)) -> Step {
        let frame = self.frames.last().expect("a task that is not done has a frame");
        // Field by field: a frame read whole right after it was written in parts stalls the processor.
        let mut base = frame.base as usize;
        let mut closure = frame.closure();
        let mut proto: &Proto = closure.proto();
        let mut code = Code::of(proto, frame.pc);
        let mut w = self.stack.window(base);
        let mut fuel = self.fuel;

        // The frame on top has changed: read everything anew.
        macro_rules! reload {
            () => {{
                let frame = self.frames.last().expect("code runs in a frame");
                base = frame.base as usize;
                closure = frame.closure();
                proto = closure.proto();
                code = Code::of(proto, frame.pc);
                w = self.stack.window(base);
            }};
        }
        macro_rules! save {
            () => {
                self.frames.last_mut().expect("code runs in a frame").pc = code.position()
            };
        }
        macro_rules! follow {
            ($flow:expr) => {
                match $flow {
                    Flow::Continue => reload!(),
                    Flow::Stop(step) => return step,
                }
            };
        }
        macro_rules! raise {
            ($fault:expr) => {{
                save!();
                follow!(self.throw($fault));
                continue;
            }};
        }
        macro_rules! check {
            ($result:expr) => {
                match $result {
                    Ok(value) => value,
                    Err(fault) => raise!(fault),
                }
            };
        }
        macro_rules! suspend {
            ($waiting:expr, $effect:expr) => {{
                save!();
                self.fuel = fuel;
                self.waiting = $waiting;
                return Step::Suspended($effect);
            }};
        }
        macro_rules! slot {
            ($register:expr) => {
                base + $register as usize
            };
        }
        // Takes the `Jump` that follows when `holds`, else skips it.
        macro_rules! test {
            ($holds:expr) => {
                if $holds {
                    if let I::Jump { to } = code.peek() {
                        code.jump(to);
                    }
                } else {
                    code.skip();
                }
            };
        }
        // Goes back over the test of a loop when it holds of two ints, to the test itself in all other cases but one:
        // two ints of which it does not hold.
        macro_rules! loop_while {
            ($a:expr, $b:expr, $op:tt, $back:expr) => {{
                let again = match (w.get($a), $b) {
                    (Value::Int(a), Value::Int(b)) if !(a $op b) => continue,
                    (Value::Int(_), Value::Int(_)) => true,
                    _ => false,
                };
                code.back($back);
                fuel -= i64::from($back);
                if fuel <= 0 || !again {
                    code.back(2);
                }
                if fuel <= 0 {
                    save!();
                    return Step::OutOfBudget;
                }
            }};
        }
        macro_rules! arithmetic {
            ($instruction:expr, $dst:expr, $a:expr, $b:expr, $ints:ident, $floats:tt) => {
                match (w.get($a), w.get($b)) {
                    (Value::Int(a), Value::Int(b)) => w.set($dst, Value::Int(a.$ints(*b))),
                    (Value::Float(a), Value::Float(b)) => w.set($dst, Value::Float(a $floats b)),
                    (a, b) => w.set($dst, check!(arithmetic::binary($instruction, a, b))),
                }
            };
        }
        macro_rules! compare {
            ($a:expr, $b:expr, $op:tt, $general:ident) => {
                match (w.get($a), w.get($b)) {
                    (Value::Int(a), Value::Int(b)) => a $op b,
                    (a, b) => arithmetic::$general(a, b),
                }
            };
        }
        macro_rules! compare_int {
            ($when:expr, $a:expr, $value:expr, $op:tt, $general:expr) => {
                match w.get($a) {
                    Value::Int(a) => test!((*a $op i64::from($value)) == $when),
                    other => { let general: fn(&Value, &Value) -> bool = $general;
                        test!(general(other, &Value::Int(i64::from($value))) == $when) }
                }
            };
        }
        // As `called`, where the stack may have grown before the call.
        macro_rules! called_after_growth {
            ($result:expr) => {
                match $result {
                    Ok(Called::Done | Called::Entered) => reload!(),
                    Ok(Called::Waits(effect)) => {
                        self.fuel = fuel;
                        return Step::Suspended(effect);
                    }
                    Err(fault) => {
                        follow!(self.throw(fault));
                        continue;
                    }
                }
            };
        }
        macro_rules! called {
            ($result:expr) => {
                match $result {
                    Ok(Called::Done) => {}
                    Ok(Called::Entered) => reload!(),
                    Ok(Called::Waits(effect)) => {
                        self.fuel = fuel;
                        return Step::Suspended(effect);
                    }
                    Err(fault) => {
                        follow!(self.throw(fault));
                        continue;
                    }
                }
            };
        }

        loop {
            let instruction = code.fetch();
            match instruction {
                I::Move { dst, src } => w.set(dst, w.get(src).clone()),
                I::Take { dst, src } => w.set(dst, w.take(src)),
                I::LoadNil { dst } => w.set(dst, Value::Nil),
                I::LoadBool { dst, value } => w.set(dst, Value::Bool(value)),
                I::LoadInt { dst, value } => w.set(dst, Value::Int(i64::from(value))),
                I::LoadConst { dst, constant } => w.set(dst, proto.constants[constant as usize].clone()),
                I::LoadCapture { dst, capture } => w.set(dst, closure.captures()[capture as usize].clone()),
                I::LoadItself { dst } => w.set(dst, self.itself(base)),
                I::LoadFunction { dst, function } => w.set(dst, check!(self.function(function, "variable")).clone()),
                I::DefineFunction { function, src } => {
                    // A second definition (a module run twice) keeps the first.
                    let _ = self.shared.program.functions[function as usize].value.set(w.get(src).clone());
                }
                I::LoadBuiltin { dst, builtin } => {
                    w.set(dst, Value::Builtin(proto.builtins[builtin as usize].clone()));
                }
                I::LoadState { dst, slot } => w.set(dst, check!(self.load_state(proto.module, slot))),
                I::StoreState { slot, src } => {
                    Arc::make_mut(&mut Arc::make_mut(&mut self.shared).state[proto.module as usize])[slot as usize] =
                        w.get(src).clone();
                }
                I::MakeCell { dst } => w.set(dst, crate::call::new_cell()),
                I::SetCell { cell, src } => crate::call::set_cell(w.get(cell), w.get(src)),
                I::TestCell { dst, cell } => test!(match crate::call::get_cell(w.get(cell)) {
                    Some(function) => {
                        w.set(dst, function);
                        true
                    }
                    None => false,
                }),
                I::UndefinedVariable { text } => raise!(crate::call::undefined(&proto.constants[text as usize])),
                I::AssignImmutable { name } => {
                    let name = &proto.names[name as usize];
                    raise!(Fault::plain(format!("Cannot assign to immutable binding: {name}")))
                }
                I::Redeclare { name } => {
                    let name = &proto.names[name as usize];
                    raise!(Fault::runtime(format!(
                        "Cannot redeclare immutable variable '{name}' in the same scope (use 'var' for mutable bindings)"
                    )))
                }

                I::Add { dst, a, b } => match (w.get(a), w.get(b)) {
                    (Value::Int(a), Value::Int(b)) => w.set(dst, Value::Int(a.wrapping_add(*b))),
                    (Value::Float(a), Value::Float(b)) => w.set(dst, Value::Float(a + b)),
                    (_, more) if dst == a && a != b => check!(arithmetic::add_to(w.get_mut(a), more)),
                    (a, b) => w.set(dst, check!(arithmetic::add(a, b))),
                },
                I::Subtract { dst, a, b } => arithmetic!(instruction, dst, a, b, wrapping_sub, -),
                I::Multiply { dst, a, b } => arithmetic!(instruction, dst, a, b, wrapping_mul, *),
                I::Divide { dst, a, b } => w.set(dst, check!(arithmetic::divide(w.get(a), w.get(b)))),
                I::Modulo { dst, a, b } => w.set(dst, check!(arithmetic::modulo(w.get(a), w.get(b)))),
                I::Power { dst, a, b } => w.set(dst, check!(arithmetic::power(w.get(a), w.get(b)))),
                I::AddInt { dst, a, value } => match w.get(a) {
                    Value::Int(a) => w.set(dst, Value::Int(a.wrapping_add(i64::from(value)))),
                    a => w.set(dst, check!(arithmetic::add(a, &Value::Int(i64::from(value))))),
                },
                I::SubtractInt { dst, a, value } => match w.get(a) {
                    Value::Int(a) => w.set(dst, Value::Int(a.wrapping_sub(i64::from(value)))),
                    a => w.set(dst, check!(arithmetic::subtract(a, &Value::Int(i64::from(value))))),
                },
                I::MultiplyInt { dst, a, value } => match w.get(a) {
                    Value::Int(a) => w.set(dst, Value::Int(a.wrapping_mul(i64::from(value)))),
                    a => w.set(dst, check!(arithmetic::multiply(a, &Value::Int(i64::from(value))))),
                },
                I::ModuloConst { dst, a, constant } => match (w.get(a), &proto.constants[constant as usize]) {
                    (Value::Int(a), Value::Int(b)) => w.set(dst, Value::Int(a % b)),
                    (a, b) => w.set(dst, check!(arithmetic::modulo(a, b))),
                },
                I::Negate { dst, src } => w.set(dst, check!(arithmetic::negate(w.get(src)))),
                I::Not { dst, src } => w.set(dst, Value::Bool(!w.get(src).is_truthy())),
                I::Truth { dst, src } => w.set(dst, Value::Bool(w.get(src).is_truthy())),
                I::Equal { dst, a, b } => w.set(dst, Value::Bool(equal(w.get(a), w.get(b)))),
                I::NotEqual { dst, a, b } => w.set(dst, Value::Bool(!equal(w.get(a), w.get(b)))),
                I::Less { dst, a, b } => w.set(dst, Value::Bool(compare!(a, b, <, less))),
                I::LessEqual { dst, a, b } => w.set(dst, Value::Bool(compare!(a, b, <=, less_equal))),
                I::In { dst, a, b } => w.set(dst, Value::Bool(arithmetic::contains(w.get(a), w.get(b)))),
                I::NotIn { dst, a, b } => w.set(dst, Value::Bool(!arithmetic::contains(w.get(a), w.get(b)))),

                I::Jump { to } => code.jump(to),
                I::Loop { to } => {
                    fuel -= i64::from(code.position() - to);
                    code.jump(to);
                    if fuel <= 0 {
                        save!();
                        return Step::OutOfBudget;
                    }
                }
                I::LoopLess { a, b, back } => loop_while!(a, w.get(b), <, back),
                I::LoopLessEqual { a, b, back } => loop_while!(a, w.get(b), <=, back),
                I::LoopLessInt { a, value, back } => loop_while!(a, &Value::Int(i64::from(value)), <, back),
                I::LoopGreaterInt { a, value, back } => loop_while!(a, &Value::Int(i64::from(value)), >, back),
                I::JumpIf { src, to } => {
                    if w.get(src).is_truthy() {
                        code.jump(to);
                    }
                }
                I::JumpUnless { src, to } => {
                    if !w.get(src).is_truthy() {
                        code.jump(to);
                    }
                }
                I::JumpIfNil { src, to } => {
                    if w.get(src).is_nil() {
                        code.jump(to);
                    }
                }
                I::JumpUnlessNil { src, to } => {
                    if !w.get(src).is_nil() {
                        code.jump(to);
                    }
                }
                I::JumpIfCallable { src, to } => {
                    if w.get(src).is_callable() {
                        code.jump(to);
                    }
                }
                I::JumpIfPassed { index, to } => {
                    if u32::from(index) < self.passed() {
                        code.jump(to);
                    }
                }
                I::TestLess { when, a, b } => test!(compare!(a, b, <, less) == when),
                I::TestLessEqual { when, a, b } => test!(compare!(a, b, <=, less_equal) == when),
                I::TestEqual { when, a, b } => test!(
                    match (w.get(a), w.get(b)) {
                        (Value::Int(a), Value::Int(b)) => a == b,
                        (a, b) => equal(a, b),
                    } == when
                ),
                I::TestLessInt { when, a, value } => compare_int!(when, a, value, <, arithmetic::less),
                I::TestLessEqualInt { when, a, value } => compare_int!(when, a, value, <=, arithmetic::less_equal),
                I::TestGreaterInt { when, a, value } => compare_int!(when, a, value, >, |a, b| arithmetic::less(b, a)),
                I::TestGreaterEqualInt { when, a, value } => {
                    compare_int!(when, a, value, >=, |a, b| arithmetic::less_equal(b, a));
                }
                I::TestEqualInt { when, a, value } => compare_int!(when, a, value, ==, equal),
                I::TestVariant { src, enumeration, variant } => test!(!match w.get(src) {
                    Value::Enum(it) => {
                        it.variant() == proto.names[variant as usize].as_str()
                            && it.name() == proto.names[enumeration as usize].as_str()
                    }
                    _ => false,
                }),
                I::TestDict { src } => test!(!matches!(w.get(src), Value::Dict(_))),
                I::TestList { src, count } => {
                    test!(!matches!(w.get(src), Value::List(items) if items.len() >= count as usize));
                }

                I::ForStart { iter } => {
                    let (position, source) = iteration::start(w.take(iter));
                    if let Value::Handle(handle) = &source
                        && handle.ends_with_loop()
                    {
                        self.open_stream(iter, handle.clone());
                    }
                    w.set(iter, position);
                    w.set(iter + 1, source);
                }
                I::ForEnd { iter } => {
                    if let Some(source) = self.stream_of_loop(iter) {
                        suspend!(Waiting::Nothing, Effect::Close { source: Value::Handle(source) });
                    }
                }
                I::ForNext { iter, to } => match (w.get_mut(iter), w.get_mut(iter + 1)) {
                    (Value::Int(at), Value::Int(last)) if *at < *last => {
                        let item = Value::Int(*at);
                        *at += 1;
                        w.set(iter + 2, item);
                    }
                    (Value::Int(at), Value::List(items)) if (*at as usize) < items.len() => {
                        let item = items[*at as usize].clone();
                        *at += 1;
                        w.set(iter + 2, item);
                    }
                    (_, Value::Handle(source)) if GeneratorObject::is_pulled(source) => {
                        save!();
                        let goal = Goal::Item { slot: slot!(iter + 2), to };
                        called!(self.pull(source, goal));
                    }
                    (_, Value::Handle(_)) => suspend!(
                        Waiting::Next { slot: slot!(iter + 2), to },
                        Effect::Next { source: w.get(iter + 1).clone() }
                    ),
                    (position, source) => match iteration::next(position, source) {
                        Some(item) => w.set(iter + 2, item),
                        None => {
                            *source = Value::Nil;
                            code.jump(to);
                        }
                    },
                },

                I::ForAgain { iter, back } => {
                    let again = match (w.get_mut(iter), w.get(iter + 1)) {
                        (Value::Int(at), Value::Int(last)) if *at < *last => {
                            let item = Value::Int(*at);
                            *at += 1;
                            Some(item)
                        }
                        (Value::Int(at), Value::List(items)) if (*at as usize) < items.len() => {
                            let item = items[*at as usize].clone();
                            *at += 1;
                            Some(item)
                        }
                        _ => None,
                    };
                    fuel -= i64::from(back);
                    code.back(back);
                    match again {
                        Some(item) => w.set(iter + 2, item),
                        None => code.back(1),
                    }
                    if fuel <= 0 {
                        save!();
                        return Step::OutOfBudget;
                    }
                }

                I::MakeList { dst, start, count } => {
                    let items: Vec<Value> = w.slice(start, count as usize).iter_mut().map(Value::take).collect();
                    w.set(dst, Value::list(items));
                }
                I::ListAppend { list, src } => {
                    let mut item = w.take(src);
                    arithmetic::push(w.get_mut(list), &mut item);
                }
                I::ListExtend { list, src } => {
                    let items = w.take(src);
                    check!(arithmetic::extend(w.get_mut(list), items));
                }
                I::ListPush { list, src } => {
                    test!(arithmetic::push(w.get_mut(list), w.get_mut(src)));
                }
                I::SetAdd { set, src } => {
                    test!(arithmetic::add_member(w.get_mut(set), w.get_mut(src)));
                }
                I::SetInsert { set, src } => {
                    test!(arithmetic::insert_member(w.get_mut(set), w.get_mut(src)));
                }
                I::MakeDict { dst } => w.set(dst, Value::Dict(crate::value::Dict::new())),
                I::DictSet { dict, name, src } => {
                    let value = w.take(src);
                    if let Value::Dict(entries) = w.get_mut(dict) {
                        entries.insert(proto.names[name as usize].clone(), value);
                    }
                }
                I::DictSetComputed { dict, key, src } => {
                    let (key, value) = (w.get(key).display(), w.take(src));
                    if let Value::Dict(entries) = w.get_mut(dict) {
                        entries.insert(key, value);
                    }
                }
                I::DictMerge { dict, src } => match (w.get_mut(dict), w.take(src)) {
                    (entries, Value::Dict(more)) => check!(arithmetic::add_to(entries, &Value::Dict(more))),
                    (_, other) => raise!(places::not_a_dict(&other)),
                },
                I::DictRemove { dict, name } => {
                    if let Value::Dict(entries) = w.get_mut(dict) {
                        entries.remove(&proto.names[name as usize]);
                    }
                }
                I::MakeRange { dst, start, exclusive } => {
                    w.set(dst, check!(collections::range(w.get(start), w.get(start + 1), exclusive)));
                }
                I::MakeStruct { dst, start, shape } => {
                    let shape = &proto.shapes[shape as usize];
                    let slots = w.slice(start, shape.fields().len()).iter_mut().map(Value::take).collect();
                    w.set(dst, Value::Struct(Struct::new(shape.clone(), slots)));
                }
                I::StructFromDict { dst, src, shape } => {
                    w.set(dst, collections::struct_from(&proto.shapes[shape as usize], w.get(src)));
                }
                I::OpenStruct { dst, src, name } => {
                    w.set(dst, collections::open_struct(&proto.names[name as usize], w.get(src)));
                }
                I::MakeEnum { count, at, enumeration, variant } => {
                    let fields = w.slice(at, count as usize).iter_mut().map(Value::take).collect();
                    let (name, variant) = (&proto.names[enumeration as usize], &proto.names[variant as usize]);
                    w.set(at, Value::Enum(EnumValue::new(name, variant, fields)));
                }
                I::Interpolate { dst, start, count } => {
                    w.set(dst, check!(collections::interpolate(w.slice(start, count as usize))));
                }

                I::GetField { dst, object, name } => {
                    let name = &proto.names[name as usize];
                    match w.get(object) {
                        Value::Struct(it) => w.set(dst, it.get(name).cloned().unwrap_or_default()),
                        other => w.set(dst, check!(collections::get_field(other, name))),
                    }
                }
                I::GetFieldOptional { dst, object, name } => {
                    w.set(dst, collections::get_field_optional(w.get(object), &proto.names[name as usize]));
                }
                I::GetIndex { dst, object, index } => match (w.get(object), w.get(index)) {
                    (Value::List(items), Value::Int(at)) if (*at as usize) < items.len() => {
                        w.set(dst, items[*at as usize].clone());
                    }
                    (object, index) => w.set(dst, check!(collections::get_index(object, index))),
                },
                I::SetField { object, name, src } => {
                    let value = w.take(src);
                    check!(places::set_field(w.get_mut(object), &proto.names[name as usize], value));
                }
                I::SetIndex { object, index, src } => {
                    let value = w.take(src);
                    match (w.get_mut(object), w.get(index)) {
                        (Value::List(items), Value::Int(at)) if (*at as usize) < items.len() => {
                            List::make_mut(items)[*at as usize] = value;
                        }
                        (object, index) => check!(places::set_index(object, index, value)),
                    }
                }
                I::SetPath { properties, root, start, count } => {
                    let value = w.take(start + count);
                    let steps = w.slice(start, count as usize);
                    check!(places::set_path(w.get_mut(root), steps, properties, value));
                }
                I::Slice { dst, object, start } => {
                    w.set(dst, check!(collections::slice(w.get(object), w.get(start), w.get(start + 1))));
                }
                I::ListItem { dst, src, index } => w.set(
                    dst,
                    match w.get(src) {
                        Value::List(items) => items.get(index as usize).cloned().unwrap_or_default(),
                        _ => Value::Nil,
                    },
                ),
                I::ListRest { dst, src, index } => w.set(
                    dst,
                    match w.get(src) {
                        Value::List(items) => Value::list(items.get(index as usize..).unwrap_or_default().to_vec()),
                        _ => Value::Nil,
                    },
                ),
                I::CheckDict { src } => {
                    if !matches!(w.get(src), Value::Dict(_)) {
                        raise!(places::not_a_dict(w.get(src)));
                    }
                }
                I::CheckList { src } => {
                    if !matches!(w.get(src), Value::List(_)) {
                        raise!(places::not_a_list(w.get(src)));
                    }
                }
                I::CheckParam { src, check } => {
                    let (name, check) = &proto.checks[check as usize];
                    if !parameters::admits(check, w.get(src)) {
                        raise!(parameters::failure(name, check, w.get(src)));
                    }
                }
                I::EnumField { dst, src, index } => w.set(
                    dst,
                    match w.get(src) {
                        Value::Enum(it) => it.fields().get(index as usize).cloned().unwrap_or_default(),
                        _ => Value::Nil,
                    },
                ),

                I::Call { at, count } => {
                    save!();
                    fuel -= CALL_FUEL;
                    if !w.get(at).is_callable() {
                        raise!(self.not_callable());
                    }
                    called!(self.call(host, base, at, count as usize));
                    if fuel <= 0 {
                        save!();
                        return Step::OutOfBudget;
                    }
                }
                I::CallFunction { at, function, count } => {
                    save!();
                    fuel -= CALL_FUEL;
                    match self.shared.program.functions[function as usize].value.get() {
                        Some(Value::Closure(callee)) => {
                            let object = std::ptr::NonNull::from(callee.object());
                            match self.push_plain_frame(object, slot!(at) + 1, count) {
                                Ok(_) => reload!(),
                                Err(fault) => {
                                    follow!(self.throw(fault));
                                    continue;
                                }
                            }
                        }
                        _ => called!(self.call_slot(host, base, at, function, count as usize)),
                    }
                    if fuel <= 0 {
                        save!();
                        return Step::OutOfBudget;
                    }
                }
                I::CallBuiltin { at, builtin, count } => {
                    save!();
                    fuel -= 1;
                    called!(self.call_builtin(host, &proto.builtins[builtin as usize], slot!(at), count as usize));
                }
                I::CallMethod { at, method, count } => {
                    save!();
                    fuel -= 1;
                    called!(self.call_method(host, base, at, method, count as usize));
                }
                I::CallSpread { at } => {
                    save!();
                    let count = check!(self.spread(slot!(at) + 1));
                    called_after_growth!(self.call_at(host, slot!(at), count));
                }
                I::CallBuiltinSpread { at, builtin } => {
                    save!();
                    let count = check!(self.spread(slot!(at) + 1));
                    called_after_growth!(self.call_builtin(host, &proto.builtins[builtin as usize], slot!(at), count));
                }
                I::CallMethodSpread { at, method } => {
                    save!();
                    let count = check!(self.spread(slot!(at) + 2));
                    called_after_growth!(self.call_method(host, base, at, method, count));
                }
                I::TailCall { at, count } => {
                    save!();
                    fuel -= CALL_FUEL;
                    called!(self.tail_call(host, base, at, count as usize));
                    if fuel <= 0 {
                        save!();
                        return Step::OutOfBudget;
                    }
                }
                I::PipeInto { at } => {
                    save!();
                    if !w.get(at).is_callable() {
                        raise!(Fault::type_error(format!("cannot pipe into {}", w.get(at).type_name())));
                    }
                    called!(self.call(host, base, at, 1));
                }
                I::Return { src } => {
                    // Ints apart: a value read whole right after it was written in parts stalls the processor.
                    if let Value::Int(value) = *w.get(src) {
                        match self.end_frame() {
                            Some(slot) => self.stack.put(slot, Value::Int(value)),
                            None if self.end_generator() => {}
                            None => return Step::Done(Value::Int(value)),
                        }
                    } else {
                        let value = w.take(src);
                        if let Some(value) = self.pop_frame(value)
                            && !self.end_generator()
                        {
                            return Step::Done(value);
                        }
                    }
                    reload!();
                }
                I::ReturnNil {} => {
                    if let Some(value) = self.pop_frame(Value::Nil)
                        && !self.end_generator()
                    {
                        return Step::Done(value);
                    }
                    reload!();
                }
                I::Leave { src } => {
                    save!();
                    if self.handlers.is_empty() && self.streams.is_empty() {
                        let value = w.take(src);
                        if let Some(value) = self.pop_frame(value)
                            && !self.end_generator()
                        {
                            return Step::Done(value);
                        }
                        reload!();
                        continue;
                    }
                    let value = w.take(src);
                    follow!(self.complete(Completion::Return(value)));
                }
                I::Generate { kind } => {
                    save!();
                    let generator = self.generate(kind);
                    if let Some(value) = self.pop_frame(generator)
                        && !self.end_generator()
                    {
                        return Step::Done(value);
                    }
                    reload!();
                }
                I::Yield { src } => {
                    save!();
                    let item = w.take(src);
                    if self.pulls.is_empty() {
                        suspend!(Waiting::Nothing, Effect::Emit { item });
                    }
                    check!(self.yield_item(item));
                    reload!();
                }
                I::MakeClosure { dst, proto: index } => {
                    let made = &proto.protos[index as usize];
                    let captured = made.captures.iter().map(|it| match *it {
                        Capture::Register(register) => w.get(register).clone(),
                        Capture::Capture(capture) => closure.captures()[capture as usize].clone(),
                        Capture::Itself => self.itself(base),
                    });
                    let captured = captured.collect();
                    w.set(dst, Value::Closure(Closure::new(made.clone(), captured)));
                }
                I::DefineMethod { src, owner, method } => {
                    let (owner, method) = (&proto.names[owner as usize], &proto.names[method as usize]);
                    let methods =
                        Arc::make_mut(&mut Arc::make_mut(&mut self.shared).impls).entry(owner.clone()).or_default();
                    methods.insert(method.clone(), w.get(src).clone());
                }

                I::PropagateOk { dst, src } => match w.get(src) {
                    Value::Enum(it) if it.is_result() => match it.as_result() {
                        Some(Ok(payload)) => {
                            w.set(dst, payload);
                            test!(true);
                        }
                        _ => code.skip(),
                    },
                    other => {
                        let kind = other.type_name();
                        raise!(Fault::type_error(format!("? operator requires a Result value, got {kind}")))
                    }
                },
                I::WrapOk { dst, src } => w.set(dst, collections::wrap_ok(w.take(src))),
                I::WrapErr { dst, src } => w.set(dst, Value::err(w.take(src))),
                I::Throw { src } => {
                    let value = w.take(src);
                    raise!(self.thrown(value))
                }
                I::PushCatch { retry, dst, to } => self.push_handler(HandlerKind::Catch { retry, dst, to }),
                I::CatchFilter { src, name } => {
                    let name = proto.names[name as usize].as_str();
                    if !matches!(w.get(src), Value::Enum(it) if it.name() == name) {
                        save!();
                        follow!(self.throw_on());
                    }
                }
                I::PopHandler {} => {
                    self.handlers.pop();
                }
                I::EndCatch {} => self.end_catch(),
                I::PushCleanup { replaces, to } => self.push_handler(HandlerKind::Cleanup { replaces, to }),
                I::RunCleanups { depth, to } => {
                    save!();
                    let depth = self.first_handler() as u32 + u32::from(depth);
                    follow!(self.complete(Completion::Jump { to, depth, ends: false }));
                }
                I::EndCleanup {} => {
                    save!();
                    follow!(self.end_cleanup());
                }
                I::EnterRegion { region, dst, to } => {
                    let region = REGIONS[usize::from(region.min(2))];
                    suspend!(Waiting::Enter { region, dst, to }, Effect::Enter { region, operand: w.take(dst) });
                }
                I::LeaveRegion {} => {
                    save!();
                    let (to, depth) = (code.position(), (self.handlers.len() - 1) as u32);
                    follow!(self.complete(Completion::Jump { to, depth, ends: true }));
                }

                I::Spawn { dst, body } => {
                    suspend!(
                        Waiting::Value { slot: slot!(dst) },
                        Effect::Spawn { body: w.take(body), how: Spawning::Child }
                    );
                }
                I::Parallel { mode, at } => suspend!(
                    Waiting::Value { slot: slot!(at) },
                    Effect::Parallel {
                        mode: MODES[usize::from(mode.min(3))],
                        source: w.take(at),
                        body: w.take(at + 1),
                        max_concurrent: w.take(at + 2),
                    }
                ),
                I::Select { flags, at, count } => {
                    let channels = w.slice(at, count as usize).iter_mut().map(Value::take).collect();
                    let timeout = if flags & 1 == 0 { Value::Unset } else { w.take(at + count) };
                    suspend!(
                        Waiting::Select { slot: slot!(at) },
                        Effect::Select { channels, timeout, default: flags & 2 != 0 }
                    );
                }
                I::Attempts { dst, src } => w.set(dst, Value::Int(collections::attempts(w.get(src)))),
            }
        }
    }
}

const CALL_FUEL: i64 = 8;
const REGIONS: [Region; 3] = [Region::Scope, Region::Deadline, Region::Mutex];
const MODES: [ParallelMode; 4] = [ParallelMode::Count, ParallelMode::Each, ParallelMode::Settle, ParallelMode::Stream];

/// How a call went.
pub(crate) enum Called {
    /// The result is in its place.
    Done,
    /// A frame was pushed or replaced.
    Entered,
    /// The result comes later.
    Waits(Effect),
}
