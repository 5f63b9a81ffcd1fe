//! NumPy arrays as a data set: a `.npz` archive, or a folder of `.npy` files.

use std::{collections::BTreeMap, fs, io::Cursor, path::Path};

use zip::{ZipArchive, result::ZipError};

use crate::{
    Array, DataError, Split, npy,
    source::{DEFLATE_LIMIT, Source},
    split::{Named, Pair, from_pairs, set_name},
};

/// Names of images and labels, train then test.
const TWO_PARTS: [[&str; 4]; 2] = [
    ["x_train", "y_train", "x_test", "y_test"],
    ["train_images", "train_labels", "test_images", "test_labels"],
];
/// Names of images and labels of a set in one part.
const ONE_PART: [[&str; 2]; 2] = [["x", "y"], ["images", "labels"]];

/// Reads every `.npy` member of a `.npz` archive, by its name without `.npy`. `name` is what
/// errors call the archive. Memory is bounded by what the members' headers declare, which is
/// refused where the archive is too short to hold it.
///
/// # Errors
/// A damaged archive, and those of [`read_npy`](crate::read_npy).
pub fn read_npz(bytes: &[u8], name: &str) -> Result<BTreeMap<String, Array>, DataError> {
    let mut archive = open(bytes, name)?;
    // Members that lie over each other would each unpack the same bytes.
    if archive.has_overlapping_entries().map_err(zip_error(name))? {
        let needed = "one after another";
        return Err(DataError::malformed(name, "members", needed, "overlapping"));
    }
    let members: Vec<_> = names(&archive).collect();
    let mut arrays = BTreeMap::new();
    for member in members {
        let array = member_array(&mut archive, &member, bytes, name)?;
        arrays.insert(member, array);
    }
    Ok(arrays)
}

type Archive<'a> = ZipArchive<Cursor<&'a [u8]>>;

fn open<'a>(bytes: &'a [u8], name: &str) -> Result<Archive<'a>, DataError> {
    ZipArchive::new(Cursor::new(bytes)).map_err(zip_error(name))
}

fn names(archive: &Archive<'_>) -> impl Iterator<Item = String> {
    archive.file_names_raw().filter_map(|name| {
        str::from_utf8(name)
            .ok()?
            .strip_suffix(".npy")
            .map(str::to_owned)
    })
}

fn member_array(
    archive: &mut Archive<'_>,
    member: &str,
    bytes: &[u8],
    name: &str,
) -> Result<Array, DataError> {
    let place = format!("{name}, {member}.npy");
    let file = archive
        .by_name(&format!("{member}.npy"))
        .map_err(zip_error(&place))?;
    let compressed = file.compressed_size().min(bytes.len() as u64);
    let bound = compressed.saturating_mul(DEFLATE_LIMIT).min(file.size());
    npy::read(Source::new(file, &place, bound))
}

fn zip_error(place: &str) -> impl FnOnce(ZipError) -> DataError {
    move |error| DataError::Zip {
        place: place.into(),
        reason: error.to_string(),
    }
}

/// Whether a `.npz` file has the arrays of a labelled set.
pub(crate) fn has_labels(path: &Path) -> Result<bool, DataError> {
    let bytes = fs::read(path).map_err(DataError::io(path))?;
    let archive = open(&bytes, &path.display().to_string())?;
    let members: Vec<_> = names(&archive).collect();
    Ok(TWO_PARTS.iter().any(|names| has(&members, names))
        || ONE_PART.iter().any(|names| has(&members, names)))
}

fn has(members: &[String], names: &[&str]) -> bool {
    names
        .iter()
        .all(|name| members.iter().any(|member| member == name))
}

/// Loads a `.npz` file.
pub(crate) fn load_file(path: &Path) -> Result<Split, DataError> {
    let bytes = fs::read(path).map_err(DataError::io(path))?;
    let name = path.display().to_string();
    let mut archive = open(&bytes, &name)?;
    let members: Vec<_> = names(&archive).collect();
    let split = assemble(path, &members, |member| {
        let array = member_array(&mut archive, member, &bytes, &name)?;
        Ok(Named {
            place: format!("{name}, {member}.npy"),
            array,
        })
    })?;
    split.ok_or_else(|| {
        let needed = "arrays x_train, y_train, x_test, y_test (or train_images, train_labels, \
                      test_images, test_labels), or x and y, or images and labels";
        DataError::malformed(name, "arrays", needed, members.join(", "))
    })
}

/// Loads a folder of `.npy` files, if it has any under the names looked for.
pub(crate) fn load_dir(dir: &Path) -> Result<Option<Split>, DataError> {
    let mut members = Vec::new();
    for entry in fs::read_dir(dir).map_err(DataError::io(dir))? {
        let name = entry.map_err(DataError::io(dir))?.file_name();
        members.extend(
            name.to_str()
                .and_then(|name| name.strip_suffix(".npy"))
                .map(str::to_owned),
        );
    }
    assemble(dir, &members, |member| {
        let path = dir.join(format!("{member}.npy"));
        let place = path.display().to_string();
        let array = npy::read_npy(&fs::read(&path).map_err(DataError::io(&path))?, &place)?;
        Ok(Named { place, array })
    })
}

