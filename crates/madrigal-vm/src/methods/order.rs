//! Stable sorting by the ordering of the language. That ordering is no total order (unlike kinds compare as equal, so
//! does NaN), which the sort of the standard library may answer with a panic: only lists of one kind go there.

use crate::value::{Value, compare};
use std::cmp::Ordering;

/// Sorts in place.
pub fn sort(items: &mut Vec<Value>) {
    if is_total(items) {
        items.sort_by(compare);
    } else {
        let positions = merge_sorted(items);
        *items = positions.into_iter().map(|at| items[at].take()).collect();
    }
}

/// The positions of `keys` in sorted order; equal ones keep theirs.
pub fn sorted_positions(keys: &[Value]) -> Vec<usize> {
    if !is_total(keys) {
        return merge_sorted(keys);
    }
    let mut positions: Vec<usize> = (0..keys.len()).collect();
    positions.sort_by(|a, b| compare(&keys[*a], &keys[*b]));
    positions
}

fn is_total(items: &[Value]) -> bool {
    match items.first() {
        Some(Value::Int(_)) => items.iter().all(|it| matches!(it, Value::Int(_))),
        Some(Value::String(_)) => items.iter().all(|it| matches!(it, Value::String(_))),
        Some(Value::Duration(_)) => items.iter().all(|it| matches!(it, Value::Duration(_))),
        Some(Value::Float(_)) => items.iter().all(|it| matches!(it, Value::Float(number) if !number.is_nan())),
        _ => items.is_empty(),
    }
}

/// Bottom-up merge sort: defined for any comparison.
fn merge_sorted(keys: &[Value]) -> Vec<usize> {
    let mut sorted: Vec<usize> = (0..keys.len()).collect();
    let mut merged = Vec::with_capacity(keys.len());
    let mut width = 1;
    while width < keys.len() {
        merged.clear();
        for run in sorted.chunks(width * 2) {
            let (left, right) = run.split_at(width.min(run.len()));
            merge(keys, left, right, &mut merged);
        }
        std::mem::swap(&mut sorted, &mut merged);
        width *= 2;
    }
    sorted
}

fn merge(keys: &[Value], mut left: &[usize], mut right: &[usize], merged: &mut Vec<usize>) {
    while let (Some(a), Some(b)) = (left.first(), right.first()) {
        if compare(&keys[*b], &keys[*a]) == Ordering::Less {
            merged.push(*b);
            right = &right[1..];
        } else {
            merged.push(*a);
            left = &left[1..];
        }
    }
    merged.extend_from_slice(left);
    merged.extend_from_slice(right);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixed_numbers_sort_by_value() {
        let mut items = vec![Value::Float(2.5), Value::Int(3), Value::Int(-1), Value::Float(0.0)];
        sort(&mut items);
        assert_eq!(Value::list(items).to_string(), "[-1, 0.0, 2.5, 3]");
    }

    #[test]
    fn contradictory_orders_do_not_panic() {
        let of = |it: i64| match it % 5 {
            0 => Value::Float(f64::NAN),
            1 => Value::from("text"),
            2 => Value::Nil,
            _ => Value::Int((it * 7919) % 101),
        };
        let mut items: Vec<Value> = (0..500).map(of).collect();
        sort(&mut items);
        assert_eq!(items.len(), 500);
    }

    #[test]
    fn equal_keys_keep_their_order() {
        let keys = [Value::Int(1), Value::Float(0.5), Value::Int(1), Value::Float(0.5)];
        assert_eq!(sorted_positions(&keys), [1, 3, 0, 2]);
    }
}
