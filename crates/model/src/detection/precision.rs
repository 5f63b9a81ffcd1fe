//! Average precision, as PASCAL VOC defines it.

use super::{Detection, Object};

/// How well one class is found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClassPrecision {
    /// Objects of the class that are asked for: all but the difficult.
    pub objects: usize,
    /// Detections of the class.
    pub detections: usize,
    /// Objects that a detection meets.
    pub met: usize,
    /// Area under the curve of precision over recall, precision made monotone (VOC 2010).
    pub area: f64,
    /// Mean of the best precision at recalls of 0, 0.1, …, 1 (VOC 2007).
    pub eleven_point: f64,
}

/// How well each class is found.
#[derive(Debug, Clone, PartialEq)]
pub struct Precision {
    /// One for each class.
    pub classes: Vec<ClassPrecision>,
}

impl Precision {
    /// Scores what was found in each picture. The best detections come first; one is right where
    /// the object of its class that it overlaps most is overlapped by `overlap` or more (intersection
    /// over union) and was not met before. One that meets a difficult object does not count.
    pub fn of(
        truths: &[Vec<Object>],
        found: &[Vec<Detection>],
        classes: usize,
        overlap: f32,
    ) -> Self {
        let class = |class| ClassPrecision::of(truths, found, class, overlap);
        Self {
            classes: (0..classes as u32).map(class).collect(),
        }
    }

    /// Mean area under the curve over the classes that are there, 0 to 1.
    pub fn mean_area(&self) -> f64 {
        self.mean(|class| class.area)
    }

    /// Mean eleven-point precision over the classes that are there, 0 to 1.
    pub fn mean_eleven_point(&self) -> f64 {
        self.mean(|class| class.eleven_point)
    }

    fn mean(&self, of: impl Fn(&ClassPrecision) -> f64) -> f64 {
        let there: Vec<f64> = self
            .classes
            .iter()
            .filter(|class| class.objects > 0)
            .map(of)
            .collect();
        there.iter().sum::<f64>() / there.len().max(1) as f64
    }
}

impl ClassPrecision {
    fn of(truths: &[Vec<Object>], found: &[Vec<Detection>], class: u32, overlap: f32) -> Self {
        let objects = truths.iter().flatten();
        let objects = objects.filter(|o| o.class == class && !o.difficult).count();
        let mut ranked: Vec<(usize, &Detection)> = found
            .iter()
            .enumerate()
            .flat_map(|(picture, found)| found.iter().map(move |d| (picture, d)))
            .filter(|(_, d)| d.class == class)
            .collect();
        ranked.sort_by(|(_, a), (_, b)| b.score.total_cmp(&a.score));
        let mut met: Vec<Vec<bool>> = truths.iter().map(|t| vec![false; t.len()]).collect();
        let mut right = Vec::with_capacity(ranked.len());
        for (picture, detection) in &ranked {
            let candidates = truths.get(*picture).map_or(&[][..], Vec::as_slice);
            let nearest = candidates
                .iter()
                .enumerate()
                .filter(|(_, o)| o.class == class)
                .map(|(index, o)| (index, o.difficult, o.bbox.iou(&detection.bbox)))
                // Of equal overlaps the first.
                .reduce(|a, b| if b.2 > a.2 { b } else { a });
            match nearest {
                Some((index, difficult, iou)) if iou >= overlap => {
                    if !difficult {
                        right.push(!std::mem::replace(&mut met[*picture][index], true));
                    }
                }
                _ => right.push(false),
            }
        }
        Self {
            objects,
            detections: ranked.len(),
            met: right.iter().filter(|&&r| r).count(),
            area: area(&right, objects),
            eleven_point: eleven_point(&right, objects),
        }
    }
}

/// Best precision at this place of the ranking or behind it.
fn envelope(right: &[bool]) -> Vec<f64> {
    let mut hits = 0usize;
    let mut precision: Vec<f64> = right
        .iter()
        .enumerate()
        .map(|(index, &right)| {
            hits += usize::from(right);
            hits as f64 / (index + 1) as f64
        })
        .collect();
    let mut best = 0.0f64;
    for p in precision.iter_mut().rev() {
        best = best.max(*p);
        *p = best;
    }
    precision
}

fn area(right: &[bool], objects: usize) -> f64 {
    // Recall grows by one object at each right detection, and nowhere else.
    let hits = envelope(right).into_iter().zip(right);
    let sum: f64 = hits.filter(|&(_, &right)| right).map(|(p, _)| p).sum();
    sum / objects.max(1) as f64
}

