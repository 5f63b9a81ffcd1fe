//! `secateur data`: the sets that are known by name.

use crate::args::{Data, DataCommand};
use crate::show;
use anyhow::Result;
use secateur_data::{KnownSet, fetch};
use serde_json::json;

pub fn run(args: &Data) -> Result<()> {
    match &args.command {
        DataCommand::Fetch { set } => {
            let set: KnownSet = set.parse()?;
            let folder = fetch(set, &mut |line| println!("{line}"))?;
            show::json(
                args.json.as_deref(),
                &json!({ "set": set.name(), "folder": folder }),
            )
        }
        DataCommand::List => {
            let rows: Vec<Vec<String>> = KnownSet::ALL
                .iter()
                .map(|set| {
                    let there = if set.is_cached() { "yes" } else { "no" };
                    vec![set.name().into(), set.description().into(), there.into()]
                })
                .collect();
            show::table(&["set", "what", "fetched"], &rows);
            show::json(args.json.as_deref(), &rows)
        }
    }
}
