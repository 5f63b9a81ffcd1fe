//! The transformations between tiles and points, along one axis and along two.

use super::super::{Lanes, WIDTH};
use super::{KERNEL, SPAN, TILE};
use std::marker::PhantomData;

/// Eight squares: tiles, kernels or points.
pub type Squares<const N: usize> = [[Lanes; N]; N];

/// A linear map of lines of `FROM` elements to lines of `TO`.
pub trait Line<const FROM: usize, const TO: usize> {
    fn map(line: [Lanes; FROM]) -> [Lanes; TO];
}

/// `Bᵀ`: a tile's inputs to points.
pub struct Input;

/// `G`: a kernel's taps to points.
pub struct Kernel;

/// `Aᵀ`: points to a tile's results.
pub struct Output;

/// The transposed map, which gradients go through.
pub struct Gradient<L>(PhantomData<L>);

/// A loop where `array::from_fn` would do, which is not always inlined.
#[inline(always)]
fn each(value: impl Fn(usize) -> f32) -> Lanes {
    let mut values = [0.0; WIDTH];
    for (i, v) in values.iter_mut().enumerate() {
        *v = value(i);
    }
    values
}

impl Line<SPAN, SPAN> for Input {
    #[inline(always)]
    fn map([a, b, c, d, e, f]: [Lanes; SPAN]) -> [Lanes; SPAN] {
        [
            each(|i| 4.0 * a[i] - 5.0 * c[i] + e[i]),
            each(|i| (e[i] - 4.0 * c[i]) + (d[i] - 4.0 * b[i])),
            each(|i| (e[i] - 4.0 * c[i]) - (d[i] - 4.0 * b[i])),
            each(|i| (e[i] - c[i]) + 2.0 * (d[i] - b[i])),
            each(|i| (e[i] - c[i]) - 2.0 * (d[i] - b[i])),
            each(|i| 4.0 * b[i] - 5.0 * d[i] + f[i]),
        ]
    }
}

impl Line<SPAN, SPAN> for Gradient<Input> {
    #[inline(always)]
    fn map([a, b, c, d, e, f]: [Lanes; SPAN]) -> [Lanes; SPAN] {
        [
            each(|i| 4.0 * a[i]),
            each(|i| 4.0 * (c[i] - b[i]) + 2.0 * (e[i] - d[i]) + 4.0 * f[i]),
            each(|i| -5.0 * a[i] - 4.0 * (b[i] + c[i]) - (d[i] + e[i])),
            each(|i| (b[i] - c[i]) + 2.0 * (d[i] - e[i]) - 5.0 * f[i]),
            each(|i| a[i] + (b[i] + c[i]) + (d[i] + e[i])),
            f,
        ]
    }
}

impl Line<KERNEL, SPAN> for Kernel {
    #[inline(always)]
    fn map([a, b, c]: [Lanes; KERNEL]) -> [Lanes; SPAN] {
        [
            each(|i| a[i] / 4.0),
            each(|i| (a[i] + b[i] + c[i]) / -6.0),
            each(|i| (a[i] - b[i] + c[i]) / -6.0),
            each(|i| (a[i] + 2.0 * b[i] + 4.0 * c[i]) / 24.0),
            each(|i| (a[i] - 2.0 * b[i] + 4.0 * c[i]) / 24.0),
            c,
        ]
    }
}

impl Line<SPAN, KERNEL> for Gradient<Kernel> {
    #[inline(always)]
    fn map([a, b, c, d, e, f]: [Lanes; SPAN]) -> [Lanes; KERNEL] {
        [
            each(|i| a[i] / 4.0 - (b[i] + c[i]) / 6.0 + (d[i] + e[i]) / 24.0),
            each(|i| (c[i] - b[i]) / 6.0 + (d[i] - e[i]) / 12.0),
            each(|i| (d[i] + e[i]) / 6.0 - (b[i] + c[i]) / 6.0 + f[i]),
        ]
    }
}

impl Line<SPAN, TILE> for Output {
    #[inline(always)]
    fn map([a, b, c, d, e, f]: [Lanes; SPAN]) -> [Lanes; TILE] {
        [
            each(|i| a[i] + (b[i] + c[i]) + (d[i] + e[i])),
            each(|i| (b[i] - c[i]) + 2.0 * (d[i] - e[i])),
            each(|i| (b[i] + c[i]) + 4.0 * (d[i] + e[i])),
            each(|i| (b[i] - c[i]) + 8.0 * (d[i] - e[i]) + f[i]),
        ]
    }
}

impl Line<TILE, SPAN> for Gradient<Output> {
    #[inline(always)]
    fn map([a, b, c, d]: [Lanes; TILE]) -> [Lanes; SPAN] {
        [
            a,
            each(|i| (a[i] + c[i]) + (b[i] + d[i])),
            each(|i| (a[i] + c[i]) - (b[i] + d[i])),
            each(|i| (a[i] + 4.0 * c[i]) + 2.0 * (b[i] + 4.0 * d[i])),
            each(|i| (a[i] + 4.0 * c[i]) - 2.0 * (b[i] + 4.0 * d[i])),
            d,
        ]
    }
}

