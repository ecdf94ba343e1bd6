//! Sets: members in the order of their insertion, unique by structural key. One index serves both notions of sameness,
//! the structural key (construction) and `==` (methods), because [`Member`] hashes alike whatever is alike under either.

use super::display::drop_deep;
use super::{Value, equal, structural_key};
use indexmap::{Equivalent, IndexSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use triomphe::Arc;

/// A set of the language.
#[derive(Clone, Debug, Default)]
pub struct Set(Arc<Items>);

#[derive(Clone, Debug, Default)]
struct Items(IndexSet<Member, foldhash::fast::RandomState>);

/// A value as member; `Eq` is sameness of structural keys.
#[derive(Clone, Debug)]
struct Member(Value);

/// Finds a member that `==` the value.
struct Like<'a>(&'a Value);

/// Finds the member of the same structural key.
struct Same<'a>(&'a Value);

impl Set {
    /// An empty set.
    pub fn new() -> Set {
        Set::default()
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        self.0.0.len()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.0.0.is_empty()
    }

    /// The member at `position` in the order of insertion.
    pub fn nth(&self, position: usize) -> Option<&Value> {
        self.0.0.get_index(position).map(|it| &it.0)
    }

    /// The members in the order of insertion.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Value> + ExactSizeIterator + '_ {
        self.0.0.iter().map(|it| &it.0)
    }

    /// Whether a member `==` the value.
    pub fn contains(&self, value: &Value) -> bool {
        self.0.0.contains(&Like(value))
    }

    /// Where the first member found stands that `==` the value.
    pub(super) fn position(&self, value: &Value) -> Option<usize> {
        self.0.0.get_index_of(&Like(value))
    }

    /// Whether a member has the structural key of the value.
    pub fn has(&self, value: &Value) -> bool {
        self.0.0.contains(&Same(value))
    }

    /// Adds a member unless one has its structural key; copies first when somebody else holds the set.
    pub fn insert(&mut self, value: Value) {
        if !self.has(&value) {
            Arc::make_mut(&mut self.0).0.insert(Member(value));
        }
    }

    /// Adds a member unless one `==` the value; copies first when somebody else holds the set.
    pub fn add(&mut self, value: Value) {
        if !self.contains(&value) {
            self.insert(value);
        }
    }

    /// Removes the member of the structural key of the value.
    pub fn remove(&mut self, value: &Value) {
        self.remove_at(self.0.0.get_index_of(&Same(value)));
    }

    /// Removes the first member found that `==` the value.
    pub fn remove_equal(&mut self, value: &Value) {
        self.remove_at(self.0.0.get_index_of(&Like(value)));
    }

    fn remove_at(&mut self, position: Option<usize>) {
        if let Some(position) = position {
            Arc::make_mut(&mut self.0).0.shift_remove_index(position);
        }
    }

    /// Keeps the members that `keep` accepts.
    pub fn retain(&mut self, mut keep: impl FnMut(&Value) -> bool) {
        if !self.is_empty() {
            Arc::make_mut(&mut self.0).0.retain(|it| keep(&it.0));
        }
    }

    /// Where the object lies in memory, for identity only.
    pub fn address(&self) -> *const () {
        Arc::as_ptr(&self.0).cast()
    }

    /// Whether both are the same object in memory.
    pub fn same(&self, other: &Set) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl FromIterator<Value> for Set {
    fn from_iter<I: IntoIterator<Item = Value>>(values: I) -> Set {
        Set(Arc::new(Items(values.into_iter().map(Member).collect())))
    }
}

impl Drop for Items {
    fn drop(&mut self) {
        if self.0.iter().any(|it| !it.0.is_immediate()) {
            drop_deep(std::mem::take(&mut self.0).into_iter().map(|it| it.0).collect());
        }
    }
}

impl PartialEq for Member {
    fn eq(&self, other: &Member) -> bool {
        same(&self.0, &other.0)
    }
}

impl Eq for Member {}

impl Equivalent<Member> for Same<'_> {
    fn equivalent(&self, member: &Member) -> bool {
        same(self.0, &member.0)
    }
}

impl Equivalent<Member> for Like<'_> {
    fn equivalent(&self, member: &Member) -> bool {
        equal(self.0, &member.0)
    }
}

impl Hash for Member {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash(&self.0, NESTING_MAX, state);
    }
}

impl Hash for Same<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash(self.0, NESTING_MAX, state);
    }
}

impl Hash for Like<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash(self.0, NESTING_MAX, state);
    }
}

/// Whether the structural keys are the same.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Nil, Value::Nil) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(a), Value::Int(b)) | (Value::Duration(a), Value::Duration(b)) => a == b,
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
        (Value::String(a), Value::String(b)) => a == b,
        (Value::Bytes(a), Value::Bytes(b)) => a == b,
        (a, b) => a.type_name() == b.type_name() && structural_key(a) == structural_key(b),
    }
}

/// How far down a hash looks; what lies deeper hashes alike.
const NESTING_MAX: u32 = 6;

