//! The bookkeeping of a rate limit, without tasks or clock: who may start when, given the time. Strictly first come
//! first served; a request may start at `t` while fewer than `rpm` were granted in `(t - 60 s, t]`, and likewise for
//! tokens. Invariant: `granted` holds the waiters whose turn came and who have not looked yet.

use super::Limits;
use std::collections::{BTreeMap, VecDeque};

/// Length of the window.
pub(super) const WINDOW_MS: i64 = 60_000;

/// Names a waiter and its grant.
pub(super) type Ticket = u64;

#[derive(Clone, Copy, Debug)]
struct Grant {
    ticket: Ticket,
    at: i64,
    tokens: u64,
}

#[derive(Clone, Copy, Debug)]
struct Waiter {
    ticket: Ticket,
    tokens: u64,
    since: i64,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Permits given.
    pub granted: u64,
    /// Permits that had to be waited for.
    pub waited: u64,
    /// Waiters that gave up.
    pub cancelled: u64,
    /// All waits together.
    pub wait_ms_total: u64,
    /// The longest wait.
    pub wait_ms_max: u64,
    /// Most waiters at a time.
    pub max_queue_depth: u64,
    /// All pauses together.
    pub paused_ms_total: u64,
}

/// The window of a provider.
#[derive(Debug)]
pub(super) struct Window {
    pub limits: Limits,
    grants: VecDeque<Grant>,
    queue: VecDeque<Waiter>,
    granted: BTreeMap<Ticket, u64>,
    paused_until: i64,
    next_ticket: Ticket,
    pub metrics: Metrics,
}

impl Window {
    pub fn new(limits: Limits) -> Window {
        Window {
            limits,
            grants: VecDeque::new(),
            queue: VecDeque::new(),
            granted: BTreeMap::new(),
            paused_until: i64::MIN,
            next_ticket: 0,
            metrics: Metrics::default(),
        }
    }

    /// Forgets what has left the window.
    fn expire(&mut self, now: i64) {
        for grant in &mut self.grants {
            // The clock was mocked meanwhile.
            grant.at = grant.at.min(now);
        }
        self.paused_until = self.paused_until.min(now.saturating_add(WINDOW_MS * 60));
        while self.grants.front().is_some_and(|it| it.at <= now - WINDOW_MS) {
            self.grants.pop_front();
        }
    }

    /// Queues up.
    pub fn join(&mut self, tokens: u64, now: i64) -> Ticket {
        self.next_ticket += 1;
        self.queue.push_back(Waiter { ticket: self.next_ticket, tokens, since: now });
        self.metrics.max_queue_depth = self.metrics.max_queue_depth.max(self.queue.len() as u64);
        self.next_ticket
    }

    /// Grants what can be granted; the tickets.
    pub fn pump(&mut self, now: i64) -> Vec<Ticket> {
        let mut granted = Vec::new();
        while let Some(head) = self.queue.front().copied() {
            if self.earliest(head.tokens, now) > now {
                break;
            }
            self.queue.pop_front();
            self.grants.push_back(Grant { ticket: head.ticket, at: now, tokens: head.tokens });
            let waited = u64::try_from(now - head.since).unwrap_or(0);
            self.granted.insert(head.ticket, waited);
            granted.push(head.ticket);
        }
        granted
    }

    /// When a request of so many tokens may start, if nothing else is granted before.
    pub fn earliest(&mut self, tokens: u64, now: i64) -> i64 {
        self.expire(now);
        let mut at = now.max(self.paused_until);
        if let Some(rpm) = self.limits.rpm
            && self.grants.len() as u64 >= rpm
        {
            let leaving = self.grants.len() - rpm as usize;
            at = at.max(self.grants[leaving].at + WINDOW_MS);
        }
        if let Some(tpm) = self.limits.tpm {
            // A request above the whole limit goes alone.
            let room = tpm.saturating_sub(tokens);
            let mut used: u64 = self.grants.iter().map(|it| it.tokens).sum();
            for grant in &self.grants {
                if used <= room {
                    break;
                }
                used -= grant.tokens;
                if grant.tokens > 0 {
                    at = at.max(grant.at + WINDOW_MS);
                }
            }
        }
        at
    }

    /// How long the holder of a ticket waited, once its turn came.
    pub fn taken(&mut self, ticket: Ticket) -> Option<u64> {
        let waited = self.granted.remove(&ticket)?;
        self.metrics.granted += 1;
        if waited > 0 {
            self.metrics.waited += 1;
            self.metrics.wait_ms_total += waited;
            self.metrics.wait_ms_max = self.metrics.wait_ms_max.max(waited);
        }
        Some(waited)
    }

    /// A waiter gives up; a grant it has not seen is taken back.
    pub fn leave(&mut self, ticket: Ticket) {
        let before = self.queue.len();
        self.queue.retain(|it| it.ticket != ticket);
        if self.granted.remove(&ticket).is_some() {
            self.grants.retain(|it| it.ticket != ticket);
        } else if self.queue.len() == before {
            return;
        }
        self.metrics.cancelled += 1;
    }

    /// The real number of tokens of a grant replaces the estimate, at the time of the grant.
    pub fn settle(&mut self, ticket: Ticket, tokens: u64) {
        if let Some(grant) = self.grants.iter_mut().find(|it| it.ticket == ticket) {
            grant.tokens = tokens;
        }
    }

