//! The embedded digits; `assets/NOTICE.md` says where they are from.

use std::array;

use crate::{
    DataError, Dataset, KnownSet, Normalize, Pixels, Split, Values, read_idx, split::numbered,
};

static FILES: [&[u8]; 2] = [
    include_bytes!("../assets/digits-images-idx3-ubyte.gz"),
    include_bytes!("../assets/digits-labels-idx1-ubyte.gz"),
];

/// Every fifth image is in the test part: 1437 train, 360 test.
const TEST_EVERY: usize = 5;

/// The digits, with their values 0..=16 scaled to 0..=255.
pub(crate) fn load() -> Result<Split, DataError> {
    for (file, bytes) in KnownSet::Digits.files().iter().zip(FILES) {
        file.verify(bytes, file.name)?;
    }
    let [images, labels] = FILES;
    let images = read_idx(images, "digits images")?;
    let Values::U8(values) = images.values else {
        return Err(DataError::malformed(
            "digits images",
            "type",
            "bytes",
            "another",
        ));
    };
    let scale: [u8; 256] = array::from_fn(|value| ((value.min(16) * 255 + 8) / 16) as u8);
    let pixels = values
        .iter()
        .map(|&value| scale[usize::from(value)])
        .collect();
    let labels = read_idx(labels, "digits labels")?.into_labels("digits labels", 10)?;
    let normalize = Normalize::unit(1);
    let all = Dataset::new(
        "digits",
        1,
        8,
        8,
        numbered(10),
        Pixels::U8(pixels),
        labels,
        normalize,
    )?;
    let (test, train): (Vec<_>, Vec<_>) = (0..all.len()).partition(|i| i % TEST_EVERY == 0);
    Ok(Split {
        train: all.subset(&train),
        test: all.subset(&test),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_all_there() {
        let Split { train, test } = load().unwrap();
        assert_eq!((train.len(), test.len()), (1437, 360));
        let mut counts = [0; 10];
        for &label in train.labels().iter().chain(test.labels()) {
            counts[label as usize] += 1;
        }
        assert_eq!(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
        // first row of the first image: 0 0 5 13 9 1 0 0, of 16
        assert_eq!(test.raw_u8(0).unwrap()[..8], [0, 0, 80, 207, 143, 16, 0, 0]);
        assert!((0..test.len()).any(|i| test.raw_u8(i).unwrap().contains(&255)));
    }
}
