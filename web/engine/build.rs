//! How much memory the module may have: files may unfold to more than they seem to hold, and what they
//! unfold to shall end the engine's thread, not the browser.

const MOST_BYTES: u64 = 2 << 30;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "wasm32") {
        println!("cargo::rustc-link-arg-cdylib=--max-memory={MOST_BYTES}");
    }
}
