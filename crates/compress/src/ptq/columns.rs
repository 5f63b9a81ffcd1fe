//! Columns of a layer settled one after another: what settling one costs the
//! layer's output is made good by those behind it, as in Optimal Brain Surgeon
//! (Hassibi & Stork 1993) with one order for all rows (Frantar & Alistarh 2023).

use crate::CompressError;
use crate::linalg::{inverse_factor, subtract};

/// An order of columns, and how errors spread over those behind.
pub(super) struct Columns {
    order: Vec<usize>,
    /// `U` of `H⁻¹ = Uᵀ·U` in that order.
    factor: Vec<f64>,
}

impl Columns {
    /// For second moments `[depth, depth]`, with a part of their mean diagonal added
    /// to the diagonal: columns of much weight first, while there are others to make good.
    pub fn new(moments: &[f64], depth: usize, damping: f64) -> Result<Self, CompressError> {
        let mut order: Vec<usize> = (0..depth).collect();
        let weight = |c: usize| moments[c * depth + c];
        order.sort_by(|&a, &b| weight(b).total_cmp(&weight(a)));
        Self::in_order(moments, depth, damping, order)
    }

    /// The same in another order.
    pub fn in_order(
        moments: &[f64],
        depth: usize,
        damping: f64,
        order: Vec<usize>,
    ) -> Result<Self, CompressError> {
        let row = |&i: &usize| order.iter().map(move |&j| moments[i * depth + j]);
        let mut permuted: Vec<f64> = order.iter().flat_map(row).collect();
        dampen(&mut permuted, depth, damping);
        let factor = inverse_factor(&permuted, depth).ok_or_else(|| CompressError::Refused {
            step: "quantize",
            reason: "the second moments of a layer's inputs are not finite".into(),
        })?;
        Ok(Self { order, factor })
    }

    /// Columns.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// A row in the order.
    pub fn arranged<T: Copy>(&self, row: &[T]) -> Vec<T> {
        self.order.iter().map(|&c| row[c]).collect()
    }

    /// A row from the order back into its place.
    pub fn restore<T: Copy>(&self, row: &[T], out: &mut [T]) {
        for (&column, &value) in self.order.iter().zip(row) {
            out[column] = value;
        }
    }

    /// Gives the value at place `j` another one, and spreads the error.
    pub fn settle(&self, values: &mut [f64], j: usize, settled: f64) {
        let d = self.len();
        let factor = &self.factor[j * d..(j + 1) * d];
        let error = (values[j] - settled) / factor[j];
        values[j] = settled;
        subtract(&mut values[j + 1..], error, &factor[j + 1..]);
    }

    /// What the layer's output changes by where the value at place `j` is off by one and those behind it make
    /// good what they can.
    pub fn cost(&self, j: usize) -> f64 {
        self.factor[j * self.len() + j].powi(-2)
    }

    /// The diagonal of `H⁻¹`, in the order: `w²` over it is what removing `w` costs
    /// while all others are free.
    pub fn inverse_diagonal(&self) -> Vec<f64> {
        let mut diagonal = vec![0.0; self.len()];
        for row in self.factor.chunks_exact(self.len().max(1)) {
            let places = diagonal.iter_mut().zip(row);
            places.for_each(|(sum, u)| *sum += u * u);
        }
        diagonal
    }

    #[cfg(test)]
    pub fn order(&self) -> &[usize] {
        &self.order
    }
}

/// Adds a part of the mean diagonal to the diagonal.
pub(crate) fn dampen(moments: &mut [f64], d: usize, part: f64) {
    let mean = (0..d).map(|i| moments[i * d + i]).sum::<f64>() / d.max(1) as f64;
    // Where no input ever was anything, any rounding is as good.
    let more = (part * mean).max(1e-12);
    (0..d).for_each(|i| moments[i * d + i] += more);
}
