//! Capabilities: what a run may touch, and the one place that checks it. Everything is allowed unless the run is
//! sandboxed; then each thing is granted singly. Paths are compared after resolving links, hosts once more by the
//! address a name stands for. A program that was allowed to start is not confined itself.

use crate::host::Run;
use crate::net_rules::{NetRule, Target};
use madrigal_vm::{Args, Cx, Fault};
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};

madrigal_vm::builtins! {
    /// Fails because the builtin of this name was forbidden.
    "__not_permitted" (name: string) -> never = not_permitted;
}

/// Builtins that `--allow` leaves in place whatever it names.
const ALWAYS_PERMITTED: [&str; 13] = [
    "println",
    "print",
    "log",
    "type_of",
    "to_string",
    "to_int",
    "to_float",
    "len",
    "assert",
    "assert_eq",
    "assert_ne",
    "json_parse",
    "json_stringify",
];

/// Whether a builtin works although only `allowed` ones are to.
pub fn is_permitted(name: &str, allowed: &[String]) -> bool {
    let always = ALWAYS_PERMITTED.contains(&name) || name.starts_with("runtime_context");
    always || allowed.iter().any(|it| it == name)
}

fn not_permitted(_: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    Err(Fault::categorised("tool_rejected", format!("Tool '{}' is not permitted.", args.string(0))))
}

/// What is granted of one capability.
#[derive(Clone, Debug)]
pub enum Grant<T> {
    /// All of it.
    All,
    /// Only these.
    Only(Vec<T>),
}

impl<T> Grant<T> {
    fn allows(&self, wanted: impl Fn(&T) -> bool) -> bool {
        match self {
            Grant::All => true,
            Grant::Only(granted) => granted.iter().any(wanted),
        }
    }
}

/// What a run may touch.
#[derive(Clone, Debug)]
pub struct Permissions {
    /// Directories and files that may be read.
    pub read: Grant<PathBuf>,
    /// Directories and files that may be written.
    pub write: Grant<PathBuf>,
    /// Hosts that may be reached.
    pub net: Grant<NetRule>,
    /// Programs that may be run.
    pub run: Grant<String>,
    /// Environment variables that may be read.
    pub env: Grant<String>,
    /// Providers that may be called.
    pub llm: Grant<String>,
}

impl Default for Permissions {
    fn default() -> Permissions {
        Permissions {
            read: Grant::All,
            write: Grant::All,
            net: Grant::All,
            run: Grant::All,
            env: Grant::All,
            llm: Grant::All,
        }
    }
}

impl Permissions {
    /// Nothing is allowed.
    pub fn none() -> Permissions {
        Permissions {
            read: Grant::Only(Vec::new()),
            write: Grant::Only(Vec::new()),
            net: Grant::Only(Vec::new()),
            run: Grant::Only(Vec::new()),
            env: Grant::Only(Vec::new()),
            llm: Grant::Only(Vec::new()),
        }
    }
}

fn denied(name: &str, capability: &str, flag: &str) -> Fault {
    Fault::categorised("tool_rejected", format!("'{name}' needs {capability}: allow it with {flag}"))
}

impl Run {
    /// Whether `name` may read `path`.
    pub fn may_read(&self, name: &str, path: &Path) -> Result<(), Fault> {
        within(&self.permissions().read, path)
            .then_some(())
            .ok_or_else(|| denied(name, "fs.read", &format!("--allow-read={}", path.display())))
    }

    /// Whether `name` may write `path`.
    pub fn may_write(&self, name: &str, path: &Path) -> Result<(), Fault> {
        within(&self.permissions().write, path)
            .then_some(())
            .ok_or_else(|| denied(name, "fs.write", &format!("--allow-write={}", path.display())))
    }

    /// Whether `name` may reach a host, as far as can be told before its name is resolved: a rule about addresses may
    /// allow it still ([`Run::reachable`]).
    pub fn may_connect(&self, name: &str, target: &Target) -> Result<(), Fault> {
        let allowed = self.permissions().net.allows(|rule| rule.matches(target) || rule.may_match(target));
        allowed.then_some(()).ok_or_else(|| denied(name, "net", &format!("--allow-net={target}")))
    }

    /// Whether not every host may be reached.
    pub(crate) fn is_net_restricted(&self) -> bool {
        matches!(self.permissions().net, Grant::Only(_))
    }

