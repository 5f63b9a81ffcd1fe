//! The loss of a detector: which cells learn what, and how wrong they are.
//!
//! On plain slices: the loss and its gradient by the output are computed by hand, and the tensor
//! library is given the gradient.

use crate::TrainError;
use crate::trace::Value;
use burn::tensor::Tensor;
use secateur_data::Dataset;
use secateur_model::Graph;
use secateur_model::detection::{BBox, Cell, Head, Object};

/// What the cells of a batch are to say.  For each cell of each image: how sure of each class, and
/// where the object ends.
#[derive(Debug, Clone)]
pub(crate) struct Lesson {
    /// `[images, cells, classes]`, 0 to 1; NaN where a cell may say what it likes.
    sure: Vec<f32>,
    /// The box of each cell and its weight; boxes in parts of the picture.
    boxes: Vec<Option<(BBox, f32)>>,
    /// The sum of all weights, at least 1: what the loss is divided by.
    weight: f32,
}

/// How far from the middle of an object, in strides, cells learn it.
const RADIUS: f32 = 1.5;
/// Weight of the boxes beside the classes.
const BOX_WEIGHT: f32 = 2.0;
/// How much more the wrong cells count than the almost right ones.
const FOCUS: i32 = 2;
/// A teacher that is less sure than this says nothing about a box.
const LEAST_SURE: f32 = 0.1;

/// The head of a network that is to find objects.
///
/// # Errors
/// A network without one, one for pictures of another size or other classes.
pub(crate) fn head_for(graph: &Graph, data: &Dataset) -> Result<Head, TrainError> {
    let wrong = |what, needed: String, found: String| TrainError::Data {
        data: data.name.clone(),
        what,
        needed,
        found,
    };
    let Some(head) = Head::stored(&graph.metadata)? else {
        let needed = "one class an image (the network finds no objects)".to_owned();
        return Err(wrong("labels", needed, "boxes".into()));
    };
    if head.input() != [data.height, data.width] {
        let found = format!("{:?}", [data.height, data.width]);
        return Err(wrong("image size", format!("{:?}", head.input()), found));
    }
    if head.classes() != data.classes.len() {
        let needed = format!("{}, as the network has", head.classes());
        return Err(wrong("classes", needed, data.classes.len().to_string()));
    }
    Ok(head)
}

impl Lesson {
    /// What labelled objects teach: cells near the middle of an object, on the levels for its size,
    /// are to be as sure as their box is right (Li et al., *Generalized Focal Loss*, 2020), all others
    /// not sure at all.  output: `[images, cells, classes + 4]`.
    pub(crate) fn of_objects(head: &Head, output: &[f32], objects: &[Vec<Object>]) -> Self {
        let cells: Vec<Cell> = head.cells().collect();
        let (classes, width) = (head.classes(), head.width());
        let mut lesson = Self {
            sure: vec![0.0; objects.len() * cells.len() * classes],
            boxes: vec![None; objects.len() * cells.len()],
            weight: 0.0,
        };
        for (image, objects) in objects.iter().enumerate() {
            let first = image * cells.len();
            for (index, object) in chosen(head, &cells, objects).into_iter().enumerate() {
                let Some(object) = object else {
                    continue;
                };
                let at = first + index;
                let sure = &mut lesson.sure[at * classes + object.class as usize];
                if object.difficult {
                    *sure = f32::NAN;
                    continue;
                }
                let edges = &output[at * width + classes..(at + 1) * width];
                *sure = head.bbox(&cells[index], edges).iou(&object.bbox);
                lesson.boxes[at] = Some((object.bbox, 1.0));
                lesson.weight += 1.0;
            }
        }
        lesson.weight = lesson.weight.max(1.0);
        lesson
    }

    /// What another network's output teaches: to be as sure as it is, and of the same boxes.
    pub(crate) fn of_teacher(head: &Head, output: &[f32]) -> Self {
        let cells: Vec<Cell> = head.cells().collect();
        let mut lesson = Self {
            sure: Vec::new(),
            boxes: Vec::new(),
            weight: 0.0,
        };
        for (at, row) in output.chunks_exact(head.width()).enumerate() {
            let (logits, edges) = row.split_at(head.classes());
            let sure = logits.iter().map(|&z| sigmoid(z));
            let best = sure.clone().fold(0.0, f32::max);
            lesson.sure.extend(sure);
            let told = best >= LEAST_SURE;
            let bbox = told.then(|| (head.bbox(&cells[at % cells.len()], edges), best));
            lesson.weight += bbox.map_or(0.0, |(_, weight)| weight);
            lesson.boxes.push(bbox);
        }
        lesson.weight = lesson.weight.max(1.0);
        lesson
    }

