//! The binary; everything is in the library.

use std::process::ExitCode;

/// Readings and rows are many small allocations that begin on one thread and end on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tocsin::command::main()
}
