//! Files that a writer here makes, and the published one where it lies beside the project.

use super::layer::layers;
use super::{read, read_and_inspect};
use proptest::prelude::*;
use secateur_model::{Graph, Shape, infer};
use std::collections::BTreeMap;
use std::path::Path;

const NAME: &str = "small.net";

/// What a file says of a layer.
#[derive(Clone)]
struct Content {
    codebook: [f32; 256],
    bias: Vec<f32>,
    /// Gap and code of each entry.
    entries: Vec<(u8, u8)>,
}

/// A file of few entries: the same for every layer, but that biases are its index.
fn contents(entries: &[(u8, u8)]) -> Vec<Content> {
    let mut codebook = [0.0; 256];
    // Not in order, as k-means leaves them.
    (1..).zip(&mut codebook[1..]).for_each(|(code, value)| {
        *value = if code % 2 == 0 { 0.5 } else { -0.25 } * code as f32;
    });
    let content = |(index, layer): (usize, &super::layer::Layer)| Content {
        codebook,
        bias: vec![index as f32; layer.dims[0]],
        entries: entries.to_vec(),
    };
    layers().iter().enumerate().map(content).collect()
}

fn written(contents: &[Content]) -> Vec<u8> {
    let mut file = Vec::new();
    for content in contents {
        file.extend((content.entries.len() as u32).to_le_bytes());
    }
    for content in contents {
        let floats = content.codebook.iter().chain(&content.bias);
        file.extend(floats.flat_map(|value| value.to_le_bytes()));
        file.extend(content.entries.iter().map(|(_, code)| code));
        let gap = |entry: Option<&(u8, u8)>| entry.map_or(0, |(gap, _)| *gap);
        let pairs = content.entries.chunks(2);
        file.extend(pairs.map(|pair| gap(pair.first()) | gap(pair.get(1)) << 4));
    }
    file
}

fn refusal(bytes: &[u8]) -> String {
    let message = read(bytes, NAME).unwrap_err().to_string();
    assert!(message.starts_with(NAME), "{message}");
    message
}

fn shapes(graph: &Graph) -> BTreeMap<String, u64> {
    let input = Shape::new(&[1, 3, 227, 227]).unwrap();
    infer::macs(graph, &[("input", input)]).unwrap()
}

#[test]
fn entries_stand_where_their_gaps_put_them() {
    // A filler carries the gap on: 2, then 18, then 19 + 3.
    let graph = read(&written(&contents(&[(2, 7), (15, 0), (3, 4)])), NAME).unwrap();
    let values = |name: &str| {
        let weight = graph.weight(name).unwrap();
        let values = weight.to_f32();
        let kept: Vec<(usize, f32)> = weight.positions().map(|p| (p, values[p])).collect();
        kept
    };
    assert_eq!(values("fire2.squeeze1x1.weight"), [(2, -1.75), (22, 2.0)]);
    // Blue comes first in the file and last in the graph, 49 taps a colour.
    assert_eq!(values("conv1.weight"), [(98 + 2, -1.75), (98 + 22, 2.0)]);
    let bias = graph.weight("conv10.bias").unwrap();
    assert_eq!(bias.to_f32(), vec![25.0; 1000]);
}

#[test]
fn the_network_is_squeezenet() {
    let mut graph = read(&written(&contents(&[])), NAME).unwrap();
    graph.sort().unwrap();
    assert_eq!(graph.parameters(), 1_244_448 + 3976);
    let macs = shapes(&graph);
    // 111x111 outputs of conv1; pooling three times leaves 13x13 for conv10.
    assert_eq!(macs["conv1.weight"], 111 * 111 * 96 * 3 * 49);
    assert_eq!(macs["conv10.weight"], 13 * 13 * 1000 * 512);
    assert_eq!(graph.metadata["mean"], "0.48235294 0.45882353 0.40784314");
}

#[test]
fn parts_add_up_to_the_file() {
    let bytes = written(&contents(&[(0, 1), (0, 0), (0, 2)]));
    let (_, summary) = read_and_inspect(&bytes, NAME).unwrap();
    let weights: usize = summary.weights.iter().map(|w| w.bytes).sum();
    assert_eq!(weights + summary.rest, bytes.len());
    assert_eq!((summary.rest, summary.frame()), (104, 104));
    let conv1 = &summary.weights[0];
    assert_eq!((conv1.kept, conv1.bytes), (2, 1024 + 3 + 2));
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let whole = written(&contents(&[(1, 1)]));
    for end in [0, 103, 104, 1000, 1500, whole.len() - 1] {
        assert!(refusal(&whole[..end]).contains("are left"));
    }
    let longer = [&whole[..], &[0]].concat();
    assert!(refusal(&longer).contains("1 bytes are left over"));

    let mut counts = whole.clone();
    counts[4..8].copy_from_slice(&1537u32.to_le_bytes());
    let message = refusal(&counts);
    assert!(message.contains("fire2.squeeze1x1: needed at most 1536 entries"));
    counts[4..8].copy_from_slice(&[0xFF; 4]);
    assert!(refusal(&counts).contains("found 4294967295"));
}

