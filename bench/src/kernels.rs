//! What is measured: the table of kernels with their sizes, peers and goals.
//! Not here: how a program is started (`programs.rs`) or timed (`measure.rs`). A new kernel is one row of `KERNELS`, one file
//! in `bench/harn` and a case in each peer that can do the same work.

use crate::programs::Peer;

/// What the number of a kernel counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds that the kernel measured itself, around its work.
    Seconds,
    /// Peak resident memory of the whole process divided by the size.
    BytesPerTask,
    /// Milliseconds from starting the process to its end.
    ProcessMs,
}

/// A bound on our number: relative to a peer, relative to another of our kernels, or absolute.
#[derive(Clone, Copy)]
pub enum Goal {
    /// At most this many times the peer's number.
    Ratio(Peer, f64),
    /// Strictly better than the peer.
    Faster(Peer),
    /// At most this many times our own number of another kernel.
    OwnRatio(&'static str, f64),
    /// At most this number, in the kernel's unit.
    AtMost(f64),
}

/// One row of the table.
pub struct Kernel {
    pub name: &'static str,
    pub what: &'static str,
    pub unit: Unit,
    /// The first argument of peers and `N` of ours; 0 for a kernel without a size.
    pub size: u64,
    /// The size under `--quick`.
    pub quick_size: u64,
    /// Peers that do the same work, with the name the kernel has there.
    pub peers: &'static [(Peer, &'static str)],
    pub goals: &'static [Goal],
}

use Goal::{AtMost, Faster, OwnRatio, Ratio};
use Peer::{Erlang, Go, Lua, LuaJit, Python, Tokio};

/// Kernels whose geometric mean against Lua has a goal of its own.
pub const COMPUTING: [&str; 6] = ["fib", "loop", "sieve", "trees", "words", "queens"];

