//! Parse the command line, run one command, map its error to an exit code: all of it in `cli`.

fn main() -> std::process::ExitCode {
    ilbud::cli::main()
}
