//! Sums and maxima of a row in 16 lanes: element `i` goes to lane `i mod 16`, and the lanes are joined in
//! pairs. The order is part of the result, so it is the same on every instruction set.

/// Lanes of a row's sum.
const LANES: usize = 16;

/// Folds `f(x)` of every element into lanes by `join`, beginning with `first`.
#[inline(always)]
pub(crate) fn fold(
    x: &[f32],
    first: f32,
    f: impl Fn(f32) -> f32,
    join: impl Fn(f32, f32) -> f32,
) -> f32 {
    let mut lanes = [first; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = join(*lane, f(x));
        }
    }
    // As a whole: what becomes of each lane would otherwise decide in how many registers they are kept
    // above.
    let mut lanes = std::hint::black_box(lanes);
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane = join(*lane, f(x));
    }
    for width in [8, 4, 2, 1] {
        for l in 0..width {
            lanes[l] = join(lanes[l], lanes[l + width]);
        }
    }
    lanes[0]
}

/// `Σ f(x[i])`
#[inline(always)]
pub(crate) fn sum(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    fold(
        x,
        0.0,
        f,
        #[inline(always)]
        |a, b| a + b,
    )
}

/// The largest element, `first` if there is none larger; a NaN is passed over.
#[inline(always)]
pub(crate) fn max(x: &[f32], first: f32) -> f32 {
    fold(
        x,
        first,
        #[inline(always)]
        |x| x,
        #[inline(always)]
        |a, b| if b > a { b } else { a },
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_element_counts_once() {
        for len in 0..70 {
            let x: Vec<f32> = (0..len).map(|i| i as f32).collect();
            assert_eq!(super::sum(&x, |x| x), (0..len).sum::<usize>() as f32);
            assert_eq!(super::max(&x, -1.0), len as f32 - 1.0);
        }
    }
}
