//! Pictures: PNG and JPEG to planar bytes.

use std::{fs, io::Cursor, path::Path};

use image::{DynamicImage, ImageDecoder, ImageReader, Limits, imageops::FilterType};

use crate::DataError;

/// A decoded picture, `[channels, height, width]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// 1 (gray) or 3 (RGB).
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Planar values, `channels · height · width`.
    pub pixels: Vec<u8>,
}

/// A picture is refused when it decodes to more than this times the file's length (which
/// DEFLATE's and JPEG's densest codes do not reach) and [`SLACK`].
const EXPANSION: u64 = 1100;
const SLACK: u64 = 1 << 20;

/// No network takes pictures with more pixels than this.
const MAX_PIXELS: usize = 1 << 26;

/// Decodes a PNG or JPEG file's bytes, gray if it is stored as gray, else RGB. `name` is what
/// errors call it. An alpha channel is dropped; 16-bit values are scaled to 8 bits.
///
/// # Errors
/// Anything that is not such a picture, and one that declares a size out of all proportion to
/// the number of bytes.
pub fn decode(bytes: &[u8], name: &str) -> Result<Picture, DataError> {
    let picture = decode_dynamic(bytes, name)?;
    Ok(if picture.color().has_color() {
        rgb(&picture)
    } else {
        gray(&picture)
    })
}

/// Reads a picture as an input `[channels, height, width]` of a network: turned to gray (luma) or
/// to RGB by `channels`, and resized (bilinear, anti-aliased) where its size is another.
///
/// # Errors
/// As [`decode`], a file that cannot be read, `channels` that are neither 1 nor 3, sides that
/// are zero or beyond 65535, and more than 2^26 pixels.
pub fn load_gray_or_rgb(
    path: &Path,
    channels: usize,
    height: usize,
    width: usize,
) -> Result<Vec<u8>, DataError> {
    let picture = open(path)?;
    scaled(
        &picture,
        channels,
        [height, width],
        path.display().to_string(),
    )
}

/// Decodes a picture's file.
pub(crate) fn open(path: &Path) -> Result<DynamicImage, DataError> {
    let bytes = fs::read(path).map_err(DataError::io(path))?;
    decode_dynamic(&bytes, &path.display().to_string())
}

/// The pixels of a picture, resized to `[height, width]`; `place` is what errors call it.
pub(crate) fn scaled(
    picture: &DynamicImage,
    channels: usize,
    [height, width]: [usize; 2],
    place: String,
) -> Result<Vec<u8>, DataError> {
    let (rows, columns) = sides(channels, height, width, &place)?;
    if (picture.height(), picture.width()) == (rows, columns) {
        return Ok(planes(picture, channels));
    }
    let resized = picture.resize_exact(columns, rows, FilterType::Triangle);
    Ok(planes(&resized, channels))
}

/// The planes of a picture as gray, or as RGB where there are several channels.
pub(crate) fn planes(picture: &DynamicImage, channels: usize) -> Vec<u8> {
    match channels {
        1 => gray(picture).pixels,
        _ => rgb(picture).pixels,
    }
}

/// `(rows, columns)` of a picture as an input; `place` is what an error names.
pub(crate) fn sides(
    channels: usize,
    height: usize,
    width: usize,
    place: &str,
) -> Result<(u32, u32), DataError> {
    let side = |dim: usize| {
        u16::try_from(dim)
            .ok()
            .filter(|&dim| dim > 0)
            .map(u32::from)
    };
    let sides = side(height)
        .zip(side(width))
        .filter(|_| height.saturating_mul(width) <= MAX_PIXELS);
    if let (1 | 3, Some(sides)) = (channels, sides) {
        return Ok(sides);
    }
    let there = format!("[{channels}, {height}, {width}]");
    let needed = "1 or 3 channels, height and width of 1 to 65535, at most 2^26 pixels";
    Err(DataError::malformed(
        place,
        "shape for a picture",
        needed,
        there,
    ))
}

fn decode_dynamic(bytes: &[u8], name: &str) -> Result<DynamicImage, DataError> {
    let failed = |source| DataError::Image {
        place: name.into(),
        source,
    };
    let allowed = (bytes.len() as u64)
        .saturating_mul(EXPANSION)
        .saturating_add(SLACK);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(allowed);
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    let mut reader = reader.map_err(|e| failed(e.into()))?;
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(failed)?;
    if decoder.total_bytes() > allowed {
        let (w, h) = decoder.dimensions();
        let needed = format!(
            "at most {allowed} bytes of pixels from {} bytes",
            bytes.len()
        );
        return Err(DataError::malformed(
            name,
            "size of the picture",
            needed,
            format!("{w}x{h}"),
        ));
    }
    DynamicImage::from_decoder(decoder).map_err(failed)
}

