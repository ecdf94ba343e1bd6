//! What names mean while a template is rendered: the bindings, and above them loop variables and extra names.

use madrigal_vm::{Dict, Value};

#[derive(Clone)]
pub(super) struct Scope {
    bindings: Dict,
    /// Innermost last.
    locals: Vec<(String, Value)>,
}

impl Scope {
    pub(super) fn new(bindings: Dict) -> Scope {
        Scope { bindings, locals: Vec::new() }
    }

    /// The value of a name; `None` when it is not bound.
    pub(super) fn get(&self, name: &str) -> Option<Value> {
        let local = self.locals.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value);
        local.or_else(|| self.bindings.get(name)).cloned()
    }

    /// How many names were bound so far; [`Scope::forget`] takes it back.
    pub(super) fn mark(&self) -> usize {
        self.locals.len()
    }

    pub(super) fn bind(&mut self, name: &str, value: Value) {
        self.locals.push((name.to_owned(), value));
    }

    pub(super) fn forget(&mut self, mark: usize) {
        self.locals.truncate(mark);
    }
}
