//! A weight is *where* × *what*: which positions are kept, and what values the
//! kept ones have.

use crate::{Bitmask, Data, ModelError, Shape, Tensor};
use half::{bf16, f16};
use std::sync::Arc;

/// Which positions of a weight are kept; all others are exactly zero.
///
/// Masks cover the weight's matrix view, row-major: rows are output channels,
/// a convolution's columns are `in/groups · kh · kw`.
#[derive(Debug, Clone, PartialEq)]
pub enum Support {
    /// Every position.
    All,
    /// Any positions.
    Unstructured(Bitmask),
    /// At most `n` of every `m` positions of a row that [`windows`] puts together.
    NofM {
        /// Kept positions in a window.
        n: usize,
        /// Positions in a window.
        m: usize,
        /// The kept positions.
        mask: Bitmask,
    },
    /// Whole blocks of `h` rows by `w` columns.
    Blocks {
        /// Rows of a block.
        h: usize,
        /// Columns of a block.
        w: usize,
        /// The kept positions.
        mask: Bitmask,
    },
    /// Whole rows: output channels.
    Channels(Bitmask),
}

impl Support {
    /// The mask over positions; `None` when every position is kept.
    pub fn mask(&self) -> Option<&Bitmask> {
        match self {
            Self::All => None,
            Self::Unstructured(mask)
            | Self::NofM { mask, .. }
            | Self::Blocks { mask, .. }
            | Self::Channels(mask) => Some(mask),
        }
    }

    /// The form of a part of these positions: fewer of a window are still at most `n`, all else is without
    /// a pattern.
    pub fn narrowed(&self, mask: Bitmask) -> Self {
        match *self {
            Self::NofM { n, m, .. } => Self::NofM { n, m, mask },
            _ => Self::Unstructured(mask),
        }
    }
}

/// The scale of symmetric integer values: `value = code · scale`.
#[derive(Debug, Clone, PartialEq)]
pub enum Scale {
    /// One for the whole weight.
    PerTensor(f32),
    /// One for each row (output channel).
    PerChannel(Vec<f32>),
    /// One for each column: the output channel where a weight lies as `[depth,
    /// outputs]`, as of MatMul.
    PerColumn(Vec<f32>),
    /// One for each run of `size` columns of each row, row-major.
    PerGroup {
        /// Columns of a group.
        size: usize,
        /// `rows · ceil(columns / size)` scales.
        scales: Vec<f32>,
    },
}

impl Scale {
    /// The scale at a position of the matrix view.
    pub fn at(&self, row: usize, column: usize, columns: usize) -> f32 {
        self.steps()[self.index_at(row, column, columns)]
    }

    /// Which of [`Scale::steps`] a position of the matrix view has.
    pub fn index_at(&self, row: usize, column: usize, columns: usize) -> usize {
        match self {
            Self::PerTensor(_) => 0,
            Self::PerChannel(_) => row,
            Self::PerColumn(_) => column,
            Self::PerGroup { size, .. } => row * columns.div_ceil(*size) + column / size,
        }
    }

    /// Every scale.
    pub fn steps(&self) -> &[f32] {
        match self {
            Self::PerTensor(s) => std::slice::from_ref(s),
            Self::PerChannel(s) | Self::PerColumn(s) | Self::PerGroup { scales: s, .. } => s,
        }
    }

    /// The same arrangement with other scales, one for each there is.
    pub fn with_steps(&self, steps: &[f32]) -> Self {
        let mut other = self.clone();
        let own = match &mut other {
            Self::PerTensor(s) => std::slice::from_mut(s),
            Self::PerChannel(s) | Self::PerColumn(s) | Self::PerGroup { scales: s, .. } => s,
        };
        own.iter_mut().zip(steps).for_each(|(own, s)| *own = *s);
        other
    }
}

/// The few values that a shared weight's codes stand for.
#[derive(Debug, Clone, PartialEq)]
pub enum Codebook {
    /// Any f32 values (Deep Compression's centroids).
    F32(Vec<f32>),
    /// Multiples of one scale, so that integer kernels can run the weight.
    Int {
        /// One code per entry.
        codes: Vec<i8>,
        /// `value = code · scale`.
        scale: f32,
    },
}

impl Codebook {
    /// Number of entries.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(v) => v.len(),
            Self::Int { codes, .. } => codes.len(),
        }
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of an entry.
    pub fn value(&self, index: usize) -> f32 {
        match self {
            Self::F32(v) => v[index],
            Self::Int { codes, scale } => f32::from(codes[index]) * scale,
        }
    }
}

