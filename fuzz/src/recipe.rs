//! Recipes.

use crate::{NAME, names_the_file};
use secateur_compress::Recipe;
use secateur_compress::recipe::Step;

/// A recipe: an error that names the file, or steps that can be asked what they mean.
pub fn recipe(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    match Recipe::from_toml(text, NAME) {
        Err(error) => names_the_file(&error),
        Ok(recipe) => {
            assert!(!recipe.steps.is_empty());
            for step in &recipe.steps {
                if let Step::Prune(prune) = step {
                    let allocation = prune.resolve("lenet-300-100").allocation;
                    allocation.part_way(0.5);
                    allocation.geometric(0.5);
                }
            }
        }
    }
}
