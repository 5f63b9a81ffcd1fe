//! Cycles of a topology on a systolic array, for `bench/hardware/scale_sim.py`: SCALE-Sim's file of layers, the
//! dataflow (`os` or `ws`), rows and columns. Prints a line a layer, and the nanoseconds that all of them took.

use secateur_accel::systolic::{Dataflow, Product, Systolic};
use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

/// So often that the clock has something to measure.
const TIMES: u32 = 10_000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [topology, dataflow, rows, columns] = arguments.as_slice() else {
        return Err("needed: TOPOLOGY.csv os|ws ROWS COLUMNS".into());
    };
    let array = Systolic {
        rows: rows.parse()?,
        columns: columns.parse()?,
        dataflow: match dataflow.as_str() {
            "os" => Dataflow::OutputStationary,
            "ws" => Dataflow::WeightStationary,
            other => return Err(format!("dataflow: needed os or ws, found {other}").into()),
        },
    };
    let text = std::fs::read_to_string(topology)?;
    let layers = text.lines().skip(1).filter(|line| !line.trim().is_empty());
    let layers: Vec<(&str, Product)> = layers.map(layer).collect::<Result<_, _>>()?;
    for (name, product) in &layers {
        println!("{name} {}", array.cycles(product).total());
    }
    let start = Instant::now();
    for _ in 0..TIMES {
        for (_, product) in &layers {
            black_box(array.cycles(black_box(product)));
        }
    }
    println!(
        "nanoseconds {}",
        start.elapsed().as_nanos() / u128::from(TIMES)
    );
    Ok(())
}

/// Name, height, width, kernel's height and width, channels, filters, stride.
fn layer(line: &str) -> Result<(&str, Product), Box<dyn Error>> {
    let mut cells = line.split(',').map(str::trim);
    let name = cells.next().unwrap_or_default();
    let numbers: Vec<usize> = cells
        .filter(|cell| !cell.is_empty())
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    match numbers.as_slice() {
        &[height, width, kernel, same, channels, filters, stride] if kernel == same => {
            let product = Product::conv([height, width], channels, kernel, filters, stride);
            Ok((name, product))
        }
        _ => Err(format!("{name}: needed seven numbers and a square kernel").into()),
    }
}
