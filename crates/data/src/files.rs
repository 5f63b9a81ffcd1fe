//! The files of each known set and their digests.
//!
//! MNIST and Fashion-MNIST are kept as plain IDX files. CIFAR-10 is kept as `train.bin` and
//! `test.bin` in the records of its authors' binary version: one label byte, then the
//! 32×32 red, green and blue planes.

use crate::{KnownSet, cache::Pinned};

/// Names as MNIST's authors spell them, in the order images, labels; train, then test.
const fn idx_files(digests: [&'static str; 4]) -> [Pinned; 4] {
    let [train_images, train_labels, test_images, test_labels] = digests;
    [
        Pinned {
            name: "train-images-idx3-ubyte",
            sha256: train_images,
        },
        Pinned {
            name: "train-labels-idx1-ubyte",
            sha256: train_labels,
        },
        Pinned {
            name: "t10k-images-idx3-ubyte",
            sha256: test_images,
        },
        Pinned {
            name: "t10k-labels-idx1-ubyte",
            sha256: test_labels,
        },
    ]
}

static MNIST: [Pinned; 4] = idx_files([
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
]);

static FASHION_MNIST: [Pinned; 4] = idx_files([
    "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
]);

static CIFAR10: [Pinned; 2] = [
    Pinned {
        name: "train.bin",
        sha256: "a0181da372c0d63a5920fdbea2ec3f83ecbc552d378218e1cb473cf634941a3b",
    },
    Pinned {
        name: "test.bin",
        sha256: "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
    },
];

/// Embedded; the digests are of the gzipped files.
static DIGITS: [Pinned; 2] = [
    Pinned {
        name: "digits-images-idx3-ubyte.gz",
        sha256: "c41c947a1014aa9bb82e371b01f16724f9ef929893351173edcc47aa0fc03930",
    },
    Pinned {
        name: "digits-labels-idx1-ubyte.gz",
        sha256: "147c9192405199869317e6d9c62ea444f9770c3f8c6dd65035ba3a3690cc5460",
    },
];

impl KnownSet {
    pub(crate) fn files(self) -> &'static [Pinned] {
        match self {
            Self::Mnist => &MNIST,
            Self::FashionMnist => &FASHION_MNIST,
            Self::Cifar10 => &CIFAR10,
            Self::Digits => &DIGITS,
        }
    }
}
