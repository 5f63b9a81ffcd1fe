//! Convolutions and pools over lines are those over images one element high, which have kernels.

use super::Skip;
use crate::draft::{Draft, Edit};
use secateur_model::ops::ConvTranspose;
use secateur_model::{AutoPad, Constant, ModelError, Node, Op, Shape, Tensor, Weight, Window};

/// The axis along which images are one element high.
const HEIGHT: i64 = 2;

pub fn apply(draft: &Draft, node: &Node) -> Result<Edit, Skip> {
    if matches!(node.op, Op::Unsqueeze) {
        return cancel(draft, node);
    }
    let (Some(input), Some(output)) = (node.input(0), node.output(0)) else {
        return Err(Skip::NotMine);
    };
    if let Some(line) = draft.producer(input)
        && is_line(draft, line)
        && is_by_elements(draft, node)
    {
        return lift(draft, node, line);
    }
    let Some(op) = over_images(&node.op) else {
        return Err(Skip::NotMine);
    };
    let has_weight = matches!(op, Op::Conv { .. } | Op::ConvTranspose(_));
    if node.outputs.len() > 1 {
        return Skip::because("it gives indices too");
    }
    let mut edit = Edit::default();
    let mut over = node.clone();
    over.op = op;
    let failed = |e: ModelError| Skip::Because(e.to_string());
    if has_weight {
        let weight = node
            .input(1)
            .and_then(|name| draft.graph.constants.get(name))
            .and_then(image_weight)
            .ok_or_else(|| Skip::Because("its weight is no constant of lines".into()))?;
        let name = draft
            .graph
            .fresh_name(&format!("{}.image_weight", node.name));
        over.inputs[1].clone_from(&name);
        edit.constants.push((name, weight));
    }
    let axes = draft.graph.fresh_name(&format!("{}.height", node.name));
    let tensor = Tensor::i64(&[1], vec![HEIGHT]).map_err(failed)?;
    edit.constants
        .push((axes.clone(), Constant::Tensor(tensor)));
    let fresh = |stem: &str| draft.graph.fresh_name(&format!("{}.{stem}", node.name));
    let (image, result) = (fresh("image"), fresh("image_result"));
    let up = Node::new(fresh("as_image"), Op::Unsqueeze, &[input, &axes], &[&image]);
    let down = Node::new(fresh("as_line"), Op::Squeeze, &[&result, &axes], &[output]);
    over.inputs[0] = image;
    over.outputs[0] = result;
    edit.nodes = vec![up, over, down];
    Ok(edit)
}

/// The operator over images; `None` where it is not one over lines.
fn over_images(op: &Op) -> Option<Op> {
    Some(match op {
        Op::Conv { window, groups } => Op::Conv {
            window: image_window(window)?,
            groups: *groups,
        },
        Op::ConvTranspose(conv) => {
            let before = |list: &[usize], value| match list {
                [] => vec![],
                list => [&[value], list].concat(),
            };
            Op::ConvTranspose(Box::new(ConvTranspose {
                window: image_window(&conv.window)?,
                groups: conv.groups,
                output_padding: before(&conv.output_padding, 0),
                output_shape: before(&conv.output_shape, 1),
            }))
        }
        Op::MaxPool {
            window,
            column_major,
        } => Op::MaxPool {
            window: image_window(window).filter(|_| !window.kernel.is_empty())?,
            column_major: *column_major,
        },
        Op::AveragePool {
            window,
            count_include_pad,
        } => Op::AveragePool {
            window: image_window(window).filter(|_| !window.kernel.is_empty())?,
            count_include_pad: *count_include_pad,
        },
        _ => return None,
    })
}

/// A window over lines as one over images; `None` where it is over something else.
fn image_window(window: &Window) -> Option<Window> {
    let before = |list: &[usize]| match *list {
        [] => Some(vec![]),
        [along] => Some(vec![1, along]),
        _ => None,
    };
    let pads = match (window.auto_pad, &window.pads[..]) {
        (AutoPad::NotSet, &[begin, end]) => vec![0, begin, 0, end],
        (_, []) => vec![],
        _ => return None,
    };
    Some(Window {
        kernel: before(&window.kernel)?,
        strides: before(&window.strides)?,
        dilations: before(&window.dilations)?,
        pads,
        ..window.clone()
    })
}

fn image_weight(constant: &Constant) -> Option<Constant> {
    let tall = |shape: &Shape| match shape.dims() {
        &[out, inside, k] => Shape::new(&[out, inside, 1, k]).ok(),
        _ => None,
    };
    let weight = match constant {
        Constant::Tensor(tensor) => {
            Weight::dense(tall(tensor.shape())?, tensor.as_f32().ok()?.to_vec())
        }
        Constant::Weight(weight) => {
            let (shape, support, values) = weight.clone().into_parts();
            Weight::new(tall(&shape)?, support, values)
        }
    };
    weight.ok().map(Constant::Weight)
}

/// Whether a node makes lines of images.
fn is_line(draft: &Draft, node: &Node) -> bool {
    matches!(node.op, Op::Squeeze) && has_height(draft, node)
}

fn has_height(draft: &Draft, node: &Node) -> bool {
    let axes = draft.constant(node, 1);
    axes.is_some_and(|axes| axes.as_i64().is_ok_and(|axes| axes == [HEIGHT]))
}

/// Whether a node is a function of each element, or of those of each channel.
fn is_by_elements(draft: &Draft, node: &Node) -> bool {
    let is_function = matches!(
        node.op,
        Op::Relu
            | Op::LeakyRelu { .. }
            | Op::Sigmoid
            | Op::Tanh
            | Op::Clip
            | Op::Activation { .. }
            | Op::Math(_)
            | Op::BatchNormalization { .. }
    );
    node.outputs.len() == 1 && (is_function || draft.quantization(node).is_some())
}

/// What a line becomes by such a function, the image becomes.
fn lift(draft: &Draft, node: &Node, line: &Node) -> Result<Edit, Skip> {
    let (Some(input), Some(output), Some(image)) = (node.input(0), node.output(0), line.input(0))
    else {
        return Err(Skip::NotMine);
    };
    if draft.only_reader(input).is_none() {
        return Skip::because("the line that it reads is read elsewhere too");
    }
    let mut over = node.clone();
    let result = draft.graph.fresh_name(&format!("{output}.image"));
    over.inputs[0] = image.into();
    over.outputs[0].clone_from(&result);
    let mut line = line.clone();
    line.inputs[0] = result;
    line.outputs[0] = output.into();
    Ok(Edit {
        nodes: vec![over, line],
        ..Edit::default()
    })
}

/// An image of a line that was an image.
fn cancel(draft: &Draft, node: &Node) -> Result<Edit, Skip> {
    let line = node.input(0).and_then(|input| draft.producer(input));
    let Some(line) = line.filter(|line| is_line(draft, line) && has_height(draft, node)) else {
        return Err(Skip::NotMine);
    };
    let (Some(image), Some(output)) = (line.input(0), node.output(0)) else {
        return Err(Skip::NotMine);
    };
    if draft.is_output(output) {
        return Skip::because("it gives a graph output");
    }
    Ok(Edit {
        removed: vec![node.name.clone()],
        redirected: vec![(output.into(), image.into())],
        ..Edit::default()
    })
}
