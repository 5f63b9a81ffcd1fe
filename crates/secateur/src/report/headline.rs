//! The run in four pairs of figures, and its bytes as areas.

use super::Run;
use super::html::escaped;
use crate::agreement::Agreement;
use crate::units;
use secateur_compress::record::Point;

/// A quantity before and after.
struct Pair {
    what: &'static str,
    /// What it comes to, and whether that is good news, where it is any.
    verdict: (String, Option<bool>),
    before: String,
    after: String,
}

pub fn headline(run: &Run<'_>) -> String {
    let cards: String = pairs(run).iter().map(card).collect();
    let (dense, chosen) = (&run.record.dense, run.chosen());
    format!(
        "<div class=\"hero\">{}<div class=\"cards\">{cards}</div></div>\n",
        areas(dense, chosen)
    )
}

fn pairs(run: &Run<'_>) -> Vec<Pair> {
    let (dense, chosen) = (&run.record.dense, run.chosen());
    let mut pairs = vec![Pair {
        what: "size of the file",
        verdict: factor(dense.bytes as f64, chosen.bytes as f64, "smaller", "larger"),
        before: units::bytes(dense.bytes),
        after: units::bytes(chosen.bytes),
    }];
    let errors = [
        (
            "error on the test set",
            dense.test_error_percent,
            chosen.test_error_percent,
        ),
        (
            "error on validation data",
            dense.validation_error_percent,
            chosen.validation_error_percent,
        ),
    ];
    let known = errors
        .into_iter()
        .find_map(|(what, before, after)| Some((what, before?, after?)));
    if let Some((what, before, after)) = known {
        pairs.push(Pair {
            what,
            verdict: points(after - before),
            before: units::percent(before),
            after: units::percent(after),
        });
    }
    if let Some(agreement) = run.agreement {
        pairs.push(alike(agreement));
    }
    if let (Some(before), Some(after)) = (dense.milliseconds, chosen.milliseconds) {
        pairs.push(Pair {
            what: "time of one input",
            verdict: factor(before, after, "faster", "slower"),
            before: units::short(before),
            after: units::short(after),
        });
    }
    if let (Some(before), Some(after)) = (dense.picojoules, chosen.picojoules) {
        pairs.push(Pair {
            what: "energy of one input",
            verdict: factor(before, after, "less", "more"),
            before: units::energy(before),
            after: units::energy(after),
        });
    }
    let (all, left) = (run.before.parameters(), run.nonzeros());
    pairs.push(Pair {
        what: "weights that are not zero",
        verdict: (
            format!("{} left", share(left as f64 / all.max(1) as f64)),
            None,
        ),
        before: units::count(all),
        after: units::count(left),
    });
    pairs
}

/// How alike answers are to those of the network before.
fn alike(agreement: &Agreement) -> Pair {
    let (what, before, after) = match agreement.same_answer_percent {
        Some(same) => (
            "answers as before",
            units::percent(100.0),
            units::percent(same),
        ),
        None => {
            let cosine = format!("{:.4}", agreement.cosine_mean);
            ("cosine of the outputs", "1".into(), cosine)
        }
    };
    Pair {
        what,
        verdict: (
            format!("on {} samples", units::count(agreement.samples)),
            None,
        ),
        before,
        after,
    }
}

/// A share of one, as a percentage of few digits.
pub fn share(part: f64) -> String {
    match 100.0 * part {
        percent if percent >= 99.95 => "100 %".to_owned(),
        percent if percent >= 9.95 => format!("{percent:.0} %"),
        percent => format!("{percent:.1} %"),
    }
}

/// A rise or fall of a percentage.
fn points(difference: f64) -> (String, Option<bool>) {
    match difference {
        d if d.abs() < 0.005 => ("no change".to_owned(), Some(true)),
        d if d < 0.0 => (format!("−{:.2} points", -d), Some(true)),
        d => (format!("+{d:.2} points"), Some(false)),
    }
}

fn factor(before: f64, after: f64, less: &str, more: &str) -> (String, Option<bool>) {
    let times = |ratio: f64| match ratio {
        r if r < 99.95 => format!("{r:.1}×"),
        r => format!("{r:.0}×"),
    };
    let tiny = f64::MIN_POSITIVE;
    match after <= before {
        true => (
            format!("{} {less}", times(before / after.max(tiny))),
            Some(true),
        ),
        false => (
            format!("{} {more}", times(after / before.max(tiny))),
            Some(false),
        ),
    }
}

fn card(pair: &Pair) -> String {
    let (verdict, good) = &pair.verdict;
    let class = match good {
        Some(true) => " good",
        Some(false) => " bad",
        None => "",
    };
    format!(
        "<div class=\"card\"><div class=\"what\">{}</div><div class=\"big{class}\">{}</div>\
         <div class=\"from\">{} → <b>{}</b></div></div>",
        pair.what,
        escaped(verdict),
        escaped(&pair.before),
        escaped(&pair.after)
    )
}

/// The two files as squares, one in the corner of the other.
fn areas(dense: &Point, chosen: &Point) -> String {
    let most = dense.bytes.max(chosen.bytes).max(1) as f64;
    let side = |bytes: u64| 180.0 * (bytes as f64 / most).sqrt();
    let (before, after) = (side(dense.bytes), side(chosen.bytes).max(1.0));
    let square = |class: &str, side: f64| {
        format!(
            "<rect class=\"{class}\" y=\"{:.1}\" width=\"{side:.1}\" height=\"{side:.1}\" rx=\"1.5\"/>",
            180.0 - side
        )
    };
    // The smaller one lies on top.
    let squares = match before >= after {
        true => square("before", before) + &square("after", after),
        false => square("after", after) + &square("before", before),
    };
    format!(
        "<svg class=\"sizes\" viewBox=\"0 0 180 198\" role=\"img\" aria-label=\"{} before, {} after, as areas\">{squares}\
         <text x=\"0\" y=\"194\">bytes before and after, as areas</text></svg>",
        units::bytes(dense.bytes),
        units::bytes(chosen.bytes)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_say_which_way() {
        assert_eq!(factor(100.0, 10.0, "smaller", "larger").0, "10.0× smaller");
        assert_eq!(factor(1.0, 2.0, "faster", "slower").0, "2.0× slower");
        assert_eq!(factor(575.0, 1.0, "smaller", "").0, "575× smaller");
        assert_eq!(points(-0.064).0, "−0.06 points");
        assert_eq!(points(0.0).0, "no change");
        assert_eq!(points(0.2), ("+0.20 points".into(), Some(false)));
        assert_eq!(
            [share(0.0812), share(0.5), share(1.0)],
            ["8.1 %", "50 %", "100 %"]
        );
    }
}
