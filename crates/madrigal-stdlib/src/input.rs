//! Reading standard input, and texts that stand in for it. Where real input comes from is the business of
//! [`crate::host::Input`].

use crate::host::run;
use madrigal_vm::{Args, Cx, Fault, Outcome, Value, Wait};
use parking_lot::Mutex;

madrigal_vm::builtins! {
    /// The next line of standard input without its end; nil at the end.
    "read_line" () -> string = read_line;
    /// Everything that is left of standard input.
    "read_stdin" () -> string = read_stdin;
    /// Makes `text` the standard input.
    "mock_stdin" (text: string) -> nil = mock_stdin;
    /// Goes back to the real standard input.
    "unmock_stdin" () -> nil = unmock_stdin;
    /// Prints a message and reads one line of the real standard input.
    "prompt_user" (message: string) -> string = prompt_user;
}

/// What is left of the text that stands in for standard input.
#[derive(Default)]
pub(crate) struct MockedInput(Mutex<Option<String>>);

impl MockedInput {
    /// The next line of the text; `None` when there is none left.
    pub(crate) fn line(&self) -> Option<String> {
        let mut text = self.0.lock();
        let left = text.as_mut().filter(|it| !it.is_empty())?;
        let end = left.find('\n').map_or(left.len(), |at| at + 1);
        Some(left.drain(..end).collect())
    }

    /// All that is left; `None` when nothing is.
    fn rest(&self) -> Option<String> {
        let mut text = self.0.lock();
        text.as_mut().filter(|it| !it.is_empty()).map(std::mem::take)
    }
}

/// A line without its end.
fn stripped(line: &str) -> Value {
    let line = line.strip_suffix('\n').unwrap_or(line);
    Value::from(line.strip_suffix('\r').unwrap_or(line))
}

fn read_line(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Outcome, Fault> {
    let run = run(cx).clone();
    if let Some(line) = run.mocked_input.line() {
        return Ok(stripped(&line).into());
    }
    Ok(Wait::new("read_line", async move {
        let line = run.external(run.stdin.line()).await;
        Ok(line.map_or(Value::Nil, |it| stripped(&it)))
    })
    .into())
}

fn read_stdin(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Outcome, Fault> {
    let run = run(cx).clone();
    if let Some(text) = run.mocked_input.rest() {
        return Ok(Value::from(text).into());
    }
    Ok(Wait::new("read_stdin", async move {
        let text = run.external(run.stdin.rest()).await;
        Ok(text.map_or(Value::Nil, Value::from))
    })
    .into())
}

fn mock_stdin(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    *run(cx).mocked_input.0.lock() = Some(args.string(0).to_string());
    Ok(())
}

fn unmock_stdin(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Fault> {
    *run(cx).mocked_input.0.lock() = None;
    Ok(())
}

fn prompt_user(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let run = run(cx).clone();
    run.stdout.write(|out| out.extend_from_slice(args.string(0).as_bytes()));
    run.stdout.flush();
    Ok(Wait::new("prompt_user", async move {
        let line = run.external(run.stdin.line()).await;
        Ok(Value::from(line.unwrap_or_default().trim_end()))
    })
    .into())
}
