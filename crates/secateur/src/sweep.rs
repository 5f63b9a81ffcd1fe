//! One machine with one or two of its settings changed, point by point.

use crate::interrupt;
use crate::progress::Bar;
use anyhow::{Context, Result, bail};
use rayon::prelude::*;
use secateur_accel::{AccelError, Evaluated, Kind, Machine, NetworkCost};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

/// Points of a sweep, at the most.
pub const MOST_POINTS: usize = 256;

/// A setting and what it is to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// The dotted path of its key in the machine's file.
    pub key: String,
    /// As they are written there, though words have no quotes.
    pub values: Vec<String>,
}

/// What came of a sweep.
#[derive(Debug, Serialize)]
pub struct Sweep {
    /// One or two.
    #[serde(rename = "settings", serialize_with = "keys")]
    pub axes: Vec<Axis>,
    /// Values of the last axis run fastest.
    #[serde(serialize_with = "points")]
    pub points: Vec<Point>,
}

/// A machine of a sweep.
#[derive(Debug)]
pub struct Point {
    /// A value of each axis.
    pub values: Vec<String>,
    /// What the network costs on it, or why it cannot be run.
    pub result: Result<Figures, String>,
}

/// What a network costs on a machine, without its layers.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// Layers that the array ran.
    pub layers: usize,
    /// Cells that multiply.
    pub cells: usize,
    /// Operations a second if every cell worked in every cycle, in 10¹².
    pub peak_tops: f64,
    /// Cycles from the first byte to the last.
    pub cycles: u64,
    /// The same in microseconds.
    pub microseconds: f64,
    /// Operations of the dense layers a second, in 10¹².
    pub effective_tops: f64,
    /// Energy; `None` for machines of which the model knows none.
    pub microjoules: Option<f64>,
    /// Bytes from and to memory beyond the chip.
    pub dram_bytes: u64,
}

impl Figures {
    /// Those of a run; why there are none where the machine runs nothing of it.
    pub fn of(cost: &NetworkCost) -> Result<Self, String> {
        let layers = cost.layers.iter();
        match layers.filter(|l| l.kind == Kind::Array).count() {
            0 => Err("runs none of the layers".to_owned()),
            layers => Ok(Self {
                layers,
                cells: cost.cells,
                peak_tops: cost.peak_tops,
                cycles: cost.cycles,
                microseconds: cost.microseconds,
                effective_tops: cost.effective_tops,
                microjoules: cost.energy.map(|e| e.total_pj() / 1e6),
                dram_bytes: cost.moved.dram_bytes(),
            }),
        }
    }
}

impl FromStr for Axis {
    type Err = String;

    /// `KEY=V,..`; a value `A..B` stands for A, 2A, 4A and so on up to B.
    fn from_str(text: &str) -> Result<Self, String> {
        let needed = || "needed KEY=V,.. such as array.groups=4,8,12 or array.groups=4..64";
        let (key, values) = text.split_once('=').ok_or_else(needed)?;
        let mut all = Vec::new();
        for value in values.split(',').map(str::trim) {
            match value.split_once("..") {
                _ if value.is_empty() => return Err(needed().into()),
                Some((from, to)) => all.extend(doubled(from, to)?),
                None => all.push(value.to_owned()),
            }
            if all.len() > MOST_POINTS {
                return Err(format!("needed {MOST_POINTS} values at the most"));
            }
        }
        match all.iter().enumerate().find(|(i, v)| all[..*i].contains(v)) {
            Some((_, twice)) => Err(format!("{twice} is there twice")),
            None => Ok(Self {
                key: key.trim().to_owned(),
                values: all,
            }),
        }
    }
}

/// What is above is a slip of the hand.
const MOST_TIMES: f64 = 1e9;

/// A number, its double and so on up to another.
fn doubled(from: &str, to: &str) -> Result<Vec<String>, String> {
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|x| x.is_finite());
    match (number(from), number(to)) {
        (Some(from), Some(to)) if from > 0.0 && to >= from && to / from < MOST_TIMES => {
            let values = std::iter::successors(Some(from), |x| Some(2.0 * x));
            Ok(values
                .take_while(|x| *x <= to)
                .map(|x| x.to_string())
                .collect())
        }
        _ => Err(format!(
            "{from}..{to}: needed two numbers above 0, the lower first and the other less than {MOST_TIMES:e} times as large: \
             4..64 is 4,8,16,32,64"
        )),
    }
}