    /// Those of the addresses of `host` that may be reached; at least one.
    pub(crate) fn reachable(
        &self,
        name: &str,
        host: &str,
        addresses: Vec<SocketAddr>,
    ) -> Result<Vec<SocketAddr>, Fault> {
        let net = &self.permissions().net;
        let any_port = |host: &str| net.allows(|rule| rule.matches_host(&Target::new(host, 0)));
        if any_port(host) {
            return Ok(addresses);
        }
        let allowed: Vec<_> = addresses.into_iter().filter(|it| any_port(&it.ip().to_string())).collect();
        if allowed.is_empty() { Err(denied(name, "net", &format!("--allow-net={host}"))) } else { Ok(allowed) }
    }

    /// Whether `name` may listen on or reach `host:port`.
    pub fn may_use_address(&self, name: &str, host: &str, port: u16) -> Result<(), Fault> {
        self.may_connect(name, &Target::new(host, port))
    }

    /// Whether `name` may run a program.
    pub fn may_run(&self, name: &str, program: &str) -> Result<(), Fault> {
        let allowed = self.permissions().run.allows(|granted| granted == program);
        allowed.then_some(()).ok_or_else(|| denied(name, "run", &format!("--allow-run={program}")))
    }

    /// Whether `name` may read an environment variable.
    pub fn may_see(&self, name: &str, variable: &str) -> Result<(), Fault> {
        let allowed = self.permissions().env.allows(|granted| granted == variable);
        allowed.then_some(()).ok_or_else(|| denied(name, "env", &format!("--allow-env={variable}")))
    }

    /// Whether `name` may call a provider.
    pub fn may_ask(&self, name: &str, provider: &str) -> Result<(), Fault> {
        let allowed = provider == "mock" || self.permissions().llm.allows(|granted| granted == provider);
        allowed.then_some(()).ok_or_else(|| denied(name, "llm", &format!("--allow-llm={provider}")))
    }

    /// The environment of a program that is started; `None` is that of the process.
    pub fn child_environment(&self) -> Option<Vec<(OsString, OsString)>> {
        let fixed = self.fixed_environment();
        let Grant::Only(granted) = &self.permissions().env else {
            return fixed.map(|it| it.iter().map(|(key, value)| (key.into(), value.into())).collect());
        };
        let visible = granted.iter().map(String::as_str).chain(["PATH"]);
        Some(visible.filter_map(|name| Some((name.into(), self.variable(name)?.into()))).collect())
    }

    /// The text of a file that `name` reads.
    pub(crate) fn read_text(&self, name: &str, path: &Path) -> Result<String, ReadError> {
        self.may_read(name, path).map_err(ReadError::Denied)?;
        std::fs::read_to_string(path).map_err(ReadError::Failed)
    }
}

/// Why a file could not be read.
pub(crate) enum ReadError {
    Denied(Fault),
    Failed(io::Error),
}

impl ReadError {
    /// The fault; `failed` words what the system says.
    pub(crate) fn into_fault(self, failed: impl FnOnce(io::Error) -> Fault) -> Fault {
        match self {
            ReadError::Denied(fault) => fault,
            ReadError::Failed(error) => failed(error),
        }
    }
}

impl std::fmt::Display for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ReadError::Denied(fault) => write!(f, "{}", fault.caught()),
            ReadError::Failed(error) => error.fmt(f),
        }
    }
}

fn within(grant: &Grant<PathBuf>, path: &Path) -> bool {
    let Grant::Only(granted) = grant else { return true };
    let Ok(wanted) = real(path) else { return false };
    granted.iter().any(|it| real(it).is_ok_and(|it| wanted.starts_with(it)))
}

/// The path without links, also of what does not exist yet: a dangling link is followed, since writing would.
fn real(path: &Path) -> io::Result<PathBuf> {
    const LINKS_MAX: usize = 40;
    let mut links = 0;
    let mut resolved = PathBuf::new();
    let mut pending: Vec<OsString> = parts(path);
    while let Some(part) = pending.pop() {
        match Path::new(&part).components().next() {
            Some(Component::ParentDir) => {
                resolved.pop();
            }
            Some(Component::Normal(_)) => {
                let next = resolved.join(&part);
                match std::fs::read_link(&next) {
                    Ok(_) if links == LINKS_MAX => return Err(io::Error::other("too many links")),
                    Ok(target) => {
                        links += 1;
                        pending.extend(parts(&target));
                    }
                    Err(_) => resolved = next,
                }
            }
            Some(Component::CurDir) | None => {}
            Some(root) => resolved.push(root),
        }
    }
    Ok(resolved)
}

/// The components, last first.
fn parts(path: &Path) -> Vec<OsString> {
    path.components().rev().map(|it| it.as_os_str().to_owned()).collect()
}
