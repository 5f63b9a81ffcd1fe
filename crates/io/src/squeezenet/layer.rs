//! The convolutions, in the order in which the network applies them and the file holds them.

use secateur_model::Window;

/// Channels of the pictures that the network takes.
const COLOURS: usize = 3;
/// Classes of ImageNet.
pub(super) const CLASSES: usize = 1000;

/// Channels of each fire module, from `fire2` on: squeezed, and expanded by each of two kernels.
const FIRES: [(usize, usize); 8] = [
    (16, 64),
    (16, 64),
    (32, 128),
    (32, 128),
    (48, 192),
    (48, 192),
    (64, 256),
    (64, 256),
];

/// One convolution.
pub(super) struct Layer {
    pub name: String,
    /// `[outputs, inputs, height, width]`
    pub dims: [usize; 4],
    pub window: Window,
}

impl Layer {
    fn new(name: impl Into<String>, outputs: usize, inputs: usize, side: usize) -> Self {
        Self {
            name: name.into(),
            dims: [outputs, inputs, side, side],
            window: Window::new(&[side, side]),
        }
    }

    /// The name of its weights.
    pub fn weight(&self) -> String {
        format!("{}.weight", self.name)
    }

    /// The name of its biases.
    pub fn bias(&self) -> String {
        format!("{}.bias", self.name)
    }

    /// Number of weights.
    pub fn elements(&self) -> usize {
        self.dims.iter().product()
    }

    /// Where the weight of a position of the file stands in the graph: pictures have blue first
    /// there and red first here.
    pub fn place(&self, position: usize) -> usize {
        let [_, inputs, height, width] = self.dims;
        if inputs != COLOURS {
            return position;
        }
        let taps = height * width;
        let colour = position / taps % inputs;
        position - colour * taps + (inputs - 1 - colour) * taps
    }
}

/// All 26 of them.
pub(super) fn layers() -> Vec<Layer> {
    let first = Layer::new("conv1", 96, COLOURS, 7);
    let mut channels = first.dims[0];
    let mut layers = vec![Layer {
        window: first.window.clone().stride(&[2, 2]),
        ..first
    }];
    for (number, (squeezed, expanded)) in (2..).zip(FIRES) {
        let fire = |kind: &str| format!("fire{number}.{kind}");
        let wide = Layer::new(fire("expand3x3"), expanded, squeezed, 3);
        layers.extend([
            Layer::new(fire("squeeze1x1"), squeezed, channels, 1),
            Layer::new(fire("expand1x1"), expanded, squeezed, 1),
            Layer {
                window: wide.window.clone().pad(&[1; 4]),
                ..wide
            },
        ]);
        channels = 2 * expanded;
    }
    layers.push(Layer::new("conv10", CLASSES, channels, 1));
    layers
}
