//! `secateur eval`: a network's score.

use crate::args::{Eval, TaskArg};
use crate::out::Out;
use crate::score::{Answers, ClassScore, score};
use crate::{network, picture, units};
use anyhow::{Context, Result, bail};
use secateur_data::{Dataset, Targets};

pub fn run(args: &Eval) -> Result<()> {
    let out = Out::new(&args.json)?;
    let graph = network::load(&args.network)?;
    let mut data = network::load_data_for(&graph, &args.data)?;
    insist(args.task, &data.test)?;
    let place = || args.network.display().to_string();
    picture::adapt(&mut data, &graph, &args.scaling).with_context(place)?;
    let bytes = network::size(&args.network)?;
    let score = score(&graph, &data.test, bytes).with_context(place)?;
    let (samples, bytes) = (units::count(score.samples), units::bytes(bytes));
    match &score.answers {
        Answers::Classes { top1_error_percent } => out.line(format_args!(
            "{}: {} of {samples} test images wrong, {bytes}",
            place(),
            units::percent(*top1_error_percent),
        )),
        Answers::Boxes {
            map_percent,
            map_11_point_percent,
            classes,
        } => {
            show(&out, classes);
            out.line(format_args!(
                "\n{}: mAP@0.5 {} (11-point {}) on {samples} test images, {bytes}",
                place(),
                units::percent(*map_percent),
                units::percent(*map_11_point_percent),
            ));
        }
    }
    out.finish(&score)
}

/// An error where the data ask for something else.
fn insist(task: Option<TaskArg>, data: &Dataset) -> Result<()> {
    match (task, data.targets()) {
        (Some(TaskArg::Detection), Targets::Classes(_)) => {
            bail!("{} has no boxes: its task is classification", data.name)
        }
        (Some(TaskArg::Classification), Targets::Boxes(_)) => {
            bail!("{} has boxes: its task is detection", data.name)
        }
        _ => Ok(()),
    }
}

fn show(out: &Out, classes: &[ClassScore]) {
    let rows: Vec<Vec<String>> = classes
        .iter()
        .map(|class| {
            vec![
                class.class.clone(),
                units::count(class.objects),
                units::count(class.met),
                units::count(class.detections),
                units::percent(class.ap_percent),
                units::percent(class.ap_11_point_percent),
            ]
        })
        .collect();
    let headings = [
        "class",
        "objects",
        "met",
        "detections",
        "AP@0.5",
        "11-point",
    ];
    out.table(1, &headings, &rows);
}
