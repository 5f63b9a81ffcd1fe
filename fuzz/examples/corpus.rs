//! Writes the seeds of every target where `cargo fuzz` looks for them: `fuzz/corpus/TARGET`.

use secateur_fuzz::TARGETS;
use std::fs;
use std::path::Path;

fn main() -> anyhow::Result<()> {
    for target in TARGETS {
        let folder = Path::new("fuzz/corpus").join(target.name);
        fs::create_dir_all(&folder)?;
        let seeds = (target.seeds)()?;
        for (index, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("seed-{index}")), seed)?;
        }
        println!("{}: {} seeds", folder.display(), seeds.len());
    }
    Ok(())
}