/// Every kernel, in the order of the printed table.
pub const KERNELS: &[Kernel] = &[
    Kernel {
        name: "hello",
        what: "whole process of println(\"hi\")",
        unit: Unit::ProcessMs,
        size: 0,
        quick_size: 0,
        peers: &[(Lua, "hello"), (Erlang, "hello"), (Python, "hello")],
        goals: &[AtMost(10.0)],
    },
    Kernel {
        name: "spawn_join",
        what: "start N tasks and await every handle",
        unit: Unit::Seconds,
        size: 1_000_000,
        quick_size: 100_000,
        peers: &[(Tokio, "spawn_join"), (Go, "spawn_join"), (Erlang, "spawn_join"), (Python, "spawn_join")],
        goals: &[Ratio(Tokio, 1.5), Faster(Go)],
    },
    Kernel {
        name: "parallel_count",
        what: "the same through `parallel N`",
        unit: Unit::Seconds,
        size: 1_000_000,
        quick_size: 100_000,
        peers: &[(Tokio, "spawn_join"), (Go, "spawn_join"), (Erlang, "spawn_join"), (Python, "spawn_join")],
        goals: &[Ratio(Tokio, 1.0), Faster(Go)],
    },
    Kernel {
        name: "ping_pong",
        what: "N round trips between two tasks",
        unit: Unit::Seconds,
        size: 500_000,
        quick_size: 50_000,
        peers: &[(Tokio, "ping_pong"), (Go, "ping_pong"), (Erlang, "ping_pong"), (Python, "ping_pong")],
        goals: &[Ratio(Tokio, 1.5), Faster(Erlang)],
    },
    Kernel {
        name: "ring",
        what: "a token hops N times round 503 tasks",
        unit: Unit::Seconds,
        size: 1_000_000,
        quick_size: 100_000,
        peers: &[(Tokio, "ring"), (Go, "ring"), (Erlang, "ring")],
        goals: &[Ratio(Tokio, 1.5), Faster(Erlang)],
    },
    Kernel {
        name: "fan_in",
        what: "4 producers of N messages, 1 consumer",
        unit: Unit::Seconds,
        size: 250_000,
        quick_size: 25_000,
        peers: &[(Tokio, "fan_in"), (Go, "fan_in"), (Erlang, "fan_in"), (Python, "fan_in")],
        goals: &[Ratio(Tokio, 1.0)],
    },
    Kernel {
        name: "bounded",
        what: "N waits of 1 ms, 100 in flight",
        unit: Unit::Seconds,
        size: 10_000,
        quick_size: 2_000,
        peers: &[(Tokio, "bounded"), (Go, "bounded"), (Python, "bounded")],
        goals: &[Ratio(Tokio, 0.8)],
    },
    Kernel {
        name: "mutex",
        what: "100 tasks, N critical sections each",
        unit: Unit::Seconds,
        size: 10_000,
        quick_size: 1_000,
        peers: &[(Tokio, "mutex"), (Go, "mutex"), (Python, "mutex")],
        goals: &[Ratio(Tokio, 1.0)],
    },
    Kernel {
        name: "call_server",
        what: "N calls to a server process",
        unit: Unit::Seconds,
        size: 500_000,
        quick_size: 50_000,
        peers: &[(Erlang, "call_server")],
        goals: &[],
    },
    Kernel {
        name: "cancel",
        what: "cancel a scope of N tasks, all cleanups run",
        unit: Unit::Seconds,
        size: 100_000,
        quick_size: 10_000,
        peers: &[],
        goals: &[AtMost(0.1)],
    },
    Kernel {
        name: "idle",
        what: "peak memory of N sleeping tasks, per task",
        unit: Unit::BytesPerTask,
        size: 1_000_000,
        quick_size: 100_000,
        peers: &[(Tokio, "idle"), (Go, "idle"), (Erlang, "idle"), (Python, "idle")],
        goals: &[AtMost(1024.0)],
    },
    Kernel {
        name: "fib",
        what: "naive fib(N): calls",
        unit: Unit::Seconds,
        size: 32,
        quick_size: 25,
        peers: &[(Lua, "fib"), (LuaJit, "fib"), (Go, "fib"), (Erlang, "fib"), (Python, "fib")],
        goals: &[Ratio(Lua, 1.5)],
    },
    Kernel {
        name: "fib_parallel",
        what: "two fib(N) at once",
        unit: Unit::Seconds,
        size: 32,
        quick_size: 25,
        peers: &[],
        goals: &[OwnRatio("fib", 1.1)],
    },
    Kernel {
        name: "loop",
        what: "N integer steps",
        unit: Unit::Seconds,
        size: 20_000_000,
        quick_size: 1_000_000,
        peers: &[(Lua, "loop"), (LuaJit, "loop"), (Python, "loop")],
        goals: &[Ratio(Lua, 1.5)],
    },
    Kernel {
        name: "sieve",
        what: "primes up to N: list writes",
        unit: Unit::Seconds,
        size: 2_000_000,
        quick_size: 100_000,
        peers: &[(Lua, "sieve"), (LuaJit, "sieve"), (Python, "sieve")],
        goals: &[Ratio(Lua, 1.5)],
    },
    Kernel {
        name: "trees",
        what: "16 binary trees of depth N: allocation",
        unit: Unit::Seconds,
        size: 14,
        quick_size: 10,
        peers: &[(Lua, "trees"), (LuaJit, "trees"), (Python, "trees")],
        goals: &[Ratio(Lua, 1.5)],
    },
    Kernel {
        name: "words",
        what: "count N words in a dict: strings",
        unit: Unit::Seconds,
        size: 1_000_000,
        quick_size: 50_000,
        peers: &[(Lua, "words"), (LuaJit, "words"), (Python, "words")],
        goals: &[Ratio(Lua, 1.5)],
    },
    Kernel {
        name: "queens",
        what: "N queens: backtracking",
        unit: Unit::Seconds,
        size: 10,
        quick_size: 7,
        peers: &[(Lua, "queens"), (LuaJit, "queens"), (Python, "queens")],
        goals: &[Ratio(Lua, 1.5)],
    },
];
