//! Which shells there are: the configured one, that of the user, those the system lists, the usual ones.

use crate::host::Run;
use madrigal_vm::Value;
use parking_lot::Mutex;
use std::path::{Path, PathBuf};

/// The shell a script has chosen as default, by id.
#[derive(Default)]
pub(crate) struct Chosen(pub Mutex<Option<String>>);

/// A shell that may exist.
#[derive(Clone, Debug)]
pub(crate) struct Shell {
    pub id: String,
    pub path: PathBuf,
    source: &'static str,
}

impl Shell {
    fn new(path: PathBuf, source: &'static str) -> Shell {
        let id = path.file_name().map_or(String::new(), |it| it.to_string_lossy().to_lowercase());
        Shell { id, path, source }
    }

    pub(crate) fn is_available(&self) -> bool {
        self.path.is_file()
    }

    /// The arguments before the command.
    pub(crate) fn arguments(&self, login: bool, interactive: bool) -> Vec<String> {
        let flags = [("-i", interactive), ("-l", login), ("-c", true)];
        flags.into_iter().filter(|(_, wanted)| *wanted).map(|(flag, _)| flag.to_owned()).collect()
    }

    /// The descriptor that scripts see.
    pub(crate) fn descriptor(&self) -> Value {
        let arguments = |login: bool| Value::list(self.arguments(login, false).into_iter().map(Value::from).collect());
        Value::dict([
            ("id", Value::from(self.id.as_str())),
            ("label", Value::from(self.id.as_str())),
            ("path", Value::from(self.path.to_string_lossy().into_owned())),
            ("platform", Value::from(if cfg!(target_os = "macos") { "darwin" } else { std::env::consts::OS })),
            ("available", Value::Bool(self.is_available())),
            ("supports_login", Value::Bool(true)),
            ("supports_interactive", Value::Bool(true)),
            ("default_args", arguments(false)),
            ("login_args", arguments(true)),
            ("source", Value::from(self.source)),
        ])
    }
}

/// All candidates, one for each id, the preferred first.
pub(crate) fn all(run: &Run) -> Vec<Shell> {
    let variable = |name: &str, source| run.variable(name).map(|it| Shell::new(PathBuf::from(it), source));
    let listed = std::fs::read_to_string("/etc/shells").unwrap_or_default();
    let listed = listed.lines().map(str::trim).filter(|it| it.starts_with('/'));
    let usual =
        ["zsh", "bash", "sh"].into_iter().flat_map(|name| ["/bin", "/usr/bin"].map(|it| Path::new(it).join(name)));
    let candidates = variable("HARN_DEFAULT_SHELL", "configured")
        .into_iter()
        .chain(variable("SHELL", "env"))
        .chain(login_shell(run).map(|it| Shell::new(it, "login")))
        .chain(listed.map(|it| Shell::new(PathBuf::from(it), "etc_shells")))
        .chain(usual.map(|it| Shell::new(it, "fallback")));
    let mut shells: Vec<Shell> = Vec::new();
    for candidate in candidates.filter(|it| !it.id.is_empty()) {
        match shells.iter_mut().find(|it| it.id == candidate.id) {
            // One that exists replaces one that does not.
            Some(known) if !known.is_available() && candidate.is_available() => *known = candidate,
            Some(_) => {}
            None => shells.push(candidate),
        }
    }
    shells
}

/// The login shell of the user database.
fn login_shell(run: &Run) -> Option<PathBuf> {
    let user = run.variable("USER").or_else(crate::environment::user_of_database)?;
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let line = users.lines().find(|line| line.split(':').next() == Some(user.as_str()))?;
    line.rsplit(':').next().filter(|it| it.starts_with('/')).map(PathBuf::from)
}

/// The chosen shell if it is available, else the first that is.
pub(crate) fn default(run: &Run) -> Option<Shell> {
    let shells = all(run);
    let chosen = run.shell.0.lock().clone();
    let mut available = shells.into_iter().filter(Shell::is_available).collect::<Vec<_>>();
    let at = chosen.and_then(|id| available.iter().position(|it| it.id == id)).unwrap_or(0);
    (at < available.len()).then(|| available.swap_remove(at))
}

/// What to start for a command line.
pub(crate) fn default_program(run: &Run) -> String {
    default(run).map_or_else(|| "sh".to_owned(), |it| it.path.to_string_lossy().into_owned())
}
