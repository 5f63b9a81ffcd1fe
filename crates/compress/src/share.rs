//! Weight sharing: k-means gives every layer a few values (Han et al. 2016).

use crate::CompressError;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use secateur_model::{Bitmask, Codebook, Support, Values, Weight};

/// Where the centroids start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Init {
    /// Evenly over `min ..= max`: keeps the large weights, and does best.
    #[default]
    Linear,
    /// At even quantiles of the values.
    Density,
    /// At values drawn at random.
    Random,
}

/// Which weights have a codebook of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Codebooks {
    /// Those of a layer.
    #[default]
    PerLayer,
    /// Those of a row, an output channel: nearer values, and so many times the bytes of codebooks.
    PerChannel,
}

/// Shares a weight's non-zero values among at most `levels` centroids, or those of each row among so many.
///
/// Zeros are no members of a cluster, unless blocks or channels keep them, and no centroid is zero, so
/// pruned stays pruned and kept stays kept.
///
/// # Errors
/// `levels` outside 2 to 65536, rows with more centroids together, a weight that is not f32.
pub fn share(
    weight: &Weight,
    levels: usize,
    codebooks: Codebooks,
    init: Init,
    seed: u64,
) -> Result<Weight, CompressError> {
    if !(2..=1 << 16).contains(&levels) {
        return Err(CompressError::Setting {
            step: "share",
            setting: "levels",
            needed: "2 to 65536",
            found: levels.to_string(),
        });
    }
    let weight = without_zeros(weight)?;
    let Values::F32(values) = weight.values() else {
        return Err(CompressError::Refused {
            step: "share",
            reason: "the weight is already shared or quantized".into(),
        });
    };
    let (codebook, codes) = match codebooks {
        Codebooks::PerLayer => {
            let centroids = centroids(values, levels, init, seed);
            let codes = values.iter().map(|&v| nearest(&centroids, v) as u16);
            let codes = codes.collect();
            (centroids, codes)
        }
        Codebooks::PerChannel => {
            of_rows(&weight, values, |row| centroids(row, levels, init, seed))?
        }
    };
    let codebook = Codebook::F32(codebook);
    let (shape, support, _) = weight.into_parts();
    Ok(Weight::new(
        shape,
        support,
        Values::Shared { codebook, codes },
    )?)
}

/// The codebooks of all rows, one behind the other and each as long as the longest, and the index of each value.
fn of_rows(
    weight: &Weight,
    values: &[f32],
    centroids: impl Fn(&[f32]) -> Vec<f32>,
) -> Result<(Vec<f32>, Vec<u16>), CompressError> {
    let (rows, columns) = weight.matrix();
    if values.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let mut members = vec![0; rows];
    weight.positions().for_each(|p| members[p / columns] += 1);
    let mut rest = values;
    let of_rows: Vec<(&[f32], Vec<f32>)> = members
        .into_iter()
        .map(|count| {
            let (row, behind) = rest.split_at(count);
            rest = behind;
            (row, centroids(row))
        })
        .collect();
    let entries = of_rows.iter().map(|(_, c)| c.len()).max().unwrap_or(0);
    if rows * entries > 1 << 16 {
        let most = (1 << 16) / rows;
        return Err(CompressError::Refused {
            step: "share",
            reason: format!(
                "codebooks of {rows} channels hold 65536 values together: at most {most} levels, not {entries}"
            ),
        });
    }
    let mut codebook = Vec::with_capacity(rows * entries);
    let mut codes = Vec::with_capacity(values.len());
    for (row, centroids) in &of_rows {
        let start = codebook.len();
        codes.extend(row.iter().map(|&v| (start + nearest(centroids, v)) as u16));
        // A row with fewer values repeats its last, which costs no bits of a code.
        let last = centroids.last().copied().unwrap_or(f32::MIN_POSITIVE);
        codebook.extend(centroids);
        codebook.resize(start + entries, last);
    }
    Ok((codebook, codes))
}

/// The weight without the zeros among its kept values, where its form can do without.
fn without_zeros(weight: &Weight) -> Result<Weight, CompressError> {
    let whole = matches!(
        weight.support(),
        Support::Blocks { .. } | Support::Channels(_)
    );
    let Values::F32(values) = weight.values() else {
        return Ok(weight.clone());
    };
    if whole || !values.contains(&0.0) {
        return Ok(weight.clone());
    }
    let there: Vec<bool> = weight.to_f32().iter().map(|&v| v != 0.0).collect();
    let support = weight.support().narrowed(Bitmask::from_bools(&there));
    let values = Values::F32(values.iter().copied().filter(|&v| v != 0.0).collect());
    Ok(Weight::new(weight.shape().clone(), support, values)?)
}

