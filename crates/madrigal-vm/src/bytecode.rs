//! The bytecode: the instruction table, functions, their disassembly and verification.

mod disassemble;
mod opcode;
mod proto;
mod type_check;
mod verify;

pub use disassemble::disassemble;
pub use opcode::{Instruction, Label, Operand};
pub use proto::{Capture, Proto};
pub use type_check::{DictCheck, Simple, TypeCheck};
pub use verify::{VerifyError, verify};
