//! Parse the command line, run one command, map its error to an exit code: all of it in `cli`.

#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    ilbud::cli::main()
}
