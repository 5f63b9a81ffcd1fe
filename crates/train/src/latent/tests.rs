//! The forms of weights under training.

use super::*;
use secateur_model::Shape;

#[test]
fn a_shared_gradient_is_the_mean_of_its_members() {
    let weight = Weight::new(
        Shape::new(&[2, 2]).unwrap(),
        Support::Unstructured(Bitmask::from_bools(&[true, false, true, true])),
        Values::Shared {
            codebook: Codebook::F32(vec![0.5, -1.0]),
            codes: vec![0, 1, 0],
        },
    )
    .unwrap();
    let latent = Latent::new(&weight);
    assert_eq!(latent.effective(), [0.5, 0.0, -1.0, 0.5]);
    assert_eq!(latent.gradient(vec![1.0, 10.0, 2.0, 4.0]), [2.5, 2.0]);
    assert_eq!(latent.to_weight().unwrap(), weight);
}

#[test]
fn cleared_weights_stay_cleared() {
    let weight = Weight::dense(Shape::new(&[1, 3]).unwrap(), vec![1.0, 2.0, 3.0]).unwrap();
    let mut graph = Graph::default();
    graph.constants.insert("w".into(), Constant::Weight(weight));
    let mut latent = LatentWeights::new(&graph, None, false);
    let mask = |bits: &[bool]| Support::Unstructured(Bitmask::from_bools(bits));
    let cleared = Removed::Cleared;
    latent
        .set_support("w", mask(&[true, false, true]), cleared)
        .unwrap();
    latent
        .set_support("w", mask(&[true, true, false]), cleared)
        .unwrap();
    latent.store(&mut graph).unwrap();
    assert_eq!(graph.weight("w").unwrap().to_f32(), [1.0, 0.0, 0.0]);
    assert_eq!(latent.values("w").unwrap(), [1.0, 0.0, 0.0]);
    assert!(latent.set_support("v", mask(&[true]), cleared).is_err());
    assert!(latent.set_support("w", mask(&[true]), cleared).is_err());
}

#[test]
fn shadows_train_out_of_sight_and_the_form_is_kept() {
    let weight = Weight::dense(Shape::new(&[1, 4]).unwrap(), vec![1.0, 2.0, 3.0, 4.0]).unwrap();
    let mut graph = Graph::default();
    graph.constants.insert("w".into(), Constant::Weight(weight));
    let mut latent = LatentWeights::new(&graph, None, false);
    let one_of_two = |bits: &[bool]| Support::NofM {
        n: 1,
        m: 2,
        mask: Bitmask::from_bools(bits),
    };
    let first = one_of_two(&[true, false, false, true]);
    latent
        .set_support("w", first.clone(), Removed::Shadow)
        .unwrap();
    let (_, w) = latent.iter().next().unwrap();
    assert_eq!(w.effective(), [1.0, 0.0, 0.0, 4.0]);
    assert_eq!(w.gradient(vec![0.5; 4]), [0.5; 4]);
    latent.store(&mut graph).unwrap();
    assert_eq!(graph.weight("w").unwrap().support(), &first);
    assert_eq!(graph.weight("w").unwrap().kept_f32(), [1.0, 4.0]);

    latent
        .set_support(
            "w",
            one_of_two(&[false, true, true, false]),
            Removed::Cleared,
        )
        .unwrap();
    let (_, w) = latent.iter().next().unwrap();
    assert_eq!(w.effective(), [0.0, 2.0, 3.0, 0.0]);
    assert_eq!(w.gradient(vec![0.5; 4]), [0.0, 0.5, 0.5, 0.0]);
    let both = one_of_two(&[true, true, false, false]);
    assert!(latent.set_support("w", both, Removed::Cleared).is_err());
}

/// Two rows of pruned 3-bit integers whose scales are learned.
fn integers() -> Latent {
    let shape = Shape::new(&[2, 4]).unwrap();
    let keep = [true, true, false, true, true, false, true, true];
    let rounded = Weight::new(
        shape.clone(),
        Support::Unstructured(Bitmask::from_bools(&keep)),
        Values::Int {
            bits: 3,
            codes: vec![3, 1, -2, 1, 3, -1],
            scale: Scale::PerChannel(vec![0.1, 0.2]),
        },
    );
    let exact = vec![0.31, 0.004, 9.0, -0.2, 0.25, 9.0, 0.95, -0.13];
    let exact = Weight::dense(shape, exact).unwrap();
    let mut latent = Latent::new(&rounded.unwrap());
    latent.start_from(&exact);
    latent.learn_steps(true);
    latent
}

#[test]
fn learned_steps_go_on_from_those_that_were_found() {
    let mut latent = integers();
    latent.learn_steps(false);
    let steps = latent.steps.unwrap().values();
    assert_eq!(steps, [0.1, 0.2]);
}

