//! The table of builtins and methods. One declaration gives name, signature, doc, capability and code; arity,
//! completion, reference pages and the sandbox read that same row. Adding a builtin touches one file.

use crate::effect::{Effect, Wait};
use crate::fault::Fault;
use crate::program::Program;
use crate::received::Received;
use crate::value::{Closure, Dict, Kind, List, Str, Value};
use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use triomphe::Arc;

/// What a builtin answers: a value now, or something to wait for.
#[derive(Debug)]
pub enum Outcome {
    /// Now.
    Value(Value),
    /// Later.
    Effect(Effect),
}

impl<T: Into<Value>> From<T> for Outcome {
    fn from(value: T) -> Outcome {
        Outcome::Value(value.into())
    }
}

impl From<Wait> for Outcome {
    fn from(wait: Wait) -> Outcome {
        Outcome::Effect(Effect::Wait(wait))
    }
}

impl From<Effect> for Outcome {
    fn from(effect: Effect) -> Outcome {
        Outcome::Effect(effect)
    }
}

/// The code of a builtin.
pub type BuiltinFn = fn(&mut Cx<'_>, Args<'_>) -> Result<Outcome, Fault>;

/// What a builtin may touch; checked where it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Capability {
    FsRead,
    FsWrite,
    Net,
    Run,
    Env,
    Llm,
}

/// One row of the table.
#[derive(Clone)]
pub struct Builtin {
    /// Name; methods are declared as `kind.name`.
    pub name: &'static str,
    /// Parameters and result as written in the declaration.
    pub signature: &'static str,
    /// One paragraph.
    pub doc: &'static str,
    /// What it needs.
    pub capability: Option<Capability>,
    /// Its code. A method receives its receiver as first argument.
    pub run: BuiltinFn,
}

impl fmt::Debug for Builtin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<builtin {}>", self.name)
    }
}

/// Declares builtins: a function `register(table)` that adds them.
///
/// ```ignore
/// builtins! {
///     /// Pieces of `text` between occurrences of `separator`.
///     "split" (text: string, separator: string = " ") -> list = split;
///     /// Text of a file.
///     "read_file" (path: string) -> string, needs FsRead = read_file;
/// }
/// ```
/// The functions take `(&mut Cx, Args)` and give `Result<V, Fault>` with `V: Into<Outcome>`.
#[macro_export]
macro_rules! builtins {
    ($( $(#[doc = $doc:literal])+ $name:literal $params:tt -> $result:ident $(, needs $capability:ident)? = $run:path; )*) => {
        /// Adds the builtins of this file to the table.
        pub fn register(table: &mut $crate::BuiltinTable) {
            $( table.add($crate::Builtin {
                name: $name,
                signature: concat!(stringify!($params), " -> ", stringify!($result)),
                doc: concat!($($doc, "\n"),+),
                capability: $crate::builtins!(@capability $($capability)?),
                run: |cx, args| $run(cx, args).map(::core::convert::Into::into),
            }); )*
        }
    };
    (@capability) => { None };
    (@capability $capability:ident) => { Some($crate::builtin::Capability::$capability) };
}

/// How a method is carried out.
#[derive(Clone, Debug)]
pub enum Method {
    /// By Rust code.
    Native(Arc<Builtin>),
    /// By a function of the prelude, whose first parameter is the receiver.
    Script(Closure),
}

/// All methods of one name.
#[derive(Clone, Debug, Default)]
pub struct MethodSet {
    by_kind: [Option<Method>; Kind::COUNT],
    /// By `type_of` name of the handle.
    handles: Vec<(&'static str, Method)>,
}

impl MethodSet {
    /// The method of this name that applies to `receiver`.
    #[inline]
    pub fn of(&self, receiver: &Value) -> Option<&Method> {
        match receiver {
            Value::Handle(handle) => {
                let name = handle.type_name();
                self.handles.iter().find(|(of, _)| *of == name).map(|(_, method)| method)
            }
            other => self.by_kind[other.kind() as usize].as_ref(),
        }
    }
}

/// Every builtin and method there is. A value: the engine hands it to compiler and interpreter.
#[derive(Clone, Debug, Default)]
pub struct BuiltinTable {
    functions: HashMap<&'static str, Arc<Builtin>>,
    /// Functions of the prelude; those of a namespace as `stream.map`.
    scripts: HashMap<String, Closure>,
    methods: HashMap<&'static str, MethodSet>,
}

impl BuiltinTable {
    /// An empty table.
    pub fn new() -> BuiltinTable {
        BuiltinTable::default()
    }

    /// Adds a builtin; a name `kind.method` declares a method of that kind (or of handles of that `type_of` name).
    pub fn add(&mut self, builtin: Builtin) {
        let name = builtin.name;
        let builtin = Arc::new(builtin);
        match name.split_once('.') {
            None => {
                self.functions.insert(name, builtin);
            }
            Some((owner, method)) => self.add_method(owner, method, Method::Native(builtin)),
        }
    }

    /// Adds a method of a kind, or of handles of that `type_of` name.
    pub fn add_method(&mut self, owner: &'static str, name: &'static str, method: Method) {
        let set = self.methods.entry(name).or_default();
        match kind_named(owner) {
            Some(kind) => set.by_kind[kind as usize] = Some(method),
            None => set.handles.push((owner, method)),
        }
    }

    /// Adds a function of the prelude.
    pub fn add_script(&mut self, name: impl Into<String>, function: Closure) {
        self.scripts.insert(name.into(), function);
    }

    /// The function of the prelude of this name.
    pub fn script(&self, name: &str) -> Option<&Closure> {
        self.scripts.get(name)
    }

    /// The functions of the prelude in a namespace, by the name within it.
    pub fn namespace(&self, namespace: &str) -> Dict {
        let member = |name: &str| name.strip_prefix(namespace)?.strip_prefix('.').map(Str::from);
        let members = self.scripts.iter().filter_map(|(name, it)| Some((member(name)?, Value::Closure(it.clone()))));
        members.collect()
    }

    /// Takes a builtin function out; code that was compiled before keeps it.
    pub fn forbid(&mut self, name: &str) {
        self.functions.remove(name);
        self.scripts.remove(name);
    }

    /// Names of all builtin functions that programs may call, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let all = self.functions.keys().copied().chain(self.scripts.keys().map(String::as_str));
        all.filter(|it| !it.starts_with("__") && !it.contains('.'))
    }

    /// The builtin of this name.
    pub fn function(&self, name: &str) -> Option<&Arc<Builtin>> {
        self.functions.get(name)
    }

    /// The methods of this name.
    pub fn method(&self, name: &str) -> Option<&MethodSet> {
        self.methods.get(name)
    }

    /// All methods that are Rust code, in no order.
    pub fn native_methods(&self) -> impl Iterator<Item = &Arc<Builtin>> {
        let sets = self.methods.values();
        let all = sets.flat_map(|it| it.by_kind.iter().flatten().chain(it.handles.iter().map(|(_, method)| method)));
        all.filter_map(|it| match it {
            Method::Native(builtin) => Some(builtin),
            Method::Script(_) => None,
        })
    }

    /// All builtin functions, in no order.
    pub fn functions(&self) -> impl Iterator<Item = &Arc<Builtin>> {
        self.functions.values()
    }
}

fn kind_named(name: &str) -> Option<Kind> {
    Some(match name {
        "nil" => Kind::Nil,
        "bool" => Kind::Bool,
        "int" => Kind::Int,
        "float" => Kind::Float,
        "duration" => Kind::Duration,
        "string" => Kind::String,
        "bytes" => Kind::Bytes,
        "list" => Kind::List,
        "dict" => Kind::Dict,
        "set" => Kind::Set,
        "range" => Kind::Range,
        "pair" => Kind::Pair,
        "struct" => Kind::Struct,
        "enum" => Kind::Enum,
        "closure" => Kind::Closure,
        "builtin" => Kind::Builtin,
        _ => return None,
    })
}

/// What a builtin can reach while it runs.
pub struct Cx<'a> {
    /// The host's state of the running task; library code downcasts it with [`Cx::host`].
    pub host: &'a mut (dyn Any + Send),
    /// The running program.
    pub program: &'a Program,
    /// What the task remembers of errors it received.
    pub received: &'a mut Option<Received>,
    /// Module index and span of the call.
    pub site: (u32, (u32, u32)),
}

impl Cx<'_> {
    /// The host's state as a `T`; `None` when the interpreter runs under another host.
    pub fn host<T: Any>(&mut self) -> Option<&mut T> {
        self.host.downcast_mut()
    }
}

