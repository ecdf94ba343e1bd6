//! The command line of the runner, read by hand because it is five options.

use std::path::PathBuf;

use crate::kernels::KERNELS;
use crate::programs::Peer;

/// What to run.
pub struct Options {
    pub rounds: usize,
    pub quick: bool,
    /// Names of kernels; empty means all.
    pub only: Vec<String>,
    /// Names of peers; `None` means all that are installed.
    pub peers: Option<Vec<String>>,
    pub json: Option<PathBuf>,
}

/// What the command line asked for.
pub enum Request {
    Run(Options),
    Help,
}

/// Reads the arguments after the program name.
pub fn read(args: impl Iterator<Item = String>) -> Result<Request, String> {
    let mut options = Options { rounds: 5, quick: false, only: Vec::new(), peers: None, json: None };
    let mut args = args.flat_map(|arg| match arg.split_once('=') {
        Some((name, value)) if name.starts_with("--") => vec![name.to_string(), value.to_string()],
        _ => vec![arg],
    });
    while let Some(arg) = args.next() {
        let mut value = |what: &str| args.next().ok_or(format!("{arg} needs {what}"));
        match arg.as_str() {
            "--help" | "-h" => return Ok(Request::Help),
            "--quick" => options.quick = true,
            "--rounds" => options.rounds = rounds(&value("a number")?)?,
            "--only" => options.only = names(&value("kernel names")?, &kernel_names())?,
            "--peers" => options.peers = Some(names(&value("peer names, or none")?, &peer_names())?),
            "--json" => options.json = Some(value("a file name")?.into()),
            other => return Err(format!("unknown option {other}; --help lists them")),
        }
    }
    Ok(Request::Run(options))
}

fn rounds(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(format!("--rounds needs a number above 0, not {text}")),
    }
}

/// Splits `a,b` and refuses names that do not exist; `none` is the empty list.
fn names(text: &str, known: &[&str]) -> Result<Vec<String>, String> {
    if text == "none" {
        return Ok(Vec::new());
    }
    let wanted: Vec<String> = text.split(',').map(str::trim).map(String::from).collect();
    match wanted.iter().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(format!("there is no '{name}'; there are {}", known.join(", "))),
        None => Ok(wanted),
    }
}

fn kernel_names() -> Vec<&'static str> {
    KERNELS.iter().map(|kernel| kernel.name).collect()
}

fn peer_names() -> Vec<&'static str> {
    Peer::ALL.iter().map(|peer| peer.name()).collect()
}

/// The text of `--help`.
pub fn help() -> String {
    let mut text = String::from(
        "Measures Madrigal beside other languages doing the same work on this machine.

usage: cargo run --release -p madrigal-bench -- [OPTIONS]

  --rounds N     runs of every program; the table shows medians (default 5)
  --only A,B     only these kernels
  --peers A,B    only these peers; `none` for ours alone
  --quick        small sizes and at most 2 rounds: does everything work? (do not quote these numbers)
  --json FILE    where the figures go (default bench.json in the target directory)

The programs take turns, so a busy moment of the machine hits all of them: trust the ratios, not the seconds.
A ratio is our number divided by the peer's; below 1 we are better. Python runs in the first round only.
Peers that are not installed are left out, with a line that says how to get them.

kernels:
",
    );
    for kernel in KERNELS {
        text.push_str(&format!("  {:<15} {}\n", kernel.name, kernel.what));
    }
    text.push_str(&format!("peers: {}\n", peer_names().join(", ")));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Result<(usize, &[&str]), &str>) {
        match (read(line.split_whitespace().map(String::from)), expected) {
            (Ok(Request::Run(options)), Ok((rounds, only))) => {
                assert_eq!(
                    (options.rounds, options.only.as_slice()),
                    (rounds, &only.iter().map(|s| s.to_string()).collect::<Vec<_>>()[..])
                )
            }
            (Err(message), Err(part)) => assert!(message.contains(part), "{message}"),
            (Ok(Request::Help), _) | (Ok(_), Err(_)) | (Err(_), Ok(_)) => panic!("{line}"),
        }
    }

    #[test]
    fn options_are_read_in_both_spellings() {
        check("", Ok((5, &[])));
        check("--rounds 3 --only fib,loop", Ok((3, &["fib", "loop"])));
        check("--rounds=3 --only=fib", Ok((3, &["fib"])));
    }

    #[test]
    fn mistakes_are_named() {
        check("--rounds 0", Err("above 0"));
        check("--only fibb", Err("there is no 'fibb'"));
        check("--fast", Err("unknown option --fast"));
        check("--json", Err("needs a file name"));
    }
}
