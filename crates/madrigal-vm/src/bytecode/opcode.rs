//! The instruction table. Enum, disassembler and verifier come from these rows; nothing else describes an opcode.
//!
//! Calling convention: the window of a call starts at register `at`: callee (or nothing) in `at`, arguments from
//! `at + 1`; the callee's registers start at `at + 1`, its result replaces `at`. Method calls have the receiver in
//! `at + 1` and arguments from `at + 2`. Window registers are consumed.
//! `Test..` instructions are followed by a `Jump`: it is taken when the test comes out as `when`, else skipped.

/// A register of the frame.
pub type Reg = u16;
/// A number of things.
pub type Count = u16;
/// A small integer operand.
pub type Int = i16;
/// Index of a name.
pub type Name = u16;
/// Index of a constant.
pub type Const = u32;
/// Index of a captured value.
pub type CaptureIndex = u16;
/// Slot of a top-level function of the program.
pub type Function = u16;
/// Slot of module state.
pub type Slot = u16;
/// Index of a nested function.
pub type ProtoIndex = u16;
/// Index of a builtin.
pub type BuiltinIndex = u16;
/// Index of a method name.
pub type MethodIndex = u16;
/// Index of a shape.
pub type ShapeIndex = u16;
/// Index of a check of a parameter.
pub type CheckIndex = u16;
/// A yes or no operand.
pub type Flag = bool;
/// A small code whose meaning the row gives.
pub type Byte = u8;
/// Position of an instruction.
pub type Label = u32;
/// Position of an instruction: how many before the next one.
pub type Back = u16;

/// An operand, as the disassembler and the verifier see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Operand {
    Reg(u16),
    Count(u16),
    Int(i16),
    Wide(i32),
    Name(u16),
    Const(u32),
    CaptureIndex(u16),
    Function(u16),
    Slot(u16),
    ProtoIndex(u16),
    BuiltinIndex(u16),
    MethodIndex(u16),
    ShapeIndex(u16),
    CheckIndex(u16),
    Flag(bool),
    Byte(u8),
    Label(u32),
    Back(u16),
}

/// A 32-bit integer operand.
pub type Wide = i32;

macro_rules! opcodes {
    ($( $name:ident { $($field:ident: $kind:ident),* } $meaning:literal; )*) => {
        /// An instruction with its operands.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Instruction {
            $( #[doc = $meaning] #[allow(missing_docs)] $name { $($field: $kind),* }, )*
        }

        impl Instruction {
            /// Name of the opcode.
            pub fn name(&self) -> &'static str {
                match self { $( Instruction::$name { .. } => stringify!($name), )* }
            }

            /// The operands in order, with their field names.
            pub fn operands(&self) -> Vec<(&'static str, Operand)> {
                match *self { $(
                    Instruction::$name { $($field),* } => vec![$( (stringify!($field), Operand::$kind($field)) ),*],
                )* }
            }

            /// Name and meaning of every opcode, in order.
            pub const TABLE: &[(&str, &str)] = &[$( (stringify!($name), $meaning) ),*];
        }
    };
}

