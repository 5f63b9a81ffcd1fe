//! Softmax over rows or over columns.

use crate::{Isa, KernelError, error::check_len, lanes, math::exp_nonpositive, multiversion};

/// Columns that are computed side by side.
const COLUMNS: usize = 64;

/// `y[o, k, i] = e^(x[o, k, i] − m) / Σₖ e^(x[o, k, i] − m)`, `m` the largest over `k`, of blocks
/// `[extent, run]` back to back.
///
/// ```
/// use secateur_kernels::{Isa, softmax};
/// let mut y = [0.0; 4];
/// softmax(Isa::best(), 2, 1, &[0.0, 0.0, 1.0, -200.0], &mut y)?;
/// assert_eq!(y, [0.5, 0.5, 1.0, 0.0]);
/// # Ok::<(), secateur_kernels::KernelError>(())
/// ```
///
/// # Errors
/// When the lengths differ or are no whole number of blocks.
pub fn softmax(
    isa: Isa,
    extent: usize,
    run: usize,
    x: &[f32],
    y: &mut [f32],
) -> Result<(), KernelError> {
    check_len("softmax", x.len(), y.len())?;
    let block = extent.saturating_mul(run).max(1);
    check_len(
        "blocks of softmax",
        x.len().next_multiple_of(block),
        x.len(),
    )?;
    multiversion::run(
        isa,
        #[inline(always)]
        || {
            for (x, y) in x.chunks_exact(block).zip(y.chunks_exact_mut(block)) {
                match run {
                    1 => row(x, y),
                    _ => columns(run, x, y),
                }
            }
        },
    );
    Ok(())
}

#[inline(always)]
fn row(x: &[f32], y: &mut [f32]) {
    let largest = lanes::max(x, f32::MIN);
    for (y, &x) in y.iter_mut().zip(x) {
        *y = exp_nonpositive(x - largest);
    }
    let sum = lanes::sum(
        y,
        #[inline(always)]
        |y| y,
    );
    let inverse = 1.0 / sum;
    y.iter_mut().for_each(|y| *y *= inverse);
}

/// Columns of `[extent, run]`, some at a time.
#[inline(always)]
fn columns(run: usize, x: &[f32], y: &mut [f32]) {
    for first in (0..run).step_by(COLUMNS) {
        let part = first..run.min(first + COLUMNS);
        let mut largest = [f32::MIN; COLUMNS];
        for x in x.chunks_exact(run) {
            for (largest, &x) in largest.iter_mut().zip(&x[part.clone()]) {
                *largest = if x > *largest { x } else { *largest };
            }
        }
        let mut sum = [0.0; COLUMNS];
        for (x, y) in x.chunks_exact(run).zip(y.chunks_exact_mut(run)) {
            let (x, y) = (&x[part.clone()], &mut y[part.clone()]);
            for (((y, &x), &largest), sum) in y.iter_mut().zip(x).zip(&largest).zip(&mut sum) {
                *y = exp_nonpositive(x - largest);
                *sum += *y;
            }
        }
        for y in y.chunks_exact_mut(run) {
            for (y, &sum) in y[part.clone()].iter_mut().zip(&sum) {
                *y /= sum;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn shares_are_those_of_f64(extent in 1usize..70, run in 1usize..70, scale in 0.1f32..60.0) {
            let x: Vec<f32> = (0..2 * extent * run).map(|i| (i as f32 * 1.7).sin() * scale).collect();
            let mut first = vec![0.0; x.len()];
            softmax(Isa::Generic, extent, run, &x, &mut first).unwrap();
            for (b, block) in x.chunks(extent * run).enumerate() {
                for i in 0..run {
                    let at = |k: usize| block[k * run + i];
                    let largest = (0..extent).map(at).fold(f32::MIN, f32::max);
                    // The difference is rounded, as in the reference.
                    let at = |k: usize| f64::from(at(k) - largest);
                    let sum: f64 = (0..extent).map(|k| at(k).exp()).sum();
                    for k in 0..extent {
                        let exact = at(k).exp() / sum;
                        let found = f64::from(first[b * extent * run + k * run + i]);
                        prop_assert!((found - exact).abs() <= 2e-6 * exact + 1e-37, "{found} {exact}");
                    }
                }
            }
            for isa in Isa::available() {
                let mut y = vec![0.0; x.len()];
                softmax(isa, extent, run, &x, &mut y).unwrap();
                prop_assert_eq!(&y, &first);
            }
        }
    }

    #[test]
    fn lengths_are_checked() {
        assert!(softmax(Isa::Generic, 3, 1, &[0.0; 4], &mut [0.0; 4]).is_err());
        assert!(softmax(Isa::Generic, 2, 1, &[0.0; 4], &mut [0.0; 2]).is_err());
        assert!(softmax(Isa::Generic, 0, 1, &[], &mut []).is_ok());
    }
}
