//! Training of networks that were read.

use crate::NAME;
use crate::model::{extents, small};
use secateur_data::{Dataset, Normalize, Pixels};
use secateur_io::onnx;
use secateur_model::Graph;
use secateur_train::{FitOptions, Quiet, evaluate, fit};

/// Two steps of training on an ONNX network of small declared sizes: an error and the network as it
/// was, or weights that another reader accepts.
pub fn train_onnx(bytes: &[u8]) {
    let Ok(graph) = onnx::read(bytes, None, NAME) else {
        return;
    };
    let Some(data) = images(&graph).filter(|_| small(&graph)) else {
        return;
    };
    let options = FitOptions {
        epochs: 2.0,
        ..FitOptions::default()
    };
    let mut trained = graph.clone();
    match fit(&mut trained, &data, &options, &mut Quiet) {
        Err(_) => assert_eq!(format!("{trained:?}"), format!("{graph:?}")),
        Ok(_) => {
            // NaN can come out of the last step; scoring it must not panic either.
            let _ = evaluate(&trained, &data);
            let kinds = |g: &Graph| -> Vec<_> {
                let kept = g.weights().map(|(name, w)| (name.to_owned(), w.kept()));
                kept.collect()
            };
            assert_eq!(kinds(&trained), kinds(&graph), "supports stay as they are");
        }
    }
}

/// Three images of the network's input, of classes 0 and 1.
fn images(graph: &Graph) -> Option<Dataset> {
    let [input] = graph.inputs.as_slice() else {
        return None;
    };
    let &[_, channels, height, width] = extents(input)?.dims() else {
        return None;
    };
    let labels = vec![0, 1, 1];
    let pixels = (0..labels.len() * channels * height * width).map(|i| (i % 7) as f32 / 7.0);
    Dataset::new(
        NAME,
        channels,
        height,
        width,
        vec!["a".into(), "b".into()],
        Pixels::F32(pixels.collect()),
        labels,
        Normalize::unit(channels),
    )
    .ok()
}
