//! ONNX windows as the kernels' windows over NHWC images.

use secateur_kernels::Window2d;
use secateur_model::{AutoPad, Window};

/// The window over images of `input` that gives images of `output`; the
/// extents come from the shape rule. `None` for windows that are not
/// two-dimensional.
pub fn window2d(
    window: &Window,
    kernel: [usize; 2],
    channels: usize,
    input: [usize; 2],
    output: [usize; 2],
) -> Option<Window2d> {
    let pair = |list: &[usize]| match *list {
        [] => Some([1, 1]),
        [a, b] => Some([a, b]),
        _ => None,
    };
    let (stride, dilation) = (pair(&window.strides)?, pair(&window.dilations)?);
    let mut pads = match (window.auto_pad, &window.pads[..]) {
        (AutoPad::NotSet, &[top, left, bottom, right]) => [top, left, bottom, right],
        (AutoPad::NotSet, []) | (AutoPad::Valid, _) => [0; 4],
        (AutoPad::SameUpper | AutoPad::SameLower, _) => [0; 4],
        _ => return None,
    };
    if matches!(window.auto_pad, AutoPad::SameUpper | AutoPad::SameLower) {
        for axis in 0..2 {
            let extent = kernel[axis].checked_sub(1)?.checked_mul(dilation[axis])? + 1;
            let last = output[axis].saturating_sub(1).checked_mul(stride[axis])?;
            let total = last.checked_add(extent)?.saturating_sub(input[axis]);
            let (less, more) = (total / 2, total - total / 2);
            (pads[axis], pads[axis + 2]) = match window.auto_pad {
                AutoPad::SameUpper => (less, more),
                _ => (more, less),
            };
        }
    }
    Some(Window2d {
        input,
        channels,
        kernel,
        stride,
        dilation,
        pads,
        output,
    })
}

/// Whether every window touches the image: none lies wholly in the padding.
pub fn touches_image(window: &Window2d) -> bool {
    (0..2).all(|axis| {
        let extent = (window.kernel[axis].max(1) - 1) * window.dilation[axis] + 1;
        let dense = window.dilation[axis] == 1 || window.pads == [0; 4];
        dense && window.pads[axis] < extent && window.pads[axis + 2] < extent
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_odd_pad_goes_where_the_attribute_says() {
        let pads = |auto_pad| {
            let window = Window {
                auto_pad,
                strides: vec![2, 2],
                ..Window::new(&[3, 3])
            };
            window2d(&window, [3, 3], 1, [4, 4], [2, 2]).unwrap().pads
        };
        assert_eq!(pads(AutoPad::SameUpper), [0, 0, 1, 1]);
        assert_eq!(pads(AutoPad::SameLower), [1, 1, 0, 0]);
    }
}
