//! A first layer that whitens, from the data alone.

use crate::TrainError;
use crate::score::check_input;
use secateur_data::Dataset;
use secateur_model::graph::FROZEN;
use secateur_model::{Constant, Graph, Op, Support, Values, Weight};

/// Images and patches that are looked at, at most; images spread evenly over the data.
const IMAGES: usize = 2000;
const PATCHES: usize = 2_000_000;
/// Keeps components that hardly vary from becoming noise (Jordan 2024).
const EPSILON: f64 = 5e-4;

/// What became of a first layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whitened {
    /// The name of its weight.
    pub weight: String,
    /// Its filters that whiten: the first ones.
    pub whitening: usize,
    /// All of its filters.
    pub filters: usize,
}

/// Gives the first convolution the filters that whiten the data's patches: their principal
/// components about zero, each divided by its own deviation, and each once with either sign, so
/// that a rectifier behind loses nothing (Jordan 2024, arXiv 2404.00498). What is learned behind
/// such a layer, which itself [stays](crate::FitOptions::frozen), also in what is done to the network
/// later ([`Graph::frozen`]), is learned in fewer passes.
/// Filters beyond the components keep their values.
///
/// A patch is the largest square within the kernel of which all components fit, and two
/// pixels wide at the least.
///
/// # Errors
/// Data that does not fit the network or is empty, a network that does not begin with a
/// convolution of f32 over its channels by kernels of at least 2x2 without groups and gaps.
pub fn whiten(graph: &mut Graph, data: &Dataset) -> Result<Whitened, TrainError> {
    check_input(graph, data)?;
    let First { name, weight, dims } = first_layer(graph, data).ok_or_else(|| {
        TrainError::Setting(format!(
            "`{}` does not begin with a convolution of f32 by kernels of 2x2 or more, which alone \
             can be whitened",
            graph.name
        ))
    })?;
    let [filters, channels, height, width] = dims;
    let fits = |side: &usize| 2 * channels * side * side <= filters;
    let kernel = height.min(width).min(data.height).min(data.width);
    let side = (2..=kernel).rev().find(fits).unwrap_or(2);
    let components = components(second_moments(data, side)?);

    let mut values = weight.to_f32();
    let signed = components.iter().flat_map(|c| [(c, 1.0), (c, -1.0)]);
    // In the middle, or as near as an even patch in an odd kernel can be.
    let (top, left) = ((height - side).div_ceil(2), (width - side).div_ceil(2));
    let kernels = values.chunks_exact_mut(channels * height * width);
    for (filter, (component, sign)) in kernels.zip(signed) {
        filter.fill(0.0);
        let deviation = (component.square.max(0.0) + EPSILON).sqrt();
        for (index, value) in component.direction.iter().enumerate() {
            let (channel, tap) = (index / (side * side), index % (side * side));
            let (y, x) = (top + tap / side, left + tap % side);
            filter[(channel * height + y) * width + x] = (sign * value / deviation) as f32;
        }
    }
    let whitened = Weight::new(weight.shape().clone(), Support::All, Values::F32(values))?;
    graph
        .constants
        .insert(name.clone(), Constant::Weight(whitened));
    graph.metadata.insert(FROZEN.into(), name.clone());
    Ok(Whitened {
        weight: name,
        whitening: filters.min(2 * components.len()),
        filters,
    })
}

/// The weight of the one convolution that sees the images.
struct First {
    name: String,
    weight: Weight,
    /// Filters, channels, height, width.
    dims: [usize; 4],
}

