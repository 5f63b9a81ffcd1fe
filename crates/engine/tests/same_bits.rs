//! Whatever the instruction set, the number of threads and the batch: the bits
//! of the reference.

#![allow(clippy::unwrap_used)] // helpers of tests

mod support;

use secateur_engine::{Session, SessionOptions};
use secateur_kernels::Isa;
use secateur_model::{DType, Data, Tensor, ValueInfo};
use secateur_plan::Action;
use support::{FORMS, Form, NETWORKS, images, network};

fn session(graph: &secateur_model::Graph, isa: Isa, threads: usize, reference: bool) -> Session {
    let options = SessionOptions {
        threads: Some(threads),
        isa: Some(isa),
        reference,
        // What is measured on a busy machine must not decide a test.
        calibrate: Some(false),
    };
    Session::new(graph, &options).unwrap()
}

fn largest_difference(a: &Tensor, b: &Tensor) -> f32 {
    let (a, b) = (a.as_f32().unwrap(), b.as_f32().unwrap());
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).fold(0.0, |m, (a, b)| m.max((a - b).abs()))
}

#[test]
fn every_path_gives_the_bits_of_the_reference() {
    for (name, input) in NETWORKS {
        let calibration = images(4, input, 99);
        for form in FORMS {
            let graph = network(name, input, form, &calibration);
            let reference = session(&graph, Isa::Generic, 1, true);
            let cases = [1, 3, 16].map(|batch| {
                let x = images(batch, input, batch as u64);
                let expected = reference.run(&[("input", &x)]).unwrap();
                (x, expected)
            });
            for isa in Isa::available() {
                for threads in [1, 2, 3] {
                    let session = session(&graph, isa, threads, false);
                    for (x, expected) in &cases {
                        let found = session.run(&[("input", x)]).unwrap();
                        let batch = x.shape();
                        assert_eq!(found, *expected, "{name} {form:?} {isa} {threads} {batch}");
                    }
                }
            }
        }
    }
}

#[test]
fn runs_at_once_do_not_mix() {
    let (name, input) = NETWORKS[1];
    let calibration = images(4, input, 99);
    let graph = network(name, input, Form::PrunedInt8, &calibration);
    let alone = session(&graph, Isa::best(), 1, false);
    let shared = session(&graph, Isa::best(), 2, false);
    std::thread::scope(|scope| {
        for caller in 0..3 {
            let (alone, shared) = (&alone, &shared);
            scope.spawn(move || {
                for run in 0..20 {
                    let x = images(1 + caller, input, run);
                    let x = [("input", &x)];
                    assert_eq!(shared.run(&x).unwrap(), alone.run(&x).unwrap());
                }
            });
        }
    });
}

#[test]
fn codes_are_at_most_one_unit_from_what_the_pairs_mean() {
    for (name, input, hidden) in [
        ("lenet-300-100", [1, 28, 28], "fc1.relu.out"),
        ("lenet-5", [1, 28, 28], "conv1.relu.out"),
        ("vgg-small", [3, 8, 8], "conv1_1.norm.relu.out"),
    ] {
        let x = images(4, input, 5);
        for form in [Form::Int8, Form::PrunedInt8, Form::Shared] {
            let mut graph = network(name, input, form, &images(4, input, 99));
            let code = format!("{hidden}.q");
            graph.outputs[0] = ValueInfo {
                name: code.clone(),
                dtype: DType::U8,
                dims: None,
            };
            let session = session(&graph, Isa::best(), 1, false);
            let found = session.run(&[("input", &x)]).unwrap();
            let expected = &support::values_of(&graph, &x)[&code];
            let (Data::U8(found), Data::U8(expected)) = (found[0].data(), expected.data()) else {
                panic!("{name}: no codes");
            };
            let apart = |(a, b): (&u8, &u8)| a.abs_diff(*b);
            let largest = found.iter().zip(expected).map(apart).max().unwrap();
            assert!(largest <= 1, "{name} {form:?}: {largest} units apart");
            assert!(found.iter().any(|&c| c > 100), "{name}: nothing to compare");
        }
    }
}