    /// Nobody starts before `until`.
    pub fn pause(&mut self, until: i64, now: i64) {
        if until > self.paused_until {
            self.metrics.paused_ms_total += u64::try_from(until - self.paused_until.max(now)).unwrap_or(0);
            self.paused_until = until;
        }
    }

    /// Whether this waiter is next, and then when.
    pub fn turn_of(&mut self, ticket: Ticket, now: i64) -> Option<i64> {
        let head = self.queue.front().copied().filter(|it| it.ticket == ticket)?;
        Some(self.earliest(head.tokens, now))
    }

    pub fn head(&self) -> Option<Ticket> {
        self.queue.front().map(|it| it.ticket)
    }

    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Requests and tokens in the window, and when the next request may start.
    pub fn usage(&mut self, now: i64) -> (usize, u64, i64) {
        let tokens = self.queue.front().map_or(0, |it| it.tokens);
        let next = self.earliest(tokens, now);
        (self.grants.len(), self.grants.iter().map(|it| it.tokens).sum(), next - now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layer;
    use proptest::prelude::*;

    fn limits(rpm: u64, tpm: u64) -> Limits {
        let some = |it: u64| (it > 0).then_some(it);
        Limits { rpm: some(rpm), tpm: some(tpm), max_concurrent: None, source: Layer::Runtime }
    }

    /// What the limit allows, straight from its definition.
    fn allowed(limits: Limits, grants: &[(i64, u64)], tokens: u64, now: i64) -> bool {
        let window: Vec<_> = grants.iter().filter(|it| it.0 > now - WINDOW_MS && it.0 <= now).collect();
        let used: u64 = window.iter().map(|it| it.1).sum();
        let requests = limits.rpm.is_none_or(|rpm| (window.len() as u64) < rpm);
        let token_room = limits.tpm.is_none_or(|tpm| used + tokens <= tpm || (tokens > tpm && used == 0));
        requests && token_room
    }

    #[derive(Clone, Debug)]
    enum Action {
        Join(u64),
        Leave(usize),
        Pass(i64),
    }

    fn action() -> impl Strategy<Value = Action> {
        prop_oneof![
            4 => (0u64..60).prop_map(Action::Join),
            1 => (0usize..8).prop_map(Action::Leave),
            3 => (1i64..30_000).prop_map(Action::Pass),
        ]
    }

    proptest! {
        /// Under random load grants happen exactly when a naive model allows the head of the queue to start.
        #[test]
        fn grants_are_those_of_the_naive_model(
            rpm in 0u64..6, tpm in 0u64..100, actions in proptest::collection::vec(action(), 1..80)
        ) {
            let limits = limits(rpm, tpm);
            let mut window = Window::new(limits);
            let (mut now, mut queue) = (0i64, VecDeque::new());
            let mut grants: Vec<(i64, u64)> = Vec::new();
            for action in actions {
                match action {
                    Action::Join(tokens) => queue.push_back((window.join(tokens, now), tokens)),
                    Action::Leave(at) => {
                        if at < queue.len() && let Some((ticket, _)) = queue.remove(at) {
                            window.leave(ticket);
                        }
                    }
                    Action::Pass(time) => {
                        let until = now + time;
                        // Stop at each instant that the window names, as a timer would.
                        while let Some(ticket) = window.head() {
                            let at = window.turn_of(ticket, now).expect("it is the head");
                            prop_assert!(at > now, "the head could have started");
                            if at > until {
                                break;
                            }
                            prop_assert!(!allowed(limits, &grants, queue[0].1, at - 1), "it waits longer than needed");
                            now = at;
                            for ticket in window.pump(now) {
                                let (expected, tokens) = queue.pop_front().expect("somebody waits");
                                prop_assert_eq!(ticket, expected, "first come, first served");
                                prop_assert!(allowed(limits, &grants, tokens, now), "granted too early");
                                grants.push((now, tokens));
                                window.taken(ticket);
                            }
                        }
                        now = until;
                    }
                }
                for ticket in window.pump(now) {
                    let (expected, tokens) = queue.pop_front().expect("somebody waits");
                    prop_assert_eq!(ticket, expected);
                    prop_assert!(allowed(limits, &grants, tokens, now), "granted too early");
                    grants.push((now, tokens));
                    window.taken(ticket);
                }
                if let Some((_, tokens)) = queue.front() {
                    prop_assert!(!allowed(limits, &grants, *tokens, now), "the head could start");
                }
            }
        }
    }

    #[test]
    fn the_window_is_half_open() {
        let mut window = Window::new(limits(1, 0));
        window.join(0, 0);
        assert_eq!(window.pump(0).len(), 1);
        window.join(0, 1);
        assert!(window.pump(59_999).is_empty());
        assert_eq!(window.pump(60_000).len(), 1);
    }

    #[test]
    fn a_settled_grant_frees_tokens_at_its_own_time() {
        let mut window = Window::new(limits(0, 100));
        let first = window.join(90, 0);
        window.pump(0);
        window.join(50, 10);
        assert!(window.pump(10).is_empty());
        window.settle(first, 20);
        assert_eq!(window.pump(10).len(), 1);
    }

    #[test]
    fn a_grant_that_nobody_saw_is_taken_back() {
        let mut window = Window::new(limits(1, 0));
        let first = window.join(0, 0);
        window.pump(0);
        window.leave(first);
        window.join(0, 0);
        assert_eq!(window.pump(0).len(), 1);
        assert_eq!(window.metrics.cancelled, 1);
    }
}
