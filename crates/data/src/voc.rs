//! A folder like PASCAL VOC's (Everingham et al. 2010): pictures with boxes.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use roxmltree::{Document, Node, ParsingOptions};
use secateur_model::detection::{BBox, Object};

use crate::{
    DataError, Dataset, Normalize, Split, image,
    split::{held_out, set_name},
};

/// Pixels of the longer side, where nobody says which size is wanted.
const LONGER_SIDE: usize = 256;
/// The shorter side is then a multiple of this: networks halve sides again and again.
const STEP: usize = 16;

/// An annotation is refused beyond so many bytes and nodes.
const MAX_BYTES: u64 = 1 << 24;
const MAX_NODES: u32 = 1 << 20;

/// Loads the folder, if it has `Annotations` and `JPEGImages`. `ImageSets/Main/{train,val,test}.txt`
/// say which picture is in which part, `val` being what is held out of training. Without `test`
/// it is `val` that a network is judged by; without any list it is a sixth of all pictures.
///
/// All pictures are scaled to `size`, `[height, width]`, or to a longer side of 256 pixels.
/// Classes are those of the training part, by name.
pub(crate) fn load(dir: &Path, size: Option<[usize; 2]>) -> Result<Option<Split>, DataError> {
    let folders = [ANNOTATIONS, PICTURES];
    if !folders.iter().all(|folder| dir.join(folder).is_dir()) {
        return Ok(None);
    }
    let [train, val, test] = ["train", "val", "test"].map(|part| list(dir, part));
    let (train, val, test) = match (train?, val?, test?) {
        (None, None, None) => (all(dir)?, Vec::new(), None),
        (Some(train), val, Some(test)) => (train, val.unwrap_or_default(), Some(test)),
        (Some(train), Some(val), None) => (train, Vec::new(), Some(val)),
        _ => {
            return Err(DataError::Layout {
                path: dir.join(LISTS),
                needed: "train.txt with test.txt, val.txt or both, or no list",
            });
        }
    };
    let validation = (train.len()..train.len() + val.len()).collect();
    let mut seen = BTreeSet::new();
    let names = [train, val].concat();
    let training = annotated(dir, &names, &mut seen)?;
    let testing = test
        .map(|names| annotated(dir, &names, &mut seen))
        .transpose()?;

    let classes: BTreeSet<&str> = training.iter().flat_map(Picture::class_names).collect();
    let classes: Vec<String> = classes.into_iter().map(str::to_owned).collect();
    let size = match (size, training.first()) {
        (Some(size), _) => size,
        (None, Some(first)) => default_size(&first.file)?,
        (None, None) => {
            let place = dir.display().to_string();
            return Err(DataError::Empty { place });
        }
    };
    let place = dir.display().to_string();
    let name = set_name(dir);
    let train = Part::read(&training, &classes, size)?;
    let normalize = measured(&train.pixels, size);
    let set = |part: Part, validation: Vec<usize>| {
        let (classes, normalize) = (classes.clone(), normalize.clone());
        let [height, width] = size;
        let Part { pixels, boxes } = part;
        Dataset::with_boxes(
            name.as_str(),
            height,
            width,
            classes,
            pixels,
            boxes,
            normalize,
            validation,
        )
    };
    let train = set(train, validation)?;
    let Some(testing) = testing else {
        return held_out(train, place).map(Some);
    };
    let test = set(Part::read(&testing, &classes, size)?, Vec::new())?;
    Ok(Some(Split { train, test }))
}

const ANNOTATIONS: &str = "Annotations";
const PICTURES: &str = "JPEGImages";
const LISTS: &str = "ImageSets/Main";

/// A picture's file, and what is annotated in it.
struct Picture {
    file: PathBuf,
    /// The annotation's file, for messages.
    place: String,
    things: Vec<Thing>,
}

