//! Attributes of operators that are more than a number.

use super::bytes::{Damage, Reader, Writer};
use super::tensor::{put_dtype, read_dtype};
use secateur_model::ops::{
    Aspect, Cell, CellActivation, Coordinates, Direction, GridMode, GridPadding, Interpolation,
    Recurrent, Resize, Rounding,
};
use secateur_model::{Attention, AutoPad, ScatterReduction, Scores, Window};

// The order of these lists is part of the format.
const CELLS: &[Cell] = &[Cell::Rnn, Cell::Gru, Cell::Lstm];
const DIRECTIONS: &[Direction] = &[
    Direction::Forward,
    Direction::Reverse,
    Direction::Bidirectional,
];
const ACTIVATIONS: &[CellActivation] = &[
    CellActivation::Relu,
    CellActivation::Sigmoid,
    CellActivation::Softplus,
    CellActivation::Softsign,
    CellActivation::Tanh,
];
const ROUNDINGS: &[Rounding] = &[
    Rounding::PreferFloor,
    Rounding::PreferCeil,
    Rounding::Floor,
    Rounding::Ceil,
];
const COORDINATES: &[Coordinates] = &[
    Coordinates::HalfPixel,
    Coordinates::HalfPixelSymmetric,
    Coordinates::PytorchHalfPixel,
    Coordinates::AlignCorners,
    Coordinates::Asymmetric,
    Coordinates::CropAndResize,
];
const ASPECTS: &[Aspect] = &[Aspect::Stretch, Aspect::NotLarger, Aspect::NotSmaller];

pub(super) const GRID_MODES: &[GridMode] = &[GridMode::Linear, GridMode::Nearest, GridMode::Cubic];
pub(super) const GRID_PADDINGS: &[GridPadding] = &[
    GridPadding::Zeros,
    GridPadding::Border,
    GridPadding::Reflection,
];

/// A value by its place in a list.
pub(super) fn put_choice<T: PartialEq>(w: &mut Writer, value: &T, list: &[T]) {
    let place = list.iter().position(|listed| listed == value);
    w.byte(place.unwrap_or_default() as u8);
}

pub(super) fn read_choice<T: Copy>(r: &mut Reader<'_>, list: &[T]) -> Result<T, Damage> {
    let place = r.byte()?;
    let found = list.get(usize::from(place)).copied();
    found.ok_or_else(|| r.damage(format!("choice {place} of {}", list.len())))
}

pub(super) fn put_recurrent(w: &mut Writer, layer: &Recurrent) {
    put_choice(w, &layer.cell, CELLS);
    put_choice(w, &layer.direction, DIRECTIONS);
    w.size(layer.activations.len());
    for activation in &layer.activations {
        put_choice(w, activation, ACTIVATIONS);
    }
    put_optional(w, layer.clip, Writer::f32);
    put_optional(w, layer.hidden, Writer::size);
    w.byte(u8::from(layer.batch_first));
    w.byte(u8::from(layer.linear_before_reset));
}

pub(super) fn read_recurrent(r: &mut Reader<'_>) -> Result<Recurrent, Damage> {
    Ok(Recurrent {
        cell: read_choice(r, CELLS)?,
        direction: read_choice(r, DIRECTIONS)?,
        activations: r.list(|r| read_choice(r, ACTIVATIONS))?,
        clip: optional(r, Reader::f32)?,
        hidden: optional(r, Reader::size)?,
        batch_first: r.flag()?,
        linear_before_reset: r.flag()?,
    })
}

pub(super) fn put_resize(w: &mut Writer, resize: &Resize) {
    match resize.interpolation {
        Interpolation::Nearest(rounding) => {
            w.byte(0);
            put_choice(w, &rounding, ROUNDINGS);
        }
        Interpolation::Linear => w.byte(1),
        Interpolation::Cubic(a) => {
            w.byte(2);
            w.f32(a);
        }
    }
    put_choice(w, &resize.coordinates, COORDINATES);
    put_choice(w, &resize.aspect, ASPECTS);
    w.byte(u8::from(resize.antialias));
    w.byte(u8::from(resize.exclude_outside));
    w.f32(resize.extrapolation);
    w.size(resize.axes.len());
    resize.axes.iter().for_each(|&axis| w.signed(axis));
}

