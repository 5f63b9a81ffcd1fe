use super::proto::*;
use super::*;
use crate::IoError;
use prost::Message;
use secateur_model::*;

fn floats(name: &str, dims: &[i64], values: Vec<f32>) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: 1,
        float_data: values,
        ..TensorProto::default()
    }
}

fn value(name: &str) -> ValueInfoProto {
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto {
                elem_type: 1,
                shape: None,
            }),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}

fn node(op: &str, inputs: &[&str], outputs: &[&str], attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        op_type: op.into(),
        input: inputs.iter().map(|&s| s.into()).collect(),
        output: outputs.iter().map(|&s| s.into()).collect(),
        attribute,
        ..NodeProto::default()
    }
}

fn model(opset: i64, initializer: Vec<TensorProto>, node: Vec<NodeProto>) -> ModelProto {
    ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: opset,
        }],
        graph: Some(GraphProto {
            name: "small".into(),
            input: vec![value("x")],
            output: vec![value("y")],
            initializer,
            node,
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    }
}

fn parse(model: &ModelProto) -> Result<Graph, IoError> {
    read(&model.encode_to_vec(), None, "small.onnx")
}

fn message(model: &ModelProto) -> String {
    parse(model).unwrap_err().to_string()
}

fn int(name: &str, i: i64) -> AttributeProto {
    export_op::int(name, i)
}

fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: 7,
        ints: ints.to_vec(),
        ..AttributeProto::default()
    }
}

#[test]
fn built_in_networks_come_back_equal() {
    for (name, _) in zoo::NETWORKS {
        let mut net = zoo::build(name, [3, 32, 32], 10, 3).unwrap();
        net.metadata.insert("recipe".into(), "none".into());
        let bytes = write(&net).unwrap();
        assert_eq!(read(&bytes, None, name).unwrap(), net, "{name}");
        assert_eq!(write(&net).unwrap(), bytes, "{name}");
    }
}

#[test]
fn files_are_saved_and_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.onnx");
    let net = zoo::build("lenet-300-100", [1, 8, 8], 10, 3).unwrap();
    save(&net, &path).unwrap();
    save(&net, &path).unwrap();
    assert_eq!(load(&path).unwrap(), net);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let missing = load(folder.path().join("no.onnx")).unwrap_err();
    assert!(missing.to_string().contains("no.onnx"), "{missing}");
}

fn with_weight(values: Values, support: Support) -> Graph {
    let mut net = zoo::build("lenet-300-100", [1, 2, 2], 2, 1).unwrap();
    let shape = Shape::new(&[300, 4]).unwrap();
    let weight = Weight::new(shape, support, values).unwrap();
    net.constants
        .insert("fc1.weight".into(), Constant::Weight(weight));
    net
}

#[test]
fn integer_weights_come_back_as_integers() {
    let mask = Bitmask::from_fn(1200, |i| i % 3 == 0);
    let codes: Vec<i16> = (0..400).map(|i| i % 100 + 1).collect();
    let scales = (1..=300).map(|i| i as f32 / 64.0).collect();
    for scale in [Scale::PerTensor(0.5), Scale::PerChannel(scales)] {
        let codes = codes.clone();
        let values = Values::Int {
            bits: 8,
            codes,
            scale,
        };
        let net = with_weight(values, Support::Unstructured(mask.clone()));
        assert_eq!(read(&write(&net).unwrap(), None, "q").unwrap(), net);
    }
}

#[test]
fn codebooks_and_groups_keep_their_values() {
    let shared = Values::Shared {
        codebook: Codebook::Int {
            codes: vec![-3, 7, 0, 100],
            scale: 0.25,
        },
        codes: (0..1200).map(|i| i % 4).collect(),
    };
    let grouped = Values::Int {
        bits: 4,
        codes: (0..1200).map(|i| i % 7).collect(),
        scale: Scale::PerGroup {
            size: 2,
            scales: vec![0.125; 600],
        },
    };
    for values in [shared, grouped] {
        let net = with_weight(values, Support::All);
        let back = read(&write(&net).unwrap(), None, "q").unwrap();
        let weight = |g: &Graph| g.weight("fc1.weight").unwrap().to_f32();
        assert_eq!(weight(&back), weight(&net));
    }
}

