//! Numbers: arithmetic beyond the operators, statistics of lists, random numbers. Wrong kinds yield nil unless said
//! otherwise.

use crate::host::{Generator, run};
use madrigal_vm::{Args, Cx, Fault, Handle, HandleObject, Value};
use parking_lot::Mutex;
use std::cmp::Ordering;

madrigal_vm::builtins! {
    /// Without sign.
    "abs" (n: number) -> number = abs;
    /// The smaller of two numbers.
    "min" (a: number, b: number) -> number = min;
    /// The larger of two numbers.
    "max" (a: number, b: number) -> number = max;
    /// Rounded down to an int.
    "floor" (n: number) -> int = floor;
    /// Rounded up to an int.
    "ceil" (n: number) -> int = ceil;
    /// Rounded to the nearest int, halves away from zero.
    "round" (n: number) -> int = round;
    /// Square root.
    "sqrt" (n: number) -> float = sqrt;
    /// `base` to the power of `exponent`.
    "pow" (base: number, exponent: number) -> number = pow;
    /// Sine of an angle in radians.
    "sin" (n: number) -> float = sin;
    /// Cosine of an angle in radians.
    "cos" (n: number) -> float = cos;
    /// Tangent of an angle in radians.
    "tan" (n: number) -> float = tan;
    /// Inverse sine.
    "asin" (n: number) -> float = asin;
    /// Inverse cosine.
    "acos" (n: number) -> float = acos;
    /// Inverse tangent.
    "atan" (n: number) -> float = atan;
    /// Angle of the point (x, y).
    "atan2" (y: number, x: number) -> float = atan2;
    /// Natural logarithm.
    "ln" (n: number) -> float = ln;
    /// Logarithm to base 2.
    "log2" (n: number) -> float = log2;
    /// Logarithm to base 10.
    "log10" (n: number) -> float = log10;
    /// e to the power of `n`.
    "exp" (n: number) -> float = exp;
    /// -1, 0 or 1.
    "sign" (n: number) -> int = sign;
    /// Whether it is the float NaN.
    "is_nan" (n: number) -> bool = is_nan;
    /// Whether it is an infinite float.
    "is_infinite" (n: number) -> bool = is_infinite;
    /// Average, 0.0 for no items.
    "mean" (items: list) -> float = mean;
    /// The middle item, or the average of the two in the middle.
    "median" (items: list) -> float = median;
    /// The value below which `p` percent of the items lie.
    "percentile" (items: list, p: number) -> float = percentile;
    /// Average squared distance from the mean.
    "variance" (items: list, sample: bool = false) -> float = variance;
    /// Square root of the variance.
    "stddev" (items: list, sample: bool = false) -> float = stddev;
    /// A generator of its own, with reproducible numbers.
    "rng_seed" (seed: int) -> rng = rng_seed;
    /// A float from 0 up to, not including, 1.
    "random" (rng: rng) -> float = random;
    /// An int from `low` to `high`, both included.
    "random_int" (rng: rng, low: int, high: int) -> int = random_int;
    /// One of the items.
    "random_choice" (rng: rng, items: list) -> any = random_choice;
    /// The items in random order.
    "random_shuffle" (rng: rng, items: list) -> list = random_shuffle;
}

fn abs(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(match args.get(0) {
        Value::Float(it) => Value::Float(it.abs()),
        other => match other.as_int() {
            Some(it) => it.checked_abs().map_or(Value::Float(-(it as f64)), Value::Int),
            None => Value::Nil,
        },
    })
}

/// The int or float on the side `wanted` of the other; float if either is one.
fn extreme(args: &Args<'_>, wanted: Ordering, of_floats: fn(f64, f64) -> f64) -> Value {
    let (a, b) = (args.get(0), args.get(1));
    match (a.as_int(), b.as_int(), a.as_number(), b.as_number()) {
        (Some(a), Some(b), ..) => Value::Int(if b.cmp(&a) == wanted { b } else { a }),
        (_, _, Some(a), Some(b)) => Value::Float(of_floats(a, b)),
        _ => Value::Nil,
    }
}

fn min(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(extreme(&args, Ordering::Less, f64::min))
}

fn max(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(extreme(&args, Ordering::Greater, f64::max))
}

fn rounded(args: &Args<'_>, round: fn(f64) -> f64) -> Result<Value, Fault> {
    let Value::Float(number) = args.get(0) else {
        return Ok(args.int(0).map_or(Value::Nil, Value::Int));
    };
    if !number.is_finite() {
        return Err(Fault::runtime("cannot convert non-finite float to int"));
    }
    let whole = round(*number);
    // 2^63 is the first float above the range; -2^63 is inside.
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&whole) {
        return Ok(Value::Int(whole as i64));
    }
    Err(Fault::runtime("float is outside the representable int range"))
}

fn floor(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    rounded(&args, f64::floor)
}

fn ceil(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    rounded(&args, f64::ceil)
}

fn round(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    rounded(&args, f64::round)
}

