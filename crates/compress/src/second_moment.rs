//! Second moments of layer inputs: what a layer's output error is measured with.
//!
//! For weights `w` and the inputs `x` of a layer, `E[(Δw · x)²] = Δw · E[x xᵀ] · Δw`: half of Optimal
//! Brain Compression's `Δw · H · Δw` with `H = 2XXᵀ/N` (Frantar & Alistarh 2022). Sums are kept, not
//! samples, so that memory does not grow with the number of images.

use crate::CompressError;
use secateur_data::Dataset;
use secateur_model::Graph;
use secateur_train::{LayerInput, Matrix, add_product, layer_inputs};
use std::collections::BTreeMap;

/// `E[x xᵀ]` and `E[x]` of the inputs of layers, by the name of the layer's weight.
///
/// ```
/// use secateur_compress::SecondMoments;
/// let net = secateur_model::zoo::build("lenet-300-100", [1, 8, 8], 10, 1)?;
/// let data = secateur_data::load("digits")?.train;
/// let moments = SecondMoments::collect(&net, &data, 100, &["fc1.weight".to_owned()])?;
/// let moment = moments.layer("fc1.weight").ok_or("collected above")?;
/// assert_eq!((moment.depth(), moment.count()), (64, 100));
/// assert_eq!(moment.matrix(0).len(), 64 * 64);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct SecondMoments {
    layers: BTreeMap<String, Moment>,
}

/// Bytes that the sums of one collection may take.
const MAX_BYTES: usize = 4 << 30;

/// Rows that are gathered before they are multiplied.
const ROWS: usize = 512;

impl SecondMoments {
    /// Of the first `images` images, for the layers with these weights.
    ///
    /// # Errors
    /// A name that no layer has, a layer whose input is no product's operand, sums of more than
    /// 4 GiB in all.
    pub fn collect(
        graph: &Graph,
        data: &Dataset,
        images: usize,
        layers: &[String],
    ) -> Result<Self, CompressError> {
        let needed: usize = layers
            .iter()
            .map(|l| Self::bytes(graph, l))
            .fold(0, usize::saturating_add);
        if needed > MAX_BYTES {
            return Err(CompressError::Refused {
                step: "second moments",
                reason: format!(
                    "{needed} bytes are needed, {MAX_BYTES} are allowed; take fewer layers at once"
                ),
            });
        }
        let mut gathered: BTreeMap<String, Vec<Sums>> = BTreeMap::new();
        layer_inputs(graph, data, images, layers, &mut |x| {
            let new = || vec![Sums::new(x.depth); x.groups];
            gathered.entry(x.layer.to_owned()).or_insert_with(new)[x.group].add(x);
        })
        .map_err(|error| CompressError::Train {
            step: "second moments".into(),
            error,
        })?;
        let layers = gathered
            .into_iter()
            .map(|(name, groups)| (name, Moment::of(groups)));
        Ok(Self {
            layers: layers.collect(),
        })
    }

    /// Of one layer.
    pub fn layer(&self, name: &str) -> Option<&Moment> {
        self.layers.get(name)
    }

    /// Bytes that the sums of a layer take: `8 · depth²` for each of its groups.
    pub fn bytes(graph: &Graph, layer: &str) -> usize {
        let nodes = graph.nodes.iter();
        let mut layers = nodes
            .filter_map(|n| crate::view::View::of_node(graph, n))
            .filter(|(name, _)| *name == layer);
        layers.next().map_or(0, |(_, view)| {
            let square = view.depth.saturating_mul(view.depth);
            square.saturating_mul(8).saturating_mul(view.groups)
        })
    }
}

/// `E[x xᵀ]` and `E[x]` of one layer's inputs, in f64.
#[derive(Debug, Clone)]
pub struct Moment {
    depth: usize,
    count: usize,
    /// For each group of channels `E[x xᵀ]`, row-major.
    matrices: Vec<Vec<f64>>,
    means: Vec<Vec<f64>>,
}

impl Moment {
    fn of(mut groups: Vec<Sums>) -> Self {
        groups.iter_mut().for_each(Sums::flush);
        let (depth, count) = groups.first().map_or((0, 0), |g| (g.depth, g.count));
        let (matrices, means) = groups.into_iter().map(Sums::means).unzip();
        Self {
            depth,
            count,
            matrices,
            means,
        }
    }

    /// Inputs of an output.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Groups of channels.
    pub fn groups(&self) -> usize {
        self.matrices.len()
    }

    /// Products seen: pixels of all images.
    pub fn count(&self) -> usize {
        self.count
    }

    /// `E[x xᵀ]` of a group, `[depth, depth]`.
    ///
    /// # Panics
    /// When there is no such group.
    pub fn matrix(&self, group: usize) -> &[f64] {
        &self.matrices[group]
    }

    /// `E[x]` of a group.
    ///
    /// # Panics
    /// When there is no such group.
    pub fn mean(&self, group: usize) -> &[f64] {
        &self.means[group]
    }

    /// `E[x xᵀ] − E[x] E[x]ᵀ` of a group: what is left of an output error when the bias takes its mean.
    ///
    /// # Panics
    /// When there is no such group.
    pub fn covariance(&self, group: usize) -> Vec<f64> {
        let mean = &self.means[group];
        let mut centred = self.matrices[group].clone();
        for (row, &a) in centred.chunks_exact_mut(self.depth.max(1)).zip(mean) {
            row.iter_mut().zip(mean).for_each(|(c, b)| *c -= a * b);
        }
        centred
    }
}

