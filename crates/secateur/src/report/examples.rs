//! What both networks make of the same pictures.

use super::headline::share;
use super::html::{Section, escaped, legend};
use super::png;
use super::svg::bar;
use crate::classifier::probabilities;
use crate::{detector, picture, score, units};
use anyhow::{Context, Result};
use secateur_data::{Dataset, Targets};
use secateur_model::Graph;
use secateur_model::detection::{BBox, Object};
use std::fmt::Write;

/// Pictures that are shown.
const SHOWN: usize = 12;
/// How sure a detector is of what is drawn.
const SHOWN_SCORE: f32 = 0.3;

/// What both networks answer on pictures of the test set.
pub enum Examples {
    /// Of classifiers.
    Classes(Classes),
    /// Of detectors.
    Boxes(Vec<BoxExample>),
}

/// The answers of two classifiers, summed up, and some of them.
pub struct Classes {
    /// Pictures of the test set.
    pub of: usize,
    /// Pictures that both get right, and both wrong.
    pub both: [usize; 2],
    /// Pictures that only the network before, and only the one after, gets right.
    pub only: [usize; 2],
    /// Pictures with another answer: first the surest; then those whose probability moved most.
    pub shown: Vec<ClassExample>,
}

/// A picture and what two classifiers make of it.
pub struct ClassExample {
    /// The picture, as a data URI.
    pub picture: String,
    /// Its class.
    pub truth: String,
    /// The answer before, and after.
    pub answers: [Answer; 2],
}

/// A class and how likely it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub class: String,
    pub probability: f32,
    pub right: bool,
}

/// A picture and what two detectors find in it.
pub struct BoxExample {
    /// The picture, as a data URI.
    pub picture: String,
    /// What is there.
    pub truth: Vec<Found>,
    /// What is found before, and after.
    pub found: [Vec<Found>; 2],
}

/// A thing in a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    pub label: String,
    /// How sure the network is; 1 for what is there.
    pub score: f32,
    /// Left, top, right and bottom, as shares of the picture.
    pub rect: [f32; 4],
}

impl Examples {
    /// Asks both networks, as the set's targets want it.
    ///
    /// # Errors
    /// A network that cannot run on the set's images.
    pub fn of(before: &Graph, after: &Graph, data: &Dataset) -> Result<Self> {
        Ok(match data.targets() {
            Targets::Classes(_) => Self::Classes(classes(before, after, data)?),
            Targets::Boxes(objects) => Self::Boxes(objects_found(before, after, data, objects)?),
        })
    }
}

/// The first pictures of a set, and what both networks find there.
fn objects_found(
    before: &Graph,
    after: &Graph,
    data: &Dataset,
    objects: &[Vec<Object>],
) -> Result<Vec<BoxExample>> {
    let shown: Vec<usize> = (0..data.len().min(SHOWN)).collect();
    let few = data.subset(&shown);
    let [before, after] = [before, after].map(|graph| found(graph, &few));
    let pairs = before?.into_iter().zip(after?);
    Ok(pairs
        .zip(&shown)
        .filter_map(|((before, after), &index)| {
            let there = objects[index].iter().filter(|o| !o.difficult);
            Some(BoxExample {
                picture: png::image(data, index)?,
                truth: there
                    .map(|o| Found::new(&data.classes, o.class, 1.0, o.bbox))
                    .collect(),
                found: [before, after],
            })
        })
        .collect())
}

/// What a network finds in each picture.
fn found(graph: &Graph, data: &Dataset) -> Result<Vec<Vec<Found>>> {
    let head = detector::head(graph)?.context("the network finds no objects")?;
    let mut all = Vec::with_capacity(data.len());
    score::each_output(graph, data, &mut |_, output| {
        let found = detector::decode(&head, output, SHOWN_SCORE)?;
        let named = found
            .iter()
            .map(|d| Found::new(&data.classes, d.class, d.score, d.bbox));
        all.push(named.collect());
        Ok(())
    })?;
    Ok(all)
}

impl Found {
    fn new(classes: &[String], class: u32, score: f32, bbox: BBox) -> Self {
        Self {
            label: classes.get(class as usize).cloned().unwrap_or_default(),
            score,
            rect: [bbox.left, bbox.top, bbox.right, bbox.bottom],
        }
    }
}

fn classes(before: &Graph, after: &Graph, data: &Dataset) -> Result<Classes> {
    let answers = [answers(before, data)?, answers(after, data)?];
    let mut classes = Classes {
        of: data.len(),
        both: [0; 2],
        only: [0; 2],
        shown: Vec::new(),
    };
    let pairs: Vec<[(usize, f32); 2]> = answers[0]
        .iter()
        .zip(&answers[1])
        .map(|(&a, &b)| [a, b])
        .collect();
    for (pair, &label) in pairs.iter().zip(data.labels()) {
        match pair.map(|(class, _)| class == label as usize) {
            [true, true] => classes.both[0] += 1,
            [false, false] => classes.both[1] += 1,
            [true, false] => classes.only[0] += 1,
            [false, true] => classes.only[1] += 1,
        }
    }
    classes.shown = order(&pairs)
        .into_iter()
        .take(SHOWN)
        .filter_map(|index| {
            let label = *data.labels().get(index)? as usize;
            let graphs = [before, after];
            let answer = |side: usize| {
                let (class, probability) = pairs[index][side];
                Answer {
                    class: picture::class(graphs[side], class),
                    probability,
                    right: class == label,
                }
            };
            Some(ClassExample {
                picture: png::image(data, index)?,
                truth: picture::class(before, label),
                answers: [answer(0), answer(1)],
            })
        })
        .collect();
    Ok(classes)
}

