//! Factors of symmetric positive definite matrices, in f64, row-major.

use rayon::prelude::*;
use secateur_train::{Matrix, add_product};

/// Rows from which the work of a step is spread over threads.
const SPREAD: usize = 64;

/// `A = Vᵀ·V` with `V` upper triangular.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cholesky {
    v: Vec<f64>,
    n: usize,
}

impl Cholesky {
    /// Factors `a`: `[n, n]`, of which the upper triangle is read; `None` where it
    /// is not positive definite.
    pub fn new(mut a: Vec<f64>, n: usize) -> Option<Self> {
        if a.len() != n * n {
            return None;
        }
        for k in 0..n {
            let pivot = a[k * n + k];
            if !pivot.is_finite() || pivot <= 0.0 {
                return None;
            }
            let root = pivot.sqrt();
            a[k * n + k..(k + 1) * n]
                .iter_mut()
                .for_each(|x| *x /= root);
            let (head, tail) = a.split_at_mut((k + 1) * n);
            let row = &head[k * n..];
            let reduce = |(below, target): (usize, &mut [f64])| {
                let i = k + 1 + below;
                subtract(&mut target[i..], row[i], &row[i..]);
            };
            match n - k > SPREAD {
                true => tail
                    .par_chunks_exact_mut(n)
                    .with_min_len(16)
                    .enumerate()
                    .for_each(reduce),
                false => tail.chunks_exact_mut(n).enumerate().for_each(reduce),
            }
        }
        Some(Self { v: a, n })
    }

    fn row(&self, i: usize) -> &[f64] {
        &self.v[i * self.n..(i + 1) * self.n]
    }

    /// Solves `A·x = b` in place.
    pub fn solve(&self, b: &mut [f64]) {
        for i in 0..self.n {
            let row = self.row(i);
            b[i] /= row[i];
            let y = b[i];
            subtract(&mut b[i + 1..], y, &row[i + 1..]);
        }
        for i in (0..self.n).rev() {
            let row = self.row(i);
            let known: f64 = row[i + 1..]
                .iter()
                .zip(&b[i + 1..])
                .map(|(v, x)| v * x)
                .sum();
            b[i] = (b[i] - known) / row[i];
        }
    }

    /// `V⁻¹`, upper triangular.
    fn inverse(&self) -> Vec<f64> {
        let n = self.n;
        let mut t = vec![0.0; n * n];
        for i in (0..n).rev() {
            let (head, below) = t.split_at_mut((i + 1) * n);
            let row = &mut head[i * n..];
            let v = self.row(i);
            row[i] = 1.0;
            for k in i + 1..n {
                subtract(
                    &mut row[k..],
                    v[k],
                    &below[(k - i - 1) * n + k..(k - i) * n],
                );
            }
            row[i..].iter_mut().for_each(|x| *x /= v[i]);
        }
        t
    }
}

/// Upper triangular `U` with `A⁻¹ = Uᵀ·U`: row `j` says how an error in column
/// `j` is made good by the columns behind it. `None` where `A` is not positive
/// definite.
pub(crate) fn inverse_factor(a: &[f64], n: usize) -> Option<Vec<f64>> {
    // With rows and columns in reverse, `A = R·Rᵀ` for an upper `R`, and `U = R⁻¹`.
    let reversed = a.iter().rev().copied().collect();
    let t = Cholesky::new(reversed, n)?.inverse();
    let mut u = vec![0.0; n * n];
    for i in 0..n {
        for j in i..n {
            u[i * n + j] = t[(n - 1 - j) * n + n - 1 - i];
        }
    }
    Some(u)
}

/// `A⁻¹`; `None` where `A` is not positive definite.
pub(crate) fn inverse(a: &[f64], n: usize) -> Option<Vec<f64>> {
    let factor = inverse_factor(a, n)?;
    let factor = Matrix::new(&factor, n, n);
    let mut inverse = vec![0.0; n * n];
    add_product(&mut inverse, 1.0, factor.transposed(), factor);
    Some(inverse)
}

/// Rows and columns `at` of a matrix of `n` columns.
pub(crate) fn part(a: &[f64], n: usize, at: &[usize]) -> Vec<f64> {
    let row = |&i: &usize| at.iter().map(move |&j| a[i * n + j]);
    at.iter().flat_map(row).collect()
}