/// The machines of a sweep: some cannot be built, which is said in their place.
pub struct Machines {
    axes: Vec<Axis>,
    all: Vec<(Vec<String>, Result<Machine, String>)>,
}

impl Machines {
    /// Puts every value of the axes, each with each, into a machine's file.
    ///
    /// An unknown key, a value of the wrong type or too many points are errors.
    pub fn new(base: &Machine, axes: &[Axis]) -> Result<Self> {
        match axes {
            [_] => {}
            [a, b] if a.key == b.key => bail!("--sweep: {} is there twice", a.key),
            [_, _] => {}
            _ => bail!("--sweep: needed one or two settings, found {}", axes.len()),
        }
        let count: usize = axes.iter().map(|axis| axis.values.len()).product();
        if count > MOST_POINTS {
            bail!("--sweep: needed {MOST_POINTS} points at the most, found {count}");
        }
        let mut points = vec![Vec::new()];
        for axis in axes {
            let with = |point: &Vec<String>| -> Vec<Vec<String>> {
                let values = axis.values.iter().cloned();
                values
                    .map(|value| point.iter().cloned().chain([value]).collect())
                    .collect()
            };
            points = points.iter().flat_map(with).collect();
        }
        let machine = |values: Vec<String>| -> Result<_> {
            let keys = axes.iter().map(|axis| axis.key.as_str());
            let settings: Vec<(&str, &str)> = keys.zip(values.iter().map(String::as_str)).collect();
            let machine = match base.with(&settings) {
                Err(AccelError::Machine {
                    setting,
                    needed,
                    found,
                }) => Err(format!(
                    "cannot be built: {setting}: needed {needed}, found {found}"
                )),
                other => Ok(other.context("--sweep")?),
            };
            Ok((values, machine))
        };
        Ok(Self {
            axes: axes.to_vec(),
            all: points.into_iter().map(machine).collect::<Result<_>>()?,
        })
    }

    /// Runs a network on all of them, side by side. A network that does not fit one of them is no error.
    pub fn run(self, network: &Evaluated<'_>) -> Result<Sweep> {
        let total = self.all.len();
        let bar = Mutex::new((Bar::new("sweeping"), 0));
        let point = |(values, machine): (Vec<String>, Result<Machine, String>)| -> Result<Point> {
            interrupt::check()?;
            let result = match machine.map(|machine| network.cost(&machine)) {
                Ok(Ok(cost)) => Figures::of(&cost),
                Ok(Err(error @ AccelError::TileTooLarge { .. })) => {
                    Err(format!("does not fit: {error}"))
                }
                Ok(Err(error)) => return Err(error.into()),
                Err(why) => Err(why),
            };
            let mut bar = bar.lock().unwrap_or_else(PoisonError::into_inner);
            bar.1 += 1;
            let done = bar.1;
            // Whether to stop is asked before each point.
            let _ = bar.0.advance(done, total);
            Ok(Point { values, result })
        };
        Ok(Sweep {
            axes: self.axes,
            points: self.all.into_par_iter().map(point).collect::<Result<_>>()?,
        })
    }
}

impl Sweep {
    /// The point with the least of something, of those that could be run.
    pub fn least(&self, of: impl Fn(&Figures) -> Option<f64>) -> Option<&Point> {
        let measured = self.points.iter().filter_map(|point| {
            let figures = point.result.as_ref().ok()?;
            Some((of(figures)?, point))
        });
        let least = measured.min_by(|a, b| a.0.total_cmp(&b.0));
        least.map(|(_, point)| point)
    }

    /// The points that could not be run and why, those of one reason together.
    pub fn refused(&self) -> Vec<(String, &str)> {
        let mut reasons: Vec<(&Point, &str, usize)> = Vec::new();
        for point in &self.points {
            let Err(why) = &point.result else { continue };
            match reasons.iter_mut().find(|(_, reason, _)| reason == why) {
                Some((.., more)) => *more += 1,
                None => reasons.push((point, why, 0)),
            }
        }
        let told = |(point, why, more)| match more {
            0 => (self.settings(point), why),
            more => (format!("{}, and {more} more", self.settings(point)), why),
        };
        reasons.into_iter().map(told).collect()
    }

