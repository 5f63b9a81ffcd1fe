//! Samples without labels, for what learns from a network and not from classes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use image::imageops::FilterType;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{
    DataError, Dataset, Normalize, Pixels, folder, image as picture, npy, npz, split::set_name,
};

/// What the middle cut of a picture takes of its shorter side, as is usual for ImageNet.
const MIDDLE: f64 = 0.875;
/// What a random cut takes of it, at least.
const LEAST: f64 = 0.4;

/// What a path holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unlabelled {
    /// Pictures in one folder, in the order of their names.
    Pictures(Vec<PathBuf>),
    /// A `.npy` file: images.
    Images(PathBuf),
    /// A `.npz` file: an array for each input of a network.
    Named(PathBuf),
}

impl Unlabelled {
    /// What is there, where it has no labels: a folder with pictures in it, a `.npy` file, a
    /// `.npz` file without the arrays of a labelled set.
    ///
    /// # Errors
    /// A folder or archive that cannot be read.
    pub fn at(path: &Path) -> Result<Option<Self>, DataError> {
        let extension = path
            .extension()
            .and_then(|e| e.to_str())
            .map(str::to_ascii_lowercase);
        Ok(match extension.as_deref() {
            Some("npy") if path.is_file() => Some(Self::Images(path.into())),
            Some("npz") if path.is_file() => {
                (!npz::has_labels(path)?).then(|| Self::Named(path.into()))
            }
            _ if path.is_dir() => {
                let files = folder::entries(path)?;
                let pictures: Vec<_> = files
                    .into_iter()
                    .filter(|p| folder::is_picture(p))
                    .collect();
                (!pictures.is_empty()).then_some(Self::Pictures(pictures))
            }
            _ => None,
        })
    }
}

/// Cuts of pictures as images `[channels, height, width]`, all with label 0 of one class. The first
/// cut of each is its middle, the others are drawn from the seed: somewhere, of another size,
/// half of them mirrored. A picture that has the size already is taken as it is where one
/// cut is asked for.
///
/// # Errors
/// No picture, one that cannot be decoded, extents that no picture has.
pub fn cuts(
    pictures: &[PathBuf],
    [channels, height, width]: [usize; 3],
    each: usize,
    seed: u64,
) -> Result<Dataset, DataError> {
    let mut pixels = Vec::new();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for path in pictures {
        let place = path.display().to_string();
        let whole = picture::open(path)?;
        let sides = picture::sides(channels, height, width, &place)?;
        let (w, h) = (f64::from(whole.width()), f64::from(whole.height()));
        // The largest window of the wanted form.
        let form = f64::from(sides.1) / f64::from(sides.0);
        let largest = w.min(h * form);
        for cut in 0..each {
            if each == 1 && (whole.height(), whole.width()) == sides {
                pixels.extend(picture::planes(&whole, channels));
                continue;
            }
            let (part, x, y, mirrored) = match cut {
                0 => (MIDDLE, 0.5, 0.5, false),
                _ => (
                    rng.random_range(LEAST..=1.0),
                    rng.random_range(0.0..=1.0),
                    rng.random_range(0.0..=1.0),
                    rng.random::<bool>(),
                ),
            };
            let (cut_w, cut_h) = (largest * part, largest * part / form);
            let place = |room: f64, at: f64| (room.max(0.0) * at) as u32;
            let window = whole.crop_imm(
                place(w - cut_w, x),
                place(h - cut_h, y),
                (cut_w as u32).max(1),
                (cut_h as u32).max(1),
            );
            let window = window.resize_exact(sides.1, sides.0, FilterType::CatmullRom);
            let window = if mirrored { window.fliph() } else { window };
            pixels.extend(picture::planes(&window, channels));
        }
    }
    let count = pictures.len() * each;
    let name = pictures
        .first()
        .and_then(|p| p.parent())
        .map_or_else(String::new, set_name);
    unlabelled(name, count, [channels, height, width], Pixels::U8(pixels))
}

/// The images of a `.npy` file, all with label 0 of one class.
///
/// # Errors
/// A file that is no array of images.
pub fn images(path: &Path) -> Result<Dataset, DataError> {
    let place = path.display().to_string();
    let array = npy::read_npy(&fs::read(path).map_err(DataError::io(path))?, &place)?;
    let found = array.into_images(&place)?;
    let shape = [found.channels, found.height, found.width];
    unlabelled(set_name(path), found.count, shape, found.pixels)
}

fn unlabelled(
    name: String,
    count: usize,
    [channels, height, width]: [usize; 3],
    pixels: Pixels,
) -> Result<Dataset, DataError> {
    Dataset::new(
        name,
        channels,
        height,
        width,
        vec!["unlabelled".into()],
        pixels,
        vec![0; count],
        Normalize::unit(channels),
    )
}

#[cfg(test)]
mod tests {
    use ::image::{Rgb, RgbImage};

    use super::*;

    fn gradient(path: &Path, width: u32, height: u32) {
        RgbImage::from_fn(width, height, |x, y| Rgb([x as u8, y as u8, 9]))
            .save(path)
            .unwrap();
    }

    #[test]
    fn pictures_of_any_size_are_cut_and_a_seed_repeats() {
        let dir = tempfile::tempdir().unwrap();
        gradient(&dir.path().join("a.png"), 40, 30);
        gradient(&dir.path().join("b.PNG"), 20, 50);
        fs::write(dir.path().join("notes.txt"), "no picture").unwrap();
        let found = Unlabelled::at(dir.path()).unwrap().unwrap();
        let Unlabelled::Pictures(pictures) = found else {
            panic!("pictures");
        };
        let set = cuts(&pictures, [3, 8, 8], 5, 1).unwrap();
        assert_eq!((set.len(), set.image_len()), (10, 192));
        assert_eq!(set, cuts(&pictures, [3, 8, 8], 5, 1).unwrap());
        assert_ne!(set, cuts(&pictures, [3, 8, 8], 5, 2).unwrap());
        // The middle of the first one, in columns.
        let middle = set.raw_u8(0).unwrap();
        // Columns 3 and 4 lie on either side of the picture's middle, 19.5.
        let sides = u32::from(middle[3]) + u32::from(middle[4]);
        assert!(
            (37..=41).contains(&sides) && middle[0] < middle[7],
            "{middle:?}"
        );
        assert_eq!(cuts(&pictures, [1, 4, 9], 1, 1).unwrap().image_len(), 36);
        assert!(cuts(&[], [3, 8, 8], 5, 1).is_err());
        assert!(cuts(&pictures, [2, 8, 8], 5, 1).is_err());
    }

    #[test]
    fn a_picture_of_the_size_is_taken_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        gradient(&path, 6, 4);
        let set = cuts(&[path], [3, 4, 6], 1, 1).unwrap();
        assert_eq!(set.raw_u8(0).unwrap()[..6], [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn arrays_need_no_labels() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.npy");
        let mut file = Vec::new();
        crate::write_npy(&mut file, &[5, 2, 2], &[7u8; 20]).unwrap();
        fs::write(&path, file).unwrap();
        assert_eq!(
            Unlabelled::at(&path).unwrap(),
            Some(Unlabelled::Images(path.clone()))
        );
        assert_eq!(images(&path).unwrap().len(), 5);
        assert_eq!(Unlabelled::at(&dir.path().join("none")).unwrap(), None);
        assert_eq!(Unlabelled::at(dir.path()).unwrap(), None);
    }
}
