//! A layer as a nest of loops over a hierarchy of memories, and what it costs there.
//!
//! Each level of the hierarchy has loops of its own, one after the other in time, and loops across the parts of the
//! next level, all at once. What a level holds of an operand follows from the loops within; how often that changes,
//! from those around (Parashar et al., *Timeloop*, ISPASS 2019). Nothing is summed: this is for hierarchies and mappings
//! that no array here has yet.

mod check;
mod cost;

use crate::AccelError;
use crate::builtin::{self, Builtin, builtin};
use serde::{Deserialize, Serialize};

pub use cost::{LevelCost, NestCost, OperandCost};

/// A hierarchy of memories, a layer, and how the layer is mapped to it.
///
/// ```
/// # use secateur_accel::nest::Nest;
/// let cost = Nest::builtin("eyeriss-like")?.cost()?;
/// assert_eq!(cost.multiplies, 10_838_016);
/// assert_eq!(cost.cycles, 86_016);
/// # Ok::<(), secateur_accel::AccelError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nest {
    /// Its name.
    pub name: String,
    /// Where its figures come from.
    pub source: String,
    /// Cells that multiply, one product a cycle each.
    pub multipliers: u64,
    /// Energy of a multiplication and its addition.
    pub multiply_pj: f64,
    /// What is computed.
    pub layer: Layer,
    /// Memories, the outermost first: it holds everything.
    #[serde(rename = "level")]
    pub levels: Vec<Level>,
}

/// Extents of a convolution without groups, by the names that the literature has for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// Output channels.
    #[serde(rename = "M")]
    pub m: u64,
    /// Input channels.
    #[serde(rename = "C")]
    pub c: u64,
    /// Rows of outputs.
    #[serde(rename = "P")]
    pub p: u64,
    /// Columns of outputs.
    #[serde(rename = "Q")]
    pub q: u64,
    /// Rows of the kernel.
    #[serde(rename = "R")]
    pub r: u64,
    /// Columns of the kernel.
    #[serde(rename = "S")]
    pub s: u64,
    /// Step of the window, down and across.
    #[serde(default = "one")]
    pub stride: u64,
}

/// A memory, all of whose parts are alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Level {
    /// What it is called.
    pub name: String,
    /// Operands that it holds; others pass it by.
    pub holds: Vec<Operand>,
    /// Words of a part; no limit where there is none.
    pub words: Option<u64>,
    /// Words of an access.
    #[serde(default = "one")]
    pub block_words: u64,
    /// Words that a part reads in a cycle, and that it writes, at most; no limit where there is none.
    pub words_a_cycle: Option<f64>,
    /// Energy of an access that reads.
    pub read_pj: f64,
    /// Energy of an access that writes.
    pub write_pj: f64,
    /// Energy of a part in a cycle, whatever it does.
    #[serde(default)]
    pub leak_pj_a_cycle: f64,
    /// Loops in time over what it holds, the outermost first.
    #[serde(default)]
    pub loops: Vec<Loop>,
    /// Loops across the parts of the next level.
    #[serde(default)]
    pub across: Vec<Loop>,
}

/// What a layer reads and gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operand {
    /// `[M, C, R, S]`.
    Weights,
    /// `[C, (P − 1) · stride + R, (Q − 1) · stride + S]`.
    Inputs,
    /// `[M, P, Q]`.
    Outputs,
}

/// An extent of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// Output channels.
    M,
    /// Input channels.
    C,
    /// Rows of outputs.
    P,
    /// Columns of outputs.
    Q,
    /// Rows of the kernel.
    R,
    /// Columns of the kernel.
    S,
}

/// So many steps along an extent; in files `"P 14"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Loop {
    /// The extent.
    pub axis: Axis,
    /// Steps.
    pub count: u64,
}

fn one() -> u64 {
    1
}

/// The nests that come with the program, by name.
const BUILTIN: &[Builtin] = builtin![
    "machines/nests":
    "eyeriss-like",
    "simba-like",
    "output-stationary",
    "weight-stationary",
];

