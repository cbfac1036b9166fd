//! holdfast operates Sigstore trust in clusters that cannot reach Fulcio, Rekor or the public TUF root.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    holdfast::cli::main()
}
