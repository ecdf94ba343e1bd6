//! The locks that the primitives are made of, in one place: a model test puts locks of its own here, whose every
//! operation is a point at which another thread may go on.

pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard};
