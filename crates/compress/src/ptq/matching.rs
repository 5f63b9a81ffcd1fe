//! Layer-wise distillation without labels: the weights with which a layer, fed by
//! the compressed network, comes nearest to what it gave in the dense one.

use super::columns::dampen;
use crate::linalg::{Cholesky, dot};
use rayon::prelude::*;

/// Steps of the conjugate gradients of a masked row.
const STEPS: usize = 40;

/// Ridge least squares: for each row the `v` that is least in
/// `E(w·z − v·x)² + λ|v − w|²`, zero outside the support, with `λ` a part of the
/// mean of `E x²`.
///
/// weights: `[rows, depth]` in the dense network; `xx`, `zx`: `E[x·xᵀ]`,
/// `E[z·xᵀ]`, `[depth, depth]`. Gives the weights as they are where the moments
/// are not finite.
pub fn matched(
    weights: &[f64],
    depth: usize,
    xx: &[f64],
    zx: &[f64],
    ridge: f64,
    support: Option<&[bool]>,
) -> Vec<f64> {
    let d = depth;
    let mut out = weights.to_vec();
    let mut moments = xx.to_vec();
    dampen(&mut moments, d, ridge);
    let lambda = moments.first().map_or(0.0, |m| m - xx[0]);
    // The right side: w·E[z·xᵀ] + λ·w.
    let right = |w: &[f64]| {
        let mut right: Vec<f64> = w.iter().map(|w| lambda * w).collect();
        for (row, &w) in zx.chunks_exact(d).zip(w) {
            right.iter_mut().zip(row).for_each(|(r, c)| *r += w * c);
        }
        right
    };
    match support {
        None => {
            let Some(factor) = Cholesky::new(moments, d) else {
                return out;
            };
            out.par_chunks_exact_mut(d.max(1)).for_each(|row| {
                let mut solution = right(row);
                factor.solve(&mut solution);
                if solution.iter().all(|v| v.is_finite()) {
                    row.copy_from_slice(&solution);
                }
            });
        }
        Some(support) => {
            let rows = out
                .par_chunks_exact_mut(d.max(1))
                .zip(support.par_chunks_exact(d.max(1)));
            rows.for_each(|(row, support)| {
                let right = right(row);
                conjugate_gradients(&moments, &right, support, row);
            });
        }
    }
    out
}

/// Solves `A·x = b` among vectors that are zero outside the support, from the
/// `x` that is there.
fn conjugate_gradients(a: &[f64], b: &[f64], support: &[bool], x: &mut [f64]) {
    let d = x.len();
    let start = x.to_vec();
    let times = |v: &[f64]| -> Vec<f64> {
        let row = |i: usize| {
            if support[i] {
                dot(&a[i * d..(i + 1) * d], v)
            } else {
                0.0
            }
        };
        (0..d).map(row).collect()
    };
    let product = times(x);
    let mut r: Vec<f64> = (0..d)
        .map(|i| if support[i] { b[i] - product[i] } else { 0.0 })
        .collect();
    // The diagonal as preconditioner: inputs differ much in size.
    let scaled = |r: &[f64]| -> Vec<f64> { (0..d).map(|i| r[i] / a[i * d + i]).collect() };
    let mut z = scaled(&r);
    let mut p = z.clone();
    let mut rz = dot(&r, &z);
    let enough = 1e-10 * rz;
    for _ in 0..STEPS {
        if rz <= enough || !rz.is_finite() {
            break;
        }
        let ap = times(&p);
        let alpha = rz / dot(&p, &ap);
        for i in 0..d {
            x[i] += alpha * p[i];
            r[i] -= alpha * ap[i];
        }
        z = scaled(&r);
        let next = dot(&r, &z);
        let beta = next / rz;
        (0..d).for_each(|i| p[i] = z[i] + beta * p[i]);
        rz = next;
    }
    if x.iter().any(|v| !v.is_finite()) {
        x.copy_from_slice(&start);
    }
}

/// The scale with which codes come nearest: `(q·E[x·zᵀ]·wᵀ) / (q·E[x·xᵀ]·qᵀ)` of
/// a row, or `None` where that is no positive number.
pub fn best_scale(codes: &[i16], weights: &[f64], xx: &[f64], zx: &[f64]) -> Option<f64> {
    let d = codes.len();
    let q: Vec<f64> = codes.iter().map(|&c| f64::from(c)).collect();
    let (mut above, mut below) = (0.0, 0.0);
    for i in 0..d {
        if weights[i] != 0.0 {
            above += weights[i] * dot(&zx[i * d..(i + 1) * d], &q);
        }
        if q[i] != 0.0 {
            below += q[i] * dot(&xx[i * d..(i + 1) * d], &q);
        }
    }
    let scale = above / below;
    (scale.is_finite() && scale > 0.0).then_some(scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::tests::{naive_inverse, positive};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_solve_their_normal_equations(d in 1usize..7, seed in 0u64..100, mask in 1u32..127) {
            let (xx, zx) = (positive(d, seed), positive(d, seed + 1));
            let support: Vec<bool> = (0..d).map(|i| mask >> i & 1 == 1).collect();
            let w: Vec<f64> = (0..d).map(|i| if support[i] { i as f64 - 2.5 } else { 0.0 }).collect();
            let found = matched(&w, d, &xx, &zx, 0.1, Some(&support));
            let lambda = 0.1 * (0..d).map(|i| xx[i * d + i]).sum::<f64>() / d as f64;
            let free: Vec<usize> = (0..d).filter(|&i| support[i]).collect();
            let k = free.len();
            let mut a = vec![0.0; k * k];
            for (i, &fi) in free.iter().enumerate() {
                for (j, &fj) in free.iter().enumerate() {
                    a[i * k + j] = xx[fi * d + fj] + if i == j { lambda } else { 0.0 };
                }
            }
            let inverse = naive_inverse(&a, k);
            for (i, &fi) in free.iter().enumerate() {
                let want: f64 = free.iter().enumerate().map(|(j, &fj)| {
                    let right = (0..d).map(|c| w[c] * zx[c * d + fj]).sum::<f64>() + lambda * w[fj];
                    inverse[i * k + j] * right
                }).sum();
                prop_assert!((found[fi] - want).abs() < 1e-4 * (1.0 + want.abs()));
            }
            for i in 0..d {
                prop_assert!(support[i] || found[i] == 0.0);
            }
            if mask == 127 || support.iter().all(|&s| s) {
                let whole = matched(&w, d, &xx, &zx, 0.1, None);
                prop_assert!(whole.iter().zip(&found).all(|(a, b)| (a - b).abs() < 1e-4 * (1.0 + a.abs())));
            }
        }
    }

    #[test]
    fn the_same_inputs_leave_the_weights() {
        let xx = positive(4, 3);
        let w = [1.0, -2.0, 0.5, 3.0];
        let same = matched(&w, 4, &xx, &xx, 0.01, None);
        assert!(same.iter().zip(w).all(|(a, b)| (a - b).abs() < 1e-9));
        assert_eq!(matched(&w, 4, &[f64::NAN; 16], &xx, 0.01, None), w);
    }

    #[test]
    fn a_scale_is_found_from_its_own_codes() {
        let xx = positive(3, 1);
        let codes = [3, -1, 2];
        let w: Vec<f64> = codes.iter().map(|&c| f64::from(c) * 0.2).collect();
        let scale = best_scale(&codes, &w, &xx, &xx).unwrap();
        assert!((scale - 0.2).abs() < 1e-12);
        assert_eq!(best_scale(&[0; 3], &w, &xx, &xx), None);
    }
}