impl Nest {
    /// The names of the nests that come with the program.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILTIN.iter().map(|(name, _)| *name)
    }

    /// A nest that comes with the program.
    ///
    /// # Errors
    /// A name that none has.
    pub fn builtin(name: &str) -> Result<Self, AccelError> {
        Self::from_toml(builtin::text(BUILTIN, name)?, name)
    }

    /// A nest from the text of its file; `place` is what errors call it.
    ///
    /// # Errors
    /// Text that is no nest, loops that do not make up the layer, more parts than there are, a memory that does not hold
    /// its part.
    pub fn from_toml(text: &str, place: &str) -> Result<Self, AccelError> {
        builtin::parse(text, place, |nest: &Self| nest.cost().map(drop))
    }

    /// The same with loops in an order that takes less energy, if there is one: the loops of one level after the other are
    /// put into their best order until none gains.
    ///
    /// # Errors
    /// A nest that cannot be.
    pub fn reordered(&self) -> Result<Self, AccelError> {
        let mut best = self.clone();
        let mut least = best.cost()?.total_pj();
        loop {
            let before = least;
            for level in 0..best.levels.len() {
                let mut tried = best.clone();
                let loops = best.levels[level].loops.clone();
                for order in orders(&loops) {
                    tried.levels[level].loops = order;
                    let energy = tried.cost()?.total_pj();
                    if energy < least {
                        (best, least) = (tried.clone(), energy);
                    }
                }
            }
            if least >= before {
                return Ok(best);
            }
        }
    }
}

/// Every order of loops, as they stand first.
fn orders(loops: &[Loop]) -> Vec<Vec<Loop>> {
    if loops.is_empty() {
        return vec![Vec::new()];
    }
    let begin = |first: usize| {
        let mut rest = loops.to_vec();
        let first = rest.remove(first);
        orders(&rest).into_iter().map(move |mut order| {
            order.insert(0, first);
            order
        })
    };
    (0..loops.len()).flat_map(begin).collect()
}

impl Layer {
    fn along(&self, axis: Axis) -> u64 {
        match axis {
            Axis::M => self.m,
            Axis::C => self.c,
            Axis::P => self.p,
            Axis::Q => self.q,
            Axis::R => self.r,
            Axis::S => self.s,
        }
    }

    fn along_mut(&mut self, axis: Axis) -> &mut u64 {
        match axis {
            Axis::M => &mut self.m,
            Axis::C => &mut self.c,
            Axis::P => &mut self.p,
            Axis::Q => &mut self.q,
            Axis::R => &mut self.r,
            Axis::S => &mut self.s,
        }
    }

    /// Rows and columns of inputs from the first to the last.
    fn spans(&self) -> [u64; 2] {
        let Self {
            p, q, r, s, stride, ..
        } = *self;
        [span(p, r, stride), span(q, s, stride)]
    }

    /// Words of an operand; of inputs with those between taps that a stride leaves out.
    fn words(&self, operand: Operand) -> u64 {
        match operand {
            Operand::Weights => self.m * self.c * self.r * self.s,
            Operand::Inputs => self.c * self.spans().iter().product::<u64>(),
            Operand::Outputs => self.m * self.p * self.q,
        }
    }

    /// Words that cannot but be read or written.
    fn least_words(&self) -> u64 {
        let Self {
            c,
            p,
            q,
            r,
            s,
            stride,
            ..
        } = *self;
        // What a stride leaves out between kernels is not touched.
        let inputs = c * span(p, r, stride.min(r)) * span(q, s, stride.min(s));
        self.words(Operand::Weights) + inputs + self.words(Operand::Outputs)
    }
}

/// Inputs along an axis from the first tap of the first output to the last of the last.
fn span(outputs: u64, taps: u64, stride: u64) -> u64 {
    (outputs - 1) * stride + taps
}

impl Operand {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Weights, Self::Inputs, Self::Outputs];

    /// As files call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Weights => "weights",
            Self::Inputs => "inputs",
            Self::Outputs => "outputs",
        }
    }

    /// Some of them, as a list.
    fn list(operands: &[Self]) -> String {
        let names = operands.iter().map(|o| o.name());
        names.collect::<Vec<_>>().join(", ")
    }

    /// Whether a step along the axis comes to other elements.
    fn has(self, axis: Axis) -> bool {
        use Axis::{C, M, P, Q, R, S};
        match self {
            Self::Weights => matches!(axis, M | C | R | S),
            Self::Inputs => matches!(axis, C | P | Q | R | S),
            Self::Outputs => matches!(axis, M | P | Q),
        }
    }
}

impl Axis {
    const ALL: [Self; 6] = [Self::M, Self::C, Self::P, Self::Q, Self::R, Self::S];

    /// As files call it.
    fn name(self) -> &'static str {
        match self {
            Self::M => "M",
            Self::C => "C",
            Self::P => "P",
            Self::Q => "Q",
            Self::R => "R",
            Self::S => "S",
        }
    }
}

