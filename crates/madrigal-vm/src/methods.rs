//! Methods that need no callback, one file per kind of receiver, and the rules they share: slice bounds, how large a
//! result may become, sorting. Methods with callbacks are written in Harn (`madrigal-stdlib`, `lib/prelude.harn`),
//! because a callback may wait. Invariant: argument 0 is the receiver and is moved out, so that a receiver nobody
//! else holds is changed in place.

mod dict;
mod list;
mod order;
mod range;
mod set;
mod string;

pub use list::{chunks, join, windows};
pub use order::{sort, sorted_positions};
pub use string::{pad, repeat, replace, split};

use crate::builtin::BuiltinTable;
use crate::fault::Fault;
use crate::value::Value;

/// Adds all methods of the core kinds.
pub fn register(table: &mut BuiltinTable) {
    string::register(table);
    list::register(table);
    dict::register(table);
    range::register(table);
    set::register(table);
}

/// The largest result one call may build.
pub(crate) const RESULT_BYTES_MAX: usize = 1 << 30;

/// Fails when a result of `bytes` would be too large; `None` is an overflow.
pub fn check_bytes(what: &str, bytes: Option<usize>) -> Result<(), Fault> {
    match bytes {
        Some(bytes) if bytes <= RESULT_BYTES_MAX => Ok(()),
        _ => Err(Fault::categorised("budget_exceeded", format!("{what}: the result would exceed 1 GiB"))),
    }
}

/// Fails when a list of `items` values would be too large; `None` is an overflow.
pub fn check_items(what: &str, items: Option<usize>) -> Result<(), Fault> {
    check_bytes(what, items.and_then(|items| items.checked_mul(size_of::<Value>())))
}

/// The half-open positions that the bounds of a slice mean among `len` items: negative ones count from the end, all
/// are clamped, and a start behind the end is empty.
pub fn slice_bounds(len: usize, start: Option<i64>, end: Option<i64>) -> (usize, usize) {
    let length = i64::try_from(len).unwrap_or(i64::MAX);
    let clamp = |bound: i64| {
        let from_start = if bound < 0 { bound.saturating_add(length) } else { bound };
        usize::try_from(from_start.clamp(0, length)).unwrap_or(len)
    };
    let (start, end) = (clamp(start.unwrap_or(0)), clamp(end.unwrap_or(length)));
    (start, end.max(start))
}

/// A count from an argument: negative ones are 0.
fn count_from(number: i64) -> usize {
    usize::try_from(number.max(0)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::{Args, Cx, Method, Outcome};
    use crate::program::Program;
    use proptest::prelude::*;
    use std::sync::Arc;

    /// Asserts the display form of `receiver.name(args)`, or of what a `catch` would see.
    #[track_caller]
    pub(super) fn check<const N: usize>(receiver: impl Into<Value>, name: &str, args: [Value; N], expected: &str) {
        assert_eq!(call(receiver.into(), name, args.into()), expected, "{name}");
    }

    pub(super) fn call(receiver: Value, name: &str, args: Vec<Value>) -> String {
        let mut table = BuiltinTable::new();
        register(&mut table);
        let program = Program { modules: Vec::new(), functions: Box::default(), builtins: Arc::new(table) };
        let table = Arc::clone(&program.builtins);
        let Some(Method::Native(method)) = table.method(name).and_then(|set| set.of(&receiver)) else {
            return "no such method".to_owned();
        };
        let mut cx = Cx { host: &mut (), program: &program, received: &mut None, site: (0, (0, 0)) };
        let mut args: Vec<Value> = std::iter::once(receiver).chain(args).collect();
        match (method.run)(&mut cx, Args::new(&mut args)) {
            Ok(Outcome::Value(value)) => value.to_string(),
            Ok(Outcome::Effect(effect)) => format!("{effect:?}"),
            Err(fault) => fault.caught().to_string(),
        }
    }

    /// A list of ints.
    pub(super) fn ints(items: impl IntoIterator<Item = i64>) -> Value {
        Value::list(items.into_iter().map(Value::Int).collect())
    }

    proptest! {
        #[test]
        fn slices_pick_what_a_walk_over_all_positions_picks(len in 0usize..9, start in -12i64..12, end in -12i64..12) {
            let absolute = |bound: i64| if bound < 0 { bound + len as i64 } else { bound };
            let naive: Vec<usize> =
                (0..len).filter(|at| absolute(start) <= *at as i64 && (*at as i64) < absolute(end)).collect();
            let (from, to) = slice_bounds(len, Some(start), Some(end));
            prop_assert_eq!((from..to).collect::<Vec<_>>(), naive);
        }
    }

    #[test]
    fn slice_bounds_survive_extremes() {
        assert_eq!(slice_bounds(3, Some(i64::MIN), Some(i64::MAX)), (0, 3));
        assert_eq!(slice_bounds(3, Some(i64::MAX), Some(i64::MIN)), (3, 3));
        assert_eq!(slice_bounds(0, None, None), (0, 0));
    }
}
