//! PEM texts.

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// PEM with exactly one newline at the end: policy-controller drops a whole trust root for a blank line more.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut lines = String::new();
    for (at, character) in text.chars().enumerate() {
        if at > 0 && at % 64 == 0 {
            lines.push('\n');
        }
        lines.push(character);
    }
    format!("-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n")
}
