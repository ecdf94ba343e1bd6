//! Modules: what runs when a file is loaded or started, in which order, and what it exports.

use super::*;
use crate::hir::{Block, Pattern, Pipeline, Statement, StatementKind};
use std::rc::Rc;

impl<'a> Emitter<'a> {
    /// Finds the declarations of the file and gives top-level functions their slots.
    pub(super) fn collect(&mut self) {
        let module: &'a Module = self.unit.module;
        let blocks = std::iter::once(&module.body).chain(module.pipelines.iter().map(|it| &it.body));
        for block in blocks {
            names::each_declaration(block, &mut |statement| self.collect_declaration(statement));
        }
        let replaced: HashSet<&Name> = module.body.statements.iter().filter_map(variable).collect();
        for statement in &module.body.statements {
            if let StatementKind::Function(function) = &statement.kind
                && let Some((name, _)) = &function.name
                && !self.slots.contains_key(name)
                && !replaced.contains(name)
            {
                let Ok(slot) = u16::try_from(self.functions.len()) else {
                    self.compile_error("too many functions", statement.span);
                    return;
                };
                self.functions.push(Str::from(&**name));
                self.slots.insert(name.clone(), slot);
            }
        }
    }

    fn collect_declaration(&mut self, statement: &'a Statement) {
        match &statement.kind {
            StatementKind::Struct(it) => {
                let fields = it.fields.iter().map(|field| Str::from(&*field.name)).collect();
                let shape = Shape::new(Str::from(&*it.name.0), fields);
                self.structs.entry(it.name.0.clone()).or_insert(shape);
                self.declared.insert(it.name.0.clone());
            }
            StatementKind::Enum(it) => {
                self.enums.insert(it.name.0.clone());
                self.declared.insert(it.name.0.clone());
            }
            StatementKind::TypeAlias { name, definition } => {
                self.aliases.entry(name.0.clone()).or_insert(definition);
            }
            StatementKind::Interface(it) => {
                self.interfaces.insert(it.name.0.clone());
            }
            StatementKind::Function(function) => {
                self.declared.extend(function.name.iter().map(|it| it.0.clone()));
            }
            StatementKind::Let { pattern, .. } => {
                self.declared.extend(names::bound_names(pattern).into_iter().cloned());
            }
            _ => {}
        }
    }

    /// The code of the module.
    pub(super) fn module_body(&mut self) -> Arc<Proto> {
        let module: &'a Module = self.unit.module;
        self.begin(Str::from("pipeline"), None);
        self.open_scope();
        for body in std::mem::take(&mut self.unit.imports) {
            self.run_import(body);
        }
        if !self.unit.entry {
            self.declarations(&module.body, true);
        } else if module.pipelines.is_empty() {
            self.script(&module.body);
        } else {
            self.declarations(&module.body, false);
            self.pipeline(&module.pipelines);
        }
        let span = end_of(module.body.span);
        self.close_scope(span);
        self.op(Instruction::ReturnNil {}, span);
        self.finish(Vec::new(), 0, false)
    }

    fn run_import(&mut self, body: Arc<Proto>) {
        let mark = self.state().mark();
        let at = self.state().allocate();
        let proto = self.state().builder.proto(body);
        self.op(Instruction::MakeClosure { dst: at, proto }, Span::default());
        self.op(Instruction::Call { at, count: 0 }, Span::default());
        self.state().release(mark);
    }

    /// Variables first, then declarations; other statements do not run.
    fn declarations(&mut self, body: &Block, state: bool) {
        let is_variable = |it: &&Statement| matches!(it.kind, StatementKind::Let { .. });
        for statement in body.statements.iter().filter(is_variable) {
            if state {
                self.state_variable(statement);
            } else {
                self.statement(statement);
            }
        }
        for statement in &body.statements {
            match &statement.kind {
                StatementKind::Function(_)
                | StatementKind::Struct(_)
                | StatementKind::Enum(_)
                | StatementKind::Impl(_) => self.statement(statement),
                _ => {}
            }
        }
    }

    /// `let` and `var` of an imported module: shared by its functions within a task.
    fn state_variable(&mut self, statement: &Statement) {
        let StatementKind::Let { pattern, mutable, value, .. } = &statement.kind else { return };
        self.open_scope();
        self.bind_pattern(pattern, *mutable, value);
        let state = self.state();
        let names = state.scope().names.clone();
        let bound: Vec<(Name, Option<Binding>)> = names.into_iter().map(|it| (it.clone(), state.find(&it))).collect();
        for (name, binding) in bound {
            if !mutable && self.is_taken(&name) {
                let name = self.name(&name);
                self.op(Instruction::Redeclare { name }, statement.span);
            }
            let next = self.state_slots.len() as u16;
            let entry = self.state_slots.entry(name).or_insert((next, *mutable));
            entry.1 = *mutable;
            let slot = entry.0;
            if let Some(Binding { place: Storage::Register(src), .. }) = binding {
                self.op(Instruction::StoreState { slot, src }, statement.span);
            }
        }
        self.close_scope(statement.span);
    }

