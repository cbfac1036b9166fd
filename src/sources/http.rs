//! A TUF repository behind an address.

use std::time::Duration;

use holdfast_core::trust::tuf::{Want, quote};
use reqwest::{StatusCode, Url, redirect};
use tokio::runtime::{Builder, Runtime};

use super::{Half, Source, SourceError};

const CONNECT: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(20);
const WHOLE: Duration = Duration::from_secs(120);

/// A mirror over `http(s)`. Nothing but the given addresses is dialled: redirects are not followed, proxies of the environment are not used.
pub struct Http {
    client: reqwest::Client,
    runtime: Runtime,
    metadata: Url,
    targets: Url,
}

impl Http {
    /// Prepares to read from `metadata`, and targets from `targets` (else from `targets/` below the metadata). With `ca_bundle` (PEM), only those
    /// authorities vouch for the server.
    ///
    /// # Errors
    /// [`SourceError::Unacceptable`] for an address or CA bundle that cannot be used.
    pub fn new(metadata: &str, targets: Option<&str>, ca_bundle: Option<&[u8]>) -> Result<Self, SourceError> {
        let metadata = base(metadata)?;
        let targets = match targets {
            Some(targets) => base(targets)?,
            None => metadata.join("targets/").map_err(|e| unacceptable(metadata.as_str(), &e.to_string()))?,
        };
        // The first caller wins and installs the same provider; losing that race is success.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT)
            .read_timeout(IDLE)
            .timeout(WHOLE)
            .user_agent(concat!("holdfast/", env!("CARGO_PKG_VERSION")));
        if let Some(pem) = ca_bundle {
            let certificates = reqwest::Certificate::from_pem_bundle(pem)
                .map_err(|e| unacceptable("the CA bundle", &format!("it is not PEM certificates: {e}")))?;
            builder = builder.tls_certs_only(certificates);
        }
        let client = builder.build().map_err(|e| unacceptable(metadata.as_str(), &chain(&e)))?;
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| SourceError::Unavailable { what: metadata.to_string(), detail: e.to_string() })?;
        Ok(Self { client, runtime, metadata, targets })
    }

    async fn get(&self, url: Url, want: &Want) -> Result<Option<Vec<u8>>, SourceError> {
        let what = url.to_string();
        let unavailable = |e: reqwest::Error| SourceError::Unavailable { what: what.clone(), detail: chain(&e) };
        let mut response = self.client.get(url).send().await.map_err(unavailable)?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(None),
            // Object stores answer so for what is not there. A root that is withheld cannot be told from one that does not exist in any case: what
            // tells is the expiry of the last one.
            StatusCode::FORBIDDEN if want.optional => return Ok(None),
            status if status.is_redirection() => {
                return Err(unacceptable(
                    &what,
                    &format!("the server answers {status}; redirects are not followed, give the final address"),
                ));
            }
            status => return Err(SourceError::Unavailable { what, detail: format!("the server answers {status}") }),
        }
        let too_large = || unacceptable(&what, &format!("it has more than the {} bytes that are read of it", want.max));
        if response.content_length().is_some_and(|length| length > want.max) {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(unavailable)? {
            if u64::try_from(bytes.len() + piece.len()).map_or(true, |length| length > want.max) {
                return Err(too_large());
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(Some(bytes))
    }
}

impl Source for Http {
    fn fetch(&self, half: Half, want: &Want) -> Result<Option<Vec<u8>>, SourceError> {
        let base = match half {
            Half::Metadata => &self.metadata,
            Half::Targets => &self.targets,
        };
        // No name can change the host, the query or the level: role names come encoded, target names are encoded here.
        let path = match half {
            Half::Metadata => want.name.clone(),
            Half::Targets => want.name.split('/').map(quote).collect::<Vec<_>>().join("/"),
        };
        let url = base.join(&format!("./{path}")).map_err(|e| unacceptable(base.as_str(), &e.to_string()))?;
        if !url.as_str().starts_with(base.as_str()) {
            return Err(unacceptable(url.as_str(), "its name leads out of the repository"));
        }
        self.runtime.block_on(self.get(url, want))
    }
}

fn base(address: &str) -> Result<Url, SourceError> {
    let with_slash = if address.ends_with('/') { address.to_owned() } else { format!("{address}/") };
    let url = Url::parse(&with_slash).map_err(|e| unacceptable(address, &format!("it is not an address: {e}")))?;
    if !matches!(url.scheme(), "http" | "https") || url.query().is_some() || url.fragment().is_some() {
        return Err(unacceptable(address, "an address starts with http:// or https:// and has no query"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(unacceptable(
            "the address",
            "credentials do not belong into an address, where they would be printed and logged",
        ));
    }
    Ok(url)
}

fn unacceptable(what: &str, detail: &str) -> SourceError {
    SourceError::Unacceptable { what: what.to_owned(), detail: detail.to_owned() }
}

/// An error with its causes: the outermost alone says little more than "error sending request".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