/// A thing as it is annotated.
#[derive(Debug, PartialEq)]
struct Thing {
    class: String,
    /// The first and last pixels that belong to it, counted from 1: left, upper, right, lower.
    edges: [f32; 4],
    difficult: bool,
}

impl Picture {
    fn class_names(&self) -> impl Iterator<Item = &str> {
        self.things.iter().map(|thing| thing.class.as_str())
    }

    /// The things of a picture of `[height, width]` pixels.
    fn objects(
        &self,
        classes: &[String],
        [height, width]: [usize; 2],
    ) -> Result<Vec<Object>, DataError> {
        let things = self.things.iter().enumerate();
        let objects = things.map(|(index, thing)| {
            let place = || format!("{}: object {}", self.place, index + 1);
            let known = classes.binary_search(&thing.class);
            let class = known.map_err(|_| {
                let needed = format!("one of {} as in train", classes.join(", "));
                DataError::malformed(place(), "class", needed, format!("{:?}", thing.class))
            })?;
            let [left, top, right, bottom] = thing.edges;
            let (across, down) = (width as f32, height as f32);
            // Files that count from 0 or 1 are both met.
            let within = |low: f32, high: f32, side| 0.0 <= low && low <= high && high <= side;
            if !within(left, right, across) || !within(top, bottom, down) {
                let needed = format!("edges in order within the {width}x{height} pixels");
                let there = format!("{left} to {right} and {top} to {bottom}");
                return Err(DataError::malformed(place(), "box", needed, there));
            }
            Ok(Object {
                class: class as u32,
                bbox: BBox::new(
                    (left - 1.0).max(0.0) / across,
                    (top - 1.0).max(0.0) / down,
                    right / across,
                    bottom / down,
                ),
                difficult: thing.difficult,
            })
        });
        objects.collect()
    }
}

/// Scaled pixels `[n, 3, height, width]`, and what is in each picture.
struct Part {
    pixels: Vec<u8>,
    boxes: Vec<Vec<Object>>,
}

impl Part {
    fn read(pictures: &[Picture], classes: &[String], size: [usize; 2]) -> Result<Self, DataError> {
        let mut part = Self {
            pixels: Vec::new(),
            boxes: Vec::with_capacity(pictures.len()),
        };
        for picture in pictures {
            let decoded = image::open(&picture.file)?;
            let own = [decoded.height() as usize, decoded.width() as usize];
            part.boxes.push(picture.objects(classes, own)?);
            let place = picture.file.display().to_string();
            part.pixels.extend(image::scaled(&decoded, 3, size, place)?);
        }
        Ok(part)
    }
}

/// The names in a list, if there is one: the first word of each line.
fn list(dir: &Path, part: &str) -> Result<Option<Vec<String>>, DataError> {
    let path = dir.join(LISTS).join(part).with_extension("txt");
    if !path.exists() {
        return Ok(None);
    }
    let text = fs::read_to_string(&path).map_err(DataError::io(&path))?;
    let words = text
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    Ok(Some(words.map(str::to_owned).collect()))
}