    fn script(&mut self, body: &Block) {
        self.prepare_cells(&body.statements);
        for statement in &body.statements {
            self.statement(statement);
        }
    }

    /// The entry pipeline: the one named `default`, else the first, after the bodies of its ancestors.
    fn pipeline(&mut self, pipelines: &[Pipeline]) {
        let entry = pipelines.iter().find(|it| &*it.name.0 == "default").or(pipelines.first());
        let mut chain: Vec<&Pipeline> = Vec::new();
        let mut next = entry;
        while let Some(pipeline) = next {
            if chain.len() > pipelines.len() {
                self.compile_error("a pipeline extends itself", pipeline.name.1);
                break;
            }
            chain.push(pipeline);
            next = match &pipeline.extends {
                None => None,
                Some((parent, span)) => {
                    let found = pipelines.iter().find(|it| it.name.0 == *parent);
                    if found.is_none() {
                        self.compile_error(&format!("unknown parent pipeline '{parent}'"), *span);
                    }
                    found
                }
            };
        }
        self.open_scope();
        let blocks: Vec<&Block> = chain.iter().rev().map(|it| &it.body).collect();
        let result = self.state().allocate();
        for (position, block) in blocks.iter().enumerate() {
            let last = position + 1 == blocks.len();
            self.prepare_cells(&block.statements);
            self.statements(&block.statements, last.then_some(result), block.span);
        }
        let span = end_of(blocks.last().map_or(Span::default(), |it| it.span));
        self.return_value(result, span);
        self.close_scope(span);
    }

    /// What importers may bind.
    pub(super) fn exports(&mut self) -> Exports {
        let module: &'a Module = self.unit.module;
        let mut named = HashMap::new();
        let mut public = HashMap::new();
        let mut marked = module.imports.iter().any(|it| it.public);
        for statement in &module.body.statements {
            match &statement.kind {
                StatementKind::Function(function) => {
                    let Some((name, _)) = &function.name else { continue };
                    let Some(&slot) = self.slots.get(name) else { continue };
                    named.insert(name.clone(), Export::Function(slot));
                    if function.public {
                        marked = true;
                        public.insert(name.clone(), Export::Function(slot));
                    }
                }
                StatementKind::Struct(it) if it.public => {
                    if let Some(shape) = self.structs.get(&it.name.0) {
                        public.insert(it.name.0.clone(), Export::Struct(shape.clone()));
                    }
                }
                StatementKind::Enum(it) if it.public => {
                    public.insert(it.name.0.clone(), Export::Enum);
                }
                _ => {}
            }
        }
        self.reexport(&mut public);
        named.extend(public.iter().map(|(name, export)| (name.clone(), export.clone())));
        let all = if marked { public } else { named.clone() };
        Exports { all, named }
    }

    fn reexport(&mut self, public: &mut HashMap<Name, Export>) {
        for import in self.unit.module.imports.iter().filter(|it| it.public) {
            let names: Vec<Name> = match &import.names {
                Some(names) => names.iter().map(|it| it.0.clone()).collect(),
                None => self.unit.imported_by.get(&import.path).cloned().unwrap_or_default(),
            };
            for name in names {
                if self.slots.contains_key(&name) {
                    let message = format!(
                        "Re-export collision: '{name}' is defined here and also re-exported from '{}'",
                        import.path
                    );
                    self.error(Code::COMPILE, message, import.span);
                } else if let Some(export) = self.unit.imported.get(&name) {
                    public.insert(name, export.clone());
                }
            }
        }
    }

    /// A function of a library module.
    pub(super) fn bare_function(&mut self, position: usize) -> Option<(Name, Arc<Proto>)> {
        let statement = self.unit.module.body.statements.get(position)?;
        let StatementKind::Function(function) = &statement.kind else { return None };
        let function: Rc<crate::hir::Function> = function.clone();
        let name = function.name.as_ref()?.0.clone();
        self.begin(Str::from("prelude"), None);
        self.open_scope();
        let proto = self.function(&function, Str::from(&*name), Some(name.clone()));
        self.close_scope(Span::default());
        self.finish(Vec::new(), 0, false);
        Some((name, proto))
    }
}

fn variable(statement: &Statement) -> Option<&Name> {
    match &statement.kind {
        StatementKind::Let { pattern: Pattern::Name(name, _), mutable: true, .. } => Some(name),
        _ => None,
    }
}

fn end_of(span: Span) -> Span {
    Span { start: span.end.saturating_sub(1), end: span.end }
}
