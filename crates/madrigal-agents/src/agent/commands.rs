//! The background commands of a loop: they wake it, and end with it.

use super::options::AgentOptions;
use crate::sessions::Lease;
use madrigal_runtime::inbox::{InboxEntry, WaitOutcome};
use madrigal_stdlib::Run;
use madrigal_stdlib::process::Commands;
use std::sync::Arc;
use std::time::Duration;

/// Whether something has reached the session that gives a loop another turn. When the options say so, the end of
/// background commands is waited for.
pub(super) async fn wakes(run: &Run, options: &AgentOptions, lease: &Lease) -> bool {
    let wakes = |it: &InboxEntry| ["tool_result", "worker_result", "user_message"].contains(&&*it.kind);
    if !options.inbox {
        return false;
    }
    // Asked first: a command pushes its result before it counts as ended.
    let parks = options.waits_for_handles && Commands::of(run).any_running(&lease.id);
    if lease.inbox.snapshot().iter().any(wakes) {
        return true;
    }
    let left = options.ends_at.map(|it| it.saturating_sub(run.now_monotonic()));
    let left = left.map(|it| Duration::from_millis(u64::try_from(it).unwrap_or(0)));
    parks && lease.inbox.wait_where(wakes, left).await == WaitOutcome::Ready
}

/// Ends the background commands of a loop; when it is dropped before, they are asked to end.
pub(super) struct Ending(Option<(Arc<Run>, String)>);

impl Ending {
    pub fn of(run: &Arc<Run>, session: &str) -> Ending {
        Ending(Some((run.clone(), session.to_owned())))
    }

    /// Waits until they have ended.
    pub async fn end(mut self) {
        if let Some((run, session)) = &self.0 {
            Commands::of(run).end(session).await;
        }
        self.0 = None;
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some((run, session)) = &self.0 {
            Commands::of(run).cancel(session);
        }
    }
}
