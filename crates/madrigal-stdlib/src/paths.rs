//! Paths as text, without looking at files. Segments are separated by `/`; the `path_` functions also read
//! backslashes and a leading drive `X:`.

use crate::host::run;
use madrigal_vm::{Args, Cx, Fault, Value, Wait};
use std::path::{Path, PathBuf};

madrigal_vm::builtins! {
    /// The parts joined; an absolute one starts over.
    "path_join" (parts: string) -> string = path_join;
    /// The parent of a path.
    "dirname" (path: string) -> string = dirname;
    /// The last component of a path.
    "basename" (path: string) -> string = basename;
    /// The last extension with its dot.
    "extname" (path: string) -> string = extname;
    /// All but the last segment.
    "path_parent" (path: string) -> string = path_parent;
    /// The last segment.
    "path_basename" (path: string) -> string = path_basename;
    /// The last segment without its extension.
    "path_stem" (path: string) -> string = path_stem;
    /// The last extension with its dot.
    "path_extension" (path: string) -> string = path_extension;
    /// With another extension; an empty one removes it.
    "path_with_extension" (path: string, extension: string) -> string = path_with_extension;
    /// With another stem.
    "path_with_stem" (path: string, stem: string) -> string = path_with_stem;
    /// A dict `{dir, file, stem, ext, segments}`.
    "path_parts" (path: string) -> dict = path_parts;
    /// The segments that are not empty.
    "path_segments" (path: string) -> list = path_segments;
    /// Whether it starts at a root.
    "path_is_absolute" (path: string) -> bool = path_is_absolute;
    /// Whether it does not start at a root.
    "path_is_relative" (path: string) -> bool = path_is_relative;
    /// Without `.`, `..` and double slashes where possible.
    "path_normalize" (path: string) -> string = path_normalize;
    /// The way from `base` to `path`, nil when there is none.
    "path_relative_to" (path: string, base: string) -> string = path_relative_to;
    /// With slashes for backslashes.
    "path_to_posix" (path: string) -> string = path_to_posix;
    /// With slashes for backslashes.
    "path_to_native" (path: string) -> string = path_to_posix;
    /// How a path lies to a root: `{input, kind, normalized, workspace_path, host_path, recovered_root_drift, reason}`.
    "path_workspace_info" (path: string, root: string) -> dict = path_workspace_info;
    /// The path relative to a root, nil when it lies elsewhere.
    "path_workspace_normalize" (path: string, root: string) -> string = path_workspace_normalize;
}

fn path_join(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    let parts = (0..args.len()).map(|at| args.string(at).to_string());
    Ok(parts.collect::<PathBuf>().to_string_lossy().into_owned())
}

fn dirname(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    let path = args.string(0);
    Ok(Path::new(path.as_str()).parent().map_or(String::new(), |it| it.to_string_lossy().into_owned()))
}

fn basename(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    let path = args.string(0);
    Ok(Path::new(path.as_str()).file_name().map_or(String::new(), |it| it.to_string_lossy().into_owned()))
}

fn extname(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    let path = args.string(0);
    Ok(Path::new(path.as_str()).extension().map_or(String::new(), |it| format!(".{}", it.to_string_lossy())))
}

/// A path taken apart.
struct Parsed {
    /// `X:` or empty.
    drive: String,
    absolute: bool,
    segments: Vec<String>,
}

impl Parsed {
    fn of(path: &str) -> Parsed {
        let path = path.replace('\\', "/");
        let bytes = path.as_bytes();
        let has_drive = bytes.len() >= 2 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':';
        let (drive, rest) = path.split_at(if has_drive { 2 } else { 0 });
        let segments = rest.split('/').filter(|it| !it.is_empty()).map(str::to_owned).collect();
        Parsed { drive: drive.to_owned(), absolute: rest.starts_with('/'), segments }
    }

    fn argument(args: &Args<'_>, index: usize) -> Parsed {
        Parsed::of(&args.string(index))
    }

    fn text(&self) -> String {
        let root = if self.absolute { "/" } else { "" };
        format!("{}{root}{}", self.drive, self.segments.join("/"))
    }

