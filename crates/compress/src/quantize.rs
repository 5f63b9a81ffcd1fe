//! Weights as symmetric integers.

use crate::CompressError;
use crate::ptq::bins_in_range;
use secateur_model::weight::max_code;
use secateur_model::{Codebook, Scale, Values, Weight};

/// How many weights share a scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Granularity {
    /// The whole weight.
    PerTensor,
    /// One row: an output channel.
    #[default]
    PerChannel,
    /// One column of a matrix: an output channel where it lies as
    /// `[depth, outputs]`. Recipes that say `per-channel` mean this there.
    PerColumn,
}

/// How a scale is found.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Range {
    /// The largest magnitude gets the largest code.
    #[default]
    MinMax,
    /// This share of the magnitudes is in range, the rest saturates.
    Percentile(f32),
    /// The scale of least squared error.
    Mse,
    /// The range of least Kullback-Leibler divergence (TensorRT).
    Entropy,
}

/// Quantizes a weight to `bits` symmetric bits; a shared weight keeps its codes
/// and gets an integer codebook, so that integer kernels can run it.
///
/// Kept weights of a pruned layer never round to zero, zeros stay zeros.
///
/// # Errors
/// `bits` outside 2 to 8 (and 16), a weight that is quantized already.
pub fn quantize_weights(
    weight: &Weight,
    bits: u8,
    granularity: Granularity,
    range: Range,
) -> Result<Weight, CompressError> {
    if !matches!(bits, 2..=8 | 16) {
        return Err(CompressError::Setting {
            step: "quantize",
            setting: "bits",
            needed: "2 to 8, or 16",
            found: bits.to_string(),
        });
    }
    let (rows, columns) = weight.matrix();
    let limit = max_code(bits);
    let pruned = weight.support().mask().is_some();
    let (shape, support, values) = weight.clone().into_parts();
    let values = match values {
        Values::F32(values) => {
            let place = |p: usize| (p / columns.max(1), p % columns.max(1));
            let scales = |count: usize, of: &dyn Fn(usize) -> usize| {
                let mut parts: Vec<Vec<f32>> = vec![Vec::new(); count];
                let placed = weight.positions().zip(&values);
                placed.for_each(|(p, &v)| parts[of(p)].push(v));
                parts
                    .iter()
                    .map(|v| fit_scale(v, None, limit, range))
                    .collect()
            };
            let scale = match granularity {
                Granularity::PerTensor => Scale::PerTensor(fit_scale(&values, None, limit, range)),
                Granularity::PerChannel => Scale::PerChannel(scales(rows, &|p| place(p).0)),
                Granularity::PerColumn => Scale::PerColumn(scales(columns, &|p| place(p).1)),
            };
            let codes = weight
                .positions()
                .zip(&values)
                .map(|(p, &v)| {
                    let (row, column) = place(p);
                    code(v, scale.at(row, column, columns), limit, pruned) as i16
                })
                .collect();
            Values::Int { bits, codes, scale }
        }
        Values::Shared {
            codebook: Codebook::F32(entries),
            codes,
        } if bits <= 8 => {
            let scale = fit_scale(&entries, None, limit, range);
            let entries = entries.iter().map(|&v| code(v, scale, limit, pruned) as i8);
            let codebook = Codebook::Int {
                codes: entries.collect(),
                scale,
            };
            Values::Shared { codebook, codes }
        }
        _ => {
            return Err(CompressError::Refused {
                step: "quantize",
                reason: "the weight is quantized already, or shared and asked for 16 bits".into(),
            });
        }
    };
    Ok(Weight::new(shape, support, values)?)
}

/// The same weight with each value of an integer codebook that its rows share once, in order: what tells
/// equal entries apart would be stored for nothing. Entries that are joined train together from then on.
pub(crate) fn join_entries(weight: &Weight) -> Result<Weight, CompressError> {
    let (shape, support, values) = weight.clone().into_parts();
    let values = match values {
        // Rows with entries of their own each need as many.
        Values::Shared {
            codebook:
                Codebook::Int {
                    codes: entries,
                    scale,
                },
            codes,
        } if weight.entries_of_a_row().is_none() => {
            let mut distinct = entries.clone();
            distinct.sort_unstable();
            distinct.dedup();
            let place = |code: u16| {
                let entry = entries[usize::from(code)];
                distinct.partition_point(|&other| other < entry) as u16
            };
            let codes = codes.into_iter().map(place).collect();
            Values::Shared {
                codebook: Codebook::Int {
                    codes: distinct,
                    scale,
                },
                codes,
            }
        }
        other => other,
    };
    Ok(Weight::new(shape, support, values)?)
}

/// `round_half_even(value / scale)` within the limit; with `keep`, a value that
/// is not zero does not become zero.
fn code(value: f32, scale: f32, limit: i32, keep: bool) -> i32 {
    let rounded = ((value / scale).round_ties_even() as i32).clamp(-limit, limit);
    if rounded == 0 && keep && value != 0.0 {
        return if value > 0.0 { 1 } else { -1 };
    }
    rounded
}

