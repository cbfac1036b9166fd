//! A Sigstore in one process, for tests and examples.
