//! Pictures within a page, as PNG data URIs.

use image::{DynamicImage, GrayImage, ImageFormat, RgbImage, RgbaImage};
use secateur_data::Dataset;
use std::io::Cursor;

/// A picture as an address, or nothing where its extents do not fit its pixels.
fn uri(picture: DynamicImage) -> Option<String> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).ok()?;
    Some(format!("data:image/png;base64,{}", base64(bytes.get_ref())))
}

/// Shares of 0 to 255 as more or less of one colour over whatever lies behind.
pub fn shades(width: usize, height: usize, shares: &[u8]) -> Option<String> {
    // Between the light and the dark page's colour of what is kept.
    const KEPT: [u8; 3] = [0xdd, 0x6a, 0x12];
    let [r, g, b] = KEPT;
    let pixels = shares.iter().flat_map(|&share| match share {
        0 => [0; 4],
        share => [r, g, b, share],
    });
    let (width, height) = (u32::try_from(width).ok()?, u32::try_from(height).ok()?);
    uri(RgbaImage::from_raw(width, height, pixels.collect())?.into())
}

/// An image of a data set; numbers that are not pixels are spread from black to white.
pub fn image(data: &Dataset, index: usize) -> Option<String> {
    let planes: Vec<u8> = match data.raw_u8(index) {
        Some(raw) => raw.to_vec(),
        None => {
            let mut values = vec![0.0; data.image_len()];
            data.gather(&[index], &mut values);
            spread(&values)
        }
    };
    let plane = data.height.checked_mul(data.width)?;
    let (height, width) = (
        u32::try_from(data.height).ok()?,
        u32::try_from(data.width).ok()?,
    );
    match data.channels {
        3 => {
            let pixels = (0..plane).flat_map(|i| [0, 1, 2].map(|c| planes[c * plane + i]));
            uri(RgbImage::from_raw(width, height, pixels.collect())?.into())
        }
        // Of channels that are no colours the first is shown.
        _ => uri(GrayImage::from_raw(width, height, planes.get(..plane)?.to_vec())?.into()),
    }
}

fn spread(values: &[f32]) -> Vec<u8> {
    let least = values.iter().copied().fold(f32::INFINITY, f32::min);
    let most = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let span = (most - least).max(f32::MIN_POSITIVE);
    values
        .iter()
        .map(|v| (255.0 * (v - least) / span) as u8)
        .collect()
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let at = |i: usize| u32::from(three.get(i).copied().unwrap_or(0));
        let word = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let letter = LETTERS[(word >> (18 - 6 * place) & 63) as usize];
            // A byte short is a letter short.
            out.push(match place > three.len() {
                true => '=',
                false => char::from(letter),
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        let cases = ["", "f", "fo", "foo", "foob", "fooba", "foobar"];
        let coded = cases.map(|text| base64(text.as_bytes()));
        let known = [
            "", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy",
        ];
        assert_eq!(coded, known);
    }

    #[test]
    fn pictures_come_back() {
        let data = secateur_data::load("digits").unwrap().test;
        let text = image(&data, 3).unwrap();
        let coded = text.strip_prefix("data:image/png;base64,").unwrap();
        assert_eq!(coded.len() % 4, 0);
        assert!(shades(2, 2, &[0, 1, 255, 0]).is_some());
        assert_eq!(shades(2, 3, &[0, 1, 255, 0]), None);
        assert_eq!(spread(&[-1.0, 0.0, 1.0]), [0, 127, 255]);
        assert_eq!(spread(&[2.0, 2.0]), [0, 0]);
    }
}
