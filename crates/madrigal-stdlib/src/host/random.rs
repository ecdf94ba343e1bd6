//! The generator behind `random`: xoshiro256++ seeded by splitmix64. The numbers of a seed are part of the behaviour
//! of a version: a change here changes programs. Not for secrets.

use std::hash::{BuildHasher, Hasher};

/// A source of random numbers.
#[derive(Clone, Debug)]
pub struct Generator([u64; 4]);

impl Generator {
    /// The generator of a seed.
    pub fn from_seed(seed: u64) -> Generator {
        let mut state = seed;
        Generator(std::array::from_fn(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        }))
    }

    /// A generator whose numbers differ from run to run.
    pub fn unpredictable() -> Generator {
        Generator::from_seed(std::hash::RandomState::new().build_hasher().finish())
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        let state = &mut self.0;
        let result = state[0].wrapping_add(state[3]).rotate_left(23).wrapping_add(state[0]);
        let shifted = state[1] << 17;
        state[2] ^= state[0];
        state[3] ^= state[1];
        state[1] ^= state[2];
        state[0] ^= state[3];
        state[2] ^= shifted;
        state[3] = state[3].rotate_left(45);
        result
    }

    /// Uniform in `0.0..1.0`.
    pub fn fraction(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in `0..bound`, which must not be 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // Bits beyond the last whole multiple of `bound` would favour small results.
        let reject_from = u64::MAX - (u64::MAX % bound + 1) % bound;
        loop {
            let bits = self.bits();
            if bits <= reject_from {
                return bits % bound;
            }
        }
    }

    /// Uniform in `low..=high`; `low` must not be above `high`.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        match high.abs_diff(low).checked_add(1) {
            Some(span) => low.wrapping_add_unsigned(self.below(span)),
            None => self.bits() as i64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_fixes_the_numbers() {
        let mut one = Generator::from_seed(7);
        let mut two = Generator::from_seed(7);
        assert_eq!([one.bits(), one.bits()], [two.bits(), two.bits()]);
    }

    #[test]
    fn bounds_hold_at_the_extremes() {
        let mut it = Generator::from_seed(1);
        for _ in 0..200 {
            assert!((-2..=1).contains(&it.between(-2, 1)));
            assert!((0.0..1.0).contains(&it.fraction()));
            it.between(i64::MIN, i64::MAX);
        }
        assert_eq!(it.between(5, 5), 5);
        assert_eq!(it.below(1), 0);
    }
}
