//! What everything that dials out has in common: nothing is followed, no proxy of the environment is used, and it is said who vouches for whom.

use std::time::Duration;

use reqwest::{Certificate, Client, ClientBuilder, redirect};

/// Why nothing can be dialled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// The CA bundle is none.
    #[error("it has no PEM certificate that can be read")]
    CaBundle,
    /// The client cannot be made.
    #[error(transparent)]
    Client(#[from] reqwest::Error),
}

/// A client for which the authorities of `ca_bundle` (PEM) vouch, or else those of the system. Where the system has none, as in an image with nothing in it
/// but a program, nobody vouches: addresses without TLS can be dialled all the same.
///
/// # Errors
/// [`DialError`].
pub(crate) fn client(
    connect: Duration,
    idle: Duration,
    ca_bundle: Option<&[u8]>,
    more: impl Fn(ClientBuilder) -> ClientBuilder,
) -> Result<Client, DialError> {
    // The first caller wins and installs the same provider; losing that race is success.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let plain = || {
        let builder = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(connect)
            .read_timeout(idle)
            .user_agent(concat!("holdfast/", env!("CARGO_PKG_VERSION")));
        more(builder)
    };
    let Some(pem) = ca_bundle else {
        return Ok(plain().build().or_else(|_| plain().tls_certs_only(Vec::new()).build())?);
    };
    let certificates = Certificate::from_pem_bundle(pem).ok().filter(|certificates| !certificates.is_empty());
    Ok(plain().tls_certs_only(certificates.ok_or(DialError::CaBundle)?).build()?)
}
