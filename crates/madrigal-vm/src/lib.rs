//! Values, bytecode and the interpreter of the Harn language; it never waits.