/// Lloyd's algorithm on the line: ascending centroids, at most `levels`.
pub fn centroids(values: &[f32], levels: usize, init: Init, seed: u64) -> Vec<f32> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f32::total_cmp);
    let (Some(&lo), Some(&hi)) = (sorted.first(), sorted.last()) else {
        return Vec::new();
    };
    let mut sums = vec![0.0f64; sorted.len() + 1];
    for (i, &v) in sorted.iter().enumerate() {
        sums[i + 1] = sums[i] + f64::from(v);
    }

    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut centres: Vec<f32> = (0..levels)
        .map(|i| match init {
            Init::Linear => lo + (hi - lo) * i as f32 / (levels - 1) as f32,
            Init::Density => {
                sorted[((2 * i + 1) * sorted.len() / (2 * levels)).min(sorted.len() - 1)]
            }
            Init::Random => sorted[rng.random_range(0..sorted.len())],
        })
        .collect();
    settle(&mut centres);

    // Clusters of sorted values are runs, so one step costs a search for each
    // boundary; it converges long before the limit.
    for _ in 0..300 {
        let mut next = Vec::with_capacity(centres.len());
        let mut start = 0;
        for (i, _) in centres.iter().enumerate() {
            let end = match centres.get(i + 1) {
                Some(&right) => {
                    let middle = (centres[i] + right) / 2.0;
                    start + sorted[start..].partition_point(|&v| v <= middle)
                }
                None => sorted.len(),
            };
            if end > start {
                next.push(((sums[end] - sums[start]) / (end - start) as f64) as f32);
            }
            start = end;
        }
        settle(&mut next);
        if next == centres {
            break;
        }
        centres = next;
    }
    centres
}

/// Index of the closest of ascending centroids.
pub fn nearest(centroids: &[f32], value: f32) -> usize {
    let right = centroids.partition_point(|&c| c < value);
    match (right.checked_sub(1), centroids.get(right)) {
        (Some(left), Some(&c)) if c - value >= value - centroids[left] => left,
        (Some(left), None) => left,
        _ => right,
    }
}

fn settle(centres: &mut Vec<f32>) {
    centres.sort_by(f32::total_cmp);
    centres.dedup();
    for centre in centres {
        // A centroid of exactly zero would make kept weights vanish.
        if *centre == 0.0 {
            *centre = f32::MIN_POSITIVE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn loss(values: &[f32], centres: &[f32]) -> f64 {
        let distance = |&v: &f32| f64::from(v - centres[nearest(centres, v)]).powi(2);
        values.iter().map(distance).sum()
    }

    #[test]
    fn separate_groups_are_found() {
        let values = [-1.0, -1.1, -0.9, 2.0, 2.1, 1.9];
        let found = centroids(&values, 2, Init::Linear, 0);
        assert!(
            (found[0] + 1.0).abs() < 1e-5 && (found[1] - 2.0).abs() < 1e-5,
            "{found:?}"
        );
    }

    #[test]
    fn zeros_stay_zeros_in_a_dense_weight() {
        let shape = secateur_model::Shape::new(&[2, 3]).unwrap();
        let weight = Weight::dense(shape, vec![0.0, 1.0, 0.1, -1.0, 0.0, 0.9]).unwrap();
        let shared = share(&weight, 2, Codebooks::PerLayer, Init::Linear, 0).unwrap();
        let zeros: Vec<bool> = shared.to_f32().iter().map(|&v| v == 0.0).collect();
        assert_eq!(zeros, [true, false, false, false, true, false]);
        assert_eq!(shared.kept(), 4);
    }

    #[test]
    fn channels_have_values_of_their_own() {
        let shape = secateur_model::Shape::new(&[3, 4]).unwrap();
        let values = vec![
            1.0, 1.1, 5.0, 0.0, //
            -30.0, -40.0, -30.0, -40.0, //
            0.0, 0.0, 0.0, 0.0,
        ];
        let weight = Weight::dense(shape, values).unwrap();
        let shared = |codebooks| share(&weight, 2, codebooks, Init::Linear, 0).unwrap();
        let own = shared(Codebooks::PerChannel);
        let expected = [
            1.05, 1.05, 5.0, 0.0, -30.0, -40.0, -30.0, -40.0, 0.0, 0.0, 0.0, 0.0,
        ];
        assert_eq!(own.to_f32(), expected);
        assert_eq!((own.entries_of_a_row(), own.bits()), (Some(2), 1));
        assert_eq!(shared(Codebooks::PerLayer).entries_of_a_row(), None);
    }

    #[test]
    fn codebooks_of_too_many_channels_are_refused() {
        let shape = secateur_model::Shape::new(&[2, 40_000]).unwrap();
        let values = (1..=80_000).map(|i| i as f32).collect();
        let weight = Weight::dense(shape, values).unwrap();
        let wrong = share(&weight, 40_000, Codebooks::PerChannel, Init::Linear, 0).unwrap_err();
        assert!(wrong.to_string().contains("at most 32768"), "{wrong}");
    }

    proptest! {
        #[test]
        fn never_worse_than_the_start(
            values in prop::collection::vec(-3f32..3.0, 1..200),
            levels in 2usize..20,
        ) {
            let found = centroids(&values, levels, Init::Linear, 1);
            let (lo, hi) = values.iter().fold((f32::MAX, f32::MIN), |(l, h), &v| (l.min(v), h.max(v)));
            let start: Vec<f32> = (0..levels).map(|i| lo + (hi - lo) * i as f32 / (levels - 1) as f32).collect();
            prop_assert!(found.len() <= levels);
            prop_assert!(found.iter().all(|&c| c != 0.0));
            prop_assert!(loss(&values, &found) <= loss(&values, &start) + 1e-4);
        }
    }
}
