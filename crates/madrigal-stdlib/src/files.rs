//! Files and directories. Everything that touches the disk runs on the blocking pool; only the calling task waits.

use crate::host::{Run, run};
use crate::inbox::telling_of_edit;
use globset::Glob;
use madrigal_vm::{Args, Bytes, Cx, Fault, Value, Wait};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

madrigal_vm::builtins! {
    /// Text of a file.
    "read_file" (path: string) -> string, needs FsRead = read_file;
    /// Text of a file as a `Result`; never throws.
    "read_file_result" (path: string) -> enum, needs FsRead = read_file_result;
    /// Bytes of a file.
    "read_file_bytes" (path: string) -> bytes, needs FsRead = read_file_bytes;
    /// Lines of a file, without their ends.
    "read_lines" (path: string) -> list, needs FsRead = read_lines;
    /// Writes a text file, replacing what was there.
    "write_file" (path: string, content: string) -> nil, needs FsWrite = write_file;
    /// Writes bytes to a file, replacing what was there.
    "write_file_bytes" (path: string, content: bytes) -> nil, needs FsWrite = write_file_bytes;
    /// Adds to the end of a text file.
    "append_file" (path: string, content: string) -> nil, needs FsWrite = append_file;
    /// Whether there is a file or directory.
    "file_exists" (path: string) -> bool, needs FsRead = file_exists;
    /// Removes a file, or a directory with its contents.
    "delete_file" (path: string) -> nil, needs FsWrite = delete_file;
    /// Copies a file.
    "copy_file" (from: string, to: string) -> nil, needs FsWrite = copy_file;
    /// Moves a file.
    "move_file" (from: string, to: string) -> nil, needs FsWrite = move_file;
    /// Makes a directory and those above it.
    "mkdir" (path: string) -> nil, needs FsWrite = mkdir;
    /// Names in a directory, sorted.
    "list_dir" (path: string = ".") -> list, needs FsRead = list_dir;
    /// A dict `{size, is_file, is_dir, readonly, modified}`.
    "stat" (path: string) -> dict, needs FsRead = stat;
    /// The system's directory for temporary files.
    "temp_dir" () -> string = temp_dir;
    /// Everything below a directory, parents first.
    "walk_dir" (root: string, options: dict) -> list, needs FsRead = walk_dir;
    /// Paths below a directory that match a pattern, sorted.
    "glob" (pattern: string, base: any = ".") -> list, needs FsRead = glob;
}

/// The path in an argument, made absolute, that `name` reads.
fn to_read(run: &Run, name: &str, args: &Args<'_>, index: usize) -> Result<PathBuf, Fault> {
    let path = run.resolve(&args.string(index));
    run.may_read(name, &path)?;
    Ok(path)
}

/// The path in an argument, made absolute, that `name` writes.
fn to_write(run: &Run, name: &str, args: &Args<'_>, index: usize) -> Result<PathBuf, Fault> {
    let path = run.resolve(&args.string(index));
    run.may_write(name, &path)?;
    Ok(path)
}

/// Waits for disk work.
fn on_disk(run: &Run, what: &'static str, work: impl FnOnce() -> Result<Value, Fault> + Send + 'static) -> Wait {
    Wait::new(what, run.blocking(work))
}

/// The failure `intro path: error`.
fn failed(intro: &str, path: &Path, error: &std::io::Error) -> Fault {
    Fault::thrown(format!("{intro}{}: {error}", path.display()))
}

fn read_text(path: &Path, intro: &str) -> Result<String, Fault> {
    fs::read_to_string(path).map_err(|error| failed(intro, path, &error))
}

fn read_file(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let run = run(cx);
    let path = to_read(run, "read_file", &args, 0)?;
    Ok(on_disk(run, "read_file", move || read_text(&path, "Failed to read file ").map(Value::from)))
}

