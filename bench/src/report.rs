//! From samples to medians, ratios, verdicts, the printed table and the JSON file.

use serde_json::{Value, json};

use crate::kernels::{COMPUTING, Goal, Kernel, Unit};
use crate::measure::{Sample, median};
use crate::programs::Peer;

/// Everything measured for one kernel.
pub struct Row {
    pub kernel: &'static Kernel,
    pub size: u64,
    pub ours: Figures,
    pub peers: Vec<(Peer, Figures)>,
}

/// The samples of one program, and why others are missing.
#[derive(Default)]
pub struct Figures {
    pub values: Vec<f64>,
    pub check: Option<String>,
    pub failure: Option<String>,
}

impl Figures {
    pub fn add(&mut self, outcome: Result<Sample, String>) {
        match outcome {
            Ok(sample) => {
                self.values.push(sample.value);
                self.check = Some(sample.check);
            }
            Err(reason) => self.failure = Some(reason),
        }
    }

    /// `None` when no run succeeded.
    fn median(&self) -> Option<f64> {
        (!self.values.is_empty()).then(|| median(&self.values))
    }

    fn shown(&self, unit: Unit) -> String {
        match self.median() {
            Some(value) => show(unit, value),
            None if self.failure.is_some() => "failed".into(),
            None => "-".into(),
        }
    }

    fn json(&self) -> Value {
        json!({ "median": self.median(), "samples": self.values, "check": self.check, "failure": self.failure })
    }
}

/// One line about a goal: what it is, how far we are, whether it is met (`None`: not measured).
struct Verdict {
    goal: String,
    reached: Option<f64>,
    met: Option<bool>,
}

/// All rows of a run.
pub struct Report {
    pub rounds: usize,
    pub quick: bool,
    pub rows: Vec<Row>,
    pub skipped: Vec<String>,
}

impl Report {
    fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.kernel.name == name)
    }

    /// The table for people.
    pub fn table(&self) -> String {
        let peers: Vec<Peer> = Peer::ALL.into_iter().filter(|peer| self.has(*peer)).collect();
        let mut lines = vec![self.heading(&peers)];
        for row in &self.rows {
            lines.push(self.line(row, &peers));
        }
        lines.extend(self.summary());
        lines.extend(self.warnings());
        lines.join("\n")
    }

    fn has(&self, peer: Peer) -> bool {
        self.rows.iter().any(|row| row.peers.iter().any(|(other, _)| *other == peer))
    }

    fn heading(&self, peers: &[Peer]) -> String {
        let columns: String = peers.iter().map(|peer| format!("{:>19}", format!("{} (ratio)", peer.name()))).collect();
        format!("{:<15}{:>11}{columns}  goal", "kernel", "madrigal")
    }

    fn line(&self, row: &Row, peers: &[Peer]) -> String {
        let columns: String = peers.iter().map(|peer| format!("{:>19}", cell(row, *peer))).collect();
        let goals: Vec<String> = self.verdicts(row).iter().map(show_verdict).collect();
        let ours = row.ours.shown(row.kernel.unit);
        format!("{:<15}{ours:>11}{columns}  {}", row.kernel.name, goals.join("; ")).trim_end().to_string()
    }

    fn verdicts(&self, row: &Row) -> Vec<Verdict> {
        row.kernel.goals.iter().map(|goal| self.verdict(row, *goal)).collect()
    }

    fn verdict(&self, row: &Row, goal: Goal) -> Verdict {
        let against = |peer| ratio(row, peer);
        let (text, reached, bound) = match goal {
            Goal::Ratio(peer, most) => (format!("<= {most} x {}", peer.name()), against(peer), most),
            Goal::Faster(peer) => (format!("< {}", peer.name()), against(peer), 1.0),
            Goal::OwnRatio(other, most) => (format!("<= {most} x {other}"), self.own_ratio(row, other), most),
            Goal::AtMost(most) => (format!("<= {}", show(row.kernel.unit, most)), row.ours.median(), most),
        };
        let strict = matches!(goal, Goal::Faster(_));
        let met = reached.map(|value| if strict { value < bound } else { value <= bound });
        Verdict { goal: text, reached, met }
    }

    fn own_ratio(&self, row: &Row, other: &str) -> Option<f64> {
        Some(row.ours.median()? / self.row(other)?.ours.median()?)
    }

    /// Numbers that need several rows: the speed-up of two cores and the mean against Lua.
    fn summary(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(speed_up) = self.speed_up() {
            lines.push(format!("\nfib on two cores: {speed_up:.2} times as fast as one after the other"));
        }
        if let Some(mean) = self.mean_against_lua() {
            let met = if mean <= 1.0 { "met" } else { "MISSED" };
            lines.push(format!("geometric mean of {} against lua: {mean:.2} (goal <= 1: {met})", COMPUTING.join(", ")));
        }
        lines
    }

    fn speed_up(&self) -> Option<f64> {
        Some(2.0 * self.row("fib")?.ours.median()? / self.row("fib_parallel")?.ours.median()?)
    }

    /// `None` unless all six kernels were measured on both sides: a mean of fewer would flatter or blame.
    fn mean_against_lua(&self) -> Option<f64> {
        let logs: Option<Vec<f64>> =
            COMPUTING.iter().map(|name| Some(ratio(self.row(name)?, Peer::Lua)?.ln())).collect();
        Some((logs?.iter().sum::<f64>() / COMPUTING.len() as f64).exp())
    }

    fn warnings(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.rows.iter().flat_map(failures).collect();
        lines.extend(self.rows.iter().filter_map(disagreement));
        lines.extend(self.skipped.iter().cloned());
        if !lines.is_empty() {
            lines.insert(0, String::new());
        }
        lines
    }

    /// The same for programs.
    pub fn json(&self) -> Value {
        let rows: Vec<Value> = self.rows.iter().map(|row| self.row_json(row)).collect();
        json!({
            "rounds": self.rounds,
            "quick": self.quick,
            "cores": std::thread::available_parallelism().map_or(0, usize::from),
            "kernels": rows,
            "fib_parallel_speed_up": self.speed_up(),
            "geometric_mean_against_lua": self.mean_against_lua(),
            "skipped": self.skipped,
        })
    }

    fn row_json(&self, row: &Row) -> Value {
        let mut peers = serde_json::Map::new();
        for (peer, figures) in &row.peers {
            let mut entry = figures.json();
            entry["ratio"] = json!(ratio(row, *peer));
            peers.insert(peer.name().into(), entry);
        }
        let goals = self.verdicts(row).into_iter();
        let goals: Vec<Value> = goals.map(|v| json!({ "goal": v.goal, "reached": v.reached, "met": v.met })).collect();
        json!({
            "name": row.kernel.name,
            "size": row.size,
            "unit": unit_name(row.kernel.unit),
            "ours": row.ours.json(),
            "peers": peers,
            "goals": goals,
        })
    }
}

