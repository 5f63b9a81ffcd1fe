//! Which weights of a layer are left, as a picture.

use secateur_model::Graph;

/// Width and height, four bytes each, then a byte a pixel: rows of the picture are outputs, columns
/// inputs. A pixel of a large layer stands for several weights and is brighter the more are left.
pub fn of(graph: &Graph, weight: usize, side: usize) -> Result<Vec<u8>, String> {
    let found = graph.weights().nth(weight);
    let (_, weight) = found.ok_or_else(|| format!("the network has no weight {weight}"))?;
    let (rows, columns) = weight.matrix();
    let side = side.max(1);
    let (down, across) = (rows.div_ceil(side).max(1), columns.div_ceil(side).max(1));
    let (height, width) = (rows.div_ceil(down), columns.div_ceil(across));
    let mut counts = vec![0u32; height * width];
    for (position, value) in weight.positions().zip(weight.kept_f32()) {
        let (row, column) = (position / columns, position % columns);
        counts[row / down * width + column / across] += u32::from(value != 0.0);
    }
    let extents = [width, height].map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    let mut picture: Vec<u8> = extents.iter().flat_map(|n| n.to_le_bytes()).collect();
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    picture.extend(counts.iter().map(|&count| shade(count, most)));
    Ok(picture)
}

/// The square root, so that few among many are seen, and one alone always.
fn shade(count: u32, most: u32) -> u8 {
    match count {
        0 => 0,
        _ => (255.0 * (f64::from(count) / f64::from(most)).sqrt()).max(48.0) as u8,
    }
}
