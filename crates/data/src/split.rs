use std::path::Path;

use crate::{
    Array, DataError, Dataset, KnownSet, Normalize, array::Images, cifar, digits, folder, idx_dir,
    npz, read_idx, voc,
};

/// A set as it is used.
///
/// Own data that comes in one part is split: a sixth of it, drawn by a shuffle that is always
/// the same, is the test part (see [`Dataset::split`]).
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    /// What a network learns from.
    pub train: Dataset,
    /// What it is judged by.
    pub test: Dataset,
}

/// Loads a known set by its name (`mnist`, `fashion-mnist`, `cifar10`, `digits`), else own data
/// from a path. A known name wins over a path; `./mnist` is always a path.
///
/// A path is one of
/// - a folder of images, `class/*.png|jpg|jpeg`, with `train/` and `test/` above the classes or
///   without; gray if all are gray;
/// - a folder like PASCAL VOC's, `Annotations/*.xml`, `JPEGImages` and the lists in
///   `ImageSets/Main`: pictures with boxes, scaled to a longer side of 256 pixels;
/// - a folder with IDX files: MNIST's four, or one pair whose names differ in `images`/`labels`;
/// - a folder with `x.npy` and `y.npy`, or a `.npz` file or folder of arrays called `x_train`,
///   `y_train`, `x_test`, `y_test` (or `train_images`, `train_labels`, `test_images`,
///   `test_labels`), or `x` and `y`, or `images` and `labels`.
///
/// Bytes are divided by 255; float arrays are taken as they are.
///
/// # Errors
/// An unknown name, a set that is not fetched or whose files do not have the pinned SHA-256,
/// and everything that can be wrong with a file; the error names it.
///
/// ```
/// let digits = secateur_data::load("digits")?;
/// assert_eq!((digits.train.len(), digits.test.len()), (1437, 360));
/// # Ok::<(), secateur_data::DataError>(())
/// ```
pub fn load(name_or_path: &str) -> Result<Split, DataError> {
    load_sized(name_or_path, None)
}

/// The same, with pictures scaled to `[height, width]` pixels where the set is scaled at all: for
/// a network that takes pictures of this size only.
///
/// # Errors
/// As [`load`].
pub fn load_sized(name_or_path: &str, size: Option<[usize; 2]>) -> Result<Split, DataError> {
    match name_or_path.parse::<KnownSet>() {
        Ok(KnownSet::Digits) => digits::load(),
        Ok(KnownSet::Cifar10) => cifar::load(),
        Ok(set) => mnist_like(set),
        Err(unknown) => {
            let path = Path::new(name_or_path);
            if !path.exists() {
                return Err(unknown);
            }
            own(path, size)
        }
    }
}

fn own(path: &Path, size: Option<[usize; 2]>) -> Result<Split, DataError> {
    let needed = "an .npz file, or a folder with x.npy and y.npy, IDX files, class folders of images or VOC's";
    if path.is_file() {
        if path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("npz"))
        {
            return npz::load_file(path);
        }
        return Err(DataError::Layout {
            path: path.into(),
            needed,
        });
    }
    if let Some(split) = voc::load(path, size)? {
        return Ok(split);
    }
    for layout in [npz::load_dir, idx_dir::load, folder::load] {
        if let Some(split) = layout(path)? {
            return Ok(split);
        }
    }
    Err(DataError::Layout {
        path: path.into(),
        needed,
    })
}

fn mnist_like(set: KnownSet) -> Result<Split, DataError> {
    let mut arrays = Vec::new();
    for file in set.files() {
        let place = set.folder().join(file.name).display().to_string();
        arrays.push(Named {
            array: read_idx(&set.read(file)?, &place)?,
            place,
        });
    }
    let classes = match set {
        KnownSet::FashionMnist => named(&[
            "t-shirt/top",
            "trouser",
            "pullover",
            "dress",
            "coat",
            "sandal",
            "shirt",
            "sneaker",
            "bag",
            "ankle boot",
        ]),
        _ => numbered(10),
    };
    let parts: Result<[Named; 4], _> = arrays.try_into();
    let [train_x, train_y, test_x, test_y] = parts.map_err(|_| DataError::Empty {
        place: set.to_string(),
    })?;
    Ok(Split {
        train: dataset(set.name(), train_x, train_y, &classes)?,
        test: dataset(set.name(), test_x, test_y, &classes)?,
    })
}

/// An array and what errors call it.
pub(crate) struct Named {
    pub place: String,
    pub array: Array,
}

/// Images and labels of one part, before they are checked.
pub(crate) type Pair = (Named, Named);

/// No set is taken to have more classes than this; a larger label is an error.
const MAX_CLASSES: usize = 1 << 16;