/// The best class of each image, and its probability.
fn answers(graph: &Graph, data: &Dataset) -> Result<Vec<(usize, f32)>> {
    let mut answers = Vec::with_capacity(data.len());
    score::each_output(graph, data, &mut |_, row| {
        let probabilities = probabilities(graph, row);
        let best = score::best(row);
        answers.push((best, probabilities.get(best).copied().unwrap_or(0.0)));
        Ok(())
    })?;
    Ok(answers)
}

/// Pictures by how much there is to see: another answer, the surer the sooner, then another probability.
fn order(pairs: &[[(usize, f32); 2]]) -> Vec<usize> {
    let weight = |index: &usize| {
        let [(a, p), (b, q)] = pairs[*index];
        match a == b {
            true => (p - q).abs(),
            false => 1.0 + p + q,
        }
    };
    let mut order: Vec<usize> = (0..pairs.len()).collect();
    order.sort_by(|a, b| weight(b).total_cmp(&weight(a)));
    order
}

pub fn examples(examples: &Examples) -> Option<Section> {
    let key = legend(&[("before", "before"), ("after", "after")]);
    let (lead, body) = match examples {
        Examples::Classes(classes) if classes.of > 0 => (
            format!(
                "The test set before and after. Below are pictures that now have another answer, the surest first, \
                 then those whose probability moved most. {} marks a right answer.",
                tick(true)
            ),
            class_body(classes),
        ),
        Examples::Boxes(examples) if !examples.is_empty() => (
            "What is found before and after; what is there is dashed.".to_owned(),
            examples
                .iter()
                .fold(String::from("<div class=\"pairs\">"), |body, example| {
                    body + &boxes(example)
                })
                + "</div>",
        ),
        _ => return None,
    };
    Some(Section {
        title: "Answers",
        lead,
        body: key + &body,
    })
}

fn tick(right: bool) -> &'static str {
    if right { "✓" } else { "✗" }
}

fn class_body(classes: &Classes) -> String {
    let Classes {
        of,
        both,
        only,
        shown,
    } = classes;
    let mut body = String::from("<p class=\"counts\">");
    for (count, what) in [
        (both[0], "both right"),
        (only[0], "right before only"),
        (only[1], "right after only"),
        (both[1], "both wrong"),
    ] {
        let _ = write!(body, "<span><b>{}</b>{what}</span>", units::count(count));
    }
    let _ = write!(
        body,
        "<span>of {} test pictures</span></p><div class=\"examples\">",
        units::count(*of)
    );
    for example in shown {
        let truth = escaped(&example.truth);
        let _ = write!(
            body,
            "<div class=\"example\"><img src=\"{}\" alt=\"A picture of class {truth}\"><div><p class=\"note\">it is {truth}</p>",
            example.picture
        );
        for (answer, class) in example.answers.iter().zip(["before", "after"]) {
            let probability = f64::from(answer.probability);
            let _ = write!(
                body,
                "<div class=\"answer\"><span class=\"{}\">{}</span><span class=\"class\">{}</span><span>{}</span>{}</div>",
                if answer.right { "good" } else { "bad" },
                tick(answer.right),
                escaped(&answer.class),
                share(probability),
                bar(
                    &[(probability, class), (1.0 - probability, "track")],
                    &format!("{class}: {}", share(probability))
                )
            );
        }
        body += "</div></div>\n";
    }
    body + "</div>"
}

fn boxes(example: &BoxExample) -> String {
    let mut out = String::new();
    for (found, class) in example.found.iter().zip(["before", "after"]) {
        let _ = write!(
            out,
            "<div class=\"tile\"><h3>{class}: {} found</h3><div class=\"boxes\"><img src=\"{}\" alt=\"A test picture\"><svg viewBox=\"0 0 1 1\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{} boxes\">",
            found.len(),
            example.picture,
            found.len()
        );
        for thing in &example.truth {
            out += &rect(thing, "truth");
        }
        for thing in found {
            out += &rect(thing, class);
        }
        out += "</svg></div></div>\n";
    }
    out
}

fn rect(found: &Found, class: &str) -> String {
    let [left, top, right, bottom] = found.rect.map(|side| match side.is_finite() {
        true => side.clamp(0.0, 1.0),
        false => 0.0,
    });
    format!(
        "<rect class=\"{class}\" x=\"{left:.4}\" y=\"{top:.4}\" width=\"{:.4}\" height=\"{:.4}\"><title>{} {}</title></rect>",
        (right - left).max(0.0),
        (bottom - top).max(0.0),
        escaped(&found.label),
        share(f64::from(found.score))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_answers_come_first() {
        let same = |p, q| [(1, p), (1, q)];
        let pairs = [
            same(0.9, 0.8),
            [(1, 0.5), (2, 0.4)],
            same(0.9, 0.1),
            [(3, 0.9), (1, 0.9)],
        ];
        assert_eq!(order(&pairs), [3, 1, 2, 0]);
    }

    #[test]
    fn boxes_stay_in_their_picture() {
        let found = |label: &str, rect| Found {
            label: label.into(),
            score: 0.75,
            rect,
        };
        let example = BoxExample {
            picture: "data:,".into(),
            truth: vec![found("WBC", [0.1, 0.1, 0.4, 0.5])],
            found: [vec![found("<b>", [-1.0, 0.5, 2.0, f32::NAN])], vec![]],
        };
        let section = examples(&Examples::Boxes(vec![example])).unwrap();
        assert!(
            section
                .body
                .contains("x=\"0.0000\" y=\"0.5000\" width=\"1.0000\" height=\"0.0000\"")
        );
        assert!(section.body.contains("&lt;b&gt; 75 %") && section.body.contains("after: 0 found"));
        assert_eq!(section.body.matches("class=\"truth\"").count(), 2);
    }
}
