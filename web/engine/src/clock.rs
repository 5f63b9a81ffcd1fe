//! The time, in milliseconds since some moment: the page's, as WebAssembly has none of its own.

#[cfg(target_arch = "wasm32")]
#[allow(unsafe_code)] // what is imported is the page's word for it: a function without arguments
mod page {
    #[link(wasm_import_module = "page")]
    unsafe extern "C" {
        pub safe fn now() -> f64;
    }
}

#[cfg(target_arch = "wasm32")]
pub use page::now;

/// Elsewhere, for tests, the system's.
#[cfg(not(target_arch = "wasm32"))]
pub fn now() -> f64 {
    use std::sync::LazyLock;
    use std::time::Instant;
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_secs_f64() * 1e3
}
