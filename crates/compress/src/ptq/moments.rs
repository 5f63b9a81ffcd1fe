//! First and second moments of what a layer reads, in the dense network and in
//! the compressed one. Everything that is fitted to samples is fitted to these,
//! so that memory does not grow with the samples.

use rayon::prelude::*;
use secateur_train::{Matrix, add_product};

/// Columns up to which sums are taken one by one.
const SMALL: usize = 24;

/// Sums over samples of `x`, which the compressed network's layer reads, and `z`,
/// which the dense network's reads in its place; nothing of `z` where both are the same network.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    /// Columns.
    pub depth: usize,
    samples: usize,
    x: Vec<f64>,
    z: Vec<f64>,
    xx: Vec<f64>,
    zx: Vec<f64>,
}

impl Moments {
    /// No samples yet, of two networks.
    pub fn new(depth: usize) -> Self {
        Self {
            z: vec![0.0; depth],
            zx: vec![0.0; depth * depth],
            ..Self::of_one(depth)
        }
    }

    /// No samples yet, of one network.
    pub fn of_one(depth: usize) -> Self {
        Self {
            depth,
            samples: 0,
            x: vec![0.0; depth],
            z: Vec::new(),
            xx: vec![0.0; depth * depth],
            zx: Vec::new(),
        }
    }

    fn is_of_one(&self) -> bool {
        self.z.len() < self.depth
    }

    /// Adds samples.  z, x: `[samples, depth]`, row-major, as many of each; of one network z is not looked at.
    pub fn add(&mut self, z: &[f32], x: &[f32]) {
        debug_assert!(self.is_of_one() || z.len() == x.len());
        let d = self.depth;
        self.samples += x.len() / d.max(1);
        let sides = if self.is_of_one() { 1 } else { 2 };
        for (sums, values) in [(&mut self.x, x), (&mut self.z, z)].into_iter().take(sides) {
            for sample in values.chunks_exact(d.max(1)) {
                sums.iter_mut()
                    .zip(sample)
                    .for_each(|(s, &v)| *s += f64::from(v));
            }
        }
        for (sums, left) in [(&mut self.xx, x), (&mut self.zx, z)]
            .into_iter()
            .take(sides)
        {
            if d <= SMALL {
                for (a, b) in left.chunks_exact(d.max(1)).zip(x.chunks_exact(d.max(1))) {
                    for (row, &a) in sums.chunks_exact_mut(d).zip(a) {
                        row.iter_mut()
                            .zip(b)
                            .for_each(|(s, &b)| *s += f64::from(a) * f64::from(b));
                    }
                }
            } else {
                let samples = x.len() / d;
                let left = Matrix::new(left, samples, d).transposed();
                let mut batch = vec![0.0f32; d * d];
                add_product(&mut batch, 1.0, left, Matrix::new(x, samples, d));
                sums.iter_mut()
                    .zip(batch)
                    .for_each(|(s, v)| *s += f64::from(v));
            }
        }
    }

    /// Samples seen.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// The means of x and of z.
    pub fn means(&self) -> (Vec<f64>, Vec<f64>) {
        let n = self.samples.max(1) as f64;
        let mean = |sums: &[f64]| sums.iter().map(|s| s / n).collect();
        match self.is_of_one() {
            true => (mean(&self.x), mean(&self.x)),
            false => (mean(&self.x), mean(&self.z)),
        }
    }

    /// `(E[x·xᵀ], E[z·xᵀ])`, `[depth, depth]` each; with `centred`, about the
    /// means: what is left to explain once a bias has been fitted.
    ///
    /// What is off the diagonal is shrunk by `n / (n + depth)` for `n` samples (in
    /// the manner of Ledoit & Wolf 2004): fewer samples than columns leave directions
    /// that none of them shows, and errors would all be put there.
    pub fn second(&self, centred: bool) -> (Vec<f64>, Vec<f64>) {
        let n = self.samples.max(1) as f64;
        let trust = n / (n + self.depth as f64);
        let (mean_x, mean_z) = self.means();
        let about = |sums: &[f64], left: &[f64]| {
            let mut out: Vec<f64> = sums.iter().map(|s| s / n).collect();
            if centred {
                let rows = out.par_chunks_exact_mut(self.depth.max(1)).zip(left);
                rows.for_each(|(row, &a)| {
                    row.iter_mut().zip(&mean_x).for_each(|(o, b)| *o -= a * b);
                });
            }
            let rows = out.par_chunks_exact_mut(self.depth.max(1)).enumerate();
            rows.for_each(|(i, row)| {
                let diagonal = row[i];
                row.iter_mut().for_each(|o| *o *= trust);
                row[i] = diagonal;
            });
            out
        };
        let xx = about(&self.xx, &mean_x);
        let zx = match self.is_of_one() {
            true => xx.clone(),
            false => about(&self.zx, &mean_z),
        };
        (xx, zx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_samples_however_they_come() {
        for d in [3, SMALL + 1] {
            let value = |i: usize| ((i * 31 + 7) % 17) as f32 - 8.0;
            let x: Vec<f32> = (0..10 * d).map(value).collect();
            let z: Vec<f32> = (0..10 * d).map(|i| value(i + 5)).collect();
            let mut m = Moments::new(d);
            m.add(&z[..4 * d], &x[..4 * d]);
            m.add(&z[4 * d..], &x[4 * d..]);
            let (xx, zx) = m.second(true);
            let at = |v: &[f32], s: usize, i: usize| f64::from(v[s * d + i]);
            let mean = |v: &[f32], i| (0..10).map(|s| at(v, s, i)).sum::<f64>() / 10.0;
            let covariance = |a: &[f32], i, b: &[f32], j| {
                let product = |s| (at(a, s, i) - mean(a, i)) * (at(b, s, j) - mean(b, j));
                (0..10).map(product).sum::<f64>() / 10.0
            };
            for i in 0..d {
                for j in 0..d {
                    let trust = if i == j {
                        1.0
                    } else {
                        10.0 / (10.0 + d as f64)
                    };
                    assert!((xx[i * d + j] - trust * covariance(&x, i, &x, j)).abs() < 1e-6);
                    assert!((zx[i * d + j] - trust * covariance(&z, i, &x, j)).abs() < 1e-6);
                }
            }
            assert_eq!(m.samples(), 10);
            let mut one = Moments::of_one(d);
            one.add(&[], &x);
            let (same, also) = one.second(true);
            assert!(same == also && one.means().0 == one.means().1);
            let near = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-6;
            assert!(same.iter().zip(&xx).all(near));
            assert!((m.means().1[1] - mean(&z, 1)).abs() < 1e-9);
        }
    }
}
