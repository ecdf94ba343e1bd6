//! What a run that ends badly says: uncaught faults, deadlocks, rejected programs. One renderer for all.

use madrigal_compiler::program::Rejected;
use madrigal_runtime::{DeadlockReport, DeadlockedTask};
use madrigal_stdlib::Run;
use madrigal_syntax::SourceFile;
use madrigal_syntax::render::{Location, Report, render, render_report};
use madrigal_vm::{Fault, FaultKind, Program, Value};
use std::fmt::Write;

/// Every diagnostic of a rejected file.
pub(crate) fn rejected(rejected: &Rejected) -> String {
    rejected.diagnostics.iter().map(|it| render(it, &rejected.source)).collect()
}

/// The report of an uncaught fault.
pub(crate) fn uncaught(fault: &Fault, program: &Program) -> String {
    let source_of = |module: u32| program.modules.get(module as usize).map(|it| &it.source);
    let line_of = |module: u32, offset: u32| source_of(module).map(|it| it.line(offset));
    let innermost = fault.frames().first();
    let line = innermost.and_then(|it| line_of(it.module, it.span.0));
    let head = fault.message(line);
    let source =
        innermost.and_then(|it| source_of(it.module)).map(|it| SourceFile::new(it.path.clone(), it.text.clone()));
    let location = innermost.zip(source.as_ref()).map(|(frame, source)| Location {
        path: &source.path,
        source: Some(source),
        position: source.position(frame.span.0),
        carets: 0,
        label: "",
    });
    let mut notes: Vec<String> = fault
        .frames()
        .windows(2)
        .filter_map(|pair| {
            let caller = &pair[1];
            let path = &source_of(caller.module)?.path;
            Some(format!("called from {} at {path}:{}", caller.function, line_of(caller.module, caller.span.0)?))
        })
        .collect();
    if let Some(task) = fault.task() {
        notes.push(format!("in task {task}"));
    }
    notes.extend(fault.suppressed().iter().map(|it| {
        let line = it.frames().first().and_then(|frame| line_of(frame.module, frame.span.0));
        format!("suppressed: {}", it.message(line))
    }));
    let head = if matches!(fault.kind(), FaultKind::Deadlock(_)) { head } else { format!("error: {head}") };
    render_report(&Report { head, location, help: Vec::new(), notes })
}

/// Reports a fault that nobody handles, behind what the program has written so far.
pub(crate) fn say_uncaught(run: &Run, fault: &Fault, program: &Program) {
    let text = uncaught(fault, program);
    run.stdout.flush();
    run.stderr.write(|out| out.extend_from_slice(text.as_bytes()));
    run.stderr.flush();
}

/// The report of a run in which every task waits for another.
pub(crate) fn deadlock(report: &DeadlockReport, program: &Program) -> String {
    let mut text = String::from("deadlock: every task waits for another, and nothing can wake any of them\n");
    for task in &report.tasks {
        text.push_str("  ");
        push_waiting(&mut text, task, program);
        text.push('\n');
    }
    text
}

/// The text of tasks that wait for one another in a circle.
pub(crate) fn circle(tasks: &[DeadlockedTask], program: &Program) -> String {
    let mut text = String::new();
    for task in tasks {
        if !text.is_empty() {
            text.push_str("; ");
        }
        push_waiting(&mut text, task, program);
    }
    text
}

/// What one task waits for, who holds it, and where it waits.
fn push_waiting(text: &mut String, task: &DeadlockedTask, program: &Program) {
    let _ = write!(text, "{} waits for {}", task.id, task.waiting);
    // The holder of a task that is awaited is that task.
    if let Some(holder) = task.holder.as_ref().filter(|it| !task.waiting.contains(&format!("<task:{it}>"))) {
        let _ = write!(text, ", held by {holder}");
    }
    if let Some((module, offset)) = task.location
        && let Some(unit) = program.modules.get(module as usize)
    {
        let _ = write!(text, " at {}:{}", unit.source.path, unit.source.line(offset));
    }
}

/// What a program's value says on standard error, and the exit status it stands for.
pub(crate) fn status_of(value: &Value) -> (i32, Option<String>) {
    if let Some(status) = value.as_int() {
        return (status.clamp(0, 255) as i32, None);
    }
    match value {
        Value::Enum(it) => match it.as_result() {
            Some(Err(error)) => {
                let mut text = error.to_string();
                if text.is_empty() {
                    text.push_str("error");
                }
                if !text.ends_with('\n') {
                    text.push('\n');
                }
                (1, Some(text))
            }
            _ => (0, None),
        },
        _ => (0, None),
    }
}