fn pow(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    if let (Some(base), Some(exponent)) = (args.int(0), args.int(1)) {
        let exact = match base {
            0 | 1 if exponent > 0 => Some(base),
            -1 if exponent > 0 => Some(if exponent % 2 == 0 { 1 } else { -1 }),
            _ => u32::try_from(exponent).ok().and_then(|exponent| base.checked_pow(exponent)),
        };
        if let Some(power) = exact {
            return Ok(Value::Int(power));
        }
    }
    Ok(match (args.get(0).as_number(), args.get(1).as_number()) {
        (Some(base), Some(exponent)) => Value::Float(base.powf(exponent)),
        _ => Value::Nil,
    })
}

fn of_number(args: &Args<'_>, function: fn(f64) -> f64) -> Value {
    args.get(0).as_number().map_or(Value::Nil, |it| Value::Float(function(it)))
}

/// Builtins that map a number to a float.
macro_rules! of_number {
    ($($name:ident)*) => { $(
        fn $name(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
            Ok(of_number(&args, f64::$name))
        }
    )* };
}

of_number!(sqrt sin cos tan asin acos atan ln log2 log10 exp);

fn atan2(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(match (args.get(0).as_number(), args.get(1).as_number()) {
        (Some(y), Some(x)) => Value::Float(y.atan2(x)),
        _ => Value::Nil,
    })
}

fn sign(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(match args.get(0) {
        Value::Float(it) if it.is_nan() => Value::Float(*it),
        Value::Float(it) => Value::Int(i64::from(*it > 0.0) - i64::from(*it < 0.0)),
        other => other.as_int().map_or(Value::Nil, |it| Value::Int(it.signum())),
    })
}

fn is_nan(_: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    Ok(matches!(args.get(0), Value::Float(it) if it.is_nan()))
}

fn is_infinite(_: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    Ok(matches!(args.get(0), Value::Float(it) if it.is_infinite()))
}

/// The numbers of the list in the first argument.
fn numbers(args: &Args<'_>, name: &str) -> Result<Vec<f64>, Fault> {
    let items = args.list(0).ok_or_else(|| Fault::type_error(format!("{name}: items must be a list")))?;
    let number = |it: &Value| it.as_number().ok_or_else(|| Fault::type_error(format!("{name} must be numeric")));
    items.iter().map(number).collect()
}

fn some_numbers(args: &Args<'_>, name: &str) -> Result<Vec<f64>, Fault> {
    let numbers = numbers(args, name)?;
    if numbers.is_empty() {
        return Err(Fault::runtime(format!("{name}: items must not be empty")));
    }
    Ok(numbers)
}

fn mean_of(numbers: &[f64]) -> f64 {
    if numbers.is_empty() { 0.0 } else { numbers.iter().sum::<f64>() / numbers.len() as f64 }
}

fn mean(_: &mut Cx<'_>, args: Args<'_>) -> Result<f64, Fault> {
    Ok(mean_of(&numbers(&args, "mean")?))
}

/// The value at a rank between 0 and 1, interpolated between neighbours.
fn at_rank(mut numbers: Vec<f64>, rank: f64) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let position = rank * (numbers.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(numbers.len() - 1);
    let fraction = position - below as f64;
    if fraction == 0.0 { numbers[below] } else { numbers[below] + (numbers[above] - numbers[below]) * fraction }
}

fn median(_: &mut Cx<'_>, args: Args<'_>) -> Result<f64, Fault> {
    Ok(at_rank(some_numbers(&args, "median")?, 0.5))
}

fn percentile(_: &mut Cx<'_>, args: Args<'_>) -> Result<f64, Fault> {
    let numbers = some_numbers(&args, "percentile")?;
    let Some(p) = args.get(1).as_number() else {
        return Err(Fault::type_error("percentile must be numeric"));
    };
    if !(0.0..=100.0).contains(&p) {
        return Err(Fault::runtime("percentile must be between 0 and 100"));
    }
    Ok(at_rank(numbers, p / 100.0))
}

fn variance_of(args: &Args<'_>, name: &str) -> Result<f64, Fault> {
    let numbers = some_numbers(args, name)?;
    let sample = args.get(1).is_truthy();
    if sample && numbers.len() < 2 {
        return Err(Fault::runtime("sample variance requires at least 2 values"));
    }
    let mean = mean_of(&numbers);
    let squares: f64 = numbers.iter().map(|it| (it - mean) * (it - mean)).sum();
    Ok(squares / (numbers.len() - usize::from(sample)) as f64)
}

fn variance(_: &mut Cx<'_>, args: Args<'_>) -> Result<f64, Fault> {
    variance_of(&args, "variance")
}

fn stddev(_: &mut Cx<'_>, args: Args<'_>) -> Result<f64, Fault> {
    variance_of(&args, "stddev").map(f64::sqrt)
}

/// A generator of its own.
struct Rng(Mutex<Generator>);

impl HandleObject for Rng {
    fn type_name(&self) -> &'static str {
        "rng"
    }

    fn display(&self) -> String {
        "<rng>".to_owned()
    }

    fn identity(&self) -> Option<u64> {
        None
    }
}

