//! Structured concurrency over futures: scopes, tasks, cancellation, deadlines, channels, locks, clock.