/// The first layer, where it can be whitened.
fn first_layer(graph: &Graph, data: &Dataset) -> Option<First> {
    let input = &graph.inputs.first()?.name;
    let mut readers = graph.nodes.iter().filter(|n| n.inputs.contains(input));
    let (first, None) = (readers.next()?, readers.next()) else {
        return None;
    };
    let name = first.input(1)?;
    let weight = graph.weight(name)?;
    let dims = <[usize; 4]>::try_from(weight.shape().dims()).ok()?;
    let [_, channels, height, width] = dims;
    let plain = match &first.op {
        Op::Conv { window, groups: 1 } => window.dilations.iter().all(|&d| d == 1),
        _ => false,
    };
    let whole = matches!(weight.values(), Values::F32(_)) && weight.support().mask().is_none();
    let fits = channels == data.channels && height.min(width) > 1;
    (plain && whole && fits).then(|| First {
        name: name.to_owned(),
        weight: weight.clone(),
        dims,
    })
}

/// Mean products of the values of a patch, row by row: `channels · side · side` each way.
fn second_moments(data: &Dataset, side: usize) -> Result<Vec<Vec<f64>>, TrainError> {
    if data.is_empty() || data.height < side || data.width < side {
        return Err(TrainError::Setting(format!(
            "whitening needs images of {side}x{side} pixels at the least"
        )));
    }
    let of_an_image = (data.height - side + 1) * (data.width - side + 1);
    let count = (PATCHES / of_an_image).clamp(1, IMAGES).min(data.len());
    let n = data.channels * side * side;
    let mut sums = vec![vec![0.0f64; n]; n];
    let (mut image, mut patch) = (vec![0.0f32; data.image_len()], vec![0.0f32; n]);
    for index in (0..count).map(|i| i * data.len() / count) {
        data.gather(&[index], &mut image);
        // An image's own sums keep their digits in f32, whose loops are fast.
        let mut products = vec![0.0f32; n * n];
        for top in 0..=data.height - side {
            for left in 0..=data.width - side {
                for (row, patch) in patch.chunks_exact_mut(side).enumerate() {
                    let (channel, y) = (row / side, top + row % side);
                    let from = (channel * data.height + y) * data.width + left;
                    patch.copy_from_slice(&image[from..from + side]);
                }
                for (row, a) in products.chunks_exact_mut(n).zip(&patch) {
                    row.iter_mut().zip(&patch).for_each(|(p, b)| *p += a * b);
                }
            }
        }
        for (sums, products) in sums.iter_mut().zip(products.chunks_exact(n)) {
            let products = products.iter().map(|&p| f64::from(p));
            sums.iter_mut().zip(products).for_each(|(s, p)| *s += p);
        }
    }
    let patches = (count * of_an_image) as f64;
    sums.iter_mut().flatten().for_each(|sum| *sum /= patches);
    Ok(sums)
}

/// A direction of length 1, and the mean square of the data along it.
struct Component {
    square: f64,
    direction: Vec<f64>,
}

/// The principal components of a symmetric matrix, the largest first: Jacobi's rotations.
fn components(mut matrix: Vec<Vec<f64>>) -> Vec<Component> {
    const SWEEPS: usize = 50;
    let n = matrix.len();
    let unit = |row: usize| {
        (0..n)
            .map(|column| f64::from(u8::from(row == column)))
            .collect()
    };
    let mut directions: Vec<Vec<f64>> = (0..n).map(unit).collect();
    for _ in 0..SWEEPS {
        let mut turned = false;
        for (p, q) in (0..n).flat_map(|p| (p + 1..n).map(move |q| (p, q))) {
            let of_both = (matrix[p][p] * matrix[q][q]).abs().sqrt();
            if matrix[p][q].abs() <= f64::EPSILON * of_both {
                continue;
            }
            turned = true;
            // The rotation of the two axes that brings their product to nothing.
            let slope = (matrix[q][q] - matrix[p][p]) / (2.0 * matrix[p][q]);
            let tangent = slope.signum() / (slope.abs() + slope.hypot(1.0));
            let cosine = 1.0 / tangent.hypot(1.0);
            let sine = tangent * cosine;
            let turn = |a: f64, b: f64| (cosine * a - sine * b, sine * a + cosine * b);
            for row in &mut matrix {
                (row[p], row[q]) = turn(row[p], row[q]);
            }
            for column in 0..n {
                let (a, b) = turn(matrix[p][column], matrix[q][column]);
                (matrix[p][column], matrix[q][column]) = (a, b);
                let (a, b) = turn(directions[p][column], directions[q][column]);
                (directions[p][column], directions[q][column]) = (a, b);
            }
        }
        if !turned {
            break;
        }
    }
    let mut components: Vec<Component> = directions
        .into_iter()
        .enumerate()
        .map(|(i, direction)| Component {
            square: matrix[i][i],
            direction,
        })
        .collect();
    components.sort_by(|a, b| b.square.total_cmp(&a.square));
    components
}

