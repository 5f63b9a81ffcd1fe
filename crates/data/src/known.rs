use std::{fmt, path::PathBuf, str::FromStr};

use crate::{DataError, cache};

/// The data sets that are known by name.
///
/// ```
/// use secateur_data::KnownSet;
/// let set: KnownSet = "digits".parse()?;
/// assert!(set.is_cached()); // the digits are part of the program
/// # Ok::<(), secateur_data::DataError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KnownSet {
    /// Handwritten digits, 28×28 gray, 60 000 + 10 000 (LeCun, Bottou, Bengio, Haffner, 1998).
    Mnist,
    /// Articles of clothing in MNIST's format (Xiao, Rasul, Vollgraf, 2017).
    FashionMnist,
    /// Ten kinds of things, 32×32 RGB, 50 000 + 10 000 (Krizhevsky, 2009).
    Cifar10,
    /// Handwritten digits, 8×8 gray, 1797 in all (Alpaydin, Kaynak, 1998); embedded.
    Digits,
}

impl KnownSet {
    /// Every known set.
    pub const ALL: [Self; 4] = [Self::Mnist, Self::FashionMnist, Self::Cifar10, Self::Digits];

    pub(crate) const NAMES: &'static str = "mnist, fashion-mnist, cifar10, digits";

    /// The name by which [`load`](crate::load) knows the set.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mnist => "mnist",
            Self::FashionMnist => "fashion-mnist",
            Self::Cifar10 => "cifar10",
            Self::Digits => "digits",
        }
    }

    /// One line that says what is in the set.
    pub fn description(self) -> &'static str {
        match self {
            Self::Mnist => "handwritten digits, 28x28 gray, 60000 train + 10000 test, 10 classes",
            Self::FashionMnist => {
                "articles of clothing, 28x28 gray, 60000 train + 10000 test, 10 classes"
            }
            Self::Cifar10 => {
                "animals and vehicles, 32x32 RGB, 50000 train + 10000 test, 10 classes"
            }
            Self::Digits => "handwritten digits, 8x8 gray, 1437 train + 360 test, 10 classes",
        }
    }

    /// The licence or terms under which the set is passed on.
    pub fn licence(self) -> &'static str {
        match self {
            Self::Mnist => "CC BY-SA 3.0 (Yann LeCun and Corinna Cortes)",
            Self::FashionMnist => "MIT (Zalando SE)",
            Self::Cifar10 => "no licence stated by its authors; cite Krizhevsky, 2009",
            Self::Digits => "BSD-3-Clause (scikit-learn), data CC BY 4.0 (UCI)",
        }
    }

    /// The folder in the cache that holds the set once it is fetched.
    pub fn folder(self) -> PathBuf {
        cache::cache_dir().join(self.name())
    }
}

impl fmt::Display for KnownSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for KnownSet {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        Self::ALL
            .into_iter()
            .find(|set| set.name() == name)
            .ok_or_else(|| DataError::Unknown {
                name: name.into(),
                known: Self::NAMES,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for set in KnownSet::ALL {
            assert_eq!(set.to_string().parse::<KnownSet>().unwrap(), set);
            assert!(KnownSet::NAMES.contains(set.name()));
        }
        assert!(
            "cifar"
                .parse::<KnownSet>()
                .unwrap_err()
                .to_string()
                .contains("cifar10")
        );
    }
}
