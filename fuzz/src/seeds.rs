//! Small files that the readers accept, made by this workspace's own writers.

use crate::networks;
use anyhow::Result;
use flate2::Compression;
use flate2::write::GzEncoder;
use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgb, RgbImage};
use secateur_data::write_npy;
use secateur_io::codec::{Alphabet, Coder, Plane, encode};
use secateur_io::{onnx as onnx_format, sct as sct_format};
use std::io::{Cursor, Write};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// The files of a corpus.
pub type Seeds = Result<Vec<Vec<u8>>>;

/// ONNX files.
pub fn onnx() -> Seeds {
    let graphs = networks::all()?;
    graphs.iter().map(|g| Ok(onnx_format::write(g)?)).collect()
}

/// `.sct` files.
pub fn sct() -> Seeds {
    let mut files = Vec::new();
    for graph in networks::all()? {
        for store in [sct_format::Store::Small, sct_format::Store::Fast] {
            files.push(sct_format::write(&graph, store)?);
        }
    }
    Ok(files)
}

/// Deep Compression's SqueezeNet without entries, and counts of a few with some codes and gaps, which
/// [`squeezenet`](crate::model::squeezenet) makes a file of.
pub fn squeezenet() -> Seeds {
    // 26 counts, a codebook of 256 for each of the layers, and the biases of all of them.
    let empty = vec![0; 4 * (26 + 26 * 256 + 3976)];
    let counts = (0..26u16).flat_map(|layer| (7 * layer).to_le_bytes());
    let few = counts.chain([1, 0x21, 0, 0x0F, 9, 0xF0, 200]).collect();
    Ok(vec![empty, few])
}

/// Planes from every coder, behind the header that [`codec`](crate::codec::codec) reads.
pub fn codec() -> Seeds {
    let mask: Vec<bool> = (0..7 * 30).map(|i| i % 5 == 0 || i % 31 == 3).collect();
    let kept = mask.iter().filter(|&&bit| bit).count();
    let mut files = Vec::new();
    for (flags, size, alphabet) in [
        (0, 4, Alphabet::Signed { bits: 4 }),
        (2, 15, Alphabet::Indexed { levels: 15 }),
    ] {
        let (low, high) = alphabet.range();
        let symbol = |i: usize| low + (i as i32 * i as i32) % (high - low + 1);
        for masked in [false, true] {
            let symbols: Vec<i32> = (0..if masked { kept } else { mask.len() })
                .map(symbol)
                .collect();
            let plane = Plane {
                rows: 7,
                cols: 30,
                mask: masked.then_some(&mask),
                symbols: &symbols,
                alphabet,
            };
            for coder in Coder::ALL {
                let mut file = vec![7, 30, flags | u8::from(masked), size - 1];
                file.extend(encode(&plane, coder)?.bytes);
                files.push(file);
            }
        }
    }
    Ok(files)
}

/// IDX files: bytes, floats, and gzipped ones.
pub fn idx() -> Seeds {
    let bytes = [
        &[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3][..],
        &[9; 12],
    ]
    .concat();
    let floats = [
        &[0, 0, 0x0D, 1, 0, 0, 0, 2][..],
        &[0x3F, 0x80, 0, 0].repeat(2),
    ]
    .concat();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&bytes)?;
    Ok(vec![gzip.finish()?, bytes, floats])
}

/// `.npy` files: bytes, floats, integers in Fortran's order.
pub fn npy() -> Seeds {
    let mut files = vec![Vec::new(), Vec::new(), Vec::new()];
    if let [bytes, floats, integers] = files.as_mut_slice() {
        write_npy(bytes, &[2, 3], &[7u8; 6])?;
        write_npy(floats, &[2, 1, 2], &[0.5f32; 4])?;
        write_npy(integers, &[2, 2], &[1i64, 2, 3, 4])?;
        let order = b"False";
        if let Some(at) = integers.windows(order.len()).position(|w| w == order) {
            integers.splice(at..at + order.len(), *b"True ");
        }
    }
    Ok(files)
}

/// `.npz` archives, stored and deflated.
pub fn npz() -> Seeds {
    let mut files = Vec::new();
    for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().compression_method(method);
        for (name, member) in ["x.npy", "y.npy", "z.npy"].into_iter().zip(npy()?) {
            archive.start_file(name, options)?;
            archive.write_all(&member)?;
        }
        files.push(archive.finish()?.into_inner());
    }
    Ok(files)
}

/// PNG and JPEG, gray and colour.
pub fn image() -> Seeds {
    let gray = GrayImage::from_fn(9, 5, |x, y| Luma([(x * 20 + y) as u8]));
    let colour = RgbImage::from_fn(5, 9, |x, y| Rgb([x as u8 * 40, 100, y as u8 * 20]));
    let mut files = Vec::new();
    for picture in [DynamicImage::from(gray), colour.into()] {
        for format in [ImageFormat::Png, ImageFormat::Jpeg] {
            let mut file = Cursor::new(Vec::new());
            picture.write_to(&mut file, format)?;
            files.push(file.into_inner());
        }
    }
    Ok(files)
}

/// Two of CIFAR-10's records.
pub fn cifar() -> Seeds {
    let record = |label: u8| [&[label][..], &[label * 20; 3 * 32 * 32]].concat();
    Ok(vec![[record(3), record(9)].concat(), record(0)])
}

/// The recipes that come with the library.
#[cfg(feature = "training")]
pub fn recipe() -> Seeds {
    let texts = secateur_compress::recipe::BUILTIN.iter();
    Ok(texts.map(|(_, text)| text.as_bytes().to_vec()).collect())
}