    /// The loss of an output, and its gradient:
    /// `(Σ |σ(z) − q|² · CE(z, q) + 2 · Σ w · (1 − GIoU)) / Σ w`.  output: as in [`of_objects`](Self::of_objects).
    pub(crate) fn loss(&self, head: &Head, output: &[f32]) -> (f64, Vec<f32>) {
        let cells: Vec<Cell> = head.cells().collect();
        let classes = head.classes();
        let mut gradient = vec![0.0; output.len()];
        let mut loss = 0.0;
        let rows = output.chunks_exact(head.width());
        let rows = rows.zip(gradient.chunks_exact_mut(head.width()));
        for (at, (row, slope)) in rows.enumerate() {
            let (logits, edges) = row.split_at(classes);
            let (by_logit, by_edge) = slope.split_at_mut(classes);
            let sure = &self.sure[at * classes..(at + 1) * classes];
            for ((&z, &q), slope) in logits.iter().zip(sure).zip(by_logit) {
                if !q.is_nan() {
                    let (value, by_z) = focal(z, q);
                    loss += f64::from(value);
                    *slope = by_z / self.weight;
                }
            }
            if let Some((bbox, weight)) = &self.boxes[at] {
                let (value, by) = misplaced(head, &cells[at % cells.len()], edges, bbox);
                let weight = BOX_WEIGHT * weight;
                loss += f64::from(weight * value);
                for (slope, by) in by_edge.iter_mut().zip(by) {
                    *slope = weight * by / self.weight;
                }
            }
        }
        (loss / f64::from(self.weight), gradient)
    }

    /// The same for a value on the tensor library; gradients flow from it.
    pub(crate) fn loss_of(&self, head: &Head, output: &Value) -> Tensor<1> {
        let raw = output.to_vec();
        let (loss, gradient) = self.loss(head, &raw);
        let product = raw.iter().zip(&gradient);
        let product: f64 = product.map(|(&x, &g)| f64::from(x) * f64::from(g)).sum();
        // Linear in the output: this value here, and this slope.
        let gradient = Value::new(gradient, &output.dims);
        (output.flat.clone() * gradient.flat).sum() + (loss - product) as f32
    }
}

/// The object that each cell learns. Of several, it is the one whose middle is nearest, and of those
/// the smallest. Every object that is not difficult is learned by some cell, unless others are nearer
/// to all.
fn chosen<'a>(head: &Head, cells: &[Cell], objects: &'a [Object]) -> Vec<Option<&'a Object>> {
    let [height, width] = head.input().map(|side| side as f32);
    let mut chosen: Vec<Option<(f32, f32, &Object)>> = vec![None; cells.len()];
    for object in objects {
        let b = object.bbox;
        let pixels = [
            b.left * width,
            b.top * height,
            b.right * width,
            b.bottom * height,
        ];
        let [left, top, right, bottom] = pixels;
        let middle = [(left + right) / 2.0, (top + bottom) / 2.0];
        let size = ((right - left) * (bottom - top)).max(0.0).sqrt();
        let fits = |cell: &Cell| {
            let level = head.levels()[cell.level];
            level.smallest <= size && size <= level.largest
        };
        let distance = |cell: &Cell| (cell.x - middle[0]).hypot(cell.y - middle[1]);
        let near = |cell: &Cell| {
            let inside = left < cell.x && cell.x < right && top < cell.y && cell.y < bottom;
            let off = (cell.x - middle[0]).abs().max((cell.y - middle[1]).abs());
            // Where a difficult object is, no cell is told that there is nothing.
            inside && (object.difficult || off < RADIUS * cell.stride)
        };
        let mut learners: Vec<usize> = (0..cells.len())
            .filter(|&i| (object.difficult || fits(&cells[i])) && near(&cells[i]))
            .collect();
        if learners.is_empty() && !object.difficult {
            let fitting = (0..cells.len()).filter(|&i| fits(&cells[i]));
            let nearer =
                |&a: &usize, &b: &usize| distance(&cells[a]).total_cmp(&distance(&cells[b]));
            learners.extend(fitting.min_by(nearer));
        }
        for index in learners {
            let distance = match object.difficult {
                // Any other object has precedence.
                true => f32::INFINITY,
                false => distance(&cells[index]),
            };
            let new = (distance, size, object);
            let slot = &mut chosen[index];
            if slot.is_none_or(|old| (new.0, new.1) < (old.0, old.1)) {
                *slot = Some(new);
            }
        }
    }
    chosen
        .into_iter()
        .map(|c| c.map(|(_, _, object)| object))
        .collect()
}

