//! CIFAR-10: its cached form, and how that is made from the fetched pictures.

use std::path::Path;

use crate::{
    DataError, Dataset, KnownSet, Normalize, Pixels, Split, cache::Pinned, image, split::named,
};

const PLANE: usize = 32 * 32;
const RECORD: usize = 1 + 3 * PLANE;

const CLASSES: [&str; 10] = [
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
];

/// Reads the cached set.
pub(crate) fn load() -> Result<Split, DataError> {
    let part = |file: &Pinned| {
        let place = KnownSet::Cifar10.folder().join(file.name);
        read_cifar(&KnownSet::Cifar10.read(file)?, &place.display().to_string())
    };
    let [train, test] = KnownSet::Cifar10.files() else {
        return Err(DataError::Empty {
            place: "cifar10".into(),
        });
    };
    Ok(Split {
        train: part(train)?,
        test: part(test)?,
    })
}

/// Reads the binary version of CIFAR-10: records of one label byte and the 32×32 red, green and
/// blue planes, 3073 bytes in all. `name` is what errors call the bytes.
///
/// # Errors
/// No record, bytes that are no whole number of records, a label above 9.
///
/// ```
/// let mut record = vec![6];
/// record.extend([128; 3 * 32 * 32]);
/// let set = secateur_data::read_cifar(&record, "one.bin")?;
/// assert_eq!(set.classes[set.labels()[0] as usize], "frog");
/// # Ok::<(), secateur_data::DataError>(())
/// ```
pub fn read_cifar(bytes: &[u8], name: &str) -> Result<Dataset, DataError> {
    let (records, rest) = bytes.as_chunks::<RECORD>();
    if !rest.is_empty() {
        let needed = format!("a multiple of {RECORD} bytes");
        return Err(DataError::malformed(name, "length", needed, bytes.len()));
    }
    let mut pixels = Vec::with_capacity(records.len() * 3 * PLANE);
    let mut labels = Vec::with_capacity(records.len());
    if records.is_empty() {
        return Err(DataError::Empty { place: name.into() });
    }
    for (index, [label, planes @ ..]) in records.iter().enumerate() {
        if usize::from(*label) >= CLASSES.len() {
            return Err(DataError::Label {
                place: name.into(),
                index,
                label: i64::from(*label),
                classes: CLASSES.len(),
            });
        }
        labels.push(u32::from(*label));
        pixels.extend(planes);
    }
    let normalize = Normalize {
        mean: vec![0.4914, 0.4822, 0.4465],
        std: vec![0.2470, 0.2435, 0.2616],
    };
    Dataset::new(
        "cifar10",
        3,
        32,
        32,
        named(&CLASSES),
        Pixels::U8(pixels),
        labels,
        normalize,
    )
}

/// Makes records from pictures 1024 wide, of which a row is an image and a column its pixel
/// `y · 32 + x`, and from labels as a JSON list of numbers.
pub(crate) fn records(
    pictures: &[(&Path, &[u8])],
    labels: (&Path, &[u8]),
) -> Result<Vec<u8>, DataError> {
    let (path, json) = labels;
    let labels: Vec<u8> = serde_json::from_slice(json).map_err(|e| {
        DataError::malformed(
            path.display().to_string(),
            "labels",
            "a JSON list of 0..=9",
            e,
        )
    })?;
    let mut out = Vec::with_capacity(labels.len() * RECORD);
    let mut next = labels.iter();
    for (path, bytes) in pictures {
        let place = path.display().to_string();
        let picture = image::decode(bytes, &place)?;
        if (picture.channels, picture.width) != (3, PLANE) {
            let there = format!("{} channels, width {}", picture.channels, picture.width);
            return Err(DataError::malformed(
                place,
                "picture",
                "RGB, width 1024",
                there,
            ));
        }
        let plane = picture.height * picture.width;
        for (row, &label) in (0..picture.height).zip(&mut next) {
            out.push(label);
            for channel in 0..3 {
                let start = channel * plane + row * PLANE;
                out.extend(picture.pixels.get(start..start + PLANE).unwrap_or_default());
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_become_records() {
        let mut picture = ::image::RgbImage::new(1024, 2);
        picture.put_pixel(33, 1, ::image::Rgb([10, 20, 30]));
        let mut png = std::io::Cursor::new(Vec::new());
        picture
            .write_to(&mut png, ::image::ImageFormat::Png)
            .unwrap();
        let path = Path::new("p.png");
        let bytes = records(&[(path, png.get_ref())], (path, b"[3, 9]")).unwrap();
        let set = read_cifar(&bytes, "records").unwrap();
        assert_eq!(set.labels(), [3, 9]);
        let image = set.raw_u8(1).unwrap();
        assert_eq!(
            [image[33], image[1024 + 33], image[2048 + 33]],
            [10, 20, 30]
        );
        assert_eq!(image.iter().filter(|&&v| v != 0).count(), 3);
        assert!(
            read_cifar(&bytes[1..], "cut")
                .unwrap_err()
                .to_string()
                .contains("multiple of 3073")
        );
        assert!(records(&[], (path, b"[300]")).is_err());
        let mut wrong = bytes.clone();
        wrong[RECORD] = 10;
        assert_eq!(
            read_cifar(&wrong, "a.bin").unwrap_err().to_string(),
            "a.bin: label 10 of image 1 is out of range: needed 0..10"
        );
        assert_eq!(
            read_cifar(&[], "no.bin").unwrap_err().to_string(),
            "no.bin: the data set is empty: needed at least one image"
        );
    }

    #[test]
    fn cached_set_has_as_many_of_each_class() {
        if !KnownSet::Cifar10.is_cached() {
            eprintln!("skipped: cifar10 is not in the cache");
            return;
        }
        let split = load().unwrap();
        for (set, each) in [(&split.train, 5000), (&split.test, 1000)] {
            let mut counts = [0; 10];
            set.labels()
                .iter()
                .for_each(|&label| counts[label as usize] += 1);
            assert_eq!(counts, [each; 10]);
        }
        // the first train image is a frog, the first test image a cat
        assert_eq!((split.train.labels()[0], split.test.labels()[0]), (6, 3));
        assert_eq!(split.train.raw_u8(0).unwrap()[0], 59);
    }
}
