//! Bytes to graph.

use super::bytes::{Damage, Reader};
use super::graph::read_graph;
use super::names::NameTable;
use super::section::Section;
use super::summary::{Span, Summary, WeightSummary};
use super::tensor::read_tensor;
use super::weight::{Found as FoundWeight, Pending, read_weight};
use super::{MAGIC, PACKED, PLAIN, max_elements, pack};
use crate::IoError;
use rayon::prelude::*;
use secateur_model::{Constant, Graph, Tensor};
use std::collections::HashSet;

/// Reads a file that [`super::write`] made; `name` stands for it in errors.
///
/// Memory is bounded: tensors of at most 2²⁸ elements; in the file 2²⁴, and
/// 2¹² more for each of its bytes, up to 2³⁰.
///
/// # Errors
/// [`IoError::Malformed`], naming section and offset, when the bytes are not a whole
/// and consistent file, or were written by a newer major version.
pub fn read(bytes: &[u8], name: &str) -> Result<Graph, IoError> {
    parse(bytes, name).map(|(graph, _)| graph)
}

/// Says where the bytes of a file are; the parts add up to the file.
///
/// # Errors
/// As [`read`]: a summary is given of good files only.
pub fn inspect(bytes: &[u8], name: &str) -> Result<Summary, IoError> {
    read_and_inspect(bytes, name).map(|(_, summary)| summary)
}

/// Both the graph and where its bytes are, decoded once.
///
/// # Errors
/// As [`read`].
pub fn read_and_inspect(bytes: &[u8], name: &str) -> Result<(Graph, Summary), IoError> {
    let (graph, spans) = parse(bytes, name)?;
    let constants: Vec<_> = graph.constants.iter().zip(&spans.constants).collect();
    let weights: Vec<WeightSummary> = constants
        .par_iter()
        .with_max_len(1)
        .filter_map(|((name, constant), span)| {
            Some(WeightSummary::new(name, constant.weight()?, span, bytes))
        })
        .collect();
    let taken: usize = weights.iter().map(|w| w.bytes).sum();
    let constants: usize = spans.constants.iter().map(|span| span.bytes).sum();
    let summary = Summary {
        bytes: bytes.len(),
        weights,
        rest: bytes.len() - taken,
        graph: spans.graph,
        tensors: constants - taken,
        metadata: spans.metadata,
    };
    Ok((graph, summary))
}

/// Where the parts of a file are.
struct Spans {
    /// Bytes of the graph's section.
    graph: usize,
    /// Bytes of the metadata's section.
    metadata: usize,
    /// One for each constant, in the file's order.
    constants: Vec<Span>,
}

/// The graph, and where the bytes of the file are.
fn parse(bytes: &[u8], name: &str) -> Result<(Graph, Spans), IoError> {
    let damaged = |section: &'static str| {
        move |damage: Damage| {
            let place = format!("{section} section, byte {}", damage.offset);
            IoError::malformed(name, place, damage.reason)
        }
    };
    let no_names = NameTable::default();
    let mut file = Reader::new(bytes, 0, &no_names);
    let version = read_version(&mut file).map_err(damaged("first"))?;
    let unpacked;
    let sections = match version {
        PACKED => {
            let (sections, packed) = read_packed(&mut file, bytes).map_err(damaged("packed"))?;
            unpacked = sections;
            Sections::unpacked(&unpacked, &packed, &no_names).map_err(damaged("packed"))?
        }
        _ => {
            let mut body = |section: Section| {
                let start = file.offset();
                let (bytes, at) = section.read(&mut file).map_err(damaged(section.name()))?;
                let size = file.offset() - start;
                Ok::<_, IoError>(Body { bytes, at, size })
            };
            let sections = Sections {
                graph: body(Section::Graph)?,
                tensors: body(Section::Tensors)?,
                metadata: body(Section::Metadata)?,
                planes: None,
            };
            file.end().map_err(damaged("metadata"))?;
            sections
        }
    };

    let Body {
        bytes: graph, at, ..
    } = sections.graph;
    let in_graph = damaged(Section::Graph.name());
    let mut reader = Reader::new(graph, at, &no_names);
    let names = NameTable::read(&mut reader).map_err(&in_graph)?;
    let start = at + graph.len() - reader.remaining();
    let rest = graph.get(start - at..).unwrap_or_default();
    let mut reader = Reader::new(rest, start, &names);
    let mut graph = read_graph(&mut reader).map_err(&in_graph)?;
    reader.end().map_err(&in_graph)?;

    let reader = Reader::new(sections.tensors.bytes, sections.tensors.at, &names);
    let mut reader = reader.with_elements(max_elements(bytes.len()));
    if let Some((planes, offset)) = sections.planes {
        reader = reader.with_planes(planes, offset);
    }
    let constants =
        read_constants(&mut reader, &mut graph).map_err(damaged(Section::Tensors.name()))?;

    let mut reader = Reader::new(sections.metadata.bytes, sections.metadata.at, &names);
    let in_metadata = damaged(Section::Metadata.name());
    let pairs = reader.list(|r| Ok((r.text()?, r.text()?)));
    graph.metadata = pairs.map_err(&in_metadata)?.into_iter().collect();
    reader.end().map_err(&in_metadata)?;

    super::flow::revive(name, &mut graph)?;
    graph.sort().map_err(|e| {
        in_graph(Damage {
            offset: start,
            reason: e.to_string(),
        })
    })?;
    let spans = Spans {
        graph: sections.graph.size,
        metadata: sections.metadata.size,
        constants,
    };
    Ok((graph, spans))
}

