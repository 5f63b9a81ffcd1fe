//! The large stay that see large inputs: Wanda's `|w| · ‖x‖` (Sun et al. 2023), squared.

use super::{Calibration, Target, as_shares};
use crate::{CompressError, mean_squares};
use secateur_model::Graph;

/// `w² · E[x²]`, as a share of the layer's: outputs of layers have no common measure.
pub(super) fn scores(
    graph: &Graph,
    targets: &[Target],
    calibration: &Calibration<'_>,
) -> Result<Vec<Vec<f64>>, CompressError> {
    let names: Vec<String> = targets.iter().map(|t| t.name.clone()).collect();
    let squares = mean_squares(graph, calibration.data, calibration.images, &names)?;
    let of = |target: &Target| {
        let squares = squares
            .get(&target.name)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let view = &target.view;
        let values = target.weight.to_f32();
        let position = |(position, &w): (usize, &f32)| {
            let (output, input) = view.place(position);
            let square = squares.get(view.group(output) * view.depth + input);
            f64::from(w) * f64::from(w) * square.copied().unwrap_or(0.0)
        };
        target.unit_scores(as_shares(values.iter().enumerate().map(position).collect()))
    };
    Ok(targets.iter().map(of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pattern;
    use crate::prune::targets;
    use secateur_model::zoo;

    #[test]
    fn an_input_that_is_always_zero_makes_its_weights_worthless() {
        let data = secateur_data::load("digits").unwrap().train;
        let graph = zoo::build("lenet-300-100", [1, 8, 8], 10, 1).unwrap();
        let targets = targets(&graph, Pattern::Unstructured, |name| name == "fc1.weight").unwrap();
        let calibration = Calibration {
            data: &data,
            images: 200,
        };
        let scores = scores(&graph, &targets, &calibration).unwrap();
        // The first pixel of the digits is black in all of these.
        assert!(scores[0].iter().step_by(64).all(|&s| s == 0.0));
        assert!((scores[0].iter().sum::<f64>() - 1.0).abs() < 1e-9);
    }
}
