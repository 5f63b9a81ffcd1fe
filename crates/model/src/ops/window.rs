//! Where a window's taps fall: the arithmetic that convolutions and pools
//! share.

use super::args::Shapes;
use crate::{AutoPad, ModelError, Node, Window};

/// A window placed over spatial extents: every list has one entry for each
/// spatial axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Extents of the input.
    pub input: Vec<usize>,
    /// Extents of the output: where the window may stand.
    pub output: Vec<usize>,
    kernel: Vec<usize>,
    strides: Vec<usize>,
    dilations: Vec<usize>,
    begin: Vec<usize>,
    end: Vec<usize>,
}

impl Placement {
    /// Places `window`, whose kernel defaults to `kernel`, over `input`.
    ///
    /// # Errors
    /// Lists of another length than the axes, a window that fits nowhere.
    pub fn new(
        node: &Node,
        window: &Window,
        kernel: &[usize],
        input: &[usize],
    ) -> Result<Self, ModelError> {
        let args = Shapes { node, inputs: &[] };
        let rank = input.len();
        let kernel = list(&args, "kernel_shape", &window.kernel, kernel)?;
        let strides = list(&args, "strides", &window.strides, &vec![1; rank])?;
        let dilations = list(&args, "dilations", &window.dilations, &vec![1; rank])?;
        let pads = list(&args, "pads", &window.pads, &vec![0; 2 * rank])?;
        if kernel.len() != rank {
            return Err(args.wrong(format!(
                "a window of {} axes over {rank} spatial axes",
                kernel.len()
            )));
        }
        args.shape(&kernel)?;
        let mut placement = Self {
            input: input.to_vec(),
            output: Vec::with_capacity(rank),
            begin: Vec::with_capacity(rank),
            end: Vec::with_capacity(rank),
            kernel,
            strides,
            dilations,
        };
        for axis in 0..rank {
            let given = (pads[axis], pads[axis + rank]);
            let (output, begin, end) = placement
                .place(window, axis, given)
                .ok_or_else(|| args.wrong(placement.misfit(axis, given)))?;
            placement.output.push(output);
            placement.begin.push(begin);
            placement.end.push(end);
        }
        Ok(placement)
    }

    /// Output extent and pads of an axis; `None` where no window fits or the
    /// numbers overflow.
    fn place(
        &self,
        window: &Window,
        axis: usize,
        given: (usize, usize),
    ) -> Option<(usize, usize, usize)> {
        let (input, stride) = (self.input[axis], self.strides[axis]);
        if stride == 0 || self.dilations[axis] == 0 || input == 0 {
            return None;
        }
        let taps = self.kernel[axis].checked_sub(1)?;
        let extent = taps.checked_mul(self.dilations[axis])?.checked_add(1)?;
        // Positions are computed with in isize.
        extent
            .checked_add(input)
            .and_then(|n| n.checked_add(given.0)?.checked_add(given.1))
            .filter(|&n| n < isize::MAX as usize / 4)?;
        let (begin, end) = match window.auto_pad {
            AutoPad::NotSet => given,
            AutoPad::Valid => (0, 0),
            AutoPad::SameUpper | AutoPad::SameLower => {
                let output = input.div_ceil(stride);
                let last = (output - 1).checked_mul(stride)?.checked_add(extent)?;
                let total = last.saturating_sub(input);
                let less = total / 2;
                match window.auto_pad {
                    AutoPad::SameUpper => (less, total - less),
                    _ => (total - less, less),
                }
            }
        };
        let padded = input.checked_add(begin)?.checked_add(end)?;
        let room = padded.checked_sub(extent)?;
        let mut output = room / stride + 1;
        if window.ceil_mode && window.auto_pad == AutoPad::NotSet && room % stride != 0 {
            // A last window that would start in the end pad is dropped.
            let start = output.checked_mul(stride)?;
            if start < input + begin {
                output += 1;
            }
        }
        Some((output, begin, end))
    }

    fn misfit(&self, axis: usize, pads: (usize, usize)) -> String {
        format!(
            "no window fits spatial axis {axis}: extent {}, kernel {}, stride {}, dilation {}, \
             pads {} and {}",
            self.input[axis],
            self.kernel[axis],
            self.strides[axis],
            self.dilations[axis],
            pads.0,
            pads.1
        )
    }

