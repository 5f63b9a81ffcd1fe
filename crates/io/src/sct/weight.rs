//! Weights: one byte of form, extents, parameters, then the kept positions and
//! their symbols through a codec. Floating-point values follow as they are.

use super::bytes::{Damage, Reader, Writer};
use super::tensor::{elements, read_shape};
use crate::codec::{
    Alphabet, CodecError, Decoded, Layout, Plane, Quotes, Store, Symbol, Zeros, decode,
    encode_smallest,
};
use half::{bf16, f16};
use secateur_model::weight::matrix_view;
use secateur_model::{Bitmask, Codebook, Scale, Shape, Support, Values, Weight};
use std::ops::Range;

/// What a weight is made of: support in the lowest three bits (from 1, so that
/// 0 is left for plain tensors), then kind of values, then kind of scale or
/// codebook; the highest bit says that each row has a codebook of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Form(u8);

impl Form {
    fn of(weight: &Weight) -> Self {
        let support = match weight.support() {
            Support::All => 1,
            Support::Unstructured(_) => 2,
            Support::NofM { .. } => 3,
            Support::Blocks { .. } => 4,
            Support::Channels(_) => 5,
        };
        let (values, detail) = match weight.values() {
            Values::F32(_) => (0, 0),
            Values::F16(_) => (1, 0),
            Values::BF16(_) => (2, 0),
            Values::Int { scale, .. } => match scale {
                Scale::PerTensor(_) => (3, 0),
                Scale::PerChannel(_) => (3, 1),
                Scale::PerGroup { .. } => (3, 2),
                Scale::PerColumn(_) => (3, 3),
            },
            Values::Shared { codebook, .. } => {
                let kind = match codebook {
                    Codebook::F32(_) => 0,
                    Codebook::Int { .. } => 1,
                };
                let of_rows = u8::from(weight.entries_of_a_row().is_some());
                (4, kind | of_rows << 1)
            }
        };
        Self(support | values << 3 | detail << 6)
    }

    fn support(self) -> u8 {
        self.0 & 7
    }

    fn values(self) -> (u8, u8) {
        (self.0 >> 3 & 7, self.0 >> 6)
    }
}

/// Bytes of a weight in a file, its name aside.
///
/// # Errors
/// A weight that no codec takes: more positions than there may be.
pub fn weight_bytes(weight: &Weight, store: Store) -> Result<usize, CodecError> {
    let mut w = Writer::default();
    put_weight(&mut w, weight, store)?;
    if let Some((_, plane)) = w.plane.take() {
        w.blob(&plane);
    }
    Ok(w.bytes.len())
}

/// What other codes of an integer weight would cost in a file, at each position of its matrix.
///
/// # Errors
/// A weight that no codec takes, or whose values are not integers.
pub fn code_quotes(weight: &Weight) -> Result<Quotes, CodecError> {
    let zeros = match weight.support() {
        Support::Unstructured(_) => Zeros::Masked,
        _ => Zeros::Coded,
    };
    with_plane(weight, |plane| Quotes::of(plane, zeros))
}

pub(super) fn put_weight(w: &mut Writer, weight: &Weight, store: Store) -> Result<(), CodecError> {
    w.byte(Form::of(weight).0);
    w.sizes(weight.shape().dims());
    match weight.support() {
        Support::NofM { n: a, m: b, .. } | Support::Blocks { h: a, w: b, .. } => {
            w.size(*a);
            w.size(*b);
        }
        Support::All | Support::Unstructured(_) | Support::Channels(_) => {}
    }
    match weight.values() {
        Values::Int { bits, scale, .. } => {
            w.byte(*bits);
            put_scale(w, scale);
        }
        Values::Shared { codebook, .. } => put_codebook(w, codebook),
        Values::F32(_) | Values::F16(_) | Values::BF16(_) => {}
    }
    if is_coded(weight.support().mask().is_some(), weight.values()) {
        let encoded = with_plane(weight, |plane| encode_smallest(plane, store))?;
        w.plane(encoded.bytes);
    }
    match weight.values() {
        Values::F32(v) => w.bytes.extend(v.iter().flat_map(|x| x.to_le_bytes())),
        Values::F16(v) => w.bytes.extend(v.iter().flat_map(|x| x.to_le_bytes())),
        Values::BF16(v) => w.bytes.extend(v.iter().flat_map(|x| x.to_le_bytes())),
        Values::Int { .. } | Values::Shared { .. } => {}
    }
    Ok(())
}