/// A layer that computes on codes, behind a Flatten; its bias counts in steps
/// of 0.5 · 0.25 and 0.5 · 0.125.
fn quantized(op: Op, scale: Scale) -> Graph {
    let pair = [
        (
            "q",
            Op::QuantizeLinear {
                axis: 1,
                block_size: 0,
                to: None,
            },
            "x",
        ),
        (
            "d",
            Op::DequantizeLinear {
                axis: 1,
                block_size: 0,
            },
            "q",
        ),
    ];
    let mut nodes: Vec<Node> = pair
        .map(|(name, op, from)| Node::new(name, op, &[from, "scale", "zero"], &[name]))
        .into();
    nodes.push(Node::new("f", Op::Flatten { axis: 1 }, &["d"], &["f"]));
    let inputs: &[&str] = match op {
        Op::MatMul => &["f", "w"],
        _ => &["f", "w", "b"],
    };
    nodes.push(Node::new("y", op, inputs, &["y"]));
    let values = Values::Int {
        bits: 4,
        codes: vec![1, -7, 3, 0],
        scale,
    };
    let weight = Weight::new(Shape::new(&[2, 2]).unwrap(), Support::All, values).unwrap();
    let bias = Weight::dense(Shape::new(&[2]).unwrap(), vec![1.0, 0.1]).unwrap();
    let zero = Tensor::new(Shape::scalar(), Data::U8(vec![3])).unwrap();
    let constants = [
        ("scale", Constant::Tensor(Tensor::scalar_f32(0.5))),
        ("zero", Constant::Tensor(zero)),
        ("w", Constant::Weight(weight)),
        ("b", Constant::Weight(bias)),
    ];
    let value = |name: &str| ValueInfo {
        name: name.into(),
        dtype: DType::F32,
        dims: Some(vec![Dim::Named("n".into()), Dim::Known(2)]),
    };
    let mut graph = Graph {
        inputs: vec![value("x")],
        outputs: vec![value("y")],
        constants: constants.map(|(n, c)| (n.to_owned(), c)).into(),
        nodes,
        ..Graph::default()
    };
    graph.drop_unused_constants();
    graph
}

fn exported(graph: &Graph) -> GraphProto {
    let bytes = write(graph).unwrap();
    ModelProto::decode(bytes.as_slice()).unwrap().graph.unwrap()
}

#[test]
fn layers_stand_between_dequantizers_with_an_integer_bias() {
    let graph = quantized(Op::linear(), Scale::PerChannel(vec![0.25, 0.125]));
    let proto = exported(&graph);
    let made_by = |value: &str| {
        let found = proto.node.iter().find(|n| n.output == [value]).unwrap();
        (found.op_type.as_str(), found.input.as_slice())
    };
    let (op, inputs) = made_by("y");
    assert_eq!(op, "Gemm");
    for input in inputs {
        assert_eq!(made_by(input).0, "DequantizeLinear", "{input}");
    }
    let codes = &made_by(&inputs[0]).1[0];
    let (op, before) = made_by(codes);
    assert_eq!(
        (op, made_by(&before[0]).0),
        ("QuantizeLinear", "Flatten"),
        "moved codes have a pair of their own"
    );
    let tensor = |name: &str| proto.initializer.iter().find(|t| t.name == name).unwrap();
    let [bias, steps] = [0, 1].map(|i| tensor(&made_by(&inputs[2]).1[i]));
    // 1.0 / 0.125 and 0.1 / 0.0625 = 1.6.
    assert_eq!(bias.data_type, 6);
    let raw = [8i32, 2].map(i32::to_le_bytes).concat();
    assert_eq!(bias.raw_data.as_deref(), Some(&raw[..]));
    let raw = [0.125f32, 0.0625].map(f32::to_le_bytes).concat();
    assert_eq!(steps.raw_data.as_deref(), Some(&raw[..]));
    assert!(proto.initializer.iter().all(|t| t.name != "b"));

    let back = read(&write(&graph).unwrap(), None, "q.onnx").unwrap();
    let bias = back.weights().find(|(_, w)| w.shape().rank() == 1).unwrap();
    assert_eq!(bias.1.to_f32(), [1.0, 0.125]);
    let names = |g: &Graph| g.nodes.iter().map(|n| n.name.clone()).collect::<Vec<_>>();
    let again = read(&write(&back).unwrap(), None, "q.onnx").unwrap();
    assert_eq!(names(&again), names(&back), "nothing is added twice");
    let x = Tensor::f32(&[2, 2], vec![0.4, 1.0, -3.0, 70.0]).unwrap();
    let y = |g: &Graph| eval(g, &[("x", x.clone())]).unwrap();
    assert_eq!(y(&again), y(&back));
}

