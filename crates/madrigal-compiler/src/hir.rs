//! The compiler's own view of a program: small, desugared, owned, with byte spans and no trivia.
//! `lower/` builds it from the syntax tree, `check/` and `emit/` read it. Names are still text here; they become
//! registers, captures and module slots in `emit/scope.rs`.
//! Not here: anything that needs to know how a program runs.
//!
//! Desugared on the way in: string escapes and indentation, `else if` chains, ternaries (to [`Expr::If`]), `_` of pipes
//! (to [`Expr::Placeholder`]), parenthesised callees, `try*`.

use std::rc::Rc;
use std::sync::Arc;

/// An identifier or other piece of program text.
pub type Name = Arc<str>;

/// Byte offsets into the module's source, end exclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

/// One source file.
#[derive(Debug, Default)]
pub struct Module {
    /// `import` items in source order.
    pub imports: Vec<Import>,
    /// Pipelines in source order; non-empty means pipeline mode.
    pub pipelines: Vec<Pipeline>,
    /// All other top-level statements and declarations in source order.
    pub body: Block,
}

/// `import "path"` or `import { a, b } from "path"`.
#[derive(Debug)]
pub struct Import {
    /// The path as written.
    pub path: Name,
    /// The selected names; `None` imports everything exported.
    pub names: Option<Vec<(Name, Span)>>,
    /// Whether it re-exports (`pub import`).
    pub public: bool,
    /// The whole item.
    pub span: Span,
}

/// `pipeline name(params) extends parent { body }`.
#[derive(Debug)]
pub struct Pipeline {
    /// Its name and where it stands.
    pub name: (Name, Span),
    /// Declared parameters; hosts bind them by name.
    pub params: Vec<Name>,
    /// The pipeline whose body runs first.
    pub extends: Option<(Name, Span)>,
    /// The body.
    pub body: Block,
    /// Attributes before it.
    pub attributes: Vec<Attribute>,
    /// Whether it is `pub`.
    pub public: bool,
}

/// `@name(args)`; arguments are kept as text.
#[derive(Debug, Clone)]
pub struct Attribute {
    /// Name without the sign.
    pub name: Name,
    /// Source text of each argument.
    pub arguments: Vec<String>,
    /// The whole attribute.
    pub span: Span,
}

/// A scope with its statements.
#[derive(Debug, Default)]
pub struct Block {
    /// The statements.
    pub statements: Vec<Statement>,
    /// From `{` to `}`.
    pub span: Span,
}

/// A statement and its place.
#[derive(Debug)]
pub struct Statement {
    /// What it does.
    pub kind: StatementKind,
    /// The whole statement.
    pub span: Span,
}

/// The statements of the language.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum StatementKind {
    /// `let` and `var`.
    Let {
        pattern: Pattern,
        mutable: bool,
        annotation: Option<Type>,
        value: Expr,
    },
    /// `fn name(..) {}` and `gen fn`; `Function::name` is set. Also `tool`.
    Function(Rc<Function>),
    Struct(StructDeclaration),
    Enum(EnumDeclaration),
    Impl(ImplDeclaration),
    Interface(InterfaceDeclaration),
    TypeAlias {
        name: (Name, Span),
        definition: Type,
    },
    /// `skill`, `eval_pack`: parsed, without effect here.
    Inert {
        what: &'static str,
        name: Name,
    },
    /// `override`: accepted, no effect.
    Override {
        name: Name,
    },
    For {
        pattern: ForPattern,
        iterable: Expr,
        body: Block,
    },
    While {
        condition: Expr,
        body: Block,
    },
    Return(Option<Expr>),
    Throw(Expr),
    Guard {
        condition: Expr,
        otherwise: Block,
    },
    Require {
        condition: Expr,
        message: Option<Expr>,
    },
    Yield(Option<Expr>),
    Emit(Expr),
    Defer(Block),
    Break,
    Continue,
    /// `place = value`, `place op= value`.
    Assign {
        place: Place,
        operator: Option<BinaryOperator>,
        value: Expr,
    },
    Expr(Expr),
}

/// A binding pattern of `let` and `var`. `_` binds nothing; it stays the name `_` here.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum Pattern {
    Name(Name, Span),
    Dict { fields: Vec<DictField>, rest: Option<(Name, Span)>, span: Span },
    List { items: Vec<ListItem>, rest: Option<(Name, Span)>, span: Span },
}

/// `key: name = default` in a dict pattern; without `: name` both are the same.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct DictField {
    pub key: Name,
    pub name: (Name, Span),
    pub default: Option<Expr>,
}

/// `name = default` in a list pattern.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct ListItem {
    pub name: (Name, Span),
    pub default: Option<Expr>,
}

/// What stands between `for` and `in`.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum ForPattern {
    One(Pattern),
    /// `(a, b)`
    Pair((Name, Span), (Name, Span)),
}

