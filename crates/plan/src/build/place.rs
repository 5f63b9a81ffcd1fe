//! Where the elements of a value lie, along each axis of its shape.

use crate::plan::Layout;
use secateur_kernels::{Axis, KernelError, Nest};
use secateur_model::Shape;

/// A value that is read or written: elements from place to place along each
/// axis of its shape.
pub struct Place {
    pub dims: Vec<usize>,
    pub strides: Vec<usize>,
    layout: Layout,
}

impl Place {
    pub fn new(shape: &Shape, layout: Layout) -> Self {
        let dims = shape.dims().to_vec();
        let strides = match (layout, &dims[..]) {
            (Layout::ChannelsLast, &[_, c, h, w]) => vec![h * w * c, 1, w * c, c],
            _ => shape.strides(),
        };
        Self {
            dims,
            strides,
            layout,
        }
    }

    /// The axes from the longest strides to the shortest.
    pub fn order(&self) -> Vec<usize> {
        match (self.layout, self.dims.len()) {
            (Layout::ChannelsLast, 4) => vec![0, 2, 3, 1],
            (_, rank) => (0..rank).collect(),
        }
    }

    /// Strides along the axes of a value that this one broadcasts to: 0 where
    /// this one is shorter; missing axes come first.
    pub fn broadcast(&self, to: &Self) -> Vec<isize> {
        let missing = to.dims.len().saturating_sub(self.dims.len());
        let stride = |axis: usize| {
            let own = axis.checked_sub(missing)?;
            (self.dims[own] == to.dims[axis]).then_some(self.strides[own] as isize)
        };
        (0..to.dims.len())
            .map(|axis| stride(axis).unwrap_or(0))
            .collect()
    }

    /// Loops over this value, in the order in which it lies, and over operands
    /// that broadcast to it.
    pub fn nest<const N: usize>(&self, operands: [&Self; N]) -> Result<Nest<N>, KernelError> {
        let order = self.order();
        let turns: Vec<usize> = order.iter().map(|&axis| self.dims[axis]).collect();
        let steps = operands.map(|operand| {
            let strides = operand.broadcast(self);
            order.iter().map(|&axis| strides[axis]).collect()
        });
        Nest::new(&turns, steps.each_ref().map(|s: &Vec<isize>| (0, &s[..])))
    }

    /// Some axes as one, where they are neighbours as the value lies.
    pub fn joined(&self, axes: &[usize]) -> Option<Axis> {
        let order = self.order().into_iter().filter(|&a| self.dims[a] != 1);
        let order: Vec<usize> = order.collect();
        let extent = |part: &[usize]| part.iter().map(|&axis| self.dims[axis]).product();
        let marked = |axis: &usize| axes.contains(axis);
        let begin = order.iter().position(marked).unwrap_or(order.len());
        let end = order
            .iter()
            .rposition(marked)
            .map_or(begin, |last| last + 1);
        order[begin..end].iter().all(marked).then(|| Axis {
            outer: extent(&order[..begin]),
            extent: extent(&order[begin..end]),
            run: extent(&order[end..]),
        })
    }

    /// Whether what is left without some axes lies in the graph's order.
    pub fn is_plain_without(&self, axes: &[usize]) -> bool {
        let left = |axis: &usize| self.dims[*axis] != 1 && !axes.contains(axis);
        self.order().into_iter().filter(left).is_sorted()
    }
}

/// An axis counted from the front.
pub fn axis_of(axis: i64, rank: usize) -> Option<usize> {
    let axis = if axis < 0 {
        axis.checked_add(rank as i64)?
    } else {
        axis
    };
    usize::try_from(axis).ok().filter(|&a| a < rank)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(dims: &[usize], layout: Layout) -> Place {
        Place::new(&Shape::new(dims).unwrap(), layout)
    }

    #[test]
    fn axes_that_are_neighbours_become_one() {
        let of = |layout, axes: &[usize]| {
            let axis = place(&[2, 3, 4, 5], layout).joined(axes);
            axis.map(|a| [a.outer, a.extent, a.run])
        };
        assert_eq!(of(Layout::Plain, &[2, 3]), Some([6, 20, 1]));
        assert_eq!(of(Layout::ChannelsLast, &[2, 3]), Some([2, 20, 3]));
        assert_eq!(of(Layout::ChannelsLast, &[1]), Some([40, 3, 1]));
        assert_eq!(of(Layout::Plain, &[1, 3]), None);
        assert_eq!(of(Layout::Plain, &[]), Some([120, 1, 1]));
        let images = place(&[2, 3, 4, 5], Layout::ChannelsLast);
        assert!(images.is_plain_without(&[2, 3]) && !images.is_plain_without(&[3]));
    }

    #[test]
    fn operands_broadcast_in_any_layout() {
        let to = place(&[2, 3, 4, 5], Layout::ChannelsLast);
        let channel = place(&[3, 1, 1], Layout::Plain);
        assert_eq!(channel.broadcast(&to), [0, 1, 0, 0]);
        let nest = to.nest([&to, &channel]).unwrap();
        assert_eq!((nest.outer(), nest.elements()), (40, 120));
    }
}
