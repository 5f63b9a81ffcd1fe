//! Attention and rotary embeddings. Computed in f64, sums in order, rounded
//! once.

use super::TypedShape;
use super::args::{FLOATS, Shapes, Tensors};
use super::elementwise::Broadcast;
use super::softmax::softmax_row;
use crate::op::{Attention, Scores};
use crate::{DType, Data, ModelError, Shape, Tensor};

/// Extents of one attention.
struct Sizes {
    batch: usize,
    queries: usize,
    /// Heads of the queries, and of the keys and values.
    heads: [usize; 2],
    /// Elements of a head of queries and keys, and of values.
    head: [usize; 2],
    past: usize,
    /// Keys with those of the past.
    keys: usize,
    /// Heads are an axis of their own.
    split: bool,
}

impl Sizes {
    /// The extents of inputs that fit together.
    fn of<'a>(
        attention: &Attention,
        shape: impl Fn(usize) -> Option<&'a Shape>,
    ) -> Result<Self, String> {
        let part = |index, heads: usize| -> Result<[usize; 4], String> {
            let name = ["queries", "keys", "values"][index];
            match shape(index).map(Shape::dims) {
                Some(&[batch, heads, rows, head]) => Ok([batch, heads, rows, head]),
                Some(&[batch, rows, all]) if heads > 0 && all % heads == 0 => {
                    Ok([batch, heads, rows, all / heads])
                }
                Some(found) => Err(format!("{name} of shape {found:?} in {heads} heads")),
                None => Err(format!("{name} are missing")),
            }
        };
        let q = part(0, attention.q_num_heads)?;
        let k = part(1, attention.kv_num_heads)?;
        let v = part(2, attention.kv_num_heads)?;
        let split = shape(0).is_some_and(|q| q.rank() == 4);
        let agree = [0, 1, 2].iter().all(|&i| shape(i).map(|s| s.rank() == 4) == Some(split))
            && q[0] == k[0]
            && k[..3] == v[..3]
            && q[3] == k[3]
            && k[1] > 0
            // Without elements, nothing would bound the number of rows.
            && k[3] > 0
            && v[3] > 0
            && q[1] % k[1] == 0;
        if !agree {
            return Err(format!(
                "queries {q:?}, keys {k:?}, values {v:?} do not fit"
            ));
        }
        let past = match (shape(4).map(Shape::dims), shape(5).map(Shape::dims)) {
            (None, None) => 0,
            (Some(&[b, h, past, head]), Some(values))
                if [b, h, head] == [k[0], k[1], k[3]] && *values == [b, h, past, v[3]] =>
            {
                past
            }
            (found, values) => return Err(format!("past of shapes {found:?} and {values:?}")),
        };
        Ok(Self {
            batch: q[0],
            queries: q[2],
            heads: [q[1], k[1]],
            head: [k[3], v[3]],
            past,
            keys: past.checked_add(k[2]).ok_or("too many keys")?,
            split,
        })
    }
}

pub(super) fn infer(
    args: &Shapes<'_>,
    attention: &Attention,
) -> Result<Vec<TypedShape>, ModelError> {
    let dtype = args.typed(0, FLOATS)?.dtype;
    let sizes = Sizes::of(attention, |i| args.get(i).map(|input| &input.shape))
        .map_err(|why| args.wrong(why))?;
    for index in [1, 2, 4, 5] {
        if args.get(index).is_some_and(|input| input.dtype != dtype) {
            return Err(args.unsupported(format!("input {index} of another type than {dtype}")));
        }
    }
    let Sizes {
        batch,
        queries,
        heads,
        head,
        keys,
        split,
        ..
    } = sizes;
    if let Some(mask) = args.get(3) {
        if ![dtype, DType::Bool].contains(&mask.dtype) {
            return Err(args.unsupported(format!("a mask of type {}", mask.dtype)));
        }
        let last = mask.shape.last().copied().unwrap_or(1);
        // One column is all keys by the rules of broadcasting, and one key by
        // those of padding.
        if last == 1 && keys != 1 {
            return Err(args.unsupported("a mask of one column"));
        }
        let scores = args.shape(&[batch, heads[0], queries, last])?;
        if last > keys || scores.broadcast(&mask.shape).as_ref() != Some(&scores) {
            return Err(args.wrong(format!(
                "a mask of shape {} does not broadcast to {scores} of {keys} keys",
                mask.shape
            )));
        }
    }
    if args.get(6).is_some() {
        let lengths = args.typed(6, &[DType::I64])?;
        if lengths.shape.dims() != [batch] || args.get(4).is_some() {
            return Err(args.wrong("lengths are one for each sample, and have no past beside them"));
        }
    }
    let width = heads[0]
        .checked_mul(head[1])
        .ok_or_else(|| args.wrong("the heads overflow"))?;
    let y = match split {
        true => args.shape(&[batch, heads[0], queries, head[1]])?,
        false => args.shape(&[batch, queries, width])?,
    };
    Ok(vec![
        (dtype, y),
        (dtype, args.shape(&[batch, heads[1], keys, head[0]])?),
        (dtype, args.shape(&[batch, heads[1], keys, head[1]])?),
        (dtype, args.shape(&[batch, heads[0], queries, keys])?),
    ])
}

