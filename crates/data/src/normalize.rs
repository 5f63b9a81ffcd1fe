use std::collections::BTreeMap;

use crate::DataError;

/// How 8-bit pixels become the numbers that a network sees: `x = (raw / 255 - mean[c]) / std[c]`.
///
/// A network's metadata can carry the figures that the network was trained with, from which
/// they read back exactly:
///
/// ```
/// use secateur_data::Normalize;
/// let normalize = Normalize::new(vec![0.1307], vec![0.3081])?;
/// let mut metadata = std::collections::BTreeMap::new();
/// normalize.store(&mut metadata);
/// assert_eq!(metadata["mean"], "0.1307");
/// assert_eq!(Normalize::stored(&metadata)?, Some(normalize));
///
/// assert_eq!(Normalize::unit(1).planes(&[0, 51, 255]), [0.0, 0.2, 1.0]);
/// # Ok::<(), secateur_data::DataError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Normalize {
    /// Mean of each channel, in units of full scale (255).
    pub mean: Vec<f32>,
    /// Standard deviation of each channel, in units of full scale (255).
    pub std: Vec<f32>,
}

const MEAN: &str = "mean";
const STD: &str = "std";
/// What errors call a network's metadata.
const PLACE: &str = "metadata";

impl Normalize {
    /// One mean and one standard deviation a channel, in units of full scale (255).
    ///
    /// # Errors
    /// Figures that are none, not finite, not one pair a channel, or deviations that are not
    /// positive.
    pub fn new(mean: Vec<f32>, std: Vec<f32>) -> Result<Self, DataError> {
        let normalize = Self { mean, std };
        normalize.check("normalisation", normalize.mean.len())?;
        Ok(normalize)
    }

    /// `x = raw / 255`: a raw zero stays a zero, which a sparse engine skips.
    pub fn unit(channels: usize) -> Self {
        Self {
            mean: vec![0.0; channels],
            std: vec![1.0; channels],
        }
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.mean.len()
    }

    /// The number that raw value `raw` of channel `channel` stands for.
    /// A channel without figures of its own is only scaled.
    pub fn apply(&self, channel: usize, raw: u8) -> f32 {
        let mean = self.mean.get(channel).copied().unwrap_or(0.0);
        let std = self.std.get(channel).copied().unwrap_or(1.0);
        (f32::from(raw) / 255.0 - mean) / std
    }

    /// The numbers of one image.  raw: `[channels, height, width]` -> the same shape.
    /// What is left over where `raw` is no whole number of channels is left out.
    pub fn planes(&self, raw: &[u8]) -> Vec<f32> {
        let plane = (raw.len() / self.channels().max(1)).max(1);
        let planes = raw.chunks_exact(plane).take(self.channels()).enumerate();
        planes
            .flat_map(|(channel, raw)| {
                let table = self.table(channel);
                raw.iter().map(move |&raw| table[usize::from(raw)])
            })
            .collect()
    }

    /// Puts the figures under `mean` and `std`: the channels' numbers with spaces between.
    pub fn store(&self, metadata: &mut BTreeMap<String, String>) {
        for (key, figures) in [(MEAN, &self.mean), (STD, &self.std)] {
            // Rust writes the shortest digits from which the same float is read.
            let figures: Vec<String> = figures.iter().map(f32::to_string).collect();
            metadata.insert(key.to_owned(), figures.join(" "));
        }
    }

    /// The figures that [`store`](Self::store) put there, if there are any.
    ///
    /// # Errors
    /// One of `mean` and `std` without the other, text that is no list of numbers, and numbers
    /// that [`new`](Self::new) refuses.
    pub fn stored(metadata: &BTreeMap<String, String>) -> Result<Option<Self>, DataError> {
        let list = |key: &'static str| {
            let Some(text) = metadata.get(key) else {
                let needed = format!("`{key}` where there is `mean` or `std`");
                return Err(DataError::malformed(PLACE, key, needed, "none"));
            };
            let figures: Result<Vec<f32>, _> = text.split_whitespace().map(str::parse).collect();
            figures.map_err(|_| {
                let needed = "numbers with spaces between, one a channel";
                DataError::malformed(PLACE, key, needed, format!("{text:?}"))
            })
        };
        if !metadata.contains_key(MEAN) && !metadata.contains_key(STD) {
            return Ok(None);
        }
        Self::new(list(MEAN)?, list(STD)?).map(Some)
    }

    pub(crate) fn table(&self, channel: usize) -> [f32; 256] {
        std::array::from_fn(|raw| self.apply(channel, raw as u8))
    }

    /// Checks the figures for images of `channels` channels; `place` is what an error names.
    pub(crate) fn check(&self, place: &str, channels: usize) -> Result<(), DataError> {
        let Self { mean, std } = self;
        let one_each = channels > 0 && mean.len() == channels && std.len() == channels;
        let finite = mean.iter().chain(std).all(|v| v.is_finite());
        if one_each && finite && std.iter().all(|&s| s > 0.0) {
            return Ok(());
        }
        Err(DataError::malformed(
            place,
            "normalisation",
            format!("{} finite means and positive deviations", channels.max(1)),
            format!("means {mean:?}, deviations {std:?}"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_plane_has_its_own_figures() {
        let normalize = Normalize::new(vec![0.5, 0.0], vec![0.5, 2.0]).unwrap();
        assert_eq!(normalize.planes(&[0, 255, 255, 0]), [-1.0, 1.0, 0.5, 0.0]);
        assert_eq!(normalize.planes(&[0]), [-1.0]);
        assert!(normalize.planes(&[]).is_empty());
    }

    #[test]
    fn figures_that_make_no_sense_are_refused() {
        for (mean, std) in [
            (vec![], vec![]),
            (vec![0.0], vec![0.0]),
            (vec![0.0], vec![1.0, 1.0]),
            (vec![f32::NAN], vec![1.0]),
            (vec![0.0], vec![f32::INFINITY]),
        ] {
            assert!(Normalize::new(mean, std).is_err());
        }
    }

    fn metadata(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn damaged_metadata_is_refused_and_none_is_none() {
        assert_eq!(Normalize::stored(&metadata(&[("x", "y")])).unwrap(), None);
        for (pairs, expected) in [
            (&[("mean", "0")][..], "metadata: std: needed `std`"),
            (&[("std", "1")], "metadata: mean: needed `mean`"),
            (&[("mean", "0"), ("std", "1 x")], "found \"1 x\""),
            (&[("mean", "0"), ("std", "0")], "positive deviations"),
            (&[("mean", ""), ("std", "")], "positive deviations"),
        ] {
            let message = Normalize::stored(&metadata(pairs)).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }

    proptest! {
        #[test]
        fn reads_back_what_it_writes(figures in prop::collection::vec(
            (-1e30f32..1e30, 1e-30f32..1e30), 1..5,
        )) {
            let (mean, std) = figures.into_iter().unzip();
            let normalize = Normalize::new(mean, std).unwrap();
            let mut metadata = BTreeMap::new();
            normalize.store(&mut metadata);
            prop_assert_eq!(Normalize::stored(&metadata).unwrap(), Some(normalize));
        }

        #[test]
        fn any_text_never_panics(mean: String, std: String) {
            let _ = Normalize::stored(&metadata(&[("mean", &mean), ("std", &std)]));
        }
    }
}
