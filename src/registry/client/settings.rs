//! What is declared of a registry.

use std::time::Duration;

use super::credentials::Credentials;

/// How long a registry is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Until a connection stands.
    pub connect: Duration,
    /// Between two pieces of an answer.
    pub idle: Duration,
    /// For one manifest, blob or listing, with the token and the redirects it takes.
    pub total: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), idle: Duration::from_secs(20), total: Duration::from_secs(120) }
    }
}

/// What is declared of one registry. Nothing but the addresses in it is ever dialled.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Its host, with a port where it is not the usual one.
    pub host: String,
    /// Whether it is spoken to without TLS.
    pub plain_http: bool,
    /// Who vouches for it, its token service and its storage, in PEM: only they do. Else the authorities of the system.
    pub ca_bundle: Option<Vec<u8>>,
    /// Who asks; nobody in particular where there are none.
    pub credentials: Option<Credentials>,
    /// Its token service, where that is on another host.
    pub token_url: Option<String>,
    /// The hosts it may point to for blobs.
    pub redirect_hosts: Vec<String>,
    /// How long it is waited for.
    pub patience: Patience,
}
