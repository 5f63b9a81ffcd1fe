//! A user's own data with something wrong in it: the error says what, and in which file.
#![allow(clippy::unwrap_used)] // helpers of tests

use image::{GrayImage, Luma};
use secateur_data::{load, write_npy};
use std::fs;
use std::path::Path;
use tempfile::{TempDir, tempdir};

fn error(dir: &TempDir) -> String {
    let message = load(dir.path().to_str().unwrap()).unwrap_err().to_string();
    let folder = dir.path().display().to_string();
    assert!(message.contains(&folder), "no path in {message:?}");
    message.replace(&folder, "DIR").replace('\\', "/")
}

/// Pictures of one gray, `width` by 2.
fn pictures(dir: &TempDir, names: &[&str], width: u32) {
    for name in names {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        GrayImage::from_pixel(width, 2, Luma([7]))
            .save(path)
            .unwrap();
    }
}

fn arrays(dir: &Path, name: &str, count: usize, labels: &[i64]) {
    let mut x = Vec::new();
    write_npy(&mut x, &[count, 2, 2], &vec![7u8; 4 * count]).unwrap();
    fs::write(dir.join(format!("x{name}.npy")), x).unwrap();
    let mut y = Vec::new();
    write_npy(&mut y, &[labels.len()], labels).unwrap();
    fs::write(dir.join(format!("y{name}.npy")), y).unwrap();
}

#[test]
fn empty_sets() {
    let dir = tempdir().unwrap();
    assert!(error(&dir).starts_with("DIR: no data set found: needed an .npz file"));

    fs::create_dir_all(dir.path().join("train/cat")).unwrap();
    fs::create_dir_all(dir.path().join("test/cat")).unwrap();
    assert_eq!(
        error(&dir),
        "DIR/train: the data set is empty: needed at least one image"
    );
    pictures(&dir, &["train/cat/0.png"], 3);
    assert_eq!(
        error(&dir),
        "DIR/test: the data set is empty: needed at least one image"
    );

    let dir = tempdir().unwrap();
    pictures(&dir, &["cat/0.png"], 3);
    assert_eq!(
        error(&dir),
        "DIR: number of images: needed 2 or more to split, found 1"
    );

    let dir = tempdir().unwrap();
    arrays(dir.path(), "", 0, &[]);
    assert_eq!(
        error(&dir),
        "DIR/x.npy: the data set is empty: needed at least one image"
    );
    arrays(dir.path(), "", 1, &[0]);
    assert_eq!(
        error(&dir),
        "DIR/x.npy: number of images: needed 2 or more to split, found 1"
    );
}

#[test]
fn labels_out_of_range() {
    let dir = tempdir().unwrap();
    arrays(dir.path(), "", 3, &[0, 1, -1]);
    assert_eq!(
        error(&dir),
        "DIR/y.npy: label -1 of image 2 is out of range: needed 0..65536"
    );
    arrays(dir.path(), "", 3, &[0, 1 << 40, 1]);
    assert!(error(&dir).starts_with("DIR/y.npy: label 1099511627776 of image 1 "));
    arrays(dir.path(), "", 3, &[0, 1]);
    assert_eq!(
        error(&dir),
        "DIR/y.npy: number of labels: needed 3, the images in DIR/x.npy, found 2"
    );

    arrays(dir.path(), "_train", 3, &[0, 1, 1]);
    arrays(dir.path(), "_test", 2, &[1, 2]);
    assert_eq!(
        error(&dir),
        "DIR/y_test.npy: label 2 of image 1 is out of range: needed 0..2"
    );
}

#[test]
fn one_broken_picture_among_good_ones() {
    let dir = tempdir().unwrap();
    let names = ["cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png"];
    pictures(&dir, &names, 3);
    assert!(load(dir.path().to_str().unwrap()).is_ok());
    let broken = dir.path().join("dog/0.png");
    let whole = fs::read(&broken).unwrap();
    for bytes in [&whole[..whole.len() / 2], b"text", b""] {
        fs::write(&broken, bytes).unwrap();
        let message = error(&dir);
        assert!(
            message.starts_with("DIR/dog/0.png: cannot decode the image: "),
            "{message}"
        );
    }
}

#[test]
fn pictures_of_several_sizes() {
    let dir = tempdir().unwrap();
    pictures(&dir, &["cat/0.png", "cat/1.png"], 3);
    pictures(&dir, &["dog/0.png"], 4);
    assert_eq!(
        error(&dir),
        "DIR/dog/0.png: size of the image: needed 3x2 as the first (nothing is resized), \
         found 4x2"
    );
    let dir = tempdir().unwrap();
    pictures(&dir, &["train/cat/0.png"], 3);
    pictures(&dir, &["test/cat/0.png"], 4);
    assert!(error(&dir).starts_with("DIR/test/cat/0.png: size of the image: needed 3x2"));
}