fn sigmoid(z: f32) -> f32 {
    1.0 / (1.0 + (-z).exp())
}

/// `|σ(z) − q|² · CE(z, q)` and its slope by z.
fn focal(z: f32, q: f32) -> (f32, f32) {
    let p = sigmoid(z);
    // −q·ln p − (1−q)·ln(1−p), without an overflow.
    let entropy = z.max(0.0) - z * q + (-z.abs()).exp().ln_1p();
    let off = p - q;
    let weight = off.abs().powi(FOCUS);
    let by_weight = FOCUS as f32 * off.abs().powi(FOCUS - 1) * off.signum() * p * (1.0 - p);
    (weight * entropy, weight * off + by_weight * entropy)
}

/// `1 − GIoU` (Rezatofighi et al. 2019) of a cell's box and the right one, and its slopes by what
/// the cell says of the left, upper, right and lower edge.
fn misplaced(head: &Head, cell: &Cell, edges: &[f32], right: &BBox) -> (f32, [f32; 4]) {
    let [height, width] = head.input().map(|side| side as f32);
    let b = head.bbox(cell, edges);
    let area = (b.right - b.left) * (b.bottom - b.top);
    let other = right.area();
    // Extents of the intersection and of the hull along both axes.
    let across = [b.left.max(right.left), b.right.min(right.right)];
    let down = [b.top.max(right.top), b.bottom.min(right.bottom)];
    let both = [
        (across[1] - across[0]).max(0.0),
        (down[1] - down[0]).max(0.0),
    ];
    let hull = [
        b.right.max(right.right) - b.left.min(right.left),
        b.bottom.max(right.bottom) - b.top.min(right.top),
    ];
    let meet = both[0] * both[1];
    let union = (area + other - meet).max(f32::MIN_POSITIVE);
    let around = (hull[0] * hull[1]).max(f32::MIN_POSITIVE);
    let giou = meet / union - 1.0 + union / around;

    let sides = [b.right - b.left, b.bottom - b.top];
    let [own, theirs] = [
        [b.left, b.top, b.right, b.bottom],
        [right.left, right.top, right.right, right.bottom],
    ];
    let slopes = [0, 1, 2, 3].map(|edge: usize| {
        // At its best there is a kink: no slope.
        if own[edge] == theirs[edge] {
            return 0.0;
        }
        let axis = edge % 2;
        let outward = edge >= 2;
        let further = match outward {
            true => own[edge] > theirs[edge],
            false => own[edge] < theirs[edge],
        };
        // By the edge moving outwards.
        let by_area = sides[1 - axis];
        let touches = both[0] > 0.0 && both[1] > 0.0 && !further;
        let by_meet = if touches { both[1 - axis] } else { 0.0 };
        let by_around = if further { hull[1 - axis] } else { 0.0 };
        let by_union = by_area - by_meet;
        let by_giou = by_meet / union - meet * by_union / (union * union) + by_union / around
            - union * by_around / (around * around);
        // The distance grows by itself as fast as what the cell says.
        let says = edges.get(edge).copied().unwrap_or(0.0);
        let moves = if head.yields(says) {
            head.distance(cell, says)
        } else {
            0.0
        };
        -by_giou * moves / [width, height][axis]
    });
    (1.0 - giou, slopes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use secateur_model::detection::Level;

    fn head() -> Head {
        let level = |stride, smallest, largest| Level {
            stride,
            smallest,
            largest,
        };
        let levels = vec![level(8, 0.0, 30.0), level(16, 20.0, f32::INFINITY)];
        Head::new([48, 64], 2, levels, 0.5).unwrap()
    }

    fn object(class: u32, pixels: [f32; 4], difficult: bool) -> Object {
        let [l, t, r, b] = pixels;
        let bbox = BBox::new(l / 64.0, t / 48.0, r / 64.0, b / 48.0);
        Object {
            class,
            bbox,
            difficult,
        }
    }

    /// Pseudo-random numbers in −2 … 2.
    fn noise(len: usize) -> Vec<f32> {
        let mut state = 12345u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 22) as f32 - 2.0
        };
        (0..len).map(|_| next()).collect()
    }

    fn check_gradient(lesson: &Lesson, output: &[f32]) {
        let head = head();
        let (_, gradient) = lesson.loss(&head, output);
        let mut changed = 0;
        for at in 0..output.len() {
            let with = |step: f32| {
                let mut moved = output.to_vec();
                moved[at] += step;
                lesson.loss(&head, &moved).0
            };
            let slope = (with(2e-3) - with(-2e-3)) / 4e-3;
            let by_hand = f64::from(gradient[at]);
            changed += usize::from(by_hand != 0.0);
            let close = (by_hand - slope).abs() < 2e-3 * (0.05 + slope.abs());
            assert!(close, "{at}: {by_hand} for {slope}");
        }
        assert!(changed > output.len() / 5, "{changed} of {}", output.len());
    }

    #[test]
    fn gradients_are_slopes() {
        let head = head();
        let output = noise(2 * head.cell_count() * head.width());
        let objects = [
            vec![
                object(0, [3.0, 5.0, 28.0, 30.0], false),
                object(1, [20.0, 22.0, 63.0, 47.0], false),
                object(1, [40.0, 2.0, 44.0, 6.0], false),
            ],
            vec![
                object(1, [0.0, 0.0, 40.0, 47.0], true),
                object(0, [50.0, 30.0, 58.0, 41.0], false),
            ],
        ];
        let lesson = Lesson::of_objects(&head, &output, &objects);
        check_gradient(&lesson, &output);
        let mut teacher = noise(output.len() + 7);
        teacher.drain(..7);
        check_gradient(&Lesson::of_teacher(&head, &teacher), &output);
    }

    #[test]
    fn who_says_what_the_teacher_says_has_nothing_to_learn() {
        let head = head();
        let output = noise(head.cell_count() * head.width());
        let (_, gradient) = Lesson::of_teacher(&head, &output).loss(&head, &output);
        assert!(gradient.iter().all(|g| g.abs() < 1e-5));
    }

    #[test]
    fn cells_learn_what_is_near_and_of_their_size() {
        let head = head();
        let cells: Vec<Cell> = head.cells().collect();
        let small = object(0, [10.0, 10.0, 22.0, 22.0], false);
        let large = object(1, [0.0, 0.0, 60.0, 48.0], false);
        // Between the middles of four cells.
        let tiny = object(0, [47.0, 31.0, 49.0, 33.0], false);
        let objects = [small, large, tiny];
        let learned = chosen(&head, &cells, &objects);
        for (cell, learned) in cells.iter().zip(&learned) {
            let Some(object) = learned else { continue };
            let level = usize::from(*object == &large);
            assert_eq!(cell.level, level, "{cell:?} {object:?}");
        }
        let count = |wanted: &Object| learned.iter().flatten().filter(|o| **o == wanted).count();
        assert_eq!((count(&small), count(&tiny)), (4, 1));
        assert!((4..=9).contains(&count(&large)));
        // A difficult one is told by no cell, and only where there is no other.
        let hard = object(0, [0.0, 0.0, 64.0, 48.0], true);
        let objects = vec![hard, small];
        let output = noise(head.cell_count() * head.width());
        let lesson = Lesson::of_objects(&head, &output, &[objects]);
        assert_eq!(lesson.boxes.iter().flatten().count(), 4);
        assert_eq!(
            lesson.sure.iter().filter(|q| q.is_nan()).count(),
            cells.len() - 4
        );
        assert_eq!(lesson.weight, 4.0);
    }

    #[test]
    fn boxes_that_are_right_cost_nothing() {
        let head = head();
        let cell = head.cells().next().unwrap();
        let edges = [0.3, -0.2, 0.5, 0.1];
        let own = head.bbox(&cell, &edges);
        assert!(misplaced(&head, &cell, &edges, &own).0.abs() < 1e-6);
        let far = BBox::new(0.9, 0.9, 0.95, 0.95);
        assert!(misplaced(&head, &cell, &[-2.0; 4], &far).0 > 1.5);
    }
}
