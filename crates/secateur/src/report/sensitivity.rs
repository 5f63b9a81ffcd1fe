//! How far each layer can go by itself: what each choice costs in loss.

use super::headline::share;
use super::html::{Column, Section, escaped, figures, page};
use crate::units;
use secateur_compress::record::{Choice, ChoiceCost, LayerSensitivity};
use std::fmt::Write;

/// Rises of the loss from which a cell is a shade stronger.
const STEPS: [f64; 5] = [0.001, 0.01, 0.03, 0.1, 0.3];

/// Choices of which more stand in small type on paper.
const MANY: usize = 16;

/// The picture as a page of its own.
pub fn sensitivity_page(network: &str, data: &str, layers: &[LayerSensitivity]) -> String {
    let subtitle = format!("sensitivity of {} layers on {data}", layers.len());
    let sections: Vec<Section> = sensitivity(layers).into_iter().collect();
    page(network, &subtitle, "", &sections)
}

pub fn sensitivity(layers: &[LayerSensitivity]) -> Option<Section> {
    let choices = choices(layers);
    if choices.is_empty() {
        return None;
    }
    Some(Section {
        title: "Sensitivity",
        lead: "What each choice for one layer adds to the loss, the other layers left as they are, in nats where an output is a class \
               each, elsewhere as a part of the outputs' square: the stronger \
               the colour, the worse. Layers that stay pale can go far."
            .to_owned(),
        body: heat(layers, &choices) + &table(layers),
    })
}

/// The pattern, but for how many of a window it keeps: `n:64`.
fn family(choice: &Choice) -> String {
    match choice.pattern.split_once(':') {
        Some((_, window)) => format!("n:{window}"),
        None => choice.pattern.clone(),
    }
}

/// All choices, those of one pattern and width together, widest and fullest first.
fn choices(layers: &[LayerSensitivity]) -> Vec<&Choice> {
    let mut all: Vec<&Choice> = layers
        .iter()
        .flat_map(|layer| layer.choices.iter().map(|cost| &cost.choice))
        .collect();
    all.sort_by(|a, b| {
        let kind = family(a).cmp(&family(b)).then(b.bits.cmp(&a.bits));
        kind.then(b.density.total_cmp(&a.density))
    });
    all.dedup();
    all
}

fn heat(layers: &[LayerSensitivity], choices: &[&Choice]) -> String {
    let kind = |c: &Choice| (family(c), c.bits);
    let mut groups = String::new();
    for group in choices.chunk_by(|a, b| kind(a) == kind(b)) {
        let first = group.first();
        let name = first.map_or(String::new(), |c| format!("{}, {} bit", family(c), c.bits));
        let _ = write!(
            groups,
            "<th class=\"group\" scope=\"colgroup\" colspan=\"{}\">{}</th>",
            group.len(),
            escaped(&name)
        );
    }
    let densities: String = choices
        .iter()
        .map(|c| format!("<th scope=\"col\">{}</th>", share(c.density)))
        .collect();
    let mut body = String::new();
    for layer in layers {
        let name = escaped(&layer.layer);
        let _ = write!(body, "<tr><th scope=\"row\" title=\"{name}\">{name}</th>");
        for choice in choices {
            let cost = layer.choices.iter().find(|cost| cost.choice == **choice);
            body += &cost.map_or("<td></td>".to_owned(), cell);
        }
        body += "</tr>\n";
    }
    let many = if choices.len() > MANY { " many" } else { "" };
    format!(
        "<div class=\"scroll\"><table class=\"heat{many}\"><thead><tr><td></td>{groups}</tr><tr><th class=\"text\" scope=\"col\">kept</th>{densities}</tr></thead><tbody>\n{body}</tbody></table></div>"
    )
}

fn cell(cost: &ChoiceCost) -> String {
    let rise = cost.loss_increase;
    // What is no number is as bad as can be.
    let shade = match rise.is_nan() {
        true => STEPS.len(),
        false => STEPS.iter().filter(|step| rise >= **step).count(),
    };
    format!(
        "<td class=\"h{shade}\" title=\"{}\">{}</td>",
        units::bytes(cost.bytes),
        loss(rise)
    )
}

fn loss(rise: f64) -> String {
    match rise {
        r if r.is_nan() => "not a number".to_owned(),
        r if r.abs() < 0.0005 => "0".to_owned(),
        r if r.abs() < 9.995 => format!("{r:.3}"),
        r => format!("{r:.0}"),
    }
}

fn table(layers: &[LayerSensitivity]) -> String {
    let rows: Vec<Vec<String>> = layers
        .iter()
        .flat_map(|layer| {
            layer.choices.iter().map(|cost| {
                vec![
                    layer.layer.clone(),
                    units::count(layer.parameters),
                    cost.choice.pattern.clone(),
                    share(cost.choice.density),
                    cost.choice.bits.to_string(),
                    format!("{:.5}", cost.loss_increase),
                    units::count(cost.bytes as usize),
                    cost.microseconds
                        .map_or("–".to_owned(), |us| units::short(us / 1e3)),
                    cost.picojoules.map_or("–".to_owned(), units::energy),
                ]
            })
        })
        .collect();
    let headings = [
        ("layer", Column::Text),
        ("weights", Column::Figure),
        ("pattern", Column::Text),
        ("kept", Column::Figure),
        ("bits", Column::Figure),
        ("rise of the loss", Column::Figure),
        ("bytes", Column::Figure),
        ("time", Column::Figure),
        ("energy", Column::Figure),
    ];
    figures(&headings, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(density: f64, bits: u8, loss_increase: f64) -> ChoiceCost {
        ChoiceCost {
            choice: Choice {
                density,
                pattern: "unstructured".into(),
                bits,
            },
            loss_increase,
            bytes: 1000,
            microseconds: Some(3.0),
            picojoules: None,
        }
    }

    #[test]
    fn cells_are_as_strong_as_the_loss_is_high() {
        let layer = |name: &str, choices| LayerSensitivity {
            layer: name.into(),
            parameters: 100,
            choices,
        };
        let layers = [
            layer("<fc1>", vec![cost(1.0, 8, -0.01), cost(0.1, 8, 0.05)]),
            layer("fc2", vec![cost(0.1, 8, f64::NAN), cost(0.1, 4, 12.0)]),
        ];
        let page = sensitivity_page("net", "digits", &layers);
        assert!(page.contains("&lt;fc1&gt;") && !page.contains("<fc1>"));
        for part in [
            "<td class=\"h0\" title=\"1000 B\">-0.010</td>",
            "<td class=\"h3\" title=\"1000 B\">0.050</td>",
            "<td class=\"h5\" title=\"1000 B\">not a number</td>",
            "colspan=\"2\">unstructured, 8 bit",
        ] {
            assert!(page.contains(part), "{part}");
        }
        assert_eq!(choices(&layers).len(), 3);
        let windows = ["12:64", "8:64", "48:64"].map(|pattern| {
            let mut cost = cost(pattern.len() as f64, 8, 0.0);
            cost.choice.pattern = pattern.into();
            cost
        });
        let page = sensitivity_page("net", "digits", &[layer("fc", windows.into())]);
        assert!(page.contains("colspan=\"3\">n:64, 8 bit"), "{page}");
        assert!(sensitivity(&[]).is_none());
    }
}
