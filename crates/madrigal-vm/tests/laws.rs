//! Laws that all values obey: equality, structural keys, order, printed numbers, slices.

#![allow(missing_docs)]

use madrigal_vm::methods::slice_bounds;
use madrigal_vm::value::{Dict, EnumValue, Pair, Range, Str, compare, display_float, equal, structural_key};
use madrigal_vm::{Bytes, Value};
use proptest::collection::vec;
use proptest::prelude::*;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Values of every plain kind. Numbers come as ints only, or as floats too; NaN never, which equals nothing.
fn values(floats: bool) -> BoxedStrategy<Value> {
    let number = if floats {
        prop_oneof![(-3i64..4).prop_map(Value::Int), (-6i64..7).prop_map(|it| Value::Float(it as f64 / 2.0))].boxed()
    } else {
        (-3i64..4).prop_map(Value::Int).boxed()
    };
    let leaf = prop_oneof![
        2 => number,
        1 => Just(Value::Nil),
        1 => any::<bool>().prop_map(Value::Bool),
        1 => (-2i64..3).prop_map(Value::Duration),
        1 => "[ab:]{0,2}".prop_map(Value::from),
        1 => vec(0u8..3, 0..3).prop_map(|it| Value::from(Bytes::from(it))),
        1 => (-1i64..2, -1i64..2, any::<bool>()).prop_map(|(a, b, exclusive)| Value::Range(Range::new(a, b, exclusive))),
    ];
    let nested = leaf.prop_recursive(3, 16, 3, |inner| {
        let many = || vec(inner.clone(), 0..3);
        prop_oneof![
            many().prop_map(Value::list),
            many().prop_map(Value::set),
            many().prop_map(|it| Value::dict(["a", "b", "c"].into_iter().zip(it))),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Value::Pair(Pair::new(a, b))),
            inner.prop_map(|it| Value::Enum(EnumValue::ok(it))),
        ]
    });
    nested.boxed()
}

