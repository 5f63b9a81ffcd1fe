//! Positions taken from the axes of tensors and weights, whatever their form.

use secateur_model::weight::matrix_view;
use secateur_model::{
    Bitmask, Codebook, Constant, ModelError, Scale, Shape, Support, Tensor, Values, Weight,
    match_data,
};

/// For each axis the positions that are taken, in this order; `None` takes all.
pub(super) type Taken = Vec<Option<Vec<usize>>>;

/// The constant with the taken positions only.
pub(super) fn take(constant: &Constant, taken: &Taken) -> Result<Constant, ModelError> {
    Ok(match constant {
        Constant::Tensor(tensor) => Constant::Tensor(take_tensor(tensor, taken)?),
        Constant::Weight(weight) => Constant::Weight(take_weight(weight, taken)?),
    })
}

fn take_tensor(tensor: &Tensor, taken: &Taken) -> Result<Tensor, ModelError> {
    let (shape, from) = places(tensor.shape(), taken)?;
    let data = match_data!(
        tensor.data(),
        v => from.iter().map(|&at| v[at]).collect::<Vec<_>>().into_data(),
        _ => return Err(ModelError::Graph("elements that are only carried cannot be taken".into()))
    );
    Tensor::new(shape, data)
}

fn take_weight(weight: &Weight, taken: &Taken) -> Result<Weight, ModelError> {
    let (shape, from) = places(weight.shape(), taken)?;
    let mask = weight.support().mask();
    // The values that are kept: where each lies among the kept ones of before.
    let kept: Vec<usize> = match mask {
        None => from.clone(),
        Some(mask) => {
            let ranks = Ranks::of(mask);
            let kept = from.iter().filter(|&&at| mask.get(at));
            kept.map(|&at| ranks.rank(mask, at)).collect()
        }
    };
    let values = match weight.values() {
        Values::F32(v) => Values::F32(kept.iter().map(|&i| v[i]).collect()),
        Values::F16(v) => Values::F16(kept.iter().map(|&i| v[i]).collect()),
        Values::BF16(v) => Values::BF16(kept.iter().map(|&i| v[i]).collect()),
        Values::Int { bits, codes, scale } => Values::Int {
            bits: *bits,
            codes: kept.iter().map(|&i| codes[i]).collect(),
            scale: take_scale(scale, weight.shape(), taken, &from)?,
        },
        Values::Shared { codebook, codes } => Values::Shared {
            codebook: Codebook::clone(codebook),
            codes: kept.iter().map(|&i| codes[i]).collect(),
        },
    };
    let mask = mask.map(|mask| Bitmask::from_fn(from.len(), |i| mask.get(from[i])));
    let Some(mask) = mask else {
        return Weight::new(shape, Support::All, values);
    };
    // A pattern over columns does not always outlive a cut of columns.
    let pattern = match weight.support() {
        Support::NofM { n, m, .. } => Some(Support::NofM {
            n: *n,
            m: *m,
            mask: mask.clone(),
        }),
        Support::Blocks { h, w, .. } => Some(Support::Blocks {
            h: *h,
            w: *w,
            mask: mask.clone(),
        }),
        Support::Channels(_) => Some(Support::Channels(mask.clone())),
        Support::All | Support::Unstructured(_) => None,
    };
    if let Some(pattern) = pattern
        && let Ok(weight) = Weight::new(shape.clone(), pattern, values.clone())
    {
        return Ok(weight);
    }
    Weight::new(shape, Support::Unstructured(mask), values)
}

fn take_scale(
    scale: &Scale,
    shape: &Shape,
    taken: &Taken,
    from: &[usize],
) -> Result<Scale, ModelError> {
    let (_, columns) = matrix_view(shape);
    let is_vector = shape.rank() < 2;
    Ok(match scale {
        Scale::PerTensor(s) => Scale::PerTensor(*s),
        Scale::PerChannel(s) => match (is_vector, taken.first()) {
            (false, Some(Some(rows))) => {
                Scale::PerChannel(rows.iter().map(|&row| s[row]).collect())
            }
            _ => Scale::PerChannel(s.clone()),
        },
        Scale::PerColumn(s) => {
            let rows = match is_vector {
                true => 1,
                false => taken[0].as_ref().map_or(shape[0], Vec::len),
            };
            let first_row = &from[..from.len() / rows.max(1)];
            Scale::PerColumn(first_row.iter().map(|at| s[at % columns.max(1)]).collect())
        }
        Scale::PerGroup { .. } => {
            return Err(ModelError::Weight(
                "scales of groups of columns do not outlive a cut".into(),
            ));
        }
    })
}

/// The shape after taking, and for each element its place before.
fn places(shape: &Shape, taken: &Taken) -> Result<(Shape, Vec<usize>), ModelError> {
    let strides = shape.strides();
    let mut dims = Vec::with_capacity(shape.rank());
    let mut places = vec![0usize];
    for (axis, (&extent, &stride)) in shape.iter().zip(&strides).enumerate() {
        let all: Vec<usize>;
        let positions = match taken.get(axis).and_then(Option::as_ref) {
            Some(positions) => positions,
            None => {
                all = (0..extent).collect();
                &all
            }
        };
        dims.push(positions.len());
        places = places
            .iter()
            .flat_map(|&place| positions.iter().map(move |&p| place + p * stride))
            .collect();
    }
    Ok((Shape::new(&dims)?, places))
}

