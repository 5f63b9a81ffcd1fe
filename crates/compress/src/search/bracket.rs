//! Where to try next: further geometrically while nothing breaks, or back faster and faster until
//! nothing does, then by bisection.

/// On which side of the edge a level lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// It can go further.
    Near,
    /// It went too far.
    Far,
}

/// A level that was tried.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Mark {
    level: f64,
    /// What the network costs there.
    cost: f64,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Next {
    /// Try this level.
    Try(f64),
    /// It is over.
    Stop(Stop),
}

/// Why it is over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Stop {
    /// What could still be gained, as a share.
    LittleToGain(f64),
    /// The weakest level goes too far.
    NothingWeaker,
    /// The strongest level does not go far enough.
    NothingStronger,
}

/// A search for the edge between levels that can go further and levels that went too far: levels grow by
/// a factor until one goes too far, then the edge is closed in on. Where the first goes too far, they
/// fall by more and more: what is tried there leads nowhere, and nothing is built on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Bracket {
    first: f64,
    factor: f64,
    least: f64,
    most: f64,
    near: Option<Mark>,
    far: Option<Mark>,
}

/// The search ends when the next step would gain less than this share.
const GAIN: f64 = 0.02;

impl Bracket {
    /// Begins at `first`, and stays within `least ..= most`.
    pub fn new(first: f64, factor: f64, least: f64, most: f64) -> Self {
        Self {
            first,
            factor: factor.max(1.01),
            least,
            most,
            near: None,
            far: None,
        }
    }

    /// Which level to try next.
    pub fn next(&self) -> Next {
        match (self.near, self.far) {
            (None, None) => Next::Try(self.first),
            (Some(near), None) if near.level >= self.most => Next::Stop(Stop::NothingStronger),
            (Some(near), None) => Next::Try((near.level * self.factor).min(self.most)),
            (None, Some(far)) if far.level <= self.least => Next::Stop(Stop::NothingWeaker),
            (None, Some(far)) => Next::Try((far.level / self.fall(far)).max(self.least)),
            (Some(near), Some(far)) => match gain(near, far) {
                gain if gain < GAIN => Next::Stop(Stop::LittleToGain(gain)),
                _ => Next::Try((near.level * far.level).sqrt()),
            },
        }
    }

    /// By what the level falls where nothing has held yet.
    fn fall(&self, far: Mark) -> f64 {
        (self.first / far.level).max(self.factor)
    }

    /// Notes how a level did; what contradicts an earlier one, as noise does, is believed.
    pub fn note(&mut self, level: f64, side: Side, cost: f64) {
        let mark = Mark { level, cost };
        match side {
            Side::Near => {
                self.near = Some(mark);
                self.far = self.far.filter(|far| far.level > level);
            }
            Side::Far => {
                self.far = Some(mark);
                self.near = self.near.filter(|near| near.level < level);
            }
        }
    }

    /// About how many tries there are left, this one included.
    pub fn expected(&self) -> usize {
        match (self.near, self.far) {
            (Some(near), Some(far)) => bisections(far.level / near.level, gain(near, far)),
            // The edge may lie below the next; then it is closed in on.
            (None, Some(far)) => {
                let fall = self.fall(far);
                1 + bisections(fall, 1.0 - 1.0 / fall)
            }
            // The edge may lie two factors on.
            _ => 2 + bisections(self.factor, 1.0 - 1.0 / self.factor),
        }
    }
}

/// What trying between two marks may gain of the cost at the near one: half of the way between the
/// costs, or between the levels where a cost is not known.
fn gain(near: Mark, far: Mark) -> f64 {
    let of_level = 1.0 - (near.level / far.level).sqrt();
    match far.cost / near.cost {
        ratio if ratio.is_finite() && ratio > 0.0 => (1.0 - ratio.sqrt()).clamp(0.0, of_level),
        _ => of_level,
    }
}

fn bisections(ratio: f64, gain: f64) -> usize {
    let of_levels = (ratio.ln() / 2.0 / GAIN).log2();
    let of_gain = (gain / GAIN).log2() + 1.0;
    of_levels.min(of_gain).ceil().clamp(1.0, 20.0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Searches an edge at a level, the cost one over the level; gives what was tried.
    fn go(bracket: &mut Bracket, edge: f64) -> (Vec<f64>, Stop) {
        let mut tried = Vec::new();
        loop {
            match bracket.next() {
                Next::Stop(why) => return (tried, why),
                Next::Try(level) => {
                    let side = if level <= edge { Side::Near } else { Side::Far };
                    bracket.note(level, side, 1.0 / level);
                    tried.push(level);
                }
            }
        }
    }

    #[test]
    fn further_while_it_holds_then_back_by_bisection() {
        let (tried, why) = go(&mut Bracket::new(4.0, 2.0, 1.0, 1e6), 20.0);
        assert_eq!(&tried[..4], &[4.0, 8.0, 16.0, 32.0]);
        assert!((tried[4] - 512f64.sqrt()).abs() < 1e-9);
        assert!(matches!(why, Stop::LittleToGain(gain) if gain < 0.02));
    }

    #[test]
    fn ends_of_the_range_are_tried_and_told() {
        let (tried, why) = go(&mut Bracket::new(4.0, 2.0, 1.0, 10.0), 20.0);
        assert_eq!((tried, why), (vec![4.0, 8.0, 10.0], Stop::NothingStronger));
        let (tried, why) = go(&mut Bracket::new(4.0, 2.0, 1.0, 10.0), 0.5);
        assert_eq!((tried, why), (vec![4.0, 2.0, 1.0], Stop::NothingWeaker));
    }

    #[test]
    fn back_by_more_and_more() {
        let (tried, why) = go(&mut Bracket::new(128.0, 2.0, 0.25, 1e6), 0.1);
        assert_eq!(tried, [128.0, 64.0, 32.0, 8.0, 0.5, 0.25]);
        assert_eq!(why, Stop::NothingWeaker);
    }

    #[test]
    fn a_cost_that_does_not_fall_any_more_is_no_reason_to_go_on() {
        let mut bracket = Bracket::new(4.0, 2.0, 1.0, 1e6);
        bracket.note(4.0, Side::Near, 100.0);
        bracket.note(8.0, Side::Far, 99.0);
        assert!(matches!(bracket.next(), Next::Stop(Stop::LittleToGain(_))));
    }

    proptest! {
        #[test]
        fn the_edge_is_found_within_two_percent(edge in 1.1f64..5000.0) {
            let mut bracket = Bracket::new(8.0, 2.0, 1.0, 1e4);
            let (tried, _) = go(&mut bracket, edge);
            let best = tried.iter().copied().filter(|l| *l <= edge).fold(0.0, f64::max);
            prop_assert!(edge / best < 1.042, "{best} for {edge}");
            prop_assert!(tried.len() <= 20, "{tried:?}");
        }
    }
}
