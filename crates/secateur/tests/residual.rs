//! Networks with residual sums and pools before normalizations are codes from end to end.
#![allow(clippy::unwrap_used)]

use secateur::compress::ptq::Images;
use secateur::compress::recipe::Step;
use secateur::compress::{Recipe, quantize_network};
use secateur::engine::{Session, SessionOptions};
use secateur::model::{Op, Tensor, eval, zoo};
use secateur::plan::draft::Arithmetic;
use std::ops::ControlFlow;

#[test]
fn no_reals_are_left_between_the_layers() {
    let digits = secateur::data::load("digits").unwrap();
    for name in ["resnet-9", "resnet-20"] {
        let mut net = zoo::build(name, [1, 8, 8], 10, 3).unwrap();
        let dense = net.clone();
        let recipe = Recipe::builtin("int8").unwrap();
        let Some(Step::Quantize(step)) = recipe.steps.first() else {
            panic!("int8 quantizes first");
        };
        let data = &digits.train;
        let samples = Images { data, limit: 32 };
        let go_on = &mut |_, _| ControlFlow::Continue(());
        quantize_network(&mut net, step, &samples, go_on).unwrap();

        let session = Session::new(&net, &SessionOptions::default()).unwrap();
        let draft = session.planner().draft();
        let real = draft.graph.nodes.iter().filter(|node| {
            let arithmetic = draft.fused(node).arithmetic;
            let moves = node.moves_values() || matches!(node.op, Op::QuantizeLinear { .. });
            !moves && arithmetic == Arithmetic::Float
        });
        let real: Vec<&str> = real.map(|n| n.name.as_str()).collect();
        assert!(real.is_empty(), "{name}: {real:?}");

        let mut pixels = vec![0.0; 64];
        data.gather(&[0], &mut pixels);
        let x = Tensor::f32(&[1, 1, 8, 8], pixels).unwrap();
        let found = session.run(&[("input", &x)]).unwrap().remove(0);
        let lowered = draft.evaluate(&[("input", &x)]).unwrap().remove(0);
        assert_eq!(found, lowered, "{name}");
        let dense = eval(&dense, &[("input", x)]).unwrap().remove(0);
        let (found, dense) = (found.as_f32().unwrap(), dense.as_f32().unwrap());
        let far = dense.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        for (a, b) in found.iter().zip(dense) {
            assert!((a - b).abs() < 0.1 * far, "{name}: {found:?} {dense:?}");
        }
    }
}
