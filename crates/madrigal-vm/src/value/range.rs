//! Ranges of ints: lazy, constant memory, remembering how they were written.

use triomphe::Arc;

/// A range of the language. `end` is included unless `exclusive`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range(Arc<(i64, i64, bool)>);

impl Range {
    /// `start to end` or `start to end exclusive`.
    pub fn new(start: i64, end: i64, exclusive: bool) -> Range {
        Range(Arc::new((start, end, exclusive)))
    }

    /// As written.
    pub fn start(&self) -> i64 {
        self.0.0
    }

    /// As written.
    pub fn end(&self) -> i64 {
        self.0.1
    }

    /// As written.
    pub fn is_exclusive(&self) -> bool {
        self.0.2
    }

    /// The last int inside, `None` when empty.
    pub fn last(&self) -> Option<i64> {
        let last = if self.0.2 { self.0.1.checked_sub(1)? } else { self.0.1 };
        (self.0.0 <= last).then_some(last)
    }

    /// Number of ints, saturating.
    pub fn len(&self) -> usize {
        self.last().map_or(0, |last| usize::try_from(last.abs_diff(self.0.0)).unwrap_or(usize::MAX).saturating_add(1))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.last().is_none()
    }

    /// Whether `value` lies inside.
    pub fn contains(&self, value: i64) -> bool {
        self.last().is_some_and(|last| self.0.0 <= value && value <= last)
    }

    /// The ints.
    pub fn iter(&self) -> impl Iterator<Item = i64> + use<> {
        let start = self.0.0;
        self.last().into_iter().flat_map(move |last| start..=last)
    }
}
