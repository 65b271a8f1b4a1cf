//! The program `runsd`; all of it is in the library's room `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    runsd::cli::main()
}