/// The scale of some values, each of which may count more or less for
/// [`Range::Mse`].
pub(crate) fn fit_scale(
    values: &[f32],
    importance: Option<&[f64]>,
    limit: i32,
    range: Range,
) -> f32 {
    let mut magnitudes: Vec<f32> = values.iter().map(|v| v.abs()).collect();
    magnitudes.sort_by(f32::total_cmp);
    let largest = magnitudes.last().copied().unwrap_or(0.0);
    // A row of zeros takes any scale.
    if largest == 0.0 {
        return 1.0;
    }
    let to_scale = |top: f32| (top / limit as f32).max(f32::MIN_POSITIVE);
    match range {
        Range::MinMax => to_scale(largest),
        Range::Percentile(share) => {
            let index = (magnitudes.len() as f32 * share.clamp(0.0, 1.0)).ceil() as usize;
            let top = magnitudes[index.clamp(1, magnitudes.len()) - 1];
            to_scale(if top > 0.0 { top } else { largest })
        }
        Range::Mse => {
            let loss = |scale: f32| -> f64 {
                let squares = values.iter().enumerate().map(|(i, &v)| {
                    let error = f64::from(v - code(v, scale, limit, false) as f32 * scale);
                    error * error * importance.map_or(1.0, |weights| weights[i])
                });
                squares.sum()
            };
            let candidates = (20..=100).map(|percent| {
                let scale = to_scale(largest * percent as f32 / 100.0);
                (loss(scale), scale)
            });
            let best = candidates.min_by(|a, b| a.0.total_cmp(&b.0));
            best.map_or_else(|| to_scale(largest), |(_, scale)| scale)
        }
        Range::Entropy => {
            const BINS: usize = 2048;
            let mut counts = [0u64; BINS];
            for m in &magnitudes {
                counts[((m / largest * BINS as f32) as usize).min(BINS - 1)] += 1;
            }
            // Half a step of rounding at either end.
            let bins = bins_in_range(&counts, limit as usize + 1);
            to_scale(largest * bins.max(1) as f32 / BINS as f32)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use secateur_model::{Bitmask, Shape, Support};

    proptest! {
        #[test]
        fn codes_are_in_range_and_zeros_stay(
            values in prop::collection::vec(-2f32..2.0, 12),
            bits in 2u8..=8,
            seed in 0u64..4096,
        ) {
            let mask = Bitmask::from_fn(12, |i| seed >> i & 1 == 1);
            let kept: Vec<f32> = mask.ones().map(|i| values[i]).collect();
            let weight = Weight::new(
                Shape::new(&[3, 4]).unwrap(),
                Support::Unstructured(mask.clone()),
                Values::F32(kept),
            ).unwrap();
            use Granularity::{PerChannel, PerColumn, PerTensor};
            for granularity in [PerTensor, PerChannel, PerColumn] {
                for range in [Range::MinMax, Range::Percentile(0.9), Range::Mse, Range::Entropy] {
                    let q = quantize_weights(&weight, bits, granularity, range).unwrap();
                    prop_assert_eq!(q.nonzeros(), weight.nonzeros());
                    for (i, v) in q.to_f32().iter().enumerate() {
                        prop_assert!(mask.get(i) || *v == 0.0);
                    }
                }
            }
        }
    }

    #[test]
    fn widths_beyond_the_formats_are_refused() {
        let weight = Weight::dense(Shape::new(&[1]).unwrap(), vec![1.0]).unwrap();
        for bits in [0, 1, 9, 17] {
            assert!(
                quantize_weights(&weight, bits, Granularity::PerTensor, Range::MinMax).is_err()
            );
        }
    }

    #[test]
    fn a_codebook_becomes_integers() {
        let weight = Weight::dense(Shape::new(&[4]).unwrap(), vec![1.0, 1.1, -2.0, -2.1]).unwrap();
        let shared = crate::share(
            &weight,
            2,
            crate::Codebooks::PerLayer,
            crate::Init::Linear,
            0,
        )
        .unwrap();
        let q = quantize_weights(&shared, 8, Granularity::PerTensor, Range::MinMax).unwrap();
        assert!(matches!(
            q.values(),
            Values::Shared {
                codebook: Codebook::Int { .. },
                ..
            }
        ));
        let error = q
            .to_f32()
            .iter()
            .zip(weight.to_f32())
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        assert!(error < 0.06, "{error}");
    }

    #[test]
    fn entries_that_become_equal_are_joined() {
        let codebook = Codebook::F32(vec![100.0, 1.0, -50.0, 1.1, 7.0]);
        let values = Values::Shared {
            codebook,
            codes: vec![0, 1, 3, 2, 3, 1],
        };
        let shape = Shape::new(&[2, 3]).unwrap();
        let shared = Weight::new(shape, Support::All, values).unwrap();
        let q = quantize_weights(&shared, 8, Granularity::PerTensor, Range::MinMax).unwrap();
        let q = join_entries(&q).unwrap();
        let Values::Shared { codebook, codes } = q.values() else {
            panic!("shared");
        };
        assert!(matches!(codebook, Codebook::Int { codes, .. } if *codes == [-64, 1, 9, 127]));
        assert_eq!(*codes, [3, 1, 1, 0, 1, 1]);
    }
}