    /// Calls `visit(tap, position)` for every tap that falls on the input when
    /// the window stands at output `at`: `tap` is the index in the kernel and
    /// `position` the index in the spatial plane, both row-major. The work is
    /// bounded by the input, however large the kernel is.
    pub fn visit(&self, at: &[usize], mut visit: impl FnMut(usize, usize)) {
        let rank = self.kernel.len();
        let (first, counts): (Vec<usize>, Vec<usize>) = (0..rank)
            .map(|axis| self.taps_on_input(axis, at[axis]))
            .unzip();
        let mut step = vec![0; rank];
        for _ in 0..counts.iter().product() {
            let (mut tap, mut position) = (0, 0);
            for axis in 0..rank {
                let t = first[axis] + step[axis];
                let padded = at[axis] * self.strides[axis] + t * self.dilations[axis];
                tap = tap * self.kernel[axis] + t;
                position = position * self.input[axis] + padded - self.begin[axis];
            }
            visit(tap, position);
            advance(&mut step, &counts);
        }
    }

    /// Where a tap falls along an axis, off the input too, when the window
    /// stands at output `at`.
    pub fn position(&self, axis: usize, at: usize, tap: usize) -> f64 {
        let padded = at * self.strides[axis] + tap * self.dilations[axis];
        padded as f64 - self.begin[axis] as f64
    }

    /// The first tap of an axis that falls on the input, and how many do.
    fn taps_on_input(&self, axis: usize, at: usize) -> (usize, usize) {
        let (start, step) = (at * self.strides[axis], self.dilations[axis]);
        let before = |edge: usize| edge.saturating_sub(start).div_ceil(step);
        let first = before(self.begin[axis]).min(self.kernel[axis]);
        let end = before(self.begin[axis] + self.input[axis]).min(self.kernel[axis]);
        (first, end - first)
    }

    /// Taps of the window at output `at` that fall on the input or its pads,
    /// but not beyond the end pad.
    pub fn taps_with_pads(&self, at: &[usize]) -> usize {
        (0..self.kernel.len())
            .map(|axis| {
                let limit = self.input[axis] + self.begin[axis] + self.end[axis];
                let room = limit.saturating_sub(at[axis] * self.strides[axis]);
                room.div_ceil(self.dilations[axis]).min(self.kernel[axis])
            })
            .product()
    }
}

/// The list, or its default when empty; the lengths must agree.
fn list(
    args: &Shapes<'_>,
    name: &str,
    given: &[usize],
    default: &[usize],
) -> Result<Vec<usize>, ModelError> {
    match given.len() {
        0 => Ok(default.to_vec()),
        n if n == default.len() => Ok(given.to_vec()),
        n => Err(args.wrong(format!(
            "`{name}` needs {} entries, found {n}",
            default.len()
        ))),
    }
}

/// Steps an index through extents, row-major; wraps to zeros after the last.
pub(super) fn advance(index: &mut [usize], extents: &[usize]) {
    for axis in (0..index.len()).rev() {
        index[axis] += 1;
        if index[axis] < extents[axis] {
            return;
        }
        index[axis] = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Op;

    fn place(window: &Window, input: &[usize]) -> Result<Placement, ModelError> {
        let node = Node::new("n", Op::Relu, &[], &[]);
        Placement::new(&node, window, &window.kernel, input)
    }

    #[test]
    fn ceil_mode_drops_a_window_that_starts_in_the_end_pad() {
        let mut window = Window::new(&[2]).stride(&[3]).pad(&[0, 1]);
        window.ceil_mode = true;
        assert_eq!(place(&window, &[6]).unwrap().output, [2]);
        assert_eq!(place(&window, &[7]).unwrap().output, [3]);
    }

    #[test]
    fn same_padding_puts_the_odd_cell_where_it_is_asked() {
        let mut window = Window::new(&[2]);
        window.auto_pad = AutoPad::SameUpper;
        let upper = place(&window, &[4]).unwrap();
        assert_eq!(
            (upper.output, upper.begin, upper.end),
            (vec![4], vec![0], vec![1])
        );
        window.auto_pad = AutoPad::SameLower;
        let lower = place(&window, &[4]).unwrap();
        assert_eq!((lower.begin, lower.end), (vec![1], vec![0]));
    }

    #[test]
    fn hostile_windows_are_refused() {
        for window in [
            Window::new(&[0]),
            Window::new(&[5]),
            Window::new(&[2]).stride(&[0]),
            Window::new(&[usize::MAX]),
            Window::new(&[2]).pad(&[usize::MAX, usize::MAX]),
            Window::new(&[2]).pad(&[1]),
            Window::new(&[2, 2]),
        ] {
            assert!(place(&window, &[4]).is_err(), "{window:?}");
        }
    }
}
