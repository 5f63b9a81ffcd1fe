//! The smallest coder: adaptive binary range coding under mixed contexts, the
//! mask first and then the symbols, which so know all their neighbours.

use super::around::Surroundings;
use super::bits::Cursor;
use super::frequencies::Model;
use super::range::{BitCoder, CostMeter, MeteredEncoder, RangeDecoder};
use super::settings::Settings;
use super::support::{self, SupportModel};
use super::{CodecError, Cost, Decoded, Layout, Plane, Symbol};
use rayon::prelude::*;
use secateur_model::Bitmask;

/// The encoder's settings are tried on no more positions than this.
const TRIAL_POSITIONS: usize = 1 << 19;

/// Appends `plane` under the settings that make it smallest.
pub(super) fn encode(plane: &Plane<'_>, out: &mut Vec<u8>) -> Cost {
    let layout = plane.layout();
    let settings = choose(plane);
    settings.put(&layout, out);
    let mut coder = MeteredEncoder::new();
    // Walks that write cannot fail.
    let fill = plane
        .mask
        .map(|mask| walk_support(&mut coder, &layout, &mut mask.to_vec(), settings))
        .and_then(Result::ok);
    let support_bits = coder.take_bits();
    let mut symbols = plane.symbols.to_vec();
    let _ = walk_values(
        &mut coder,
        &layout,
        plane.mask,
        fill.as_deref(),
        &mut symbols,
        settings,
    );
    let value_bits = coder.take_bits();
    out.extend(coder.finish());
    Cost {
        support_bits,
        value_bits,
    }
}

/// What the beginning of a plane costs under contexts, and what under static probabilities: a
/// tenth of the time that [`encode`] takes tells whether there is something for it to find.
pub(super) fn trial(plane: &Plane<'_>) -> (Cost, Cost) {
    let trial = plane.head(TRIAL_POSITIONS);
    let settings = Settings::of(plane);
    let fill = trial.mask.map(|mask| column_fill(mask, trial.cols));
    let adaptive = Cost {
        support_bits: measure_support(&trial, settings),
        value_bits: measure_values(&trial, fill.as_deref(), settings),
    };
    (adaptive, Model::of(&[trial], plane.mask.is_some()).cost)
}

/// Where the bits of what [`encode`] wrote for `plane` went.
pub(super) fn cost(mut cursor: Cursor<'_>, plane: &Plane<'_>) -> Result<Cost, CodecError> {
    let settings = Settings::read(&mut cursor, &plane.layout())?;
    let fill = plane.mask.map(|mask| column_fill(mask, plane.cols));
    Ok(Cost {
        support_bits: measure_support(plane, settings),
        value_bits: measure_values(plane, fill.as_deref(), settings),
    })
}

/// Reads what [`encode`] wrote.
pub(super) fn decode<S: Symbol>(
    mut cursor: Cursor<'_>,
    layout: &Layout,
) -> Result<Decoded<S>, CodecError> {
    let positions = layout.positions()?;
    let settings = Settings::read(&mut cursor, layout)?;
    let at = cursor.at();
    let mut coder = RangeDecoder::new(cursor.rest());
    let shifted = |error| match error {
        CodecError::Truncated { at: inner, what } => CodecError::Truncated {
            at: at + inner,
            what,
        },
        CodecError::Trailing { at: inner, bytes } => CodecError::Trailing {
            at: at + inner,
            bytes,
        },
        other => other,
    };
    let mut mask = layout.masked.then(|| vec![false; positions]);
    let mut fill = None;
    if let Some(mask) = &mut mask {
        fill = Some(walk_support(&mut coder, layout, mask, settings).map_err(shifted)?);
    }
    let count = mask
        .as_ref()
        .map_or(positions, |mask| mask.iter().filter(|&&bit| bit).count());
    let mut symbols = vec![0; count];
    walk_values(
        &mut coder,
        layout,
        mask.as_deref(),
        fill.as_deref(),
        &mut symbols,
        settings,
    )
    .map_err(shifted)?;
    coder.finish().map_err(shifted)?;
    if symbols.iter().any(|&symbol| !layout.alphabet.holds(symbol)) {
        return Err(layout.alphabet.stranger(at));
    }
    Ok(Decoded {
        mask: mask.map(|bits| Bitmask::from_bools(&bits)),
        symbols: symbols.into_iter().map(S::of).collect(),
    })
}