/// The body of a section.
struct Body<'a> {
    bytes: &'a [u8],
    /// Offset in the file, or in what was unpacked.
    at: usize,
    /// Bytes that the section takes in the file.
    size: usize,
}

/// The sections of a file.
struct Sections<'a> {
    graph: Body<'a>,
    tensors: Body<'a>,
    metadata: Body<'a>,
    /// The planes of a packed file, and their offset in it.
    planes: Option<(&'a [u8], usize)>,
}

impl<'a> Sections<'a> {
    /// Those of a packed file. All that is packed counts as the graph's.
    fn unpacked(
        bytes: &'a [u8],
        packed: &Packed<'a>,
        no_names: &'a NameTable,
    ) -> Result<Self, Damage> {
        let mut reader = Reader::new(bytes, 0, no_names);
        let body = |reader: &mut Reader<'a>, size: usize| {
            let count = reader.size()?;
            let at = reader.offset();
            let bytes = reader.take(count)?;
            Ok(Body { bytes, at, size })
        };
        let (graph, tensors) = (body(&mut reader, packed.size)?, body(&mut reader, 0)?);
        let at = reader.offset();
        let bytes = reader.take(reader.remaining())?;
        Ok(Self {
            graph,
            tensors,
            metadata: Body { bytes, at, size: 0 },
            planes: Some((packed.planes, packed.offset)),
        })
    }
}

/// What stands in a packed file beside the sections.
struct Packed<'a> {
    /// Bytes that all takes but the planes.
    size: usize,
    planes: &'a [u8],
    /// Offset of the planes.
    offset: usize,
}

/// The unpacked sections, and what stands beside them.
fn read_packed<'a>(
    file: &mut Reader<'a>,
    bytes: &'a [u8],
) -> Result<(Vec<u8>, Packed<'a>), Damage> {
    let Some((covered, crc)) = bytes.split_last_chunk::<4>() else {
        return Err(file.damage("a checksum is needed"));
    };
    let (found, needed) = (u32::from_le_bytes(*crc), crc32fast::hash(covered));
    if found != needed {
        return Err(file.damage(format!("CRC-32 is {needed:08x}, the file says {found:08x}")));
    }
    let start = file.offset();
    let count = file.size()?;
    if count > pack::MAX_BYTES {
        return Err(file.damage(format!("{count} packed bytes, {} may be", pack::MAX_BYTES)));
    }
    let packed = file.blob()?;
    let sections = pack::unpack(packed, count)
        .ok_or_else(|| file.damage(format!("{count} bytes cannot be unpacked")))?;
    let offset = file.offset();
    let Some(length) = file.remaining().checked_sub(crc.len()) else {
        return Err(file.damage("planes and a checksum are needed"));
    };
    let planes = file.take(length)?;
    let size = offset - start + crc.len();
    let packed = Packed {
        size,
        planes,
        offset,
    };
    Ok((sections, packed))
}

fn read_version(file: &mut Reader<'_>) -> Result<u8, Damage> {
    if file.take(MAGIC.len())? != MAGIC {
        return Err(Damage {
            offset: 0,
            reason: "this is no .sct file: it does not begin with `SCT`".into(),
        });
    }
    let offset = file.offset();
    let wrong = |reason| Err(Damage { offset, reason });
    match file.byte()? {
        version @ (PLAIN | PACKED) => Ok(version),
        version if version > PACKED => wrong(format!(
            "format version {version} is newer than version {PACKED}, the newest known here"
        )),
        version => wrong(format!("no format has version {version}")),
    }
}

/// Finds all constants, then decodes the weights among them in parallel; damage is
/// that of the first one in the file.
fn read_constants(r: &mut Reader<'_>, graph: &mut Graph) -> Result<Vec<Span>, Damage> {
    let mut names = HashSet::new();
    let found = r.list(|r| {
        let start = r.spent();
        let name = r.name()?;
        let (constant, parameters, blob) = match r.byte()? {
            0 => (Found::Tensor(read_tensor(r)?), 0, None),
            form => {
                let FoundWeight {
                    decode,
                    parameters,
                    blob,
                } = read_weight(r, form)?;
                (Found::Weight(decode), parameters, blob)
            }
        };
        if !names.insert(name.clone()) {
            return Err(r.damage(format!("constant `{name}` is there twice")));
        }
        let span = Span {
            bytes: r.spent() - start,
            parameters: if r.has_planes() { 0 } else { parameters },
            blob,
        };
        Ok((name, constant, span))
    })?;
    r.end()?;
    let decoded: Vec<_> = found
        .into_par_iter()
        // A large layer shall not wait behind small ones in one thread.
        .with_max_len(1)
        .map(|(name, constant, span)| {
            let constant = match constant {
                Found::Tensor(tensor) => Constant::Tensor(tensor),
                Found::Weight(decode) => Constant::Weight(decode()?),
            };
            Ok((name, constant, span))
        })
        .collect();
    let mut spans = Vec::with_capacity(decoded.len());
    for constant in decoded {
        let (name, constant, span) = constant?;
        graph.constants.insert(name, constant);
        spans.push(span);
    }
    Ok(spans)
}

/// A constant of which the bytes are found.
enum Found<'a> {
    Tensor(Tensor),
    Weight(Pending<'a>),
}
