//! Runs EIE's engine (`rtl/eie.sv`).

use crate::Host;
use secateur_accel::eie::{Columns, Eie, ElementCycles};

/// What it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EieRun {
    /// `[rows]`: sums, exact.
    pub outputs: Vec<i64>,
    /// Cycles, counted by the engine.
    pub cycles: u64,
    /// Where those of each element went, counted by the element.
    pub elements: Vec<ElementCycles>,
    /// Lines read from the weight memories.
    pub line_reads: u64,
}

/// What lies at an address of `eie.sv`.
#[derive(Clone, Copy)]
enum Kind {
    Control = 0,
    Pointers = 1,
    Lines = 2,
    Codebook = 3,
    Inputs = 4,
    Sums = 5,
    Counters = 6,
}

fn address(kind: Kind, element: usize, at: usize) -> u32 {
    ((kind as u32) << 28) | ((element as u32) << 20) | at as u32
}

/// Multiplies a matrix by a vector on a design that has these extents and whose memories hold the matrix; `None` if it does not end within `most` cycles.
pub fn run(
    host: &mut Host,
    eie: &Eie,
    matrix: &Columns,
    codebook: &[i16],
    x: &[i16],
    most: u64,
) -> Option<EieRun> {
    let entry_bits = eie.gap_bits + eie.code_bits;
    for element in 0..eie.elements {
        let (starts, entries) = matrix.of_element(element);
        for (at, &start) in starts.iter().enumerate() {
            host.write(address(Kind::Pointers, element, at), start.into());
        }
        for (at, line) in entries.chunks(eie.entries_a_line()).enumerate() {
            let packed = line.iter().rev().fold(0, |line, entry| {
                let entry = (u64::from(entry.gap) << eie.code_bits) | u64::from(entry.code);
                (line << entry_bits) | entry
            });
            host.write(address(Kind::Lines, element, at), packed);
        }
    }
    for row in 0..matrix.rows() {
        let at = address(Kind::Sums, row % eie.elements, row / eie.elements);
        host.write(at, 0);
    }
    for (code, &weight) in codebook.iter().enumerate() {
        host.write(address(Kind::Codebook, 0, code), weight as u64);
    }
    for (column, &x) in x.iter().enumerate() {
        host.write(address(Kind::Inputs, 0, column), x as u64);
    }
    host.write(address(Kind::Control, 0, 1), x.len() as u64);
    host.write(address(Kind::Control, 0, 0), 1);
    host.clock(most);
    if host.running() {
        return None;
    }
    let rows = 0..matrix.rows();
    let outputs = rows.map(|row| {
        let at = address(Kind::Sums, row % eie.elements, row / eie.elements);
        host.read(at) as i64
    });
    let outputs = outputs.collect();
    let mut run = EieRun {
        outputs,
        cycles: host.read(address(Kind::Control, 0, 0)),
        elements: Vec::with_capacity(eie.elements),
        line_reads: 0,
    };
    for element in 0..eie.elements {
        let mut counter = |at| host.read(address(Kind::Counters, element, at));
        run.elements.push(ElementCycles {
            busy: counter(0),
            filler: counter(1),
            pointer: counter(2),
            imbalance: counter(3),
            starved: counter(4),
            done: counter(5),
        });
        run.line_reads += counter(6);
    }
    Some(run)
}
