//! Readers of data sets.

use crate::{NAME, names_the_file};
use secateur_data::{Array, DataError, Values, read_cifar, read_idx, read_npy, read_npz};

/// IDX, gzipped or not.
pub fn idx(bytes: &[u8]) {
    array(read_idx(bytes, NAME));
}

/// NumPy's `.npy`.
pub fn npy(bytes: &[u8]) {
    array(read_npy(bytes, NAME));
}

/// NumPy's `.npz`.
pub fn npz(bytes: &[u8]) {
    match read_npz(bytes, NAME) {
        Err(error) => names_the_file(&error),
        Ok(arrays) => arrays.into_values().for_each(|a| array(Ok(a))),
    }
}

/// PNG and JPEG.
pub fn image(bytes: &[u8]) {
    match secateur_data::image::decode(bytes, NAME) {
        Err(error) => names_the_file(&error),
        Ok(picture) => {
            let values = picture.channels * picture.height * picture.width;
            assert!(matches!(picture.channels, 1 | 3));
            assert_eq!(picture.pixels.len(), values);
        }
    }
}

/// CIFAR-10's binary version.
pub fn cifar(bytes: &[u8]) {
    match read_cifar(bytes, NAME) {
        Err(error) => names_the_file(&error),
        Ok(set) => {
            assert_eq!(bytes.len(), set.len() * (1 + set.image_len()));
            let mut image = vec![0.0; set.image_len()];
            set.gather(&[set.len() - 1], &mut image);
            assert!(image.iter().all(|x| x.is_finite()));
        }
    }
}

/// An error that names the file, or as many values as the shape says.
fn array(read: Result<Array, DataError>) {
    match read {
        Err(error) => names_the_file(&error),
        Ok(Array { shape, values }) => {
            let values = match values {
                Values::U8(values) => values.len(),
                Values::F32(values) => values.len(),
                Values::I64(values) => values.len(),
            };
            assert_eq!(values, shape.iter().product::<usize>());
        }
    }
}
