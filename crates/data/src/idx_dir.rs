//! A folder of IDX files as a data set.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    DataError, Split, read_idx,
    split::{Named, Pair, from_pairs, set_name},
};

/// The files of one part.
#[derive(Default)]
struct Files {
    images: Option<PathBuf>,
    labels: Option<PathBuf>,
}

/// Loads a folder of IDX files, if it has any: names with `idx` or `ubyte` in them, a pair of
/// which differs only in `images`/`labels` (and its number of dimensions, and `.gz`).
pub(crate) fn load(dir: &Path) -> Result<Option<Split>, DataError> {
    let mut parts: BTreeMap<String, Files> = BTreeMap::new();
    for entry in fs::read_dir(dir).map_err(DataError::io(dir))? {
        let path = entry.map_err(DataError::io(dir))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        let name = name.to_ascii_lowercase();
        if !path.is_file() || !(name.contains("idx") || name.contains("ubyte")) {
            continue;
        }
        let files = parts.entry(part_key(&name)).or_default();
        let slot = if name.contains("images") {
            &mut files.images
        } else if name.contains("labels") {
            &mut files.labels
        } else {
            continue;
        };
        // Where a file is there both plain and gzipped, the plain one needs no unpacking.
        if slot.is_none() || !name.ends_with(".gz") {
            *slot = Some(path);
        }
    }
    let mut pairs = Vec::new();
    for (key, files) in parts {
        if let Files {
            images: Some(images),
            labels: Some(labels),
        } = files
        {
            pairs.push((key, images, labels));
        }
    }
    let is_test = |key: &str| key.contains("t10k") || key.contains("test");
    let (tests, trains): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|(key, ..)| is_test(key));
    let name = set_name(dir);
    match (trains.as_slice(), tests.as_slice()) {
        ([], []) => Ok(None),
        ([one], []) | ([], [one]) => from_pairs(&name, read(one)?, None).map(Some),
        ([train], [test]) => from_pairs(&name, read(train)?, Some(read(test)?)).map(Some),
        _ => {
            let there = format!("{} train and {} test pairs", trains.len(), tests.len());
            let place = dir.display().to_string();
            Err(DataError::malformed(
                place,
                "IDX files",
                "one pair, or a train and a test pair",
                there,
            ))
        }
    }
}

/// What is the same in the names of a pair.
fn part_key(name: &str) -> String {
    let name = name
        .strip_suffix(".gz")
        .unwrap_or(name)
        .replace(['.', '_'], "-");
    let name = name.replace("images", "").replace("labels", "");
    name.replace(|c: char| c.is_ascii_digit(), "#")
        .replace("t##k", "t10k")
}

fn read((_, images, labels): &(String, PathBuf, PathBuf)) -> Result<Pair, DataError> {
    let array = |path: &Path| {
        let place = path.display().to_string();
        let array = read_idx(&fs::read(path).map_err(DataError::io(path))?, &place)?;
        Ok(Named { place, array })
    };
    Ok((array(images)?, array(labels)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_pair(dir: &Path, images: &str, labels: &str, count: u8) {
        let n = count as usize;
        fs::write(
            dir.join(images),
            [
                &[0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, 1, 0, 0, 0, 2][..],
                &vec![5; 2 * n],
            ]
            .concat(),
        )
        .unwrap();
        fs::write(
            dir.join(labels),
            [&[0, 0, 8, 1, 0, 0, 0, count][..], &vec![1; n]].concat(),
        )
        .unwrap();
    }

    #[test]
    fn reads_both_spellings_and_lone_pairs() {
        let sizes = |names: &[(&str, &str, u8)]| {
            let dir = tempfile::tempdir().unwrap();
            names
                .iter()
                .for_each(|(x, y, n)| write_pair(dir.path(), x, y, *n));
            load(dir.path()).map(|split| split.map(|s| (s.train.len(), s.test.len())))
        };
        let dashes = [
            ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", 7),
            ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte", 3),
        ];
        assert_eq!(sizes(&dashes).unwrap(), Some((7, 3)));
        let dots = [
            ("train-images.idx3-ubyte", "train-labels.idx1-ubyte", 7),
            ("t10k-images.idx3-ubyte", "t10k-labels.idx1-ubyte", 3),
        ];
        assert_eq!(sizes(&dots).unwrap(), Some((7, 3)));
        assert_eq!(
            sizes(&[("my_images.idx", "my_labels.idx", 12)]).unwrap(),
            Some((10, 2))
        );
        assert_eq!(sizes(&[]).unwrap(), None);
        let two = [
            ("a-images.idx", "a-labels.idx", 2),
            ("b-images.idx", "b-labels.idx", 2),
        ];
        assert!(
            sizes(&two)
                .unwrap_err()
                .to_string()
                .contains("2 train and 0 test pairs")
        );
    }
}
