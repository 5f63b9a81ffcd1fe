use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use secateur_model::detection::Object;

use crate::{DataError, Normalize};

/// Images `[n, channels, height, width]` (NCHW), with one label, or the boxes of things, each.
///
/// ```
/// use secateur_data::{Dataset, Normalize, Pixels};
/// let set = Dataset::new(
///     "tiny", 1, 1, 2,
///     vec!["dark".into(), "light".into()],
///     Pixels::U8(vec![0, 51, 255, 204]),
///     vec![0, 1],
///     Normalize::unit(1),
/// )?;
/// let mut batch = [0.0; 2];
/// set.gather(&[1], &mut batch);
/// assert_eq!(batch, [1.0, 0.8]);
/// # Ok::<(), secateur_data::DataError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// What the set is called in tables and messages.
    pub name: String,
    /// Channels of every image: 1 (gray) or 3 (RGB) where they are pictures.
    pub channels: usize,
    /// Rows of every image.
    pub height: usize,
    /// Columns of every image.
    pub width: usize,
    /// Class names; a label is a position in it.
    pub classes: Vec<String>,
    /// How 8-bit pixels become the numbers that a network sees; float pixels are taken as they
    /// are (see [`normalisation`](Self::normalisation)).
    pub normalize: Normalize,
    pixels: Pixels,
    targets: Targets,
    /// Images that the set itself sets apart for validation, in order.
    validation: Vec<usize>,
}

/// What a network is to say of each image: the set decides what a network is for.
#[derive(Debug, Clone, PartialEq)]
pub enum Targets {
    /// Its class.
    Classes(Vec<u32>),
    /// What is in it, and where.
    Boxes(Vec<Vec<Object>>),
}

impl Targets {
    fn len(&self) -> usize {
        match self {
            Self::Classes(labels) => labels.len(),
            Self::Boxes(boxes) => boxes.len(),
        }
    }
}

/// Planar NCHW pixels, as they are stored.
#[derive(Debug, Clone, PartialEq)]
pub enum Pixels {
    /// 8-bit values; [`Normalize`] maps them to numbers.
    U8(Vec<u8>),
    /// Numbers that are taken as they are.
    F32(Vec<f32>),
}

impl Pixels {
    /// Number of values.
    pub fn len(&self) -> usize {
        match self {
            Self::U8(values) => values.len(),
            Self::F32(values) => values.len(),
        }
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Dataset {
    /// Joins pixels `[labels.len(), channels, height, width]` with their labels.
    ///
    /// # Errors
    /// An empty set, a zero or overflowing dimension, a number of values that is not the product of
    /// the dimensions, a label that is no class, float pixels that are not finite, and figures of
    /// `normalize` that are not one finite pair a channel with a positive deviation.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a data set, each of its own type"
    )]
    pub fn new(
        name: impl Into<String>,
        channels: usize,
        height: usize,
        width: usize,
        classes: Vec<String>,
        pixels: Pixels,
        labels: Vec<u32>,
        normalize: Normalize,
    ) -> Result<Self, DataError> {
        let set = Self {
            name: name.into(),
            channels,
            height,
            width,
            classes,
            normalize,
            pixels,
            targets: Targets::Classes(labels),
            validation: Vec::new(),
        };
        set.check()?;
        Ok(set)
    }

