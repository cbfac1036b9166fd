//! Why a registry did not give what was asked for.

use holdfast_core::Digest;
use reqwest::Url;

/// Why a registry did not give what was asked for. None of them says that something is not there but [`RegistryError::NotFound`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// The settings cannot be used; nothing was dialled.
    #[error("{what}: {detail}")]
    Settings {
        /// Which of them.
        what: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// No answer, or one that says nothing.
    #[error("cannot read {what}: {detail}")]
    Unavailable {
        /// The address.
        what: String,
        /// What happened.
        detail: String,
    },
    /// It answers that it will not, which says nothing of whether it would answer something else: what was asked may be at fault.
    #[error("cannot read {what}: the server answers {status}")]
    Refused {
        /// The address.
        what: String,
        /// The answer's status.
        status: reqwest::StatusCode,
    },
    /// The registry wants to know who asks, or does not let them in.
    #[error("may not read {what}: {detail}")]
    Unauthorized {
        /// The address.
        what: String,
        /// What happened, and what to do.
        detail: String,
    },
    /// The registry says that it does not have it.
    #[error("there is no {what}")]
    NotFound {
        /// The address.
        what: String,
    },
    /// The registry asks for a pause.
    #[error("cannot read {what} now: {}", pause(.retry_after.as_ref()))]
    TooManyRequests {
        /// The address.
        what: String,
        /// Seconds to wait, where the registry says so.
        retry_after: Option<u64>,
    },
    /// The registry points elsewhere, and there nobody goes.
    #[error("{what} was not read: the registry points to {to}, {detail}")]
    Redirected {
        /// The address.
        what: String,
        /// Where to, without query.
        to: String,
        /// Why it is not followed, and what to do.
        detail: String,
    },
    /// Larger than is read.
    #[error("{what} was not read: it has more than the {max} bytes that are read of it")]
    TooLarge {
        /// The address.
        what: String,
        /// The bound.
        max: u64,
    },
    /// The bytes are not those that were asked for or announced.
    #[error("{what} was not read: its digest is {got} where {wanted} is {stated}")]
    DigestMismatch {
        /// The address.
        what: String,
        /// The digest it should have.
        wanted: Digest,
        /// The digest it has.
        got: Digest,
        /// Who says so: asked for, or stated by the registry.
        stated: &'static str,
    },
    /// The answer is not one a registry gives.
    #[error("{what} was not read: {detail}")]
    Malformed {
        /// The address.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The registry sends for a token to an address nobody declared.
    #[error(
        "may not read {what}: the registry wants a token from {realm}, which was not asked, since credentials go to declared addresses alone. If it is the registry's token service, declare it as `tokenUrl`"
    )]
    TokenRealm {
        /// The address.
        what: String,
        /// The realm, without query.
        realm: String,
    },
}

fn pause(retry_after: Option<&u64>) -> String {
    match retry_after {
        Some(seconds) => format!("the registry asks to wait for {seconds} seconds"),
        None => "the registry asks to wait, and does not say how long".to_owned(),
    }
}

/// An address as it may be printed: its query may hold a signature, and its length has an end.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    let _ = url.set_password(None);
    let _ = url.set_username("");
    shorten(url.as_str())
}

/// A text of the other side as it may be printed.
pub(super) fn shorten(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// What became of a request, and what to do: the layers of the client that met it mean nothing to a person.
pub(super) fn explain(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    match shorten(&innermost.to_string()) {
        _ if error.is_timeout() => "the server took too long: check the network and the registry".to_owned(),
        cause if cause.contains("certificate") => {
            format!(
                "no secure connection ({cause}): give the authority that vouches for the registry as its CA bundle (`caBundleRef`)"
            )
        }
        cause if error.is_connect() => format!("no connection ({cause}): check the host, the network and the registry"),
        cause if error.is_body() || error.is_decode() => format!("the answer broke off ({cause})"),
        cause => format!("the answer is not one of a registry ({cause}): check the host"),
    }
}