/// Joins own arrays into a set whose classes are numbered, as many as the train part has.
pub(crate) fn from_pairs(name: &str, train: Pair, test: Option<Pair>) -> Result<Split, DataError> {
    let (images, labels) = train;
    let place = images.place.clone();
    let largest = labels
        .array
        .clone()
        .into_labels(&labels.place, MAX_CLASSES)?
        .into_iter()
        .max();
    let classes = numbered(largest.map_or(0, |label| label as usize + 1));
    let train = dataset(name, images, labels, &classes)?;
    let Some((images, labels)) = test else {
        return held_out(train, place);
    };
    let place = images.place.clone();
    let test = dataset(name, images, labels, &classes)?;
    let shape = |set: &Dataset| [set.channels, set.height, set.width];
    if shape(&train) != shape(&test) {
        let (needed, there) = (
            format!("{:?} as in train", shape(&train)),
            format!("{:?}", shape(&test)),
        );
        return Err(DataError::malformed(
            place,
            "channels, height, width",
            needed,
            there,
        ));
    }
    Ok(Split { train, test })
}

/// Splits a set that came in one part, from `place`: a sixth of it becomes the test part.
pub(crate) fn held_out(set: Dataset, place: String) -> Result<Split, DataError> {
    if set.len() < 2 {
        let there = set.len();
        return Err(DataError::malformed(
            place,
            "number of images",
            "2 or more to split",
            there,
        ));
    }
    let (train, test) = set.split((set.len() / 6).max(1), 0);
    Ok(Split { train, test })
}

fn dataset(
    name: &str,
    images: Named,
    labels: Named,
    classes: &[String],
) -> Result<Dataset, DataError> {
    let Images {
        count,
        channels,
        height,
        width,
        pixels,
    } = images.array.into_images(&images.place)?;
    let labels_place = labels.place;
    let labels = labels.array.into_labels(&labels_place, classes.len())?;
    if labels.len() != count {
        let needed = format!("{count}, the images in {}", images.place);
        return Err(DataError::malformed(
            labels_place,
            "number of labels",
            needed,
            labels.len(),
        ));
    }
    let normalize = Normalize::unit(channels);
    Dataset::new(
        name,
        channels,
        height,
        width,
        classes.to_vec(),
        pixels,
        labels,
        normalize,
    )
}

pub(crate) fn numbered(classes: usize) -> Vec<String> {
    (0..classes).map(|class| class.to_string()).collect()
}

pub(crate) fn named(classes: &[&str]) -> Vec<String> {
    classes.iter().map(|&class| class.into()).collect()
}

/// What a set read from `path` is called.
pub(crate) fn set_name(path: &Path) -> String {
    path.file_stem()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Values;

    fn pair(shape: &[usize], labels: &[u8]) -> Pair {
        let pixels = vec![9; shape.iter().product()];
        let x = Array {
            shape: shape.into(),
            values: Values::U8(pixels),
        };
        let y = Array {
            shape: vec![labels.len()],
            values: Values::U8(labels.into()),
        };
        (
            Named {
                place: "x".into(),
                array: x,
            },
            Named {
                place: "y".into(),
                array: y,
            },
        )
    }

    #[test]
    fn one_part_gives_a_sixth_to_test() {
        let split = from_pairs("own", pair(&[12, 2, 2], &[0, 1].repeat(6)), None).unwrap();
        assert_eq!((split.train.len(), split.test.len()), (10, 2));
        assert_eq!(split.train.classes, ["0", "1"]);
        let message = from_pairs("own", pair(&[1, 2, 2], &[0]), None)
            .unwrap_err()
            .to_string();
        assert!(message.contains("2 or more"), "{message}");
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let message = |train, test| from_pairs("own", train, test).unwrap_err().to_string();
        let train = || pair(&[2, 2, 2], &[0, 1]);
        assert!(message(train(), Some(pair(&[1, 2, 2], &[2]))).contains("label 2 of image 0"));
        assert!(message(train(), Some(pair(&[1, 3, 2], &[0]))).contains("as in train"));
        assert!(message(pair(&[2, 2, 2], &[0]), None).contains("number of labels"));
        assert!(message(pair(&[0, 2, 2], &[]), None).contains("empty"));
    }

    #[test]
    fn unknown_names_are_told_the_known() {
        let message = load("no-such-set").unwrap_err().to_string();
        assert!(
            message.contains("\"no-such-set\"") && message.contains("cifar10"),
            "{message}"
        );
    }

    #[test]
    fn mnist_has_its_well_known_histogram() {
        if !KnownSet::Mnist.is_cached() {
            eprintln!("skipped: mnist is not in the cache");
            return;
        }
        let Split { train, test } = load("mnist").unwrap();
        assert_eq!(
            (train.len(), test.len(), train.image_len()),
            (60_000, 10_000, 784)
        );
        let mut counts = [0; 10];
        train
            .labels()
            .iter()
            .for_each(|&label| counts[label as usize] += 1);
        assert_eq!(
            counts,
            [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
        );
        assert_eq!(test.labels()[..5], [7, 2, 1, 0, 4]);
        let mut image = vec![0.0; 784];
        train.gather(&[0], &mut image);
        assert_eq!(image.iter().copied().fold(0.0, f32::max), 1.0);
    }
}
