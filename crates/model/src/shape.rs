//! Shapes: the extents of a tensor, outermost first.

use crate::ModelError;
use std::fmt;
use std::ops::Deref;

/// The extents of a tensor, outermost first; the element count is known to fit
/// in `isize`, so that index arithmetic on a valid shape cannot overflow.
///
/// ```
/// # use secateur_model::Shape;
/// let shape = Shape::new(&[2, 3, 4])?;
/// assert_eq!(shape.elements(), 24);
/// assert_eq!(shape.strides(), [12, 4, 1]);
/// # Ok::<(), secateur_model::ModelError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Shape(Vec<usize>);

impl Shape {
    /// Takes the extents, refusing an element count beyond `isize::MAX`.
    pub fn new(dims: &[usize]) -> Result<Self, ModelError> {
        // Zero extents still bound the others, so that strides cannot overflow.
        dims.iter()
            .try_fold(1usize, |n, &d| n.checked_mul(d.max(1)))
            .filter(|&n| isize::try_from(n).is_ok())
            .map(|_| Self(dims.to_vec()))
            .ok_or_else(|| ModelError::ShapeOverflow {
                shape: dims.to_vec(),
            })
    }

    /// The shape of a scalar: no extents, one element.
    pub fn scalar() -> Self {
        Self(Vec::new())
    }

    /// The extents.
    pub fn dims(&self) -> &[usize] {
        &self.0
    }

    /// Number of extents.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// Number of elements; 1 for a scalar.
    pub fn elements(&self) -> usize {
        self.0.iter().product()
    }

    /// Row-major strides in elements.
    pub fn strides(&self) -> Vec<usize> {
        let mut strides = vec![1; self.0.len()];
        for axis in (1..self.0.len()).rev() {
            strides[axis - 1] = strides[axis] * self.0[axis].max(1);
        }
        strides
    }

    /// The extents with NumPy's broadcasting of two shapes; `None` where two
    /// extents differ and neither is 1.
    pub fn broadcast(&self, other: &Self) -> Option<Self> {
        let rank = self.rank().max(other.rank());
        let extent = |s: &Self, axis: usize| {
            (axis + s.rank())
                .checked_sub(rank)
                .map_or(1, |axis| s.0[axis])
        };
        let dims: Option<Vec<usize>> = (0..rank)
            .map(|axis| match (extent(self, axis), extent(other, axis)) {
                (a, b) if a == b => Some(a),
                (1, b) => Some(b),
                (a, 1) => Some(a),
                _ => None,
            })
            .collect();
        Self::new(&dims?).ok()
    }
}

impl Deref for Shape {
    type Target = [usize];

    fn deref(&self) -> &[usize] {
        &self.0
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[")?;
        for (i, dim) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            write!(f, "{separator}{dim}")?;
        }
        write!(f, "]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overflow_is_refused_even_beside_a_zero() {
        assert!(Shape::new(&[usize::MAX, 2]).is_err());
        assert!(Shape::new(&[0, usize::MAX, 2]).is_err());
        assert_eq!(Shape::new(&[0, 3]).unwrap().elements(), 0);
    }

    #[test]
    fn broadcasting_follows_numpy() {
        let shape = |d: &[usize]| Shape::new(d).unwrap();
        assert_eq!(
            shape(&[3, 1]).broadcast(&shape(&[2, 1, 4])),
            Some(shape(&[2, 3, 4]))
        );
        assert_eq!(shape(&[3]).broadcast(&shape(&[4])), None);
        assert_eq!(Shape::scalar().broadcast(&shape(&[4])), Some(shape(&[4])));
    }
}