/// Non-zeros per column.
pub(super) type Fill = Vec<u32>;

/// Codes a mask in place.
pub(super) fn walk_support<C: BitCoder>(
    coder: &mut C,
    layout: &Layout,
    mask: &mut [bool],
    settings: Settings,
) -> Result<Fill, CodecError> {
    // Neither dimension is bounded by the other's zero.
    if mask.is_empty() {
        return Ok(Fill::new());
    }
    let cols = layout.cols;
    let mut model = SupportModel::new(
        cols,
        settings.period,
        settings.density(),
        settings.support_pace(),
    );
    for (number, row) in mask.chunks_exact_mut(cols).enumerate() {
        model.row(coder, number, row)?;
    }
    Ok(model.ones().to_vec())
}

/// Codes symbols in place.
fn walk_values<C: BitCoder>(
    coder: &mut C,
    layout: &Layout,
    mask: Option<&[bool]>,
    fill: Option<&[u32]>,
    symbols: &mut [i32],
    settings: Settings,
) -> Result<(), CodecError> {
    if symbols.is_empty() {
        return Ok(());
    }
    let mut model = settings.value_model(layout.alphabet);
    let ones = fill.unwrap_or_default();
    let mut around = Surroundings::new(layout, mask, ones, symbols.len(), settings.period);
    let mut rest = symbols.iter_mut();
    for row in 0..layout.rows {
        model.start_row();
        around.start_row(row);
        for c in 0..layout.cols {
            if !around.supports(c) {
                continue;
            }
            let Some(symbol) = rest.next() else { break };
            *symbol = model.code(coder, *symbol, &around.at(c));
            around.push(c, *symbol);
        }
        coder.check()?;
    }
    Ok(())
}

fn measure_support(plane: &Plane<'_>, settings: Settings) -> u64 {
    let mut meter = CostMeter::default();
    if let Some(mask) = plane.mask {
        // A meter cannot run out of input.
        let _ = walk_support(&mut meter, &plane.layout(), &mut mask.to_vec(), settings);
    }
    meter.bits()
}

fn measure_values(plane: &Plane<'_>, fill: Option<&[u32]>, settings: Settings) -> u64 {
    let mut meter = CostMeter::default();
    let mut symbols = plane.symbols.to_vec();
    let layout = plane.layout();
    let _ = walk_values(
        &mut meter,
        &layout,
        plane.mask,
        fill,
        &mut symbols,
        settings,
    );
    meter.bits()
}

/// The best settings for (the beginning of) a plane.
pub(super) fn choose(plane: &Plane<'_>) -> Settings {
    let trial = plane.head(TRIAL_POSITIONS);
    let start = Settings::of(plane);
    let fill = trial.mask.map(|mask| column_fill(mask, trial.cols));
    let period = fill.as_deref().and_then(support::find_period);
    let support = cheapest(start.support_options(period), |settings| {
        measure_support(&trial, settings)
    })
    .unwrap_or(start);
    cheapest(support.value_options(plane.alphabet), |settings| {
        measure_values(&trial, fill.as_deref(), settings)
    })
    .unwrap_or(support)
}

/// The first of the options whose cost is least; all are measured side by side.
fn cheapest(
    options: impl Iterator<Item = Settings>,
    cost: impl Fn(Settings) -> u64 + Sync,
) -> Option<Settings> {
    let options: Vec<Settings> = options.collect();
    let costs: Vec<u64> = options.par_iter().map(|&option| cost(option)).collect();
    let best = options.into_iter().zip(costs).min_by_key(|(_, cost)| *cost);
    best.map(|(option, _)| option)
}

pub(super) fn column_fill(mask: &[bool], cols: usize) -> Fill {
    if mask.is_empty() {
        return Fill::new();
    }
    let mut fill = vec![0; cols];
    for row in mask.chunks_exact(cols) {
        for (count, &bit) in fill.iter_mut().zip(row) {
            *count += u32::from(bit);
        }
    }
    fill
}
