//! The importable modules of the library (`import "std/NAME"`), which are written in Harn. A module may call natives
//! (builtins whose names begin `__`), builtins and other modules; functions marked `pub` are what it exports.

/// A module of the library.
#[derive(Clone, Copy, Debug)]
pub struct LibraryModule {
    /// As imported: `std/NAME`.
    pub path: &'static str,
    /// The name under which its functions are reached; without one they are bound as they are.
    pub namespace: Option<&'static str>,
    /// Its source.
    pub text: &'static str,
}

macro_rules! modules {
    ($($name:literal $(as $namespace:literal)?;)*) => {
        &[$(LibraryModule {
            path: concat!("std/", $name),
            namespace: namespace!($($namespace)?),
            text: include_str!(concat!("lib/std/", $name, ".harn")),
        }),*]
    };
}

macro_rules! namespace {
    () => {
        None
    };
    ($name:literal) => {
        Some($name)
    };
}

/// All of them.
pub const MODULES: &[LibraryModule] = modules! {
    "agent_state";
    "agents";
    "async";
    "checkpoint";
    "collections";
    "concurrent";
    "context";
    "json";
    "math";
    "path";
    "process" as "process";
    "runtime";
    "schema";
    "sync" as "sync";
    "testing";
    "text";
    "waitpoint";
    "waitpoints";
};

/// The module that is imported as `path`.
pub fn find(path: &str) -> Option<&'static LibraryModule> {
    MODULES.iter().find(|it| it.path == path)
}
