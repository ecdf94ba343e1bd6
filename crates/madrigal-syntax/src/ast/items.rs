//! Files, imports, pipelines, declarations.

use super::{AstNode, child, children, token};
use crate::kinds::SyntaxKind;
use crate::tree::{SyntaxNode, SyntaxToken};

nodes! {
    /// A whole file.
    SourceFile = SOURCE_FILE,
    /// `import ..`
    Import = IMPORT,
    /// `pipeline name(..) { }`
    Pipeline = PIPELINE_DECL,
    /// `@name(..)`
    Attribute = ATTRIBUTE,
    /// `fn name(..) { }`, also `gen fn` and methods.
    FnDecl = FN_DECL,
    /// `struct Name { }`
    StructDecl = STRUCT_DECL,
    /// `name?: type`
    StructField = STRUCT_FIELD,
    /// `enum Name { }`
    EnumDecl = ENUM_DECL,
    /// `Name(..)` in an enum.
    EnumVariant = ENUM_VARIANT,
    /// `interface Name { }`
    InterfaceDecl = INTERFACE_DECL,
    /// `impl Name { }`
    ImplDecl = IMPL_DECL,
    /// `type Name = ..`
    TypeAlias = TYPE_ALIAS,
    /// `(params)`, or the part of a closure before `->`.
    ParamList = PARAM_LIST,
    /// A parameter.
    Param = PARAM,
    /// `{ statements }`
    Block = BLOCK,
}

impl SourceFile {
    pub(crate) fn new(node: SyntaxNode) -> SourceFile {
        SourceFile(node)
    }

    /// Imports, pipelines, declarations and statements in source order.
    pub fn items(&self) -> impl Iterator<Item = SyntaxNode> {
        self.syntax().children()
    }
}

impl Import {
    /// The token of the path.
    pub fn path(&self) -> Option<SyntaxToken> {
        let plain = token(self.syntax(), SyntaxKind::STRING);
        plain.or_else(|| token(self.syntax(), SyntaxKind::TRIPLE_STRING))
    }
    /// The list of names, when there is one.
    pub fn names(&self) -> Option<SyntaxNode> {
        child(self.syntax(), SyntaxKind::IMPORT_NAMES)
    }
}

impl FnDecl {
    /// Its parameters.
    pub fn params(&self) -> Option<ParamList> {
        child(self.syntax(), SyntaxKind::PARAM_LIST).map(ParamList)
    }
    /// Whether it is a `gen fn`.
    pub fn is_stream(&self) -> bool {
        token(self.syntax(), SyntaxKind::GEN_KW).is_some()
    }
}

impl ParamList {
    /// The parameters.
    pub fn params(&self) -> impl Iterator<Item = Param> {
        children(self.syntax(), SyntaxKind::PARAM).map(Param)
    }
}

impl Param {
    /// Whether it collects the remaining arguments.
    pub fn is_rest(&self) -> bool {
        token(self.syntax(), SyntaxKind::DOT).is_some()
    }
}
