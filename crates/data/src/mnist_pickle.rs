//! MNIST from `mnist.pkl.gz`, the form that Python tutorials pass around: a gzipped pickle
//! (protocol 2) of three pairs of arrays, 50 000, 10 000 and 10 000 images. Images are f32,
//! `raw / 256`, `[n, 784]`; labels are i64.
//!
//! A pickle is a program that makes objects, and none is run here: the file's SHA-256 is pinned
//! by its package's, so the places of the arrays in it are known, and what comes out is checked
//! against the digests of MNIST's own files.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Write},
    path::Path,
};

use flate2::bufread::GzDecoder;

use crate::cache::Pinned;

/// The file's name in its package.
pub(crate) const FILE: &str = "mnist.pkl.gz";

/// An array's bytes in the unpacked pickle, and which of MNIST's files it is (a part of).
struct Span {
    start: u64,
    values: u64,
    /// Position among the set's files: train images, train labels, test images, test labels.
    file: usize,
}

/// In the order in which they stand; the first two pairs are MNIST's train part.
const SPANS: [Span; 6] = [
    Span::new(133, 50_000 * 784, 0),
    Span::new(156_800_199, 50_000, 1),
    Span::new(157_200_236, 10_000 * 784, 0),
    Span::new(188_560_267, 10_000, 1),
    Span::new(188_640_304, 10_000 * 784, 2),
    Span::new(220_000_335, 10_000, 3),
];

impl Span {
    const fn new(start: u64, values: u64, file: usize) -> Self {
        Self {
            start,
            values,
            file,
        }
    }

    fn is_images(&self) -> bool {
        self.file.is_multiple_of(2)
    }
}

/// Writes MNIST's four IDX files, called as in `files`, into the folder `to`.
pub(crate) fn write_idx(pickle: &Path, files: &[Pinned], to: &Path) -> io::Result<()> {
    let mut outs = Vec::new();
    for (index, file) in files.iter().enumerate() {
        let count = SPANS.iter().filter(|span| span.file == index);
        let count: u64 = count
            .map(|span| span.values / if span.is_images() { 784 } else { 1 })
            .sum();
        let mut out = BufWriter::new(File::create(to.join(file.name))?);
        let shape: &[u32] = if index.is_multiple_of(2) {
            &[count as u32, 28, 28]
        } else {
            &[count as u32]
        };
        out.write_all(&[0, 0, 8, shape.len() as u8])?;
        shape
            .iter()
            .try_for_each(|dim| out.write_all(&dim.to_be_bytes()))?;
        outs.push(out);
    }
    let mut unpacked = BufReader::new(GzDecoder::new(BufReader::new(File::open(pickle)?)));
    let mut at = 0;
    for span in &SPANS {
        let between = span.start - at;
        io::copy(&mut unpacked.by_ref().take(between), &mut io::sink())?;
        let Some(out) = outs.get_mut(span.file) else {
            continue;
        };
        if span.is_images() {
            bytes_of(&mut unpacked, span.values, out, |x| {
                (f32::from_le_bytes(x) * 256.0) as u8
            })?;
            at = span.start + 4 * span.values;
        } else {
            bytes_of(&mut unpacked, span.values, out, |[label, ..]: [u8; 8]| {
                label
            })?;
            at = span.start + 8 * span.values;
        }
    }
    outs.iter_mut().try_for_each(Write::flush)
}

/// Turns `values` values of `N` bytes each into bytes.
fn bytes_of<const N: usize>(
    from: &mut impl Read,
    values: u64,
    out: &mut impl Write,
    byte: impl Fn([u8; N]) -> u8,
) -> io::Result<()> {
    let mut value = [0; N];
    for _ in 0..values {
        from.read_exact(&mut value)?;
        out.write_all(&[byte(value)])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, write::GzEncoder};

    use super::*;
    use crate::{KnownSet, Values, read_idx};

    #[test]
    fn spans_follow_one_another_without_overlap() {
        for pair in SPANS.windows(2) {
            let size = if pair[0].is_images() { 4 } else { 8 };
            assert!(pair[0].start + size * pair[0].values < pair[1].start);
        }
    }

    #[test]
    fn arrays_become_idx_files() {
        let dir = tempfile::tempdir().unwrap();
        let pickle = dir.path().join(FILE);
        let mut gzip = GzEncoder::new(File::create(&pickle).unwrap(), Compression::fast());
        let mut at = 0;
        for (index, span) in SPANS.iter().enumerate() {
            let gap = vec![b'.'; (span.start - at) as usize];
            gzip.write_all(&gap).unwrap();
            let raw = index as u8 * 40 + 7;
            let value = if span.is_images() {
                (f32::from(raw) / 256.0).to_le_bytes().to_vec()
            } else {
                i64::from(raw).to_le_bytes().to_vec()
            };
            let bytes = value.repeat(span.values as usize);
            gzip.write_all(&bytes).unwrap();
            at = span.start + bytes.len() as u64;
        }
        gzip.finish().unwrap();
        let files = KnownSet::Mnist.files();
        write_idx(&pickle, files, dir.path()).unwrap();
        for (file, shape, first, last) in [
            (0, vec![60_000, 28, 28], 7, 87),
            (1, vec![60_000], 47, 127),
            (2, vec![10_000, 28, 28], 167, 167),
            (3, vec![10_000], 207, 207),
        ] {
            let bytes = std::fs::read(dir.path().join(files[file].name)).unwrap();
            let array = read_idx(&bytes, files[file].name).unwrap();
            assert_eq!(array.shape, shape);
            let Values::U8(values) = array.values else {
                panic!("bytes were written");
            };
            assert_eq!((values[0], values[values.len() - 1]), (first, last));
        }
        // A file that ends early is an error, not a shorter set.
        let short = std::fs::read(&pickle).unwrap();
        std::fs::write(&pickle, &short[..short.len() / 2]).unwrap();
        assert!(write_idx(&pickle, files, dir.path()).is_err());
    }
}
