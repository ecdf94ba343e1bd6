//! Writes a template. What it may read, how deep includes go, how often loops turn and how long the text gets is
//! bounded.

use super::expression::{Expr, is_truthy, shown};
use super::files::{canonical, locate};
use super::parser::{Node, NodeKind, parse};
use super::scope::Scope;
use super::{Problem, Template};
use crate::host::Run;
use madrigal_vm::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most includes open at a time.
const INCLUDES_MAX: usize = 32;

/// The longest text.
const OUTPUT_BYTES_MAX: usize = 256 << 20;

/// Most turns of all loops together.
const TURNS_MAX: usize = 10_000_000;

/// Where a piece of the output came from.
pub(super) struct Span {
    pub template_at: usize,
    pub output: (usize, usize),
    pub kind: &'static str,
    pub bound: Option<String>,
}

pub(super) struct Renderer {
    run: Arc<Run>,
    name: &'static str,
    out: String,
    turns: usize,
    /// Files being rendered, outermost first, as shown and as they really are.
    open: Vec<(PathBuf, PathBuf)>,
    /// Plain includes have to lie below it.
    root: PathBuf,
    /// Pieces of the top template, when somebody asked for them.
    pub spans: Option<Vec<Span>>,
}

impl Renderer {
    /// A renderer for templates below `root`, on behalf of the builtin `name`.
    pub(super) fn new(run: Arc<Run>, name: &'static str, root: &Path) -> Renderer {
        let (out, open) = (String::new(), Vec::new());
        Renderer { run, name, out, turns: 0, open, root: canonical(root), spans: None }
    }

    /// Renders a template; the error is ready to be thrown.
    pub(super) fn render(&mut self, template: &Template, nodes: &[Node], scope: &mut Scope) -> Result<String, String> {
        if let Some(path) = &template.path {
            self.open.push((path.clone(), canonical(path)));
        }
        self.nodes(nodes, template, scope)?;
        Ok(std::mem::take(&mut self.out))
    }

    fn nodes(&mut self, nodes: &[Node], template: &Template, scope: &mut Scope) -> Result<(), String> {
        for node in nodes {
            let start = self.out.len();
            let (kind, bound) = self.node(node, template, scope)?;
            self.note(node.at, start, kind, bound);
            if self.out.len() > OUTPUT_BYTES_MAX {
                return Err(template.error(&Problem::new(node.at, "the output is longer than 256 MiB")));
            }
        }
        Ok(())
    }

    fn note(&mut self, template_at: usize, start: usize, kind: &'static str, bound: Option<String>) {
        let top = self.open.len() <= 1;
        let end = self.out.len();
        if let Some(spans) = self.spans.as_mut().filter(|_| top) {
            spans.push(Span { template_at, output: (start, end), kind, bound });
        }
    }

    fn node(
        &mut self,
        node: &Node,
        template: &Template,
        scope: &mut Scope,
    ) -> Result<(&'static str, Option<String>), String> {
        let located = |what: String| template.error(&Problem::new(node.at, what));
        let value_of = |expr: &Expr, scope: &Scope| expr.evaluate(scope).map_err(located);
        Ok(match &node.kind {
            NodeKind::Text(text) => {
                self.out.push_str(text);
                ("text", None)
            }
            NodeKind::Value(expr) => match expr.bare_name() {
                Some(name) => {
                    let value = scope.get(name);
                    match &value {
                        Some(value) => self.out.push_str(&shown(value)),
                        None => self.out.extend(["{{", name, "}}"]),
                    }
                    ("legacy_bare", value.map(|it| shown(&it).to_string()))
                }
                None => {
                    let text = shown(&value_of(expr, scope)?);
                    self.out.push_str(&text);
                    ("expr", Some(text.to_string()))
                }
            },
            NodeKind::If { branches } => {
                for (condition, body) in branches {
                    let holds = condition.as_ref().map_or(Ok(true), |it| value_of(it, scope).map(|it| is_truthy(&it)));
                    if holds? {
                        self.nodes(body, template, scope)?;
                        break;
                    }
                }
                ("if", None)
            }
            NodeKind::For { key, item, source, body, otherwise } => {
                let source = value_of(source, scope)?;
                let turns = Turns::of(&source).map_err(located)?;
                if turns.len == 0 {
                    self.nodes(otherwise, template, scope)?;
                }
                for at in 0..turns.len {
                    self.turns += 1;
                    if self.turns > TURNS_MAX {
                        return Err(located(format!("loops turn more than {TURNS_MAX} times")));
                    }
                    let mark = scope.mark();
                    let (first, second) = turns.get(at);
                    if let Some(key) = key {
                        scope.bind(key, first);
                    }
                    scope.bind(item, second);
                    scope.bind("loop", turns.place(at));
                    let start = self.out.len();
                    let done = self.nodes(body, template, scope);
                    scope.forget(mark);
                    done?;
                    self.note(node.at, start, "for_iteration", None);
                }
                ("for", None)
            }
            NodeKind::Include { path, with } => {
                let reference = match value_of(path, scope)? {
                    Value::String(it) => it,
                    other => return Err(located(format!("include path must be a string (got {})", other.type_name()))),
                };
                let mark = scope.mark();
                for (name, value) in with {
                    let value = value_of(value, scope)?;
                    scope.bind(name, value);
                }
                let done = self.include(&reference, template, &located, scope);
                scope.forget(mark);
                done?;
                ("include", None)
            }
        })
    }