pub(super) fn read_resize(r: &mut Reader<'_>) -> Result<Resize, Damage> {
    Ok(Resize {
        interpolation: match r.byte()? {
            0 => Interpolation::Nearest(read_choice(r, ROUNDINGS)?),
            1 => Interpolation::Linear,
            2 => Interpolation::Cubic(r.f32()?),
            other => return Err(r.damage(format!("no interpolation has number {other}"))),
        },
        coordinates: read_choice(r, COORDINATES)?,
        aspect: read_choice(r, ASPECTS)?,
        antialias: r.flag()?,
        exclude_outside: r.flag()?,
        extrapolation: r.f32()?,
        axes: r.list(Reader::signed)?,
    })
}

pub(super) fn put_reduction(w: &mut Writer, reduction: ScatterReduction) {
    w.byte(match reduction {
        ScatterReduction::None => 0,
        ScatterReduction::Add => 1,
        ScatterReduction::Mul => 2,
        ScatterReduction::Max => 3,
        ScatterReduction::Min => 4,
    });
}

pub(super) fn read_reduction(r: &mut Reader<'_>) -> Result<ScatterReduction, Damage> {
    Ok(match r.byte()? {
        0 => ScatterReduction::None,
        1 => ScatterReduction::Add,
        2 => ScatterReduction::Mul,
        3 => ScatterReduction::Max,
        4 => ScatterReduction::Min,
        other => return Err(r.damage(format!("no reduction has number {other}"))),
    })
}

pub(super) fn put_attention(w: &mut Writer, attention: &Attention) {
    let scores = match attention.scores {
        Scores::Products => 0,
        Scores::Masked => 1,
        Scores::Capped => 2,
        Scores::Weights => 3,
    };
    w.byte(u8::from(attention.is_causal) | scores << 1);
    w.size(attention.kv_num_heads);
    w.size(attention.q_num_heads);
    w.f32(attention.softcap);
    put_optional(w, attention.scale, Writer::f32);
    put_optional(w, attention.softmax_precision, put_dtype);
}

pub(super) fn read_attention(r: &mut Reader<'_>) -> Result<Attention, Damage> {
    let flags = r.byte()?;
    if flags > 7 {
        return Err(r.damage(format!("flags of Attention are {flags}, at most 7")));
    }
    Ok(Attention {
        is_causal: flags & 1 != 0,
        scores: match flags >> 1 {
            0 => Scores::Products,
            1 => Scores::Masked,
            2 => Scores::Capped,
            _ => Scores::Weights,
        },
        kv_num_heads: r.size()?,
        q_num_heads: r.size()?,
        softcap: r.f32()?,
        scale: optional(r, Reader::f32)?,
        softmax_precision: optional(r, read_dtype)?,
    })
}

pub(super) fn put_window(w: &mut Writer, window: &Window) {
    let auto_pad = match window.auto_pad {
        AutoPad::NotSet => 0,
        AutoPad::SameUpper => 1,
        AutoPad::SameLower => 2,
        AutoPad::Valid => 3,
    };
    w.byte(auto_pad | u8::from(window.ceil_mode) << 2);
    w.sizes(&window.kernel);
    w.sizes(&window.strides);
    w.sizes(&window.dilations);
    w.sizes(&window.pads);
}

pub(super) fn read_window(r: &mut Reader<'_>) -> Result<Window, Damage> {
    let flags = r.byte()?;
    if flags > 7 {
        return Err(r.damage(format!("flags of a window are {flags}, at most 7")));
    }
    Ok(Window {
        auto_pad: match flags & 3 {
            0 => AutoPad::NotSet,
            1 => AutoPad::SameUpper,
            2 => AutoPad::SameLower,
            _ => AutoPad::Valid,
        },
        ceil_mode: flags & 4 != 0,
        kernel: r.sizes()?,
        strides: r.sizes()?,
        dilations: r.sizes()?,
        pads: r.sizes()?,
    })
}

pub(super) fn put_optional<T>(w: &mut Writer, value: Option<T>, put: impl FnOnce(&mut Writer, T)) {
    w.byte(u8::from(value.is_some()));
    if let Some(value) = value {
        put(w, value);
    }
}

pub(super) fn optional<'a, T>(
    r: &mut Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, Damage>,
) -> Result<Option<T>, Damage> {
    if r.flag()? {
        read(r).map(Some)
    } else {
        Ok(None)
    }
}
