//! How many products of u8 and i8 can be added up in 16 bits.
//!
//! Weights that are trained to be cheap are mostly 1 and 2: then many products fit sums of 16 bits,
//! which take half of the instructions of sums of 32, and activations need no shift to be signed.

/// Vectors that are added up, at most.
const MOST: usize = 16;
/// What the positive weights of a sum may add up to, and the negative ones: times 255 it is no more than
/// 2¹⁵ - 1.
const LIMIT: u32 = 128;

/// Of how many vectors of weights in a row products can be added up in 16 bits, each lane taking two
/// products a vector; 0 where not even those of one vector can. Sums begin anew with each chain.
pub(crate) fn summable<C, V>(chains: impl Iterator<Item = C>) -> usize
where
    C: Iterator<Item = V> + Clone,
    V: Iterator<Item = i8>,
{
    let mut count = MOST;
    for chain in chains {
        // What fits with a count fits with half of it.
        while count > 0 && !fits(chain.clone(), count) {
            count /= 2;
        }
    }
    count
}

fn fits<V: Iterator<Item = i8>>(chain: impl Iterator<Item = V>, count: usize) -> bool {
    /// Lanes of 64 weights.
    const LANES: usize = 32;
    let mut sums = [[0u32; 2]; LANES];
    chain.enumerate().all(|(index, vector)| {
        if index % count == 0 {
            sums = [[0; 2]; LANES];
        }
        for (place, weight) in vector.enumerate() {
            let sum = &mut sums[place / 2 % LANES][usize::from(weight < 0)];
            *sum += u32::from(weight.unsigned_abs());
        }
        let most = sums.iter().flatten().fold(0, |most, &sum| most.max(sum));
        most <= LIMIT
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(vectors: &[[i8; 4]]) -> usize {
        summable(std::iter::once(vectors.iter().map(|v| v.iter().copied())))
    }

    #[test]
    fn the_sums_of_a_lane_stay_within_16_bits() {
        assert_eq!(of(&[]), MOST);
        assert_eq!(of(&[[64, 64, -64, -64]]), MOST);
        assert_eq!(of(&[[65, 64, 0, 0]]), 0);
        assert_eq!(of(&[[64, -100, 0, 0], [64, -28, 0, 0]]), MOST);
        assert_eq!(of(&[[64, 1, 0, 0], [64, 0, 0, 0]]), 1);
        assert_eq!(of(&[[-128, 0, 0, 0]]), MOST);
        assert_eq!(of(&[[8, 8, 0, 0]; 12]), 8);
        // Four fit, and eight would not.
        assert_eq!(of(&[[9, 8, 0, 0]; 12]), 4);
    }

    #[test]
    fn small_weights_are_packed_for_sums_of_16_bits() {
        let isa = crate::Isa::Avx2;
        if !isa.is_available() {
            return;
        }
        for (weight, dense, sparse) in [(65, 0, 0), (64, 1, 1), (2, 16, 16), (-8, 8, 8)] {
            let w = vec![weight; 20 * 100];
            let packed = crate::DenseI8::pack(isa, &w, 20, 100, None).unwrap();
            assert_eq!(packed.sums16(), dense, "{weight}");
            let packed = crate::SparseI8::pack(isa, &w, 20, 100, None).unwrap();
            assert_eq!(packed.sums16(), sparse, "{weight}");
        }
    }

    #[test]
    fn chains_begin_anew() {
        let vectors = [[[64i8, 60, 0, 0]], [[64, 60, 0, 0]]];
        let chains = vectors.iter().map(|c| c.iter().map(|v| v.iter().copied()));
        assert_eq!(summable(chains), MOST);
    }
}
