//! What the arms of the interpreter call, by area. No control flow here.

pub(crate) mod arithmetic;
pub(crate) mod collections;
pub(crate) mod iteration;
pub(crate) mod parameters;
pub(crate) mod places;
