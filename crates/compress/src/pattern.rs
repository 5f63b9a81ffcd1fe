//! Where kept weights may lie.

use crate::View;
use secateur_model::weight::windows;
use secateur_model::{Bitmask, Shape, Support};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Where the kept weights of a layer may lie. Recipes write `unstructured`, `n:m`, `hxw`, `channels`.
///
/// ```
/// use secateur_compress::Pattern;
/// assert_eq!("8:64".parse::<Pattern>()?, Pattern::NofM { n: 8, m: 64 });
/// assert_eq!("4x1".parse::<Pattern>()?, Pattern::Blocks { h: 4, w: 1 });
/// assert!("5:4".parse::<Pattern>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Pattern {
    /// Anywhere.
    #[default]
    Unstructured,
    /// At most `n` of every `m` inputs of an output: `m` channels of one tap of a convolution, where
    /// they are a multiple of `m` ([`windows`]). A narrower window keeps the same share, rounded up.
    NofM {
        /// Kept in a window.
        n: usize,
        /// Inputs of a window.
        m: usize,
    },
    /// Whole blocks of `h` outputs by `w` inputs.
    Blocks {
        /// Outputs of a block.
        h: usize,
        /// Inputs of a block.
        w: usize,
    },
    /// All inputs of an output, or none.
    Channels,
}

impl Pattern {
    /// The pattern on the way from dense to this one: `n` falls from `m`, by the given density where
    /// this pattern's own is `n / m`. Other patterns stay as they are.
    pub(crate) fn loosened(self, density: impl Fn(f64) -> f64) -> Self {
        match self {
            Self::NofM { n, m } => {
                let kept = (density(n as f64 / m as f64) * m as f64).round() as usize;
                Self::NofM {
                    n: kept.clamp(n, m),
                    m,
                }
            }
            other => other,
        }
    }

    /// What is kept or cut as a whole in a weight of this shape, and how much of it may stay.
    pub(crate) fn units(self, shape: &Shape, view: &View) -> Units {
        let positions = 0..shape.elements();
        let whole = |of: Vec<u32>| {
            let count = of.iter().max().map_or(0, |&last| last as usize + 1);
            let mut sizes = vec![0; count];
            of.iter().for_each(|&unit| sizes[unit as usize] += 1);
            Units {
                of,
                sizes,
                windows: None,
            }
        };
        match self {
            Self::Unstructured => whole(positions.map(|p| p as u32).collect()),
            Self::Blocks { h, w } => {
                let across = view.depth.div_ceil(w);
                let block = |p| {
                    let (output, input) = view.place(p);
                    (output / h * across + input / w) as u32
                };
                whole(positions.map(block).collect())
            }
            Self::Channels => whole(positions.map(|p| view.place(p).0 as u32).collect()),
            Self::NofM { n, m } => {
                let of_input = match view.columns {
                    // The inputs of an output stand below each other.
                    true => (0..view.depth).map(|input| input / m).collect(),
                    false => windows(shape, m),
                };
                let count = of_input.iter().max().map_or(0, |last| last + 1);
                let mut widths = vec![0; count];
                of_input.iter().for_each(|&window| widths[window] += 1);
                let quotas = widths.iter().map(|width: &usize| (width * n).div_ceil(m));
                let windows = Windows {
                    of: positions
                        .clone()
                        .map(|p| {
                            let (output, input) = view.place(p);
                            (output * count + of_input[input]) as u32
                        })
                        .collect(),
                    quotas: quotas.collect(),
                };
                Units {
                    windows: Some(windows),
                    ..whole(positions.map(|p| p as u32).collect())
                }
            }
        }
    }

    /// The kept positions in the form that says most of them.
    pub(crate) fn support(self, mask: Bitmask, view: &View) -> Support {
        if mask.count_ones() == mask.len() {
            return Support::All;
        }
        match (self, view.columns) {
            (Self::Unstructured, _) | (Self::NofM { .. }, true) => Support::Unstructured(mask),
            (Self::NofM { n, m }, false) => Support::NofM { n, m, mask },
            (Self::Blocks { h, w }, false) => Support::Blocks { h, w, mask },
            (Self::Blocks { h, w }, true) => Support::Blocks { h: w, w: h, mask },
            (Self::Channels, false) => Support::Channels(mask),
            (Self::Channels, true) => Support::Blocks {
                h: view.depth,
                w: 1,
                mask,
            },
        }
    }
}

/// Inputs of a window, at most.
const WIDEST: usize = 1 << 20;

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let pair = |separator| {
            let (a, b) = text.split_once(separator)?;
            Some((a.parse::<usize>().ok()?, b.parse::<usize>().ok()?))
        };
        match (text, pair(':'), pair('x')) {
            ("unstructured", ..) => Ok(Self::Unstructured),
            ("channels", ..) => Ok(Self::Channels),
            (_, Some((n, m)), _) if (1..=m).contains(&n) && m <= WIDEST => Ok(Self::NofM { n, m }),
            (_, _, Some((h, w))) if h > 0 && w > 0 => Ok(Self::Blocks { h, w }),
            _ => Err(format!(
                "pattern `{text}`: needed unstructured, channels, n:m with n at most m (8:64), or hxw (1x4)"
            )),
        }
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.to_string()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unstructured => f.write_str("unstructured"),
            Self::NofM { n, m } => write!(f, "{n}:{m}"),
            Self::Blocks { h, w } => write!(f, "{h}x{w}"),
            Self::Channels => f.write_str("channels"),
        }
    }
}

/// What is kept or cut as a whole.
#[derive(Debug, Clone)]
pub(crate) struct Units {
    /// The unit of each stored position.
    pub of: Vec<u32>,
    /// Positions of each unit.
    pub sizes: Vec<u32>,
    windows: Option<Windows>,
}

