//! A tensor as groups of the elements that share their place on all axes but a
//! few: what a reduction or a normalization works on.

use crate::Shape;

/// The groups of a shape along some of its axes.
pub(super) struct Lanes {
    /// Extent and stride of each axis that is not part of a group, innermost first.
    kept: Vec<(usize, usize)>,
    /// Where a group's elements lie, counted from its first, in their order.
    offsets: Vec<usize>,
    groups: usize,
}

impl Lanes {
    /// `axes` must lie within the shape's rank.
    pub fn new(shape: &Shape, axes: &[usize]) -> Self {
        let strides = shape.strides();
        let mut kept = Vec::new();
        // A shape without elements may have an extent beyond all memory.
        let empty = shape.elements() == 0;
        let mut offsets = if empty { Vec::new() } else { vec![0] };
        for axis in 0..shape.rank() {
            let (extent, stride) = (shape[axis], strides[axis]);
            if !axes.contains(&axis) {
                kept.insert(0, (extent, stride));
                continue;
            }
            offsets = offsets
                .iter()
                .flat_map(|start| (0..extent).map(move |i| start + i * stride))
                .collect();
        }
        let groups = kept.iter().map(|(extent, _)| extent).product();
        Self {
            kept,
            offsets,
            groups,
        }
    }

    /// Elements of one group.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// The groups that have elements: without any, the number of groups is not
    /// bounded by the tensor's.
    pub fn filled(&self) -> std::ops::Range<usize> {
        match self.offsets.len() {
            0 => 0..0,
            _ => 0..self.groups,
        }
    }

    /// The number of groups, in row-major order of the axes that are kept.
    pub fn count(&self) -> usize {
        self.groups
    }

    /// The indices of a group's elements.
    pub fn group(&self, mut at: usize) -> impl Iterator<Item = usize> + Clone + '_ {
        let mut first = 0;
        for &(extent, stride) in &self.kept {
            first += at % extent * stride;
            at /= extent;
        }
        self.offsets.iter().map(move |offset| first + offset)
    }
}

#[cfg(test)]
mod tests {
    use super::Lanes;
    use crate::Shape;

    #[test]
    fn groups_run_over_their_axes() {
        let shape = Shape::new(&[2, 3, 2]).unwrap();
        let lanes = Lanes::new(&shape, &[0, 2]);
        assert_eq!((lanes.count(), lanes.len()), (3, 4));
        assert_eq!(lanes.group(1).collect::<Vec<_>>(), [2, 3, 8, 9]);
        let all = Lanes::new(&shape, &[]);
        assert_eq!((all.count(), all.len()), (12, 1));
        let none = Lanes::new(&Shape::new(&[0, 1 << 40]).unwrap(), &[1]);
        assert_eq!((none.count(), none.len()), (0, 0));
        let many = Lanes::new(&Shape::new(&[1 << 40, 0]).unwrap(), &[1]);
        assert_eq!((many.count(), many.filled()), (1 << 40, 0..0));
    }
}
