//! Who asks a registry.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;

/// A user's name and password. Neither is ever printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    username: String,
    password: String,
}

impl Credentials {
    /// Takes a name and a password.
    ///
    /// # Errors
    /// What is wrong with them (RFC 7617, section 2), without repeating them.
    pub fn new(username: String, password: String) -> Result<Self, &'static str> {
        if username.is_empty() || username.contains(':') {
            return Err("the user's name is empty or has a colon, which would end it");
        }
        if [&username, &password].iter().any(|text| text.len() > 8192 || text.chars().any(char::is_control)) {
            return Err("the user's name or the password is longer than 8192 bytes or has a control character");
        }
        Ok(Self { username, password })
    }

    /// The value of the header that says so.
    pub(super) fn basic(&self) -> Option<HeaderValue> {
        sensitive(&format!("Basic {}", STANDARD.encode(format!("{}:{}", self.username, self.password))))
    }

    /// The name, for comparisons in tests.
    #[cfg(test)]
    pub(crate) fn parts(&self) -> (&str, &str) {
        (&self.username, &self.password)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// A header value that no log prints.
pub(super) fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