/// A hash that is the same for values that are `==` and for values of one structural key.
fn hash<H: Hasher>(value: &Value, nesting: u32, state: &mut H) {
    // Ints and floats may be equal, so they share a tag and hash as doubles.
    let number = |it: f64, state: &mut H| (2u8, if it == 0.0 { 0 } else { it.to_bits() }).hash(state);
    match value {
        Value::Nil | Value::Unset => 0u8.hash(state),
        Value::Bool(it) => (1u8, it).hash(state),
        Value::Int(it) => number(*it as f64, state),
        Value::Observed(it) => number(it.value as f64, state),
        Value::Float(it) => number(*it, state),
        Value::Duration(it) => (3u8, it).hash(state),
        Value::String(it) => (4u8, it.as_str()).hash(state),
        Value::Bytes(it) => (15u8, &**it).hash(state),
        Value::Range(it) => (5u8, it.start(), it.end(), it.is_exclusive()).hash(state),
        Value::Builtin(it) => (6u8, it.name).hash(state),
        Value::Closure(_) => 7u8.hash(state),
        Value::Handle(it) => (8u8, it.type_name()).hash(state),
        Value::List(it) => {
            (9u8, it.len()).hash(state);
            hash_all(it.iter(), nesting, state);
        }
        Value::Dict(it) => {
            (10u8, it.len()).hash(state);
            it.iter().for_each(|(key, value)| {
                key.hash(state);
                hash_all([value].into_iter(), nesting, state);
            });
        }
        // Members come in any order, so their hashes are summed.
        Value::Set(it) => {
            let sum = it.iter().filter(|_| nesting > 0).fold(0u64, |sum, it| {
                let mut own = DefaultHasher::new();
                hash(it, nesting - 1, &mut own);
                sum.wrapping_add(own.finish())
            });
            (11u8, it.len(), sum).hash(state);
        }
        Value::Pair(it) => {
            12u8.hash(state);
            hash_all([it.first(), it.second()].into_iter(), nesting, state);
        }
        Value::Struct(it) => {
            (13u8, it.name().as_str()).hash(state);
            hash_all(it.fields().map(|(_, value)| value), nesting, state);
        }
        Value::Enum(it) => {
            (14u8, it.name(), it.variant()).hash(state);
            hash_all(it.fields().iter(), nesting, state);
        }
    }
}

fn hash_all<'a, H: Hasher>(values: impl Iterator<Item = &'a Value>, nesting: u32, state: &mut H) {
    if nesting > 0 {
        values.for_each(|it| hash(it, nesting - 1, state));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::{EnumValue, Pair};
    use proptest::prelude::*;

    fn set(values: impl IntoIterator<Item = Value>) -> Set {
        values.into_iter().collect()
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Nil),
            any::<bool>().prop_map(Value::Bool),
            (-2i64..3).prop_map(Value::Int),
            (-2i64..3).prop_map(|it| Value::Float(it as f64)),
            prop_oneof![Just(-0.0), Just(0.5), Just(f64::NAN), Just(1e18)].prop_map(Value::Float),
            prop_oneof![Just(i64::MAX), Just(1_000_000_000_000_000_000)].prop_map(Value::Int),
            (-2i64..3).prop_map(Value::Duration),
            "[ab]{0,2}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            let many = || proptest::collection::vec(inner.clone(), 0..3);
            prop_oneof![
                many().prop_map(Value::list),
                many().prop_map(Value::set),
                many().prop_map(|it| Value::dict(["a", "b", "c"].into_iter().zip(it))),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| Value::Pair(Pair::new(a, b))),
                inner.prop_map(|it| Value::Enum(EnumValue::ok(it))),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_index_finds_what_a_walk_over_all_members_finds(members in proptest::collection::vec(values(), 0..8), wanted in values()) {
            let set = set(members);
            prop_assert_eq!(set.contains(&wanted), set.iter().any(|it| equal(it, &wanted)));
            let key = structural_key(&wanted);
            prop_assert_eq!(set.has(&wanted), set.iter().any(|it| structural_key(it) == key));
        }
    }

    #[test]
    fn the_key_and_equality_are_two_kinds_of_membership() {
        let numbers = set([Value::Int(1), Value::Float(1.0), Value::Int(1)]);
        assert_eq!(Value::Set(numbers.clone()).to_string(), "set(1, 1.0)");
        let one = set([Value::Int(1)]);
        assert!(one.contains(&Value::Float(1.0)) && !one.has(&Value::Float(1.0)));
        let mixed = set([Value::list(vec![Value::Int(1)])]);
        assert!(mixed.contains(&Value::list(vec![Value::Float(1.0)])));
        assert!(!set([Value::Float(f64::NAN)]).contains(&Value::Float(f64::NAN)));
        assert!(set([Value::Float(0.0)]).contains(&Value::Float(-0.0)));
    }

    #[test]
    fn equality_ignores_the_order_and_looks_into_members() {
        let pair = |it: Value| Value::Pair(Pair::new(it, Value::Nil));
        let inner = |a: i64, b: i64| Value::Set(set([a.into(), b.into()]));
        let a = Value::Set(set([pair(inner(1, 2)), pair(inner(3, 4)), Value::Int(5)]));
        let b = Value::Set(set([Value::Float(5.0), pair(inner(4, 3)), pair(inner(2, 1))]));
        assert!(equal(&a, &b));
        assert_ne!(structural_key(&a), structural_key(&b));
        assert_eq!(structural_key(&inner(1, 2)), structural_key(&inner(2, 1)));
        assert!(!equal(&inner(1, 2), &inner(1, 3)));
    }

    #[test]
    fn depth_is_no_limit() {
        let nest = |more: bool, depth: u32| {
            (0..depth).fold(Value::Set(Set::new()), |inner, _| {
                let outer = Value::Set(set([inner]));
                if more { Value::Set(set([outer, Value::Int(1), Value::list(vec![])])) } else { outer }
            })
        };
        assert!(equal(&nest(false, 30_000), &nest(false, 30_000)));
        assert!(equal(&nest(true, 1000), &nest(true, 1000)));
        assert!(nest(false, 30_000).to_string().len() > 30_000);
    }
}
