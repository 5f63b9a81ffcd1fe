use crate::{DataError, Pixels};

/// An array as a file holds it, in C order, before it is known to be images or labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Length of each dimension, outermost first.
    pub shape: Vec<usize>,
    /// The product of `shape` values.
    pub values: Values,
}

/// The values of an [`Array`]; narrower integers are widened and doubles are rounded to `f32`.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Bytes (and booleans).
    U8(Vec<u8>),
    /// Floats.
    F32(Vec<f32>),
    /// All other integers.
    I64(Vec<i64>),
}

/// The number of values and bytes in an array of this shape, if they can be counted.
pub(crate) fn size(shape: &[usize], item: usize) -> Option<(usize, usize)> {
    let values = shape
        .iter()
        .try_fold(1usize, |size, &dim| size.checked_mul(dim))?;
    Some((values, values.checked_mul(item)?))
}

/// Pixels with their shape `[n, channels, height, width]`.
#[derive(Debug)]
pub(crate) struct Images {
    pub count: usize,
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    pub pixels: Pixels,
}

impl Array {
    /// Takes the array as images: `[n, h, w]`, `[n, c, h, w]`, `[n, h, w, c]` with c of 1 or 3
    /// (where both ends could be channels, the first is), or `[n, features]` as 1×1×features.
    pub(crate) fn into_images(self, place: &str) -> Result<Images, DataError> {
        let pixels = into_pixels(self.values, place)?;
        let (count, channels, height, width, pixels) = match *self.shape.as_slice() {
            [n, features] => (n, 1, 1, features, pixels),
            [n, h, w] => (n, 1, h, w, pixels),
            [n, c @ (1 | 3), h, w] => (n, c, h, w, pixels),
            [n, h, w, c @ (1 | 3)] => (n, c, h, w, planar(pixels, h * w, c)),
            _ => {
                let needed =
                    "[n, h, w], [n, c, h, w] or [n, h, w, c] with c = 1 or 3, or [n, features]";
                let there = format!("{:?}", self.shape);
                return Err(DataError::malformed(
                    place,
                    "shape of the images",
                    needed,
                    there,
                ));
            }
        };
        if pixels.is_empty() {
            return Err(DataError::Empty {
                place: place.into(),
            });
        }
        Ok(Images {
            count,
            channels,
            height,
            width,
            pixels,
        })
    }

    /// Takes the array `[n]` or `[n, 1]` as labels, each in `0..classes`.
    pub(crate) fn into_labels(self, place: &str, classes: usize) -> Result<Vec<u32>, DataError> {
        if !matches!(*self.shape.as_slice(), [_] | [_, 1]) {
            let there = format!("{:?}", self.shape);
            return Err(DataError::malformed(
                place,
                "shape of the labels",
                "[n] or [n, 1]",
                there,
            ));
        }
        let label = |(index, label): (usize, i64)| match u32::try_from(label) {
            Ok(class) if (class as usize) < classes => Ok(class),
            _ => Err(DataError::Label {
                place: place.into(),
                index,
                label,
                classes,
            }),
        };
        match self.values {
            Values::U8(values) => values
                .iter()
                .map(|&v| v.into())
                .enumerate()
                .map(label)
                .collect(),
            Values::I64(values) => values.into_iter().enumerate().map(label).collect(),
            Values::F32(values) => {
                let whole = |(index, value): (usize, f32)| {
                    if value.fract() == 0.0 {
                        return label((index, value as i64));
                    }
                    let place = format!("{place}, value {index}");
                    Err(DataError::malformed(
                        place,
                        "label",
                        "a whole number",
                        value,
                    ))
                };
                values.into_iter().enumerate().map(whole).collect()
            }
        }
    }
}