fn read_file_result(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let run = run(cx);
    let path = to_read(run, "read_file_result", &args, 0)?;
    Ok(on_disk(run, "read_file_result", move || {
        Ok(match read_text(&path, "Failed to read file ") {
            Ok(text) => Value::ok(Value::from(text)),
            Err(fault) => Value::err(fault.caught()),
        })
    }))
}

fn read_file_bytes(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let run = run(cx);
    let path = to_read(run, "read_file_bytes", &args, 0)?;
    Ok(on_disk(run, "read_file_bytes", move || {
        let bytes = fs::read(&path).map_err(|error| failed("Failed to read file ", &path, &error))?;
        Ok(Value::Bytes(Bytes::from(bytes)))
    }))
}

fn read_lines(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let run = run(cx);
    let path = to_read(run, "read_lines", &args, 0)?;
    Ok(on_disk(run, "read_lines", move || {
        let text = read_text(&path, "read_lines: ")?;
        Ok(Value::list(text.lines().map(Value::from).collect()))
    }))
}

fn write_file(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let run = run(cx);
    let (path, content, enough) = (to_write(run, "write_file", &args, 0)?, args.string(1), args.has(1));
    let edit = on_disk(run, "write_file", move || {
        if enough {
            fs::write(&path, content.as_bytes()).map_err(|error| failed("Failed to write file ", &path, &error))?;
        }
        Ok(Value::Nil)
    });
    Ok(telling_of_edit(cx, edit, &args.string(0), "write", "write_file"))
}

fn write_file_bytes(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let Value::Bytes(content) = args.get(1) else {
        let found = args.get(1).type_name();
        return Err(Fault::thrown(format!("write_file_bytes expects bytes content, got {found}")));
    };
    let (run, content) = (run(cx), content.clone());
    let path = to_write(run, "write_file_bytes", &args, 0)?;
    let edit = on_disk(run, "write_file_bytes", move || {
        fs::write(&path, &content).map_err(|error| failed("Failed to write file ", &path, &error))?;
        Ok(Value::Nil)
    });
    Ok(telling_of_edit(cx, edit, &args.string(0), "write", "write_file_bytes"))
}

fn append_file(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let run = run(cx);
    let (path, content) = (to_write(run, "append_file", &args, 0)?, args.string(1));
    let edit = on_disk(run, "append_file", move || {
        let opened = fs::OpenOptions::new().append(true).create(true).open(&path);
        let mut file = opened.map_err(|error| failed("Failed to open file ", &path, &error))?;
        let written = file.write_all(content.as_bytes());
        written.map_err(|error| failed("Failed to append to file ", &path, &error))?;
        Ok(Value::Nil)
    });
    Ok(telling_of_edit(cx, edit, &args.string(0), "append", "append_file"))
}

fn file_exists(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let run = run(cx);
    let path = to_read(run, "file_exists", &args, 0)?;
    Ok(on_disk(run, "file_exists", move || Ok(Value::Bool(path.exists()))))
}

fn delete_file(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let run = run(cx);
    let path = to_write(run, "delete_file", &args, 0)?;
    let edit = on_disk(run, "delete_file", move || {
        // A link to a directory is removed itself, never what it points to.
        if fs::symlink_metadata(&path).is_ok_and(|it| it.is_dir()) {
            fs::remove_dir_all(&path).map_err(|error| failed("Failed to delete directory ", &path, &error))?;
        } else {
            fs::remove_file(&path).map_err(|error| failed("Failed to delete file ", &path, &error))?;
        }
        Ok(Value::Nil)
    });
    Ok(telling_of_edit(cx, edit, &args.string(0), "delete", "delete_file"))
}

fn copy_file(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let run = run(cx);
    let (from, to) = (to_read(run, "copy_file", &args, 0)?, to_write(run, "copy_file", &args, 1)?);
    let edit = on_disk(run, "copy_file", move || {
        let copied = fs::copy(&from, &to);
        copied.map_err(|error| failed(&format!("Failed to copy {} to ", from.display()), &to, &error))?;
        Ok(Value::Nil)
    });
    Ok(telling_of_edit(cx, edit, &args.string(1), "copy", "copy_file"))
}

