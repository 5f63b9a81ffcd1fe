//! Squares of elements whose rows and columns change places.

/// Side of a square: of f32, a cache line.
pub(crate) const SIDE: usize = 16;

/// `y[c·to_step + r] = x[r·from_step + c]` of a whole square; `None` where either side is too short.
#[inline(always)]
pub(crate) fn turn_square<T: Copy>(
    x: &[T],
    from_step: usize,
    y: &mut [T],
    to_step: usize,
) -> Option<()> {
    let mut lines = [[*x.first()?; SIDE]; SIDE];
    for (r, line) in lines.iter_mut().enumerate() {
        *line = *x.get(r * from_step..)?.first_chunk()?;
    }
    // Four times, each line of the first half is interleaved with one of the second: the bits of a place
    // turn once around those of its line.
    for _ in 0..SIDE.ilog2() {
        let mut turned = lines;
        for (i, pair) in turned.as_chunks_mut::<2>().0.iter_mut().enumerate() {
            *pair = interleaved(lines[i], lines[i + SIDE / 2]);
        }
        lines = turned;
    }
    for (c, line) in lines.iter().enumerate() {
        *y.get_mut(c * to_step..)?.first_chunk_mut()? = *line;
    }
    Some(())
}

#[inline(always)]
fn interleaved<T: Copy>(a: [T; SIDE], b: [T; SIDE]) -> [[T; SIDE]; 2] {
    [0, 1].map(
        #[inline(always)]
        |half| {
            std::array::from_fn(
                #[inline(always)]
                |i| {
                    let from = half * SIDE / 2 + i / 2;
                    if i % 2 == 0 { a[from] } else { b[from] }
                },
            )
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_columns() {
        let x: Vec<u16> = (0..20 * 16).collect();
        let mut y = vec![0; 17 * 16];
        turn_square(&x, 20, &mut y, 17).unwrap();
        for r in 0..SIDE {
            for c in 0..SIDE {
                assert_eq!(y[c * 17 + r], x[r * 20 + c]);
            }
        }
        assert!(turn_square(&x[..315], 20, &mut y, 17).is_none());
        assert!(turn_square(&x, 20, &mut y[..270], 17).is_none());
    }
}
