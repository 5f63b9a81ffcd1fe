use super::samples::{all_kinds, shape_of, values, with_constants};
use super::*;
use crate::IoError;
use secateur_model::{Bitmask, DType, Graph, Node, Op, Support, ValueInfo, Values, Weight, zoo};

fn round_trip(graph: &Graph) -> Vec<u8> {
    for store in [Store::Fast, Store::Small, Store::Smallest] {
        let bytes = write(graph, store).unwrap();
        assert_eq!(&read(&bytes, "test.sct").unwrap(), graph);
    }
    write(graph, Store::Small).unwrap()
}

#[test]
fn built_in_networks_come_back() {
    for (name, _) in zoo::NETWORKS {
        let input = if name.starts_with("lenet") {
            [1, 28, 28]
        } else {
            [3, 32, 32]
        };
        round_trip(&zoo::build(name, input, 10, 7).unwrap());
    }
}

#[test]
fn every_operator_tensor_and_weight_comes_back() {
    round_trip(&all_kinds());
    round_trip(&Graph::default());
}

#[test]
fn empty_weights_come_back() {
    for dims in [&[0][..], &[0, 3], &[3, 0]] {
        for support in [Support::All, Support::Unstructured(Bitmask::default())] {
            for values in values(0) {
                // Scales of other counts than the shape needs are refused.
                let weight = Weight::new(shape_of(dims), support.clone(), values);
                if let Ok(weight) = weight {
                    round_trip(&with_constants([Constant::Weight(weight)]));
                }
            }
        }
    }
}

#[test]
fn headers_of_lenet_are_few_bytes() {
    let net = zoo::build("lenet-300-100", [1, 28, 28], 10, 1).unwrap();
    let overhead = round_trip(&net).len() - 4 * net.parameters();
    assert!(overhead < 300, "{overhead} bytes beyond the weights");
}

#[test]
fn summary_adds_up_to_the_file() {
    let graph = all_kinds();
    let bytes = round_trip(&graph);
    let (read, summary) = read_and_inspect(&bytes, "test.sct").unwrap();
    assert_eq!(read, graph);
    assert_eq!(inspect(&bytes, "test.sct").unwrap(), summary);
    let weights: usize = summary.weights.iter().map(|w| w.bytes).sum();
    assert_eq!(
        (summary.bytes, weights + summary.rest),
        (bytes.len(), bytes.len())
    );
    let named = summary.graph + summary.tensors + summary.metadata;
    assert_eq!(named + summary.frame(), summary.rest);
    assert!(summary.graph > 0 && summary.tensors > 0 && summary.frame() > 10);
    for weight in &summary.weights {
        let parts = weight.parts;
        let sum = parts.support + parts.values + parts.parameters + parts.rest;
        assert_eq!(sum, weight.bytes, "{}", weight.name);
        assert!(parts.rest > 0, "{}", weight.name);
        let scaled = matches!(weight.values, "int" | "shared");
        assert_eq!(parts.parameters > 0, scaled, "{}", weight.name);
        let plain = weight.support == "all" && !scaled;
        assert_eq!(weight.coder.is_none(), plain, "{}", weight.name);
    }
    let names: Vec<&str> = summary.weights.iter().map(|w| w.name.as_str()).collect();
    assert_eq!(
        names,
        graph.weights().map(|(name, _)| name).collect::<Vec<_>>()
    );
    let n_of_m = summary
        .weights
        .iter()
        .find(|w| w.support == "1 of 3")
        .unwrap();
    assert_eq!((n_of_m.values, n_of_m.bits, n_of_m.kept), ("f32", 32, 16));
    assert!(n_of_m.bytes > 64);
}

#[test]
fn no_part_of_a_file_is_a_file() {
    let bytes = write(&all_kinds(), Store::Small).unwrap();
    for length in 0..bytes.len() {
        assert!(read(&bytes[..length], "cut.sct").is_err(), "{length} bytes");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(read(&longer, "long.sct").is_err());
}

#[test]
fn no_flipped_bit_goes_unseen() {
    let bytes = write(&all_kinds(), Store::Small).unwrap();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << bit;
            assert!(read(&bytes, "flip.sct").is_err(), "bit {bit} of byte {at}");
        }
    }
}

