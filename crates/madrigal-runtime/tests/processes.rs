//! Processes against a small model: under any sequence of links, monitors, traps and exits, the same ones live, for the
//! same reasons, and the same messages have come. And: a storm of crashes keeps its limits and leaves nothing behind.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use madrigal_runtime::process::{
    ChildEnd, ChildSpec, Detail, Intensity, Member, Monitor, Pid, Process, ProcessSpec, Reason, ReasonKind, Received,
    Report, Settings, StartChild, Supervisor, System,
};
use madrigal_runtime::{Runtime, TaskContext, TaskError, scope};
use support::{each_runtime, log};

type AnyPid = Arc<dyn Member<TaskError>>;
type Worker = Pid<Command, TaskError>;

/// What a worker is told to do.
enum Command {
    Link(AnyPid),
    Unlink(AnyPid),
    Monitor(AnyPid, u64),
    Demonitor(u64),
    Trap(bool),
    Exit(Kind),
    Crash,
    Signal(AnyPid, Kind),
}

/// The exits that are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Normal,
    Shutdown,
    Kill,
    Error,
}

impl Kind {
    fn reason(self) -> Reason<TaskError> {
        match self {
            Kind::Normal => Reason::normal(),
            Kind::Shutdown => Reason::shutdown(),
            Kind::Kill => Reason::killed(),
            Kind::Error => Reason::error(TaskError::new("exit")),
        }
    }
}

/// The kind of an end, and of the end it goes back to through links; how many links there were depends on the schedule.
fn shown(reason: &Reason<TaskError>) -> String {
    let mut innermost = reason;
    while let Detail::Reason(inner) = &innermost.detail {
        innermost = inner;
    }
    match reason.kind {
        ReasonKind::Linked => format!("linked {}", innermost.kind.as_str()),
        kind => kind.as_str().to_owned(),
    }
}

async fn work(index: usize, process: Process<Command, TaskError>, seen: support::Log) -> Result<(), TaskError> {
    let mut monitors: BTreeMap<u64, Monitor<TaskError>> = BTreeMap::new();
    loop {
        match process.recv().await {
            Received::Message(Command::Link(other)) => process.link(&other),
            Received::Message(Command::Unlink(other)) => process.unlink(&other),
            Received::Message(Command::Monitor(other, name)) => {
                monitors.insert(name, process.monitor(&other));
            }
            Received::Message(Command::Demonitor(name)) => {
                if let Some(monitor) = monitors.remove(&name) {
                    process.demonitor(&monitor, true);
                }
            }
            Received::Message(Command::Trap(trap)) => drop(process.trap_exit(trap)),
            Received::Message(Command::Exit(kind)) => process.exit(kind.reason()),
            Received::Message(Command::Crash) => return Err(TaskError::new("crash")),
            Received::Message(Command::Signal(other, kind)) => other.exit(Some(process.pid().member()), kind.reason()),
            Received::Exit { from, reason } => {
                let from = from.map_or(0, |it| it.number());
                seen.push(format!("{index}: exit of {from}: {}", shown(&reason)));
            }
            Received::Down { monitor, pid, reason } => {
                let name = monitors.iter().find(|(_, it)| it.number() == monitor).map(|it| *it.0);
                seen.push(format!("{index}: down {name:?} of {}: {}", pid.number(), shown(&reason)));
            }
        }
    }
}

/// What should be.
struct Model {
    numbers: Vec<u64>,
    ends: Vec<Option<String>>,
    traps: Vec<bool>,
    links: BTreeSet<(usize, usize)>,
    /// (name, watcher, watched)
    monitors: Vec<(u64, usize, usize)>,
    events: Vec<String>,
}

impl Model {
    fn lives(&self, it: usize) -> bool {
        self.ends[it].is_none()
    }

    fn linked(&self, it: usize) -> Vec<usize> {
        let other = |(a, b): &(usize, usize)| [(*a, *b), (*b, *a)].into_iter().find(|at| at.0 == it).map(|at| at.1);
        self.links.iter().filter_map(other).collect()
    }

    fn kill(&mut self, it: usize, reason: String) {
        let mut dying = VecDeque::from([(it, reason)]);
        while let Some((it, reason)) = dying.pop_front() {
            if !self.lives(it) {
                continue;
            }
            self.ends[it] = Some(reason.clone());
            for other in self.linked(it) {
                self.links.remove(&(it.min(other), it.max(other)));
                self.signal_of_link(other, self.numbers[it], &reason, &mut dying);
            }
            let (fired, kept) = std::mem::take(&mut self.monitors).into_iter().partition(|at| at.2 == it);
            self.monitors = kept;
            let fired: Vec<(u64, usize, usize)> = fired;
            for (name, watcher, _) in fired {
                self.events.push(format!("{watcher}: down {:?} of {}: {reason}", Some(name), self.numbers[it]));
            }
        }
    }

