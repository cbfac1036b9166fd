use super::*;
use crate::registry::client::{Listing, Referrers};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn digest(n: usize) -> Digest {
    Digest::of(&n.to_be_bytes())
}

fn page(referrers: impl IntoIterator<Item = usize>) -> Reply {
    let listed: Vec<_> = referrers
        .into_iter()
        .map(|n| serde_json::json!({"mediaType": OCI, "digest": digest(n), "size": 1, "artifactType": "odd"}))
        .collect();
    Reply::manifest(INDEX, serde_json::json!({"schemaVersion": 2, "manifests": listed}).to_string().as_bytes())
}

async fn listed(reply: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Result<Referrers, RegistryError> {
    Fake::new(reply).client().referrers("apps/web", Digest::of(b"image")).await
}

async fn listing(reply: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Listing {
    match listed(reply).await {
        Ok(Referrers::Listed(listing)) => listing,
        other => panic!("{other:?}"),
    }
}

/// What the address of a request says behind `n=`.
fn at(asked: &Asked) -> usize {
    asked.path.rsplit_once("n=").map_or(0, |(_, n)| n.parse().unwrap())
}

#[tokio::test]
async fn all_pages_are_read_and_no_filter_is_asked_for() {
    let fake = Fake::new(|asked| match at(asked) {
        0 => page([1, 2]).with("Link", format!("<{}?n=1>; rel=\"next\"", asked.path)),
        1 => page([2, 3]).with("Link", "<?n=2>; rel=next"),
        _ => page([4]).with("Link", "</v2/>; rel=prev"),
    });
    let listing = fake.client().referrers("apps/web", Digest::of(b"image")).await;
    let want = Listing { referrers: (1..5).map(digest).collect(), truncated: None };
    assert_eq!(listing, Ok(Referrers::Listed(want)));
    let paths: Vec<String> = fake.asked().into_iter().map(|asked| asked.path).collect();
    let first = format!("/v2/apps/web/referrers/{}", Digest::of(b"image"));
    assert_eq!(paths, [first.clone(), format!("{first}?n=1"), format!("{first}?n=2")]);
    assert_eq!(fake.asked()[0].headers["accept"], INDEX);
}

#[tokio::test]
async fn none_is_told_from_no_listing() {
    assert_eq!(listing(|_| page([])).await, Listing::default());
    assert_eq!(listing(|_| Reply::manifest(INDEX, b"{\"manifests\": null}")).await, Listing::default());
    assert_eq!(listed(|_| Reply::new(404, b"")).await, Ok(Referrers::Unsupported));
    for (reply, words) in [
        (Reply::manifest(INDEX, b"{}"), "manifests"),
        (Reply::manifest(INDEX, b""), "empty"),
        (Reply::manifest(INDEX, b"{\"manifests\": [{\"digest\": \"sha256:"), "too early"),
        (Reply::manifest(INDEX, b"{\"manifests\": [], \"manifests\": []}"), "twice"),
        (Reply::manifest(INDEX, b"{\"manifests\": [{}]}"), "digest"),
        (Reply::manifest(OCI, b"{\"manifests\": []}"), "no list of referrers"),
        (Reply::manifest("application/json", b"{\"manifests\": []}"), "no list of referrers"),
        (Reply::new(200, b"<html>"), "no list of referrers"),
        (page([]).with("Link", "next"), "Link"),
    ] {
        let error = listed(move |_| reply.clone()).await.unwrap_err();
        assert!(matches!(&error, RegistryError::Malformed { .. }) && error.to_string().contains(words), "{error}");
    }
    for (status, refused) in [(400, true), (405, true), (406, true), (500, false), (501, false), (503, false)] {
        let error = listed(move |_| Reply::new(status, b"")).await.unwrap_err();
        assert_eq!(matches!(error, RegistryError::Refused { .. }), refused, "{status}");
        assert_eq!(matches!(error, RegistryError::Unavailable { .. }), !refused, "{status}");
    }
    assert!(matches!(listed(|_| Reply::new(403, b"")).await, Err(RegistryError::Unauthorized { .. })));
    assert!(matches!(listed(|_| Reply::new(429, b"")).await, Err(RegistryError::TooManyRequests { .. })));
    let elsewhere = listed(|_| Reply::new(303, b"").with("Location", "https://elsewhere.example/x")).await;
    assert!(matches!(elsewhere, Err(RegistryError::Redirected { .. })));
}

#[tokio::test]
async fn a_listing_that_is_cut_off_says_so() {
    let filtered = |asked: &Asked| match at(asked) {
        0 => page([1]).with("OCI-Filters-Applied", "artifactType").with("Link", "<?n=1>; rel=next"),
        _ => page([2]),
    };
    let odd = |_: &Asked| Reply::manifest(INDEX, b"{\"manifests\": [{\"digest\": \"sha512:00\"}]}");
    for (listing, count, words) in [
        (listing(filtered).await, 2, "filtered"),
        (listing(odd).await, 0, "only SHA-256"),
        (
            listing(|asked| page([at(asked)]).with("Link", format!("<?n={}>; rel=next", at(asked) + 1))).await,
            32,
            "32 pages",
        ),
        (
            listing(|asked| page([at(asked)]).with("Link", format!("<?n={}>; rel=next", 1 - at(asked)))).await,
            2,
            "no end",
        ),
        (listing(|_| page([1]).with("Link", "<#again>; rel=next")).await, 1, "no end"),
        (listing(|_| page(0..1025)).await, 1024, "more than 1024"),
        (listing(|_| page(0..1024).with("Link", "<?n=1>; rel=next")).await, 1024, "more than 1024"),
    ] {
        let why = listing.truncated.unwrap();
        assert!(listing.referrers.len() == count && why.contains(words), "{} {why}", listing.referrers.len());
    }
    assert_eq!(listing(|_| page(0..1024)).await.truncated, None);
}

#[tokio::test]
async fn the_next_page_is_of_the_same_listing() {
    let other = Fake::new(unwanted);
    let host = other.host.clone();
    let image = Digest::of(b"image");
    for next in [
        format!("http://{host}/v2/apps/web/referrers/{image}?n=1"),
        format!("//{host}/v2/apps/web/referrers/{image}?n=1"),
        "https://169.254.169.254/latest".to_owned(),
        format!("/v2/apps/db/referrers/{image}?n=1"),
        format!("/v2/apps/web/referrers/{}?n=1", Digest::of(b"other")),
        format!("/v2/apps/web/referrers/{image}/../../../../x?n=1"),
        "/v2/_catalog".to_owned(),
        "/v2/apps/web/manifests/latest".to_owned(),
    ] {
        let link = format!("<{next}>; rel=next");
        let error = listed(move |_| page([1]).with("Link", link.clone())).await.unwrap_err();
        assert!(matches!(error, RegistryError::Redirected { .. }), "{next}: {error}");
    }
    assert_eq!(other.asked(), []);
    let same = |asked: &Asked| match at(asked) {
        0 => page([1]).with("Link", format!("<http://{}{}?n=1>; rel=next", asked.headers["host"], asked.path)),
        _ => page([2]),
    };
    assert_eq!(listing(same).await.referrers.len(), 2);
    let with_secret = |asked: &Asked| {
        let next = format!("<http://user:hush@{}{}?n=1>; rel=next", asked.headers["host"], asked.path);
        page([1]).with("Link", next)
    };
    let error = listed(with_secret).await.unwrap_err();
    assert!(!error.to_string().contains("hush"), "{error}");
}

#[tokio::test]
async fn a_page_that_breaks_off_or_is_lost_is_no_end() {
    let after = |second: Reply| {
        move |asked: &Asked| match at(asked) {
            0 => page([1]).with("Link", "<?n=1>; rel=next"),
            _ => second.clone(),
        }
    };
    let lost = listed(after(Reply::new(404, b""))).await.unwrap_err();
    assert!(matches!(&lost, RegistryError::Malformed { .. }) && lost.to_string().contains("breaks off"), "{lost}");
    let broken = Reply { body: Body::CutOff(100, b"{".to_vec()), ..page([]) };
    assert!(matches!(listed(after(broken)).await, Err(RegistryError::Unavailable { .. })));
    for body in [Body::Endless, Body::Whole(vec![b' '; (4 << 20) + 1])] {
        let large = Reply { body, ..page([]) };
        assert!(matches!(listed(move |_| large.clone()).await, Err(RegistryError::TooLarge { .. })));
    }
}

#[tokio::test]
async fn a_token_service_that_is_not_there_says_nothing_of_the_listing() {
    let fake = Fake::new(|asked| {
        if asked.path.starts_with("/token") {
            return Reply::new(404, b"");
        }
        let realm = format!("Bearer realm=\"http://{}/token\"", asked.headers["host"]);
        Reply::new(401, b"").with("WWW-Authenticate", realm)
    });
    let error = fake.client().referrers("apps/web", Digest::of(b"image")).await.unwrap_err();
    assert!(matches!(&error, RegistryError::Unavailable { .. }) && error.to_string().contains("token"), "{error}");
}

#[tokio::test]
async fn whoever_else_asks_does_so_with_their_own_credentials() {
    let fake = Fake::new(|asked| match asked.authorization() {
        Some(_) => page([1]),
        None => Reply::new(401, b"").with("WWW-Authenticate", "Basic"),
    });
    let declared = Client::new(Settings { credentials: Some(credentials()), ..fake.settings() }).unwrap();
    let other = declared.asked_by(Credentials::new("pod".to_owned(), "own".to_owned()).unwrap());
    for client in [&declared, &other, &declared] {
        assert!(client.referrers("apps/web", Digest::of(b"image")).await.is_ok());
    }
    let asked: Vec<_> = fake.asked().iter().map(|asked| asked.authorization().map(str::to_owned)).collect();
    let (one, two) = (Some("Basic cm9ib3Q6aHVzaA==".to_owned()), Some("Basic cG9kOm93bg==".to_owned()));
    assert_eq!(asked, [None, one.clone(), None, two, one]);
}
