//! The engine as a module that a page in a browser calls.
//!
//! What crosses between them is bytes: the page asks for room, writes there what it gives,
//! calls, and reads the answer where the module says it lies. Networks are numbers to the page.
//! Functions that can fail give a negative number then, and the answer is the reason as text.
//!
//! Invariant: the page alone has a clock, files, pictures and threads; here is no policy but what an
//! answer holds.

mod clock;
mod describe;
mod exports;
pub mod network;
pub mod page;
mod picture;
mod time;
mod twin;
