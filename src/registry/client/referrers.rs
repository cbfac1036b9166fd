//! What refers to a manifest (OCI distribution specification, "Listing Referrers"), page by page.
//!
//! No filter is asked for: registries report other artifact types than the manifests have, and what is evidence is told by its layers.

use std::collections::BTreeSet;

use holdfast_core::{Digest, json};
use reqwest::header::HeaderMap;
use reqwest::{Response, Url};
use serde::{Deserialize, Deserializer};

use super::error::{RegistryError, shorten, shown};
use super::token::is_same_origin;
use super::{Client, Reading, answer, link};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const FILTERS_APPLIED: &str = "oci-filters-applied";
const MAX_PAGE: u64 = 4 * 1024 * 1024;
const MAX_PAGES: usize = 32;
/// Four times as many as are judged for one image.
const MAX_REFERRERS: usize = 4 * 256;

/// What a registry says of what refers to a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Referrers {
    /// It says that there is no such listing: it has no referrers API, or does not know the repository or the manifest.
    Unsupported,
    /// It lists them.
    Listed(Listing),
}

/// A listing of what refers to a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// The manifests, in the registry's order, each once.
    pub referrers: Vec<Digest>,
    /// Why there may be more than these.
    pub truncated: Option<String>,
}

#[derive(Deserialize)]
struct Page {
    #[serde(deserialize_with = "some_or_null")]
    manifests: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    digest: String,
}

/// An empty list is `null` where a server in Go never made one; without the field, it is no listing.
fn some_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Listed>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn too_many() -> String {
    format!("more than {MAX_REFERRERS} manifests refer to it, and no more are read")
}

impl Listing {
    /// Reads an index that lists referrers and adds them: a page of a registry's answer, or what stands behind the fallback tag.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn add(&mut self, bytes: &[u8]) -> Result<(), String> {
        let page: Page =
            json::read(bytes, json::Limits { max_len: bytes.len(), max_depth: 32 }).map_err(|e| e.to_string())?;
        let mut known: BTreeSet<Digest> = self.referrers.iter().copied().collect();
        for listed in page.manifests {
            match listed.digest.parse() {
                Ok(digest) if !known.insert(digest) => {}
                Ok(_) if self.referrers.len() >= MAX_REFERRERS => {
                    self.truncate(too_many());
                    break;
                }
                Ok(digest) => self.referrers.push(digest),
                Err(_) => self.truncate(format!(
                    "a manifest that refers to it has the digest `{}`, and only SHA-256 is read",
                    shorten(&listed.digest)
                )),
            }
        }
        Ok(())
    }

    fn truncate(&mut self, why: String) {
        self.truncated.get_or_insert(why);
    }
}

impl Client {
    /// What refers to a manifest.
    ///
    /// # Errors
    /// [`RegistryError`]; where the registry says that it has no such listing, it is no error but [`Referrers::Unsupported`].
    pub async fn referrers(&self, repository: &str, digest: Digest) -> Result<Referrers, RegistryError> {
        let first = self.url(repository, "referrers", &digest.to_string())?;
        let reading = self.reading(&first, repository, Some(INDEX));
        let (mut listing, mut url) = (Listing::default(), first.clone());
        let mut read = BTreeSet::new();
        loop {
            read.insert(url.clone());
            let response = self.ask(&url, &reading).await?;
            match answer::expect_ok(&response, &reading.what) {
                // Of a later page, it is no answer to whether there is a listing.
                Err(RegistryError::NotFound { .. }) if read.len() == 1 => return Ok(Referrers::Unsupported),
                Err(RegistryError::NotFound { what }) => {
                    let detail = "the listing breaks off: the registry does not know its next page".to_owned();
                    return Err(RegistryError::Malformed { what, detail });
                }
                answered => answered?,
            }
            let Some(next) = self.page(response, &first, &url, &reading, &mut listing).await? else { break };
            if listing.referrers.len() >= MAX_REFERRERS {
                listing.truncate(too_many());
                break;
            }
            if read.contains(&next) {
                listing.truncate("the listing has no end: a page is followed by one that was read already".to_owned());
                break;
            }
            if read.len() >= MAX_PAGES {
                listing.truncate(format!("the listing has more than the {MAX_PAGES} pages that are read"));
                break;
            }
            url = next;
        }
        Ok(Referrers::Listed(listing))
    }

    /// Takes one page; where the next one is.
    async fn page(
        &self,
        response: Response,
        first: &Url,
        own: &Url,
        reading: &Reading<'_>,
        listing: &mut Listing,
    ) -> Result<Option<Url>, RegistryError> {
        let malformed = |detail: String| RegistryError::Malformed { what: reading.what.clone(), detail };
        let media_type = answer::media_type(response.headers());
        if media_type != INDEX {
            let detail =
                format!("it comes as `{}`, which is no list of referrers: is this a registry?", shorten(&media_type));
            return Err(malformed(detail));
        }
        if response.headers().contains_key(FILTERS_APPLIED) {
            listing.truncate("the registry filtered the listing, which was not asked for".to_owned());
        }
        let next = next(response.headers(), first, own, &reading.what)?;
        let (bytes, _) = answer::body(response, &reading.what, MAX_PAGE).await?;
        listing.add(&bytes).map_err(malformed)?;
        Ok(next)
    }
}

/// The address of the next page, which is one of the same listing.
fn next(headers: &HeaderMap, first: &Url, own: &Url, what: &str) -> Result<Option<Url>, RegistryError> {
    let malformed = |detail: String| RegistryError::Malformed { what: what.to_owned(), detail };
    let Some(target) = link::next(headers).map_err(malformed)? else { return Ok(None) };
    let mut next = own
        .join(&target)
        .map_err(|_| malformed(format!("its next page is `{}`, which is no address", shorten(&target))))?;
    next.set_fragment(None);
    let path = |url: &Url| url.path().replace("%3A", ":").replace("%3a", ":");
    let is_same = is_same_origin(&next, first) && path(&next) == path(first);
    if !is_same || !next.username().is_empty() || next.password().is_some() {
        return Err(RegistryError::Redirected {
            what: what.to_owned(),
            to: shown(&next),
            detail: "for the next page of a listing, which is not at the same address: check what the registry takes for its own address".to_owned(),
        });
    }
    Ok(Some(next))
}
