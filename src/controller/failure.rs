//! Why a pass, or one step of it, did not come to its end: by who can mend it.

use std::future::Future;
use std::time::Duration;

/// How long one call to the API server is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The API server did not do what was asked.
    #[error("cannot {what} {name}: {}", said(.error))]
    Api {
        /// What was asked.
        what: &'static str,
        /// Of which object.
        name: String,
        /// What it said.
        error: Box<kube::Error>,
    },
    /// The API server did not answer.
    #[error("cannot {what} {name}: the API server did not answer within {} seconds", PATIENCE.as_secs())]
    Silent {
        /// What was asked.
        what: &'static str,
        /// Of which object.
        name: String,
    },
    /// What is to be remembered is too large for one object.
    #[error("{name} would have {size} bytes, and {max} fit into an object of the cluster")]
    TooLarge {
        /// The object.
        name: String,
        /// Bytes there would be.
        size: usize,
        /// Bytes there may be.
        max: usize,
    },
    /// What is to be written cannot be.
    #[error("cannot {what} {name}: {detail}")]
    Stuck {
        /// What was tried.
        what: &'static str,
        /// With which object.
        name: String,
        /// Why not.
        detail: String,
    },
    /// The API server took it, and has something else now.
    #[error(
        "what is written as {kind} `{name}` comes back as something else: a mutating webhook or MutatingAdmissionPolicy changes it; find it and take it out"
    )]
    Altered {
        /// The kind of the object.
        kind: &'static str,
        /// The object.
        name: String,
    },
    /// Leadership ended in mid-pass: nothing more is written.
    #[error("this replica no longer leads")]
    NotLeading,
}

/// What the API server said, without what the client knows besides.
fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{} ({})", status.message, status.code),
        other => other.to_string(),
    }
}

impl Failed {
    /// A step that no second try mends.
    pub(crate) fn stuck(what: &'static str, name: &str, detail: &dyn std::fmt::Display) -> Self {
        Self::Stuck { what, name: name.to_owned(), detail: detail.to_string() }
    }

    /// A word for metrics; a closed set.
    pub(crate) fn category(&self) -> &'static str {
        match self {
            Self::Api { error, .. } => match error.as_ref() {
                kube::Error::Api(status) if status.is_conflict() || status.is_already_exists() => "conflict",
                kube::Error::Api(status) if status.is_forbidden() => "forbidden",
                kube::Error::Api(_) => "refused",
                _ => "unavailable",
            },
            Self::Silent { .. } => "unavailable",
            Self::TooLarge { .. } => "too_large",
            Self::Stuck { .. } => "stuck",
            Self::Altered { .. } => "altered",
            Self::NotLeading => "not_leading",
        }
    }

    /// Whether the API server does not take what was asked, or not as it was asked, whoever asks again: what it said.
    pub(crate) fn not_taken(&self) -> Option<String> {
        let error = match self {
            Self::Api { error, .. } => error,
            Self::Altered { .. } => return Some(self.to_string()),
            _ => return None,
        };
        let kube::Error::Api(status) = error.as_ref() else { return None };
        let for_good = (400..500).contains(&status.code) && !matches!(status.code, 401 | 408 | 409 | 429);
        for_good.then(|| said(error))
    }

    /// Whether the object is not there any more.
    pub(crate) fn is_gone(&self) -> bool {
        let Self::Api { error, .. } = self else { return false };
        matches!(error.as_ref(), kube::Error::Api(status) if status.code == 404)
    }

    /// Whether somebody else wrote the object meanwhile: what was decided no longer holds, and is decided anew at once.
    pub(crate) fn is_conflict(&self) -> bool {
        self.category() == "conflict"
    }
}

/// Awaits a call to the API server, but not for ever.
///
/// # Errors
/// [`Failed`].
pub(crate) async fn within<T>(
    what: &'static str,
    name: &str,
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, Failed> {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(Failed::Api { what, name: name.to_owned(), error: Box::new(error) }),
        Err(_) => Err(Failed::Silent { what, name: name.to_owned() }),
    }
}
