//! The range that keeps most of a distribution: least Kullback-Leibler divergence
//! between what is seen and what is left of it after quantization (TensorRT,
//! Migacz 2017).

/// The number of bins, of equal width from 0, that the range should take in, for
/// so many levels. All of them where there are no more bins than levels.
pub fn bins_in_range(counts: &[u64], levels: usize) -> usize {
    let mut counts: Vec<f64> = counts.iter().map(|&c| c as f64).collect();
    let last = counts.iter().rposition(|&c| c > 0.0).map_or(0, |i| i + 1);
    counts.truncate(last);
    // Zeros are exact on every grid: their number says nothing about the range.
    if counts.len() > 1 {
        counts[0] = counts[1];
    }
    let candidates = levels.max(1)..counts.len() + 1;
    let best = candidates.min_by(|&a, &b| {
        let [a, b] = [a, b].map(|bins| divergence(&counts, bins, levels));
        a.total_cmp(&b)
    });
    best.unwrap_or(counts.len())
}

/// `KL(P || Q)` of the first `bins`: P with all that lies beyond in its last bin, Q
/// what is in range spread over the levels.
fn divergence(counts: &[f64], bins: usize, levels: usize) -> f64 {
    let beyond: f64 = counts[bins..].iter().sum();
    let total: f64 = counts.iter().sum();
    let inside: f64 = counts[..bins].iter().sum();
    if inside <= 0.0 || total <= 0.0 {
        return f64::INFINITY;
    }
    let mut sum = 0.0;
    for level in 0..levels {
        let (from, to) = (level * bins / levels, (level + 1) * bins / levels);
        let taken = &counts[from..to];
        let occupied = taken.iter().filter(|&&c| c > 0.0).count();
        let mean = taken.iter().sum::<f64>() / occupied.max(1) as f64;
        for (at, &count) in taken.iter().enumerate() {
            let is_last = from + at + 1 == bins;
            let p = (count + if is_last { beyond } else { 0.0 }) / total;
            let q = if count > 0.0 { mean / inside } else { 0.0 };
            if p > 0.0 {
                // An empty bin that all beyond would fall into: half a count stands there.
                let q = if q > 0.0 { q } else { 0.5 / inside };
                sum += p * (p / q).ln();
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_distribution_is_kept_whole_and_a_far_outlier_is_not() {
        assert_eq!(bins_in_range(&[100; 256], 64), 256);
        let mut counts = vec![0u64; 2048];
        (0..256).for_each(|i| counts[i] = 10_000);
        counts[2047] = 1;
        let found = bins_in_range(&counts, 128);
        assert!((256..400).contains(&found), "{found}");
    }

    #[test]
    fn few_bins_are_all_in_range() {
        assert_eq!(bins_in_range(&[1, 2, 3, 0], 128), 3);
        assert_eq!(bins_in_range(&[0; 8], 4), 0);
        assert_eq!(bins_in_range(&[], 4), 0);
    }
}
