//! Cells with and without gating beside integers.

mod support;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use support::host;

#[test]
fn sums_are_those_of_integers() {
    for (name, w_bits, x_bits) in [("mac8", 8, 9), ("mac8_free", 8, 9), ("mac16", 16, 16)] {
        let Some(mut host) = host(name) else { return };
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for _ in 0..200 {
            let mut sum: i64 = rng.random_range(-1000..1000);
            // Products of the sum before have come through.
            host.clock(3);
            host.write(0, sum as u64);
            for _ in 0..rng.random_range(0..50) {
                let mut operand = |bits: i64| match rng.random_range(0..4) {
                    0 => 0,
                    1 => -(1 << (bits - 1)),
                    _ => rng.random_range(-(1 << (bits - 1))..1 << (bits - 1)),
                };
                let (w, x): (i64, i64) = (operand(w_bits), operand(x_bits));
                sum += w * x;
                host.write(1, (w as u64 & 0xffff_ffff) | ((x as u64) << 32));
                if x & 1 == 0 {
                    // Idle cycles change nothing.
                    host.clock(1);
                }
            }
            host.clock(3);
            assert_eq!(host.read(0) as i64, sum, "{name}");
        }
    }
}
