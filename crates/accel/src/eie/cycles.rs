//! The engine, cycle by cycle.
//!
//! Inputs lie in lines of one an element. A scan finds one that is not zero a cycle and puts it into the queues
//! of all elements, unless one is full; a line whose last input is zero takes one cycle more. An element takes
//! a column from its queue and issues one of its entries a cycle; a column of which it has nothing costs
//! it a cycle. Code, product, sum and memory are a cycle each behind that.

use super::{Columns, Eie};
use crate::AccelError;
use serde::Serialize;

/// Cycles from the last entry to its sum in memory (code, product, sum, write), and the one in which the end is
/// seen.
const DRAIN: u64 = 5;

/// What a product took.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// `[rows]`: each a sum in the order of the columns.
    pub outputs: Vec<f32>,
    /// Cycles of the whole engine.
    pub cycles: u64,
    /// Where each element's cycles went.
    pub elements: Vec<ElementCycles>,
    /// Products of a weight and an input that are both not zero.
    pub multiplies: u64,
    /// Inputs that are not zero.
    pub nonzero_inputs: usize,
    /// Reads of pointers, all elements together; both ends of a column are one.
    pub pointer_reads: u64,
    /// Reads of lines of the weight memories.
    pub line_reads: u64,
}

/// Where the cycles of one element went; together they are those of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ElementCycles {
    /// It multiplied.
    pub busy: u64,
    /// It worked off an entry that only carries a gap on.
    pub filler: u64,
    /// It read the pointers of a column of which it has nothing.
    pub pointer: u64,
    /// Its queue was empty while another's was full: it waited for the slowest.
    pub imbalance: u64,
    /// Its queue was empty and none was full: the scan had found nothing yet.
    pub starved: u64,
    /// All its work was done.
    pub done: u64,
}

impl ElementCycles {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.busy + self.filler + self.pointer + self.imbalance + self.starved + self.done
    }

    /// These and those of another element.
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            busy: self.busy + other.busy,
            filler: self.filler + other.filler,
            pointer: self.pointer + other.pointer,
            imbalance: self.imbalance + other.imbalance,
            starved: self.starved + other.starved,
            done: self.done + other.done,
        }
    }
}

/// Where an element stands.
#[derive(Debug, Clone, Default)]
struct Element {
    /// Inputs taken from its queue.
    taken: usize,
    /// What is left of the column that it works on.
    column: Option<std::ops::Range<usize>>,
}

impl Run {
    /// Multiplies over what all elements could have done.
    pub fn utilisation(&self) -> f64 {
        let all = self.cycles * self.elements.len() as u64;
        self.multiplies as f64 / all.max(1) as f64
    }

    /// Cycles, were the work shared out evenly and nothing ever waited.
    pub fn least_cycles(&self) -> f64 {
        let work: u64 = self.elements.iter().map(|e| e.busy + e.filler).sum();
        work as f64 / self.elements.len().max(1) as f64
    }
}

impl Eie {
    /// Multiplies a matrix by a vector: `y[r] = Σ codebook[code[r, c]] · x[c]`, x: `[columns]` -> `[rows]`.
    ///
    /// # Errors
    /// An engine that cannot be built, operands whose extents do not agree, a codebook that is too short.
    pub fn run(&self, matrix: &Columns, codebook: &[f32], x: &[f32]) -> Result<Run, AccelError> {
        self.fits(matrix, codebook, x)?;
        let nonzero: Vec<usize> = (0..x.len()).filter(|&i| x[i] != 0.0).collect();
        let (cycles, elements) = self.cycles(matrix, x, &nonzero);
        let mut run = Run {
            outputs: vec![0.0; matrix.rows],
            cycles,
            multiplies: elements.iter().map(|e| e.busy).sum(),
            elements,
            nonzero_inputs: nonzero.len(),
            pointer_reads: (nonzero.len() * self.elements) as u64,
            line_reads: 0,
        };
        let line = self.entries_a_line();
        for (element, bank) in matrix.banks.iter().enumerate() {
            // The line that was read last is still there.
            let mut last_line = None;
            for &column in &nonzero {
                let range = bank.column(column);
                if !range.is_empty() {
                    let (first, last) = (range.start / line, (range.end - 1) / line);
                    let again = u64::from(last_line == Some(first));
                    run.line_reads += (last - first + 1) as u64 - again;
                    last_line = Some(last);
                }
                let mut row = element;
                for entry in &bank.entries[range] {
                    row += usize::from(entry.gap) * self.elements;
                    if entry.code != 0 {
                        run.outputs[row] += codebook[usize::from(entry.code)] * x[column];
                    }
                    row += self.elements;
                }
            }
        }
        Ok(run)
    }

