//! What a detector's output means.

use super::{BBox, Detection, suppress};
use crate::ModelError;
use std::collections::BTreeMap;
use std::fmt::Write;

/// How a network that finds objects looks at a picture: grids of cells, each of which says with
/// `classes` logits what it lies in and with 4 numbers where that ends.
///
/// Free of anchors (Tian, Shen, Chen, He, *FCOS*, 2019): the four edges lie `2 · stride · exp(x)`
/// pixels left of, above, right of and below the middle of the cell. A graph's metadata keeps it
/// under `detector`, so that a file is all that is needed.
///
/// ```
/// use secateur_model::detection::{Head, Level};
/// use std::collections::BTreeMap;
/// let level = Level { stride: 8, smallest: 0.0, largest: f32::INFINITY };
/// let head = Head::new([32, 32], 1, vec![level], 0.5)?;
/// // The first of 16 cells, with its middle at (4, 4), is all but sure of an object.
/// let mut output = vec![-9.0; 16 * 5];
/// output[..5].copy_from_slice(&[9.0, 0.0, 0.0, 0.0, 0.0]);
/// let found = head.decode(&output, 0.5);
/// assert_eq!((found.len(), found[0].class), (1, 0));
/// assert_eq!(found[0].bbox.right, (4.0 + 16.0) / 32.0);
///
/// let mut metadata = BTreeMap::new();
/// head.store(&mut metadata);
/// assert_eq!(Head::stored(&metadata)?, Some(head));
/// # Ok::<(), secateur_model::ModelError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    input: [usize; 2],
    classes: usize,
    levels: Vec<Level>,
    overlap: f32,
}

/// One grid of a [`Head`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    /// Pixels from cell to cell.
    pub stride: usize,
    /// Pixels along the smallest objects (root of the area) that the grid learns to find.
    pub smallest: f32,
    /// The same of the largest; may be infinite.
    pub largest: f32,
}

/// One cell of a grid.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell {
    /// Position of its grid's level.
    pub level: usize,
    /// Pixels from cell to cell.
    pub stride: f32,
    /// Its middle, from the left, in pixels.
    pub x: f32,
    /// Its middle, from above, in pixels.
    pub y: f32,
}

/// Distances are this many strides where the network says 0.
const REACH: f32 = 2.0;
/// What the network says is taken as at least −4 and at most 4.
const LARGEST_EXPONENT: f32 = 4.0;
/// Candidates of a picture that are looked at, the best ones.
const CANDIDATES: usize = 1000;
/// Objects of a picture that are told of.
const MOST: usize = 300;
/// No network is taken to have more cells or classes; a file may say anything.
const MAX_CELLS: usize = 1 << 20;
const MAX_CLASSES: usize = 1 << 16;
const MAX_SIDE: usize = 1 << 16;
const MAX_LEVELS: usize = 16;

const KEY: &str = "detector";

impl Head {
    /// A head for pictures of `input`, `[height, width]`; `overlap` (intersection over union) is how
    /// much two objects of a class may overlap.
    ///
    /// # Errors
    /// No class, no level or no cell, far too many of them, an overlap that is not from 0 to 1.
    pub fn new(
        input: [usize; 2],
        classes: usize,
        levels: Vec<Level>,
        overlap: f32,
    ) -> Result<Self, ModelError> {
        let head = Self {
            input,
            classes,
            levels,
            overlap,
        };
        let sides = input.iter().all(|side| (1..=MAX_SIDE).contains(side));
        let counts =
            (1..=MAX_CLASSES).contains(&classes) && (1..=MAX_LEVELS).contains(&head.levels.len());
        let sound = |l: &Level| l.stride > 0 && l.smallest >= 0.0 && l.smallest <= l.largest;
        let sound = sides
            && counts
            && head.levels.iter().all(sound)
            && (0.0..=1.0).contains(&overlap)
            && head.cell_count() <= MAX_CELLS;
        match sound {
            true => Ok(head),
            false => Err(ModelError::Graph(format!(
                "no detector can be like this: {}",
                head.text()
            ))),
        }
    }