/// The values of the kept positions, one each, in row-major order of position.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Full precision.
    F32(Vec<f32>),
    /// IEEE half precision.
    F16(Vec<f16>),
    /// bfloat16.
    BF16(Vec<bf16>),
    /// Symmetric integers of 2 to 16 bits: codes in `-(2^(bits-1)-1) ..= 2^(bits-1)-1`.
    Int {
        /// Width of a code.
        bits: u8,
        /// One per kept position.
        codes: Vec<i16>,
        /// What a code is worth.
        scale: Scale,
    },
    /// Indices into a codebook (weight sharing, Han et al. 2016).
    Shared {
        /// The shared values, at most 65536.
        codebook: Codebook,
        /// One index per kept position.
        codes: Vec<u16>,
    },
}

impl Values {
    /// Number of values: one for each kept position.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(v) => v.len(),
            Self::F16(v) => v.len(),
            Self::BF16(v) => v.len(),
            Self::Int { codes, .. } => codes.len(),
            Self::Shared { codes, .. } => codes.len(),
        }
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The largest magnitude of a symmetric code of `bits` bits.
pub fn max_code(bits: u8) -> i32 {
    (1 << (bits.clamp(2, 16) - 1)) - 1
}

/// A parameter tensor as *where* × *what*. Clones share it.
///
/// ```
/// # use secateur_model::{Bitmask, Shape, Support, Values, Weight};
/// let mask = Bitmask::from_bools(&[true, false, false, true]);
/// let w = Weight::new(
///     Shape::new(&[2, 2])?,
///     Support::Unstructured(mask),
///     Values::F32(vec![5.0, 7.0]),
/// )?;
/// assert_eq!(w.to_f32(), [5.0, 0.0, 0.0, 7.0]);
/// # Ok::<(), secateur_model::ModelError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Weight {
    parts: Arc<Parts>,
}

#[derive(Debug, Clone, PartialEq)]
struct Parts {
    shape: Shape,
    support: Support,
    values: Values,
}

impl Weight {
    /// Joins the parts; contradictions (mask length, value count, code range,
    /// scale count, a value that is not finite) are refused.
    pub fn new(shape: Shape, support: Support, values: Values) -> Result<Self, ModelError> {
        let weight = Self {
            parts: Arc::new(Parts {
                shape,
                support,
                values,
            }),
        };
        weight.check()?;
        Ok(weight)
    }

    /// A dense f32 weight.
    pub fn dense(shape: Shape, values: Vec<f32>) -> Result<Self, ModelError> {
        Self::new(shape, Support::All, Values::F32(values))
    }

    /// The extents as the graph sees them.
    pub fn shape(&self) -> &Shape {
        &self.parts.shape
    }

    /// Which positions are kept.
    pub fn support(&self) -> &Support {
        &self.parts.support
    }

    /// The values of the kept positions.
    pub fn values(&self) -> &Values {
        &self.parts.values
    }

    /// The parts.
    pub fn into_parts(self) -> (Shape, Support, Values) {
        let Parts {
            shape,
            support,
            values,
        } = Arc::unwrap_or_clone(self.parts);
        (shape, support, values)
    }

    /// `(rows, columns)` of the matrix view: output channels by the rest; a
    /// vector (a bias) is one row.
    pub fn matrix(&self) -> (usize, usize) {
        matrix_view(&self.parts.shape)
    }

    /// Number of kept positions.
    pub fn kept(&self) -> usize {
        self.parts.values.len()
    }

    /// Width of one value before entropy coding, in bits.
    pub fn bits(&self) -> u32 {
        match &self.parts.values {
            Values::F32(_) => 32,
            Values::F16(_) | Values::BF16(_) => 16,
            Values::Int { bits, .. } => u32::from(*bits),
            Values::Shared { codebook, .. } => {
                let entries = self.entries_of_a_row().unwrap_or(codebook.len());
                usize::BITS - entries.saturating_sub(1).leading_zeros()
            }
        }
    }

