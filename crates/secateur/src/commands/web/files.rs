//! The files of the page.

use anyhow::{Context, Result, bail};
use std::fs::File;
use std::path::{Path, PathBuf};

/// What a folder with the page holds.
const NEEDED: [&str; 2] = ["index.html", "engine.wasm"];

/// Whether a folder has the page.
pub fn is_page(folder: &Path) -> bool {
    NEEDED.iter().all(|name| folder.join(name).is_file())
}

/// A folder of which everything may be seen, but for what is hidden.
#[derive(Debug)]
pub struct Files {
    root: PathBuf,
}

/// A file that is served.
pub struct Served {
    pub file: File,
    pub bytes: u64,
    pub kind: &'static str,
}

impl Files {
    /// The page's folder.
    pub fn open(folder: &Path) -> Result<Self> {
        let place = || folder.display().to_string();
        let root = folder.canonicalize().with_context(place)?;
        if !is_page(&root) {
            bail!("{}: there is no page; web/build.sh builds it", place());
        }
        Ok(Self { root })
    }

    /// The file at a path that begins with `/`, if there is one within the folder.
    pub fn find(&self, path: &str) -> Option<Served> {
        let path = match path {
            "/" => "/index.html",
            path => path,
        };
        let mut place = self.root.clone();
        for name in path.strip_prefix('/')?.split('/') {
            // Names alone: none that is empty, hidden or goes up, nor what another system takes for a path.
            if name.is_empty() || name.starts_with('.') || name.contains(['\\', ':', '\0']) {
                return None;
            }
            place.push(name);
        }
        // Where a link goes counts.
        let place = place.canonicalize().ok()?;
        if !place.starts_with(&self.root) {
            return None;
        }
        let file = File::open(&place).ok()?;
        let about = file.metadata().ok()?;
        about.is_file().then_some(Served {
            file,
            bytes: about.len(),
            kind: kind(&place),
        })
    }
}

/// The media type that a browser needs to take a file for what it is.
fn kind(path: &Path) -> &'static str {
    match path
        .extension()
        .and_then(|e| e.to_str())
        .unwrap_or_default()
    {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "webmanifest" => "application/manifest+json",
        "wasm" => "application/wasm",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        _ => "application/octet-stream",
    }
}