    fn file(&self) -> &str {
        self.segments.last().map_or("", String::as_str)
    }

    /// Stem and extension of the last segment; the dot belongs to the extension.
    fn stem_and_extension(&self) -> (&str, &str) {
        let file = self.file();
        match file.rfind('.') {
            Some(dot) if dot > 0 && file != ".." => file.split_at(dot),
            _ => (file, ""),
        }
    }

    fn parent(mut self) -> Parsed {
        self.segments.pop();
        self
    }

    fn with_file(mut self, file: String) -> Parsed {
        self.segments.pop();
        self.segments.push(file);
        self
    }

    fn normalized(mut self) -> Parsed {
        let mut kept: Vec<String> = Vec::new();
        for segment in std::mem::take(&mut self.segments) {
            match segment.as_str() {
                "." => {}
                ".." if kept.last().is_some_and(|it| it != "..") => {
                    kept.pop();
                }
                ".." if self.absolute => {}
                _ => kept.push(segment),
            }
        }
        self.segments = kept;
        self
    }
}

fn path_parent(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    Ok(Parsed::argument(&args, 0).parent().text())
}

fn path_basename(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    Ok(Parsed::argument(&args, 0).file().to_owned())
}

fn path_stem(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    Ok(Parsed::argument(&args, 0).stem_and_extension().0.to_owned())
}

fn path_extension(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    Ok(Parsed::argument(&args, 0).stem_and_extension().1.to_owned())
}

fn path_with_extension(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    let path = Parsed::argument(&args, 0);
    let extension = args.string(1);
    let dot = if extension.is_empty() || extension.starts_with('.') { "" } else { "." };
    let file = format!("{}{dot}{extension}", path.stem_and_extension().0);
    Ok(path.with_file(file).text())
}

fn path_with_stem(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    let path = Parsed::argument(&args, 0);
    let file = format!("{}{}", args.string(1), path.stem_and_extension().1);
    Ok(path.with_file(file).text())
}

fn path_parts(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let path = Parsed::argument(&args, 0);
    let (stem, extension) = path.stem_and_extension();
    let (stem, extension) = (Value::from(stem), Value::from(extension));
    let (file, segments) = (Value::from(path.file()), segments_of(&path));
    let dir = Value::from(path.parent().text());
    Ok(Value::dict([("dir", dir), ("file", file), ("stem", stem), ("ext", extension), ("segments", segments)]))
}

fn segments_of(path: &Parsed) -> Value {
    Value::list(path.segments.iter().map(|it| Value::from(it.as_str())).collect())
}

fn path_segments(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(segments_of(&Parsed::argument(&args, 0)))
}

fn path_is_absolute(_: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    Ok(Parsed::argument(&args, 0).absolute)
}

fn path_is_relative(_: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    Ok(!Parsed::argument(&args, 0).absolute)
}

fn path_normalize(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    if args.string(0).is_empty() {
        return Ok(String::new());
    }
    let text = Parsed::argument(&args, 0).normalized().text();
    Ok(if text.is_empty() { ".".to_owned() } else { text })
}

fn path_relative_to(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let (path, base) = (Parsed::argument(&args, 0).normalized(), Parsed::argument(&args, 1).normalized());
    if path.absolute != base.absolute || !path.drive.eq_ignore_ascii_case(&base.drive) {
        return Ok(Value::Nil);
    }
    let shared = path.segments.iter().zip(&base.segments).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n("..", base.segments.len() - shared);
    let steps: Vec<&str> = up.chain(path.segments[shared..].iter().map(String::as_str)).collect();
    Ok(Value::from(if steps.is_empty() { ".".to_owned() } else { steps.join("/") }))
}

fn path_to_posix(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    Ok(args.string(0).replace('\\', "/"))
}

/// How a path lies to a root.
struct Workspace {
    kind: &'static str,
    /// Relative to the root.
    path: Option<String>,
    host: Option<String>,
    recovered: bool,
    reason: Option<&'static str>,
}

