//! A TUF repository behind an address.

use std::cell::Cell;
use std::pin::pin;
use std::time::{Duration, Instant};

use holdfast_core::trust::tuf::{Want, quote};
use reqwest::{StatusCode, Url};
use tokio::runtime::{Builder, Runtime};

use super::{Half, Source, SourceError};
use crate::dial::{self, DialError};
use holdfast_core::address::{as_address, is_link_local};

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

/// How often the one who watches is told.
const TICK: Duration = Duration::from_millis(500);

/// A file on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading<'a> {
    /// Its name.
    pub file: &'a str,
    /// The bytes that are here.
    pub read: u64,
    /// All of them, where the server says so.
    pub of: Option<u64>,
}

type Watch = Box<dyn Fn(Option<&Reading<'_>>) + Send>;

/// A mirror over `http(s)`. Nothing but the given addresses is dialled: redirects are not followed, proxies of the environment are not used.
pub struct Http {
    client: reqwest::Client,
    runtime: Runtime,
    metadata: Url,
    targets: Url,
    patience: Patience,
    until: Instant,
    watch: Watch,
}

impl Http {
    /// Prepares to read from `metadata`, and targets from `targets` (else from `targets/` below the metadata). With `ca_bundle` (PEM), only those
    /// authorities vouch for the server.
    ///
    /// # Errors
    /// [`SourceError::Unusable`] for an address or CA bundle that cannot be used.
    pub fn new(
        metadata: &str,
        targets: Option<&str>,
        ca_bundle: Option<&[u8]>,
        patience: Patience,
    ) -> Result<Self, SourceError> {
        let metadata = base(metadata)?;
        let targets = match targets {
            Some(targets) => base(targets)?,
            None => metadata.join("targets/").map_err(|e| unusable(metadata.as_str(), &e.to_string()))?,
        };
        let client = dial::client(patience.connect, patience.idle, ca_bundle, |builder| builder);
        let client = client.map_err(|error| match error {
            DialError::CaBundle => unusable("the CA bundle", &error.to_string()),
            DialError::Client(error) => unusable(metadata.as_str(), &explain(&error)),
        })?;
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| unusable(metadata.as_str(), &e.to_string()))?;
        let until = Instant::now() + patience.total;
        Ok(Self { client, runtime, metadata, targets, patience, until, watch: Box::new(|_| ()) })
    }

    /// The same mirror, with someone who is told twice a second how the file being read comes along, and `None` when it has come.
    #[must_use]
    pub fn watched(mut self, watch: impl Fn(Option<&Reading<'_>>) + Send + 'static) -> Self {
        self.watch = Box::new(watch);
        self
    }

    /// Reads a file, and tells the one who watches.
    async fn watch(&self, url: Url, want: &Want) -> Result<Option<Vec<u8>>, SourceError> {
        let sizes = Cell::new((0, None));
        let mut reading = pin!(self.get(url, want, &sizes));
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                read = &mut reading => {
                    (self.watch)(None);
                    return read;
                }
                _ = tick.tick() => {
                    let (read, of) = sizes.get();
                    (self.watch)(Some(&Reading { file: &want.name, read, of }));
                }
            }
        }
    }

    async fn get(
        &self,
        url: Url,
        want: &Want,
        sizes: &Cell<(u64, Option<u64>)>,
    ) -> Result<Option<Vec<u8>>, SourceError> {
        let what = url.to_string();
        let unavailable = |e: reqwest::Error| SourceError::Unavailable { what: what.clone(), detail: explain(&e) };
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
        let length = response.content_length();
        if length.is_some_and(|length| length > want.max) {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(unavailable)? {
            let read = u64::try_from(bytes.len() + piece.len()).unwrap_or(u64::MAX);
            if read > want.max {
                return Err(too_large());
            }
            bytes.extend_from_slice(&piece);
            sizes.set((read, length));
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
        self.runtime.block_on(self.watch(url, want))
    }
}

fn base(address: &str) -> Result<Url, SourceError> {
    let with_slash = if address.ends_with('/') { address.to_owned() } else { format!("{address}/") };
    let url = Url::parse(&with_slash).map_err(|e| unusable("the address", &format!("it is none: {e}")))?;
    // First of all: whatever else is wrong, the address may not be printed.
    if !url.username().is_empty() || url.password().is_some() {
        return Err(unusable(
            "the address",
            "credentials do not belong into an address, where they would be printed and logged",
        ));
    }
    if !matches!(url.scheme(), "http" | "https") || url.query().is_some() || url.fragment().is_some() {
        return Err(unusable(address, "an address starts with http:// or https:// and has neither query nor fragment"));
    }
    if url.host_str().and_then(as_address).is_some_and(is_link_local) {
        return Err(unusable(
            url.as_str(),
            "it only means something on the node's own link, where no mirror is and a cloud may serve credentials",
        ));
    }
    Ok(url)
}

fn unacceptable(what: &str, detail: &str) -> SourceError {
    SourceError::Unacceptable { what: what.to_owned(), detail: detail.to_owned() }
}

fn unusable(what: &str, detail: &str) -> SourceError {
    SourceError::Unusable { what: what.to_owned(), detail: detail.to_owned() }
}

/// What became of a request, and what to do: the layers of the client that met it mean nothing to a person.
fn explain(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    match innermost.to_string() {
        _ if error.is_timeout() => {
            "the server took too long: check the network and the mirror, and try again".to_owned()
        }
        cause if cause.contains("certificate") => {
            format!(
                "no secure connection ({cause}): give the authority that vouches for the server as its CA bundle (`--ca-bundle`; in a mirror, `caBundleRef`)"
            )
        }
        cause if error.is_connect() => {
            format!("no connection ({cause}): check the address, the network and the mirror")
        }
        cause if error.is_body() || error.is_decode() => {
            format!("the answer broke off ({cause}): try again, or bring a copy in a directory")
        }
        cause => format!("the answer is not one of a web server ({cause}): check the address"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

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
            let seen = Arc::new(AtomicUsize::new(0));
            let watch = seen.clone();
            let source = Http::new(&dripping(pause), None, None, HASTE).unwrap().watched(move |reading| {
                assert!(reading.is_none_or(|reading| reading.file == "timestamp.json"));
                watch.fetch_add(1, Ordering::Relaxed);
            });
            let want = Want { name: "timestamp.json".to_owned(), max: 1000, optional: false };
            let start = Instant::now();
            for _ in 0..3 {
                let error = source.fetch(Half::Metadata, &want).unwrap_err();
                assert!(matches!(error, SourceError::Unavailable { .. }));
                assert!(error.to_string().contains(" took "), "{error}");
            }
            assert!(seen.load(Ordering::Relaxed) > 1, "who waits is told what for");
            assert!(start.elapsed() < Duration::from_secs(4), "all files together have an end: {:?}", start.elapsed());
        }
    }
}