    /// Joins RGB pixels `[boxes.len(), 3, height, width]` with what is in each image. Images
    /// whose numbers are in `validation` are those that [`split`](Self::split) holds out.
    ///
    /// # Errors
    /// As [`new`](Self::new); an object of no class or whose box is not in its image, a
    /// number in `validation` that is no image's.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a data set, each of its own type"
    )]
    pub fn with_boxes(
        name: impl Into<String>,
        height: usize,
        width: usize,
        classes: Vec<String>,
        pixels: Vec<u8>,
        boxes: Vec<Vec<Object>>,
        normalize: Normalize,
        validation: Vec<usize>,
    ) -> Result<Self, DataError> {
        let mut set = Self {
            name: name.into(),
            channels: 3,
            height,
            width,
            classes,
            normalize,
            pixels: Pixels::U8(pixels),
            targets: Targets::Boxes(boxes),
            validation,
        };
        set.validation.sort_unstable();
        set.validation.dedup();
        set.check()?;
        Ok(set)
    }

    fn check(&self) -> Result<(), DataError> {
        let place = || self.name.clone();
        if self.is_empty() {
            return Err(DataError::Empty { place: place() });
        }
        let shape = [self.len(), self.channels, self.height, self.width];
        let needed = shape
            .iter()
            .try_fold(1usize, |size, &dim| size.checked_mul(dim));
        if needed != Some(self.pixels.len()) || self.pixels.is_empty() {
            let needed = format!("the product of {shape:?}, not zero");
            let there = format!("{} values", self.pixels.len());
            return Err(DataError::malformed(
                place(),
                "number of pixels",
                needed,
                there,
            ));
        }
        self.check_targets()?;
        if let Pixels::F32(values) = &self.pixels
            && let Some((index, &value)) = values.iter().enumerate().find(|(_, v)| !v.is_finite())
        {
            return Err(DataError::NotFinite {
                place: place(),
                index,
                value,
            });
        }
        self.normalize.check(&self.name, self.channels)
    }

    fn check_targets(&self) -> Result<(), DataError> {
        let place = || self.name.clone();
        let classes = self.classes.len();
        let no_class = |index, label: u32| DataError::Label {
            place: place(),
            index,
            label: i64::from(label),
            classes,
        };
        match &self.targets {
            Targets::Classes(labels) => {
                let mut labels = labels.iter().enumerate();
                if let Some((index, &label)) = labels.find(|&(_, &l)| l as usize >= classes) {
                    return Err(no_class(index, label));
                }
            }
            Targets::Boxes(boxes) => {
                for (index, object) in boxes.iter().enumerate().flat_map(each) {
                    if object.class as usize >= classes {
                        return Err(no_class(index, object.class));
                    }
                    if !object.bbox.is_sound() {
                        let needed = "edges in order and in the image";
                        let there = format!("{:?} of image {index}", object.bbox);
                        return Err(DataError::malformed(place(), "box", needed, there));
                    }
                }
            }
        }
        match self.validation.last() {
            Some(&last) if last >= self.len() => {
                let needed = format!("below {}", self.len());
                Err(DataError::malformed(
                    place(),
                    "validation image",
                    needed,
                    last,
                ))
            }
            _ => Ok(()),
        }
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether there is no image; only a [`subset`](Self::subset) can be.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How a picture becomes an input for a network that learns from this set; none where the
    /// set holds floats, whose scale is known to their maker alone.
    pub fn normalisation(&self) -> Option<&Normalize> {
        match self.pixels {
            Pixels::U8(_) => Some(&self.normalize),
            Pixels::F32(_) => None,
        }
    }

    /// What a network is to say of each image.
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// The class of each image, all below `classes.len()`; none where images have boxes.
    pub fn labels(&self) -> &[u32] {
        match &self.targets {
            Targets::Classes(labels) => labels,
            Targets::Boxes(_) => &[],
        }
    }

    /// Values of one image: `channels · height · width`.
    pub fn image_len(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Writes the normalised pixels of the given images one after another into `out`.
    /// out: `[indices.len(), channels, height, width]`.
    ///
    /// An image that does not exist reads as zeros, and what does not fit into `out` is left out;
    /// both are the caller's mistake and caught in debug builds.
    pub fn gather(&self, indices: &[usize], out: &mut [f32]) {
        debug_assert_eq!(out.len(), indices.len() * self.image_len());
        debug_assert!(indices.iter().all(|&i| i < self.len()));
        let plane = self.height * self.width;
        let images = indices.iter().zip(out.chunks_exact_mut(self.image_len()));
        match &self.pixels {
            Pixels::F32(values) => {
                for (&index, out) in images {
                    match image_of(values, index, self.image_len()) {
                        Some(image) => out.copy_from_slice(image),
                        None => out.fill(0.0),
                    }
                }
            }
            Pixels::U8(values) => {
                let tables: Vec<_> = (0..self.channels)
                    .map(|c| self.normalize.table(c))
                    .collect();
                for (&index, out) in images {
                    let Some(image) = image_of(values, index, self.image_len()) else {
                        out.fill(0.0);
                        continue;
                    };
                    let planes = image.chunks_exact(plane).zip(out.chunks_exact_mut(plane));
                    for (table, (raw, out)) in tables.iter().zip(planes) {
                        for (x, &raw) in out.iter_mut().zip(raw) {
                            *x = table[usize::from(raw)];
                        }
                    }
                }
            }
        }
    }

    /// The stored bytes `[channels, height, width]` of image `index`, where pixels are 8-bit.
    pub fn raw_u8(&self, index: usize) -> Option<&[u8]> {
        match &self.pixels {
            Pixels::U8(values) => image_of(values, index, self.image_len()),
            Pixels::F32(_) => None,
        }
    }

    /// The given images, in the given order, none of them set apart for validation. An index that
    /// does not exist is left out.
    pub fn subset(&self, indices: &[usize]) -> Self {
        let kept: Vec<usize> = indices
            .iter()
            .copied()
            .filter(|&i| i < self.len())
            .collect();
        let size = self.image_len();
        let pixels = match &self.pixels {
            Pixels::U8(values) => Pixels::U8(select(values, &kept, size)),
            Pixels::F32(values) => Pixels::F32(select(values, &kept, size)),
        };
        Self {
            name: self.name.clone(),
            classes: self.classes.clone(),
            normalize: self.normalize.clone(),
            targets: match &self.targets {
                Targets::Classes(labels) => {
                    Targets::Classes(kept.iter().map(|&i| labels[i]).collect())
                }
                Targets::Boxes(boxes) => {
                    Targets::Boxes(kept.iter().map(|&i| boxes[i].clone()).collect())
                }
            },
            validation: Vec::new(),
            pixels,
            ..*self
        }
    }

    /// The same samples with their classes among these names, whose numbers become the labels.
    ///
    /// # Errors
    /// A class of the set that is none of them.
    pub fn in_classes(mut self, names: &[String]) -> Result<Self, DataError> {
        let number = |class: &String| {
            let found = names.iter().zip(0u32..).find(|(name, _)| *name == class);
            found.map(|(_, number)| number).ok_or_else(|| {
                DataError::malformed(
                    &self.name,
                    "class",
                    format!("one of {}", names.join(", ")),
                    class,
                )
            })
        };
        let numbers: Vec<u32> = self.classes.iter().map(number).collect::<Result<_, _>>()?;
        match &mut self.targets {
            Targets::Classes(labels) => {
                labels.iter_mut().for_each(|l| *l = numbers[*l as usize]);
            }
            Targets::Boxes(boxes) => {
                let objects = boxes.iter_mut().flatten();
                objects.for_each(|object| object.class = numbers[object.class as usize]);
            }
        }
        self.classes = names.to_vec();
        Ok(self)
    }

    /// Shuffles with `seed` and holds out `held_out` images: `(the rest, the held out)`.
    /// At least one image stays in the rest. Both parts keep the order of the set, and the
    /// classes are not balanced.
    ///
    /// Where the set itself sets images apart for validation, it is these that are held out, however
    /// many are asked for, unless none are.
    pub fn split(&self, held_out: usize, seed: u64) -> (Self, Self) {
        if held_out > 0 && !self.validation.is_empty() && self.validation.len() < self.len() {
            let apart = |i: &usize| self.validation.binary_search(i).is_ok();
            let (held, rest): (Vec<usize>, Vec<usize>) = (0..self.len()).partition(apart);
            return (self.subset(&rest), self.subset(&held));
        }
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let (held, rest) = order.split_at_mut(held_out.min(self.len().saturating_sub(1)));
        held.sort_unstable();
        rest.sort_unstable();
        (self.subset(rest), self.subset(held))
    }
}

/// Each thing with what it is in.
fn each((index, objects): (usize, &Vec<Object>)) -> impl Iterator<Item = (usize, &Object)> {
    objects.iter().map(move |object| (index, object))
}

fn image_of<T>(values: &[T], index: usize, size: usize) -> Option<&[T]> {
    let start = index.checked_mul(size)?;
    values.get(start..start.checked_add(size)?)
}

fn select<T: Copy>(values: &[T], indices: &[usize], size: usize) -> Vec<T> {
    let mut kept = Vec::with_capacity(indices.len() * size);
    for &index in indices {
        kept.extend_from_slice(image_of(values, index, size).unwrap_or_default());
    }
    kept
}

#[cfg(test)]
mod tests {
    use secateur_model::detection::BBox;

    use super::*;

    fn tiny(pixels: Pixels, labels: Vec<u32>, channels: usize) -> Result<Dataset, DataError> {
        let classes = vec!["a".into(), "b".into()];
        let normalize = Normalize::unit(channels);
        Dataset::new("tiny", channels, 1, 2, classes, pixels, labels, normalize)
    }

    #[test]
    fn normalises_each_channel_with_its_own_figures() {
        let mut set = tiny(Pixels::U8(vec![0, 255, 255, 0]), vec![0], 2).unwrap();
        set.normalize = Normalize {
            mean: vec![0.5, 0.0],
            std: vec![0.5, 2.0],
        };
        let mut out = [0.0; 4];
        set.gather(&[0], &mut out);
        assert_eq!(out, [-1.0, 1.0, 0.5, 0.0]);
        assert_eq!(set.raw_u8(0), Some(&[0, 255, 255, 0][..]));
        assert_eq!(set.raw_u8(1), None);
        assert_eq!(set.normalisation(), Some(&set.normalize));
    }

    #[test]
    fn labels_go_by_the_names_of_classes() {
        let set = tiny(Pixels::U8(vec![0; 6]), vec![0, 1, 0], 1).unwrap();
        let names = ["c", "b", "a"].map(str::to_owned);
        let other = set.clone().in_classes(&names).unwrap();
        assert_eq!(other.targets(), &Targets::Classes(vec![2, 1, 2]));
        assert_eq!(other.classes, names);
        let unknown = set.in_classes(&names[..2]).unwrap_err().to_string();
        assert!(unknown.contains("needed one of c, b, found a"), "{unknown}");
    }

    #[test]
    fn takes_floats_as_they_are() {
        let set = tiny(Pixels::F32(vec![-1.0, 2.0, 3.0, 4.0]), vec![0, 1], 1).unwrap();
        let mut out = [0.0; 4];
        set.gather(&[1, 0], &mut out);
        assert_eq!(out, [3.0, 4.0, -1.0, 2.0]);
        assert_eq!(set.normalisation(), None);
        assert_eq!(set.raw_u8(0), None);
    }

    #[test]
    fn refuses_sets_that_make_no_sense() {
        let message = |r: Result<Dataset, DataError>| r.unwrap_err().to_string();
        assert!(message(tiny(Pixels::U8(vec![]), vec![], 1)).contains("empty"));
        assert!(message(tiny(Pixels::U8(vec![1; 3]), vec![0], 1)).contains("3 values"));
        assert!(message(tiny(Pixels::U8(vec![1; 2]), vec![2], 1)).contains("label 2 of image 0"));
        let nan = tiny(Pixels::F32(vec![0.0, f32::NAN]), vec![0], 1);
        assert!(message(nan).contains("value 1 is NaN"));
        assert!(message(tiny(Pixels::U8(vec![1]), vec![0], 1 << 20)).contains("pixels"));
        assert!(message(tiny(Pixels::U8(vec![]), vec![0], 0)).contains("not zero"));
        let flat = Normalize {
            mean: vec![0.0],
            std: vec![0.0],
        };
        let set = Dataset::new(
            "t",
            1,
            1,
            1,
            vec!["a".into()],
            Pixels::U8(vec![0]),
            vec![0],
            flat,
        );
        assert!(message(set).contains("normalisation"));
    }

    #[test]
    fn a_split_is_a_partition_and_repeats_for_a_seed() {
        let bytes: Vec<u8> = (0..40).collect();
        let labels = (0..20).map(|i| i % 2).collect();
        let set = tiny(Pixels::U8(bytes), labels, 1).unwrap();
        let (rest, held) = set.split(5, 7);
        assert_eq!((rest.len(), held.len()), (15, 5));
        assert_eq!(set.split(5, 7), (rest.clone(), held.clone()));
        assert_ne!(set.split(5, 8).1, held);
        let mut seen: Vec<u8> = [&rest, &held]
            .iter()
            .flat_map(|part| (0..part.len()).map(|i| part.raw_u8(i).unwrap()[0]))
            .collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..20).map(|i| 2 * i).collect::<Vec<u8>>());
        assert_eq!(set.split(99, 0).0.len(), 1);
    }

    fn boxed(objects: Vec<Vec<Object>>, validation: Vec<usize>) -> Result<Dataset, DataError> {
        let (classes, n) = (vec!["a".into()], objects.len());
        let pixels = (0..n * 6).map(|i| i as u8).collect();
        let normalize = Normalize::unit(3);
        Dataset::with_boxes(
            "boxed", 1, 2, classes, pixels, objects, normalize, validation,
        )
    }

    fn object(class: u32, right: f32) -> Object {
        Object {
            class,
            bbox: BBox::new(0.25, 0.0, right, 1.0),
            difficult: false,
        }
    }

    #[test]
    fn a_set_s_own_validation_images_are_held_out() {
        let objects: Vec<_> = (0..4).map(|i| vec![object(0, 1.0); i]).collect();
        let set = boxed(objects, vec![2, 0]).unwrap();
        let (rest, held) = set.split(1, 5);
        assert_eq!(
            (rest.raw_u8(0), held.raw_u8(1)),
            (set.raw_u8(1), set.raw_u8(2))
        );
        let Targets::Boxes(boxes) = held.targets() else {
            unreachable!("boxes stay boxes");
        };
        assert_eq!(boxes.iter().map(Vec::len).collect::<Vec<_>>(), [0, 2]);
        assert!(held.labels().is_empty() && held.len() == 2);
        assert_eq!(
            set.split(0, 5),
            (set.subset(&[0, 1, 2, 3]), set.subset(&[]))
        );
    }

    #[test]
    fn boxes_that_make_no_sense_are_refused() {
        let message = |r: Result<Dataset, DataError>| r.unwrap_err().to_string();
        assert!(message(boxed(vec![], vec![])).contains("empty"));
        assert!(message(boxed(vec![vec![object(1, 1.0)]], vec![])).contains("label 1 of image 0"));
        assert!(message(boxed(vec![vec![object(0, 1.5)]], vec![])).contains("in the image"));
        assert!(message(boxed(vec![vec![object(0, 0.1)]], vec![])).contains("edges in order"));
        assert!(message(boxed(vec![vec![]], vec![1])).contains("validation image"));
    }
}
