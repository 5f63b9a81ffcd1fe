//! What a nest of loops costs: accesses of every level, cycles, energy.

use super::{Axis, Layer, Level, Loop, Nest, Operand};
use crate::AccelError;
use serde::Serialize;
use std::ops::Range;

/// What a layer costs on a hierarchy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NestCost {
    /// Multiplications, each with its addition.
    pub multiplies: u64,
    /// Cells that do them.
    pub multipliers_used: u64,
    /// Cycles, until the slowest of multipliers and memories is done.
    pub cycles: u64,
    /// Energy of multiplications.
    pub multiply_pj: f64,
    /// Memories, the outermost first.
    pub levels: Vec<LevelCost>,
    /// Words that must come from the outermost level or go there, whatever the mapping.
    pub least_words: u64,
}

/// What a level has of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LevelCost {
    /// Its name.
    pub name: String,
    /// Parts that are used.
    pub parts: u64,
    /// Operands that it holds.
    pub operands: Vec<OperandCost>,
    /// Energy of the parts that are used, for being there.
    pub leak_pj: f64,
}

/// Accesses of a level for an operand, in words of all of its parts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OperandCost {
    /// Which.
    pub operand: Operand,
    /// Words that a part holds at a time.
    pub held_words: u64,
    /// Words that are read: by the level within, or by multipliers.
    pub reads: u64,
    /// Words that come from the level around.
    pub fills: u64,
    /// Sums that come from within.
    pub updates: u64,
    /// Energy.
    pub pj: f64,
}

/// A loop and where it is.
#[derive(Clone, Copy)]
struct Placed {
    level: usize,
    across: bool,
    of: Loop,
}

/// How an operand stays in one part of a level.
struct Stay {
    /// Words of it.
    held_words: u64,
    /// Times that others come.
    visits: u64,
    /// How many of them are the first with theirs.
    firsts: u64,
    /// Words that come from around in all.
    words_in: u64,
}

impl NestCost {
    /// All energy.
    pub fn total_pj(&self) -> f64 {
        let levels = self.levels.iter().map(LevelCost::pj);
        self.multiply_pj + levels.sum::<f64>()
    }

    /// Words that come from the outermost level and go there.
    pub fn outermost_words(&self) -> u64 {
        let operands = self.levels.first().into_iter().flat_map(|l| &l.operands);
        operands.map(|o| o.reads + o.updates).sum()
    }
}

impl LevelCost {
    /// All energy of the level.
    pub fn pj(&self) -> f64 {
        self.leak_pj + self.operands.iter().map(|o| o.pj).sum::<f64>()
    }
}

impl Nest {
    /// What the layer costs.
    ///
    /// An operand is read anew whenever a loop around a level has come to other elements of it. What a tile of inputs
    /// shares with the one before stays, where no loop within the step leaves inputs alone. Parts that are given all the
    /// same words share one access of the level around, parts that share some do not; sums of parts that belong to the
    /// same outputs are added on their way there. Multipliers read every operand in every cycle; sums are read to be
    /// added to, but not at first.
    ///
    /// # Errors
    /// Loops that do not make up the layer, more multipliers than there are, a level that does not hold its part of the
    /// operands.
    pub fn cost(&self) -> Result<NestCost, AccelError> {
        self.check()?;
        let count = self.levels.len();
        let used = self.parts(count);
        if used > self.multipliers {
            return Err(AccelError::Nest {
                place: "nest".into(),
                setting: "multipliers",
                needed: used.to_string(),
                found: self.multipliers.to_string(),
            });
        }
        let in_time = self.placed(0..count).filter(|l| !l.across);
        let mut cycles: u64 = in_time.map(|l| l.of.count).product();
        let mut accesses = Vec::with_capacity(count);
        for (index, level) in self.levels.iter().enumerate() {
            let operands = level.holds.iter().map(|&held| self.operand(index, held));
            let operands: Vec<OperandCost> = operands.collect();
            level.fits(&operands)?;
            cycles = cycles.max(level.busy(&operands, self.parts(index)));
            accesses.push(operands);
        }
        let levels = accesses.into_iter().enumerate().map(|(index, operands)| {
            let (level, parts) = (&self.levels[index], self.parts(index));
            LevelCost {
                name: level.name.clone(),
                parts,
                operands,
                leak_pj: level.leak_pj_a_cycle * cycles as f64 * parts as f64,
            }
        });
        let levels = levels.collect();
        let multiplies = self.multiplies();
        Ok(NestCost {
            multiplies,
            multipliers_used: used,
            cycles,
            multiply_pj: multiplies as f64 * self.multiply_pj,
            levels,
            least_words: self.layer.least_words(),
        })
    }

