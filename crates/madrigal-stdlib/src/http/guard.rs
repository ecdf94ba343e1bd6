//! Checks hosts where they are really reached: before a request, at every redirect, and by the addresses that a name
//! stands for when the run is sandboxed.

use crate::host::Run;
use crate::net_rules::Target;
use madrigal_vm::Fault;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

/// Calls of models need a capability of their own instead.
pub(super) const MODELS: &str = "llm_call";

/// Whether `name` may reach the host of `url`, as far as can be told without resolving it.
pub(crate) fn permit(run: &Run, name: &str, url: &Url) -> Result<(), Fault> {
    match Target::of_url(url) {
        Some(target) => run.may_connect(name, &target),
        None => Ok(()),
    }
}

/// Looks at the hosts that redirects lead to.
pub(super) struct Guard {
    /// The run owns the client that owns this.
    run: Weak<Run>,
    surface: &'static str,
}

impl Guard {
    pub(super) fn new(run: &Arc<Run>, surface: &'static str) -> Guard {
        Guard { run: Arc::downgrade(run), surface }
    }

    /// What is wrong with going on to `url`.
    pub(super) fn objection(&self, url: &Url) -> Option<Blocked> {
        let run = self.run.upgrade().filter(|_| self.surface != MODELS)?;
        let checked = run.egress.check(&run, self.surface, url.as_str());
        checked.and_then(|()| permit(&run, self.surface, url)).err().map(Blocked)
    }
}

/// A fault on its way through the HTTP library.
#[derive(Debug)]
pub(super) struct Blocked(Fault);

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.caught())
    }
}

impl Error for Blocked {}

impl Blocked {
    /// The fault that caused an error, if one did.
    pub(super) fn within(error: &dyn Error) -> Option<Fault> {
        let mut cause = error.source();
        while let Some(it) = cause {
            if let Some(blocked) = it.downcast_ref::<Blocked>() {
                return Some(blocked.0.clone());
            }
            cause = it.source();
        }
        None
    }
}

/// Resolves names to the addresses that the run may reach.
pub(super) struct GuardedResolver {
    run: Weak<Run>,
    surface: &'static str,
}

impl GuardedResolver {
    /// The resolver of a sandboxed run; others need none.
    pub(super) fn of(run: &Arc<Run>, surface: &'static str) -> Option<Arc<GuardedResolver>> {
        (run.is_net_restricted() && surface != MODELS)
            .then(|| Arc::new(GuardedResolver { run: Arc::downgrade(run), surface }))
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (run, surface) = (self.run.clone(), self.surface);
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            let allowed = match run.upgrade() {
                Some(run) => run.reachable(surface, &host, found).map_err(Blocked)?,
                None => Vec::new(),
            };
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}