/// `softmax(softcap(q · kᵀ · scale + mask)) · v` for each head; the other
/// outputs are keys and values with those of the past, and the scores.
///
/// Vaswani et al.: Attention Is All You Need, <https://arxiv.org/abs/1706.03762>;
/// heads that share keys: Ainslie et al.: GQA, <https://arxiv.org/abs/2305.13245>.
pub(super) fn evaluate(
    args: &Tensors<'_>,
    attention: &Attention,
) -> Result<Vec<Tensor>, ModelError> {
    let sizes =
        Sizes::of(attention, |i| args.get(i).map(Tensor::shape)).map_err(|why| args.wrong(why))?;
    let (heads, head, keys) = (sizes.heads, sizes.head, sizes.keys);
    let rows = [sizes.queries, keys - sizes.past];
    let q = by_heads(args.doubles(0)?, heads[0], rows[0], head[0], sizes.split);
    let incoming = |index: usize| -> Result<Vec<f64>, ModelError> {
        let width = head[index - 1];
        let new = by_heads(args.doubles(index)?, heads[1], rows[1], width, sizes.split);
        match args.get(index + 3) {
            None => Ok(new),
            Some(_) => Ok(continued(
                &args.doubles(index + 3)?,
                &new,
                sizes.past * width,
                rows[1] * width,
                sizes.batch * heads[1],
            )),
        }
    };
    let (k, v) = (incoming(1)?, incoming(2)?);
    let mask = Mask::of(args, &sizes, attention.is_causal)?;
    let scale = attention
        .scale
        .map_or(1.0 / (head[0] as f64).sqrt(), f64::from);
    let softcap = f64::from(attention.softcap);
    let wants_scores = args.outputs.len() > 3;
    let (mut y, mut scores) = (Vec::new(), Vec::new());
    for row in 0..sizes.batch * heads[0] * rows[0] {
        let (group, i) = (row / rows[0], row % rows[0]);
        let (b, h) = (group / heads[0], group % heads[0]);
        let shared = b * heads[1] + h / (heads[0] / heads[1]);
        let query = &q[row * head[0]..(row + 1) * head[0]];
        let mut weights: Vec<f64> = (0..keys)
            .map(|j| {
                let start = (shared * keys + j) * head[0];
                let key = &k[start..start + head[0]];
                query.iter().zip(key).map(|(q, k)| q * k).sum::<f64>() * scale
            })
            .collect();
        let mut seen = |stage: Scores, weights: &[f64]| {
            if wants_scores && stage == attention.scores {
                scores.extend_from_slice(weights);
            }
        };
        seen(Scores::Products, &weights);
        for (j, weight) in weights.iter_mut().enumerate() {
            *weight += mask.at([b, row, i, j]);
        }
        seen(Scores::Masked, &weights);
        if softcap > 0.0 {
            let cap = |w: &mut f64| *w = (*w / softcap).tanh() * softcap;
            weights.iter_mut().for_each(cap);
        }
        seen(Scores::Capped, &weights);
        softmax_row(&mut weights);
        seen(Scores::Weights, &weights);
        for d in 0..head[1] {
            let value = |j: usize| v[(shared * keys + j) * head[1] + d];
            y.push(weights.iter().enumerate().map(|(j, w)| w * value(j)).sum());
        }
    }
    let y = if sizes.split {
        y
    } else {
        // [batch, heads, rows, head] to [batch, rows, heads · head]
        by_heads(y, rows[0], heads[0], head[1], false)
    };
    args.outputs
        .iter()
        .zip([y, k, v, scores])
        .map(|((dtype, shape), values)| {
            Tensor::new(shape.clone(), args.round_doubles(*dtype, values)?)
        })
        .collect()
}