/// Lends a weight as what a coder codes.
pub(super) fn with_plane<T>(weight: &Weight, lend: impl FnOnce(&Plane<'_>) -> T) -> T {
    let (alphabet, symbols) = match weight.values() {
        Values::Int { bits, codes, .. } => {
            let bits = u32::from(*bits);
            let symbols = codes.iter().map(|&c| c.into()).collect();
            (Alphabet::Signed { bits }, symbols)
        }
        Values::Shared { codebook, codes } => {
            let entries = weight.entries_of_a_row().unwrap_or(codebook.len());
            let symbol = |&code: &u16| (usize::from(code) % entries.max(1)) as i32;
            (indexed(entries), codes.iter().map(symbol).collect())
        }
        Values::F32(_) | Values::F16(_) | Values::BF16(_) => (indexed(1), vec![0; weight.kept()]),
    };
    let mask = weight.support().mask().map(Bitmask::to_bools);
    let (rows, cols) = weight.matrix();
    lend(&Plane {
        rows,
        cols,
        mask: mask.as_deref(),
        symbols: &symbols,
        alphabet,
    })
}

/// Bytes of values that lie in a file as they are.
pub(super) fn plain_bytes(values: &Values) -> usize {
    match values {
        Values::F32(v) => size_of_val(v.as_slice()),
        Values::F16(v) => size_of_val(v.as_slice()),
        Values::BF16(v) => size_of_val(v.as_slice()),
        Values::Int { .. } | Values::Shared { .. } => 0,
    }
}

/// Where in a file the bytes of a coder are, where one was asked.
pub(super) type Blob = Option<Range<usize>>;

/// A weight in a file.
pub(super) struct Found<'a> {
    pub decode: Pending<'a>,
    /// Bytes of its scales or codebook.
    pub parameters: usize,
    pub blob: Blob,
}

/// A weight whose bytes are found but not decoded: layers decode beside each
/// other.
pub(super) type Pending<'a> = Box<dyn FnOnce() -> Result<Weight, Damage> + Send + 'a>;

/// Finds the bytes of the weight whose byte of form was `form`.
pub(super) fn read_weight<'a>(r: &mut Reader<'a>, form: u8) -> Result<Found<'a>, Damage> {
    let form = Form(form);
    let shape = read_shape(r)?;
    let pattern = match form.support() {
        3 | 4 => (r.size()?, r.size()?),
        _ => (0, 0),
    };
    let masked = form.support() != 1;
    let (rows, cols) = matrix_view(&shape);
    let layout = move |alphabet| Layout {
        rows,
        cols,
        masked,
        alphabet,
    };
    let (blob, mask, values) = match form.values() {
        (3, detail) => {
            let bits = r.byte()?;
            let start = r.offset();
            let scale = read_scale(r, detail)?;
            let parameters = r.offset() - start;
            let (at, bytes) = read_blob(r)?;
            let decode: Pending<'a> = Box::new(move || {
                let alphabet = Alphabet::Signed { bits: bits.into() };
                let Decoded { mask, symbols } = decode_at(at, bytes, &layout(alphabet))?;
                let values = Values::Int {
                    bits,
                    codes: symbols,
                    scale,
                };
                join(at, form, shape, pattern, mask, values)
            });
            return Ok(Found {
                decode,
                parameters,
                blob: Some(at..at + bytes.len()),
            });
        }
        (4, detail) => {
            let start = r.offset();
            let codebook = read_codebook(r, detail & 1)?;
            let parameters = r.offset() - start;
            let entries = match detail >> 1 {
                0 => codebook.len(),
                _ => entries_of_a_row(start, codebook.len(), rows)?,
            };
            let (at, bytes) = read_blob(r)?;
            let decode: Pending<'a> = Box::new(move || {
                let layout = layout(indexed(entries));
                let Decoded { mask, symbols } = decode_at::<u16>(at, bytes, &layout)?;
                let codes = match entries == codebook.len() {
                    true => symbols,
                    false => of_rows(symbols, mask.as_ref(), entries, cols),
                };
                let values = Values::Shared { codebook, codes };
                join(at, form, shape, pattern, mask, values)
            });
            return Ok(Found {
                decode,
                parameters,
                blob: Some(at..at + bytes.len()),
            });
        }
        // Floating-point values stand behind the mask, which says how many.
        (kind @ 0..=2, 0) => {
            let (blob, mask, kept) = if masked {
                let (at, bytes) = read_blob(r)?;
                let decoded = decode_at::<u16>(at, bytes, &layout(indexed(1)))?;
                let blob = Some(at..at + bytes.len());
                (blob, decoded.mask, decoded.symbols.len())
            } else {
                (None, None, shape.elements())
            };
            let values = match kind {
                0 => Values::F32(elements(r, kept, f32::from_le_bytes)?),
                1 => Values::F16(elements(r, kept, f16::from_le_bytes)?),
                _ => Values::BF16(elements(r, kept, bf16::from_le_bytes)?),
            };
            (blob, mask, values)
        }
        _ => return Err(no_form(r.offset(), form)),
    };
    let weight = join(r.offset(), form, shape, pattern, mask, values)?;
    Ok(Found {
        decode: Box::new(move || Ok(weight)),
        parameters: 0,
        blob,
    })
}

