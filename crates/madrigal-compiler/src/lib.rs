//! From syntax tree to bytecode: `lower/` makes HIR of the tree, `emit/` makes bytecode of the HIR.

pub mod emit;
pub mod hir;
pub mod lower;
pub mod program;

use madrigal_vm::suggest;