    /// Entries of the codebook that each row has to itself, the rows' one behind the other: a codebook
    /// per channel. `None` where rows share entries.
    pub fn entries_of_a_row(&self) -> Option<usize> {
        let Values::Shared { codebook, codes } = &self.parts.values else {
            return None;
        };
        let (rows, columns) = self.matrix();
        if rows < 2 || codebook.is_empty() || !codebook.len().is_multiple_of(rows) {
            return None;
        }
        let entries = codebook.len() / rows;
        let own =
            |(position, &code): (usize, &u16)| usize::from(code) / entries == position / columns;
        self.positions().zip(codes).all(own).then_some(entries)
    }

    /// Number of kept positions whose value is not zero.
    pub fn nonzeros(&self) -> usize {
        match &self.parts.values {
            Values::F32(v) => v.iter().filter(|&&x| x != 0.0).count(),
            Values::F16(v) => v.iter().filter(|x| x.to_f32() != 0.0).count(),
            Values::BF16(v) => v.iter().filter(|x| x.to_f32() != 0.0).count(),
            Values::Int { codes, .. } => codes.iter().filter(|&&c| c != 0).count(),
            Values::Shared { codebook, codes } => codes
                .iter()
                .filter(|&&c| codebook.value(usize::from(c)) != 0.0)
                .count(),
        }
    }

    /// The kept values as f32, in row-major order of position.
    pub fn kept_f32(&self) -> Vec<f32> {
        match &self.parts.values {
            Values::F32(v) => v.clone(),
            Values::F16(v) => v.iter().map(|x| x.to_f32()).collect(),
            Values::BF16(v) => v.iter().map(|x| x.to_f32()).collect(),
            Values::Int { codes, scale, .. } => {
                let (_, columns) = self.matrix();
                self.positions()
                    .zip(codes)
                    .map(|(p, &code)| {
                        f32::from(code) * scale.at(p / columns.max(1), p % columns.max(1), columns)
                    })
                    .collect()
            }
            Values::Shared { codebook, codes } => codes
                .iter()
                .map(|&c| codebook.value(usize::from(c)))
                .collect(),
        }
    }

    /// The kept positions, ascending.
    pub fn positions(&self) -> Box<dyn Iterator<Item = usize> + '_> {
        match self.parts.support.mask() {
            None => Box::new(0..self.parts.shape.elements()),
            Some(mask) => Box::new(mask.ones()),
        }
    }

    /// Every position as f32, zeros in place.
    pub fn to_f32(&self) -> Vec<f32> {
        let kept = self.kept_f32();
        if self.parts.support.mask().is_none() {
            return kept;
        }
        let mut all = vec![0.0; self.parts.shape.elements()];
        for (position, value) in self.positions().zip(kept) {
            all[position] = value;
        }
        all
    }

    /// Every position as an f32 tensor, zeros in place.
    pub fn to_tensor(&self) -> Tensor {
        Tensor::new(self.parts.shape.clone(), Data::F32(self.to_f32()))
            .unwrap_or_else(|_| Tensor::scalar_f32(0.0))
    }

    fn check(&self) -> Result<(), ModelError> {
        let elements = self.parts.shape.elements();
        let (rows, columns) = self.matrix();
        let wrong = |what: String| Err(ModelError::Weight(what));

        let kept = match self.parts.support.mask() {
            None => elements,
            Some(mask) if mask.len() != elements => {
                return wrong(format!(
                    "shape {} needs a mask of {elements} bits, found {}",
                    self.parts.shape,
                    mask.len()
                ));
            }
            Some(mask) => mask.count_ones(),
        };
        if self.parts.values.len() != kept {
            return wrong(format!(
                "{kept} positions are kept, but {} values were given",
                self.parts.values.len()
            ));
        }
        match &self.parts.support {
            Support::NofM { n, m, mask } => check_n_of_m(mask, &self.parts.shape, *n, *m)?,
            Support::Blocks { h, w, mask } => check_blocks(mask, rows, columns, *h, *w)?,
            Support::Channels(mask) => check_blocks(mask, rows, columns, 1, columns.max(1))?,
            Support::All | Support::Unstructured(_) => {}
        }
        match &self.parts.values {
            Values::Int { bits, codes, scale } => {
                if !(2..=16).contains(bits) {
                    return wrong(format!("integer width must be 2 to 16 bits, found {bits}"));
                }
                let limit = max_code(*bits);
                let too_large = |code: &i16| i32::from(*code).abs() > limit;
                // Without a way out early, so that it is vectorised.
                let any = codes.iter().fold(false, |any, code| any | too_large(code));
                if let Some(code) = codes.iter().find(|code| any && too_large(code)) {
                    return wrong(format!("code {code} does not fit {bits} symmetric bits"));
                }
                let (needed, found) = match scale {
                    Scale::PerTensor(_) => (1, 1),
                    Scale::PerChannel(s) => (rows, s.len()),
                    Scale::PerColumn(s) => (columns, s.len()),
                    Scale::PerGroup { size: 0, .. } => return wrong("group size is 0".into()),
                    Scale::PerGroup { size, scales } => {
                        (rows * columns.div_ceil(*size), scales.len())
                    }
                };
                if needed != found {
                    return wrong(format!("{needed} scales are needed, found {found}"));
                }
                let unfit = |s: &&f32| !s.is_finite() || **s <= 0.0;
                if let Some(s) = scale.steps().iter().find(unfit) {
                    return wrong(format!("a scale must be finite and positive, found {s}"));
                }
            }
            Values::Shared { codebook, codes } => {
                if codebook.len() > 1 << 16 {
                    return wrong(format!("codebook of {} entries", codebook.len()));
                }
                if let Some(code) = codes.iter().find(|c| usize::from(**c) >= codebook.len()) {
                    return wrong(format!(
                        "code {code} is outside a codebook of {} entries",
                        codebook.len()
                    ));
                }
                if let Some(v) = (0..codebook.len())
                    .map(|i| codebook.value(i))
                    .find(|v| !v.is_finite())
                {
                    return wrong(format!("codebook value {v} is not finite"));
                }
            }
            Values::F32(v) => check_finite(v.iter().copied())?,
            Values::F16(v) => check_finite(v.iter().map(|x| x.to_f32()))?,
            Values::BF16(v) => check_finite(v.iter().map(|x| x.to_f32()))?,
        }
        Ok(())
    }
}