/// Entries of a row's own codebook, where the codebooks of all rows are `all` entries.
fn entries_of_a_row(at: usize, all: usize, rows: usize) -> Result<usize, Damage> {
    match rows > 0 && all.is_multiple_of(rows) && all <= 1 << 16 {
        true => Ok(all / rows),
        false => Err(damage(
            at,
            format!("{all} entries are no codebooks of {rows} rows, together at most 65536"),
        )),
    }
}

/// Indices into the codebooks of rows as indices into all of them, one behind the other.
fn of_rows(
    mut symbols: Vec<u16>,
    mask: Option<&Bitmask>,
    entries: usize,
    columns: usize,
) -> Vec<u16> {
    let shift = |(position, symbol): (usize, &mut u16)| {
        *symbol = symbol.saturating_add((position / columns * entries) as u16);
    };
    match mask {
        Some(mask) => mask.ones().zip(&mut symbols).for_each(shift),
        None => (0..).zip(&mut symbols).for_each(shift),
    }
    symbols
}

/// What a coder wrote, and its offset.
fn read_blob<'a>(r: &mut Reader<'a>) -> Result<(usize, &'a [u8]), Damage> {
    let (bytes, at) = r.plane()?;
    Ok((at, bytes))
}

/// The weight of a form's parts.
fn join(
    at: usize,
    form: Form,
    shape: Shape,
    (a, b): (usize, usize),
    mask: Option<Bitmask>,
    values: Values,
) -> Result<Weight, Damage> {
    let mask = mask.unwrap_or_default();
    let support = match form.support() {
        1 => Support::All,
        2 => Support::Unstructured(mask),
        3 => Support::NofM { n: a, m: b, mask },
        4 => Support::Blocks { h: a, w: b, mask },
        5 => Support::Channels(mask),
        _ => return Err(no_form(at, form)),
    };
    Weight::new(shape, support, values).map_err(|e| damage(at, e.to_string()))
}

fn no_form(at: usize, form: Form) -> Damage {
    damage(at, format!("no weight has form {:#04x}", form.0))
}

/// Damage at an offset of the file.
fn damage(offset: usize, reason: impl Into<String>) -> Damage {
    Damage {
        offset,
        reason: reason.into(),
    }
}

/// Dense floating-point values leave nothing to code.
fn is_coded(masked: bool, values: &Values) -> bool {
    masked || matches!(values, Values::Int { .. } | Values::Shared { .. })
}

fn indexed(levels: usize) -> Alphabet {
    let levels = u32::try_from(levels.max(1)).unwrap_or(u32::MAX);
    Alphabet::Indexed { levels }
}

/// A plane whose bytes stand at an offset of the file.
fn decode_at<S: Symbol>(at: usize, bytes: &[u8], layout: &Layout) -> Result<Decoded<S>, Damage> {
    decode(bytes, layout).map_err(|e| damage(at, e.to_string()))
}

fn put_scale(w: &mut Writer, scale: &Scale) {
    match scale {
        Scale::PerTensor(scale) => w.f32(*scale),
        Scale::PerChannel(scales) | Scale::PerColumn(scales) => put_f32s(w, scales),
        Scale::PerGroup { size, scales } => {
            w.size(*size);
            put_f32s(w, scales);
        }
    }
}

fn read_scale(r: &mut Reader<'_>, detail: u8) -> Result<Scale, Damage> {
    Ok(match detail {
        0 => Scale::PerTensor(r.f32()?),
        1 => Scale::PerChannel(r.list(Reader::f32)?),
        2 => Scale::PerGroup {
            size: r.size()?,
            scales: r.list(Reader::f32)?,
        },
        _ => Scale::PerColumn(r.list(Reader::f32)?),
    })
}

fn put_codebook(w: &mut Writer, codebook: &Codebook) {
    match codebook {
        Codebook::F32(values) => put_f32s(w, values),
        Codebook::Int { codes, scale } => {
            w.f32(*scale);
            w.size(codes.len());
            w.bytes.extend(codes.iter().flat_map(|c| c.to_le_bytes()));
        }
    }
}

fn read_codebook(r: &mut Reader<'_>, detail: u8) -> Result<Codebook, Damage> {
    Ok(match detail {
        0 => Codebook::F32(r.list(Reader::f32)?),
        _ => Codebook::Int {
            scale: r.f32()?,
            codes: r.list(|r| Ok(i8::from_le_bytes([r.byte()?])))?,
        },
    })
}

fn put_f32s(w: &mut Writer, values: &[f32]) {
    w.size(values.len());
    values.iter().for_each(|&v| w.f32(v));
}
