//! Built-in networks, freshly initialised.

mod builder;
mod detector;

use crate::{Graph, ModelError};
use builder::Builder;

/// Names that [`build`] takes, with a line on each.
pub const NETWORKS: [(&str, &str); 8] = [
    (
        "lenet-300-100",
        "three fully connected layers (LeCun et al. 1998)",
    ),
    (
        "lenet-5",
        "Caffe's LeNet: two convolutions, two fully connected layers",
    ),
    (
        "resnet-20",
        "20 layers with residual additions for 32x32 (He et al. 2016)",
    ),
    (
        "mobilenet-small",
        "depthwise separable convolutions for 32x32",
    ),
    (
        "vgg-small",
        "six 3x3 convolutions with batch normalisation for 32x32",
    ),
    (
        "ssd-small",
        "finds objects in one pass: ten 3x3 convolutions, two grids of cells",
    ),
    (
        "alexnet-cifar",
        "AlexNet's five convolutions and three fully connected layers for 32x32",
    ),
    (
        "resnet-9",
        "2 million parameters that learn 32x32 pictures in few epochs",
    ),
];

/// Builds a network for `[channels, height, width]` images and so many classes,
/// with He-normal weights from the seed.
///
/// ```
/// let net = secateur_model::zoo::build("lenet-300-100", [1, 28, 28], 10, 1)?;
/// assert_eq!(net.parameters(), 266_610);
/// # Ok::<(), secateur_model::ModelError>(())
/// ```
///
/// # Errors
/// An unknown name, images too small for the network.
pub fn build(
    name: &str,
    input: [usize; 3],
    classes: usize,
    seed: u64,
) -> Result<Graph, ModelError> {
    let mut b = Builder::new(name, input, seed);
    match name {
        "lenet-300-100" => {
            b.flatten();
            b.linear("fc1", 300)?.relu();
            b.linear("fc2", 100)?.relu();
            b.linear("fc3", classes)?;
        }
        // Caffe's has no activation after its convolutions; with one, as is
        // common, zeros appear that an engine can skip.
        "lenet-5" => {
            b.conv("conv1", 20, 5, 1, 0, 1)?
                .bias("conv1")?
                .relu()
                .max_pool(2)?;
            b.conv("conv2", 50, 5, 1, 0, 1)?
                .bias("conv2")?
                .relu()
                .max_pool(2)?;
            b.flatten();
            b.linear("fc1", 500)?.relu();
            b.linear("fc2", classes)?;
        }
        "vgg-small" => {
            for (stage, channels) in [64, 128, 256].into_iter().enumerate() {
                for layer in 1..=2 {
                    let name = format!("conv{}_{layer}", stage + 1);
                    b.conv(&name, channels, 3, 1, 1, 1)?.norm(&name)?.relu();
                }
                b.max_pool(2)?;
            }
            b.global_pool();
            b.linear("fc", classes)?;
        }
        "resnet-20" => {
            b.conv("conv1", 16, 3, 1, 1, 1)?.norm("conv1")?.relu();
            for (stage, channels) in [16, 32, 64].into_iter().enumerate() {
                for block in 1..=3 {
                    let stride = if stage > 0 && block == 1 { 2 } else { 1 };
                    b.residual(&format!("stage{}.{block}", stage + 1), channels, stride)?;
                }
            }
            b.global_pool();
            b.linear("fc", classes)?;
        }
        "mobilenet-small" => {
            b.conv("conv1", 32, 3, 1, 1, 1)?.norm("conv1")?.relu();
            let blocks = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (256, 1)];
            for (i, (channels, stride)) in blocks.into_iter().enumerate() {
                let depth = format!("block{}.depthwise", i + 1);
                let point = format!("block{}.pointwise", i + 1);
                let groups = b.shape[0];
                b.conv(&depth, groups, 3, stride, 1, groups)?
                    .norm(&depth)?
                    .relu();
                b.conv(&point, channels, 1, 1, 0, 1)?.norm(&point)?.relu();
            }
            b.global_pool();
            b.linear("fc", classes)?;
        }
        "ssd-small" => return b.ssd_small(input, classes),
        // AlexNet (Krizhevsky et al. 2012) without its strides, which 32x32 pictures have
        // no room for; most of its weights are fully connected, as there.
        "alexnet-cifar" => {
            b.conv("conv1", 64, 3, 1, 1, 1)?
                .bias("conv1")?
                .relu()
                .max_pool(2)?;
            b.conv("conv2", 128, 3, 1, 1, 1)?
                .bias("conv2")?
                .relu()
                .max_pool(2)?;
            for (layer, channels) in [(3, 192), (4, 128), (5, 128)] {
                let name = format!("conv{layer}");
                b.conv(&name, channels, 3, 1, 1, 1)?.bias(&name)?.relu();
            }
            b.max_pool(2)?;
            b.flatten();
            b.dropout("fc1", 0.5).linear("fc1", 1536)?.relu();
            b.dropout("fc2", 0.5).linear("fc2", 1024)?.relu();
            b.linear("fc3", classes)?;
        }
        // The widths and the order convolution, pooling, normalisation, activation are
        // those of the fastest CIFAR-10 networks (Jordan 2024), the residual branches those
        // of ResNet-9 (Page 2018); pooling first makes the early, largest layers cheap.
        "resnet-9" => {
            b.conv("stem", 24, 3, 1, 1, 1)?.norm("stem")?.relu();
            for (stage, (channels, inner)) in [(64, 2), (256, 1), (256, 1)].into_iter().enumerate()
            {
                let stage = format!("stage{}", stage + 1);
                b.conv(&format!("{stage}.conv"), channels, 3, 1, 1, 1)?
                    .max_pool(2)?
                    .norm(&stage)?
                    .relu();
                b.branch(&stage, inner)?;
            }
            b.global_max_pool();
            b.linear("fc", classes)?;
        }
        _ => {
            let names: Vec<&str> = NETWORKS.iter().map(|(n, _)| *n).collect();
            return Err(ModelError::Graph(format!(
                "no built-in network `{name}`; there are {}",
                names.join(", ")
            )));
        }
    }
    Ok(b.finish(classes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_their_known_sizes() {
        let parameters = |name, input| build(name, input, 10, 1).unwrap().parameters();
        assert_eq!(parameters("lenet-5", [1, 28, 28]), 431_080);
        assert!((268_000..280_000).contains(&parameters("resnet-20", [3, 32, 32])));
        for (name, _) in NETWORKS {
            let mut net = build(name, [3, 32, 32], 10, 7).unwrap();
            net.sort().unwrap();
            assert_eq!(net, build(name, [3, 32, 32], 10, 7).unwrap());
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(build("lenet-300-100", [1, 8, 8], 10, 1).is_ok());
        let small = build("lenet-5", [1, 8, 8], 10, 1).unwrap_err().to_string();
        assert!(small.contains("too small"), "{small}");
        assert!(build("lenet-6", [1, 28, 28], 10, 1).is_err());
    }
}
