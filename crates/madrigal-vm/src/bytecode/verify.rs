//! Checks that a function's operands stay in range; the interpreter relies on it instead of checking at every step.

use super::{Capture, Instruction, Operand, Proto};
use std::fmt;

/// A function that must not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyError {
    /// Name of the function.
    pub function: String,
    /// Index of the instruction.
    pub position: usize,
    /// What is wrong with it.
    pub problem: String,
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bad bytecode in {} at {}: {}", self.function, self.position, self.problem)
    }
}

impl std::error::Error for VerifyError {}

/// Checks `proto` and all functions inside it; `functions` is the number of top-level function slots.
pub fn verify(proto: &Proto, functions: usize) -> Result<(), VerifyError> {
    let fail =
        |position: usize, problem: String| Err(VerifyError { function: proto.name.to_string(), position, problem });
    if !matches!(
        proto.code.last(),
        Some(
            Instruction::ReturnNil {}
                | Instruction::Return { .. }
                | Instruction::Jump { .. }
                | Instruction::Loop { .. }
        )
    ) {
        return fail(proto.code.len(), "does not end in a return".to_owned());
    }
    if proto.spans.len() != proto.code.len() {
        return fail(0, "has not one span an instruction".to_owned());
    }
    if proto.params as usize + usize::from(proto.rest) > proto.registers as usize {
        return fail(0, "has more parameters than registers".to_owned());
    }
    for (position, instruction) in proto.code.iter().enumerate() {
        for (field, operand) in instruction.operands() {
            if !in_range(operand, position, proto, functions) {
                return fail(position, format!("{} {field} out of range", instruction.name()));
            }
        }
        if let Instruction::MakeStruct { start, shape, .. } = *instruction {
            let fields = proto.shapes.get(shape as usize).map_or(0, |it| it.fields().len());
            if start as usize + fields > proto.registers as usize {
                return fail(position, "MakeStruct window out of range".to_owned());
            }
        }
        if last_register(instruction).is_some_and(|last| last >= proto.registers as usize) {
            return fail(position, format!("{} window out of range", instruction.name()));
        }
    }
    for &(capture, register) in &proto.copied_captures {
        if capture as usize >= proto.captures.len() || register >= proto.registers {
            return fail(0, "copies a capture out of range".to_owned());
        }
    }
    for nested in &proto.protos {
        for capture in &nested.captures {
            let good = match *capture {
                Capture::Register(it) => it < proto.registers,
                Capture::Capture(it) => (it as usize) < proto.captures.len(),
                Capture::Itself => true,
            };
            if !good {
                return fail(0, format!("{} captures out of range", nested.name));
            }
        }
        verify(nested, functions)?;
    }
    Ok(())
}

fn in_range(operand: Operand, position: usize, proto: &Proto, functions: usize) -> bool {
    match operand {
        Operand::Reg(it) => it < proto.registers,
        Operand::Label(it) => (it as usize) < proto.code.len(),
        // Two instructions belong before the target: see the table.
        Operand::Back(it) => position + 1 < proto.code.len() && (it as usize) < position,
        Operand::Name(it) => (it as usize) < proto.names.len(),
        Operand::Const(it) => (it as usize) < proto.constants.len(),
        Operand::CaptureIndex(it) => (it as usize) < proto.captures.len(),
        Operand::Function(it) => (it as usize) < functions,
        Operand::ProtoIndex(it) => (it as usize) < proto.protos.len(),
        Operand::BuiltinIndex(it) => (it as usize) < proto.builtins.len(),
        Operand::MethodIndex(it) => (it as usize) < proto.methods.len(),
        Operand::CheckIndex(it) => (it as usize) < proto.checks.len(),
        Operand::ShapeIndex(it) => (it as usize) < proto.shapes.len(),
        Operand::Count(_)
        | Operand::Int(_)
        | Operand::Wide(_)
        | Operand::Slot(_)
        | Operand::Flag(_)
        | Operand::Byte(_) => true,
    }
}

/// The last register an instruction reaches beyond its named operands.
fn last_register(instruction: &Instruction) -> Option<usize> {
    let reach = |at: u16, more: usize| Some(at as usize + more);
    match *instruction {
        Instruction::Call { at, count }
        | Instruction::CallFunction { at, count, .. }
        | Instruction::CallBuiltin { at, count, .. }
        | Instruction::TailCall { at, count } => reach(at, count as usize),
        Instruction::CallMethod { at, count, .. } => reach(at, count as usize + 1),
        Instruction::CallSpread { at } | Instruction::CallBuiltinSpread { at, .. } | Instruction::PipeInto { at } => {
            reach(at, 1)
        }
        Instruction::CallMethodSpread { at, .. } | Instruction::Parallel { at, .. } => reach(at, 2),
        Instruction::Select { at, count, .. } => reach(at, (count as usize).max(1)),
        Instruction::MakeEnum { at, count, .. } => reach(at, (count as usize).saturating_sub(1)),
        Instruction::MakeList { start, count, .. } | Instruction::Interpolate { start, count, .. } => {
            reach(start, (count as usize).saturating_sub(1))
        }
        Instruction::SetPath { start, count, .. } => reach(start, count as usize),
        Instruction::MakeRange { start, .. } | Instruction::Slice { start, .. } => reach(start, 1),
        Instruction::ForStart { iter } => reach(iter, 1),
        Instruction::ForNext { iter, .. } | Instruction::ForAgain { iter, .. } => reach(iter, 2),
        _ => None,
    }
}
