//! `include/secateur.h` is what cbindgen makes of the sources. `BLESS=1 cargo test -p secateur-capi --test header` writes it.

#![allow(clippy::unwrap_used)]

use std::path::Path;

#[test]
fn the_header_is_that_of_the_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).unwrap();
    let made = cbindgen::Builder::new()
        .with_src(root.join("src/lib.rs"))
        .with_config(config)
        .generate()
        .unwrap();
    let mut header = Vec::new();
    made.write(&mut header);
    let made = String::from_utf8(header).unwrap();
    let path = root.join("include/secateur.h");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = made
        .lines()
        .zip(kept.lines())
        .enumerate()
        .find(|(_, (made, kept))| made != kept);
    assert!(
        made == kept,
        "include/secateur.h is not that of the sources, first at {differs:?}; BLESS=1 writes it"
    );
}