/// `Σ x xᵀ` and `Σ x`, and the rows that are not yet in the first.
#[derive(Debug, Clone)]
struct Sums {
    depth: usize,
    count: usize,
    squares: Vec<f64>,
    sum: Vec<f64>,
    rows: Vec<f64>,
}

impl Sums {
    fn new(depth: usize) -> Self {
        Self {
            depth,
            count: 0,
            squares: vec![0.0; depth * depth],
            sum: vec![0.0; depth],
            rows: Vec::new(),
        }
    }

    fn add(&mut self, x: &LayerInput<'_>) {
        for rows in x.rows.chunks(ROWS * self.depth.max(1)) {
            self.rows.extend(rows.iter().map(|&v| f64::from(v)));
            if self.rows.len() >= ROWS * self.depth {
                self.flush();
            }
        }
    }

    fn flush(&mut self) {
        let depth = self.depth.max(1);
        for row in self.rows.chunks_exact(depth) {
            self.sum.iter_mut().zip(row).for_each(|(s, v)| *s += v);
        }
        let count = self.rows.len() / depth;
        let rows = Matrix::new(&self.rows, count, self.depth);
        add_product(&mut self.squares, 1.0, rows.transposed(), rows);
        self.count += count;
        self.rows.clear();
    }

    /// `E[x xᵀ]` and `E[x]` of the rows that were flushed.
    fn means(self) -> (Vec<f64>, Vec<f64>) {
        let per_sample = 1.0 / self.count.max(1) as f64;
        let scaled = |mut sums: Vec<f64>| {
            sums.iter_mut().for_each(|s| *s *= per_sample);
            sums
        };
        (scaled(self.squares), scaled(self.sum))
    }
}

/// `E[x²]` of every input of the layers: the diagonals of [`SecondMoments`], without the rest. Of
/// each layer `[groups, depth]`.
///
/// # Errors
/// As [`SecondMoments::collect`], but for the size.
pub fn mean_squares(
    graph: &Graph,
    data: &Dataset,
    images: usize,
    layers: &[String],
) -> Result<BTreeMap<String, Vec<f64>>, CompressError> {
    let mut sums: BTreeMap<String, (usize, Vec<f64>)> = BTreeMap::new();
    layer_inputs(graph, data, images, layers, &mut |x| {
        let new = || (0, vec![0.0; x.groups * x.depth]);
        let (count, sums) = sums.entry(x.layer.to_owned()).or_insert_with(new);
        let sums = &mut sums[x.group * x.depth..][..x.depth];
        for row in x.rows.chunks_exact(x.depth.max(1)) {
            sums.iter_mut()
                .zip(row)
                .for_each(|(s, &v)| *s += f64::from(v) * f64::from(v));
        }
        if x.group == 0 {
            *count += x.rows.len() / x.depth.max(1);
        }
    })
    .map_err(|error| CompressError::Train {
        step: "activations".into(),
        error,
    })?;
    let mean = |(name, (count, mut sums)): (String, (usize, Vec<f64>))| {
        sums.iter_mut().for_each(|s| *s /= count.max(1) as f64);
        (name, sums)
    };
    Ok(sums.into_iter().map(mean).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use secateur_model::zoo;

    #[test]
    fn sums_are_those_of_the_samples() {
        let data = secateur_data::load("digits").unwrap().train;
        let graph = zoo::build("mobilenet-small", [1, 8, 8], 10, 1).unwrap();
        let layers = ["conv1.weight", "block1.depthwise.weight", "fc.weight"].map(str::to_owned);
        let images = 23;
        let moments = SecondMoments::collect(&graph, &data, images, &layers).unwrap();
        let diagonals = mean_squares(&graph, &data, images, &layers).unwrap();
        for layer in &layers {
            let moment = moments.layer(layer).unwrap();
            let (d, groups) = (moment.depth(), moment.groups());
            let mut naive = vec![vec![0.0f64; d * d]; groups];
            let mut means = vec![vec![0.0f64; d]; groups];
            layer_inputs(
                &graph,
                &data,
                images,
                std::slice::from_ref(layer),
                &mut |x| {
                    for row in x.rows.chunks_exact(d) {
                        for i in 0..d {
                            means[x.group][i] += f64::from(row[i]);
                            for j in 0..d {
                                naive[x.group][i * d + j] += f64::from(row[i]) * f64::from(row[j]);
                            }
                        }
                    }
                },
            )
            .unwrap();
            let n = moment.count() as f64;
            let close = |a: f64, b: f64| (a - b).abs() < 1e-9 * (1.0 + b.abs());
            for group in 0..groups {
                for (at, &sum) in naive[group].iter().enumerate() {
                    let found = moment.matrix(group)[at];
                    assert!(close(found, sum / n), "{layer} {at}: {found} {}", sum / n);
                    let (i, j) = (at / d, at % d);
                    let centred = sum / n - means[group][i] * means[group][j] / n / n;
                    assert!(close(moment.covariance(group)[at], centred), "{layer}");
                }
                for i in 0..d {
                    assert!(close(moment.mean(group)[i], means[group][i] / n));
                    assert!(close(
                        diagonals[layer][group * d + i],
                        moment.matrix(group)[i * d + i]
                    ));
                }
            }
        }
        assert_eq!(moments.layer("fc.weight").unwrap().count(), images);
    }
}