/// Ones before each word of a mask.
struct Ranks(Vec<usize>);

impl Ranks {
    fn of(mask: &Bitmask) -> Self {
        let mut before = 0;
        let rank = |word: &u64| {
            let rank = before;
            before += word.count_ones() as usize;
            rank
        };
        Self(mask.words().iter().map(rank).collect())
    }

    fn rank(&self, mask: &Bitmask, at: usize) -> usize {
        let below = mask.words()[at / 64] & ((1u64 << (at % 64)) - 1);
        self.0[at / 64] + below.count_ones() as usize
    }
}

/// A list as the elements of a tensor.
trait IntoData {
    fn into_data(self) -> secateur_model::Data;
}

macro_rules! into_data {
    ($($element:ty => $variant:ident),*) => {
        $(impl IntoData for Vec<$element> {
            fn into_data(self) -> secateur_model::Data {
                secateur_model::Data::$variant(self)
            }
        })*
    };
}

into_data!(
    f32 => F32, f64 => F64, half::f16 => F16, half::bf16 => BF16, i8 => I8, u8 => U8,
    i16 => I16, u16 => U16, i32 => I32, u32 => U32, i64 => I64, u64 => U64, bool => Bool
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shape(dims: &[usize]) -> Shape {
        Shape::new(dims).unwrap()
    }

    /// Element by element.
    fn naive(values: &[f32], dims: [usize; 3], taken: &Taken) -> Vec<f32> {
        let list = |axis: usize| {
            taken[axis]
                .clone()
                .unwrap_or_else(|| (0..dims[axis]).collect())
        };
        let mut result = Vec::new();
        for a in list(0) {
            for b in list(1) {
                for c in list(2) {
                    result.push(values[(a * dims[1] + b) * dims[2] + c]);
                }
            }
        }
        result
    }

    fn forms(dims: [usize; 3], bits: &[bool]) -> Vec<Weight> {
        let shape = shape(&dims);
        let (rows, columns) = matrix_view(&shape);
        let whole_rows: Vec<bool> = (0..bits.len()).map(|i| bits[i / columns]).collect();
        // One of every two inputs that lie side by side where channels stand innermost.
        let place = |column: usize| column % dims[2] * dims[1] + column / dims[2];
        let pairs: Vec<bool> = (0..bits.len())
            .map(|i| place(i % columns) % 2 == usize::from(bits[i / columns]))
            .collect();
        let supports = [
            Support::All,
            Support::Unstructured(Bitmask::from_bools(bits)),
            Support::Channels(Bitmask::from_bools(&whole_rows)),
            Support::NofM {
                n: 1,
                m: 2,
                mask: Bitmask::from_bools(&pairs),
            },
        ];
        let mut forms = Vec::new();
        for support in supports {
            let kept = support.mask().map_or(shape.elements(), Bitmask::count_ones);
            let codes: Vec<i16> = (0..kept).map(|i| (i % 101) as i16 - 50).collect();
            let int = |scale| Values::Int {
                bits: 8,
                codes: codes.clone(),
                scale,
            };
            let values = [
                Values::F32(codes.iter().map(|&c| f32::from(c) / 3.0).collect()),
                Values::F16(
                    codes
                        .iter()
                        .map(|&c| half::f16::from_f32(c.into()))
                        .collect(),
                ),
                int(Scale::PerTensor(0.5)),
                int(Scale::PerChannel((1..=rows).map(|r| r as f32).collect())),
                int(Scale::PerColumn((1..=columns).map(|c| c as f32).collect())),
                Values::Shared {
                    codebook: Codebook::F32(vec![0.0, -2.0, 5.0]),
                    codes: (0..kept).map(|i| (i % 3) as u16).collect(),
                },
            ];
            for values in values {
                forms.push(Weight::new(shape.clone(), support.clone(), values).unwrap());
            }
        }
        forms
    }

    /// How many values there may be of a kind.
    fn levels(values: &Values) -> usize {
        match values {
            Values::Int { bits, .. } => 1 << bits,
            Values::Shared { codebook, .. } => codebook.len(),
            _ => 0,
        }
    }

    proptest! {
        #[test]
        fn every_form_keeps_its_values(
            bits in prop::collection::vec(any::<bool>(), 4 * 3 * 2),
            rows in Just((0..4).collect::<Vec<usize>>()).prop_shuffle(),
            count in 1usize..5,
            columns in prop::option::of(Just(vec![2, 0])),
        ) {
            let dims = [4, 3, 2];
            let taken = vec![Some(rows[..count].to_vec()), columns, None];
            for weight in forms(dims, &bits) {
                let cut = take_weight(&weight, &taken).unwrap();
                prop_assert_eq!(cut.to_f32(), naive(&weight.to_f32(), dims, &taken));
                prop_assert_eq!(levels(cut.values()), levels(weight.values()));
                let same = std::mem::discriminant(cut.support()) == std::mem::discriminant(weight.support());
                let rows_only = taken[1].is_none();
                prop_assert!(same || !rows_only);
            }
        }
    }

    #[test]
    fn tensors_of_every_type_are_taken_from() {
        let tensor = Tensor::i64(&[2, 2], vec![1, 2, 3, 4]).unwrap();
        let taken = vec![None, Some(vec![1])];
        let cut = take_tensor(&tensor, &taken).unwrap();
        assert_eq!(cut, Tensor::i64(&[2, 1], vec![2, 4]).unwrap());
    }
}