/// `[batch, rows, heads, head]` as `[batch, heads, rows, head]`, unless `split`
/// says that it is.
fn by_heads(x: Vec<f64>, heads: usize, rows: usize, head: usize, split: bool) -> Vec<f64> {
    if split || x.is_empty() {
        return x;
    }
    let mut turned = Vec::with_capacity(x.len());
    for sample in x.chunks_exact(heads * rows * head) {
        for h in 0..heads {
            for row in 0..rows {
                let start = (row * heads + h) * head;
                turned.extend_from_slice(&sample[start..start + head]);
            }
        }
    }
    turned
}

/// Each group of `past`, followed by that of `new`.
fn continued(past: &[f64], new: &[f64], before: usize, after: usize, groups: usize) -> Vec<f64> {
    (0..groups)
        .flat_map(|g| {
            let old = &past[g * before..(g + 1) * before];
            old.iter().chain(&new[g * after..(g + 1) * after])
        })
        .copied()
        .collect()
}

/// What is added to the scores.
struct Mask {
    given: Option<(Vec<f64>, Broadcast, usize)>,
    /// Keys of each sample.
    lengths: Option<Vec<i64>>,
    /// Keys of the past, where later ones than the query's own are hidden.
    causal: Option<usize>,
}

impl Mask {
    fn of(args: &Tensors<'_>, sizes: &Sizes, is_causal: bool) -> Result<Self, ModelError> {
        let given = match args.get(3) {
            None => None,
            Some(mask) => {
                let columns = mask.shape().last().copied().unwrap_or(1);
                let rows = [sizes.batch, sizes.heads[0], sizes.queries, columns];
                let values = match mask.data() {
                    Data::Bool(v) => v
                        .iter()
                        .map(|&seen| if seen { 0.0 } else { f64::NEG_INFINITY })
                        .collect(),
                    _ => args.doubles(3)?,
                };
                let at = Broadcast::new(mask.shape(), &Shape::new(&rows)?);
                Some((values, at, columns))
            }
        };
        let lengths = match args.get(6).map(Tensor::data) {
            Some(Data::I64(v)) => Some(v.clone()),
            _ => None,
        };
        Ok(Self {
            given,
            lengths,
            causal: is_causal.then_some(sizes.past),
        })
    }

    /// For a sample, a row of all scores, a query of the sample, and a key.
    fn at(&self, [sample, row, query, key]: [usize; 4]) -> f64 {
        let late = self.causal.is_some_and(|past| key > past + query);
        let beyond = self
            .lengths
            .as_ref()
            .is_some_and(|lengths| usize::try_from(lengths[sample]).unwrap_or(0) <= key);
        match &self.given {
            _ if late || beyond => f64::NEG_INFINITY,
            None => 0.0,
            Some((_, _, columns)) if key >= *columns => f64::NEG_INFINITY,
            Some((values, at, columns)) => values[at.index(row * columns + key)],
        }
    }
}

/// The extents `[batch, heads, rows, head]` of a rotary embedding's input, and
/// whether heads are an axis of their own.
fn rotary_sizes(shape: &Shape, num_heads: usize) -> Option<([usize; 4], bool)> {
    match *shape.dims() {
        [batch, heads, rows, head] => Some(([batch, heads, rows, head], true)),
        [batch, rows, all] if num_heads > 0 && all % num_heads == 0 => {
            Some(([batch, num_heads, rows, all / num_heads], false))
        }
        _ => None,
    }
}