    fn fits(&self, matrix: &Columns, codebook: &[f32], x: &[f32]) -> Result<(), AccelError> {
        self.check()?;
        let wrong = |what, needed: usize, found: usize| {
            Err(AccelError::Operands {
                what,
                needed: needed.to_string(),
                found: found.to_string(),
            })
        };
        let codes = matrix.banks.iter().flat_map(|b| &b.entries);
        let most = codes.map(|e| usize::from(e.code)).max().unwrap_or(0);
        match () {
            () if matrix.banks.len() != self.elements => {
                wrong("elements of the matrix", self.elements, matrix.banks.len())
            }
            () if x.len() != matrix.columns => wrong("inputs", matrix.columns, x.len()),
            () if codebook.len() <= most => {
                wrong("entries of the codebook", most + 1, codebook.len())
            }
            () => Ok(()),
        }
    }

    /// The engine's cycles, and where those of each element went.
    fn cycles(&self, matrix: &Columns, x: &[f32], nonzero: &[usize]) -> (u64, Vec<ElementCycles>) {
        let mut counts = vec![ElementCycles::default(); self.elements];
        let mut elements: Vec<Element> = vec![Element::default(); self.elements];
        let mut scan = Scan::new(x, self.elements);
        let mut written = 0;
        let mut cycles = 0;
        loop {
            let at_rest = |e: &Element| e.taken == written && e.column.is_none();
            if scan.ended() && elements.iter().all(at_rest) {
                break;
            }
            cycles += 1;
            let full = elements
                .iter()
                .any(|e| written - e.taken == self.queue_slots - 1);
            for ((element, count), bank) in elements.iter_mut().zip(&mut counts).zip(&matrix.banks)
            {
                let entry = element.column.as_mut().map(Iterator::next);
                match entry {
                    Some(Some(entry)) if bank.entries[entry].code != 0 => count.busy += 1,
                    Some(Some(_)) => count.filler += 1,
                    Some(None) => count.pointer += 1,
                    None if element.taken < written => count.starved += 1,
                    None if scan.ended() => count.done += 1,
                    None if full => count.imbalance += 1,
                    None => count.starved += 1,
                }
                if element.column.as_ref().is_none_or(|rest| rest.is_empty()) {
                    let next = nonzero[..written].get(element.taken);
                    element.column = next.map(|&column| bank.column(column));
                    element.taken += usize::from(next.is_some());
                }
            }
            written += usize::from(scan.step(full));
        }
        // What is under way behind the last entry, of every element.
        for count in &mut counts {
            count.done += DRAIN;
        }
        (cycles + DRAIN, counts)
    }
}

/// Finds inputs that are not zero, a line of one an element at a time.
struct Scan<'a> {
    lines: std::slice::Chunks<'a, f32>,
    /// The line under the scan, from the next input on; empty before the first.
    line: &'a [f32],
    /// Whether the last line has been left.
    ended: bool,
}

impl<'a> Scan<'a> {
    fn new(x: &'a [f32], width: usize) -> Self {
        Self {
            lines: x.chunks(width),
            line: &[],
            ended: false,
        }
    }

    fn ended(&self) -> bool {
        self.ended
    }

    /// A cycle; whether it puts an input into the queues.
    fn step(&mut self, full: bool) -> bool {
        match self.line.iter().position(|&x| x != 0.0) {
            Some(_) if full => false,
            Some(at) => {
                self.line = &self.line[at + 1..];
                // The next line comes at once only behind the last input of a whole one.
                if self.line.is_empty() {
                    self.next_line();
                }
                true
            }
            None => {
                self.next_line();
                false
            }
        }
    }

    fn next_line(&mut self) {
        match self.lines.next() {
            Some(line) => self.line = line,
            None => {
                self.line = &[];
                self.ended = true;
            }
        }
    }
}
