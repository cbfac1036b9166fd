//! What a registry answers, read up to a bound.

use holdfast_core::Digest;
use holdfast_core::digest::Hasher;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, DATE, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Response, StatusCode};

use super::Reference;
use super::error::{RegistryError, explain, shorten, shown};

/// The manifests that are asked for.
pub(super) const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, \
application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.v2+json, \
application/vnd.docker.distribution.manifest.list.v2+json";
const CONTENT_DIGEST: &str = "docker-content-digest";
/// Seconds that a pause is taken to last at most.
const MAX_PAUSE: u64 = 24 * 3600;

/// A manifest as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Their digest.
    pub digest: Digest,
    /// What it is, by the answer's header: one of the four kinds that are asked for.
    pub media_type: String,
}

impl Manifest {
    pub(super) async fn take(
        response: Response,
        what: &str,
        reference: Reference<'_>,
        max: u64,
    ) -> Result<Self, RegistryError> {
        expect_ok(&response, what)?;
        let malformed = |detail: String| RegistryError::Malformed { what: what.to_owned(), detail };
        let media_type = media_type(response.headers());
        if !MANIFESTS.split(", ").any(|known| known == media_type) {
            return Err(malformed(format!(
                "it comes as `{}`, which is no manifest that is read: is this a registry?",
                shorten(&media_type)
            )));
        }
        let stated =
            match response.headers().get(CONTENT_DIGEST) {
                Some(value) => {
                    Some(value.to_str().ok().and_then(|value| value.parse::<Digest>().ok()).ok_or_else(|| {
                        malformed("the registry states a digest for it that is no SHA-256".to_owned())
                    })?)
                }
                None => None,
            };
        let (bytes, got) = body(response, what, max).await?;
        let asked = match reference {
            Reference::Digest(digest) => Some(digest),
            Reference::Tag(_) => None,
        };
        for (wanted, stated) in [(asked, "asked for"), (stated, "stated by the registry")] {
            if let Some(wanted) = wanted.filter(|wanted| *wanted != got) {
                return Err(RegistryError::DigestMismatch { what: what.to_owned(), wanted, got, stated });
            }
        }
        Ok(Self { bytes, digest: got, media_type })
    }
}

/// What an answer says it is, without parameters.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let value = text(headers, CONTENT_TYPE.as_str()).and_then(|value| value.split(';').next());
    value.unwrap_or_default().trim().to_ascii_lowercase()
}

/// Takes nothing but 200 for an answer.
pub(super) fn expect_ok(response: &Response, what: &str) -> Result<(), RegistryError> {
    let what = what.to_owned();
    let retry_after = retry_after(response.headers());
    match response.status() {
        StatusCode::OK => Ok(()),
        StatusCode::NOT_FOUND | StatusCode::GONE => Err(RegistryError::NotFound { what }),
        status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
            let detail = format!("the server answers {status}: check the pull secret and what its user may read");
            Err(RegistryError::Unauthorized { what, detail })
        }
        StatusCode::TOO_MANY_REQUESTS => Err(RegistryError::TooManyRequests { what, retry_after }),
        StatusCode::SERVICE_UNAVAILABLE if retry_after.is_some() => {
            Err(RegistryError::TooManyRequests { what, retry_after })
        }
        status if status.is_redirection() => Err(RegistryError::Redirected {
            what,
            to: pointed(response),
            detail: format!("by {status}, and only blobs may come from elsewhere: give the registry's final host"),
        }),
        status if status.is_client_error() && status != StatusCode::REQUEST_TIMEOUT => {
            Err(RegistryError::Refused { what, status })
        }
        status => Err(RegistryError::Unavailable { what, detail: format!("the server answers {status}") }),
    }
}

/// Where an answer points to, as it may be printed.
fn pointed(response: &Response) -> String {
    text(response.headers(), LOCATION.as_str())
        .and_then(|location| response.url().join(location).ok())
        .map_or_else(|| "another place".to_owned(), |url| shown(&url))
}

/// The bytes of an answer and their digest. Where there are more than `max`, no more are read.
pub(super) async fn body(mut response: Response, what: &str, max: u64) -> Result<(Vec<u8>, Digest), RegistryError> {
    let too_large = || RegistryError::TooLarge { what: what.to_owned(), max };
    if let Some(encoding) = text(response.headers(), CONTENT_ENCODING.as_str()).filter(|e| *e != "identity") {
        let detail = format!("it comes encoded as `{}`, which was not asked for", shorten(encoding));
        return Err(RegistryError::Malformed { what: what.to_owned(), detail });
    }
    if response.content_length().is_some_and(|length| length > max) {
        return Err(too_large());
    }
    let unavailable = |e: reqwest::Error| RegistryError::Unavailable { what: what.to_owned(), detail: explain(&e) };
    let (mut bytes, mut hasher) = (Vec::new(), Hasher::default());
    while let Some(piece) = response.chunk().await.map_err(unavailable)? {
        if u64::try_from(bytes.len() + piece.len()).map_or(true, |len| len > max) {
            return Err(too_large());
        }
        hasher.update(&piece);
        bytes.extend_from_slice(&piece);
    }
    Ok((bytes, hasher.finish()))
}

/// How many seconds to wait; a date counts from the date of the answer, so that no clock of ours has a say.
fn retry_after(headers: &HeaderMap) -> Option<u64> {
    let value = text(headers, RETRY_AFTER.as_str())?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(seconds.min(MAX_PAUSE));
    }
    let date = |text: &str| jiff::fmt::rfc2822::parse(text).ok().map(|date| date.timestamp());
    let (until, from) = (date(value)?, date(text(headers, DATE.as_str())?)?);
    let seconds = u64::try_from(until.as_second().saturating_sub(from.as_second())).unwrap_or(0);
    Some(seconds.min(MAX_PAUSE))
}

/// A header that is short text.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().filter(|value| value.len() <= 256)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause(retry: &str, date: Option<&str>) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, retry.parse().unwrap());
        if let Some(date) = date {
            headers.insert(DATE, date.parse().unwrap());
        }
        retry_after(&headers)
    }

    #[test]
    fn a_pause_is_in_seconds_however_it_is_written() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(pause("120", None), Some(120));
        assert_eq!(pause("Sun, 06 Nov 1994 08:50:37 GMT", Some(date)), Some(60));
        assert_eq!(pause("Sun, 06 Nov 1994 08:48:37 GMT", Some(date)), Some(0));
        assert_eq!(pause("Sun, 06 Nov 1994 08:50:37 GMT", None), None);
        assert_eq!(pause("99999999999", None), Some(MAX_PAUSE));
        for odd in ["-1", "soon", "99999999999999999999999999", ""] {
            assert_eq!(pause(odd, Some(date)), None, "{odd}");
        }
    }
}
