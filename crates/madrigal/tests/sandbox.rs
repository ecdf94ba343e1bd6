//! What a sandboxed program cannot do, however it tries: each attempt fails with the flag that would allow it.

use madrigal::{Engine, Grant, Input, NetRule, Options, Output, Permissions, Source};
use std::fs;
use std::path::PathBuf;

/// A directory with `inside`, which may be read and written, and `outside`, which may not.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let path = std::env::temp_dir().join(format!("madrigal-sandbox-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        for folder in ["inside", "outside"] {
            fs::create_dir_all(path.join(folder)).expect("the temporary directory is writable");
        }
        fs::write(path.join("outside/secret"), "secret").expect("it is writable");
        Place(path.canonicalize().expect("it exists"))
    }

    fn permissions(&self) -> Permissions {
        let inside = || Grant::Only(vec![self.0.join("inside")]);
        Permissions { read: inside(), write: inside(), ..Permissions::none() }
    }

    /// What the program prints, or how its report begins; paths are shown below `HERE`.
    fn run(&self, permissions: Permissions, program: &str) -> String {
        let (stdout, out) = Output::captured();
        let (stderr, err) = Output::captured();
        let options = Options {
            execution_root: Some(self.0.join("inside")),
            permissions,
            stdout,
            stderr,
            stdin: Input::empty(),
            workers: Some(1),
            ..Options::default()
        };
        Engine::new().run(&Source::text("attempt.harn", program), options);
        let text = out.text() + err.text().lines().next().unwrap_or_default();
        text.replace(&self.0.display().to_string(), "HERE")
    }

    fn check(&self, program: &str, expected: &str) {
        assert_eq!(self.run(self.permissions(), program), expected, "{program}");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn files_inside_work() {
    let place = Place::new("works");
    place.check(
        "write_file(\"a\", 1)\nmkdir(\"d/e\")\nprintln([read_file(\"a\"), list_dir(), file_exists(\"d\")])",
        "[1, [a, d], true]\n",
    );
}

#[test]
fn paths_that_lead_outside_are_refused() {
    let place = Place::new("paths");
    let denied = |name: &str, kind: &str, path: &str| {
        format!("error: Error [tool_rejected]: '{name}' needs fs.{kind}: allow it with --allow-{kind}={path}")
    };
    place.check("read_file(\"../outside/secret\")", &denied("read_file", "read", "HERE/inside/../outside/secret"));
    place.check("read_file(\"/etc/passwd\")", &denied("read_file", "read", "/etc/passwd"));
    place.check("file_exists(\"..\")", &denied("file_exists", "read", "HERE/inside/.."));
    place.check("write_file(\"d/../../x\", 1)", &denied("write_file", "write", "HERE/inside/d/../../x"));
    place.check(
        "copy_file(\"../outside/secret\", \"a\")",
        &denied("copy_file", "read", "HERE/inside/../outside/secret"),
    );
    place.check("delete_file(\"../outside\")", &denied("delete_file", "write", "HERE/inside/../outside"));
    place.check("render(\"../outside/secret\")", &denied("render", "read", "HERE/inside/../outside/secret"));
    place.check("glob(\"*\", \"../outside\")", &denied("glob", "read", "HERE/inside/../outside"));
    assert!(place.0.join("outside/secret").exists());
}

#[cfg(unix)]
#[test]
fn links_are_followed_before_they_are_judged() {
    let place = Place::new("links");
    let link = |to: &str, name: &str| {
        std::os::unix::fs::symlink(place.0.join(to), place.0.join("inside").join(name)).expect("a link can be made");
    };
    link("outside/secret", "file");
    link("outside", "folder");
    link("outside/new", "dangling");
    for program in [
        "read_file(\"file\")",
        "read_file(\"folder/secret\")",
        "write_file(\"dangling\", 1)",
        "write_file(\"folder/new\", 1)",
    ] {
        let text = place.run(place.permissions(), program);
        assert!(text.starts_with("error: Error [tool_rejected]: "), "{program}: {text}");
    }
    assert!(!place.0.join("outside/new").exists());
    place.check(
        "println(walk_dir(\".\", {follow_symlinks: true}).filter({ it -> it.path.contains(\"secret\") }))",
        "[]\n",
    );
}

#[test]
fn programs_environment_and_network_are_refused() {
    let place = Place::new("world");
    place.check("exec(\"ls\")", "error: Error [tool_rejected]: 'exec' needs run: allow it with --allow-run=ls");
    place.check("env(\"HOME\")", "error: Error [tool_rejected]: 'env' needs env: allow it with --allow-env=HOME");
    place.check(
        "http_get(\"http://example.org/x\")",
        "error: Error [tool_rejected]: 'http_get' needs net: allow it with --allow-net=example.org:80",
    );
    place.check(
        "websocket_connect(\"wss://example.org\")",
        "error: Error [tool_rejected]: 'websocket_connect' needs net: allow it with --allow-net=example.org:443",
    );
    place.check(
        "tcp_connect(\"127.0.0.1\", 9)",
        "error: Error [tool_rejected]: 'tcp_connect' needs net: allow it with --allow-net=127.0.0.1:9",
    );
    place.check(
        "http_mock(\"GET\", \"*\", {body: \"mocked\"})\nprintln(http_get(\"http://example.org\").body)",
        "mocked\n",
    );
}

#[cfg(unix)]
#[test]
fn children_see_only_allowed_variables() {
    let place = Place::new("children");
    let permissions = Permissions {
        run: Grant::Only(vec!["env".to_owned()]),
        env: Grant::Only(vec!["HOME".to_owned()]),
        ..place.permissions()
    };
    let program = "println(exec(\"env\").stdout.split(\"\\n\").filter({ it -> it != \"\" }).map({ it -> it.split(\"=\")[0] }).sort())";
    let text = place.run(permissions, program);
    assert!(["[HOME, PATH]\n", "[PATH]\n"].contains(&text.as_str()), "{text}");
}

#[test]
fn redirects_to_other_hosts_are_refused() {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback exists");
    let port = listener.local_addr().expect("it is bound").port();
    let server = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("the client connects");
        let mut buffer = [0; 4096];
        let _ = socket.read(&mut buffer).expect("the client writes");
        let answer =
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.2:9/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        socket.write_all(answer.as_bytes()).expect("the client reads");
    });
    let place = Place::new("redirects");
    let rule = NetRule::parse(&format!("127.0.0.1:{port}")).expect("a rule");
    let permissions = Permissions { net: Grant::Only(vec![rule]), ..place.permissions() };
    let text = place.run(permissions, &format!("http_get(\"http://127.0.0.1:{port}/\")"));
    assert_eq!(text, "error: Error [tool_rejected]: 'http_request' needs net: allow it with --allow-net=127.0.0.2:9");
    server.join().expect("the server ends");
}

#[test]
fn forbidden_builtins_fail_and_the_harmless_stay() {
    let run = |engine: Engine, program: &str| {
        let (stdout, out) = Output::captured();
        let (stderr, err) = Output::captured();
        engine.run(&Source::text("attempt.harn", program), Options { stdout, stderr, ..Options::default() });
        out.text() + err.text().lines().next().unwrap_or_default()
    };
    let deny = Engine::restricted(|name| name != "env");
    assert_eq!(run(deny, "println(1)\nenv(\"X\")"), "1\nerror: Error [tool_rejected]: Tool 'env' is not permitted.");
    let allow = Engine::restricted(|name| madrigal::is_permitted(name, &["uppercase".to_owned()]));
    let program = "println(uppercase(\"a\"))\nlet r = try { [1].map({ it -> flat_map([it], { x -> x }) }) }\nprintln(unwrap_err(r))";
    let text = run(allow, program);
    assert!(text.starts_with("A\n") && text.contains("is not permitted."), "{text}");
}
