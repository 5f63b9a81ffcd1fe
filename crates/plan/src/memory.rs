//! Where each buffer lies in the arena: largest first, each in the smallest
//! gap that fits among the buffers alive at the same time (greedy by size,
//! Pisarchyk and Lee 2020).

use crate::PlanError;

/// Every buffer begins on a cache line.
pub const ALIGNMENT: usize = 64;

/// A piece of memory and the steps between which it is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifetime {
    /// Bytes.
    pub bytes: usize,
    /// The first step that needs it.
    pub first: usize,
    /// The last step that needs it.
    pub last: usize,
}

/// Offsets of all pieces, and the bytes they need together.
///
/// # Errors
/// [`PlanError::ArenaOverflow`].
pub fn arrange(pieces: &[Lifetime]) -> Result<(Vec<usize>, usize), PlanError> {
    let round = |n: usize| {
        n.checked_next_multiple_of(ALIGNMENT)
            .filter(|&n| n < isize::MAX as usize / 2)
            .ok_or(PlanError::ArenaOverflow)
    };
    let mut order: Vec<usize> = (0..pieces.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(pieces[i].bytes), i));
    let mut offsets = vec![0; pieces.len()];
    // Placed pieces as (offset, end, index), by offset.
    let mut placed: Vec<(usize, usize, usize)> = Vec::with_capacity(pieces.len());
    let mut total = 0;
    for &index in &order {
        let piece = &pieces[index];
        let size = round(piece.bytes)?;
        let alive = placed
            .iter()
            .filter(|(_, _, p)| pieces[*p].first <= piece.last && piece.first <= pieces[*p].last);
        let mut best: Option<(usize, usize)> = None;
        let mut free_from = 0;
        for &(offset, end, _) in alive {
            let gap = offset.saturating_sub(free_from);
            if gap >= size && best.is_none_or(|(smallest, _)| gap < smallest) {
                best = Some((gap, free_from));
            }
            free_from = free_from.max(end);
        }
        let offset = best.map_or(free_from, |(_, at)| at);
        let end = offset.checked_add(size).ok_or(PlanError::ArenaOverflow)?;
        offsets[index] = offset;
        total = round(end.max(total))?;
        let at = placed.partition_point(|&(o, _, _)| o < offset);
        placed.insert(at, (offset, end, index));
    }
    Ok((offsets, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(bytes: usize, first: usize, last: usize) -> Lifetime {
        Lifetime { bytes, first, last }
    }

    #[test]
    fn what_is_dead_makes_room() {
        let chain = [piece(100, 0, 1), piece(200, 1, 2), piece(100, 2, 3)];
        let (offsets, total) = arrange(&chain).unwrap();
        assert_eq!(total, 256 + 128);
        assert_eq!(offsets[0], offsets[2]);
    }

    #[test]
    fn pieces_alive_together_never_overlap() {
        let pieces: Vec<_> = (0..60)
            .map(|i| piece((i * 37) % 500, i % 13, i % 13 + i % 5))
            .collect();
        let (offsets, total) = arrange(&pieces).unwrap();
        for (i, a) in pieces.iter().enumerate() {
            assert!(offsets[i] + a.bytes <= total);
            for (j, b) in pieces.iter().enumerate().skip(i + 1) {
                let apart =
                    offsets[i] + a.bytes <= offsets[j] || offsets[j] + b.bytes <= offsets[i];
                assert!(apart || a.last < b.first || b.last < a.first, "{i} {j}");
            }
        }
    }

    #[test]
    fn sizes_beyond_the_address_space_are_refused() {
        let huge = [piece(usize::MAX / 4, 0, 9), piece(usize::MAX / 4, 0, 9)];
        assert_eq!(arrange(&huge), Err(PlanError::ArenaOverflow));
    }
}
