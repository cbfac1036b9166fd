//! Reading from one registry (OCI distribution specification, "Pulling").
//!
//! What is dialled is declared: the registry's host, its token service, the hosts it may point to for blobs. Credentials go to the first two alone. Every
//! answer has a bound, and what comes is checked against its digest before anybody sees it.

mod answer;
mod challenge;
mod credentials;
mod error;
#[cfg(test)]
pub(crate) mod fake;
mod link;
mod redirect;
mod referrers;
mod settings;
mod token;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use holdfast_core::Digest;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use reqwest::{ClientBuilder, Response, StatusCode, Url};

use self::challenge::Challenge;
use self::error::{explain, shown};
use self::redirect::{FarOnly, Redirects, host_url};
use self::token::{Token, Tokens};

use crate::dial::{self, DialError};

pub use self::answer::Manifest;
pub use self::credentials::Credentials;
pub use self::error::RegistryError;
pub use self::referrers::{Listing, Referrers};
pub use self::settings::{Patience, Settings};

/// How many challenges are read out of these headers: a door for the fuzzer, which no build but its own has.
///
/// # Errors
/// What is wrong with them.
#[cfg(fuzzing)]
pub fn count_challenges(values: &[&[u8]]) -> Result<usize, String> {
    let mut headers = reqwest::header::HeaderMap::new();
    for value in values {
        let value = HeaderValue::from_bytes(value).map_err(|e| e.to_string())?;
        headers.append(reqwest::header::WWW_AUTHENTICATE, value);
    }
    challenge::challenges(&headers).map(|found| found.len())
}

/// How often a registry may point elsewhere for one blob.
const MAX_REDIRECTS: usize = 3;

/// What stands for a manifest in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reference<'a> {
    /// A name that may come to stand for another manifest.
    Tag(&'a str),
    /// The manifest's own digest.
    Digest(Digest),
}

impl fmt::Display for Reference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag),
            Self::Digest(digest) => write!(f, "{digest}"),
        }
    }
}

/// A registry that is read from.
pub struct Client {
    settings: Settings,
    base: Url,
    token_url: Option<Url>,
    redirects: Redirects,
    /// For the registry and its token service.
    here: reqwest::Client,
    /// For what the registry points to: without credentials, and not to the node itself.
    elsewhere: reqwest::Client,
    tokens: Tokens,
    /// Whether the registry asked for a name and a password, which then come with every request.
    wants_basic: AtomicBool,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("host", &self.settings.host).finish_non_exhaustive()
    }
}

/// One thing that is read, until when it is waited for.
struct Reading<'a> {
    what: String,
    repository: &'a str,
    accept: Option<&'static str>,
    until: Instant,
}

impl Client {
    /// Prepares to read from a registry; nothing is dialled.
    ///
    /// # Errors
    /// [`RegistryError::Settings`].
    pub fn new(settings: Settings) -> Result<Self, RegistryError> {
        let wrong = |what: &'static str, detail: String| RegistryError::Settings { what, detail };
        let scheme = if settings.plain_http { "http" } else { "https" };
        let base = host_url(scheme, &settings.host).map_err(|detail| wrong("the registry", detail))?;
        let token_url =
            settings.token_url.as_deref().map(token_url).transpose().map_err(|detail| wrong("`tokenUrl`", detail))?;
        let redirects = Redirects::new(&settings.redirect_hosts, settings.plain_http)?;
        let client = |more: fn(ClientBuilder) -> ClientBuilder| {
            let patience = &settings.patience;
            dial::client(patience.connect, patience.idle, settings.ca_bundle.as_deref(), more).map_err(|error| {
                match error {
                    DialError::CaBundle => wrong("the CA bundle", error.to_string()),
                    DialError::Client(error) => wrong("the registry", explain(&error)),
                }
            })
        };
        let (here, elsewhere) =
            (client(|builder| builder)?, client(|builder| builder.dns_resolver(Arc::new(FarOnly)))?);
        let (tokens, wants_basic) = (Tokens::default(), AtomicBool::new(false));
        Ok(Self { settings, base, token_url, redirects, here, elsewhere, tokens, wants_basic })
    }

    /// The same registry, asked by somebody else: what one was given is not used for the other.
    #[must_use]
    pub fn asked_by(&self, credentials: Credentials) -> Self {
        Self {
            settings: Settings { credentials: Some(credentials), ..self.settings.clone() },
            base: self.base.clone(),
            token_url: self.token_url.clone(),
            redirects: self.redirects.clone(),
            here: self.here.clone(),
            elsewhere: self.elsewhere.clone(),
            tokens: Tokens::default(),
            wants_basic: AtomicBool::new(false),
        }
    }