/// Damage behind a checksum that agrees must be found by the parsers, or be
/// another valid file; it must never be a panic.
#[test]
fn hostile_bytes_with_good_checksums_do_not_panic() {
    let bytes = write(&all_kinds(), Store::Small).unwrap();
    let table = names::NameTable::default();
    let mut file = bytes::Reader::new(&bytes, 0, &table);
    file.take(4).unwrap();
    let sections = [
        section::Section::Graph,
        section::Section::Tensors,
        section::Section::Metadata,
    ];
    let bodies = sections.map(|s| s.read(&mut file).unwrap().0.to_vec());
    for (which, body) in bodies.iter().enumerate() {
        for at in 0..body.len() {
            for change in [0x01, 0x80, 0xFF] {
                let mut hostile = bytes[..4].to_vec();
                for (i, section) in sections.iter().enumerate() {
                    let mut body = bodies[i].clone();
                    if i == which {
                        body[at] ^= change;
                    }
                    section.write(&mut hostile, &body);
                }
                let _ = inspect(&hostile, "hostile.sct");
            }
        }
    }
}

#[test]
fn errors_name_section_and_offset() {
    let bytes = write(&all_kinds(), Store::Small).unwrap();
    let error = |at: usize, to: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = to;
        read(&bytes, "x.sct").unwrap_err().to_string()
    };
    let newer = error(3, 3);
    assert!(
        newer.contains("byte 3") && newer.contains("newer"),
        "{newer}"
    );
    let graph = error(20, 0xFF);
    assert!(
        graph.starts_with("x.sct: graph section, byte 4: CRC"),
        "{graph}"
    );
    let metadata = error(bytes.len() - 5, 0xFF);
    assert!(metadata.contains("metadata section"), "{metadata}");
}

#[test]
fn too_large_shapes_are_refused_before_anything_is_allocated() {
    let shape = |dims: &[usize], elements| {
        let mut w = bytes::Writer::default();
        w.sizes(dims);
        let table = names::NameTable::default();
        let mut r = bytes::Reader::new(&w.bytes, 0, &table).with_elements(elements);
        tensor::read_shape(&mut r).map_err(|damage| damage.reason)
    };
    assert!(shape(&[1 << 20, 0, 1 << 20], usize::MAX).is_err());
    assert!(shape(&[4, 25], 100).is_ok());
    let error = shape(&[4, 25], 99).unwrap_err();
    assert!(error.contains("100 elements"), "{error}");
}

#[test]
fn more_than_a_reader_takes_is_not_written() {
    let shape = shape_of(&[1 << 26, 0]);
    let weight = Weight::new(shape, Support::All, Values::F32(vec![])).unwrap();
    let graph = with_constants([Constant::Weight(weight)]);
    let error = write(&graph, Store::Fast).unwrap_err().to_string();
    assert!(error.contains("67108864 elements"), "{error}");
}

/// A file as [`write`] makes it, of a graph that it would refuse and a tensors
/// section as it is given.
fn unchecked(graph: &Graph, tensors: &[u8]) -> Vec<u8> {
    let mut w = bytes::Writer::default();
    super::graph::put_graph(&mut w, graph);
    let mut structure = Vec::new();
    w.names.write(&mut structure);
    structure.extend(&w.bytes);
    let mut file = b"SCT\x01".to_vec();
    section::Section::Graph.write(&mut file, &structure);
    section::Section::Tensors.write(&mut file, tensors);
    section::Section::Metadata.write(&mut file, &[0]);
    file
}

#[test]
fn cycles_and_numbers_that_are_none_are_named() {
    let relu = |name: &str, from: &str, to: &str| Node::new(name, Op::Relu, &[from], &[to]);
    let cyclic = Graph {
        nodes: vec![relu("a", "x", "y"), relu("b", "y", "x")],
        ..Graph::default()
    };
    let error = read(&unchecked(&cyclic, &[0]), "x.sct").unwrap_err();
    let error = error.to_string();
    assert!(
        error.starts_with("x.sct: graph section") && error.contains("cycle"),
        "{error}"
    );

    // One constant, the first name, form 1 (all, f32), one extent of 1, NaN.
    let named = Graph {
        outputs: vec![ValueInfo {
            name: "w".into(),
            dtype: DType::F32,
            dims: None,
        }],
        ..Graph::default()
    };
    let with = |value: f32| {
        let mut tensors = vec![1, 1, 1, 1, 1];
        tensors.extend(value.to_le_bytes());
        read(&unchecked(&named, &tensors), "x.sct")
    };
    with(1.0).unwrap();
    let error = with(f32::NAN).unwrap_err().to_string();
    assert!(
        error.starts_with("x.sct: tensors section, byte") && error.contains("NaN"),
        "{error}"
    );
}

