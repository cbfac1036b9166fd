//! Tokens, as distribution registries hand them out ("Token Authentication Specification").

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use holdfast_core::json::{self, Limits};
use parking_lot::Mutex;
use reqwest::Url;
use reqwest::header::HeaderValue;
use serde::Deserialize;

use super::credentials::sensitive;

/// Bytes of the answer that brings a token.
pub(super) const MAX_ANSWER: u64 = 64 * 1024;
const MAX_TOKEN: usize = 32 * 1024;
/// Tokens kept at most; those of other repositories are then fetched again.
const MAX_KEPT: usize = 1024;
/// The validity of a token that states none, and of one that states more than anybody should.
const DEFAULT_VALIDITY: Duration = Duration::from_secs(60);
const MAX_VALIDITY: Duration = Duration::from_secs(3600);
/// A token that ends while it is on its way is refused: it is given up this long before.
const MARGIN: Duration = Duration::from_secs(10);

/// A token and how long it may be used.
pub(super) struct Token {
    pub(super) value: HeaderValue,
    pub(super) validity: Duration,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Token {
    /// Reads the answer of a token service. What is wrong is said without repeating what may be a token.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, &'static str> {
        const NONE: &str = "what the token service answers has no token that can be used";
        let limits = Limits { max_len: bytes.len(), max_depth: 8 };
        let answer: Answer = json::read(bytes, limits).map_err(|_| NONE)?;
        let present = |token: &String| !token.is_empty();
        let token = answer.token.filter(present).or(answer.access_token.filter(present)).ok_or(NONE)?;
        if token.len() > MAX_TOKEN || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(NONE);
        }
        let validity = answer.expires_in.map_or(DEFAULT_VALIDITY, Duration::from_secs).min(MAX_VALIDITY);
        Ok(Self { value: sensitive(&format!("Bearer {token}")).ok_or(NONE)?, validity })
    }
}

/// Tokens by repository, until they end.
#[derive(Default)]
pub(super) struct Tokens(Mutex<BTreeMap<String, (HeaderValue, Instant)>>);

impl Tokens {
    pub(super) fn get(&self, repository: &str, now: Instant) -> Option<HeaderValue> {
        let mut tokens = self.0.lock();
        tokens.retain(|_, (_, until)| *until > now);
        tokens.get(repository).map(|(token, _)| token.clone())
    }

    pub(super) fn keep(&self, repository: &str, token: &Token, now: Instant) {
        let Some(validity) = token.validity.checked_sub(MARGIN).filter(|left| !left.is_zero()) else { return };
        let mut tokens = self.0.lock();
        if tokens.len() >= MAX_KEPT {
            tokens.pop_first();
        }
        tokens.insert(repository.to_owned(), (token.value.clone(), now + validity));
    }

    pub(super) fn forget(&self, repository: &str) {
        self.0.lock().remove(repository);
    }
}

/// Where a token for reading one repository is asked for.
///
/// The scope is ours and not the one in the challenge: a registry has no say in what we may do elsewhere.
pub(super) fn request(realm: &Url, service: Option<&str>, repository: &str) -> Url {
    let mut url = realm.clone();
    let mut query = url.query_pairs_mut();
    if let Some(service) = service {
        query.append_pair("service", service);
    }
    query.append_pair("scope", &format!("repository:{repository}:pull"));
    drop(query);
    url
}

/// Whether a realm is the declared token service: the same address, whatever query it has.
pub(super) fn is_same(realm: &Url, declared: &Url) -> bool {
    is_same_origin(realm, declared) && realm.path() == declared.path()
}

/// Whether two addresses are on the same host and port, spoken to alike.
pub(super) fn is_same_origin(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme()
        && one.host_str() == other.host_str()
        && one.port_or_known_default() == other.port_or_known_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_or_there_is_none() {
        let read = |text: &str| Token::read(text.as_bytes());
        let token = read(r#"{"token": "abc", "expires_in": 300, "issued_at": "2026-01-01T00:00:00Z"}"#).unwrap();
        assert_eq!((token.value.to_str().unwrap(), token.validity.as_secs()), ("Bearer abc", 300));
        assert!(format!("{:?}", token.value).contains("Sensitive"));
        assert_eq!(read(r#"{"access_token": "abc"}"#).unwrap().validity.as_secs(), 60);
        assert_eq!(read(r#"{"token": "a", "expires_in": 99999999}"#).unwrap().validity.as_secs(), 3600);
        for text in [
            "",
            "[]",
            "{}",
            r#"{"token": ""}"#,
            r#"{"token": "a\r\nb: c"}"#,
            r#"{"token": "a b"}"#,
            r#"{"token": 1}"#,
            r#"{"token": "hush", "token": "other"}"#,
        ] {
            let error = read(text).err().unwrap();
            assert!(!error.contains("hush"), "{text}");
        }
    }

    #[test]
    fn a_token_is_used_until_shortly_before_it_ends() {
        let (tokens, now) = (Tokens::default(), Instant::now());
        let token = |seconds| Token { value: "t".parse().unwrap(), validity: Duration::from_secs(seconds) };
        tokens.keep("a", &token(60), now);
        tokens.keep("b", &token(5), now);
        assert!(tokens.get("a", now + Duration::from_secs(49)).is_some());
        assert!(tokens.get("b", now).is_none());
        assert!(tokens.get("a", now + Duration::from_secs(50)).is_none());
        for n in 0..2 * MAX_KEPT {
            tokens.keep(&format!("{n}"), &token(60), now);
        }
        assert_eq!(tokens.0.lock().len(), MAX_KEPT);
    }

    #[test]
    fn a_realm_is_the_declared_one_or_it_is_not() {
        let url = |text: &str| Url::parse(text).unwrap();
        let declared = url("https://gitlab.corp.internal/jwt/auth");
        assert!(is_same(&url("https://GitLab.corp.internal:443/jwt/auth?client_id=docker"), &declared));
        for other in [
            "http://gitlab.corp.internal/jwt/auth",
            "https://gitlab.corp.internal:8443/jwt/auth",
            "https://gitlab.corp.internal/jwt/auth/",
            "https://gitlab.corp.internal/",
            "https://gitlab.corp.internal.evil.example/jwt/auth",
        ] {
            assert!(!is_same(&url(other), &declared), "{other}");
        }
        let asked = request(&url("https://a/token?x=1"), Some("a&b"), "team/root");
        assert_eq!(asked.as_str(), "https://a/token?x=1&service=a%26b&scope=repository%3Ateam%2Froot%3Apull");
    }
}
