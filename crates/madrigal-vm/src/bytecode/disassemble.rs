//! Bytecode as text, for people and golden tests. Everything comes from the instruction table.

use super::{Instruction, Operand, Proto};
use crate::value::Value;
use std::fmt::Write;

/// The function and all functions inside it as text.
pub fn disassemble(proto: &Proto) -> String {
    let mut out = String::new();
    function(proto, &mut out);
    out
}

fn function(proto: &Proto, out: &mut String) {
    let params: Vec<&str> = proto.param_names.iter().map(|it| it.as_str()).collect();
    let _ = writeln!(out, "fn {}({}) registers {}", proto.name, params.join(", "), proto.registers);
    for capture in &proto.captures {
        let _ = writeln!(out, "  capture {capture:?}");
    }
    for (position, instruction) in proto.code.iter().enumerate() {
        let _ = writeln!(out, "  {position:>4}  {}", line(position, instruction, proto));
    }
    for nested in &proto.protos {
        out.push('\n');
        function(nested, out);
    }
}

fn line(position: usize, instruction: &Instruction, proto: &Proto) -> String {
    let mut text = format!("{:<18}", instruction.name());
    for (field, operand) in instruction.operands() {
        let shown = match operand {
            Operand::Reg(it) => format!("{field}=r{it}"),
            Operand::Label(it) => format!("{field}={it}"),
            Operand::Back(it) => format!("{field}={}", (position + 1).saturating_sub(usize::from(it))),
            Operand::Count(it) | Operand::Slot(it) => format!("{field}={it}"),
            Operand::Int(it) => format!("{field}={it}"),
            Operand::Wide(it) => format!("{field}={it}"),
            Operand::Byte(it) => format!("{field}={it}"),
            Operand::Flag(it) => format!("{field}={it}"),
            Operand::Function(it) => format!("{field}=f{it}"),
            Operand::CaptureIndex(it) => format!("{field}=c{it}"),
            Operand::Name(it) => proto.names.get(it as usize).map_or("?".to_owned(), |it| format!("{field}={it}")),
            Operand::Const(it) => constant(proto.constants.get(it as usize)),
            Operand::ProtoIndex(it) => proto.protos.get(it as usize).map_or("?".to_owned(), |it| it.name.to_string()),
            Operand::BuiltinIndex(it) => {
                proto.builtins.get(it as usize).map_or("?".to_owned(), |it| it.name.to_owned())
            }
            Operand::MethodIndex(it) => {
                proto.methods.get(it as usize).map_or("?".to_owned(), |it| format!(".{}", it.0))
            }
            Operand::CheckIndex(it) => proto.checks.get(it as usize).map_or("?".to_owned(), |it| format!("{:?}", it.1)),
            Operand::ShapeIndex(it) => proto.shapes.get(it as usize).map_or("?".to_owned(), |it| it.name().to_string()),
        };
        text.push(' ');
        text.push_str(&shown);
    }
    text.trim_end().to_owned()
}

fn constant(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(it)) => format!("{:?}", it.as_str()),
        Some(other) => other.to_string(),
        None => "?".to_owned(),
    }
}