opcodes! {
    Move { dst: Reg, src: Reg } "dst = src";
    Take { dst: Reg, src: Reg } "dst = src, which becomes nil";
    LoadNil { dst: Reg } "dst = nil";
    LoadBool { dst: Reg, value: Flag } "dst = value";
    LoadInt { dst: Reg, value: Wide } "dst = value";
    LoadConst { dst: Reg, constant: Const } "dst = constant";
    LoadCapture { dst: Reg, capture: CaptureIndex } "dst = captured value";
    LoadItself { dst: Reg } "dst = the running function";
    LoadFunction { dst: Reg, function: Function } "dst = top-level function, an error when its declaration has not run";
    DefineFunction { function: Function, src: Reg } "top-level function = src";
    LoadBuiltin { dst: Reg, builtin: BuiltinIndex } "dst = builtin as a value";
    LoadState { dst: Reg, slot: Slot } "dst = state of the module";
    StoreState { slot: Slot, src: Reg } "state of the module = src";
    MakeCell { dst: Reg } "dst = an empty cell for a function declared later in this scope";
    SetCell { cell: Reg, src: Reg } "fills the cell if src is callable";
    TestCell { dst: Reg, cell: Reg } "jump when the cell is filled; then dst = its content";
    UndefinedVariable { text: Const } "throws the text: no such variable";
    AssignImmutable { name: Name } "throws: assignment to an immutable binding";
    Redeclare { name: Name } "throws: second declaration of an immutable name";

    Add { dst: Reg, a: Reg, b: Reg } "dst = a + b; in place when dst is a";
    Subtract { dst: Reg, a: Reg, b: Reg } "dst = a - b";
    Multiply { dst: Reg, a: Reg, b: Reg } "dst = a * b";
    Divide { dst: Reg, a: Reg, b: Reg } "dst = a / b";
    Modulo { dst: Reg, a: Reg, b: Reg } "dst = a % b";
    Power { dst: Reg, a: Reg, b: Reg } "dst = a ** b";
    AddInt { dst: Reg, a: Reg, value: Int } "dst = a + value";
    SubtractInt { dst: Reg, a: Reg, value: Int } "dst = a - value";
    MultiplyInt { dst: Reg, a: Reg, value: Int } "dst = a * value";
    ModuloConst { dst: Reg, a: Reg, constant: Slot } "dst = a % int constant, which is positive";
    Negate { dst: Reg, src: Reg } "dst = -src";
    Not { dst: Reg, src: Reg } "dst = !src";
    Truth { dst: Reg, src: Reg } "dst = whether src is truthy";
    Equal { dst: Reg, a: Reg, b: Reg } "dst = a == b";
    NotEqual { dst: Reg, a: Reg, b: Reg } "dst = a != b";
    Less { dst: Reg, a: Reg, b: Reg } "dst = a < b";
    LessEqual { dst: Reg, a: Reg, b: Reg } "dst = a <= b";
    In { dst: Reg, a: Reg, b: Reg } "dst = a in b";
    NotIn { dst: Reg, a: Reg, b: Reg } "dst = a not in b";

    Jump { to: Label } "continue at to";
    Loop { to: Label } "continue at to, which lies before; costs fuel";
    LoopLess { a: Reg, b: Reg, back: Back } "ends a loop whose test, the two instructions before the target, is a < b: continue at the target while ints are so; costs fuel";
    LoopLessEqual { a: Reg, b: Reg, back: Back } "the same for a <= b";
    LoopLessInt { a: Reg, value: Int, back: Back } "the same for a < value";
    LoopGreaterInt { a: Reg, value: Int, back: Back } "the same for a > value";
    JumpIf { src: Reg, to: Label } "jump when src is truthy";
    JumpUnless { src: Reg, to: Label } "jump when src is falsy";
    JumpIfNil { src: Reg, to: Label } "jump when src is nil";
    JumpUnlessNil { src: Reg, to: Label } "jump when src is not nil";
    JumpIfCallable { src: Reg, to: Label } "jump when src can be called";
    JumpIfPassed { index: Count, to: Label } "jump when the call passed argument index";
    TestLess { when: Flag, a: Reg, b: Reg } "test a < b";
    TestLessEqual { when: Flag, a: Reg, b: Reg } "test a <= b";
    TestEqual { when: Flag, a: Reg, b: Reg } "test a == b";
    TestLessInt { when: Flag, a: Reg, value: Int } "test a < value";
    TestLessEqualInt { when: Flag, a: Reg, value: Int } "test a <= value";
    TestGreaterInt { when: Flag, a: Reg, value: Int } "test a > value";
    TestGreaterEqualInt { when: Flag, a: Reg, value: Int } "test a >= value";
    TestEqualInt { when: Flag, a: Reg, value: Int } "test a == value";
    TestVariant { src: Reg, enumeration: Name, variant: Name } "jump unless src is that enum variant";
    TestDict { src: Reg } "jump unless src is a dict";
    TestList { src: Reg, count: Count } "jump unless src is a list of at least count items";

    ForStart { iter: Reg } "prepare to iterate over iter; uses iter and iter + 1";
    ForNext { iter: Reg, to: Label } "iter + 2 = next item, or jump at the end";
    ForEnd { iter: Reg } "the loop is left: a stream it went over is closed";

    ForAgain { iter: Reg, back: Back } "ends a loop whose ForNext stands before the target: does the same and continues at the target, or at the ForNext; costs fuel";

    MakeList { dst: Reg, start: Reg, count: Count } "dst = list of count registers from start";
    ListAppend { list: Reg, src: Reg } "appends src, which is consumed";
    ListExtend { list: Reg, src: Reg } "appends the items of src, an error unless a list";
    ListPush { list: Reg, src: Reg } "jump when list is a list; then src was moved to its end, in place";
    SetAdd { set: Reg, src: Reg } "jump when set is a set; then src was moved to its end unless a member equals it, in place";
    SetInsert { set: Reg, src: Reg } "the same unless a member has the structural key of src";
    MakeDict { dst: Reg } "dst = {}";
    DictSet { dict: Reg, name: Name, src: Reg } "dict[name] = src, which is consumed";
    DictSetComputed { dict: Reg, key: Reg, src: Reg } "dict[display(key)] = src, which is consumed";
    DictMerge { dict: Reg, src: Reg } "adds the entries of src, an error unless a dict";
    DictRemove { dict: Reg, name: Name } "removes a key";
    MakeRange { dst: Reg, start: Reg, exclusive: Flag } "dst = start to start + 1";
    MakeStruct { dst: Reg, start: Reg, shape: ShapeIndex } "dst = instance; its slots are registers from start";
    StructFromDict { dst: Reg, src: Reg, shape: ShapeIndex } "dst = instance with the declared entries of the dict src";
    OpenStruct { dst: Reg, src: Reg, name: Name } "dst = instance of an undeclared struct with all entries of src";
    MakeEnum { count: Byte, at: Reg, enumeration: Name, variant: Name } "at = variant with count fields from at";
    Interpolate { dst: Reg, start: Reg, count: Count } "dst = display forms joined";

    GetField { dst: Reg, object: Reg, name: Name } "dst = object.name";
    GetFieldOptional { dst: Reg, object: Reg, name: Name } "dst = object?.name";
    GetIndex { dst: Reg, object: Reg, index: Reg } "dst = object[index]";
    SetField { object: Reg, name: Name, src: Reg } "object.name = src, which is consumed";
    SetIndex { object: Reg, index: Reg, src: Reg } "object[index] = src, which is consumed";
    SetPath { properties: Byte, root: Reg, start: Reg, count: Count } "assigns register start + count to the place reached from root by count steps from start; bit i of properties: step i is a property";
    Slice { dst: Reg, object: Reg, start: Reg } "dst = object[start : start + 1]";
    ListItem { dst: Reg, src: Reg, index: Count } "dst = item of a list or nil";
    ListRest { dst: Reg, src: Reg, index: Count } "dst = items from index on";
    CheckDict { src: Reg } "an error unless src is a dict";
    CheckList { src: Reg } "an error unless src is a list";
    CheckParam { src: Reg, check: CheckIndex } "an error unless the argument src passes the check of its parameter";
    EnumField { dst: Reg, src: Reg, index: Count } "dst = field of an enum value or nil";

    Call { at: Reg, count: Count } "calls the function in at";
    CallFunction { at: Reg, function: Function, count: Count } "calls a top-level function";
    CallBuiltin { at: Reg, builtin: BuiltinIndex, count: Count } "calls a builtin";
    CallMethod { at: Reg, method: MethodIndex, count: Count } "calls a method with count arguments";
    CallSpread { at: Reg } "calls at with the items of the list at + 1";
    CallBuiltinSpread { at: Reg, builtin: BuiltinIndex } "calls a builtin with the items of the list at + 1";
    CallMethodSpread { at: Reg, method: MethodIndex } "calls a method of at + 1 with the items of the list at + 2";
    TailCall { at: Reg, count: Count } "replaces this call by one of the closure in at; other callables as Call";
    PipeInto { at: Reg } "calls at with at + 1, with its own error when not callable";
    Return { src: Reg } "returns src";
    ReturnNil { } "returns nil";
    Leave { src: Reg } "returns src through the cleanups of this function";
    Generate { kind: Byte } "returns the rest of this function as a generator 0, stream 1 or iterator 2";
    Yield { src: Reg } "hands src to the puller and pauses";
    MakeClosure { dst: Reg, proto: ProtoIndex } "dst = closure over current values";
    DefineMethod { src: Reg, owner: Name, method: Name } "adds a method to a struct";

    PropagateOk { dst: Reg, src: Reg } "test: src is Ok, dst = payload; an error unless a Result; jumps when Ok";
    WrapOk { dst: Reg, src: Reg } "dst = Result.Ok(src) unless it is a Result";
    WrapErr { dst: Reg, src: Reg } "dst = Result.Err(src)";
    Throw { src: Reg } "throws src";
    PushCatch { retry: Flag, dst: Reg, to: Label } "until popped, faults continue at to with the caught value in dst; with retry cancellations pass";
    CatchFilter { src: Reg, name: Name } "throws on unless src is a variant of the enum";
    PopHandler { } "removes the innermost handler";
    EndCatch { } "the catch body is done";
    PushCleanup { replaces: Flag, to: Label } "until run, every way out passes through to; replaces: its own failure wins (finally), else it is attached (defer)";
    RunCleanups { depth: Count, to: Label } "continue at to once the handlers above depth are gone";
    EndCleanup { } "go on with what the cleanup interrupted";
    EnterRegion { region: Byte, dst: Reg, to: Label } "enter scope 0, deadline 1 or mutex 2; operand and handle in dst; when its failure is absorbed, dst is its value and to follows";
    LeaveRegion { } "leave the innermost region normally";

    Spawn { dst: Reg, body: Reg } "dst = handle of a new task that calls body";
    Parallel { mode: Byte, at: Reg } "at = parallel over at, body at + 1, cap at + 2; count 0, each 1, settle 2, stream 3";
    Select { flags: Byte, at: Reg, count: Count } "waits for one of count channels from at, timeout after them; flags: 1 timeout, 2 default; at = index, at + 1 = value";
    Attempts { dst: Reg, src: Reg } "dst = how often retry runs its body";
}

const _: () = assert!(size_of::<Instruction>() == 8, "an instruction is one word");
