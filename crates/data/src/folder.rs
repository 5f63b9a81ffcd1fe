//! A folder of pictures as a data set: one folder a class.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    DataError, Dataset, Normalize, Pixels, Split,
    image::{self, Picture},
    split::{held_out, set_name},
};

/// A picture's file and the number of its class.
type Labelled = (PathBuf, u32);

/// Loads `class/*.png|jpg|jpeg`, or the same under `train/` and `test/`, if there is any such
/// picture. Classes are in the order of their names.
pub(crate) fn load(dir: &Path) -> Result<Option<Split>, DataError> {
    let parts = [dir.join("train"), dir.join("test")];
    if parts.iter().all(|part| part.is_dir()) {
        let [train_dir, test_dir] = &parts;
        let classes = class_names(train_dir)?;
        let unknown = class_names(test_dir)?
            .into_iter()
            .find(|class| !classes.contains(class));
        if let Some(unknown) = unknown {
            let place = test_dir.join(unknown).display().to_string();
            return Err(DataError::malformed(
                place,
                "class",
                classes.join(", "),
                "none of them",
            ));
        }
        let mut first = None;
        let mut part = |dir| decode(&pictures(dir, &classes)?, &mut first);
        let (mut train, mut test) = (part(train_dir)?, part(test_dir)?);
        same_channels(&mut [&mut train, &mut test]);
        return Ok(Some(Split {
            train: dataset(dir, train_dir, train, &classes)?,
            test: dataset(dir, test_dir, test, &classes)?,
        }));
    }
    let classes = class_names(dir)?;
    let all = pictures(dir, &classes)?;
    if all.is_empty() {
        return Ok(None);
    }
    let mut all = decode(&all, &mut None)?;
    same_channels(&mut [&mut all]);
    let place = dir.display().to_string();
    held_out(dataset(dir, dir, all, &classes)?, place).map(Some)
}

/// The folders in `dir`, sorted, without hidden ones.
fn class_names(dir: &Path) -> Result<Vec<String>, DataError> {
    let mut names = Vec::new();
    for path in entries(dir)? {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() && !name.starts_with('.') {
            names.push(name);
        }
    }
    Ok(names)
}

pub(crate) fn entries(dir: &Path) -> Result<Vec<PathBuf>, DataError> {
    let entries = fs::read_dir(dir).map_err(DataError::io(dir))?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()).map_err(DataError::io(dir)))
        .collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    Ok(paths)
}

/// Whether a file's name says that it is a picture.
pub(crate) fn is_picture(path: &Path) -> bool {
    let extension = path
        .extension()
        .and_then(|e| e.to_str())
        .map(str::to_ascii_lowercase);
    matches!(extension.as_deref(), Some("png" | "jpg" | "jpeg"))
}

fn pictures(dir: &Path, classes: &[String]) -> Result<Vec<Labelled>, DataError> {
    let mut found = Vec::new();
    for (class, label) in classes.iter().zip(0..) {
        let folder = dir.join(class);
        if folder.is_dir() {
            found.extend(
                entries(&folder)?
                    .into_iter()
                    .filter(|path| is_picture(path))
                    .map(|path| (path, label)),
            );
        }
    }
    Ok(found)
}

/// Decodes the pictures, which must have the size of `first`; the first one decoded becomes it.
fn decode(
    files: &[Labelled],
    first: &mut Option<Picture>,
) -> Result<Vec<(Picture, u32)>, DataError> {
    let mut decoded = Vec::with_capacity(files.len());
    for (path, label) in files {
        let place = path.display().to_string();
        let bytes = fs::read(path).map_err(DataError::io(path))?;
        let picture = image::decode(&bytes, &place)?;
        let (height, width) = (picture.height, picture.width);
        let first = first.get_or_insert_with(|| picture.clone());
        if (first.height, first.width) != (height, width) {
            let needed = format!(
                "{}x{} as the first (nothing is resized)",
                first.width, first.height
            );
            let there = format!("{width}x{height}");
            return Err(DataError::malformed(
                place,
                "size of the image",
                needed,
                there,
            ));
        }
        decoded.push((picture, *label));
    }
    Ok(decoded)
}