/// Of units of one position: the window that each lies in, and how many each may keep.
#[derive(Debug, Clone)]
struct Windows {
    of: Vec<u32>,
    /// For the windows of an output; all outputs have the same.
    quotas: Vec<usize>,
}

impl Units {
    /// Number of units.
    pub fn len(&self) -> usize {
        self.sizes.len()
    }

    /// For each unit, the sum over its positions.
    pub fn sums(&self, values: impl IntoIterator<Item = f64>) -> Vec<f64> {
        let mut sums = vec![0.0; self.len()];
        self.of
            .iter()
            .zip(values)
            .for_each(|(&unit, v)| sums[unit as usize] += v);
        sums
    }

    /// For each unit, whether any of its positions is in the mask.
    pub fn any(&self, mask: Option<&Bitmask>) -> Vec<bool> {
        let Some(mask) = mask else {
            return vec![true; self.len()];
        };
        let mut any = vec![false; self.len()];
        mask.ones().for_each(|p| any[self.of[p] as usize] = true);
        any
    }

    /// The positions of the units that are kept.
    pub fn positions(&self, kept: &[bool]) -> Bitmask {
        Bitmask::from_fn(self.of.len(), |p| kept[self.of[p] as usize])
    }

    /// The window of each unit and the quota of each window, if the pattern has windows.
    pub fn quotas(&self) -> Option<(&[u32], impl Fn(u32) -> usize + '_)> {
        let windows = self.windows.as_ref()?;
        let quota = |window: u32| windows.quotas[window as usize % windows.quotas.len()];
        Some((&windows.of, quota))
    }

    /// Gives up what the pattern forbids: in each window all but the best by score.
    pub fn restrict(&self, alive: &mut [bool], scores: &[f64]) {
        let Some((window_of, quota)) = self.quotas() else {
            return;
        };
        let mut order: Vec<u32> = (0..alive.len() as u32)
            .filter(|&u| alive[u as usize])
            .collect();
        order.sort_by(|&a, &b| {
            let window = |u: u32| window_of[u as usize];
            window(a)
                .cmp(&window(b))
                .then(scores[b as usize].total_cmp(&scores[a as usize]))
                .then(a.cmp(&b))
        });
        for part in order.chunk_by(|&a, &b| window_of[a as usize] == window_of[b as usize]) {
            let quota = part
                .first()
                .map_or(0, |&unit| quota(window_of[unit as usize]));
            part.iter()
                .skip(quota)
                .for_each(|&unit| alive[unit as usize] = false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use secateur_model::{Values, Weight};

    fn patterns() -> [Pattern; 8] {
        [
            "unstructured",
            "2:4",
            "1:4",
            "8:64",
            "1x4",
            "4x1",
            "16x1",
            "channels",
        ]
        .map(|text| {
            let pattern: Pattern = text.parse().unwrap();
            assert_eq!(pattern.to_string(), text);
            pattern
        })
    }

    fn view(shape: &Shape, columns: bool) -> View {
        let (a, b) = secateur_model::weight::matrix_view(shape);
        let (outputs, depth) = if columns { (b, a) } else { (a, b) };
        View {
            outputs,
            depth,
            groups: 1,
            columns,
        }
    }

    proptest! {
        /// The model accepts whatever units are kept as the form that the pattern promises.
        #[test]
        fn kept_units_make_a_weight_of_the_form(
            dims in prop::sample::select(vec![vec![5, 70], vec![16, 3, 3, 3], vec![7, 64, 1, 2], vec![3, 5, 4]]),
            seed in any::<u64>(),
        ) {
            let shape = Shape::new(&dims).unwrap();
            for pattern in patterns() {
                for columns in [false, true] {
                    if columns && dims.len() > 2 {
                        continue;
                    }
                    let view = view(&shape, columns);
                    let units = pattern.units(&shape, &view);
                    prop_assert_eq!(units.sizes.iter().sum::<u32>() as usize, shape.elements());
                    let scores: Vec<f64> = (0..units.len() as u64).map(|u| (u.wrapping_mul(seed | 1) >> 20) as f64).collect();
                    let mut kept: Vec<bool> = scores.iter().map(|s| !(*s as u64).is_multiple_of(3)).collect();
                    units.restrict(&mut kept, &scores);
                    let mask = units.positions(&kept);
                    let count = mask.count_ones();
                    let support = pattern.support(mask, &view);
                    let weight = Weight::new(shape.clone(), support, Values::F32(vec![1.0; count]));
                    prop_assert!(weight.is_ok(), "{} {:?}: {:?}", pattern, dims, weight.err());
                    if let Some((window_of, quota)) = units.quotas() {
                        for window in 0..=*window_of.iter().max().unwrap() {
                            let here = (0..units.len()).filter(|&u| window_of[u] == window && kept[u]).count();
                            prop_assert!(here <= quota(window));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn windows_keep_their_share_and_loosen() {
        let shape = Shape::new(&[1, 70]).unwrap();
        let pattern = Pattern::NofM { n: 8, m: 64 };
        let units = pattern.units(&shape, &view(&shape, false));
        let mut kept = vec![true; 70];
        units.restrict(&mut kept, &[1.0; 70]);
        // 8 of the first 64, and 6 · 8/64 rounded up of the rest; of equals the first stay.
        let expected: Vec<usize> = (0..8).chain([64]).collect();
        let found: Vec<usize> = (0..70).filter(|&p| kept[p]).collect();
        assert_eq!(found, expected);
        let half_way = pattern.loosened(|d| d + (1.0 - d) * 0.5);
        assert_eq!(half_way, Pattern::NofM { n: 36, m: 64 });
        assert_eq!(pattern.loosened(|d| d), pattern);
    }
}