/// What has an order: numbers of both kinds (within the exact range of floats), strings, durations, pairs of those.
fn ordered() -> impl Strategy<Value = [Value; 3]> {
    let number = || {
        prop_oneof![
            (-(1i64 << 53)..(1 << 53)).prop_map(Value::Int),
            (-3i64..4).prop_map(Value::Int),
            any::<f64>().prop_filter("NaN has no place", |it| !it.is_nan()).prop_map(Value::Float),
        ]
    };
    let three = |strategy: BoxedStrategy<Value>| [strategy.clone(), strategy.clone(), strategy];
    let pairs = (number(), "[a-c]{0,2}").prop_map(|(a, b)| Value::Pair(Pair::new(a, Value::from(b))));
    prop_oneof![
        three(number().boxed()),
        three(".{0,3}".prop_map(Value::from).boxed()),
        three(any::<i64>().prop_map(Value::Duration).boxed()),
        three(pairs.boxed()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn equality_is_an_equivalence(a in values(true), b in values(true), c in values(true)) {
        prop_assert!(equal(&a, &a));
        prop_assert_eq!(equal(&a, &b), equal(&b, &a));
        prop_assert!(!(equal(&a, &b) && equal(&b, &c)) || equal(&a, &c));
    }

    #[test]
    fn copies_are_equal_and_have_the_same_key(a in values(true)) {
        let copy = a.clone();
        prop_assert!(equal(&a, &copy));
        prop_assert_eq!(structural_key(&a), structural_key(&copy));
        prop_assert_eq!(a.to_string(), copy.to_string());
    }

    #[test]
    fn keys_agree_with_equality_where_no_float_equals_an_int(a in values(false), b in values(false)) {
        prop_assert_eq!(structural_key(&a) == structural_key(&b), equal(&a, &b), "{} {}", a, b);
    }

    #[test]
    fn the_same_key_means_equal(a in values(true), b in values(true)) {
        prop_assert!(structural_key(&a) != structural_key(&b) || equal(&a, &b), "{} {}", a, b);
    }

    #[test]
    fn what_has_an_order_is_ordered_totally([a, b, c] in ordered()) {
        prop_assert_eq!(compare(&a, &a), Ordering::Equal);
        prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
        if compare(&a, &b) != Ordering::Greater && compare(&b, &c) != Ordering::Greater {
            prop_assert!(compare(&a, &c) != Ordering::Greater, "{} {} {}", a, b, c);
        }
    }

    #[test]
    fn unlike_kinds_tie(a in values(true), b in values(true)) {
        if a.type_name() != b.type_name() && (a.as_number().is_none() || b.as_number().is_none()) {
            prop_assert_eq!(compare(&a, &b), Ordering::Equal);
        }
    }

    #[test]
    fn printed_floats_read_back_as_themselves(it in any::<f64>()) {
        let text = display_float(it);
        match it {
            _ if it.is_nan() => prop_assert_eq!(text, "NaN"),
            _ if it.is_infinite() => prop_assert_eq!(text.trim_start_matches('-'), "inf"),
            _ => {
                prop_assert_eq!(text.parse::<f64>().map(f64::to_bits), Ok(it.to_bits()), "{}", text);
                prop_assert!(text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b'-'), "{}", text);
                prop_assert_eq!(text.contains('.'), it.fract() != 0.0 || it.abs() < 1e15, "{}", text);
            }
        }
    }

    #[test]
    fn dicts_agree_with_an_ordered_map(entries in vec(("[a-e]{0,2}", 0i64..9, any::<bool>()), 0..12)) {
        let (mut dict, mut model) = (Dict::new(), BTreeMap::new());
        for (key, value, keep) in entries {
            if keep {
                dict.insert(Str::from(key.as_str()), Value::Int(value));
                model.insert(key, value);
            } else {
                prop_assert_eq!(dict.remove(&key).is_some(), model.remove(&key).is_some());
            }
        }
        let found: Vec<(String, i64)> =
            dict.iter().map(|(key, value)| (key.to_string(), value.as_int().unwrap_or(-1))).collect();
        prop_assert_eq!(found, model.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn slices_of_text_pick_what_slices_of_its_characters_pick(text in ".{0,8}", start in -10i64..10, end in -10i64..10) {
        let characters: Vec<char> = text.chars().collect();
        let (from, to) = slice_bounds(characters.len(), Some(start), Some(end));
        let expected: String = characters[from..to].iter().collect();
        let sliced = Str::from(text.as_str()).slice(from, to);
        prop_assert_eq!(sliced.as_str(), expected);
    }

    #[test]
    fn ranges_agree_with_the_list_of_their_items(start in -5i64..6, end in -5i64..6, exclusive: bool, at in -7i64..7) {
        let range = Range::new(start, end, exclusive);
        let items: Vec<i64> = range.iter().collect();
        let naive: Vec<i64> = (-6..7).filter(|it| *it >= start && (*it < end || *it == end && !exclusive)).collect();
        prop_assert_eq!(&items, &naive);
        prop_assert_eq!(range.len(), items.len());
        prop_assert_eq!(range.last(), items.last().copied());
        prop_assert_eq!(range.contains(at), items.contains(&at));
    }
}

/// Values that share their parts have more paths than anybody can walk.
#[test]
fn sharing_parts_costs_nothing() {
    let doubled = |first: Value| (0..200).fold(first, |inner, _| Value::list(vec![inner.clone(), inner]));
    let (a, b, c) = (doubled(Value::Int(1)), doubled(Value::Float(1.0)), doubled(Value::Int(2)));
    assert!(equal(&a, &a) && equal(&a, &b) && !equal(&a, &c));
    let pair = (0..200).fold(Value::Int(1), |inner, _| Value::Pair(Pair::new(inner.clone(), inner)));
    assert_eq!(compare(&pair, &pair), Ordering::Equal);
}
