//! The lossless tree behind our own names, and how parser events become one.
//! Not here: which nodes there are (`kinds.rs`). Invariant: no tree is deeper than [`TREE_DEPTH_MAX`], because
//! dropping a tree, and everything later stages do with it, recurses.

use rowan::GreenNodeBuilder;

use crate::kinds::SyntaxKind;
use crate::lexer::Token;
use crate::parser::Event;

/// Nodes from the root to the deepest leaf. Only chains reach it (`a + a + …`, `a.b.b…`, `else if …`): nesting has a
/// lower limit of its own.
pub const TREE_DEPTH_MAX: usize = 1024;

/// Ties our kinds to the tree library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Harn {}

impl rowan::Language for Harn {
    type Kind = SyntaxKind;

    fn kind_from_raw(raw: rowan::SyntaxKind) -> SyntaxKind {
        SyntaxKind::from_raw(raw.0)
    }

    fn kind_to_raw(kind: SyntaxKind) -> rowan::SyntaxKind {
        raw(kind)
    }
}

/// A node of the tree.
pub type SyntaxNode = rowan::SyntaxNode<Harn>;
/// A token of the tree.
pub type SyntaxToken = rowan::SyntaxToken<Harn>;
/// A node or a token.
pub type SyntaxElement = rowan::SyntaxElement<Harn>;

fn raw(kind: SyntaxKind) -> rowan::SyntaxKind {
    rowan::SyntaxKind(kind as u16)
}

/// What `build` made.
pub(crate) struct Built {
    pub(crate) green: rowan::GreenNode,
    /// Where the tree had to be cut off for depth, the first time.
    pub(crate) too_deep_at: Option<u32>,
}

/// Makes the tree of `events` over `tokens`. Trivia goes to the outermost node it can.
pub(crate) fn build(text: &str, tokens: &[Token], mut events: Vec<Event>) -> Built {
    let mut sink = Sink { builder: GreenNodeBuilder::new(), text, tokens, next: 0, at: 0, depth: 0, too_deep_at: None };
    let mut wrappers = Vec::new();
    sink.builder.start_node(raw(SyntaxKind::SOURCE_FILE));
    for index in 0..events.len() {
        match std::mem::replace(&mut events[index], Event::Nothing) {
            Event::Nothing => {}
            Event::Start { kind, parent } => {
                wrappers.push(kind);
                let mut at = index;
                let mut parent = parent;
                while parent != 0 {
                    at += parent as usize;
                    match std::mem::replace(&mut events[at], Event::Nothing) {
                        Event::Start { kind, parent: next } => {
                            wrappers.push(kind);
                            parent = next;
                        }
                        _ => parent = 0,
                    }
                }
                sink.trivia();
                for kind in wrappers.drain(..).rev() {
                    sink.start(kind);
                }
            }
            Event::Finish => sink.finish(),
            Event::Token(kind) => {
                sink.trivia();
                sink.token(Some(kind));
            }
        }
    }
    sink.trivia();
    sink.builder.finish_node();
    Built { green: sink.builder.finish(), too_deep_at: sink.too_deep_at }
}

struct Sink<'a> {
    builder: GreenNodeBuilder<'static>,
    text: &'a str,
    tokens: &'a [Token],
    next: usize,
    at: u32,
    depth: usize,
    too_deep_at: Option<u32>,
}

impl Sink<'_> {
    fn start(&mut self, kind: SyntaxKind) {
        self.depth += 1;
        if self.depth < TREE_DEPTH_MAX {
            self.builder.start_node(raw(kind));
        } else if self.too_deep_at.is_none() {
            self.too_deep_at = Some(self.at);
        }
    }

    fn finish(&mut self) {
        if self.depth < TREE_DEPTH_MAX {
            self.builder.finish_node();
        }
        self.depth -= 1;
    }

    fn trivia(&mut self) {
        while self.tokens.get(self.next).is_some_and(|token| token.kind.is_trivia()) {
            self.token(None);
        }
    }

    fn token(&mut self, kind: Option<SyntaxKind>) {
        let Some(token) = self.tokens.get(self.next) else {
            return;
        };
        let end = self.at + token.len;
        let text = &self.text[self.at as usize..end as usize];
        self.builder.token(raw(kind.unwrap_or(token.kind)), text);
        self.at = end;
        self.next += 1;
    }
}