    /// Rows and columns of the pictures, in pixels.
    pub fn input(&self) -> [usize; 2] {
        self.input
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The grids, in the order of the output.
    pub fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// Numbers of the output for each cell: a logit for each class, then how far the left, upper,
    /// right and lower edges are.
    pub fn width(&self) -> usize {
        self.classes + 4
    }

    /// Number of cells of all grids.
    pub fn cell_count(&self) -> usize {
        let grids = self.levels.iter().map(|level| self.grid(level));
        grids.map(|[rows, columns]| rows * columns).sum()
    }

    /// Every cell, in the order of the output: grid by grid, row by row.
    pub fn cells(&self) -> impl Iterator<Item = Cell> + '_ {
        self.levels.iter().enumerate().flat_map(|(index, level)| {
            let [rows, columns] = self.grid(level);
            let stride = level.stride as f32;
            (0..rows * columns).map(move |at| Cell {
                level: index,
                stride,
                x: ((at % columns) as f32 + 0.5) * stride,
                y: ((at / columns) as f32 + 0.5) * stride,
            })
        })
    }

    fn grid(&self, level: &Level) -> [usize; 2] {
        self.input.map(|side| side.div_ceil(level.stride.max(1)))
    }

    /// Pixels from a cell's middle to an edge of which the network says `x`.
    pub fn distance(&self, cell: &Cell, x: f32) -> f32 {
        REACH * cell.stride * x.clamp(-LARGEST_EXPONENT, LARGEST_EXPONENT).exp()
    }

    /// Whether the distance to an edge changes with what the network says.
    pub fn yields(&self, x: f32) -> bool {
        x.abs() < LARGEST_EXPONENT
    }

    /// The box of a cell, which may reach beyond the picture.  edges: the last 4 of its numbers.
    pub fn bbox(&self, cell: &Cell, edges: &[f32]) -> BBox {
        let at = |index: usize| self.distance(cell, edges.get(index).copied().unwrap_or(0.0));
        let [height, width] = self.input.map(|side| side as f32);
        BBox {
            left: (cell.x - at(0)) / width,
            top: (cell.y - at(1)) / height,
            right: (cell.x + at(2)) / width,
            bottom: (cell.y + at(3)) / height,
        }
    }

    /// The objects of one picture, the surest first: all with a score of at least `least` that no
    /// better one hides.  output: `[cells, classes + 4]`.  Numbers that are none find nothing.
    pub fn decode(&self, output: &[f32], least: f32) -> Vec<Detection> {
        let mut found = Vec::new();
        for (cell, row) in self.cells().zip(output.chunks_exact(self.width())) {
            let (logits, edges) = row.split_at(self.classes);
            if !edges.iter().all(|x| x.is_finite()) {
                continue;
            }
            for (class, &logit) in (0..).zip(logits) {
                let score = 1.0 / (1.0 + (-logit).exp());
                if score >= least {
                    let bbox = self.bbox(&cell, edges).clipped();
                    found.push(Detection { class, score, bbox });
                }
            }
        }
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        found.truncate(CANDIDATES);
        suppress(found, self.overlap, MOST)
    }

    /// Keeps the head in a graph's metadata.
    pub fn store(&self, metadata: &mut BTreeMap<String, String>) {
        metadata.insert(KEY.into(), self.text());
    }

    /// The head that a graph's metadata keeps, if the network finds objects.
    ///
    /// # Errors
    /// Text that is no head's, and what [`new`](Self::new) refuses.
    pub fn stored(metadata: &BTreeMap<String, String>) -> Result<Option<Self>, ModelError> {
        match metadata.get(KEY) {
            None => Ok(None),
            Some(text) => match parse(text) {
                Some((input, classes, levels, overlap)) => {
                    Self::new(input, classes, levels, overlap).map(Some)
                }
                None => Err(ModelError::Graph(format!(
                    "metadata: {KEY}: needed `input H W; classes N; overlap X; level STRIDE FROM TO; …`, \
                     found {text:?}"
                ))),
            },
        }
    }

    fn text(&self) -> String {
        let [height, width] = self.input;
        let mut text = format!(
            "input {height} {width}; classes {}; overlap {}",
            self.classes, self.overlap
        );
        for level in &self.levels {
            let Level {
                stride,
                smallest,
                largest,
            } = level;
            let _ = write!(text, "; level {stride} {smallest} {largest}");
        }
        text
    }
}

