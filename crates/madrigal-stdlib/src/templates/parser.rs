//! From pieces to a tree of text, values, branches, loops and includes.

use super::Problem;
use super::expression::{Expr, Reader, Token};
use super::segments::{Segment, segments};

/// How deep blocks nest.
const DEPTH_MAX: usize = 100;

/// What to write.
#[derive(Debug)]
pub(super) struct Node {
    /// Where it begins in the template.
    pub at: usize,
    pub kind: NodeKind,
}

#[derive(Debug)]
pub(super) enum NodeKind {
    Text(String),
    Value(Expr),
    If {
        /// Conditions with what they guard; `else` has none.
        branches: Vec<(Option<Expr>, Vec<Node>)>,
    },
    For {
        key: Option<String>,
        item: String,
        source: Expr,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
    Include {
        path: Expr,
        with: Vec<(String, Expr)>,
    },
}

/// The tree of a template.
pub(super) fn parse(template: &str) -> Result<Vec<Node>, Problem> {
    let mut parser = Parser { segments: segments(template)?.into_iter(), depth: 0 };
    match parser.block()? {
        (nodes, None) => Ok(nodes),
        (_, Some(stop)) => Err(stop.unexpected()),
    }
}

/// Whether a tree reads other files.
pub(super) fn includes(nodes: &[Node]) -> bool {
    nodes.iter().any(|node| match &node.kind {
        NodeKind::Include { .. } => true,
        NodeKind::If { branches } => branches.iter().any(|(_, body)| includes(body)),
        NodeKind::For { body, otherwise, .. } => includes(body) || includes(otherwise),
        NodeKind::Text(_) | NodeKind::Value(_) => false,
    })
}

struct Parser {
    segments: std::vec::IntoIter<Segment>,
    depth: usize,
}

/// A directive that ends a block.
struct Stop {
    word: &'static str,
    rest: String,
    at: usize,
}

impl Stop {
    fn unexpected(&self) -> Problem {
        Problem::new(self.at, format!("unexpected `{{{{ {} }}}}`", self.word))
    }
}

/// The end of the text came before that of a block.
fn unclosed((word, at): (&str, usize)) -> Problem {
    Problem::new(at, format!("`{{{{ {word} }}}}` missing matching `{{{{ end }}}}`"))
}

const STOPS: [&str; 3] = ["elif", "else", "end"];

impl Parser {
    /// Nodes up to a directive that ends the block, or to the end of the text.
    fn block(&mut self) -> Result<(Vec<Node>, Option<Stop>), Problem> {
        let mut nodes = Vec::new();
        while let Some(segment) = self.segments.next() {
            let (content, at) = match segment {
                Segment::Text(text, at) => {
                    if !text.is_empty() {
                        nodes.push(Node { at, kind: NodeKind::Text(text) });
                    }
                    continue;
                }
                Segment::Directive(content, at) => (content, at),
            };
            let (word, rest) = first_word(&content);
            if let Some(word) = STOPS.into_iter().find(|it| *it == word) {
                return Ok((nodes, Some(Stop { word, rest: rest.to_owned(), at })));
            }
            let kind = match word {
                "if" => self.branches(rest, at)?,
                "for" => self.repetition(rest, at)?,
                "include" => include(rest).map_err(|what| Problem::new(at, what))?,
                _ => NodeKind::Value(whole(&content).map_err(|what| Problem::new(at, what))?),
            };
            nodes.push(Node { at, kind });
        }
        Ok((nodes, None))
    }

    fn deeper(&mut self, at: usize) -> Result<(), Problem> {
        self.depth += 1;
        if self.depth > DEPTH_MAX { Err(Problem::new(at, "blocks nested too deeply")) } else { Ok(()) }
    }

    fn branches(&mut self, condition: &str, at: usize) -> Result<NodeKind, Problem> {
        self.deeper(at)?;
        let mut branches = Vec::new();
        let mut condition = Some(whole(condition).map_err(|what| Problem::new(at, what))?);
        let mut opened = ("if", at);
        loop {
            let (body, stop) = self.block()?;
            let is_else = condition.is_none();
            branches.push((condition, body));
            let stop = stop.ok_or_else(|| unclosed(opened))?;
            condition = match stop.word {
                "end" => {
                    self.depth -= 1;
                    return Ok(NodeKind::If { branches });
                }
                _ if is_else => return Err(stop.unexpected()),
                "else" => {
                    opened = ("else", stop.at);
                    None
                }
                _ => Some(whole(&stop.rest).map_err(|what| Problem::new(stop.at, what))?),
            };
        }
    }

    fn repetition(&mut self, head: &str, at: usize) -> Result<NodeKind, Problem> {
        self.deeper(at)?;
        let (key, item, source) = loop_head(head).map_err(|what| Problem::new(at, what))?;
        let (body, stop) = self.block()?;
        let stop = stop.ok_or_else(|| unclosed(("for", at)))?;
        let otherwise = match stop.word {
            "end" => Vec::new(),
            "else" => {
                let (otherwise, end) = self.block()?;
                match end.ok_or_else(|| unclosed(("else", stop.at)))? {
                    Stop { word: "end", .. } => otherwise,
                    other => return Err(other.unexpected()),
                }
            }
            _ => return Err(stop.unexpected()),
        };
        self.depth -= 1;
        Ok(NodeKind::For { key, item, source, body, otherwise })
    }
}

fn first_word(content: &str) -> (&str, &str) {
    let end = content.find(|it: char| !it.is_alphanumeric() && it != '_').unwrap_or(content.len());
    content.split_at(end)
}

/// The expression that a text is, to its end.
fn whole(text: &str) -> Result<Expr, String> {
    let mut reader = Reader::new(text)?;
    let expr = reader.expression()?;
    reader.end()?;
    Ok(expr)
}

fn loop_head(head: &str) -> Result<(Option<String>, String, Expr), String> {
    let mut reader = Reader::new(head)?;
    let mut item = loop_variable(&mut reader)?;
    let mut key = None;
    if reader.take(",") {
        key = Some(std::mem::replace(&mut item, loop_variable(&mut reader)?));
    }
    if !reader.take_word("in") {
        return Err("expected `in` in for-loop".to_owned());
    }
    let source = reader.expression()?;
    reader.end()?;
    Ok((key, item, source))
}

fn loop_variable(reader: &mut Reader) -> Result<String, String> {
    match reader.next() {
        Some(Token::Word(name)) if !["in", "nil", "true", "false", "not", "and", "or"].contains(&name.as_str()) => {
            Ok(name)
        }
        _ => Err("invalid for-loop variable".to_owned()),
    }
}

fn include(rest: &str) -> Result<NodeKind, String> {
    let mut reader = Reader::new(rest)?;
    let path = reader.expression()?;
    let mut with = Vec::new();
    if reader.take_word("with") {
        reader.expect("{")?;
        while !reader.take("}") {
            let name = match reader.next() {
                Some(Token::Word(name) | Token::Text(name)) => name,
                _ => return Err("expected a name in `with`".to_owned()),
            };
            reader.expect(":")?;
            with.push((name, reader.expression()?));
            if !reader.take(",") {
                reader.expect("}")?;
                break;
            }
        }
    }
    reader.end()?;
    Ok(NodeKind::Include { path, with })
}