fn eleven_point(right: &[bool], objects: usize) -> f64 {
    let precision = envelope(right);
    let recalls: Vec<usize> = right
        .iter()
        .scan(0, |hits, &right| {
            *hits += usize::from(right);
            Some(*hits)
        })
        .collect();
    let at = |tenths: usize| {
        let first = recalls.iter().position(|r| r * 10 >= tenths * objects);
        first.map_or(0.0, |index| precision[index])
    };
    (0..=10).map(at).sum::<f64>() / 11.0
}

#[cfg(test)]
mod tests {
    use super::super::BBox;
    use super::*;
    use proptest::prelude::*;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} for {b}");
    }

    #[test]
    fn by_hand() {
        // Right, wrong, right, right of four objects: precisions 1, 1/2, 2/3, 3/4, and
        // made monotone 1, 3/4, 3/4, 3/4.
        let right = [true, false, true, true];
        close(area(&right, 4), (1.0 + 0.75 + 0.75) / 4.0);
        // Recall 0.25 from the first, 0.5 from the third, 0.75 from the fourth; never more.
        close(eleven_point(&right, 4), (3.0 + 5.0 * 0.75) / 11.0);
        // All found at once, none found, nothing there.
        close(area(&[true, true], 2), 1.0);
        close(eleven_point(&[true, true], 2), 1.0);
        close(area(&[], 3), 0.0);
        close(eleven_point(&[false, false], 3), 0.0);
        // A wrong one in front of the only right one halves all.
        close(area(&[false, true], 1), 0.5);
        close(eleven_point(&[false, true], 1), 0.5);
    }

    fn object(class: u32, x: f32, difficult: bool) -> Object {
        Object {
            class,
            bbox: BBox::new(x, 0.0, x + 0.2, 0.2),
            difficult,
        }
    }

    fn detection(class: u32, score: f32, x: f32) -> Detection {
        Detection {
            class,
            score,
            bbox: BBox::new(x, 0.0, x + 0.2, 0.2),
        }
    }

    #[test]
    fn an_object_is_met_once_and_difficult_ones_do_not_count() {
        let truths = vec![
            vec![object(0, 0.0, false), object(0, 0.5, true)],
            vec![object(0, 0.0, false), object(1, 0.5, false)],
        ];
        let found = vec![
            // Met, met again (wrong), a difficult one (does not count).
            vec![
                detection(0, 0.9, 0.0),
                detection(0, 0.8, 0.01),
                detection(0, 0.95, 0.5),
            ],
            // The wrong class in the right place; then the right one, too far off.
            vec![detection(0, 0.7, 0.5), detection(1, 0.6, 0.3)],
        ];
        let precision = Precision::of(&truths, &found, 3, 0.5);
        let first = precision.classes[0];
        assert_eq!((first.objects, first.detections, first.met), (2, 4, 1));
        close(first.area, 0.5);
        close(first.eleven_point, 6.0 / 11.0);
        let second = precision.classes[1];
        assert_eq!((second.objects, second.detections, second.met), (1, 1, 0));
        // The third class is not there.
        close(precision.mean_area(), 0.25);
        close(precision.mean_eleven_point(), 3.0 / 11.0);
    }

    /// Sums precision over a fine grid of recalls.
    fn slow_area(right: &[bool], objects: usize) -> f64 {
        let steps = 2520;
        let at = |step: usize| {
            // Between grid lines, so that no recall lies on one.
            let recall = (step as f64 + 0.5) / steps as f64;
            let mut best = 0.0f64;
            for end in 1..=right.len() {
                let hits = right[..end].iter().filter(|&&r| r).count() as f64;
                if hits / objects as f64 >= recall {
                    best = best.max(hits / end as f64);
                }
            }
            best
        };
        (0..steps).map(at).sum::<f64>() / steps as f64
    }

    proptest! {
        #[test]
        fn area_is_the_integral(right in prop::collection::vec(any::<bool>(), 0..12), more in 0usize..3) {
            let objects = (right.iter().filter(|&&r| r).count() + more).clamp(1, 10);
            let hits = right.iter().filter(|&&r| r).count();
            prop_assume!(hits <= objects && objects <= 10);
            prop_assert!((area(&right, objects) - slow_area(&right, objects)).abs() < 1e-9);
        }
    }
}