fn into_pixels(values: Values, place: &str) -> Result<Pixels, DataError> {
    match values {
        Values::U8(values) => Ok(Pixels::U8(values)),
        Values::F32(values) => match values.iter().enumerate().find(|(_, v)| !v.is_finite()) {
            Some((index, &value)) => Err(DataError::NotFinite {
                place: place.into(),
                index,
                value,
            }),
            None => Ok(Pixels::F32(values)),
        },
        Values::I64(values) => {
            let byte = |(index, &value): (usize, &i64)| {
                let wrong = |_| {
                    let place = format!("{place}, value {index}");
                    DataError::malformed(place, "integer pixel", "0..=255", value)
                };
                u8::try_from(value).map_err(wrong)
            };
            values
                .iter()
                .enumerate()
                .map(byte)
                .collect::<Result<_, _>>()
                .map(Pixels::U8)
        }
    }
}

/// `[n, plane, channels] -> [n, channels, plane]`.
fn planar(pixels: Pixels, plane: usize, channels: usize) -> Pixels {
    fn turn<T: Copy>(values: &[T], plane: usize, channels: usize) -> Vec<T> {
        let image = (plane * channels).max(1);
        let mut out = Vec::with_capacity(values.len());
        for image in values.chunks_exact(image) {
            for channel in 0..channels {
                out.extend(image.iter().skip(channel).step_by(channels));
            }
        }
        out
    }
    match pixels {
        _ if channels == 1 => pixels,
        Pixels::U8(values) => Pixels::U8(turn(&values, plane, channels)),
        Pixels::F32(values) => Pixels::F32(turn(&values, plane, channels)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(shape: &[usize]) -> Array {
        let n: usize = shape.iter().product();
        Array {
            shape: shape.into(),
            values: Values::U8((0..n as u8).collect()),
        }
    }

    #[test]
    fn shapes_are_read_by_their_channels() {
        let dims = |shape: &[usize]| {
            let i = bytes(shape).into_images("a").unwrap();
            (i.count, i.channels, i.height, i.width)
        };
        assert_eq!(dims(&[2, 5]), (2, 1, 1, 5));
        assert_eq!(dims(&[2, 4, 5]), (2, 1, 4, 5));
        assert_eq!(dims(&[2, 3, 4, 5]), (2, 3, 4, 5));
        assert_eq!(dims(&[2, 4, 5, 3]), (2, 3, 4, 5));
        assert_eq!(dims(&[2, 4, 5, 1]), (2, 1, 4, 5));
        for wrong in [&[4][..], &[2, 2, 2, 2], &[1, 1, 1, 1, 1]] {
            assert!(
                bytes(wrong)
                    .into_images("a")
                    .unwrap_err()
                    .to_string()
                    .contains("shape")
            );
        }
        assert!(matches!(
            bytes(&[0, 4, 5]).into_images("a"),
            Err(DataError::Empty { .. })
        ));
    }

    #[test]
    fn channels_last_becomes_planar() {
        let images = bytes(&[2, 1, 2, 3]).into_images("a").unwrap();
        // dimension 1 is 1, so this is channels first: nothing moves
        assert_eq!(images.pixels, Pixels::U8((0..12).collect()));
        let images = bytes(&[1, 2, 2, 3]).into_images("a").unwrap();
        assert_eq!(
            images.pixels,
            Pixels::U8(vec![0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11])
        );
    }

    #[test]
    fn labels_are_checked() {
        let labels = |values: Values, n: usize| {
            Array {
                shape: vec![n],
                values,
            }
            .into_labels("l", 3)
        };
        assert_eq!(labels(Values::U8(vec![0, 2]), 2).unwrap(), [0, 2]);
        assert_eq!(labels(Values::F32(vec![1.0]), 1).unwrap(), [1]);
        assert!(
            labels(Values::F32(vec![1.5]), 1)
                .unwrap_err()
                .to_string()
                .contains("whole")
        );
        assert!(labels(Values::F32(vec![f32::NAN]), 1).is_err());
        let message = labels(Values::I64(vec![0, -1]), 2).unwrap_err().to_string();
        assert_eq!(
            message,
            "l: label -1 of image 1 is out of range: needed 0..3"
        );
    }

    #[test]
    fn integers_beyond_a_byte_are_no_pixels() {
        let array = Array {
            shape: vec![1, 2],
            values: Values::I64(vec![255, 256]),
        };
        let message = array.into_images("x.npy").unwrap_err().to_string();
        assert_eq!(
            message,
            "x.npy, value 1: integer pixel: needed 0..=255, found 256"
        );
    }
}