fn rng_seed(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let Some(seed) = args.int(0) else {
        return Err(Fault::type_error("rng_seed(seed): seed must be an integer"));
    };
    Ok(Value::Handle(Handle::new(Rng(Mutex::new(Generator::from_seed(seed as u64))))))
}

/// The generator in the first argument, if there is one.
fn rng<'a>(args: &'a Args<'_>) -> Option<&'a Rng> {
    match args.get(0) {
        Value::Handle(it) => it.downcast(),
        _ => None,
    }
}

/// Draws from the generator in the first argument, else from that of the run.
fn draw<T>(cx: &mut Cx<'_>, args: &Args<'_>, draw: impl FnOnce(&mut Generator) -> T) -> T {
    match rng(args) {
        Some(own) => draw(&mut own.0.lock()),
        None => run(cx).random(draw),
    }
}

fn random(cx: &mut Cx<'_>, args: Args<'_>) -> Result<f64, Fault> {
    Ok(draw(cx, &args, Generator::fraction))
}

fn random_int(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let first = usize::from(rng(&args).is_some());
    if !args.has(first + 1) {
        return Ok(Value::Nil);
    }
    let bound = |index: usize, name: &str| {
        let int = args.int(index);
        int.ok_or_else(|| Fault::type_error(format!("random_int: {name} must be an integer")))
    };
    let (low, high) = (bound(first, "min")?, bound(first + 1, "max")?);
    if low > high {
        return Ok(Value::Nil);
    }
    Ok(Value::Int(draw(cx, &args, |it| it.between(low, high))))
}

fn random_choice(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let first = usize::from(rng(&args).is_some());
    let Some(items) = args.list(first).filter(|items| !items.is_empty()) else {
        return Ok(Value::Nil);
    };
    let at = draw(cx, &args, |it| it.below(items.len() as u64));
    Ok(items[at as usize].clone())
}

fn random_shuffle(cx: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let first = usize::from(rng(&args).is_some());
    let Value::List(mut items) = args.take(first) else {
        return Ok(Value::Nil);
    };
    draw(cx, &args, |it| {
        let items = items.make_mut();
        for end in (1..items.len()).rev() {
            items.swap(end, it.below(end as u64 + 1) as usize);
        }
    });
    Ok(Value::List(items))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, check};

    fn floats(items: &[f64]) -> Value {
        Value::list(items.iter().copied().map(Value::Float).collect())
    }

    #[test]
    fn numbers_keep_their_kind() {
        check("abs", [i64::MIN.into()], "9223372036854776000");
        check("min", [1i64.into(), 2i64.into()], "1");
        check("max", [1i64.into(), Value::Float(0.5)], "1.0");
        check("max", [1i64.into()], "nil");
        check("pow", [2i64.into(), 10i64.into()], "1024");
        check("pow", [2i64.into(), (-1i64).into()], "0.5");
        check("pow", [(-1i64).into(), i64::MAX.into()], "-1");
        check("sign", [Value::Float(-0.5)], "-1");
        check("sqrt", [Value::from("x")], "nil");
    }

    #[test]
    fn rounding_checks_the_range() {
        check("round", [Value::Float(-2.5)], "-3");
        check("floor", [Value::Float(-0.5)], "-1");
        check("ceil", [7i64.into()], "7");
        check("round", [Value::Float(f64::NAN)], "Runtime error: cannot convert non-finite float to int");
        check("ceil", [Value::Float(1e19)], "Runtime error: float is outside the representable int range");
    }

    #[test]
    fn statistics() {
        check("mean", [floats(&[])], "0.0");
        check("median", [floats(&[3.0, 1.0, 2.0, 10.0])], "2.5");
        check("percentile", [floats(&[1.0, 2.0, 3.0, 4.0]), 25i64.into()], "1.75");
        check("percentile", [floats(&[1.0]), 101i64.into()], "Runtime error: percentile must be between 0 and 100");
        check("variance", [floats(&[1.0, 3.0]), true.into()], "2.0");
        check("stddev", [floats(&[])], "Runtime error: stddev: items must not be empty");
        check("mean", [Value::list(vec!["x".into()])], "Type error: mean must be numeric");
        check("mean", [], "Type error: mean: items must be a list");
    }

    #[test]
    fn handles_of_one_seed_agree() {
        let mut bench = Bench::new();
        let mut drawn = || {
            let rng = bench.call("rng_seed", vec![9i64.into()]).expect("a seed");
            let number = bench.call("random_int", vec![rng.clone(), 1i64.into(), 1000i64.into()]).expect("bounds");
            let items = Value::list((0..9).map(Value::Int).collect());
            let shuffled = bench.call("random_shuffle", vec![rng.clone(), items]).expect("a list");
            format!("{number} {shuffled} {}", bench.call("random", vec![rng]).expect("a float"))
        };
        assert_eq!(drawn(), drawn());
        check("random_int", [2i64.into(), 1i64.into()], "nil");
        check("random_int", [2i64.into(), "x".into()], "Type error: random_int: max must be an integer");
        check("random_choice", [Value::list(vec![])], "nil");
    }
}
