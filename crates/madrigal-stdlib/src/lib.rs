//! The Harn library: builtins and standard modules.