#[test]
fn lowering_keeps_what_the_network_computes() {
    for (name, input) in NETWORKS {
        let calibration = images(4, input, 99);
        let x = images(3, input, 5);
        for form in FORMS {
            let graph = network(name, input, form, &calibration);
            let expected = &support::values_of(&graph, &x)[&graph.outputs[0].name];
            let found = session(&graph, Isa::best(), 1, false)
                .run(&[("input", &x)])
                .unwrap();
            let range = expected
                .as_f32()
                .unwrap()
                .iter()
                .fold(1e-3f32, |m, v| m.max(v.abs()));
            let allowed = match form {
                Form::Dense | Form::Pruned => 1e-5,
                // Units that fall on the other side of a half add up.
                Form::Int8 | Form::PrunedInt8 | Form::Shared => 0.05,
            };
            let difference = largest_difference(&found[0], expected) / range;
            assert!(difference <= allowed, "{name} {form:?}: {difference}");
        }
    }
}

#[test]
fn quantized_networks_run_on_integers() {
    for (name, input) in [NETWORKS[0], NETWORKS[1], NETWORKS[4]] {
        let calibration = images(4, input, 99);
        let graph = network(name, input, Form::Int8, &calibration);
        let session = session(&graph, Isa::best(), 1, false);
        let shape = images(2, input, 1).shape().clone();
        let bound = session.bind(&[shape]).unwrap();
        for step in &bound.plan().steps {
            assert!(
                !matches!(step.action, Action::Reference(_)),
                "{name} {}",
                step.name
            );
            if matches!(step.action, Action::MatMul { .. } | Action::Conv { .. }) {
                assert!(step.choice.kernel.starts_with("u8i8i32"), "{name} {step:?}");
            }
        }
    }
}

#[test]
fn pruned_networks_run_sparse() {
    for form in [Form::Pruned, Form::PrunedInt8, Form::Shared] {
        let (name, input) = ("lenet-300-100", [1, 28, 28]);
        let graph = network(name, input, form, &images(4, input, 99));
        let session = session(&graph, Isa::best(), 1, false);
        let bound = session
            .bind(&[images(1, input, 1).shape().clone()])
            .unwrap();
        let sparse = |s: &&secateur_plan::Step| s.choice.kernel.contains("spmm");
        assert!(
            bound.plan().steps.iter().filter(sparse).count() >= 2,
            "{form:?}"
        );
    }
}

#[test]
fn slices_give_what_tensors_give() {
    let input = [1, 28, 28];
    let graph = network("lenet-5", input, Form::Int8, &images(4, input, 99));
    let session = session(&graph, Isa::best(), 2, false);
    let x = images(3, input, 7);
    let expected = session.run(&[("input", &x)]).unwrap();
    let bound = session.bind(&[x.shape().clone()]).unwrap();
    let mut y = vec![0.0; 30];
    for _ in 0..3 {
        bound
            .run_into(&[x.as_f32().unwrap()], &mut [&mut y])
            .unwrap();
        assert_eq!(y, expected[0].as_f32().unwrap());
    }
    let profile = bound.profile(&[x.as_f32().unwrap()], 3).unwrap();
    assert_eq!(profile.len(), bound.plan().steps.len());
    assert!(profile.iter().all(|s| s.median_us > 0.0));
}

#[test]
fn sessions_are_shared_between_threads() {
    let input = [1, 12, 12];
    let graph = network("lenet-300-100", input, Form::Pruned, &images(4, input, 99));
    let session = session(&graph, Isa::best(), 2, false);
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let (session, graph) = (&session, &graph);
            scope.spawn(move || {
                let x = images(1 + seed as usize % 2, input, seed);
                let expected = self::session(graph, Isa::Generic, 1, true)
                    .run(&[("input", &x)])
                    .unwrap();
                assert_eq!(session.run(&[("input", &x)]).unwrap(), expected);
            });
        }
    });
}
