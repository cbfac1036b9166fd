//! What became of a request, in one word.

use std::sync::Arc;

use crate::registry::client::RegistryError;

macro_rules! outcomes {
    ($($(#[$doc:meta])+ $name:ident => $word:literal;)+) => {
        /// What became of a request; a closed set.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Outcome {
            $($(#[$doc])+ $name,)+
        }

        impl Outcome {
            /// Every outcome.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The word in metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }
        }
    };
}

outcomes! {
    /// It gave what was asked for.
    Ok => "ok";
    /// It does not have it.
    NotFound => "not_found";
    /// It does not let in who asked.
    Unauthorized => "unauthorized";
    /// It asked for a pause.
    Throttled => "throttled";
    /// It did not answer, or said nothing.
    Unavailable => "unavailable";
    /// Its answer is not one a registry gives.
    Malformed => "malformed";
    /// Its answer has another digest.
    Mismatch => "mismatch";
    /// Its answer is larger than is read.
    TooLarge => "too_large";
    /// It points elsewhere.
    Redirected => "redirected";
    /// It was not asked, after failures or in a pause.
    Open => "open";
}

impl Outcome {
    pub(super) const fn of(error: &RegistryError) -> Self {
        match error {
            RegistryError::NotFound { .. } => Self::NotFound,
            RegistryError::Unauthorized { .. } | RegistryError::TokenRealm { .. } => Self::Unauthorized,
            RegistryError::TooManyRequests { .. } => Self::Throttled,
            RegistryError::Unavailable { .. } => Self::Unavailable,
            RegistryError::Malformed { .. } | RegistryError::Refused { .. } | RegistryError::Settings { .. } => {
                Self::Malformed
            }
            RegistryError::DigestMismatch { .. } => Self::Mismatch,
            RegistryError::TooLarge { .. } => Self::TooLarge,
            RegistryError::Redirected { .. } => Self::Redirected,
        }
    }
}

/// Who is told of each request: the registry's host, and what became of it.
pub type Observe = Arc<dyn Fn(&str, Outcome) + Send + Sync>;

/// Tells nobody.
pub fn unobserved() -> Observe {
    Arc::new(|_, _| ())
}