fn gray(picture: &DynamicImage) -> Picture {
    let luma = picture.to_luma8();
    let (width, height) = (luma.width() as usize, luma.height() as usize);
    Picture {
        channels: 1,
        height,
        width,
        pixels: luma.into_raw(),
    }
}

fn rgb(picture: &DynamicImage) -> Picture {
    let rgb = picture.to_rgb8();
    let (width, height) = (rgb.width() as usize, rgb.height() as usize);
    let raw = rgb.as_raw();
    let plane = |channel| raw.iter().copied().skip(channel).step_by(3);
    Picture {
        channels: 3,
        height,
        width,
        pixels: (0..3).flat_map(plane).collect(),
    }
}

impl Picture {
    /// The same picture in RGB: a gray one has its plane three times.
    pub(crate) fn into_rgb(self) -> Self {
        match self.channels {
            1 => Self {
                channels: 3,
                pixels: self.pixels.repeat(3),
                ..self
            },
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use image::{GrayImage, ImageFormat, Luma, Rgb, RgbImage};
    use proptest::prelude::*;

    use super::*;

    fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        picture.write_to(&mut out, format).unwrap();
        out.into_inner()
    }

    fn gradient() -> DynamicImage {
        GrayImage::from_fn(4, 2, |x, y| Luma([(x * 10 + y) as u8])).into()
    }

    #[test]
    fn png_is_planar_and_exact() {
        let picture = decode(&encoded(&gradient(), ImageFormat::Png), "g.png").unwrap();
        assert_eq!((picture.channels, picture.height, picture.width), (1, 2, 4));
        assert_eq!(picture.pixels, [0, 10, 20, 30, 1, 11, 21, 31]);
        let two = RgbImage::from_fn(2, 1, |x, _| Rgb([x as u8, 10, 20 + x as u8]));
        let picture = decode(&encoded(&two.into(), ImageFormat::Png), "c.png").unwrap();
        assert_eq!(picture.pixels, [0, 1, 10, 10, 20, 21]);
    }

    #[test]
    fn loads_the_wanted_shape() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("g.png");
        fs::write(&path, encoded(&gradient(), ImageFormat::Png)).unwrap();
        assert_eq!(
            load_gray_or_rgb(&path, 1, 2, 4).unwrap(),
            [0, 10, 20, 30, 1, 11, 21, 31]
        );
        let rgb = load_gray_or_rgb(&path, 3, 1, 2).unwrap();
        assert_eq!((rgb.len(), &rgb[..2]), (6, &rgb[2..4]));
        assert!(
            load_gray_or_rgb(&path, 2, 1, 2)
                .unwrap_err()
                .to_string()
                .contains("[2, 1, 2]")
        );
        assert!(load_gray_or_rgb(&path, 1, 0, 2).is_err());
        assert!(load_gray_or_rgb(&path, 1, 60_000, 60_000).is_err());
        assert!(load_gray_or_rgb(&dir.path().join("no.png"), 1, 1, 1).is_err());
    }

    #[test]
    fn cut_pictures_are_errors_or_whole_never_panics() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg] {
            let whole = encoded(&gradient(), format);
            for end in 0..whole.len() {
                if let Err(error) = decode(&whole[..end], "cut") {
                    assert!(error.to_string().starts_with("cut: "), "{error}");
                }
            }
        }
        let png = encoded(&gradient(), ImageFormat::Png);
        assert!(decode(&png[..png.len() / 2], "half.png").is_err());
        assert!(decode(b"not a picture", "x.png").is_err());
    }

    #[test]
    fn huge_declared_sizes_are_refused() {
        let mut png = encoded(&gradient(), ImageFormat::Png);
        // IHDR: width and height, then the checksum of the chunk
        png[16..24].copy_from_slice(&[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]);
        let mut crc = flate2::Crc::new();
        crc.update(&png[12..29]);
        png[29..33].copy_from_slice(&crc.sum().to_be_bytes());
        assert!(decode(&png, "huge.png").is_err());
    }

    proptest! {
        #[test]
        fn flipped_bits_never_panic(flip: prop::sample::Index, jpeg: bool) {
            let format = if jpeg { ImageFormat::Jpeg } else { ImageFormat::Png };
            let mut bytes = encoded(&gradient(), format);
            let bit = flip.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let _ = decode(&bytes, "flipped");
        }
    }
}