#[cfg(test)]
mod tests {
    use super::*;
    use secateur_data::{Normalize, Pixels};
    use secateur_model::zoo;

    fn pictures() -> Dataset {
        // Neighbours are alike, and so are channels: there is something to whiten.
        let value = |i: usize| (i / 37 * 13 % 97 + i * 7919 % 23) as u8;
        let pixels = (0..60 * 3 * 12 * 12).map(value).collect();
        let labels = (0..60).map(|i| i % 4).collect();
        let classes = (0..4).map(|i| i.to_string()).collect();
        let (pixels, unit) = (Pixels::U8(pixels), Normalize::unit(3));
        Dataset::new("stripes", 3, 12, 12, classes, pixels, labels, unit).unwrap()
    }

    #[test]
    fn what_the_filters_give_is_white() {
        let data = pictures();
        let mut net = zoo::build("resnet-9", [3, 12, 12], 4, 1).unwrap();
        let found = whiten(&mut net, &data).unwrap();
        assert_eq!([found.whitening, found.filters], [24, 24]);
        let weight = net.weight(&found.weight).unwrap();
        let &[filters, channels, height, width] = weight.shape().dims() else {
            panic!("a kernel");
        };
        assert_eq!([filters, channels, height, width], [24, 3, 3, 3]);
        let values = weight.to_f32();
        let patch = |filter: &[f32]| -> Vec<f64> {
            let taps = (0..12).map(|i| (i / 4 * 9) + (1 + i % 4 / 2) * 3 + 1 + i % 2);
            taps.map(|tap| f64::from(filter[tap])).collect()
        };
        let filters: Vec<Vec<f64>> = values.chunks_exact(27).map(patch).collect();
        let moments = second_moments(&data, 2).unwrap();
        let along = |a: &[f64], b: &[f64]| -> f64 {
            let row = |row: &Vec<f64>| row.iter().zip(b).map(|(c, b)| c * b).sum::<f64>();
            moments.iter().zip(a).map(|(r, a)| row(r) * a).sum()
        };
        for (i, a) in filters.iter().enumerate() {
            for (j, b) in filters.iter().enumerate() {
                let found = along(a, b);
                match i / 2 == j / 2 {
                    true if i == j => assert!((0.2..1.001).contains(&found), "{i}: {found}"),
                    true => assert!((-1.001..-0.2).contains(&found), "{i}: {found}"),
                    false => assert!(found.abs() < 1e-4, "{i} {j}: {found}"),
                }
            }
        }
    }

    #[test]
    fn only_a_convolution_can_be_whitened() {
        let data = pictures();
        let mut net = zoo::build("lenet-300-100", [3, 12, 12], 4, 1).unwrap();
        let before = net.clone();
        let error = whiten(&mut net, &data).unwrap_err().to_string();
        assert!(
            error.contains("does not begin with a convolution"),
            "{error}"
        );
        assert_eq!(net, before);
    }

    #[test]
    fn components_are_those_of_a_known_matrix() {
        let found = components(vec![vec![2.0, 1.0], vec![1.0, 2.0]]);
        assert!((found[0].square - 3.0).abs() < 1e-12 && (found[1].square - 1.0).abs() < 1e-12);
        assert!((found[0].direction[0] - found[0].direction[1]).abs() < 1e-12);
    }
}
