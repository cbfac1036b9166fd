//! Objects of which parts are read, each as a type that has no more than those parts: the rest is never allocated.

use kube::Client;
use kube::api::{GetParams, ListParams};
use kube::core::{PartialObjectMeta, Request, request};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::failure::{Failed, within};

/// Objects a page.
const PAGE: u32 = 250;
/// The most objects of one kind that are looked through.
const MAX_OBJECTS: usize = 500_000;

#[derive(Deserialize)]
struct Page<T> {
    #[serde(default)]
    metadata: PageMetadata,
    items: Vec<T>,
}

#[derive(Deserialize, Default)]
struct PageMetadata {
    #[serde(rename = "continue", default)]
    next: Option<String>,
}

/// Every object under a path, a page at a time.
///
/// # Errors
/// [`Failed`], also where there are too many to be looked through.
pub(super) async fn each<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    mut take: impl FnMut(T),
) -> Result<(), Failed> {
    let plural = path.rsplit('/').next().unwrap_or(path);
    let mut page = ListParams::default().limit(PAGE);
    let mut count = 0;
    loop {
        let request = asked("list", plural, Request::new(path).list(&page))?;
        let found: Page<T> = within("list", plural, client.request(request)).await?;
        count += found.items.len();
        found.items.into_iter().for_each(&mut take);
        let Some(next) = found.metadata.next.filter(|next| !next.is_empty()) else { return Ok(()) };
        if count > MAX_OBJECTS {
            return Err(Failed::stuck("list", plural, &format!("there are more than {MAX_OBJECTS}")));
        }
        page = page.continue_token(&next);
    }
}

/// One object by name, where it is there.
///
/// # Errors
/// [`Failed`].
pub(super) async fn one<T: DeserializeOwned>(client: &Client, path: &str, name: &str) -> Result<Option<T>, Failed> {
    let request = asked("read", name, Request::new(path).get(name, &GetParams::default()))?;
    there(within("read", name, client.request(request)).await)
}

/// In which form an object is: another one has another text here.
///
/// # Errors
/// [`Failed`].
pub(super) async fn form(client: &Client, path: &str, name: &str) -> Result<Option<String>, Failed> {
    let request = asked("read", name, Request::new(path).get_metadata(name, &GetParams::default()))?;
    let found: Option<PartialObjectMeta> = there(within("read", name, client.request(request)).await)?;
    Ok(found.map(|found| {
        let of = found.metadata;
        format!("{} {}", of.uid.unwrap_or_default(), of.generation.unwrap_or_default())
    }))
}

/// What is asked for by a path of its own, where it is served.
///
/// # Errors
/// [`Failed`].
pub(super) async fn at<T: DeserializeOwned>(client: &Client, path: &str) -> Result<Option<T>, Failed> {
    let request = http::Request::get(path).body(Vec::new());
    let request = request.map_err(|error| Failed::stuck("read", path, &error))?;
    there(within("read", path, client.request(request)).await)
}

/// What is not there is an answer.
fn there<T>(answer: Result<T, Failed>) -> Result<Option<T>, Failed> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(Failed::Api { error, .. }) if matches!(&*error, kube::Error::Api(status) if status.code == 404) => Ok(None),
        Err(failed) => Err(failed),
    }
}

fn asked(
    what: &'static str,
    name: &str,
    request: Result<http::Request<Vec<u8>>, request::Error>,
) -> Result<http::Request<Vec<u8>>, Failed> {
    request.map_err(|error| Failed::stuck(what, name, &error))
}