#[test]
fn a_saved_file_loads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.sct");
    let graph = all_kinds();
    save(&graph, &path, Store::Fast).unwrap();
    save(&graph, &path, Store::Small).unwrap();
    assert_eq!(load(&path).unwrap(), graph);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    assert!(matches!(
        load(folder.path().join("none")),
        Err(IoError::File { .. })
    ));
}

/// A network of few integers, as the smallest files hold.
fn few_integers() -> Graph {
    let mut graph = zoo::build("lenet-5", [1, 28, 28], 10, 1).unwrap();
    let names: Vec<String> = graph.weights().map(|(name, _)| name.to_owned()).collect();
    for name in names {
        let shape = graph.weight(&name).unwrap().shape().clone();
        let mask = Bitmask::from_fn(shape.elements(), |i| i * 7919 % 101 < 3);
        let values = Values::Int {
            bits: 8,
            codes: mask
                .ones()
                .map(|i| if i % 2 == 0 { 1 } else { -2 })
                .collect(),
            scale: secateur_model::Scale::PerTensor(0.125),
        };
        let weight = Weight::new(shape, Support::Unstructured(mask), values).unwrap();
        graph.constants.insert(name, Constant::Weight(weight));
    }
    graph
}

#[test]
fn structure_takes_next_to_nothing_in_the_smallest_files() {
    let graph = few_integers();
    let bytes = write(&graph, Store::Smallest).unwrap();
    let (read, summary) = read_and_inspect(&bytes, "packed.sct").unwrap();
    assert_eq!(read, graph);
    assert!(
        summary.rest < 150,
        "{} bytes beyond the planes",
        summary.rest
    );
    assert_eq!(summary.rest, summary.graph + summary.frame());
    assert!(
        summary
            .weights
            .iter()
            .all(|w| w.bytes == w.parts.support + w.parts.values + w.parts.rest)
    );
    assert!(bytes.len() + 150 < write(&graph, Store::Small).unwrap().len());
}

#[test]
fn no_part_of_a_packed_file_is_a_file_and_no_flipped_bit_goes_unseen() {
    let bytes = write(&few_integers(), Store::Smallest).unwrap();
    assert_eq!(bytes[3], PACKED);
    for length in (0..bytes.len()).step_by(7) {
        assert!(read(&bytes[..length], "cut.sct").is_err(), "{length} bytes");
    }
    for at in (0..bytes.len()).step_by(3) {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1 << (at % 8);
        assert!(read(&bytes, "flip.sct").is_err(), "byte {at}");
    }
}

/// Damage behind a checksum that agrees: an error or another file, no panic.
#[test]
fn hostile_packed_files_do_not_panic() {
    let bytes = write(&few_integers(), Store::Smallest).unwrap();
    let with_sum = |mut body: Vec<u8>| {
        let sum = crc32fast::hash(&body);
        body.extend(sum.to_le_bytes());
        body
    };
    let body = &bytes[..bytes.len() - 4];
    for at in (4..body.len()).step_by(5) {
        for change in [0x01, 0x80, 0xFF] {
            let mut hostile = body.to_vec();
            hostile[at] ^= change;
            let _ = inspect(&with_sum(hostile), "hostile.sct");
        }
        let _ = inspect(&with_sum(body[..at].to_vec()), "hostile.sct");
    }
    let huge = [b"SCT\x02".as_slice(), &[0xFF, 0xFF, 0x7F, 0]].concat();
    let error = inspect(&with_sum(huge), "huge.sct")
        .unwrap_err()
        .to_string();
    assert!(error.contains("packed section"), "{error}");
}
