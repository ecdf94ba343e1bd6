//! Run Harn programs from Rust: the engine and the driver between interpreter and runtime.
