//! holdfast operates Sigstore trust in clusters that cannot reach Fulcio, Rekor or the public TUF root.
fn main() {}
