//! What the weights of a file take through each coder alone, as JSON: bytes of all their planes.
//!
//! `cargo run --release -p secateur-io --example coders -- net.sct`

use secateur_io::codec::{Alphabet, Coder, Plane, encode};
use secateur_io::sct;
use secateur_model::{Bitmask, Values, Weight};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("a file is needed")?;
    let graph = sct::load(&path)?;
    let mut sizes = vec![0; Coder::ALL.len()];
    let mut nonzeros = 0;
    for (_, weight) in graph.weights() {
        nonzeros += weight.nonzeros();
        for (size, coder) in sizes.iter_mut().zip(Coder::ALL) {
            *size += bytes(weight, coder)?;
        }
    }
    let sizes = Coder::ALL.iter().zip(sizes);
    let sizes: Vec<String> = sizes.map(|(c, size)| format!("\"{c}\": {size}")).collect();
    println!("{{\"nonzeros\": {nonzeros}, {}}}", sizes.join(", "));
    Ok(())
}

/// Bytes of a weight's plane; floats count as they are.
fn bytes(weight: &Weight, coder: Coder) -> Result<usize, Box<dyn std::error::Error>> {
    let (alphabet, symbols): (Alphabet, Vec<i32>) = match weight.values() {
        Values::Int { bits, codes, .. } => (
            Alphabet::Signed {
                bits: u32::from(*bits),
            },
            codes.iter().map(|&c| c.into()).collect(),
        ),
        Values::Shared { codebook, codes } => (
            Alphabet::Indexed {
                levels: codebook.len() as u32,
            },
            codes.iter().map(|&c| c.into()).collect(),
        ),
        _ => return Ok(weight.kept() * weight.bits() as usize / 8),
    };
    let mask = weight.support().mask().map(Bitmask::to_bools);
    let (rows, cols) = weight.matrix();
    let plane = Plane {
        rows,
        cols,
        mask: mask.as_deref(),
        symbols: &symbols,
        alphabet,
    };
    Ok(encode(&plane, coder)?.bytes.len())
}