/// The left side of an assignment.
#[derive(Debug)]
pub struct Place {
    /// The variable at the root.
    pub root: (Name, Span),
    /// Steps from the root to the place, outermost first; empty for a plain variable.
    pub steps: Vec<PlaceStep>,
    /// The whole place.
    pub span: Span,
    /// Set when the root is not a plain variable (such as `f().x = 1`): assigned to as if immutable.
    pub computed_root: Option<Box<Expr>>,
}

/// One step into a container.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum PlaceStep {
    Property(Name, Span),
    Index(Expr),
}

/// An expression and its place.
#[derive(Debug)]
pub struct Expr {
    /// What it computes.
    pub kind: ExprKind,
    /// Where errors of it point: for operators the operator, for calls the callee name, else the whole expression.
    pub span: Span,
}

/// The expressions of the language.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum ExprKind {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// Milliseconds.
    Duration(i64),
    /// A string literal after escapes and indentation.
    String(Name),
    /// Interpolation: the display forms of the pieces joined; literal pieces are `String`.
    Interpolation(Vec<Expr>),
    Name(Name),
    /// `_` where a pipe binds it.
    Placeholder,
    List(Vec<Argument>),
    Dict(Vec<DictEntry>),
    /// `Name {entries}`.
    StructLiteral {
        name: (Name, Span),
        entries: Vec<DictEntry>,
    },
    /// A closure literal or `fn` expression (see `Function::kind`).
    Closure(Rc<Function>),
    /// The schema of a type; empty when it has none.
    TypeSchema(Type),
    Unary {
        operator: UnaryOperator,
        operand: Box<Expr>,
    },
    Binary {
        operator: BinaryOperator,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    /// `a ?? b`
    Coalesce(Box<Expr>, Box<Expr>),
    /// `a to b [exclusive]`
    Range {
        start: Box<Expr>,
        end: Box<Expr>,
        exclusive: bool,
    },
    /// `value |> callee` without a placeholder: `callee` is evaluated and called with `value`.
    PipeCall {
        value: Box<Expr>,
        callee: Box<Expr>,
    },
    /// `value |> body` where `body` contains `Placeholder`.
    PipeBind {
        value: Box<Expr>,
        body: Box<Expr>,
    },
    /// `name(args)`; calls have only names as callees.
    Call {
        name: (Name, Span),
        arguments: Vec<Argument>,
    },
    /// `receiver.name(args)`, `receiver?.name(args)`.
    MethodCall {
        receiver: Box<Expr>,
        name: (Name, Span),
        arguments: Vec<Argument>,
        optional: bool,
    },
    /// `object.name`, `object?.name`.
    Property {
        object: Box<Expr>,
        name: (Name, Span),
        optional: bool,
    },
    /// `object[index]`, `object?[index]`.
    Index {
        object: Box<Expr>,
        index: Box<Expr>,
        optional: bool,
    },
    /// `object[start:end]`.
    Slice {
        object: Box<Expr>,
        start: Option<Box<Expr>>,
        end: Option<Box<Expr>>,
    },
    /// `operand?`
    Propagate(Box<Expr>),
    /// `if`, also the ternary (whose branches are blocks of one expression statement).
    If {
        condition: Box<Expr>,
        then: Block,
        otherwise: Option<Block>,
    },
    Match {
        subject: Box<Expr>,
        arms: Vec<MatchArm>,
    },
    Try {
        body: Block,
        catch: Option<Catch>,
        finally: Option<Block>,
    },
    /// `try* operand`: the same value, the same throw.
    TryStar(Box<Expr>),
    Retry {
        attempts: Box<Expr>,
        options: Vec<(Name, Expr)>,
        body: Block,
    },
    Deadline {
        duration: Box<Expr>,
        body: Block,
    },
    /// `body` takes at most one parameter.
    Parallel {
        mode: ParallelMode,
        source: Box<Expr>,
        max_concurrent: Option<Box<Expr>>,
        body: Rc<Function>,
    },
    /// `body` takes no parameter.
    Spawn(Rc<Function>),
    /// `scope { s -> body }`
    Scope {
        handle: Option<(Name, Span)>,
        body: Block,
    },
    Select {
        cases: Vec<SelectCase>,
        timeout: Option<(Box<Expr>, Block)>,
        default: Option<Block>,
    },
    Mutex(Block),
}

/// The four forms of `parallel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ParallelMode {
    Count,
    Each,
    Settle,
    Stream,
}

/// `name from channel { body }`
#[derive(Debug)]
#[allow(missing_docs)]
pub struct SelectCase {
    pub name: (Name, Span),
    pub channel: Expr,
    pub body: Block,
}

