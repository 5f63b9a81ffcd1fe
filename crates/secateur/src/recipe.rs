//! Recipes by name.

use crate::CommandError;
use secateur_compress::Recipe;
use secateur_compress::recipe::BUILTIN;

/// A built-in recipe, or the one in a TOML file.
///
/// # Errors
/// A name of neither, a file that cannot be read or holds no recipe.
pub fn recipe(name: &str) -> Result<Recipe, CommandError> {
    let wrong = |e: secateur_compress::CompressError| CommandError::Input(e.to_string());
    if BUILTIN.iter().any(|(builtin, _)| *builtin == name) {
        return Recipe::builtin(name).map_err(wrong);
    }
    let text = std::fs::read_to_string(name).map_err(|error| {
        let builtin = BUILTIN.map(|(name, _)| name).join(", ");
        CommandError::File {
            kind: error.kind(),
            text: format!("recipe {name}: none of {builtin}, and no file: {error}"),
        }
    })?;
    Recipe::from_toml(&text, name).map_err(wrong)
}
