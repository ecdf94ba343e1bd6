//! Templates: text with `{{ directives }}`. Pieces in `segments.rs`, the tree in `parser.rs`, expressions and filters
//! in files of their own, output in `renderer.rs`.

mod expression;
mod files;
mod filters;
mod parser;
mod renderer;
mod scope;
mod segments;

use crate::environment::source_directory;
use crate::host::{Run, run};
use madrigal_vm::{Args, Cx, Dict, Fault, Outcome, Value, Wait};
use parser::{includes, parse};
use renderer::{Renderer, Span};
use scope::Scope;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

madrigal_vm::builtins! {
    /// The text of a template file with these bindings.
    "render" (path: string, bindings: dict) -> string, needs FsRead = render;
    /// The text of a template file with these bindings.
    "render_prompt" (path: string, bindings: dict) -> string, needs FsRead = render_prompt;
    /// The text of a template with these bindings.
    "render_string" (text: string, bindings: dict) -> string = render_string;
    /// A dict `{text, template_uri, prompt_id, spans}` that tells where each piece of the text came from.
    "render_with_provenance" (path: string, bindings: dict) -> dict, needs FsRead = render_with_provenance;
    /// Notes that a prompt was used; how many were so far.
    "prompt_mark_rendered" (prompt_id: string) -> int = prompt_mark_rendered;
}

/// What is wrong, and where in the template.
#[derive(Debug)]
struct Problem {
    at: usize,
    what: String,
}

impl Problem {
    fn new(at: usize, what: impl Into<String>) -> Problem {
        Problem { at, what: what.into() }
    }
}

/// A template's text and where it came from.
struct Template {
    /// `None` for `render_string`.
    path: Option<PathBuf>,
    /// What includes start from.
    directory: PathBuf,
    text: String,
}

impl Template {
    fn file(path: PathBuf, text: String) -> Template {
        let directory = path.parent().map_or_else(PathBuf::new, Path::to_owned);
        Template { path: Some(path), directory, text }
    }

    /// The message of a problem in it.
    fn error(&self, problem: &Problem) -> String {
        let (line, column) = self.position(problem.at);
        let path = self.path.as_ref().map_or(String::new(), |it| format!("{} ", it.display()));
        format!("{path}at {line}:{column}: {}", problem.what)
    }

    /// Line and column of an offset, from 1.
    fn position(&self, at: usize) -> (usize, usize) {
        let before = &self.text[..at];
        let line_start = before.rfind('\n').map_or(0, |it| it + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

fn bindings(args: &Args<'_>) -> Dict {
    args.dict(1).cloned().unwrap_or_default()
}

fn render(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    start(cx, "render", &args)
}

fn render_prompt(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    start(cx, "render_prompt", &args)
}

fn start(cx: &mut Cx<'_>, name: &'static str, args: &Args<'_>) -> Result<Wait, Fault> {
    let directory = source_directory(cx);
    render_file(run(cx), name, &args.string(0), &directory, bindings(args))
}

/// Renders the file that `reference` means in `directory`.
pub(crate) fn render_file(
    run: &Arc<Run>,
    name: &'static str,
    reference: &str,
    directory: &Path,
    bindings: Dict,
) -> Result<Wait, Fault> {
    let (run, reference, directory) = (Arc::clone(run), reference.to_owned(), directory.to_owned());
    let work = run.clone();
    Ok(Wait::new(
        name,
        run.blocking(move || {
            let template = read(&work, name, &reference, &directory)?;
            rendered(&work, name, &template, bindings, false).map(|(text, _)| Value::from(text))
        }),
    ))
}

fn read(run: &Run, name: &'static str, reference: &str, directory: &Path) -> Result<Template, Fault> {
    let path = files::locate(reference, directory).map_err(Fault::thrown)?.path;
    let text = run.read_text(name, &path);
    let text = text.map_err(|error| {
        error.into_fault(|error| Fault::thrown(format!("Failed to read template {}: {error}", path.display())))
    })?;
    Ok(Template::file(path, text))
}

fn rendered(
    run: &Arc<Run>,
    name: &'static str,
    template: &Template,
    bindings: Dict,
    with_spans: bool,
) -> Result<(String, Vec<Span>), Fault> {
    let nodes = parse(&template.text).map_err(|problem| Fault::thrown(template.error(&problem)))?;
    let mut renderer = Renderer::new(run.clone(), name, &template.directory);
    renderer.spans = with_spans.then(Vec::new);
    let text = renderer.render(template, &nodes, &mut Scope::new(bindings)).map_err(Fault::thrown)?;
    Ok((text, renderer.spans.unwrap_or_default()))
}

fn render_string(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let name = "render_string";
    let template = Template { path: None, directory: source_directory(cx), text: args.string(0).to_string() };
    let bindings = bindings(&args);
    let run = Arc::clone(run(cx));
    let reads = parse(&template.text).is_ok_and(|nodes| includes(&nodes));
    if !reads {
        return Ok(Outcome::from(rendered(&run, name, &template, bindings, false)?.0));
    }
    let work = run.clone();
    Ok(Outcome::from(Wait::new(
        name,
        run.blocking(move || rendered(&work, name, &template, bindings, false).map(|(text, _)| Value::from(text))),
    )))
}

fn render_with_provenance(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let name = "render_with_provenance";
    let (directory, reference, bindings) = (source_directory(cx), args.string(0).to_string(), bindings(&args));
    let run = Arc::clone(run(cx));
    let prompt_id = format!("prompt-{}", run.next_id());
    let work = run.clone();
    Ok(Wait::new(
        name,
        run.blocking(move || {
            let template = read(&work, name, &reference, &directory)?;
            let (text, spans) = rendered(&work, name, &template, bindings, true)?;
            let path = template.path.as_ref().map_or(String::new(), |it| it.display().to_string());
            let spans = spans.into_iter().map(|span| span_value(&template, span)).collect();
            Ok(Value::dict([
                ("text", Value::from(text)),
                ("template_uri", Value::from(path)),
                ("prompt_id", Value::from(prompt_id)),
                ("spans", Value::list(spans)),
            ]))
        }),
    ))
}

fn span_value(template: &Template, span: Span) -> Value {
    let (line, column) = template.position(span.template_at);
    let mut entries = vec![
        ("template_line", Value::from(line)),
        ("template_col", Value::from(column)),
        ("output_start", Value::from(span.output.0)),
        ("output_end", Value::from(span.output.1)),
        ("kind", Value::from(span.kind)),
    ];
    if let Some(bound) = span.bound {
        entries.push(("bound_value", Value::from(bound.chars().take(80).collect::<String>())));
    }
    Value::dict(entries)
}

fn prompt_mark_rendered(cx: &mut Cx<'_>, args: Args<'_>) -> Result<i64, Fault> {
    if args.get(0).as_str().is_none() {
        return Err(Fault::type_error("prompt_mark_rendered: prompt_id must be a string"));
    }
    Ok(run(cx).prompts.mark())
}

/// Counts the prompts that were used.
#[derive(Default)]
pub(crate) struct Prompts(AtomicI64);

impl Prompts {
    fn mark(&self) -> i64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}