impl Loop {
    /// The most steps.
    const MOST: u64 = 1 << 16;
}

impl TryFrom<String> for Loop {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let read = || {
            let (name, count) = text.split_once(' ')?;
            let axis = Axis::ALL.into_iter().find(|axis| axis.name() == name)?;
            let count = count.trim().parse().ok()?;
            (1..=Self::MOST)
                .contains(&count)
                .then_some(Self { axis, count })
        };
        read().ok_or_else(|| {
            format!(
                "needed one of M, C, P, Q, R, S and 1 to {} steps, such as \"P 14\", found \"{text}\"",
                Self::MOST
            )
        })
    }
}

impl From<Loop> for String {
    fn from(Loop { axis, count }: Loop) -> Self {
        format!("{} {count}", axis.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_along_can_be_read_and_written() {
        for name in Nest::names() {
            let nest = Nest::builtin(name).unwrap();
            assert_eq!(nest.name, name);
            let text = toml::to_string(&nest).unwrap();
            assert_eq!(Nest::from_toml(&text, name).unwrap(), nest);
        }
    }

    #[test]
    fn what_is_wrong_with_a_nest_is_told() {
        let (_, text) = BUILTIN[0];
        for (from, to, told) in [
            (
                "P 14",
                "P 15",
                "nest: loops: needed those over P to make 112 steps, found 120",
            ),
            ("P 14", "X 14", "such as \"P 14\", found \"X 14\""),
            ("P 14", "P 0", "found \"P 0\""),
            (
                "\"P 14\"",
                "\"P 7\", \"P 2\"",
                "loops: needed one over each extent, found P 7, P 2, Q 4",
            ),
            (
                "stride = 2",
                "stride = 0",
                "layer: stride: needed 1 to 64, found 0",
            ),
            (
                "words = 16\n",
                "words = 7\n",
                "sum scratchpad: words: needed 8, found 7",
            ),
            (
                "words_a_cycle = 16",
                "words_a_cycle = 1e-18",
                "global buffer: words_a_cycle",
            ),
            (
                "multipliers = 168",
                "multipliers = 100",
                "multipliers: needed 126, found 100",
            ),
            ("words = 24", "word = 24", "unknown field `word`"),
            (
                "holds = [\"weights\", \"inputs\", \"outputs\"]",
                "holds = [\"inputs\"]",
                "DRAM: holds: needed all",
            ),
        ] {
            assert!(text.contains(from), "{from}");
            let error = Nest::from_toml(&text.replace(from, to), "n.toml").unwrap_err();
            let error = error.to_string();
            assert!(error.contains("n.toml") && error.contains(told), "{error}");
        }
    }

    #[test]
    fn loops_of_one_step_cost_nothing() {
        for name in Nest::names() {
            let nest = Nest::builtin(name).unwrap();
            let cost = nest.cost().unwrap();
            for (level, axis) in (0..nest.levels.len()).flat_map(|l| Axis::ALL.map(|a| (l, a))) {
                let mut other = nest.clone();
                let loops = &mut other.levels[level].loops;
                if loops.iter().all(|l| l.axis != axis) {
                    loops.push(Loop { axis, count: 1 });
                }
                assert_eq!(other.cost().unwrap(), cost, "{name} {level} {axis:?}");
            }
        }
    }

    #[test]
    fn what_a_stride_leaves_out_need_not_be_read() {
        let text = BUILTIN[0].1.replace("R = 3\nS = 3", "R = 1\nS = 1");
        let text = text.replace(", \"S 3\"", "").replace("\"R 3\"", "");
        let cost = Nest::from_toml(&text, "n.toml").unwrap().cost().unwrap();
        assert_eq!(cost.least_words, 32 * 3 + 3 * 112 * 112 + 32 * 112 * 112);
    }

    #[test]
    fn another_order_costs_no_more() {
        for name in Nest::names() {
            let nest = Nest::builtin(name).unwrap();
            let other = nest.reordered().unwrap();
            let [before, after] = [&nest, &other].map(|n| n.cost().unwrap());
            assert!(after.total_pj() <= before.total_pj(), "{name}");
            assert_eq!(before.multiplies, after.multiplies);
        }
        assert_eq!(
            orders(&Nest::builtin("eyeriss-like").unwrap().levels[0].loops).len(),
            6
        );
    }
}
