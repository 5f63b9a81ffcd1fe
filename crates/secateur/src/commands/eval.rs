//! `secateur eval`: a classifier's score.

use crate::args::Eval;
use crate::out::Out;
use crate::score::score;
use crate::{network, picture, units};
use anyhow::{Context, Result};

pub fn run(args: &Eval) -> Result<()> {
    let out = Out::new(args.json.json.as_deref())?;
    let graph = network::load(&args.network)?;
    let mut data = secateur_data::load(&args.data)?;
    let place = || args.network.display().to_string();
    picture::adapt(&mut data, &graph, &args.scaling).with_context(place)?;
    let bytes = network::size(&args.network)?;
    let score = score(&graph, &data.test, bytes).with_context(place)?;
    out.line(format_args!(
        "{}: {} of {} test images wrong, {}",
        place(),
        units::percent(score.top1_error_percent),
        units::count(score.samples),
        units::bytes(bytes)
    ));
    out.finish(&score)
}
