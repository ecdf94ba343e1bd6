//! Starting programs: empty input, captured output, a process group of their own that is killed when nobody waits for it
//! any more.

use madrigal_vm::Value;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use tokio::process::{Child, Command};

/// A program to start.
pub(crate) struct Spawn {
    pub program: String,
    pub arguments: Vec<String>,
    pub directory: PathBuf,
    /// `None` is that of this process.
    pub environment: Option<Vec<(OsString, OsString)>>,
}

impl Spawn {
    /// Starts it with empty input and captured output.
    pub(crate) fn start(self) -> std::io::Result<Running> {
        let mut command = Command::new(&self.program);
        // Dropping the future is how a cancelled task lets go of the program: it must not live on.
        command.args(self.arguments).current_dir(existing(&self.directory)?).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own, so that what the program started goes with it.
        #[cfg(unix)]
        command.process_group(0);
        if let Some(variables) = self.environment {
            command.env_clear().envs(variables);
        }
        let child = command.spawn()?;
        let group = Group(child.id());
        Ok(Running { child, group })
    }
}

/// The directory; without this check the error would read as if the program were missing.
fn existing(directory: &Path) -> std::io::Result<&Path> {
    let found = std::fs::metadata(directory)?;
    if found.is_dir() { Ok(directory) } else { Err(std::io::ErrorKind::NotADirectory.into()) }
}

/// A running program; killed with all that it started when dropped.
pub(crate) struct Running {
    child: Child,
    group: Group,
}

impl Running {
    /// Number of the process, and of its group.
    pub(crate) fn id(&self) -> Option<u32> {
        self.group.0
    }

    /// Waits for its end.
    pub(crate) async fn output(self) -> std::io::Result<Output> {
        let Running { child, mut group } = self;
        let ended = child.wait_with_output().await;
        group.0 = None;
        ended
    }
}

/// The process group of a running program; killed with all that is in it unless the program ended.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(id) = self.0.filter(|_| cfg!(unix)) {
            // The program itself is killed by its handle; without `kill` its children are not.
            let target = format!("-{id}");
            let kill = std::process::Command::new("kill").args(["-KILL", "--", &target]).stderr(Stdio::null()).status();
            drop(kill);
        }
    }
}

/// Output of a program as text.
pub(crate) fn decoded(bytes: &[u8]) -> Value {
    Value::from(String::from_utf8_lossy(bytes).into_owned())
}
