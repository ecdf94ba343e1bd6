//! A compiled function: code, constants and what is needed to call it and to report where it failed.

use super::{Instruction, TypeCheck};
use crate::builtin::{Builtin, MethodSet};
use crate::value::{Shape, Str, Value};
use triomphe::Arc;

/// A compiled function.
#[derive(Debug)]
pub struct Proto {
    /// Name for stack notes: the function's, `<closure>`, `Type.method` or `pipeline`.
    pub name: Str,
    /// Index of its module in the program; `u32::MAX` is the prelude.
    pub module: u32,
    /// Parameter names in order, the rest parameter last.
    pub param_names: Vec<Str>,
    /// Number of parameters before the rest parameter; they are registers 0 and up.
    pub params: u16,
    /// Whether surplus arguments are collected into a list in register `params`.
    pub rest: bool,
    /// Number of parameters when a call that passes so many needs nothing but a frame, else `u32::MAX`.
    pub plain_params: u32,
    /// Number of registers.
    pub registers: u16,
    /// The instructions.
    pub code: Box<[Instruction]>,
    /// Start and end of the source text of each instruction.
    pub spans: Box<[(u32, u32)]>,
    /// Constants.
    pub constants: Box<[Value]>,
    /// Names of properties, variables and such.
    pub names: Box<[Str]>,
    /// Functions created by this one.
    pub protos: Box<[Arc<Proto>]>,
    /// Builtins it calls.
    pub builtins: Box<[Arc<Builtin>]>,
    /// Method names it calls, with what the builtin table has under each.
    pub methods: Box<[(Str, MethodSet)]>,
    /// Shapes of the structs it makes.
    pub shapes: Box<[Arc<Shape>]>,
    /// Parameter names and what is asked of the arguments.
    pub checks: Box<[(Str, TypeCheck)]>,
    /// How its captures are filled when the closure is made.
    pub captures: Box<[Capture]>,
    /// Captures that the body assigns to: at every call, (capture, register) is copied first.
    pub copied_captures: Box<[(u16, u16)]>,
}

/// Where a captured value comes from, in the function that makes the closure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capture {
    /// A register.
    Register(u16),
    /// One of its own captures.
    Capture(u16),
    /// The function itself.
    Itself,
}