/// The arguments of a call. Missing ones read as nil; taking one leaves nil.
pub struct Args<'a>(&'a mut [Value]);

static NIL: Value = Value::Nil;

impl<'a> Args<'a> {
    /// Wraps the arguments.
    pub fn new(values: &'a mut [Value]) -> Args<'a> {
        Args(values)
    }

    /// How many were passed.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none was passed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The `index`-th argument, nil when missing.
    pub fn get(&self, index: usize) -> &Value {
        self.0.get(index).unwrap_or(&NIL)
    }

    /// Whether the `index`-th argument was passed.
    pub fn has(&self, index: usize) -> bool {
        index < self.0.len()
    }

    /// Moves the `index`-th argument out.
    pub fn take(&mut self, index: usize) -> Value {
        self.0.get_mut(index).map_or(Value::Nil, Value::take)
    }

    /// All arguments.
    pub fn all(&self) -> &[Value] {
        self.0
    }

    /// Moves all arguments from `first` on out.
    pub fn rest(&mut self, first: usize) -> Vec<Value> {
        self.0.iter_mut().skip(first).map(Value::take).collect()
    }

    /// The display form of the `index`-th argument; empty when missing. The rule for parameters typed `string`.
    pub fn string(&self, index: usize) -> Str {
        self.0.get(index).map_or_else(|| Str::from(""), Value::display)
    }

    /// The `index`-th argument if it is an int; other kinds count as missing. The rule for parameters typed `int`.
    pub fn int(&self, index: usize) -> Option<i64> {
        self.get(index).as_int()
    }

    /// The `index`-th argument if it is a list.
    pub fn list(&self, index: usize) -> Option<&List> {
        match self.get(index) {
            Value::List(it) => Some(it),
            _ => None,
        }
    }

    /// The `index`-th argument if it is a dict.
    pub fn dict(&self, index: usize) -> Option<&Dict> {
        match self.get(index) {
            Value::Dict(it) => Some(it),
            _ => None,
        }
    }
}