/// `(rows, columns)` of a parameter's matrix view: the first extent by the
/// product of the others; a vector or scalar is one row.
pub fn matrix_view(shape: &Shape) -> (usize, usize) {
    match shape.dims() {
        [] => (1, 1),
        [n] => (1, *n),
        [rows, rest @ ..] => (*rows, rest.iter().product()),
    }
}

fn check_finite(mut values: impl Iterator<Item = f32>) -> Result<(), ModelError> {
    match values.position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(i) => Err(ModelError::Weight(format!(
            "value {i} is not a finite number (NaN or infinity)"
        ))),
    }
}

/// The window of `m` positions that each column of the matrix view lies in.
///
/// Windows part the lines in which inputs lie side by side where channels stand innermost: the whole
/// row of a matrix; of a convolution's row, the taps of each row of the kernel with all their channels.
/// So with a multiple of `m` channels, a window is `m` channels of one tap. Windows count from line to
/// line; the last of a line may be narrower.
///
/// ```
/// # use secateur_model::{Shape, weight::windows};
/// assert_eq!(windows(&Shape::new(&[1, 5])?, 2), [0, 0, 1, 1, 2]);
/// // Four channels of 1x2 taps: the columns are channel by channel, the windows tap by tap.
/// assert_eq!(windows(&Shape::new(&[1, 4, 1, 2])?, 4), [0, 1, 0, 1, 0, 1, 0, 1]);
/// # Ok::<(), secateur_model::ModelError>(())
/// ```
pub fn windows(shape: &Shape, m: usize) -> Vec<usize> {
    let (_, columns) = matrix_view(shape);
    let (channels, taps, across) = match shape.dims() {
        [_, channels, .., across] if shape.rank() > 2 => {
            (*channels, columns / (*channels).max(1), *across)
        }
        _ => (columns, 1, 1),
    };
    let m = m.max(1);
    let of_line = (channels * across).div_ceil(m);
    (0..columns)
        .map(|column| {
            let (channel, tap) = (column / taps, column % taps);
            let (line, place) = (tap / across, tap % across * channels + channel);
            line * of_line + place / m
        })
        .collect()
}

fn check_n_of_m(mask: &Bitmask, shape: &Shape, n: usize, m: usize) -> Result<(), ModelError> {
    if n == 0 || m < n {
        return Err(ModelError::Weight(format!("{n} of {m} is no pattern")));
    }
    // Rows without columns may be more than can be counted.
    if mask.is_empty() {
        return Ok(());
    }
    let windows = windows(shape, m);
    let count = windows.iter().max().map_or(0, |last| last + 1);
    let mut kept = vec![(usize::MAX, 0); count];
    for position in mask.ones() {
        let (row, column) = (position / windows.len(), position % windows.len());
        let window = windows[column];
        let (of_row, kept) = &mut kept[window];
        if *of_row != row {
            (*of_row, *kept) = (row, 0);
        }
        *kept += 1;
        if *kept > n {
            return Err(ModelError::Weight(format!(
                "row {row}, window {window}: {kept} kept where {n} of {m} are allowed"
            )));
        }
    }
    Ok(())
}