/// Picks the arrays by their names and reads only those.
fn assemble(
    path: &Path,
    members: &[String],
    mut read: impl FnMut(&str) -> Result<Named, DataError>,
) -> Result<Option<Split>, DataError> {
    let mut pair = |x, y| -> Result<Pair, DataError> { Ok((read(x)?, read(y)?)) };
    let name = set_name(path);
    if let Some([x, y, test_x, test_y]) = TWO_PARTS.iter().find(|names| has(members, *names)) {
        return from_pairs(&name, pair(x, y)?, Some(pair(test_x, test_y)?)).map(Some);
    }
    match ONE_PART.iter().find(|names| has(members, *names)) {
        Some([x, y]) => from_pairs(&name, pair(x, y)?, None).map(Some),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;
    use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

    use super::*;
    use crate::{Values, load, write_npy};

    fn npz(members: &[(&str, Vec<u8>)], method: CompressionMethod) -> Vec<u8> {
        let mut out = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in members {
            let options = SimpleFileOptions::default().compression_method(method);
            out.start_file(format!("{name}.npy"), options).unwrap();
            out.write_all(bytes).unwrap();
        }
        out.finish().unwrap().into_inner()
    }

    fn u8s(shape: &[usize]) -> Vec<u8> {
        let mut file = Vec::new();
        let values: Vec<u8> = (0..shape.iter().product::<usize>())
            .map(|i| (i % 2) as u8)
            .collect();
        write_npy(&mut file, shape, &values).unwrap();
        file
    }

    fn small(method: CompressionMethod) -> Vec<u8> {
        npz(&[("x", u8s(&[12, 2, 2])), ("y", u8s(&[12]))], method)
    }

    #[test]
    fn loads_both_layouts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("own.npz");
        fs::write(&path, small(CompressionMethod::Deflated)).unwrap();
        let split = load(path.to_str().unwrap()).unwrap();
        assert_eq!(
            (
                split.train.name.as_str(),
                split.train.len(),
                split.test.len()
            ),
            ("own", 10, 2)
        );

        let [x, y] = [u8s(&[4, 2, 2, 3]), u8s(&[4, 1])];
        let keras = [
            ("x_train", x.clone()),
            ("y_train", y.clone()),
            ("x_test", x.clone()),
            ("y_test", y.clone()),
        ];
        fs::write(&path, npz(&keras, CompressionMethod::Stored)).unwrap();
        let split = load(path.to_str().unwrap()).unwrap();
        assert_eq!(
            (split.test.len(), split.test.channels, split.test.height),
            (4, 3, 2)
        );

        fs::write(dir.path().join("x.npy"), x).unwrap();
        fs::write(dir.path().join("y.npy"), y).unwrap();
        let split = load(dir.path().to_str().unwrap()).unwrap();
        assert_eq!((split.train.len(), split.test.len()), (3, 1));
    }

    #[test]
    fn missing_arrays_are_told_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("own.npz");
        fs::write(
            &path,
            npz(&[("pixels", u8s(&[1]))], CompressionMethod::Stored),
        )
        .unwrap();
        let message = load(path.to_str().unwrap()).unwrap_err().to_string();
        assert!(
            message.contains("own.npz") && message.ends_with("found pixels"),
            "{message}"
        );
    }

    #[test]
    fn cut_anywhere_is_an_error() {
        for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
            let whole = small(method);
            assert_eq!(read_npz(&whole, "whole").unwrap()["y"].shape, [12]);
            for end in 0..whole.len() {
                let message = read_npz(&whole[..end], "cut").unwrap_err().to_string();
                assert!(message.starts_with("cut"), "{end}: {message}");
            }
        }
    }

    #[test]
    fn a_bomb_is_refused_before_it_unpacks() {
        // 100 MB of zeros that the header does not declare
        let mut member = u8s(&[1]);
        member.resize(100 << 20, 0);
        let bomb = npz(&[("x", member)], CompressionMethod::Deflated);
        assert!(
            read_npz(&bomb, "bomb")
                .unwrap_err()
                .to_string()
                .contains("more bytes")
        );
        // a header that declares more than the archive can hold
        let mut member = Vec::new();
        write_npy(&mut member, &[1], &[0u8]).unwrap();
        let text = String::from_utf8_lossy(&member[10..128])
            .replace("(1,), }         ", "(4000000000,), }");
        member[10..10 + text.len()].copy_from_slice(text.as_bytes());
        let liar = npz(&[("x", member)], CompressionMethod::Deflated);
        assert!(
            read_npz(&liar, "liar")
                .unwrap_err()
                .to_string()
                .contains("needed 4000000000")
        );
    }

    #[test]
    fn values_survive() {
        let arrays = read_npz(&small(CompressionMethod::Deflated), "s").unwrap();
        assert_eq!(arrays["y"].values, Values::U8([0, 1].repeat(6)));
    }

    proptest! {
        #[test]
        fn flipped_bits_never_panic(flip: prop::sample::Index, deflated: bool) {
            let method =
                if deflated { CompressionMethod::Deflated } else { CompressionMethod::Stored };
            let mut bytes = small(method);
            let bit = flip.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let _ = read_npz(&bytes, "flipped");
        }
    }
}