/// The names of all annotations, in order.
fn all(dir: &Path) -> Result<Vec<String>, DataError> {
    let folder = dir.join(ANNOTATIONS);
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).map_err(DataError::io(&folder))? {
        let path = entry.map_err(DataError::io(&folder))?.path();
        if path.extension().is_some_and(|e| e == "xml") {
            names.extend(path.file_stem().map(|s| s.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

/// The annotations of the names, none of which may be among those seen before: a picture is in
/// one part, once.
fn annotated(
    dir: &Path,
    names: &[String],
    seen: &mut BTreeSet<String>,
) -> Result<Vec<Picture>, DataError> {
    let pictures = names.iter().map(|name| {
        let list = || dir.join(LISTS).display().to_string();
        if name.contains(['/', '\\']) {
            let there = format!("{name:?}");
            return Err(DataError::malformed(list(), "name", "no path", there));
        }
        if !seen.insert(name.clone()) {
            let there = format!("{name} twice");
            return Err(DataError::malformed(
                list(),
                "lists",
                "each name once",
                there,
            ));
        }
        let path = dir.join(ANNOTATIONS).join(format!("{name}.xml"));
        let place = path.display().to_string();
        let length = fs::metadata(&path).map_err(DataError::io(&path))?.len();
        if length > MAX_BYTES {
            let needed = format!("at most {MAX_BYTES} bytes");
            return Err(DataError::malformed(place, "annotation", needed, length));
        }
        let bytes = fs::read(&path).map_err(DataError::io(&path))?;
        Ok(Picture {
            file: picture(dir, name)?,
            things: read(&bytes, &place)?,
            place,
        })
    });
    pictures.collect()
}

fn picture(dir: &Path, name: &str) -> Result<PathBuf, DataError> {
    let folder = dir.join(PICTURES);
    let path = |extension| folder.join(format!("{name}.{extension}"));
    let there = ["jpg", "jpeg", "png"].map(path);
    let found = there.into_iter().find(|path| path.is_file());
    found.ok_or_else(|| DataError::Layout {
        path: path("jpg"),
        needed: "a picture (.jpg, .jpeg or .png) for every name in the lists",
    })
}

/// Reads an annotation, `annotation/object/{name,difficult,bndbox}`. `place` is what errors call it.
fn read(bytes: &[u8], place: &str) -> Result<Vec<Thing>, DataError> {
    let malformed =
        |needed: &str, there: String| DataError::malformed(place, "annotation", needed, there);
    let text = std::str::from_utf8(bytes).map_err(|e| malformed("UTF-8", e.to_string()))?;
    // Entities could stand for far more text than the file has.
    let options = ParsingOptions {
        allow_dtd: false,
        nodes_limit: MAX_NODES,
        ..ParsingOptions::default()
    };
    let document = Document::parse_with_options(text, options)
        .map_err(|e| malformed("XML without a document type", e.to_string()))?;
    let root = document.root_element();
    if !root.has_tag_name("annotation") {
        let there = format!("`{}`", root.tag_name().name());
        return Err(malformed("an element `annotation`", there));
    }
    let objects = root.children().filter(|node| node.has_tag_name("object"));
    let things = objects.enumerate().map(|(index, object)| {
        let place = format!("{place}: object {}", index + 1);
        let bounds = child(object, "bndbox", &place)?;
        let mut edges = [0.0; 4];
        for (edge, name) in edges.iter_mut().zip(["xmin", "ymin", "xmax", "ymax"]) {
            *edge = number(bounds, name, &place)?;
        }
        let difficult = object.children().any(|n| {
            n.has_tag_name("difficult") && n.text().is_some_and(|text| text.trim() == "1")
        });
        let class = text_of(child(object, "name", &place)?).to_owned();
        if class.is_empty() || class.contains('\n') {
            let there = format!("{class:?}");
            return Err(DataError::malformed(place, "name", "a word", there));
        }
        Ok(Thing {
            class,
            edges,
            difficult,
        })
    });
    things.collect()
}

fn child<'a, 'input>(
    node: Node<'a, 'input>,
    name: &'static str,
    place: &str,
) -> Result<Node<'a, 'input>, DataError> {
    let found = node.children().find(|child| child.has_tag_name(name));
    found.ok_or_else(|| DataError::malformed(place, name, "an element of this name", "none"))
}

fn number(node: Node<'_, '_>, name: &'static str, place: &str) -> Result<f32, DataError> {
    let text = text_of(child(node, name, place)?);
    match text.parse::<f32>() {
        Ok(x) if x.is_finite() => Ok(x),
        _ => {
            let there = format!("{text:?}");
            Err(DataError::malformed(
                place,
                name,
                "a number of pixels",
                there,
            ))
        }
    }
}

fn text_of<'a>(node: Node<'a, '_>) -> &'a str {
    node.text().unwrap_or_default().trim()
}

/// `[height, width]` with the proportions of a picture.
fn default_size(file: &Path) -> Result<[usize; 2], DataError> {
    let first = image::open(file)?;
    let own = [first.height() as usize, first.width() as usize];
    let longer = own[0].max(own[1]).max(1);
    let side = |pixels: usize| (pixels * LONGER_SIDE / longer + STEP / 2) / STEP * STEP;
    Ok(own.map(|pixels| side(pixels).max(STEP)))
}

/// Mean and deviation of each of three channels, to four digits.
fn measured(pixels: &[u8], [height, width]: [usize; 2]) -> Normalize {
    let mut normalize = Normalize::unit(3);
    let plane = (height * width).max(1);
    for channel in 0..3 {
        let mut counts = [0u64; 256];
        for plane in pixels.chunks_exact(plane).skip(channel).step_by(3) {
            plane.iter().for_each(|&p| counts[usize::from(p)] += 1);
        }
        let total = counts.iter().sum::<u64>().max(1) as f64;
        let moment = |power| {
            let terms = counts.iter().enumerate();
            let sum: f64 = terms
                .map(|(p, &n)| (p as f64 / 255.0).powi(power) * n as f64)
                .sum();
            sum / total
        };
        let mean = moment(1);
        let deviation = (moment(2) - mean * mean).max(0.0).sqrt();
        let rounded = |x: f64| ((x * 1e4).round() / 1e4) as f32;
        normalize.mean[channel] = rounded(mean);
        normalize.std[channel] = rounded(deviation).max(0.01);
    }
    normalize
}

#[cfg(test)]
mod tests {
    use ::image::{Rgb, RgbImage};
    use proptest::prelude::*;

    use super::*;
    use crate::Targets;

    const ONE: &str = "<annotation><object><name> cell </name><difficult>1</difficult>\
        <bndbox><xmin>1</xmin><ymin>3.0</ymin><xmax>20</xmax><ymax>10</ymax></bndbox></object></annotation>";

    /// A folder with 40x20 pictures, each with the annotation given for it.
    fn folder(pictures: &[(&str, &str)], lists: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for folder in [ANNOTATIONS, PICTURES, LISTS] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        for (index, (name, xml)) in pictures.iter().enumerate() {
            let file = dir.path().join(PICTURES).join(format!("{name}.png"));
            let shade = Rgb([10 * index as u8, 100, 200]);
            RgbImage::from_pixel(40, 20, shade).save(file).unwrap();
            let file = dir.path().join(ANNOTATIONS).join(format!("{name}.xml"));
            fs::write(file, xml).unwrap();
        }
        for (part, names) in lists {
            let file = dir.path().join(LISTS).join(format!("{part}.txt"));
            fs::write(file, names).unwrap();
        }
        dir
    }

    fn boxes(set: &Dataset) -> &[Vec<Object>] {
        match set.targets() {
            Targets::Boxes(boxes) => boxes,
            Targets::Classes(_) => &[],
        }
    }

    #[test]
    fn parts_are_as_the_lists_say() {
        let empty = "<annotation/>";
        let pictures = [("a", ONE), ("b", empty), ("c", empty), ("d", ONE)];
        let lists = [("train", "c 1\nd -1\n"), ("val", "a\n"), ("test", "\nb\n")];
        let dir = folder(&pictures, &lists);
        let Split { train, test } = load(dir.path(), Some([10, 20])).unwrap().unwrap();
        assert_eq!((train.len(), test.len()), (3, 1));
        assert_eq!((train.channels, train.height, train.width), (3, 10, 20));
        assert_eq!(train.classes, ["cell"]);
        let (rest, held) = train.split(1, 0);
        let shade = |set: &Dataset, i| set.raw_u8(i).map(|pixels| pixels[0]);
        assert_eq!([shade(&rest, 0), shade(&rest, 1)], [Some(20), Some(30)]);
        assert_eq!((held.len(), shade(&held, 0)), (1, Some(0)));
        let object = boxes(&held)[0][0];
        assert_eq!(object.bbox, BBox::new(0.0, 0.1, 0.5, 0.5));
        assert!(object.difficult && boxes(&rest)[0].is_empty());
        assert_eq!(train.normalize.mean[1], 0.3922);

        let dir = folder(&pictures, &[("train", "c\nd"), ("val", "a")]);
        let split = load(dir.path(), None).unwrap().unwrap();
        assert_eq!((split.train.len(), split.test.len()), (2, 1));
        assert_eq!((split.train.height, split.train.width), (128, 256));
        let dir = folder(&pictures, &[]);
        let split = load(dir.path(), Some([4, 4])).unwrap().unwrap();
        assert_eq!((split.train.len(), split.test.len()), (3, 1));
        assert!(load(&dir.path().join(PICTURES), None).unwrap().is_none());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let message = |pictures: &[(&str, &str)], lists: &[(&str, &str)]| {
            let dir = folder(pictures, lists);
            load(dir.path(), Some([4, 4])).unwrap_err().to_string()
        };
        let two = [("train", "a"), ("test", "b")];
        let with = |xml: &str| message(&[("a", ONE), ("b", xml)], &two);
        for (from, to, expected) in [
            ("<xmax>20", "<xmax>41", "b.xml: object 1: box"),
            ("<xmin>1", "<xmin>-1", "-1 to 20"),
            ("<xmin>1", "<xmin>21", "edges in order"),
            (
                "<ymin>3.0",
                "<ymin>NaN",
                "ymin: needed a number of pixels, found \"NaN\"",
            ),
            ("<ymin>3.0</ymin>", "", "ymin: needed an element"),
            ("cell", "tree", "one of cell as in train"),
            ("cell", "", "needed a word"),
            ("annotation>", "notes>", "an element `annotation`"),
            ("</annotation>", "", "needed XML"),
            (
                "<annotation>",
                "<!DOCTYPE a [<!ENTITY b \"c\">]><annotation>",
                "needed XML",
            ),
        ] {
            let error = with(&ONE.replace(from, to));
            assert!(
                error.contains("b.xml") && error.contains(expected),
                "{error}"
            );
        }
        let missing = message(&[("a", ONE)], &two);
        assert!(missing.contains("b.xml"), "{missing}");
        let twice = message(&[("a", ONE)], &[("train", "a"), ("test", "a")]);
        assert!(twice.contains("a twice"), "{twice}");
        let path = message(&[("a", ONE)], &[("train", "../a"), ("test", "a")]);
        assert!(path.contains("\"../a\""), "{path}");
        let only = message(&[("a", ONE)], &[("test", "a")]);
        assert!(only.contains("train.txt"), "{only}");
        let none = message(&[("a", ONE)], &[("train", ""), ("test", "a")]);
        assert!(none.contains("empty"), "{none}");

        let dir = folder(&[("a", ONE), ("b", ONE)], &two);
        fs::remove_file(dir.path().join(PICTURES).join("b.png")).unwrap();
        let error = load(dir.path(), None).unwrap_err().to_string();
        assert!(
            error.contains("b.jpg") && error.contains("a picture"),
            "{error}"
        );
        fs::write(dir.path().join(PICTURES).join("b.jpg"), "no picture").unwrap();
        assert!(
            load(dir.path(), None)
                .unwrap_err()
                .to_string()
                .contains("b.jpg")
        );
    }

    proptest! {
        #[test]
        fn any_annotation_never_panics(bytes: Vec<u8>, at: prop::sample::Index, byte: u8) {
            let _ = read(&bytes, "any");
            let mut damaged = ONE.as_bytes().to_vec();
            let at = at.index(damaged.len());
            damaged[at] = byte;
            let _ = read(&damaged, "damaged");
        }
    }
}