/// Input, classes, levels and overlap.
type Parts = ([usize; 2], usize, Vec<Level>, f32);

fn parse(text: &str) -> Option<Parts> {
    let (mut input, mut classes, mut overlap, mut levels) = (None, None, None, Vec::new());
    for part in text.split(';') {
        let words: Vec<&str> = part.split_whitespace().collect();
        match words.as_slice() {
            ["input", height, width] => input = Some([height.parse().ok()?, width.parse().ok()?]),
            ["classes", n] => classes = Some(n.parse().ok()?),
            ["overlap", x] => overlap = Some(x.parse().ok()?),
            ["level", stride, smallest, largest] => levels.push(Level {
                stride: stride.parse().ok()?,
                smallest: smallest.parse().ok()?,
                largest: largest.parse().ok()?,
            }),
            _ => return None,
        }
    }
    Some((input?, classes?, levels, overlap?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head() -> Head {
        let level = |stride, smallest, largest| Level {
            stride,
            smallest,
            largest,
        };
        let levels = vec![level(8, 0.0, 56.0), level(16, 40.0, f32::INFINITY)];
        Head::new([40, 72], 2, levels, 0.5).unwrap()
    }

    #[test]
    fn cells_lie_in_the_order_of_the_output() {
        let head = head();
        let cells: Vec<Cell> = head.cells().collect();
        assert_eq!((cells.len(), head.cell_count()), (5 * 9 + 3 * 5, 60));
        assert_eq!((cells[9].x, cells[9].y), (4.0, 12.0));
        assert_eq!((cells[45].level, cells[45].x, cells[59].y), (1, 8.0, 40.0));
    }

    #[test]
    fn a_cell_tells_where_its_object_ends() {
        let head = head();
        let mut output = vec![-20.0f32; 60 * 6];
        // Cell 13 lies at (36, 12); edges 16, 16·e⁻¹, 16·e and 16 pixels off.
        output[13 * 6..14 * 6].copy_from_slice(&[-20.0, 2.0, 0.0, -1.0, 1.0, 0.0]);
        let found = head.decode(&output, 0.1);
        assert_eq!(found.len(), 1);
        let bbox = found[0].bbox;
        assert_eq!(found[0].class, 1);
        assert!((found[0].score - 0.880_797).abs() < 1e-5);
        assert!((bbox.left - 20.0 / 72.0).abs() < 1e-6);
        assert!((bbox.top - (12.0 - 16.0 * (-1f32).exp()) / 40.0).abs() < 1e-6);
        assert_eq!((bbox.right, bbox.bottom), (1.0, 28.0 / 40.0));
        output[13 * 6 + 2] = f32::NAN;
        assert!(head.decode(&output, 0.1).is_empty());
        assert!(head.decode(&[], 0.1).is_empty());
    }

    #[test]
    fn damaged_metadata_is_refused() {
        for text in [
            "",
            "input 4 4",
            "input 4 4; classes 1; overlap 0.5",
            "input 4 4; classes 0; overlap 0.5; level 8 0 inf",
            "input 4 4; classes 1; overlap NaN; level 8 0 inf",
            "input 4 4; classes 1; overlap 0.5; level 0 0 inf",
            "input 4 4; classes 1; overlap 0.5; level 8 9 1",
            "input 65536 65536; classes 1; overlap 0.5; level 1 0 inf",
            "input 4 4; classes 1; overlap 0.5; level 8 0 inf; more",
        ] {
            let metadata = BTreeMap::from([(KEY.to_owned(), text.to_owned())]);
            assert!(Head::stored(&metadata).is_err(), "{text}");
        }
        assert_eq!(Head::stored(&BTreeMap::new()).unwrap(), None);
    }

    proptest! {
        #[test]
        fn any_text_never_panics(text: String) {
            let _ = Head::stored(&BTreeMap::from([(KEY.to_owned(), text)]));
        }

        #[test]
        fn any_output_never_panics(output in prop::collection::vec(any::<f32>(), 0..400)) {
            let found = head().decode(&output, 0.05);
            prop_assert!(found.iter().all(|d| d.bbox.is_sound() && d.score >= 0.05));
        }
    }
}
