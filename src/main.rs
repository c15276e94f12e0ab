//! Parse the command line, run one command, map its error to an exit code: all of it in `cli`.

use mimalloc::MiMalloc;

/// Who allocates all memory: chosen in the program, so that the library leaves it to whoever uses it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> std::process::ExitCode {
    ilbud::cli::main()
}
