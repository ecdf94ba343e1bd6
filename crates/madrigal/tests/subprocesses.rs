//! Programs of the operating system as children of supervisors. They are real, so time is; none of the tests waits for
//! time to pass but that of a program that ignores being asked. Whatever happens, none is left behind.
#![cfg(target_os = "linux")]

#[path = "support/run.rs"]
#[allow(dead_code)]
mod run;

use madrigal::{Options, Permissions, Source};
use run::Ran;
use std::fs;

/// Processes whose command line or environment names `marker`, with their states.
fn left(marker: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc is there").flatten() {
        let path = entry.path();
        if !entry.file_name().to_string_lossy().bytes().all(|it| it.is_ascii_digit()) {
            continue;
        }
        let command = fs::read(path.join("cmdline")).unwrap_or_default();
        let environment = fs::read(path.join("environ")).unwrap_or_default();
        let names = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(marker);
        // The test itself may have been given the marker as a filter.
        let itself = entry.file_name().to_string_lossy() == std::process::id().to_string();
        if !itself && (names(&command) || names(&environment)) {
            found.push(format!("{}: {}", path.display(), String::from_utf8_lossy(&command).replace('\0', " ")));
        }
    }
    found
}

/// Children of this process that have ended and were not reaped.
fn zombies() -> usize {
    let own = std::process::id().to_string();
    let is_zombie = |stat: String| {
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        fields.first() == Some(&"Z") && fields.get(1) == Some(&own.as_str())
    };
    let entries = fs::read_dir("/proc").expect("/proc is there").flatten();
    entries.filter_map(|it| fs::read_to_string(it.path().join("stat")).ok()).filter(|it| is_zombie(it.clone())).count()
}

/// Runs a program whose children are marked by `marker`, which nothing may be left of.
fn check(marker: &str, program: &str) -> Ran {
    let text = format!("import {{ process }} from \"std/process\"\n{}", program.replace("MARKER", marker));
    let options = Options { workers: Some(2), permissions: Permissions::default(), ..Options::default() };
    let ran = run::run_with(Source::text("subprocess.harn", text), options).expect("it ends");
    assert_eq!(left(marker), Vec::<String>::new(), "{ran:?}");
    ran
}