impl Workspace {
    fn of(path: &str, root: &str) -> Workspace {
        let invalid = |reason| Workspace { kind: "invalid", path: None, host: None, recovered: false, reason };
        if path.is_empty() {
            return invalid(Some("path is empty"));
        }
        if path.contains('\0') {
            return invalid(Some("path contains a NUL byte"));
        }
        let root = Parsed::of(root).normalized();
        let below = |relative: &Parsed| normalized_text(&format!("{}/{}", root.text(), relative.text()));
        let relative = |it: Parsed, recovered| Workspace {
            kind: "workspace_relative",
            host: Some(below(&it)),
            path: Some(or_dot(it.text())),
            recovered,
            reason: None,
        };
        let parsed = Parsed::of(path).normalized();
        if !parsed.absolute {
            let escapes = parsed.segments.first().is_some_and(|it| it == "..");
            let reason = "workspace-relative path escapes the workspace root";
            return if escapes { invalid(Some(reason)) } else { relative(parsed, false) };
        }
        let inside = parsed.segments.starts_with(&root.segments) && parsed.drive.eq_ignore_ascii_case(&root.drive);
        let mut path = None;
        if inside {
            path = Some(or_dot(parsed.segments[root.segments.len()..].join("/")));
        } else if !Path::new(&parsed.text()).exists() {
            let drifted = Parsed { drive: String::new(), absolute: false, segments: parsed.segments.clone() };
            let found = PathBuf::from(below(&drifted));
            let parent = drifted.segments.len() > 1 && found.parent().is_some_and(Path::is_dir);
            if found.exists() || parent {
                return relative(drifted, true);
            }
        }
        Workspace { kind: "host_absolute", path, host: Some(parsed.text()), recovered: false, reason: None }
    }
}

fn or_dot(text: String) -> String {
    if text.is_empty() { ".".to_owned() } else { text }
}

fn normalized_text(path: &str) -> String {
    Parsed::of(path).normalized().text()
}

/// The path and the root in the arguments, looked at where waiting for the disk keeps nobody up.
fn workspace(
    cx: &mut Cx<'_>,
    args: &Args<'_>,
    name: &'static str,
    give: fn(&str, Workspace) -> Value,
) -> Result<Wait, Fault> {
    let run = run(cx);
    let path = args.string(0);
    let root = if args.get(1).is_nil() { run.execution_root().to_owned() } else { run.resolve(&args.string(1)) };
    run.may_read(name, &root)?;
    Ok(Wait::new(
        name,
        run.blocking(move || {
            let workspace = Workspace::of(&path, &root.to_string_lossy());
            Ok(give(&path, workspace))
        }),
    ))
}

fn path_workspace_info(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    workspace(cx, &args, "path_workspace_info", |path, found| {
        let text = |it: Option<String>| it.map_or(Value::Nil, Value::from);
        let normalized = if found.kind == "invalid" { Value::Nil } else { Value::from(or_dot(normalized_text(path))) };
        Value::dict([
            ("input", Value::from(path)),
            ("kind", Value::from(found.kind)),
            ("normalized", normalized),
            ("workspace_path", text(found.path)),
            ("host_path", text(found.host)),
            ("recovered_root_drift", Value::Bool(found.recovered)),
            ("reason", found.reason.map_or(Value::Nil, Value::from)),
        ])
    })
}

fn path_workspace_normalize(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    workspace(cx, &args, "path_workspace_normalize", |_, found| found.path.map_or(Value::Nil, Value::from))
}

#[cfg(test)]
mod tests {
    use crate::testing::check;

    #[test]
    fn paths_are_taken_apart_and_normalised() {
        check("path_join", ["a".into(), "/b".into(), "c".into()], "/b/c");
        check("path_parent", ["/a".into()], "/");
        check("path_parent", ["a".into()], "");
        check("path_extension", ["x.tar.gz".into()], ".gz");
        check("path_extension", [".env".into()], "");
        check("path_with_extension", ["d\\a.b".into(), "c".into()], "d/a.c");
        check("path_normalize", ["../a/./b/../..//c".into()], "../c");
        check("path_normalize", ["/../a/..".into()], "/");
        check("path_relative_to", ["/a/b".into(), "/a/c/d".into()], "../../b");
        check("path_relative_to", ["/a".into(), "a".into()], "nil");
    }
}
