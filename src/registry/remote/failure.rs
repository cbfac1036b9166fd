//! Why an image could not be looked for, and what that leaves to say of it: never that it is not signed.

use std::time::Duration;

use holdfast_core::Digest;
use holdfast_core::verify::Reason;

use super::breaker::Refusal;
use super::gate::Failure;
use crate::registry::client::RegistryError;

/// Why an image could not be looked for in a registry. Whatever it was, the image is *unknown*.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookFailure {
    /// The registry does not have the image itself, so what it says of evidence for it is not believed.
    #[error(
        "{host} does not have {repository}@{digest}, so it cannot say what is stored for it: what runs came from elsewhere, or was removed since, or the registry hides it from who asks; check `registries` and the pull secret"
    )]
    NotHere {
        /// The registry.
        host: String,
        /// The repository.
        repository: String,
        /// The image.
        digest: Digest,
    },
    /// The image itself was not had.
    #[error("{0}")]
    Image(RegistryError),
    /// What is stored for it could not be listed.
    #[error("{0}")]
    Listing(RegistryError),
    /// There is more evidence than is looked at beside that of other images: it has to be looked at by itself.
    #[error("more evidence is stored for the image than is looked at beside that of others")]
    Heavy,
    /// It was not asked, since it failed too often in a row.
    #[error("{host} was not asked: it failed several times in a row, and is asked again in {} seconds; see that it answers", .again_in.as_secs())]
    Open {
        /// The registry.
        host: String,
        /// When it is asked again.
        again_in: Duration,
    },
    /// It was not asked, since it asked for a pause.
    #[error("{host} was not asked: it wants a pause, for {} seconds more; let it take more requests, or lower `maxInFlight`", .again_in.as_secs())]
    Paused {
        /// The registry.
        host: String,
        /// When it may be asked again.
        again_in: Duration,
    },
}

impl LookFailure {
    pub(super) fn of_image(failure: Failure, host: &str, repository: &str, digest: Digest) -> Self {
        match failure {
            Failure::Registry(RegistryError::NotFound { .. }) => {
                Self::NotHere { host: host.to_owned(), repository: repository.to_owned(), digest }
            }
            Failure::Registry(error) => Self::Image(error),
            Failure::Refused(refusal) => Self::refused(refusal, host),
        }
    }

    pub(super) fn of_listing(failure: Failure, host: &str) -> Self {
        match failure {
            Failure::Registry(error) => Self::Listing(error),
            Failure::Refused(refusal) => Self::refused(refusal, host),
        }
    }

    fn refused(refusal: Refusal, host: &str) -> Self {
        let host = host.to_owned();
        match refusal {
            Refusal::Open(again_in) => Self::Open { host, again_in },
            Refusal::Paused(again_in) => Self::Paused { host, again_in },
        }
    }

    /// What is said of the image; always one of the reasons that leave it unknown.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Image(RegistryError::Unauthorized { .. } | RegistryError::TokenRealm { .. })
            | Self::Listing(RegistryError::Unauthorized { .. } | RegistryError::TokenRealm { .. }) => {
                Reason::Unauthorized
            }
            Self::Listing(
                RegistryError::TooLarge { .. } | RegistryError::DigestMismatch { .. } | RegistryError::Malformed { .. },
            ) => Reason::ListingTruncated,
            // Other bytes than were asked for say something of the registry and nothing of what runs, which the node checked when it pulled it.
            _ => Reason::RegistryUnavailable,
        }
    }

    /// When it is worth asking again, where that is known.
    pub fn again_in(&self) -> Option<Duration> {
        match self {
            Self::Open { again_in, .. } | Self::Paused { again_in, .. } => Some(*again_in),
            Self::Image(RegistryError::TooManyRequests { retry_after, .. })
            | Self::Listing(RegistryError::TooManyRequests { retry_after, .. }) => retry_after.map(Duration::from_secs),
            _ => None,
        }
    }
}

/// What it leaves to say where one piece that is listed was not had.
pub(super) fn of_piece(failure: Failure, host: &str) -> (Reason, String) {
    if let Failure::Registry(RegistryError::NotFound { what }) = &failure {
        return (Reason::ReferrersLost, format!("{what} is listed as stored for the image, and is not there"));
    }
    let failure = LookFailure::of_listing(failure, host);
    (failure.reason(), failure.to_string())
}
