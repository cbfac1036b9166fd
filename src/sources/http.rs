//! A TUF repository behind an address.

use std::time::{Duration, Instant};

use holdfast_core::trust::tuf::{Want, quote};
use reqwest::{StatusCode, Url, redirect};
use tokio::runtime::{Builder, Runtime};

use super::{Half, Source, SourceError};

/// How long a mirror is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Until a connection stands.
    pub connect: Duration,
    /// Between two pieces of an answer.
    pub idle: Duration,
    /// For one file.
    pub file: Duration,
    /// For all files together.
    pub total: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(20),
            file: Duration::from_secs(120),
            total: Duration::from_secs(600),
        }
    }
}

/// A mirror over `http(s)`. Nothing but the given addresses is dialled: redirects are not followed, proxies of the environment are not used.
pub struct Http {
    client: reqwest::Client,
    runtime: Runtime,
    metadata: Url,
    targets: Url,
    patience: Patience,
    until: Instant,
}

impl Http {
    /// Prepares to read from `metadata`, and targets from `targets` (else from `targets/` below the metadata). With `ca_bundle` (PEM), only those
    /// authorities vouch for the server.
    ///
    /// # Errors
    /// [`SourceError::Unacceptable`] for an address or CA bundle that cannot be used.
    pub fn new(
        metadata: &str,
        targets: Option<&str>,
        ca_bundle: Option<&[u8]>,
        patience: Patience,
    ) -> Result<Self, SourceError> {
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
            .connect_timeout(patience.connect)
            .read_timeout(patience.idle)
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
        Ok(Self { client, runtime, metadata, targets, patience, until: Instant::now() + patience.total })
    }

    async fn get(&self, url: Url, want: &Want) -> Result<Option<Vec<u8>>, SourceError> {
        let what = url.to_string();
        let unavailable = |e: reqwest::Error| SourceError::Unavailable { what: what.clone(), detail: chain(&e) };
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let detail =
                format!("the mirror took more than {} seconds for all files together", self.patience.total.as_secs());
            return Err(SourceError::Unavailable { what, detail });
        }
        let mut response =
            self.client.get(url).timeout(left.min(self.patience.file)).send().await.map_err(unavailable)?;
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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    const HASTE: Patience = Patience {
        connect: Duration::from_millis(300),
        idle: Duration::from_millis(300),
        file: Duration::from_millis(600),
        total: Duration::from_millis(900),
    };

    /// A server that drips its answer, a byte at a time, for ever.
    fn dripping(pause: Duration) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming().take(8) {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || {
                    let _ = stream.read(&mut [0; 1024]);
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
                    for _ in 0..100 {
                        std::thread::sleep(pause);
                        if stream.write_all(b" ").is_err() {
                            return;
                        }
                    }
                });
            }
        });
        address
    }

    #[test]
    fn a_mirror_that_stalls_or_drips_is_given_up() {
        for pause in [Duration::from_secs(5), Duration::from_millis(100)] {
            let source = Http::new(&dripping(pause), None, None, HASTE).unwrap();
            let want = Want { name: "timestamp.json".to_owned(), max: 1000, optional: false };
            let start = Instant::now();
            for _ in 0..3 {
                assert!(matches!(source.fetch(Half::Metadata, &want), Err(SourceError::Unavailable { .. })));
            }
            assert!(start.elapsed() < Duration::from_secs(4), "all files together have an end: {:?}", start.elapsed());
        }
    }
}