fn check_blocks(
    mask: &Bitmask,
    rows: usize,
    columns: usize,
    h: usize,
    w: usize,
) -> Result<(), ModelError> {
    if h == 0 || w == 0 {
        return Err(ModelError::Weight(format!("block of {h}x{w}")));
    }
    if mask.is_empty() {
        return Ok(());
    }
    for row in 0..rows {
        for column in 0..columns {
            let corner = (row - row % h) * columns + column - column % w;
            if mask.get(row * columns + column) != mask.get(corner) {
                return Err(ModelError::Weight(format!(
                    "position ({row}, {column}) splits a block of {h}x{w}"
                )));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(dims: &[usize]) -> Shape {
        Shape::new(dims).unwrap()
    }

    #[test]
    fn rows_without_columns_are_not_walked() {
        let mask = Bitmask::default;
        for support in [
            Support::NofM {
                n: 1,
                m: 4,
                mask: mask(),
            },
            Support::Blocks {
                h: 2,
                w: 2,
                mask: mask(),
            },
            Support::Channels(mask()),
        ] {
            let values = Values::F32(vec![]);
            let weight = Weight::new(shape(&[1 << 62, 0]), support, values).unwrap();
            assert_eq!(weight.kept(), 0);
        }
    }

    #[test]
    fn windows_hold_what_lies_side_by_side_with_channels_innermost() {
        for dims in [&[3, 10][..], &[2, 5, 3], &[2, 6, 2, 3], &[1, 4, 1, 1]] {
            let shape = shape(dims);
            let (_, columns) = matrix_view(&shape);
            let (kh, kw) = match *dims {
                [_, _, kh, kw] => (kh, kw),
                [_, _, kw] => (1, kw),
                _ => (1, 1),
            };
            let channels = columns / (kh * kw);
            for m in [1, 2, 4, 7, 64] {
                let found = windows(&shape, m);
                // Line by line, what lies in each window.
                let (mut window, mut seen) = (0, 0);
                for ky in 0..kh {
                    let line: Vec<usize> = (0..kw)
                        .flat_map(|kx| (0..channels).map(move |c| c * kh * kw + ky * kw + kx))
                        .collect();
                    for part in line.chunks(m) {
                        assert!(part.iter().all(|&column| found[column] == window));
                        (window, seen) = (window + 1, seen + part.len());
                    }
                }
                assert_eq!(seen, columns);
            }
        }
    }

    #[test]
    fn contradictions_are_refused() {
        let mask = Bitmask::from_bools(&[true, true, false, false]);
        let two = || Values::F32(vec![1.0, 2.0]);
        let new = Weight::new;
        assert!(new(shape(&[2, 2]), Support::All, two()).is_err());
        assert!(new(shape(&[3, 2]), Support::Unstructured(mask.clone()), two()).is_err());
        let one_of_two = |mask| Support::NofM { n: 1, m: 2, mask };
        assert!(new(shape(&[2, 2]), one_of_two(mask.clone()), two()).is_err());
        assert!(new(shape(&[2, 2]), Support::Channels(mask), two()).is_ok());
        assert!(Weight::dense(shape(&[1]), vec![f32::NAN]).is_err());
        let int = |bits, code| Values::Int {
            bits,
            codes: vec![code],
            scale: Scale::PerTensor(0.5),
        };
        assert!(new(shape(&[1]), Support::All, int(4, 7)).is_ok());
        assert!(new(shape(&[1]), Support::All, int(4, 8)).is_err());
    }

    #[test]
    fn integer_values_follow_their_scales() {
        let w = Weight::new(
            shape(&[2, 2]),
            Support::All,
            Values::Int {
                bits: 8,
                codes: vec![1, 2, 3, 4],
                scale: Scale::PerChannel(vec![0.5, 2.0]),
            },
        )
        .unwrap();
        assert_eq!(w.to_f32(), [0.5, 1.0, 6.0, 8.0]);
    }
}
