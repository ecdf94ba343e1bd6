//! Values, bytecode and the interpreter of the Harn language.
//!
//! The interpreter is synchronous: [`Vm::step`] runs for a budget and ends in done, faulted, suspended with an
//! [`Effect`] (what is waited for) or out of budget. Threads, sockets and time are somebody else's.

pub mod builtin;
pub mod bytecode;
mod call;
pub mod effect;
pub mod fault;
mod generator;
mod interpreter;
pub mod methods;
mod ops;
pub mod program;
mod received;
mod stack;
pub mod suggest;
mod unwind;
pub mod value;
mod vm;

pub use builtin::{Args, Builtin, BuiltinTable, Cx, Outcome};
pub use effect::{Effect, Leaving, ParallelMode, Racing, Region, Resume, Spawning, Step, Wait};
pub use fault::{Fault, FaultKind, Frame as FaultFrame};
pub use generator::{GeneratorKind, GeneratorObject, StreamBody};
pub use program::{ModuleUnit, Program, SourceText};
pub use received::Received;
pub use value::{
    Bytes, Closure, Dict, EnumValue, Handle, HandleObject, Kind, List, Pair, Range, Set, Shape, Str, Struct, Value,
};
pub use vm::{Seed, Vm};