#[test]
fn damaged_layers_are_refused_by_name() {
    // 64 entries of gap 15 reach position 1023, the last of fire2's 1x1 expansion.
    let reaches = |entries: usize| {
        let mut contents = contents(&[]);
        contents[2].entries = vec![(15, 1); entries];
        written(&contents)
    };
    assert!(read(&reaches(64), NAME).is_ok());
    let message = refusal(&reaches(65));
    assert!(message.contains("fire2.expand1x1: entry 64 stands at position 1039"));

    let changed = |change: fn(&mut Content)| {
        let mut contents = contents(&[(0, 1)]);
        change(&mut contents[0]);
        refusal(&written(&contents))
    };
    assert!(changed(|c| c.codebook[0] = 0.5).contains("conv1: the codebook's first value is 0.5"));
    assert!(changed(|c| c.codebook[9] = f32::NAN).contains("conv1, weights"));
    assert!(changed(|c| c.bias[0] = f32::INFINITY).contains("conv1, biases"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_entries_are_weights_or_refused(entries in proptest::collection::vec((0u8..16, any::<u8>()), 0..2000)) {
        let bytes = written(&contents(&entries));
        let kept = entries.iter().filter(|(_, code)| *code != 0).count();
        match read(&bytes, NAME) {
            Ok(graph) => prop_assert_eq!(graph.weight("conv10.weight").unwrap().kept(), kept),
            Err(error) => prop_assert!(error.to_string().starts_with(NAME)),
        }
    }

    #[test]
    fn damage_is_refused_or_harmless(
        at: prop::sample::Index,
        end: prop::sample::Index,
        damage in proptest::collection::vec(any::<u8>(), 1..200),
        in_counts: bool,
    ) {
        let mut bytes = written(&contents(&[(2, 7), (15, 0), (3, 4)]));
        let place = at.index(if in_counts { 104 } else { bytes.len() });
        bytes[place..].iter_mut().zip(&damage).for_each(|(byte, d)| *byte = *d);
        for bytes in [&bytes[..], &bytes[..end.index(bytes.len())]] {
            if let Err(error) = read(bytes, NAME) {
                prop_assert!(error.to_string().starts_with(NAME));
            }
        }
    }
}

/// The file that was published, read a second time in the plainest way.
#[test]
fn the_published_file() {
    let place = "../../../shared/data/squeezenet-deep-compression/compressed_SqueezeNet.net";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(place);
    let Ok(bytes) = std::fs::read(&path) else {
        eprintln!("SKIPPED: no shared/data/squeezenet-deep-compression beside the project");
        return;
    };
    let (graph, summary) = read_and_inspect(&bytes, NAME).unwrap();
    let entries: usize = summary
        .weights
        .iter()
        .filter(|w| w.coder.is_some())
        .map(|w| w.parts.values)
        .sum();
    let kept: usize = summary
        .weights
        .iter()
        .filter(|w| w.coder.is_some())
        .map(|w| w.kept)
        .sum();
    assert_eq!((entries, entries - kept), (422_083, 6162));

    let mut at = 104;
    for (index, layer) in layers().iter().enumerate() {
        let word = |at: usize| bytes[at..at + 4].try_into().unwrap();
        let float = |at: usize| f32::from_le_bytes(word(at));
        let count = u32::from_le_bytes(word(4 * index)) as usize;
        let (outputs, elements) = (layer.dims[0], layer.elements());
        let codes = at + 4 * (256 + outputs);
        let mut values = vec![0f32; elements];
        let mut position = 0;
        for i in 0..count {
            position += usize::from(bytes[codes + count + i / 2] >> (4 * (i % 2)) & 15);
            values[position] = float(at + 4 * usize::from(bytes[codes + i]));
            position += 1;
        }
        if index == 0 {
            let blue_first = values.clone();
            for (i, value) in values.iter_mut().enumerate() {
                let colour = i / 49 % 3;
                *value = blue_first[i - 49 * colour + 49 * (2 - colour)];
            }
        }
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        let found = graph.weight(&layer.weight()).unwrap().to_f32();
        assert_eq!(bits(&found), bits(&values), "{}", layer.name);
        let bias: Vec<f32> = (0..outputs).map(|o| float(at + 4 * (256 + o))).collect();
        assert_eq!(graph.weight(&layer.bias()).unwrap().to_f32(), bias);
        at = codes + count + count.div_ceil(2);
    }
    assert_eq!(at, bytes.len());
}