#[test]
fn learned_steps_start_from_the_mean_magnitude_and_are_stored() {
    let mut latent = integers();
    let Some(steps) = &latent.steps else { panic!() };
    let mean = [(0.31 + 0.004 + 0.2) / 3.0, (0.25 + 0.95 + 0.13) / 3.0];
    for (s, mean) in steps.values().iter().zip(mean) {
        assert!((s - 2.0 * mean / 3f32.sqrt()).abs() < 1e-6);
    }
    let pace = Pace {
        rate: 0.1,
        decay: 0.0,
        step: 1,
    };
    let before = latent.steps.as_ref().unwrap().values();
    latent.descend(vec![1.0; 8], &Optimiser::default(), pace);
    let after = latent.steps.as_ref().unwrap().values();
    assert!(before.iter().zip(&after).all(|(b, a)| a != b));

    let stored = latent.to_weight().unwrap();
    assert_eq!(stored.to_f32(), latent.effective());
    assert_eq!(stored.nonzeros(), 6);
    let Values::Int { scale, .. } = stored.values() else {
        panic!()
    };
    assert_eq!(scale, &Scale::PerChannel(after));
}

/// Straight through the rounding: its error at this point held fixed, the
/// rounded values are differentiable, and the gradient is theirs.
#[test]
fn gradients_of_steps_and_values_are_those_of_the_held_rounding() {
    let mut latent = integers();
    let Values::Int { bits, scale, .. } = latent.weight.values().clone() else {
        panic!()
    };
    let limit = f64::from(max_code(bits));
    let upstream: Vec<f32> = (0..8).map(|i| (i as f32 - 3.2) * 0.3).collect();
    let row_of = |i: usize| scale.index_at(i / 4, i % 4, 4);
    let steps = latent.steps.as_ref().unwrap().values();
    let at_point: Vec<(usize, f64)> = latent
        .kept()
        .filter(|&(i, _)| latent.mask().unwrap().get(i))
        .map(|(i, v)| {
            let s = steps[row_of(i)];
            let clipped = f64::from(v / s).clamp(-limit, limit);
            (i, f64::from(to_code(v, s, bits, true)) - clipped)
        })
        .collect();
    let loss = |values: &[f32], steps: &[f64]| -> f64 {
        let one = |&(i, error): &(usize, f64)| {
            let s = steps[row_of(i)];
            let clipped = (f64::from(values[i]) / s).clamp(-limit, limit);
            f64::from(upstream[i]) * s * (clipped + error)
        };
        at_point.iter().map(one).sum()
    };
    let wide: Vec<f64> = steps.iter().map(|&s| f64::from(s)).collect();
    let mut effective = upstream.clone();
    let of_steps = latent.step_gradient(&mut effective).unwrap();
    for (index, found) in of_steps.iter().enumerate() {
        let moved = |by: f64| {
            let mut steps = wide.clone();
            steps[index] += by;
            loss(&latent.values, &steps)
        };
        let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
        assert!((f64::from(*found) - slope).abs() < 1e-4, "{found} {slope}");
    }
    let of_values = latent.gradient(effective);
    for (i, found) in of_values.iter().enumerate() {
        let mut moved = |by: f32| {
            let old = latent.values[i];
            latent.values[i] += by;
            let loss = loss(&latent.values, &wide);
            latent.values[i] = old;
            loss
        };
        let slope = (moved(1e-3) - moved(-1e-3)) / 2e-3;
        assert!((f64::from(*found) - slope).abs() < 1e-3, "{found} {slope}");
    }
}

#[test]
fn what_is_pruned_stays_so_at_a_price() {
    let mask = Bitmask::from_bools(&[true, false, true, true]);
    let weight = Weight::new(
        Shape::new(&[2, 2]).unwrap(),
        Support::Unstructured(mask),
        Values::F32(vec![1.0, 2.0, -3.0]),
    )
    .unwrap();
    let mut graph = Graph::default();
    graph.constants.insert("w".into(), Constant::Weight(weight));
    let mut latent = LatentWeights::new(&graph, None, false);
    let coded = Coded {
        step: 1.0,
        product_bits: 0.0,
        zeros_return: false,
    };
    latent.code(&BTreeMap::from([("w".into(), coded)])).unwrap();
    let pace = Pace {
        rate: 0.1,
        decay: 0.0,
        step: 1,
    };
    for _ in 0..50 {
        let (_, w) = latent.iter_mut().next().unwrap();
        w.descend(vec![-1.0; 4], &Optimiser::adam(), pace);
    }
    latent.store(&mut graph).unwrap();
    let after = graph.weight("w").unwrap().to_f32();
    assert!(after[1] == 0.0 && after[0] > 1.0, "{after:?}");

    // The integers that it has become: zeros come back where they may.
    for zeros_return in [false, true] {
        let mut latent = LatentWeights::new(&graph, None, false);
        let coded = Coded {
            zeros_return,
            ..coded
        };
        latent.code(&BTreeMap::from([("w".into(), coded)])).unwrap();
        for _ in 0..50 {
            let (_, w) = latent.iter_mut().next().unwrap();
            w.descend(vec![-1.0; 4], &Optimiser::adam(), pace);
        }
        let (_, w) = latent.iter().next().unwrap();
        assert_eq!(w.effective()[1] != 0.0, zeros_return);
    }
}
