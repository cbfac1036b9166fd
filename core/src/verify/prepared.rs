//! A trust root made ready to verify with.

use std::fmt;

use sigstore_verify::Verifier;

use crate::trust::root::{TrustRoot, Window};

/// A trust root with its parsed keys; made once, used for any number of verdicts, from any number of threads.
pub struct PreparedRoot {
    root: TrustRoot,
    verifier: Verifier,
    stale: Option<String>,
}

/// A trust root that passed reading and still cannot be used for verification.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the trust root `{name}` cannot be used for verification: {detail}")]
pub struct UnusableRoot {
    /// The root's name.
    pub name: String,
    /// What is wrong with it.
    pub detail: String,
}

impl PreparedRoot {
    /// Parses the root's keys and certificates.
    ///
    /// # Errors
    /// [`UnusableRoot`], naming what is wrong; reading the root drops unusable entries first, so this is rare.
    pub fn new(root: TrustRoot) -> Result<Self, UnusableRoot> {
        match root.verifier() {
            Ok(verifier) => Ok(Self { root, verifier, stale: None }),
            Err(detail) => Err(UnusableRoot { name: root.name, detail }),
        }
    }

    /// The same root, known to be past its limit: what it verifies is [`super::Reason::StaleTrustRoot`], never covered.
    #[must_use]
    pub fn stale(mut self, why: impl Into<String>) -> Self {
        self.stale = Some(why.into());
        self
    }

    /// The root.
    pub const fn root(&self) -> &TrustRoot {
        &self.root
    }

    /// Why the root is past its limit, if it is.
    pub fn staleness(&self) -> Option<&str> {
        self.stale.as_deref()
    }

    /// The same root with certificate transparency logs that always count: for telling faults apart, never for passing.
    pub(super) fn without_ct_windows(&self) -> Result<Self, UnusableRoot> {
        let mut root = self.root.clone();
        for log in &mut root.ct_logs {
            log.window = Window::ALWAYS;
        }
        Self::new(root)
    }

    pub(super) const fn verifier(&self) -> &Verifier {
        &self.verifier
    }
}

impl fmt::Debug for PreparedRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedRoot")
            .field("root", &self.root.name)
            .field("stale", &self.stale)
            .finish_non_exhaustive()
    }
}
