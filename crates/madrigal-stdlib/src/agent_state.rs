//! What `std/agent_state` cannot do by itself: files that hold either the old or the new content, whatever happens.

use crate::host::run;
use madrigal_vm::{Args, Cx, Fault, Value, Wait};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

madrigal_vm::builtins! {
    /// Replaces the content of a file at once; `scratch` is a file beside it that nobody else uses.
    "__agent_state_put" (path: string, content: string, scratch: string) -> nil, needs FsWrite = put;
}

fn put(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let run = run(cx);
    let (path, scratch) = (run.resolve(&args.string(0)), run.resolve(&args.string(2)));
    run.may_write("agent_state_write", &path)?;
    let content = args.string(1);
    Ok(Wait::new(
        "agent_state_write",
        run.blocking(move || {
            let written = replace(&path, content.as_bytes(), &scratch);
            let failed = |it| Fault::thrown(format!("agent_state_write: cannot write {}: {it}", path.display()));
            written.map(|()| Value::Nil).map_err(failed)
        }),
    ))
}

fn replace(path: &Path, content: &[u8], scratch: &Path) -> std::io::Result<()> {
    for directory in [path, scratch].into_iter().filter_map(Path::parent) {
        fs::create_dir_all(directory)?;
    }
    let mut file = File::create(scratch)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(scratch, path)
}
