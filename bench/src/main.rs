//! Side-by-side benchmarks: our kernels and the peers' take turns for several rounds; medians and ratios are printed.
//! Not a test: nothing here fails because something is slow. Read `kernels.rs` first, it is the list of what is measured.

mod kernels;
mod measure;
mod options;
mod programs;
mod report;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::{env, io};

use kernels::{KERNELS, Kernel};
use options::{Options, Request};
use programs::{Peer, Places, Program};
use report::{Figures, Report, Row};

/// Rounds under `--quick`, which only asks whether everything works.
const QUICK_ROUNDS_MAX: usize = 2;

fn main() -> ExitCode {
    match options::read(env::args().skip(1)) {
        Ok(Request::Help) => print!("{}", options::help()),
        Ok(Request::Run(options)) => return run(&options),
        Err(message) => {
            eprintln!("error: {message}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn run(options: &Options) -> ExitCode {
    let places = Places::find();
    let (programs, skipped) = prepare(options, &places);
    let rounds = if options.quick { options.rounds.min(QUICK_ROUNDS_MAX) } else { options.rounds };
    let mut rows: Vec<Row> = KERNELS
        .iter()
        .filter(|kernel| wanted(options, kernel))
        .map(|kernel| empty_row(options, kernel, &programs))
        .collect();
    for round in 1..=rounds {
        for row in &mut rows {
            eprintln!("round {round} of {rounds}: {}", row.kernel.name);
            for program in &programs {
                measure_once(program, row, round);
            }
        }
    }
    let report = Report { rounds, quick: options.quick, rows, skipped };
    println!("{}", report.table());
    let file = options.json.clone().unwrap_or_else(|| places.target.join("bench.json"));
    match write_json(&file, &report) {
        Ok(()) => eprintln!("figures in {}", file.display()),
        Err(error) => {
            eprintln!("error: cannot write {}: {error}", file.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn wanted(options: &Options, kernel: &Kernel) -> bool {
    options.only.is_empty() || options.only.iter().any(|name| name == kernel.name)
}

/// Builds what can be built; what cannot is a line for the end of the report.
fn prepare(options: &Options, places: &Places) -> (Vec<Program>, Vec<String>) {
    let mut programs = Vec::new();
    let mut skipped = Vec::new();
    eprintln!("building madrigal");
    match programs::build_ours(places) {
        Ok(program) => programs.push(program),
        Err(reason) => skipped.push(format!("madrigal skipped: {reason}")),
    }
    for peer in Peer::ALL.into_iter().filter(|peer| peer_wanted(options, *peer)) {
        eprintln!("preparing {}", peer.name());
        match programs::prepare_peer(peer, places) {
            Ok(program) => programs.push(program),
            Err(reason) => skipped.push(reason),
        }
    }
    for line in &skipped {
        eprintln!("{line}");
    }
    (programs, skipped)
}

fn peer_wanted(options: &Options, peer: Peer) -> bool {
    options.peers.as_ref().is_none_or(|names| names.iter().any(|name| name == peer.name()))
}

fn empty_row(options: &Options, kernel: &'static Kernel, programs: &[Program]) -> Row {
    let size = if options.quick { kernel.quick_size } else { kernel.size };
    let has = |peer: &Peer| programs.iter().any(|program| program.peer == Some(*peer));
    let peers = kernel.peers.iter().filter(|(peer, _)| has(peer)).map(|(peer, _)| (*peer, Figures::default()));
    Row { kernel, size, ours: Figures::default(), peers: peers.collect() }
}

/// Runs the kernel once on this program, if it has it. What failed once is not run again.
fn measure_once(program: &Program, row: &mut Row, round: usize) {
    let Some(name) = kernel_name(program, row.kernel) else {
        return;
    };
    // Python takes most of the time of a round and is here for orientation only.
    if program.peer == Some(Peer::Python) && round > 1 {
        return;
    }
    let figures = match program.peer {
        None => &mut row.ours,
        Some(peer) => &mut row.peers.iter_mut().find(|(other, _)| *other == peer).expect("a row lists its peers").1,
    };
    if figures.failure.is_some() {
        return;
    }
    let outcome = measure::sample(program, row.kernel, name, row.size);
    if let Err(reason) = &outcome {
        eprintln!("  {} failed: {reason}", program.name());
    }
    figures.add(outcome);
}

/// What the kernel is called in this program, or nothing when it has no such kernel.
fn kernel_name(program: &Program, kernel: &Kernel) -> Option<&'static str> {
    match program.peer {
        None => Some(kernel.name),
        Some(peer) => kernel.peers.iter().find(|(other, _)| *other == peer).map(|(_, name)| *name),
    }
}

fn write_json(file: &Path, report: &Report) -> io::Result<()> {
    if let Some(parent) = file.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(file, format!("{:#}\n", report.json()))
}