/// Leaves all gray where all are gray, else makes all RGB.
fn same_channels(parts: &mut [&mut Vec<(Picture, u32)>]) {
    let any_rgb = parts
        .iter()
        .any(|part| part.iter().any(|(picture, _)| picture.channels == 3));
    if any_rgb {
        for part in parts {
            **part = std::mem::take(*part)
                .into_iter()
                .map(|(p, label)| (p.into_rgb(), label))
                .collect();
        }
    }
}

/// A part of the set that `root` holds, from the pictures in `dir`.
fn dataset(
    root: &Path,
    dir: &Path,
    decoded: Vec<(Picture, u32)>,
    classes: &[String],
) -> Result<Dataset, DataError> {
    let Some((first, _)) = decoded.first() else {
        let place = dir.display().to_string();
        return Err(DataError::Empty { place });
    };
    let (channels, height, width) = (first.channels, first.height, first.width);
    let mut pixels = Vec::with_capacity(decoded.len().saturating_mul(first.pixels.len()));
    let mut labels = Vec::with_capacity(decoded.len());
    for (picture, label) in decoded {
        pixels.extend(picture.pixels);
        labels.push(label);
    }
    let normalize = Normalize::unit(channels);
    Dataset::new(
        set_name(root),
        channels,
        height,
        width,
        classes.to_vec(),
        Pixels::U8(pixels),
        labels,
        normalize,
    )
}

#[cfg(test)]
mod tests {
    use ::image::{GrayImage, Luma, Rgb, RgbImage};

    use super::*;

    fn gray(path: &Path, value: u8, width: u32) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        GrayImage::from_pixel(width, 2, Luma([value]))
            .save(path)
            .unwrap();
    }

    #[test]
    fn classes_are_folders() {
        let dir = tempfile::tempdir().unwrap();
        for i in 0..3 {
            gray(&dir.path().join(format!("b/{i}.png")), 200, 3);
            gray(&dir.path().join(format!("a/{i}.PNG")), 100, 3);
        }
        fs::write(dir.path().join("a/notes.txt"), "no picture").unwrap();
        let split = load(dir.path()).unwrap().unwrap();
        assert_eq!((split.train.len(), split.test.len()), (5, 1));
        assert_eq!(
            (split.train.channels, split.train.height, split.train.width),
            (1, 2, 3)
        );
        assert_eq!(split.train.classes, ["a", "b"]);
        for (i, &label) in split.train.labels().iter().enumerate() {
            assert_eq!(
                split.train.raw_u8(i).unwrap(),
                [if label == 0 { 100 } else { 200 }; 6]
            );
        }
    }

    #[test]
    fn one_coloured_picture_makes_all_rgb_in_both_parts() {
        let dir = tempfile::tempdir().unwrap();
        gray(&dir.path().join("train/a/0.png"), 7, 3);
        gray(&dir.path().join("train/b/0.jpg"), 7, 3);
        gray(&dir.path().join("test/b/0.png"), 7, 3);
        RgbImage::from_pixel(3, 2, Rgb([1, 2, 3]))
            .save(dir.path().join("test/b/1.png"))
            .unwrap();
        let split = load(dir.path()).unwrap().unwrap();
        assert_eq!((split.train.channels, split.test.channels), (3, 3));
        assert_eq!(split.train.raw_u8(0).unwrap(), [7; 18]);
        assert_eq!(split.test.labels(), [1, 1]);
        gray(&dir.path().join("test/c/0.png"), 7, 3);
        assert!(load(dir.path()).unwrap_err().to_string().contains("test/c"));
    }

    #[test]
    fn another_size_is_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        gray(&dir.path().join("a/0.png"), 7, 3);
        gray(&dir.path().join("a/1.png"), 7, 4);
        let message = load(dir.path()).unwrap_err().to_string();
        assert!(
            message.contains("1.png") && message.contains("3x2"),
            "{message}"
        );
        fs::write(dir.path().join("a/1.png"), b"\x89PNG").unwrap();
        assert!(load(dir.path()).unwrap_err().to_string().contains("1.png"));
        assert_eq!(load(&dir.path().join("a")).unwrap(), None);
    }
}
