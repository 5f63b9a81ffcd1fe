//! Boxes in pictures.

/// A box in parts of its picture: 0 is the left or upper edge, 1 the right or lower one.
///
/// ```
/// use secateur_model::detection::BBox;
/// let left = BBox::new(0.0, 0.0, 0.5, 1.0);
/// let all = BBox::new(0.0, 0.0, 1.0, 1.0);
/// assert_eq!(left.iou(&all), 0.5);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BBox {
    /// Left edge.
    pub left: f32,
    /// Upper edge.
    pub top: f32,
    /// Right edge, not left of the left one.
    pub right: f32,
    /// Lower edge, not above the upper one.
    pub bottom: f32,
}

/// A thing in a picture, as whoever labelled it says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Object {
    /// Position in the list of classes.
    pub class: u32,
    /// Where it is.
    pub bbox: BBox,
    /// Whether it is too hard to be asked for: finding it is neither right nor wrong.
    pub difficult: bool,
}

/// A thing in a picture, as a network says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// Position in the list of classes.
    pub class: u32,
    /// How sure the network is, 0 to 1.
    pub score: f32,
    /// Where it is.
    pub bbox: BBox,
}

impl BBox {
    /// A box by its edges.
    pub fn new(left: f32, top: f32, right: f32, bottom: f32) -> Self {
        Self {
            left,
            top,
            right,
            bottom,
        }
    }

    /// Width times height; 0 where edges have changed places.
    pub fn area(&self) -> f32 {
        (self.right - self.left).max(0.0) * (self.bottom - self.top).max(0.0)
    }

    /// Area that both boxes cover.
    pub fn intersection(&self, other: &Self) -> f32 {
        let width = self.right.min(other.right) - self.left.max(other.left);
        let height = self.bottom.min(other.bottom) - self.top.max(other.top);
        width.max(0.0) * height.max(0.0)
    }

    /// Intersection over union, 0 to 1; 0 where neither box has an area. Units do not matter.
    pub fn iou(&self, other: &Self) -> f32 {
        let both = self.intersection(other);
        let union = self.area() + other.area() - both;
        if union > 0.0 { both / union } else { 0.0 }
    }

    /// The part of the box that lies in the picture.
    pub fn clipped(&self) -> Self {
        let within = |edge: f32| edge.clamp(0.0, 1.0);
        Self {
            left: within(self.left),
            top: within(self.top),
            right: within(self.right),
            bottom: within(self.bottom),
        }
    }

    /// The box of a picture that was moved right and down, in parts of its sides.
    pub fn moved(&self, right: f32, down: f32) -> Self {
        Self {
            left: self.left + right,
            top: self.top + down,
            right: self.right + right,
            bottom: self.bottom + down,
        }
    }

    /// The box of a picture that was mirrored left to right.
    pub fn mirrored(&self) -> Self {
        Self {
            left: 1.0 - self.right,
            right: 1.0 - self.left,
            ..*self
        }
    }

    /// Whether the edges are numbers, in order, and in the picture.
    pub fn is_sound(&self) -> bool {
        let ordered = |low: f32, high: f32| 0.0 <= low && low <= high && high <= 1.0;
        ordered(self.left, self.right) && ordered(self.top, self.bottom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Counts the cells of a grid that boxes on its lines cover.
    fn counted(a: [u8; 4], b: [u8; 4]) -> f32 {
        let within = |x: u8, y: u8, c: [u8; 4]| c[0] <= x && x < c[2] && c[1] <= y && y < c[3];
        let (mut both, mut either) = (0, 0);
        for (x, y) in (0..16).flat_map(|x| (0..16).map(move |y| (x, y))) {
            let (in_a, in_b) = (within(x, y, a), within(x, y, b));
            both += u32::from(in_a && in_b);
            either += u32::from(in_a || in_b);
        }
        if either == 0 {
            0.0
        } else {
            both as f32 / either as f32
        }
    }

    fn edges() -> impl Strategy<Value = [u8; 4]> {
        let pair = || (0u8..=16, 0u8..=16).prop_map(|(a, b)| (a.min(b), a.max(b)));
        (pair(), pair()).prop_map(|((l, r), (t, b))| [l, t, r, b])
    }

    fn bbox(e: [u8; 4]) -> BBox {
        let [l, t, r, b] = e.map(|v| f32::from(v) / 16.0);
        BBox::new(l, t, r, b)
    }

    proptest! {
        #[test]
        fn iou_counts_cells(a in edges(), b in edges()) {
            let (x, y) = (bbox(a), bbox(b));
            prop_assert!((x.iou(&y) - counted(a, b)).abs() < 1e-5);
            prop_assert_eq!(x.iou(&y), y.iou(&x));
            prop_assert!((x.mirrored().iou(&y.mirrored()) - x.iou(&y)).abs() < 1e-5);
            prop_assert!((x.moved(0.25, 0.5).iou(&y.moved(0.25, 0.5)) - x.iou(&y)).abs() < 1e-5);
            prop_assert!(x.is_sound() && x.mirrored().is_sound());
            prop_assert_eq!(x.mirrored().mirrored(), x);
            prop_assert!(x.moved(0.3, -0.3).clipped().is_sound());
        }
    }

    #[test]
    fn unsound_boxes_are_known() {
        assert!(!BBox::new(0.5, 0.0, 0.4, 1.0).is_sound());
        assert!(!BBox::new(0.0, f32::NAN, 0.4, 1.0).is_sound());
        assert!(!BBox::new(0.0, 0.0, 1.1, 1.0).is_sound());
    }
}