/// The states of the children come from the system itself: a file in /proc for each that lives.
const ALIVE: &str = "
fn alive(marker) {
  return shell(\"grep -lsa ${marker} /proc/[0-9]*/environ | wc -l\").stdout.trim()
}
";

#[test]
fn a_program_ends_with_its_supervisor() {
    let program = format!(
        "{ALIVE}
process.start({{ ->
  let sup = process.supervisor_start_link([
    process.make_subprocess_child(\"sleeper\", \"sleep\", [\"1000\"], {{env: {{MARK: \"MARKER\"}}}})
  ])
  while alive(\"MARKER\") != \"1\" {{ yield_now() }}
  println(process.which_children(sup)[0].id)
}})
println(alive(\"MARKER\"))"
    );
    let ran = check("mdr-sleeper", &program);
    assert_eq!((ran.stdout.as_str(), ran.status), ("sleeper\n0\n", 0), "{}", ran.stderr);
}

#[test]
fn killing_the_supervisor_kills_the_program() {
    let program = format!("{ALIVE}
process.start({{ ->
  process.trap_exit(true)
  let sup = process.supervisor_start_link([
    process.make_subprocess_child(\"sleeper\", \"sh\", [\"-c\", \"sleep 1000 & sleep 1000; true\"], {{env: {{MARK: \"MARKER\"}}}})
  ])
  while alive(\"MARKER\") != \"3\" {{ yield_now() }}
  process.exit(sup, \"kill\")
  println(process.recv().reason.kind)
}})
println(alive(\"MARKER\"))");
    let ran = check("mdr-killed", &program);
    assert_eq!((ran.stdout.as_str(), ran.status), ("killed\n0\n", 0), "{}", ran.stderr);
}

#[test]
fn a_program_that_ignores_being_asked_is_killed_with_what_it_started() {
    let program = format!(
        "{ALIVE}
process.start({{ ->
  let stubborn = \"trap '' TERM; sleep 1000 & while true; do sleep 1000; done\"
  let sup = process.supervisor_start_link([
    process.make_subprocess_child(\"stubborn\", \"sh\", [\"-c\", stubborn], {{env: {{MARK: \"MARKER\"}}}})
  ])
  while alive(\"MARKER\") != \"3\" {{ yield_now() }}
  println(process.stop_child(sup, \"stubborn\"))
}})
println(alive(\"MARKER\"))"
    );
    let ran = check("mdr-stubborn", &program);
    assert_eq!((ran.stdout.as_str(), ran.status), ("true\n0\n", 0), "{}", ran.stderr);
}

#[test]
fn floods_on_both_outputs_are_read_to_their_end() {
    let program = "
process.start({ ->
  let flood = \"i=0; while [ $i -lt 20000 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done\"
  let child = process.make_subprocess_child(\"flood\", \"sh\", [\"-c\", flood], {env: {MARK: \"MARKER\"}, restart: \"temporary\"})
  let sup = process.supervisor_start_link([child])
  while len(process.which_children(sup)) > 0 { yield_now() }
  println(\"done\")
})";
    let ran = check("mdr-flood", program);
    assert_eq!(ran.stdout, "done\n");
    for kind in ["out", "err"] {
        let prefix = format!("flood: {kind} ");
        let lines: Vec<&str> = ran.stderr.lines().filter_map(|it| it.strip_prefix(&prefix)).collect();
        let wanted: Vec<String> = (0..20_000).map(|it| it.to_string()).collect();
        assert!(lines == wanted, "{} lines of {kind}", lines.len());
    }
}

#[test]
fn an_exit_status_is_a_failure_and_a_program_that_is_not_there_too() {
    let program = "
process.start({ ->
  process.trap_exit(true)
  let me = process.self()
  fn told(child) {
    let logger = { e -> if e.event == \"child_exited\" { process.send(me, e.reason) } }
    process.supervisor_start_link([child], {logger: logger})
    return process.recv()
  }
  let options = {restart: \"temporary\", env: {MARK: \"MARKER\"}}
  println(told(process.make_subprocess_child(\"fails\", \"sh\", [\"-c\", \"exit 3\"], options)))
  println(told(process.make_subprocess_child(\"dies\", \"sh\", [\"-c\", \"kill -9 $$\"], options)))
  println(told(process.make_subprocess_child(\"ends\", \"true\", [], options)))
  println(told(process.make_subprocess_child(\"absent\", \"/nowhere/at/all\", [], options)).kind)
  try { process.make_subprocess_child(\"x\", \"true\", 5) } catch (e) { println(e) }
  try { process.make_subprocess_child(\"x\", \"true\", [], {user: 1}) } catch (e) { println(e) }
})";
    let ran = check("mdr-fails", program);
    let wanted = "\
{kind: error, value: subprocess 'fails': exit status 3}
{kind: error, value: subprocess 'dies': killed by signal 9}
{kind: normal, value: nil}
error
Type error: process.make_subprocess_child: arguments must be a list, got int
process.make_subprocess_child: unknown option 'user'
";
    assert_eq!(ran.stdout, wanted, "{}", ran.stderr);
}

#[test]
fn a_program_that_fails_is_started_again_where_it_belongs() {
    let program = "
process.start({ ->
  let started = channel(\"started\")
  let logger = { e -> if e.event == \"child_started\" { try_send(started, 1) } }
  process.supervisor_start_link([
    process.make_subprocess_child(\"again\", \"sh\", [\"-c\", \"pwd; exit 1\"], {cwd: \"/\", env: {MARK: \"MARKER\"}})
  ], {logger: logger, max_restarts: 1000})
  for _ in 1 to 3 { receive(started) }
  println(\"three starts\")
})";
    let ran = check("mdr-again", program);
    assert_eq!(ran.stdout, "three starts\n");
    assert!(ran.stderr.lines().any(|it| it == "again: /"), "{}", ran.stderr);
}

#[test]
fn no_zombie_is_left() {
    let program = format!(
        "{ALIVE}
process.start({{ ->
  process.supervisor_start_link([
    process.make_subprocess_child(\"z\", \"sleep\", [\"1000\"], {{env: {{MARK: \"MARKER\"}}}})
  ])
  while alive(\"MARKER\") != \"1\" {{ yield_now() }}
}})"
    );
    check("mdr-zombie", &program);
    // Those of tests that run beside this one are on their way.
    let gone = (0..100_000).any(|_| {
        std::thread::yield_now();
        zombies() == 0
    });
    assert!(gone, "{} zombies", zombies());
}
