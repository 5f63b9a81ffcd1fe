//! Brings known sets into the cache: `cargo run --release --example fetch -- mnist cifar10`
//! (without a name: all of them).

use secateur_data::{DataError, KnownSet, Split, fetch, load};

fn main() -> Result<(), DataError> {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let sets = if names.is_empty() {
        KnownSet::ALL.to_vec()
    } else {
        names
            .iter()
            .map(|name| name.parse())
            .collect::<Result<_, _>>()?
    };
    for set in sets {
        println!("{set}: {} [{}]", set.description(), set.licence());
        fetch(set, &mut |line| println!("  {line}"))?;
        let Split { train, test } = load(set.name())?;
        for (part, data) in [("train", train), ("test", test)] {
            let mut counts = vec![0; data.classes.len()];
            data.labels()
                .iter()
                .for_each(|&label| counts[label as usize] += 1);
            println!("  {part}: {} images, per class {counts:?}", data.len());
        }
    }
    Ok(())
}