/// Runtimes take a scale for each row of MatMul's weight for the outputs'.
#[test]
fn scales_along_the_depth_are_multiplied_in() {
    let rows = Scale::PerChannel(vec![0.25, 0.125]);
    let gemm = Op::Gemm {
        alpha: 1.0,
        beta: 1.0,
        trans_a: false,
        trans_b: false,
    };
    for (op, scale, element_type) in [
        (Op::MatMul, rows.clone(), 1),
        (gemm.clone(), rows, 1),
        (Op::MatMul, Scale::PerTensor(0.5), 3),
        (Op::MatMul, Scale::PerColumn(vec![0.25, 0.125]), 3),
        (Op::linear(), Scale::PerColumn(vec![0.25, 0.125]), 1),
        (gemm, Scale::PerTensor(0.5), 3),
    ] {
        let proto = exported(&quantized(op.clone(), scale));
        let weight = proto.initializer.iter().find(|t| t.dims == [2, 2]);
        assert_eq!(weight.unwrap().data_type, element_type, "{op:?}");
    }
    let graph = quantized(Op::MatMul, Scale::PerColumn(vec![0.25, 0.125]));
    let back = read(&write(&graph).unwrap(), None, "q.onnx").unwrap();
    let values = |g: &Graph| g.weight("w").unwrap().values().clone();
    let scale = |values| match values {
        Values::Int { codes, scale, .. } => (codes, scale),
        other => panic!("{other:?}"),
    };
    assert_eq!(scale(values(&back)), scale(values(&graph)));
}