/// `target -= factor · row`
pub(crate) fn subtract(target: &mut [f64], factor: f64, row: &[f64]) {
    if factor != 0.0 {
        target
            .iter_mut()
            .zip(row)
            .for_each(|(t, r)| *t -= factor * r);
    }
}

/// `Σ a·b`
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    // Four chains, so that additions need not wait for one another.
    let mut sums = [0.0; 4];
    let (a4, b4) = (a.chunks_exact(4), b.chunks_exact(4));
    let rest: f64 = a4
        .remainder()
        .iter()
        .zip(b4.remainder())
        .map(|(x, y)| x * y)
        .sum();
    for (x, y) in a4.zip(b4) {
        (0..4).for_each(|i| sums[i] += x[i] * y[i]);
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `XᵀX` of `n + 3` samples, and a little on the diagonal.
    pub(crate) fn positive(n: usize, seed: u64) -> Vec<f64> {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as f64 / f64::from(1u32 << 31) - 0.5
        };
        let x: Vec<f64> = (0..(n + 3) * n).map(|_| next()).collect();
        let mut a = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..n {
                a[i * n + j] = x.chunks(n).map(|s| s[i] * s[j]).sum();
            }
            a[i * n + i] += 0.01;
        }
        a
    }

    /// Gauss-Jordan without pivoting.
    pub(crate) fn naive_inverse(a: &[f64], n: usize) -> Vec<f64> {
        let (mut a, mut inverse) = (a.to_vec(), vec![0.0; n * n]);
        (0..n).for_each(|i| inverse[i * n + i] = 1.0);
        for k in 0..n {
            let pivot = a[k * n + k];
            for j in 0..n {
                a[k * n + j] /= pivot;
                inverse[k * n + j] /= pivot;
            }
            for i in (0..n).filter(|&i| i != k) {
                let factor = a[i * n + k];
                for j in 0..n {
                    a[i * n + j] -= factor * a[k * n + j];
                    inverse[i * n + j] -= factor * inverse[k * n + j];
                }
            }
        }
        inverse
    }

    proptest! {
        #[test]
        fn factors_solve_and_invert(n in 1usize..9, seed in 0u64..100) {
            let a = positive(n, seed);
            let inverse = naive_inverse(&a, n);
            let b: Vec<f64> = (0..n).map(|i| i as f64 - 1.5).collect();
            let mut x = b.clone();
            Cholesky::new(a.clone(), n).unwrap().solve(&mut x);
            for i in 0..n {
                let want = dot(&inverse[i * n..(i + 1) * n], &b);
                prop_assert!((x[i] - want).abs() < 1e-6 * (1.0 + want.abs()));
            }
            let found = super::inverse(&a, n).unwrap();
            let close = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-6 * (1.0 + b.abs());
            prop_assert!(found.iter().zip(&inverse).all(close));
            let u = inverse_factor(&a, n).unwrap();
            for i in 0..n {
                for j in 0..n {
                    let found: f64 = (0..n).map(|k| u[k * n + i] * u[k * n + j]).sum();
                    prop_assert!((found - inverse[i * n + j]).abs() < 1e-6 * (1.0 + found.abs()));
                    prop_assert!(j >= i || u[i * n + j] == 0.0);
                }
            }
        }
    }

    #[test]
    fn what_is_not_positive_is_refused() {
        assert!(Cholesky::new(vec![1.0, 2.0, 2.0, 1.0], 2).is_none());
        assert!(Cholesky::new(vec![f64::NAN], 1).is_none());
        assert!(Cholesky::new(vec![1.0], 2).is_none());
    }

    #[test]
    fn large_ones_are_spread_over_threads() {
        let n = 100;
        let a = positive(n, 5);
        let mut x: Vec<f64> = (0..n).map(|i| (i % 7) as f64).collect();
        let b = x.clone();
        Cholesky::new(a.clone(), n).unwrap().solve(&mut x);
        let back = |i: usize| dot(&a[i * n..(i + 1) * n], &x);
        assert!((0..n).all(|i| (back(i) - b[i]).abs() < 1e-6));
    }
}
