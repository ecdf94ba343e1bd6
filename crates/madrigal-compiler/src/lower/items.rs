//! Imports, pipelines, declarations and functions of every kind.

use std::rc::Rc;
use std::sync::Arc;

use madrigal_syntax::SyntaxKind::*;
use madrigal_syntax::{SyntaxNode, ast, literal};

use super::{Frame, Lowerer, has, name_of, named, span};
use crate::hir::*;

impl Lowerer {
    pub(super) fn import(&mut self, node: &SyntaxNode) {
        let path = ast::token(node, STRING).or_else(|| ast::token(node, TRIPLE_STRING));
        let names = ast::child(node, IMPORT_NAMES);
        let import = Import {
            path: path.map_or_else(|| Arc::from(""), |token| literal::string_value(token.text()).into()),
            names: names.map(|list| ast::tokens(&list, IDENT).map(|token| named(&token)).collect()),
            public: has(node, PUB_KW),
            span: span(node),
        };
        self.module.imports.push(import);
    }

    pub(super) fn pipeline(&mut self, node: &SyntaxNode) {
        let (body, _) = self.in_function(false, |this| this.child_block(node));
        let params = ast::child(node, PIPELINE_PARAMS);
        let names = params.iter().flat_map(|list| ast::tokens(list, IDENT));
        let pipeline = Pipeline {
            name: name_of(node),
            params: names.map(|token| named(&token).0).collect(),
            extends: ast::child(node, EXTENDS).map(|parent| name_of(&parent)),
            body,
            attributes: attributes(node),
            public: has(node, PUB_KW),
        };
        self.module.pipelines.push(pipeline);
    }

    /// `fn`, `gen fn`, method or `tool`.
    pub(super) fn declared(&mut self, node: &SyntaxNode) -> Rc<Function> {
        let kind = if node.kind() == TOOL_DECL { FunctionKind::Closure } else { FunctionKind::Declared };
        let stream = has(node, GEN_KW);
        let ((params, body), frame) = self.in_function(stream, |this| (this.params(node), this.child_block(node)));
        let type_params = ast::child(node, TYPE_PARAMS);
        let type_params = type_params.iter().flat_map(|list| ast::children(list, TYPE_PARAM));
        let Frame { assigned, yields, .. } = frame;
        Rc::new(Function {
            name: Some(name_of(node)),
            kind,
            params,
            type_params: type_params.map(|param| name_of(&param).0).collect(),
            result: ast::child(node, RESULT_TYPE).map(|result| self.type_in(&result)),
            body,
            public: has(node, PUB_KW),
            stream,
            yields,
            assigned,
            attributes: attributes(node),
            span: span(node),
        })
    }

    /// A function without a name: closures, `fn` expressions, task bodies.
    pub(super) fn anonymous(
        &mut self,
        node: &SyntaxNode,
        kind: FunctionKind,
        parts: impl FnOnce(&mut Self) -> (Vec<Param>, Block),
    ) -> Rc<Function> {
        let ((params, body), frame) = self.in_function(false, parts);
        Rc::new(Function {
            name: None,
            kind,
            params,
            type_params: Vec::new(),
            result: None,
            body,
            public: false,
            stream: false,
            yields: frame.yields,
            assigned: frame.assigned,
            attributes: Vec::new(),
            span: span(node),
        })
    }

    pub(super) fn params(&mut self, node: &SyntaxNode) -> Vec<Param> {
        let Some(list) = ast::child(node, PARAM_LIST) else {
            return Vec::new();
        };
        ast::children(&list, PARAM).map(|param| self.param(&param)).collect()
    }

    fn param(&mut self, node: &SyntaxNode) -> Param {
        let type_node = ast::type_(node);
        let name = match (ast::token(node, IDENT), &type_node) {
            (Some(token), _) => named(&token),
            // An enum field written as its type only.
            (None, Some(type_node)) => (type_node.text().to_string().into(), span(type_node)),
            (None, None) => name_of(node),
        };
        Param {
            name,
            annotation: type_node.map(|node| self.type_(&node)),
            default: ast::expr(node).map(|value| self.expr(&value)),
            rest: has(node, DOT),
        }
    }

    pub(super) fn struct_(&mut self, node: &SyntaxNode) -> StructDeclaration {
        let fields = ast::children(node, STRUCT_FIELD).map(|field| FieldDeclaration {
            name: name_of(&field).0,
            optional: has(&field, QUESTION),
            annotation: ast::type_(&field).map(|node| self.type_(&node)),
        });
        StructDeclaration { fields: fields.collect(), name: name_of(node), public: has(node, PUB_KW) }
    }

    pub(super) fn enum_(&mut self, node: &SyntaxNode) -> EnumDeclaration {
        let variants = ast::children(node, ENUM_VARIANT);
        let variants = variants.map(|variant| (name_of(&variant).0, self.params(&variant))).collect();
        EnumDeclaration { name: name_of(node), variants, public: has(node, PUB_KW) }
    }

    pub(super) fn impl_(&mut self, node: &SyntaxNode) -> ImplDeclaration {
        let methods = ast::children(node, FN_DECL).map(|method| self.declared(&method)).collect();
        ImplDeclaration { name: name_of(node), methods }
    }

    pub(super) fn interface(&mut self, node: &SyntaxNode) -> InterfaceDeclaration {
        let methods = ast::children(node, INTERFACE_METHOD).map(|method| name_of(&method).0).collect();
        InterfaceDeclaration { name: name_of(node), methods }
    }

    pub(super) fn type_alias(&mut self, node: &SyntaxNode) -> StatementKind {
        StatementKind::TypeAlias { name: name_of(node), definition: self.type_in(node) }
    }
}

pub(super) fn inert(node: &SyntaxNode, what: &'static str) -> StatementKind {
    let string = || ast::token(node, STRING).map(|token| literal::string_value(token.text()).into());
    let name = ast::token(node, IDENT).map(|token| named(&token).0);
    StatementKind::Inert { what, name: name.or_else(string).unwrap_or_default() }
}

fn attributes(node: &SyntaxNode) -> Vec<Attribute> {
    let attribute = |it: SyntaxNode| Attribute {
        name: name_of(&it).0,
        arguments: ast::children(&it, ATTRIBUTE_ARG).map(|argument| argument.text().to_string()).collect(),
        span: span(&it),
    };
    ast::children(node, ATTRIBUTE).map(attribute).collect()
}