    fn include(
        &mut self,
        reference: &str,
        template: &Template,
        located: &dyn Fn(String) -> String,
        scope: &mut Scope,
    ) -> Result<(), String> {
        let file = locate(reference, &template.directory).map_err(located)?;
        let real = canonical(&file.path);
        let shown = file.path.display();
        if !file.exempt && !real.starts_with(&self.root) {
            return Err(located(format!("include path {shown} escapes template root {}", self.root.display())));
        }
        if self.open.iter().any(|(_, open)| *open == real) {
            let mut chain: Vec<String> = self.open.iter().map(|(path, _)| path.display().to_string()).collect();
            chain.push(shown.to_string());
            return Err(located(format!("circular include detected: {}", chain.join(" → "))));
        }
        if self.open.len() >= INCLUDES_MAX {
            return Err(located(format!("include depth exceeded ({INCLUDES_MAX} levels)")));
        }
        let read = self.run.read_text(self.name, &file.path);
        let text = read.map_err(|error| located(format!("failed to read included template {shown}: {error}")))?;
        let included = Template::file(file.path.clone(), text);
        let nodes = parse(&included.text).map_err(|problem| included.error(&problem))?;
        self.open.push((file.path.clone(), real));
        let done = self.nodes(&nodes, &included, scope);
        self.open.pop();
        done
    }
}

/// What a loop walks.
struct Turns<'a> {
    source: &'a Value,
    len: usize,
    items: Vec<Value>,
}

impl Turns<'_> {
    fn of(source: &Value) -> Result<Turns<'_>, String> {
        let mut items = Vec::new();
        let len = match source {
            Value::Nil => 0,
            Value::List(it) => it.len(),
            Value::Dict(it) => it.len(),
            Value::Range(it) => it.len(),
            Value::Set(it) => {
                items.extend(it.iter().cloned());
                items.len()
            }
            other => {
                return Err(format!("cannot iterate over {} — expected list, dict, set, or range", other.type_name()));
            }
        };
        Ok(Turns { source, len, items })
    }

    /// Key and item of a turn.
    fn get(&self, at: usize) -> (Value, Value) {
        let item = match self.source {
            Value::Dict(it) => {
                let (key, value) = it.nth(at).expect("the turn is within the dict");
                return (Value::String(key.clone()), value.clone());
            }
            Value::List(it) => it.get(at).cloned(),
            Value::Range(it) => it.iter().nth(at).map(Value::Int),
            _ => self.items.get(at).cloned(),
        };
        (Value::from(at), item.unwrap_or_default())
    }

    /// The dict `loop` of a turn.
    fn place(&self, at: usize) -> Value {
        Value::dict([
            ("index", Value::from(at + 1)),
            ("index0", Value::from(at)),
            ("first", Value::Bool(at == 0)),
            ("last", Value::Bool(at + 1 == self.len)),
            ("length", Value::from(self.len)),
        ])
    }
}