    /// The settings of a point, in words.
    pub fn settings(&self, point: &Point) -> String {
        let keys = self.axes.iter().map(|axis| &axis.key);
        let named = keys.zip(&point.values).map(|(k, v)| format!("{k} = {v}"));
        named.collect::<Vec<_>>().join(", ")
    }
}

fn keys<S: Serializer>(axes: &[Axis], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(axes.iter().map(|axis| &axis.key))
}

fn points<S: Serializer>(points: &[Point], to: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Row<'a> {
        values: Vec<serde_json::Value>,
        #[serde(flatten)]
        result: BTreeMap<&'a str, serde_json::Value>,
    }
    let value = |text: &String| match text.parse::<serde_json::Number>() {
        Ok(number) => number.into(),
        Err(_) => text.as_str().into(),
    };
    let rows = points.iter().map(|point| Row {
        values: point.values.iter().map(value).collect(),
        result: match &point.result {
            Ok(figures) => BTreeMap::from([("cost", serde_json::json!(figures))]),
            Err(why) => BTreeMap::from([("error", serde_json::json!(why))]),
        },
    });
    to.collect_seq(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_double() {
        let axis: Axis = "array.groups=4..64,100".parse().unwrap();
        assert_eq!(axis.key, "array.groups");
        assert_eq!(axis.values, ["4", "8", "16", "32", "64", "100"]);
        let axis: Axis = "memory.dram_bytes_a_cycle=0.5..5".parse().unwrap();
        assert_eq!(axis.values, ["0.5", "1", "2", "4"]);
        let axis: Axis = "array.skips=nothing,weights".parse().unwrap();
        assert_eq!(axis.values, ["nothing", "weights"]);
    }

    #[test]
    fn what_is_no_sweep_is_told() {
        for (text, told) in [
            ("array.groups", "needed KEY=V"),
            ("array.groups=", "needed KEY=V"),
            ("array.groups=4,,8", "needed KEY=V"),
            ("array.groups=4,8,4", "4 is there twice"),
            ("array.groups=0..8", "two numbers above 0"),
            ("array.groups=8..4", "the lower first"),
            ("array.groups=a..b", "a..b"),
            ("array.groups=1e-300..1e300", "two numbers"),
        ] {
            let error = text.parse::<Axis>().unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    #[test]
    fn every_value_meets_every_other_and_some_cannot_be_built() {
        let base = Machine::builtin("secateur-1tops").unwrap();
        let axes: Vec<Axis> = ["array.groups=0,4", "array.lanes=8,16,32"]
            .map(|text| text.parse().unwrap())
            .into();
        let machines = Machines::new(&base, &axes).unwrap();
        let built: Vec<usize> = machines
            .all
            .iter()
            .map(|(_, machine)| machine.as_ref().map_or(0, Machine::cells))
            .collect();
        assert_eq!(built, [0, 0, 0, 32, 64, 128]);
        let (values, none) = &machines.all[0];
        assert_eq!(values, &["0", "8"]);
        assert!(
            none.as_ref()
                .unwrap_err()
                .contains("groups: needed 1 to 1024")
        );
        let many: Vec<String> = (1..=17).map(|n| n.to_string()).collect();
        let many = |key: &str| Axis {
            key: key.into(),
            values: many.clone(),
        };
        let refused = |axes: &[Axis]| format!("{:#}", Machines::new(&base, axes).err().unwrap());
        let told = refused(&[many("array.groups"), many("array.lanes")]);
        assert!(told.contains("256 points at the most, found 289"), "{told}");
        let told = refused(&[many("array.groups"), many("array.groups")]);
        assert!(told.contains("twice"), "{told}");
        let told = refused(&[many("array.rows")]);
        assert!(
            told.contains("no setting `array.rows`") && told.contains("array.groups"),
            "{told}"
        );
    }
}