/// Maps squares along both axes.
#[inline(always)]
pub fn map<L: Line<FROM, TO>, const FROM: usize, const TO: usize>(
    from: &Squares<FROM>,
) -> Squares<TO> {
    let mut columns = [[[0.0; WIDTH]; TO]; FROM];
    for (x, column) in columns.iter_mut().enumerate() {
        let mut line = [[0.0; WIDTH]; FROM];
        for (values, row) in line.iter_mut().zip(from) {
            *values = row[x];
        }
        *column = L::map(line);
    }
    let mut to = [[[0.0; WIDTH]; TO]; TO];
    for (y, row) in to.iter_mut().enumerate() {
        let mut line = [[0.0; WIDTH]; FROM];
        for (values, column) in line.iter_mut().zip(&columns) {
            *values = column[y];
        }
        *row = L::map(line);
    }
    to
}

/// Writes the first squares: element `(y, x)` of square `i` to `(y · N + x) · stride + i`.
#[inline(always)]
pub fn store<const N: usize>(squares: &Squares<N>, to: &mut [f32], stride: usize, count: usize) {
    for (index, values) in squares.iter().flatten().enumerate() {
        let to = &mut to[index * stride..];
        match to.first_chunk_mut() {
            Some(to) if count >= WIDTH => *to = *values,
            _ => to
                .iter_mut()
                .zip(values)
                .take(count)
                .for_each(|(t, v)| *t = *v),
        }
    }
}

/// Reads what [`store`] writes; lanes beyond it are zero.
#[inline(always)]
pub fn load<const N: usize>(from: &[f32], stride: usize, count: usize) -> Squares<N> {
    let mut squares = [[[0.0; WIDTH]; N]; N];
    for (index, values) in squares.iter_mut().flatten().enumerate() {
        let from = &from[index * stride..];
        match from.first_chunk() {
            Some(from) if count >= WIDTH => *values = *from,
            _ => values
                .iter_mut()
                .zip(from)
                .take(count)
                .for_each(|(v, f)| *v = *f),
        }
    }
    squares
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::array;

    fn lanes(value: f32) -> Lanes {
        [value; WIDTH]
    }

    /// The matrix of a map: a row for each element that it gives.
    fn matrix<L: Line<FROM, TO>, const FROM: usize, const TO: usize>() -> [[f32; FROM]; TO] {
        let columns: [[f32; TO]; FROM] = array::from_fn(|from| {
            let unit = array::from_fn(|i| lanes(f32::from(u8::from(i == from))));
            L::map(unit).map(|values| values[0])
        });
        array::from_fn(|to| columns.map(|column| column[to]))
    }

    fn transposed<L, const FROM: usize, const TO: usize>()
    where
        L: Line<FROM, TO>,
        Gradient<L>: Line<TO, FROM>,
    {
        let there = matrix::<L, FROM, TO>();
        let back = matrix::<Gradient<L>, TO, FROM>();
        for (i, row) in there.iter().enumerate() {
            for (j, value) in row.iter().enumerate() {
                assert!((value - back[j][i]).abs() < 1e-7, "{i} {j}");
            }
        }
    }

    #[test]
    fn gradients_go_through_the_transposed_maps() {
        transposed::<Input, SPAN, SPAN>();
        transposed::<Kernel, KERNEL, SPAN>();
        transposed::<Output, SPAN, TILE>();
    }

    #[test]
    fn a_line_is_convolved() {
        let (line, taps) = ([1.0f32, -2.0, 3.0, 0.5, 4.0, -1.0], [2.0f32, -1.0, 0.5]);
        let (points, kernel) = (Input::map(line.map(lanes)), Kernel::map(taps.map(lanes)));
        let results = Output::map(array::from_fn(|i| lanes(points[i][0] * kernel[i][0])));
        for (at, result) in results.into_iter().enumerate() {
            let want: f32 = (0..KERNEL).map(|tap| line[at + tap] * taps[tap]).sum();
            assert!(
                (result[0] - want).abs() < 1e-5,
                "{at}: {result:?}, not {want}"
            );
        }
    }

    #[test]
    fn what_is_stored_is_loaded() {
        let squares: Squares<2> = array::from_fn(|y| {
            array::from_fn(|x| array::from_fn(|i| (y * 100 + x * 10 + i + 1) as f32))
        });
        for count in [WIDTH, 5] {
            let mut kept = vec![0.0; 4 * 9];
            store(&squares, &mut kept, 9, count);
            let loaded = load::<2>(&kept, 9, count);
            for (a, b) in loaded.iter().flatten().zip(squares.iter().flatten()) {
                assert_eq!(a[..count], b[..count]);
                assert!(a[count..].iter().all(|v| *v == 0.0));
            }
        }
    }
}