/// Elements of a head that are rotated: all where `asked` is 0.
fn rotated(head: usize, asked: usize) -> Option<usize> {
    let rotated = if asked == 0 { head } else { asked };
    (rotated <= head && rotated % 2 == 0).then_some(rotated)
}

pub(super) fn infer_rotary(
    args: &Shapes<'_>,
    num_heads: usize,
    dim: usize,
) -> Result<Vec<TypedShape>, ModelError> {
    let x = args.typed(0, FLOATS)?;
    let sizes = rotary_sizes(&x.shape, num_heads)
        .and_then(|(sizes, _)| Some((sizes, rotated(sizes[3], dim)? / 2)));
    let Some(([batch, _, rows, _], half)) = sizes else {
        return Err(args.wrong(format!(
            "{num_heads} heads of which {dim} elements turn, of a shape {}",
            x.shape
        )));
    };
    let places = match args.get(3) {
        Some(places) => {
            args.check_type(3, places.dtype, &[DType::I64])?;
            Some(places.shape.dims() == [batch, rows])
        }
        None => None,
    };
    for index in 1..=2 {
        args.same_type(index)?;
        let found = args.need(index)?.shape.dims();
        let fits = match places {
            Some(fits) => fits && found.len() == 2 && found[1] == half,
            None => found == [batch, rows, half],
        };
        if !fits {
            return Err(args.wrong(format!(
                "input {index} of shape {found:?} does not fit {}",
                x.shape
            )));
        }
    }
    Ok(vec![(x.dtype, x.shape.clone())])
}

