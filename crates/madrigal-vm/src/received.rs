//! What a task remembers of the errors it received: the failures attached to them, which `catch` does not show.
//! Invariant: only errors with something attached are kept, and only so many.

use crate::fault::Fault;
use crate::value::Value;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many errors are remembered.
const ENTRIES_MAX: usize = 16;

/// The attached failures of the errors a task received last. Clones are the same memory.
#[derive(Clone, Debug, Default)]
pub struct Received(Arc<Mutex<VecDeque<Entry>>>);

/// An error with the thrown values of what is attached to it.
type Entry = (Value, Vec<Value>);

impl Received {
    fn entries(&self) -> MutexGuard<'_, VecDeque<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an error that the program is about to see.
    pub fn note(&self, fault: &Fault) {
        let mut entries = self.entries();
        if fault.suppressed().is_empty() && entries.is_empty() {
            return;
        }
        let value = fault.caught();
        // An equal error from before is not the last one any more.
        entries.retain(|(known, _)| *known != value);
        if !fault.suppressed().is_empty() {
            entries.truncate(ENTRIES_MAX - 1);
            entries.push_front((value, fault.suppressed().iter().map(Fault::caught).collect()));
        }
    }

    /// What was attached to the error received last that equals `value`.
    pub fn suppressed_by(&self, value: &Value) -> Vec<Value> {
        let entries = self.entries();
        entries.iter().find(|(known, _)| known == value).map(|it| it.1.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str, suppressed: &[&str]) -> Fault {
        let mut fault = Fault::thrown(text);
        suppressed.iter().for_each(|it| fault.suppress(Fault::thrown(*it)));
        fault
    }

    #[test]
    fn the_last_equal_error_counts() {
        let received = Received::default();
        received.note(&fault("a", &["x", "y"]));
        received.note(&fault("b", &["z"]));
        assert_eq!(Value::list(received.suppressed_by(&"a".into())).to_string(), "[x, y]");
        received.note(&fault("a", &[]));
        assert!(received.suppressed_by(&"a".into()).is_empty());
        assert_eq!(Value::list(received.suppressed_by(&"b".into())).to_string(), "[z]");
    }

    #[test]
    fn only_so_many_are_kept() {
        let received = Received::default();
        (0..100).for_each(|at| received.note(&fault(&at.to_string(), &["x"])));
        assert_eq!(received.entries().len(), ENTRIES_MAX);
        assert!(received.suppressed_by(&"0".into()).is_empty());
    }
}