    fn signal_of_link(&mut self, to: usize, of: u64, reason: &str, dying: &mut VecDeque<(usize, String)>) {
        if self.traps[to] {
            self.events.push(format!("{to}: exit of {of}: {reason}"));
        } else if reason != "normal" {
            let innermost = reason.strip_prefix("linked ").unwrap_or(reason);
            dying.push_back((to, format!("linked {innermost}")));
        }
    }

    fn link(&mut self, a: usize, b: usize) {
        if a == b {
            return;
        }
        if self.lives(b) {
            self.links.insert((a.min(b), a.max(b)));
            return;
        }
        let mut dying = VecDeque::new();
        self.signal_of_link(a, self.numbers[b], "noproc", &mut dying);
        for (it, reason) in dying {
            self.kill(it, reason);
        }
    }

    fn signal(&mut self, from: usize, to: usize, kind: Kind) {
        if !self.lives(to) {
            return;
        }
        let reason = shown(&kind.reason());
        match kind {
            Kind::Kill => self.kill(to, reason),
            _ if self.traps[to] => self.events.push(format!("{to}: exit of {}: {reason}", self.numbers[from])),
            Kind::Normal if from != to => {}
            _ => self.kill(to, reason),
        }
    }
}

/// Random numbers without a crate.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % limit as u64) as usize
    }
}

const WORKERS: usize = 8;
const STEPS: usize = 60;

/// Does one random thing, in the system and in the model.
fn step(random: &mut Random, name: u64, workers: &[Worker], model: &mut Model) -> String {
    let (a, b) = (random.below(WORKERS), random.below(WORKERS));
    if !model.lives(a) {
        return "nothing".to_owned();
    }
    let other = workers[b].member();
    let kind = [Kind::Normal, Kind::Shutdown, Kind::Kill, Kind::Error][random.below(4)];
    let (command, what) = match random.below(20) {
        0..6 => {
            model.link(a, b);
            (Command::Link(other), format!("{a} links {b}"))
        }
        6..8 => {
            model.links.remove(&(a.min(b), a.max(b)));
            (Command::Unlink(other), format!("{a} unlinks {b}"))
        }
        8..12 => {
            if model.lives(b) {
                model.monitors.push((name, a, b));
            } else {
                model.events.push(format!("{a}: down {:?} of {}: noproc", Some(name), model.numbers[b]));
            }
            (Command::Monitor(other, name), format!("{a} monitors {b}"))
        }
        12 => {
            let known = model.monitors.iter().find(|it| it.1 == a).map_or(0, |it| it.0);
            model.monitors.retain(|it| it.0 != known);
            (Command::Demonitor(known), format!("{a} gives monitor {known} up"))
        }
        13..15 => {
            let trap = random.below(2) == 0;
            model.traps[a] = trap;
            (Command::Trap(trap), format!("{a} traps: {trap}"))
        }
        15 => {
            model.kill(a, shown(&kind.reason()));
            (Command::Exit(kind), format!("{a} exits: {kind:?}"))
        }
        16 => {
            model.kill(a, "error".to_owned());
            (Command::Crash, format!("{a} crashes"))
        }
        _ => {
            model.signal(a, b, kind);
            (Command::Signal(other, kind), format!("{a} signals {b}: {kind:?}"))
        }
    };
    workers[a].send(command);
    what
}

async fn compare(seed: u64) -> Result<(), TaskError> {
    let clock = TaskContext::current().unwrap().runtime().clock().clone();
    scope(async |s| {
        let system = System::new(s);
        let seen = log();
        let workers: Vec<Worker> = (0..WORKERS)
            .map(|index| system.spawn(|process| work(index, process, seen.clone())).unwrap().pid())
            .collect();
        let mut model = Model {
            numbers: workers.iter().map(Pid::number).collect(),
            ends: vec![None; WORKERS],
            traps: vec![false; WORKERS],
            links: BTreeSet::new(),
            monitors: Vec::new(),
            events: Vec::new(),
        };
        let mut random = Random(seed);
        let mut history = Vec::new();
        for at in 0..STEPS {
            history.push(step(&mut random, at as u64 + 1, &workers, &mut model));
            // Virtual: everybody has run by then.
            clock.sleep(Duration::from_millis(1)).await;
            let ends: Vec<_> = workers.iter().map(|it| it.member().ended().map(|it| shown(&it))).collect();
            assert_eq!(ends, model.ends, "seed {seed}: {history:#?}");
            // Whether one that died in this step still got its last messages is up to the schedule.
            let wanted = std::mem::take(&mut model.events);
            let of_living = |line: &String| model.lives(line.split(':').next().unwrap().parse::<usize>().unwrap());
            let mut got: Vec<String> = seen.take().into_iter().filter(of_living).collect();
            let mut wanted: Vec<String> = wanted.into_iter().filter(of_living).collect();
            got.sort();
            wanted.sort();
            assert_eq!(got, wanted, "seed {seed}: {history:#?}");
        }
        system.shut_down(Duration::from_secs(5)).await;
        Ok(())
    })
    .await
}