    /// The accesses of a level for an operand that it holds.
    fn operand(&self, index: usize, operand: Operand) -> OperandCost {
        let (level, parts) = (&self.levels[index], self.parts(index));
        let stay = self.stay(index, operand);
        let holds = |&inner: &usize| self.levels[inner].holds.contains(&operand);
        let inner = (index + 1..self.levels.len()).find(holds);
        // Parts within that have the same of the operand are served by one access, or give one sum.
        let end = inner.unwrap_or(self.levels.len());
        let alike = self.across(index..end, |axis| !operand.has(axis));
        let passed = |of_a_part: fn(&Stay) -> u64| {
            let words = inner.map(|i| of_a_part(&self.stay(i, operand)) * self.parts(i));
            words.unwrap_or(self.multiplies()) / alike
        };
        let (reads, fills, updates) = match operand {
            Operand::Outputs => {
                let updates = passed(|stay| stay.visits * stay.held_words);
                let first = stay.firsts * stay.held_words * parts;
                let again = (stay.visits - stay.firsts) * stay.held_words * parts;
                (updates - first, again, updates)
            }
            _ => (passed(|stay| stay.words_in), stay.words_in * parts, 0),
        };
        let fills = if index == 0 { 0 } else { fills };
        let accesses = |words: u64| ((words / parts).div_ceil(level.block_words) * parts) as f64;
        let pj = accesses(reads) * level.read_pj
            + (accesses(fills) + accesses(updates)) * level.write_pj;
        OperandCost {
            operand,
            held_words: stay.held_words,
            reads,
            fills,
            updates,
            pj,
        }
    }

    /// How an operand stays in a part of a level.
    fn stay(&self, index: usize, operand: Operand) -> Stay {
        let held = self.extents(index..self.levels.len());
        let held_words = held.words(operand);
        let all: Vec<Placed> = self.placed(0..self.levels.len()).collect();
        let is_around = |&at: &usize| all[at].level < index && !all[at].across;
        let around: Vec<usize> = (0..all.len()).filter(is_around).collect();
        let changes = |&at: &usize| operand.has(all[at].of.axis);
        let count = |&at: &usize| all[at].of.count;
        let changing = around.iter().rposition(changes).map_or(0, |last| last + 1);
        let (changing, idle) = around.split_at(changing);
        let visits = changing.iter().map(count).product();
        let mut words_in = visits * held_words;
        if let ([.., step], [], Operand::Inputs) = (changing, idle, operand) {
            let steps = visits - visits / count(step);
            words_in -= steps * shared(&held, all[*step].of.axis, &all[step + 1..]);
        }
        Stay {
            held_words,
            visits,
            firsts: around
                .iter()
                .copied()
                .filter(changes)
                .map(|at| count(&at))
                .product(),
            words_in,
        }
    }

    /// All loops of some levels that go anywhere, the outermost first.
    fn placed(&self, levels: Range<usize>) -> impl Iterator<Item = Placed> + '_ {
        levels.flat_map(move |level| {
            let of = |across| move |&of: &Loop| Placed { level, across, of };
            let Level { loops, across, .. } = &self.levels[level];
            let both = loops
                .iter()
                .map(of(false))
                .chain(across.iter().map(of(true)));
            both.filter(|placed| placed.of.count != 1)
        })
    }

    /// What the loops of some levels cover.
    pub(super) fn extents(&self, levels: Range<usize>) -> Layer {
        let mut extents = Layer {
            m: 1,
            c: 1,
            p: 1,
            q: 1,
            r: 1,
            s: 1,
            stride: self.layer.stride,
        };
        for placed in self.placed(levels) {
            let extent = extents.along_mut(placed.of.axis);
            *extent = extent.saturating_mul(placed.of.count);
        }
        extents
    }

    /// Parts of a level; multipliers beyond the last.
    fn parts(&self, index: usize) -> u64 {
        self.across(0..index, |_| true)
    }

    /// Product of the loops across parts, of some axes.
    fn across(&self, levels: Range<usize>, of: impl Fn(Axis) -> bool) -> u64 {
        let across = self.placed(levels).filter(|l| l.across && of(l.of.axis));
        across.map(|l| l.of.count).product()
    }

    fn multiplies(&self) -> u64 {
        Axis::ALL
            .iter()
            .map(|&axis| self.layer.along(axis))
            .product()
    }
}

impl Level {
    /// Whether a part holds what it must hold of the operands at a time.
    fn fits(&self, operands: &[OperandCost]) -> Result<(), AccelError> {
        let needed: u64 = operands.iter().map(|o| o.held_words).sum();
        match self.words {
            Some(words) if words < needed => Err(AccelError::Nest {
                place: self.name.clone(),
                setting: "words",
                needed: needed.to_string(),
                found: words.to_string(),
            }),
            _ => Ok(()),
        }
    }

    /// Cycles that a part needs for what it reads, and for what is written to it.
    fn busy(&self, operands: &[OperandCost], parts: u64) -> u64 {
        let Some(words_a_cycle) = self.words_a_cycle else {
            return 0;
        };
        let reads: u64 = operands.iter().map(|o| o.reads).sum();
        let writes: u64 = operands.iter().map(|o| o.fills + o.updates).sum();
        (reads.max(writes) as f64 / parts as f64 / words_a_cycle).ceil() as u64
    }
}

/// Words of a tile of inputs that the tile before has, too, where these loops are within each step along the axis.
fn shared(tile: &Layer, axis: Axis, within: &[Placed]) -> u64 {
    let along = within.iter().filter(|l| l.of.axis == axis);
    let covered: u64 = along.map(|l| l.of.count).product();
    let [rows, columns] = tile.spans();
    let (span, other, moved) = match axis {
        Axis::P => (rows, columns, covered * tile.stride),
        Axis::R => (rows, columns, covered),
        Axis::Q => (columns, rows, covered * tile.stride),
        Axis::S => (columns, rows, covered),
        Axis::M | Axis::C => return 0,
    };
    tile.c * other * span.saturating_sub(moved)
}