    /// Whether a repository can be asked for at all.
    ///
    /// # Errors
    /// [`RegistryError::Malformed`], where it is no name of one.
    pub fn check(&self, repository: &str) -> Result<(), RegistryError> {
        self.url(repository, "manifests", "latest").map(drop)
    }

    /// The registry's host, as it was declared.
    pub fn host(&self) -> &str {
        &self.settings.host
    }

    /// A manifest of at most `max` bytes. Its digest is that of the bytes; where it was asked for by digest, or the registry states one, it is that one.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn manifest(
        &self,
        repository: &str,
        reference: Reference<'_>,
        max: u64,
    ) -> Result<Manifest, RegistryError> {
        let url = self.url(repository, "manifests", &reference.to_string())?;
        let reading = self.reading(&url, repository, Some(answer::MANIFESTS));
        let response = self.ask(&url, &reading).await?;
        Manifest::take(response, &reading.what, reference, max).await
    }

    /// A blob of at most `max` bytes, with this digest.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn blob(&self, repository: &str, digest: Digest, max: u64) -> Result<Vec<u8>, RegistryError> {
        let mut url = self.url(repository, "blobs", &digest.to_string())?;
        let reading = self.reading(&url, repository, None);
        let mut response = self.ask(&url, &reading).await?;
        for _ in 0..MAX_REDIRECTS {
            if !response.status().is_redirection() {
                break;
            }
            url = self.redirects.judge(&reading.what, &url, response.headers())?;
            response = send(&self.elsewhere, &url, None, &reading).await?;
        }
        if response.status().is_redirection() {
            let detail = format!("and this is the redirect after {MAX_REDIRECTS} that were followed");
            return Err(RegistryError::Redirected { what: reading.what, to: "yet another place".to_owned(), detail });
        }
        answer::expect_ok(&response, &reading.what)?;
        let (bytes, got) = answer::body(response, &reading.what, max).await?;
        if got != digest {
            let (what, wanted, stated) = (reading.what, digest, "asked for");
            return Err(RegistryError::DigestMismatch { what, wanted, got, stated });
        }
        Ok(bytes)
    }

    fn reading<'a>(&self, url: &Url, repository: &'a str, accept: Option<&'static str>) -> Reading<'a> {
        let until = Instant::now() + self.settings.patience.total;
        Reading { what: shown(url), repository, accept, until }
    }

    fn url(&self, repository: &str, kind: &str, reference: &str) -> Result<Url, RegistryError> {
        let good = |text: &str, more: &str| {
            text.len() <= 512 && text.bytes().all(|b| b.is_ascii_alphanumeric() || more.as_bytes().contains(&b))
        };
        let plain = good(repository, "/._-") && repository.split('/').all(|part| !matches!(part, "" | "." | ".."));
        let path = format!("v2/{repository}/{kind}/{reference}");
        if !plain || !good(reference, "._-:") || matches!(reference, "" | "." | "..") {
            let detail = "it is no repository with a tag or digest".to_owned();
            return Err(RegistryError::Malformed { what: error::shorten(&path), detail });
        }
        self.base.join(&path).map_err(|e| RegistryError::Malformed { what: path, detail: e.to_string() })
    }

    /// Asks the registry; where it wants to know who asks, once more with what it wants.
    async fn ask(&self, url: &Url, reading: &Reading<'_>) -> Result<Response, RegistryError> {
        let known = self.known(reading.repository);
        let response = send(&self.here, url, known.as_ref(), reading).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        self.tokens.forget(reading.repository);
        let authorization = self.authorization(&response, reading).await?;
        if known.is_some_and(|known| known == authorization) {
            return Err(unauthorized(
                reading,
                "the registry does not take the credentials it was given: check the pull secret",
            ));
        }
        drop(response);
        let response = send(&self.here, url, Some(&authorization), reading).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            self.tokens.forget(reading.repository);
            let detail = match self.settings.credentials {
                Some(_) => "the registry does not take the credentials it was given: check the pull secret",
                None => "the registry lets nobody in without credentials: give a pull secret",
            };
            return Err(unauthorized(reading, detail));
        }
        Ok(response)
    }

    fn known(&self, repository: &str) -> Option<HeaderValue> {
        if self.wants_basic.load(Ordering::Relaxed) {
            return self.settings.credentials.as_ref().and_then(Credentials::basic);
        }
        self.tokens.get(repository, Instant::now())
    }

    /// What the registry wants to see, by its challenges: a token comes before a password.
    async fn authorization(&self, response: &Response, reading: &Reading<'_>) -> Result<HeaderValue, RegistryError> {
        let malformed = |detail| RegistryError::Malformed { what: reading.what.clone(), detail };
        let challenges = challenge::challenges(response.headers()).map_err(malformed)?;
        let bearer = challenges.iter().find_map(|challenge| match challenge {
            Challenge::Bearer { realm, service } => Some((realm.as_deref(), service.as_deref())),
            _ => None,
        });
        if let Some((realm, service)) = bearer {
            return self.token(realm, service, reading).await;
        }
        let offers_basic = challenges.contains(&Challenge::Basic);
        match self.settings.credentials.as_ref().and_then(Credentials::basic) {
            Some(basic) if offers_basic => {
                self.wants_basic.store(true, Ordering::Relaxed);
                Ok(basic)
            }
            None if offers_basic => {
                Err(unauthorized(reading, "the registry lets nobody in without credentials: give a pull secret"))
            }
            _ => {
                let others: Vec<&str> = challenges
                    .iter()
                    .filter_map(|challenge| match challenge {
                        Challenge::Other(name) => Some(name.as_str()),
                        _ => None,
                    })
                    .collect();
                let others = if others.is_empty() { "nothing that is known".to_owned() } else { others.join(", ") };
                let detail = format!("the registry wants {others}, and Basic and Bearer are what it can be given");
                Err(unauthorized(reading, &detail))
            }
        }
    }

    async fn token(
        &self,
        realm: Option<&str>,
        service: Option<&str>,
        reading: &Reading<'_>,
    ) -> Result<HeaderValue, RegistryError> {
        let what = || reading.what.clone();
        let realm = realm.unwrap_or_default();
        let url = Url::parse(realm).map_err(|_| RegistryError::Malformed {
            what: what(),
            detail: format!("the registry sends for a token to `{}`, which is no address", error::shorten(realm)),
        })?;
        let is_declared = token::is_same_origin(&url, &self.base)
            || self.token_url.as_ref().is_some_and(|declared| token::is_same(&url, declared));
        if !is_declared || !url.username().is_empty() || url.password().is_some() {
            return Err(RegistryError::TokenRealm { what: what(), realm: shown(&url) });
        }
        let url = token::request(&url, service, reading.repository);
        let asked = Reading { what: format!("a token from {}", shown(&url)), accept: None, ..*reading };
        let basic = self.settings.credentials.as_ref().and_then(Credentials::basic);
        let response = send(&self.here, &url, basic.as_ref(), &asked).await?;
        answer::expect_ok(&response, &asked.what).map_err(|error| match error {
            // It is the token service that is not there: nothing is said of what was to be read.
            RegistryError::NotFound { what } => {
                let detail = "the server does not know this address: check what the registry says its token service is";
                RegistryError::Unavailable { what, detail: detail.to_owned() }
            }
            other => other,
        })?;
        let (bytes, _) = answer::body(response, &asked.what, token::MAX_ANSWER).await?;
        let token = Token::read(&bytes)
            .map_err(|detail| RegistryError::Malformed { what: asked.what, detail: detail.to_owned() })?;
        self.tokens.keep(reading.repository, &token, Instant::now());
        Ok(token.value)
    }
}

async fn send(
    client: &reqwest::Client,
    url: &Url,
    authorization: Option<&HeaderValue>,
    reading: &Reading<'_>,
) -> Result<Response, RegistryError> {
    let unavailable = |detail: String| RegistryError::Unavailable { what: reading.what.clone(), detail };
    let left = reading.until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(unavailable("the server took too long: check the network and the registry".to_owned()));
    }
    let mut request = client.get(url.clone()).timeout(left);
    if let Some(accept) = reading.accept {
        request = request.header(ACCEPT, accept);
    }
    if let Some(authorization) = authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    request.send().await.map_err(|e| unavailable(explain(&e)))
}

fn unauthorized(reading: &Reading<'_>, detail: &str) -> RegistryError {
    RegistryError::Unauthorized { what: reading.what.clone(), detail: detail.to_owned() }
}

fn token_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|e| format!("it is no address: {e}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("credentials do not belong into an address, where they would be printed and logged".to_owned());
    }
    if !matches!(url.scheme(), "http" | "https") || url.query().is_some() || url.fragment().is_some() {
        return Err("an address starts with http:// or https:// and has neither query nor fragment".to_owned());
    }
    Ok(url)
}

#[cfg(test)]
mod tests;