fn ratio(row: &Row, peer: Peer) -> Option<f64> {
    let (_, figures) = row.peers.iter().find(|(other, _)| *other == peer)?;
    Some(row.ours.median()? / figures.median()?)
}

fn cell(row: &Row, peer: Peer) -> String {
    let Some((_, figures)) = row.peers.iter().find(|(other, _)| *other == peer) else {
        return "-".into();
    };
    let value = figures.shown(row.kernel.unit);
    ratio(row, peer).map_or(value.clone(), |ratio| format!("{value} ({ratio:.2})"))
}

fn show(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Seconds => format!("{value:.3} s"),
        Unit::BytesPerTask => format!("{value:.0} B"),
        Unit::ProcessMs => format!("{value:.1} ms"),
    }
}

fn unit_name(unit: Unit) -> &'static str {
    match unit {
        Unit::Seconds => "s",
        Unit::BytesPerTask => "bytes per task",
        Unit::ProcessMs => "ms",
    }
}

fn show_verdict(verdict: &Verdict) -> String {
    match verdict.met {
        Some(true) => format!("{} met", verdict.goal),
        Some(false) => format!("{} MISSED", verdict.goal),
        None => format!("{} ?", verdict.goal),
    }
}

fn failures(row: &Row) -> Vec<String> {
    let ours = std::iter::once(("madrigal", &row.ours));
    let all = ours.chain(row.peers.iter().map(|(peer, figures)| (peer.name(), figures)));
    all.filter_map(|(name, figures)| {
        let reason = figures.failure.as_ref()?;
        Some(format!("failed: {} on {name}: {reason}", row.kernel.name))
    })
    .collect()
}

/// A line when the programs did not compute the same thing, so that their times cannot be compared.
fn disagreement(row: &Row) -> Option<String> {
    let ours = row.ours.check.as_deref().map(|check| ("madrigal", check));
    let peers = row.peers.iter().filter_map(|(peer, figures)| Some((peer.name(), figures.check.as_deref()?)));
    let checks: Vec<(&str, &str)> = ours.into_iter().chain(peers).collect();
    let first = checks.first()?.1;
    if checks.iter().all(|(_, check)| *check == first) {
        return None;
    }
    let list: Vec<String> = checks.iter().map(|(name, check)| format!("{name} {check}")).collect();
    Some(format!("warning: {} gives different results: {}", row.kernel.name, list.join(", ")))
}