/// Pairs of a head's elements turned by the angles of their place: the pairs
/// stand side by side (`interleaved`) or in the two halves.
///
/// Su et al.: `RoFormer`, <https://arxiv.org/abs/2104.09864>.
pub(super) fn rotary(
    args: &Tensors<'_>,
    num_heads: usize,
    dim: usize,
    interleaved: bool,
) -> Result<Vec<Tensor>, ModelError> {
    let (dtype, shape) = args.output()?;
    let sizes = rotary_sizes(shape, num_heads)
        .and_then(|(sizes, split)| Some((sizes, split, rotated(sizes[3], dim)? / 2)));
    let Some(([_, heads, rows, head], split, half)) = sizes else {
        return Err(args.wrong("the heads do not fit"));
    };
    let (cos, sin) = (args.doubles(1)?, args.doubles(2)?);
    let places = match args.get(3).map(Tensor::data) {
        Some(Data::I64(v)) => Some(v),
        _ => None,
    };
    let mut x = args.doubles(0)?;
    for (at, head) in x.chunks_exact_mut(head.max(1)).enumerate() {
        let (sample, row) = match split {
            true => (at / (heads * rows), at % rows),
            false => (at / (heads * rows), at / heads % rows),
        };
        let own = sample * rows + row;
        let place = match places {
            None => Some(own),
            Some(places) => usize::try_from(places[own]).ok(),
        };
        for i in 0..half {
            let angle = place.and_then(|place| place.checked_mul(half)?.checked_add(i));
            let turn = angle.and_then(|at| Some((cos.get(at)?, sin.get(at)?)));
            let Some((cos, sin)) = turn else {
                return Err(args.wrong("a place is outside the tables of angles"));
            };
            let (first, second) = match interleaved {
                true => (2 * i, 2 * i + 1),
                false => (i, half + i),
            };
            let (a, b) = (head[first], head[second]);
            head[first] = cos * a - sin * b;
            head[second] = sin * a + cos * b;
        }
    }
    args.single(args.round_doubles(*dtype, x)?)
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use crate::op::{Attention, Scores};
    use crate::{Data, ModelError, Node, Op, Shape, Tensor};

    fn floats(dims: &[usize], values: &[f32]) -> Tensor {
        Tensor::f32(dims, values.to_vec()).unwrap()
    }

    fn run(attention: Attention, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, ModelError> {
        let op = Op::Attention(Box::new(attention));
        evaluate(&Node::new("a", op, &[], &["y", "k", "v", "s"]), inputs)
    }

    #[test]
    fn values_are_averaged_by_their_keys() {
        // Scores 0 and ln 3: weights 1/4 and 3/4.
        let q = floats(&[1, 1, 1, 1], &[1.0]);
        let k = floats(&[1, 1, 2, 1], &[0.0, 3f32.ln()]);
        let v = floats(&[1, 1, 2, 1], &[4.0, 8.0]);
        let y = run(Attention::default(), &[Some(&q), Some(&k), Some(&v)]).unwrap();
        assert!((y[0].as_f32().unwrap()[0] - 7.0).abs() < 1e-6);
        assert_eq!((&y[1], &y[2]), (&k, &v));
        assert_eq!(y[3].as_f32().unwrap(), [0.0, 3f32.ln()]);
        let causal = Attention {
            is_causal: true,
            scores: Scores::Weights,
            ..Attention::default()
        };
        let y = run(causal, &[Some(&q), Some(&k), Some(&v)]).unwrap();
        assert_eq!(y[0].as_f32().unwrap(), [4.0]);
        assert_eq!(y[3].as_f32().unwrap(), [1.0, 0.0]);
    }

    #[test]
    fn the_past_stands_before_and_masks_hide() {
        let q = floats(&[1, 2, 1, 1], &[1.0, 1.0]);
        let (k, v) = (floats(&[1, 1, 1, 1], &[0.0]), floats(&[1, 1, 1, 1], &[2.0]));
        let (pk, pv) = (floats(&[1, 1, 1, 1], &[0.0]), floats(&[1, 1, 1, 1], &[6.0]));
        let past = [Some(&q), Some(&k), Some(&v), None, Some(&pk), Some(&pv)];
        let y = run(Attention::default(), &past).unwrap();
        // Both heads of queries share the one of keys.
        assert_eq!(y[0].as_f32().unwrap(), [4.0, 4.0]);
        assert_eq!(y[2].as_f32().unwrap(), [6.0, 2.0]);
        let seen = Shape::new(&[2, 1, 2]).unwrap();
        let seen = Tensor::new(seen, Data::Bool(vec![true, false, true, true])).unwrap();
        let masked = [
            Some(&q),
            Some(&k),
            Some(&v),
            Some(&seen),
            Some(&pk),
            Some(&pv),
        ];
        let y = run(Attention::default(), &masked).unwrap();
        assert_eq!(y[0].as_f32().unwrap(), [6.0, 4.0]);
        assert!(run(Attention::default(), &past[..5]).is_err());
    }

    #[test]
    fn heads_lie_side_by_side_in_three_axes() {
        let q = floats(&[1, 1, 2], &[0.0, 0.0]);
        let v = floats(&[1, 1, 2], &[1.0, 2.0]);
        let heads = Attention {
            q_num_heads: 2,
            kv_num_heads: 2,
            ..Attention::default()
        };
        let y = run(heads.clone(), &[Some(&q), Some(&q), Some(&v)]).unwrap();
        assert_eq!(y[0], v);
        assert_eq!(y[2].shape().dims(), [1, 2, 1, 1]);
        let odd = Attention {
            q_num_heads: 3,
            ..heads
        };
        assert!(run(odd, &[Some(&q), Some(&q), Some(&v)]).is_err());
    }

    #[test]
    fn pairs_turn_by_a_right_angle() {
        let (cos, sin) = (floats(&[1, 2], &[0., 1.]), floats(&[1, 2], &[1., 0.]));
        let x = floats(&[1, 1, 1, 5], &[1., 2., 3., 4., 5.]);
        let places = Tensor::i64(&[1, 1], vec![0]).unwrap();
        let turn = |interleaved| {
            let op = Op::RotaryEmbedding {
                interleaved,
                num_heads: 0,
                dim: 4,
            };
            let node = Node::new("r", op, &[], &["y"]);
            let inputs = [Some(&x), Some(&cos), Some(&sin), Some(&places)];
            evaluate(&node, &inputs).unwrap()[0]
                .as_f32()
                .unwrap()
                .to_vec()
        };
        assert_eq!(turn(true), [-2., 1., 3., 4., 5.]);
        assert_eq!(turn(false), [-3., 2., 1., 4., 5.]);
    }
}