#[test]
fn links_monitors_and_exits_follow_the_model() {
    for seed in 0..150 {
        Runtime::simulated(seed).run(move || compare(seed)).unwrap();
    }
}

/// How many crashes a storm has.
fn storm() -> u64 {
    std::env::var("CRASHES").map_or(2_000, |it| it.parse().unwrap())
}

/// A child that crashes at once, holding on to `held` while it lives.
fn crasher(system: System<TaskError>, starts: Arc<AtomicU64>, held: Arc<()>, calm_after: u64) -> StartChild<TaskError> {
    Arc::new(move |start| {
        let (starts, held) = (starts.clone(), held.clone());
        let spec = ProcessSpec { scope: Some(start.scope), seen: true, ..ProcessSpec::default() };
        let spawned = system.spawn_with(spec, |_, process: Process<(), TaskError>| {
            Box::pin(async move {
                let held = held;
                if starts.fetch_add(1, Ordering::Relaxed) < calm_after {
                    return Err(TaskError::new("crash"));
                }
                process.recv().await;
                drop(held);
                Ok(())
            })
        })?;
        Ok(spawned.pid().member())
    })
}

#[test]
fn a_storm_of_crashes_leaves_nothing_behind() {
    let crashes = storm();
    each_runtime(|runtime| {
        let (starts, held) = (Arc::new(AtomicU64::new(0)), Arc::new(()));
        let (counted, ran, marker) = (starts.clone(), starts.clone(), held.clone());
        let alive = runtime.run(async move || {
            scope(async |s| {
                let system = System::new(s.clone());
                let child = ChildSpec::new("crasher", crasher(system, counted, marker.clone(), crashes));
                let intensity = Intensity { max_restarts: u32::MAX, within: Duration::from_secs(1) };
                let settings = Settings { intensity: Some(intensity), ..Settings::default() };
                let (supervisor, control) = Supervisor::new(settings, vec![child]);
                let watched = control.clone();
                let running = s.spawn_future(async move {
                    let cx = TaskContext::current().unwrap();
                    Ok::<_, TaskError>(matches!(supervisor.run(cx).await, ChildEnd::Stopped(_)))
                })?;
                let calm = |it: Report<TaskError>| it.metrics.started > crashes && it.children[0].pid.is_some();
                while !calm(watched.report()) || ran.load(Ordering::Relaxed) <= crashes {
                    madrigal_runtime::yield_now().await;
                }
                let report = control.report();
                assert_eq!((report.metrics.failed, report.metrics.restarted), (crashes, crashes));
                let tasks = TaskContext::current().unwrap().runtime().task_tree().len();
                control.stop(Reason::shutdown(), None);
                assert!(running.await.into_result()?, "it ends because it was stopped");
                Ok((tasks, Arc::strong_count(&marker)))
            })
            .await
        });
        let (tasks, holders): (usize, usize) = alive.unwrap();
        assert_eq!(tasks, 3, "the root, the supervisor, the child");
        assert_eq!(holders, 3, "the test, its copy here, and the start closure: no child");
        assert_eq!(starts.load(Ordering::Relaxed), crashes + 1);
        assert_eq!(Arc::strong_count(&held), 1, "nothing outlives the run");
        assert!(runtime.task_tree().is_empty());
    });
}

#[test]
fn a_storm_ends_where_its_limit_is() {
    each_runtime(|runtime| {
        let starts = Arc::new(AtomicU64::new(0));
        let counted = starts.clone();
        let end = runtime.run(async move || {
            scope(async |s| {
                let system = System::new(s);
                let child = ChildSpec::new("crasher", crasher(system, counted, Arc::new(()), u64::MAX));
                let (supervisor, _) = Supervisor::new(Settings::default(), vec![child]);
                let end = supervisor.run(TaskContext::current().unwrap()).await;
                Ok::<_, TaskError>(matches!(end, ChildEnd::MaxRestarts))
            })
            .await
        });
        assert!(end.unwrap());
        assert_eq!(starts.load(Ordering::Relaxed), 4, "once, and three restarts");
    });
}
