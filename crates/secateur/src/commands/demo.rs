//! `secateur demo`: the main job, start to end.

use super::{compress, train};
use crate::args::{Compress, Demo, Train};
use crate::show;
use anyhow::{Context, Result};
use secateur_data::{KnownSet, fetch};

pub fn run(args: &Demo) -> Result<()> {
    let data = match fetch(KnownSet::Mnist, &mut |line| println!("{line}")) {
        Ok(_) => KnownSet::Mnist,
        Err(error) => {
            println!("{error}\nusing the embedded 8x8 digits instead");
            KnownSet::Digits
        }
    };
    std::fs::create_dir_all(&args.folder).with_context(|| args.folder.display().to_string())?;
    let dense = args.folder.join("dense.onnx");
    let small = args.folder.join("small.sct");
    train::run(&Train {
        network: "lenet-300-100".into(),
        data: data.name().into(),
        epochs: 12.0,
        batch: 128,
        learning_rate: 0.05,
        weight_decay: 5e-4,
        shift: 0,
        validation: 5000,
        seed: args.seed,
        output: dense.clone(),
        json: None,
    })?;
    let result = compress::run(&Compress {
        network: dense.clone(),
        data: data.name().into(),
        recipe: "deep-compression".into(),
        seed: args.seed,
        validation: 5000,
        store: None,
        output: small.clone(),
        json: None,
    })?;
    println!(
        "\nNext:\n  secateur inspect {0}\n  secateur bench {0} --threads 1\n  secateur bench {1} --threads 1\n  secateur export {0} -o small-qdq.onnx",
        small.display(),
        dense.display()
    );
    show::json(args.json.as_deref(), &result)
}