#[test]
fn rows_of_a_gemm_weight_are_its_outputs() {
    let weight = || floats("w", &[2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let gemm = |input: &str, output: &str| node("Gemm", &[input, "w"], &[output], vec![]);
    let graph = parse(&model(13, vec![weight()], vec![gemm("x", "y")])).unwrap();
    assert_eq!(graph.nodes[0].op, Op::linear());
    let turned = graph.weight("w").unwrap();
    assert_eq!(turned.shape().dims(), [3, 2]);
    assert_eq!(turned.to_f32(), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    let x = Tensor::f32(&[1, 2], vec![10.0, 1.0]).unwrap();
    let y = eval(&graph, &[("x", x)]).unwrap();
    assert_eq!(y[0].as_f32().unwrap(), [14.0, 25.0, 36.0]);

    // Read otherwise too, it stays.
    let relu = node("Relu", &["w"], &["r"], vec![]);
    let shared = model(13, vec![weight()], vec![gemm("x", "y"), relu]);
    let shared = parse(&shared).unwrap();
    assert_eq!(shared.weight("w").unwrap().shape().dims(), [2, 3]);

    // Codes with a scale for each column.
    let codes = TensorProto {
        dims: vec![2, 3],
        data_type: 3,
        int32_data: vec![1, 2, 3, 4, 5, 6],
        ..floats("q", &[], vec![])
    };
    let scales = floats("s", &[3], vec![0.5, 1.0, 2.0]);
    let dequantize = node(
        "DequantizeLinear",
        &["q", "s"],
        &["w"],
        vec![int("axis", 1)],
    );
    let nodes = vec![dequantize, gemm("x", "y")];
    let graph = parse(&model(13, vec![codes, scales], nodes)).unwrap();
    let turned = graph.weight("w").unwrap();
    assert_eq!(turned.to_f32(), [0.5, 2.0, 2.0, 5.0, 6.0, 12.0]);
    assert!(matches!(turned.values(), Values::Int { bits: 8, .. }));
}

#[test]
fn sparse_initializers_are_weights_with_zeros() {
    let product = node("MatMul", &["x", "w"], &["y"], vec![]);
    let mut proto = model(13, vec![], vec![product]);
    let places = TensorProto {
        dims: vec![2],
        data_type: 7,
        int64_data: vec![1, 4],
        ..TensorProto::default()
    };
    let sparse = SparseTensorProto {
        values: Some(floats("w", &[2], vec![5.0, 7.0])),
        indices: Some(places),
        dims: vec![2, 3],
    };
    let graph = proto.graph.as_mut().unwrap();
    graph.sparse_initializer.push(sparse);
    let graph = parse(&proto).unwrap();
    let weight = graph.weight("w").unwrap();
    assert_eq!(weight.to_f32(), [0.0, 5.0, 0.0, 0.0, 7.0, 0.0]);
    assert_eq!(weight.kept(), 2);
}

#[test]
fn carried_operators_keep_their_opset_and_the_others_its_forms() {
    let mut max = int("max", 0);
    (max.r#type, max.i, max.f) = (1, None, Some(6.0));
    let sum = vec![ints("axes", &[1]), int("keepdims", 1)];
    let nodes = vec![
        node("Clip", &["x"], &["a"], vec![max]),
        node("Unsqueeze", &["a"], &["b"], vec![ints("axes", &[0])]),
        node("Pad", &["b"], &["c"], vec![ints("pads", &[0, 1, 0, 1])]),
        node("Softmax", &["c"], &["s"], vec![]),
        node("ReduceSum", &["s"], &["r"], sum),
        node("Mystery", &["r"], &["m"], vec![]),
        node("TopK", &["m"], &["t", "i"], vec![int("k", 2)]),
        node("Squeeze", &["t"], &["y"], vec![ints("axes", &[0])]),
    ];
    let graph = parse(&model(9, vec![], nodes)).unwrap();
    let bytes = write(&graph).unwrap();
    assert_eq!(read(&bytes, None, "again").unwrap(), graph);
    let proto = ModelProto::decode(bytes.as_slice()).unwrap();
    assert_eq!(proto.opset_import[0].version, 9);
    let proto = proto.graph.unwrap();
    assert!(proto.initializer.is_empty());
    assert!(proto.node.iter().all(|n| n.input.len() == 1));

    let mut quantized = graph;
    let quantize = Op::QuantizeLinear {
        axis: 1,
        block_size: 0,
        to: None,
    };
    quantized.nodes[0].op = quantize;
    let error = write(&quantized).unwrap_err().to_string();
    assert!(
        error.contains("opset 10") && error.contains("opset 9"),
        "{error}"
    );
}

#[test]
fn moving_operators_keep_their_older_forms_beside_a_carried_one() {
    let scales = |values: &[f32]| AttributeProto {
        name: "scales".into(),
        r#type: 6,
        floats: values.to_vec(),
        ..AttributeProto::default()
    };
    let slice = vec![ints("starts", &[0]), ints("ends", &[2]), ints("axes", &[1])];
    let halves = vec![int("axis", 1)];
    let parts = vec![ints("split", &[1, 1])];
    let nodes = vec![
        node("Slice", &["x"], &["a"], slice),
        node("Split", &["a"], &["b", "c"], halves),
        node("Split", &["b"], &["d", "e"], parts),
        node("Upsample", &["d"], &["f"], vec![scales(&[1.0, 2.0])]),
        node("Fancy", &["f"], &["y"], vec![]),
    ];
    let model = model(8, vec![], nodes.clone());
    let graph = parse(&model).unwrap();
    assert_eq!(graph.nodes[0].inputs, ["x", "a.starts", "a.ends", "a.axes"]);
    assert_eq!(graph.nodes[3].inputs, ["d", "", "f.scales"]);
    let bytes = write(&graph).unwrap();
    assert_eq!(read(&bytes, None, "again").unwrap(), graph);
    let proto = ModelProto::decode(bytes.as_slice()).unwrap().graph.unwrap();
    assert!(proto.initializer.is_empty());
    for (written, given) in proto.node.iter().zip(&nodes) {
        assert_eq!(written.op_type, given.op_type);
        assert_eq!(written.input, given.input);
    }

    let factors = floats("s", &[2], vec![1.0, 2.0]);
    let index = TensorProto {
        name: "i".into(),
        dims: vec![1, 1],
        data_type: 7,
        int64_data: vec![0],
        ..TensorProto::default()
    };
    let nodes = vec![
        node("Scatter", &["x", "i", "x"], &["a"], vec![int("axis", 1)]),
        node("Resize", &["a", "s"], &["b"], vec![]),
        node("Fancy", &["b"], &["y"], vec![]),
    ];
    let graph = parse(&self::model(10, vec![factors, index], nodes)).unwrap();
    let bytes = write(&graph).unwrap();
    assert_eq!(read(&bytes, None, "again").unwrap(), graph);
    let proto = ModelProto::decode(bytes.as_slice()).unwrap().graph.unwrap();
    assert_eq!(proto.node[0].op_type, "Scatter");
    assert_eq!(proto.node[1].input, ["a", "s"]);
}

#[test]
fn operators_of_newer_opsets_are_carried() {
    let groups = vec![int("num_groups", 1)];
    let nodes = vec![node("GroupNormalization", &["x"; 3], &["y"], groups)];
    let op = |opset| {
        parse(&model(opset, vec![], nodes.clone())).unwrap().nodes[0]
            .op
            .clone()
    };
    assert!(matches!(op(20), Op::Unknown(_)));
    assert!(matches!(op(21), Op::GroupNormalization { groups: 1, .. }));
}

#[test]
fn only_sums_take_axes_as_inputs_before_opset_18() {
    let axes = vec![ints("axes", &[1])];
    let nodes = vec![
        node("ReduceMean", &["x"], &["m"], axes),
        node("ReduceSum", &["m", "axes"], &["s"], vec![]),
        node("Mystery", &["s"], &["y"], vec![]),
    ];
    let mut list = floats("axes", &[1], vec![]);
    (list.data_type, list.int64_data) = (7, vec![0]);
    let graph = parse(&model(15, vec![list], nodes)).unwrap();
    assert_eq!(graph.nodes[0].inputs, ["x", "m.axes"]);
    let bytes = write(&graph).unwrap();
    assert_eq!(read(&bytes, None, "again").unwrap(), graph);
    let proto = ModelProto::decode(bytes.as_slice()).unwrap();
    let inputs = proto.graph.unwrap().node;
    assert_eq!(inputs[0].input, ["x"]);
    assert_eq!(inputs[1].input, ["m", "axes"]);
}

#[test]
fn local_functions_are_refused_with_a_way_out() {
    let mut proto = model(13, vec![], vec![]);
    proto.functions.push(FunctionProto {
        name: "mine".into(),
        ..FunctionProto::default()
    });
    let text = message(&proto);
    assert!(text.contains("`mine`") && text.contains("inline"), "{text}");
}

#[test]
fn truncated_files_are_refused() {
    let mut net = zoo::build("lenet-300-100", [1, 1, 1], 2, 1).unwrap();
    net.metadata.insert("key".into(), "value".into());
    let whole = write(&net).unwrap();
    // Every length of the graph's text, then steps through the weights' bytes.
    let lengths = (0..2000.min(whole.len())).chain((2000..whole.len()).step_by(997));
    for length in lengths.chain(whole.len().saturating_sub(2000)..whole.len()) {
        match read(&whole[..length], None, "cut.onnx") {
            Ok(graph) => assert_eq!(graph.nodes.len(), net.nodes.len(), "{length}"),
            Err(error) => assert!(error.to_string().contains("cut.onnx"), "{error}"),
        }
    }
}

#[test]
fn small_model_survives_every_cut_and_every_flipped_byte() {
    let attribute = vec![ints("kernel_shape", &[1, 1])];
    let conv = node("Conv", &["x", "w"], &["y"], attribute);
    let weight = floats("w", &[1, 2, 1, 1], vec![1.0, 2.0]);
    let whole = model(13, vec![weight], vec![conv]).encode_to_vec();
    for cut in 0..whole.len() {
        let _ = read(&whole[..cut], None, "cut");
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[cut] = value;
            let _ = read(&bytes, None, "flipped");
        }
    }
}

#[test]
fn parameters_that_are_not_finite_name_node_and_tensor() {
    let weight = floats("w", &[2, 1], vec![1.0, f32::NAN]);
    let mut gemm = node("Gemm", &["x", "w"], &["y"], vec![]);
    gemm.name = "fc".into();
    let text = message(&model(13, vec![weight], vec![gemm]));
    assert!(text.contains("`fc`") && text.contains("`w`"), "{text}");
}

#[test]
fn zeros_in_a_matrix_are_its_support() {
    let weight = floats("w", &[2, 2], vec![1.0, 0.0, 0.0, 4.0]);
    let gemm = node("Gemm", &["x", "w"], &["y"], vec![]);
    let graph = parse(&model(13, vec![weight], vec![gemm])).unwrap();
    assert_eq!(graph.weight("w").unwrap().kept(), 2);
}

#[test]
fn hostile_tensors_are_refused() {
    let with = |tensor| message(&model(13, vec![tensor], vec![]));
    let large = with(floats("w", &[1 << 40, 1 << 40], vec![1.0]));
    assert!(large.contains("`w`"), "{large}");
    let short = with(floats("w", &[1 << 40], vec![1.0]));
    assert!(
        short.contains("`w`") && short.contains("1099511627776"),
        "{short}"
    );
    let negative = with(floats("w", &[-1], vec![1.0]));
    assert!(negative.contains("negative"), "{negative}");
    let mut unknown = floats("w", &[1], vec![1.0]);
    unknown.data_type = 99;
    assert!(with(unknown).contains("99"));
    let mut raw = floats("w", &[2], vec![]);
    raw.raw_data = Some(vec![0; 7].into());
    assert!(with(raw).contains("8 bytes, found 7"));
}

fn external(entries: &[(&str, &str)]) -> ModelProto {
    let mut weight = floats("w", &[2, 1], vec![]);
    weight.data_location = external::EXTERNAL;
    weight.external_data = entries
        .iter()
        .map(|&(key, value)| StringStringEntryProto {
            key: key.into(),
            value: value.into(),
        })
        .collect();
    let gemm = node("Gemm", &["x", "w"], &["y"], vec![]);
    model(13, vec![weight], vec![gemm])
}

#[test]
fn external_data_stays_in_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    std::fs::write(folder.path().join("secret"), [0; 8]).unwrap();
    std::fs::write(inner.join("data"), [0, 0, 0, 0, 0, 0, 128, 63, 0, 0, 0, 64]).unwrap();
    let load = |entries: &[(&str, &str)]| {
        let bytes = external(entries).encode_to_vec();
        read(&bytes, Some(&inner), "m.onnx").map_err(|e| e.to_string())
    };
    let graph = load(&[("location", "data"), ("offset", "4"), ("length", "8")]).unwrap();
    assert_eq!(graph.weight("w").unwrap().to_f32(), [1.0, 2.0]);
    let refused = |entries: &[(&str, &str)], part: &str| {
        let text = load(entries).unwrap_err();
        assert!(text.contains(part), "{text}");
    };
    refused(
        &[("location", "nothing")],
        "m.onnx: tensor `w`: external file `nothing`",
    );
    refused(&[("location", "../secret")], "outside");
    refused(&[("location", "/etc/hostname")], "outside");
    refused(&[("location", "data"), ("offset", "8")], "has 12");
    refused(&[("location", "data"), ("length", "4")], "8 bytes");
    refused(&[("location", "data"), ("offset", "-1")], "no number");
    refused(&[], "location");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(folder.path().join("secret"), inner.join("link")).unwrap();
        refused(&[("location", "link")], "link");
    }
}

#[test]
fn cycles_and_foreign_opsets_are_refused() {
    let nodes = vec![
        node("Relu", &["b"], &["y"], vec![]),
        node("Relu", &["y"], &["b"], vec![]),
    ];
    assert!(message(&model(13, vec![], nodes.clone())).contains("cycle"));
    assert!(message(&model(6, vec![], nodes.clone())).contains("opset 6"));
    assert!(message(&model(25, vec![], nodes)).contains("opset 25"));
}

#[test]
fn older_forms_become_the_newest() {
    let mut max = int("max", 0);
    (max.r#type, max.i, max.f) = (1, None, Some(6.0));
    let nodes = vec![
        node("Clip", &["x"], &["a"], vec![max]),
        node("Unsqueeze", &["a"], &["b"], vec![ints("axes", &[0])]),
        node("Pad", &["b"], &["c"], vec![ints("pads", &[0, 1])]),
        node("Dropout", &["c"], &["d"], vec![]),
        node("Constant", &[], &["k"], vec![int("value_int", 7)]),
        node("Softmax", &["d"], &["y"], vec![]),
    ];
    let graph = parse(&model(9, vec![], nodes)).unwrap();
    assert_eq!(graph.nodes[0].inputs, ["x", "", "a.max"]);
    assert_eq!(graph.nodes[1].inputs, ["a", "b.axes"]);
    assert_eq!(graph.nodes[2].inputs, ["b", "c.pads", "c.value"]);
    let max = graph.constants["a.max"].to_tensor();
    assert_eq!(max, Tensor::scalar_f32(6.0));
    assert_eq!(
        graph.constants["k"].to_tensor().as_i64().unwrap(),
        [7],
        "Constant nodes are constants"
    );
    assert_eq!(
        graph.nodes[4].op,
        Op::Softmax {
            axis: 1,
            flattened: true
        }
    );
    let names: Vec<String> = read(&write(&graph).unwrap(), None, "again")
        .unwrap()
        .nodes
        .iter()
        .map(|n| n.op.name().to_owned())
        .collect();
    assert_eq!(names[4..], ["Shape", "Flatten", "Softmax", "Reshape"]);
    let hardmax = vec![node("Hardmax", &["x"], &["y"], vec![int("axis", 2)])];
    let graph = parse(&model(12, vec![], hardmax)).unwrap();
    let back = read(&write(&graph).unwrap(), None, "again").unwrap();
    assert_eq!(
        back.nodes[2].op,
        Op::Hardmax {
            axis: 1,
            flattened: false
        }
    );
}

#[test]
fn unknown_operators_are_carried_with_their_captures() {
    let mut branch = int("then_branch", 0);
    (branch.r#type, branch.i) = (5, None);
    branch.g = Some(GraphProto {
        name: "then".into(),
        node: vec![node("Add", &["k", "x"], &["t"], vec![])],
        output: vec![value("t")],
        ..GraphProto::default()
    });
    let nodes = vec![node("If", &["x"], &["y"], vec![branch])];
    let proto = model(11, vec![floats("k", &[], vec![1.0])], nodes);
    let graph = parse(&proto).unwrap();
    let Op::Unknown(op) = &graph.nodes[0].op else {
        panic!("{:?}", graph.nodes[0].op);
    };
    assert_eq!(op.captures, ["k", "x"]);
    let back = read(&write(&graph).unwrap(), None, "again").unwrap();
    assert_eq!(back, graph);
}