fn move_file(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    if !args.has(1) {
        return Err(Fault::thrown("move_file: src and dst are required"));
    }
    let run = run(cx);
    let (from, to) = (to_write(run, "move_file", &args, 0)?, to_write(run, "move_file", &args, 1)?);
    let edit = on_disk(run, "move_file", move || {
        if fs::rename(&from, &to).is_err() {
            let copied = fs::copy(&from, &to);
            copied.map_err(|error| Fault::thrown(format!("move_file: copy failed: {error}")))?;
            let removed = fs::remove_file(&from);
            removed.map_err(|error| Fault::thrown(format!("move_file: remove src failed: {error}")))?;
        }
        Ok(Value::Nil)
    });
    Ok(telling_of_edit(cx, edit, &args.string(1), "move", "move_file"))
}

fn mkdir(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let run = run(cx);
    let path = to_write(run, "mkdir", &args, 0)?;
    Ok(on_disk(run, "mkdir", move || {
        fs::create_dir_all(&path).map_err(|error| failed("Failed to create directory ", &path, &error))?;
        Ok(Value::Nil)
    }))
}

/// Names in a directory, sorted; entries that cannot be read are left out.
fn sorted_names(path: &Path) -> std::io::Result<Vec<String>> {
    let entries = fs::read_dir(path)?.filter_map(Result::ok);
    let mut names: Vec<String> = entries.map(|it| it.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

/// The directory relative paths start from, to be read.
fn checked_root(run: &Run) -> Result<PathBuf, Fault> {
    run.may_read("list_dir", run.execution_root())?;
    Ok(run.execution_root().to_owned())
}

fn list_dir(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let run = run(cx);
    let path = if args.has(0) { to_read(run, "list_dir", &args, 0)? } else { checked_root(run)? };
    Ok(on_disk(run, "list_dir", move || {
        let names = sorted_names(&path).map_err(|error| failed("Failed to list directory ", &path, &error))?;
        Ok(Value::list(names.into_iter().map(Value::from).collect()))
    }))
}

fn stat(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let run = run(cx);
    let path = to_read(run, "stat", &args, 0)?;
    Ok(on_disk(run, "stat", move || {
        let found = fs::metadata(&path).map_err(|error| failed("Failed to stat ", &path, &error))?;
        let modified = found.modified().ok().and_then(|it| it.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        Ok(Value::dict([
            ("size", Value::Int(i64::try_from(found.len()).unwrap_or(i64::MAX))),
            ("is_file", Value::Bool(found.is_file())),
            ("is_dir", Value::Bool(found.is_dir())),
            ("readonly", Value::Bool(found.permissions().readonly())),
            ("modified", Value::Float(modified.as_secs_f64())),
        ]))
    }))
}

fn temp_dir(_: &mut Cx<'_>, _: Args<'_>) -> Result<String, Fault> {
    Ok(std::env::temp_dir().to_string_lossy().into_owned())
}

fn walk_dir(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    if args.is_empty() {
        return Err(Fault::thrown("walk_dir: root path is required"));
    }
    let run = run(cx);
    let option = |name: &str| args.dict(1).and_then(|it| it.get(name)).cloned().unwrap_or_default();
    let depth_max = option("max_depth").as_int().map_or(i64::MAX, |it| it.max(0));
    let follow = option("follow_symlinks").is_truthy();
    let (shown, path) = (PathBuf::from(args.string(0).as_str()), to_read(run, "walk_dir", &args, 0)?);
    let work = run.clone();
    // A followed link may lead out of what may be read.
    let may_enter = move |path: &Path| !follow || work.may_read("walk_dir", path).is_ok();
    Ok(on_disk(run, "walk_dir", move || Ok(Value::list(walk(shown, path, depth_max, follow, &may_enter)))))
}

/// Entries in depth-first order with a stack of its own.
fn walk(shown: PathBuf, path: PathBuf, depth_max: i64, follow: bool, may_enter: &dyn Fn(&Path) -> bool) -> Vec<Value> {
    // Following links can lead into a directory that contains itself.
    const DEPTH_LIMIT: i64 = 255;
    let mut entries = Vec::new();
    let mut pending = vec![(shown, path, 0)];
    while let Some((shown, path, depth)) = pending.pop() {
        let found = if follow || depth == 0 { fs::metadata(&path) } else { fs::symlink_metadata(&path) };
        let Ok(found) = found else { continue };
        entries.push(Value::dict([
            ("path", Value::from(shown.to_string_lossy().into_owned())),
            ("is_dir", Value::Bool(found.is_dir())),
            ("is_file", Value::Bool(found.is_file())),
            ("depth", Value::Int(depth)),
        ]));
        if found.is_dir() && depth < depth_max.min(DEPTH_LIMIT) && may_enter(&path) {
            let names = sorted_names(&path).unwrap_or_default();
            pending.extend(names.into_iter().rev().map(|name| (shown.join(&name), path.join(&name), depth + 1)));
        }
    }
    entries
}

fn glob(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let pattern = args.string(0);
    if pattern.is_empty() || args.get(0).is_nil() {
        return Err(Fault::thrown("glob: pattern is required"));
    }
    let base = match args.get(1) {
        Value::Dict(options) => options.get("base").filter(|it| !it.is_nil()).map(Value::display),
        Value::Nil => None,
        other => Some(other.display()),
    };
    let base = base.unwrap_or_else(|| ".".into());
    let matcher = Glob::new(&pattern).map_err(|error| Fault::thrown(format!("glob: {error}")))?.compile_matcher();
    let run = run(cx);
    let path = run.resolve(&base);
    run.may_read("glob", &path)?;
    Ok(on_disk(run, "glob", move || {
        let mut found = Vec::new();
        let mut pending = vec![(PathBuf::new(), path)];
        while let Some((below, path)) = pending.pop() {
            for name in sorted_names(&path).unwrap_or_default() {
                let (below, path) = (below.join(&name), path.join(&name));
                if matcher.is_match(&below) {
                    found.push(Path::new(base.as_str()).join(&below).to_string_lossy().into_owned());
                }
                if fs::symlink_metadata(&path).is_ok_and(|it| it.is_dir()) {
                    pending.push((below, path));
                }
            }
        }
        found.sort();
        Ok(Value::list(found.into_iter().map(Value::from).collect()))
    }))
}

#[cfg(test)]
mod tests {
    use crate::testing::Bench;

    #[test]
    fn files_are_written_read_listed_and_removed() {
        let mut bench = Bench::in_directory("files");
        let mut call = |name: &str, args: &[&str]| {
            let args = args.iter().map(|it| (*it).into()).collect();
            bench.call(name, args).map_err(|fault| fault.caught().to_string()).map(|it| it.to_string())
        };
        assert_eq!(call("mkdir", &["d/e"]), Ok("nil".into()));
        assert_eq!(call("write_file", &["d/a", "x\r\ny"]), Ok("nil".into()));
        assert_eq!(call("append_file", &["d/a", "\n"]), Ok("nil".into()));
        assert_eq!(call("read_lines", &["d/a"]), Ok("[x, y]".into()));
        assert_eq!(call("list_dir", &["d"]), Ok("[a, e]".into()));
        assert_eq!(call("read_file_result", &["d/a"]), Ok("Result.Ok(x\r\ny\n)".into()));
        assert_eq!(call("move_file", &["d/a", "d/b"]), Ok("nil".into()));
        let missing = call("read_file", &["d/a"]).expect_err("it was moved");
        assert!(missing.starts_with("Failed to read file /"), "{missing}");
        assert_eq!(call("delete_file", &["d"]), Ok("nil".into()));
        assert_eq!(call("file_exists", &["d"]), Ok("false".into()));
    }
}