/// `catch (name: annotation) { body }`
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Catch {
    pub name: Option<(Name, Span)>,
    pub annotation: Option<Type>,
    pub body: Block,
}

/// `pattern if guard -> body`
#[derive(Debug)]
#[allow(missing_docs)]
pub struct MatchArm {
    pub pattern: MatchPattern,
    pub guard: Option<Expr>,
    pub body: Block,
    pub span: Span,
}

/// Patterns of `match`, already told apart by the rules of the language.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum MatchPattern {
    /// `_`
    Any,
    /// A bare name.
    Bind(Name, Span),
    /// `E.V` and `E.V(fields)`, syntactically; when `enum_name` is no enum in scope, `otherwise` is compared with `==`.
    Variant { enum_name: (Name, Span), variant: Name, fields: Vec<MatchItem>, otherwise: Box<Expr> },
    /// A dict literal with literal keys.
    Dict(Vec<(Name, MatchItem)>),
    /// A list literal without spreads.
    List(Vec<MatchItem>),
    /// `p1 | p2`: equal to one of them.
    Alternatives(Vec<Expr>),
    /// Equal to this value.
    Value(Expr),
}

/// What stands at one position inside a pattern.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum MatchItem {
    Any,
    Bind(Name, Span),
    Value(Expr),
}

/// An argument or list element.
#[derive(Debug)]
pub struct Argument {
    /// `...value` when true.
    pub spread: bool,
    /// The value.
    pub value: Expr,
}

/// An entry of a dict or struct literal.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum DictEntry {
    Field { key: Name, key_span: Span, value: Expr },
    Computed { key: Expr, value: Expr },
    Spread(Expr),
}

/// Unary operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum UnaryOperator {
    Not,
    Negate,
}

/// Binary operators that evaluate both operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum BinaryOperator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
    Equal,
    NotEqual,
    Less,
    Greater,
    LessEqual,
    GreaterEqual,
    In,
    NotIn,
}

/// What kind of code a function is; decides its result and what `return` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FunctionKind {
    /// `fn name` and methods: nil unless it returns.
    Declared,
    /// Closure literals, `fn` expressions, `tool` bodies: value of the last statement.
    Closure,
    /// Body of `spawn` or `parallel`: value of the last statement, in a task of its own.
    Task,
}

/// A function of any kind.
#[derive(Debug)]
pub struct Function {
    /// Name, when it has one.
    pub name: Option<(Name, Span)>,
    /// What it is.
    pub kind: FunctionKind,
    /// Its parameters.
    pub params: Vec<Param>,
    /// Names of type parameters (annotations naming one are not checked).
    pub type_params: Vec<Name>,
    /// Declared result.
    pub result: Option<Type>,
    /// The code.
    pub body: Block,
    /// `pub`.
    pub public: bool,
    /// `gen fn`.
    pub stream: bool,
    /// Its own body contains `yield` (nested functions not counted).
    pub yields: bool,
    /// Names assigned anywhere in its own body as root of a place (nested functions not counted).
    pub assigned: Vec<Name>,
    /// Attributes before it.
    pub attributes: Vec<Attribute>,
    /// The whole function.
    pub span: Span,
}

/// A parameter.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Param {
    pub name: (Name, Span),
    pub annotation: Option<Type>,
    pub default: Option<Expr>,
    pub rest: bool,
}

/// `struct Name { field: T, other?: T }`
#[derive(Debug)]
#[allow(missing_docs)]
pub struct StructDeclaration {
    pub name: (Name, Span),
    pub fields: Vec<FieldDeclaration>,
    pub public: bool,
}

/// A struct field.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct FieldDeclaration {
    pub name: Name,
    pub optional: bool,
    pub annotation: Option<Type>,
}

/// `enum Name { Variant(fields) }`
#[derive(Debug)]
#[allow(missing_docs)]
pub struct EnumDeclaration {
    pub name: (Name, Span),
    pub variants: Vec<(Name, Vec<Param>)>,
    pub public: bool,
}

/// `impl Name { fn .. }`
#[derive(Debug)]
#[allow(missing_docs)]
pub struct ImplDeclaration {
    pub name: (Name, Span),
    pub methods: Vec<Rc<Function>>,
}

/// `interface Name { fn .. }`; only its name matters at run time.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct InterfaceDeclaration {
    pub name: (Name, Span),
    pub methods: Vec<Name>,
}

/// A type as written.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Type {
    /// `int`, `Name`, `Name<args>`; `[T]` is `list<T>`; `nil` and `bool` (also for `true`, `false`) are names.
    Named(Name, Vec<Type>),
    /// `{field: T, other?: T}`: name, optional, type.
    Shape(Vec<(Name, bool, Type)>),
    Function(Vec<Type>, Box<Type>),
    Union(Vec<Type>),
    StringLiteral(Name),
    IntLiteral(i64),
}
