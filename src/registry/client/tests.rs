mod auth;
mod referrers;

use std::time::Duration;

use super::fake::{Asked, Body, Fake, Reply};
use super::*;

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const BLOB: &[u8] = b"a blob";

fn credentials() -> Credentials {
    Credentials::new("robot".to_owned(), "hush".to_owned()).unwrap()
}

async fn tag(client: &Client) -> Result<Manifest, RegistryError> {
    client.manifest("trust/root", Reference::Tag("current"), 1000).await
}

async fn blob(client: &Client) -> Result<Vec<u8>, RegistryError> {
    client.blob("trust/root", Digest::of(BLOB), 1000).await
}

fn unwanted(_: &Asked) -> Reply {
    Reply::new(200, BLOB)
}

#[tokio::test]
async fn a_manifest_comes_with_its_digest_and_kind() {
    let digest = Digest::of(b"{}");
    let fake = Fake::new(move |_| {
        Reply::manifest(&format!("{OCI}; charset=utf-8"), b"{}").with("Docker-Content-Digest", digest.to_string())
    });
    let client = fake.client();
    let want = Manifest { bytes: b"{}".to_vec(), digest, media_type: OCI.to_owned() };
    assert_eq!(tag(&client).await, Ok(want.clone()));
    assert_eq!(client.manifest("trust/root", Reference::Digest(digest), 2).await, Ok(want));
    let asked = fake.asked();
    assert_eq!(asked[0].path, "/v2/trust/root/manifests/current");
    assert_eq!(asked[1].path, format!("/v2/trust/root/manifests/{digest}"));
    assert!(asked[0].headers["accept"].contains(OCI) && asked[0].headers["user-agent"].starts_with("holdfast/"));
    assert_eq!(asked[0].authorization(), None);
}

#[tokio::test]
async fn bytes_of_another_digest_are_not_seen() {
    let other = Digest::of(b"other");
    let fake = Fake::new(move |asked| match asked.path.as_str() {
        "/v2/trust/root/manifests/current" => {
            Reply::manifest(OCI, b"{}").with("Docker-Content-Digest", other.to_string())
        }
        "/v2/trust/root/manifests/odd" => Reply::manifest(OCI, b"{}").with("Docker-Content-Digest", "sha512:00"),
        _ => Reply::manifest(OCI, b"{}"),
    });
    let client = fake.client();
    let stated = tag(&client).await.unwrap_err();
    assert!(matches!(&stated, RegistryError::DigestMismatch { stated: "stated by the registry", .. }), "{stated}");
    let odd = client.manifest("trust/root", Reference::Tag("odd"), 1000).await;
    assert!(matches!(odd, Err(RegistryError::Malformed { .. })));
    let asked = client.manifest("trust/root", Reference::Digest(other), 1000).await.unwrap_err();
    assert!(
        matches!(&asked, RegistryError::DigestMismatch { wanted, stated: "asked for", .. } if *wanted == other),
        "{asked}"
    );
    assert!(matches!(blob(&client).await, Err(RegistryError::DigestMismatch { .. })));
}

#[tokio::test]
async fn what_is_no_manifest_is_refused() {
    for (reply, words) in [
        (Reply::new(200, b"{}"), "no manifest"),
        (Reply::manifest("text/html", b"<html>"), "`text/html`"),
        (Reply::manifest("application/json", b"{}"), "no manifest"),
        (Reply::manifest(OCI, b"{}").with("Content-Encoding", "gzip"), "`gzip`"),
    ] {
        let error = tag(&Fake::new(move |_| reply.clone()).client()).await.unwrap_err();
        assert!(matches!(&error, RegistryError::Malformed { .. }) && error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn no_answer_is_longer_than_its_bound() {
    for body in [Body::Whole(vec![b' '; 1001]), Body::Endless, Body::CutOff(1 << 40, b"{}".to_vec())] {
        let reply = Reply { body, ..Reply::manifest(OCI, b"") };
        let client = Fake::new(move |_| reply.clone()).client();
        assert!(matches!(tag(&client).await, Err(RegistryError::TooLarge { max: 1000, .. })));
        assert!(matches!(blob(&client).await, Err(RegistryError::TooLarge { max: 1000, .. })));
    }
}

#[tokio::test]
async fn a_registry_that_stalls_drips_or_breaks_off_is_given_up() {
    for (body, words) in [
        (Body::Drip(Duration::from_secs(5)), "took too long"),
        (Body::Drip(Duration::from_millis(100)), "took too long"),
        (Body::CutOff(100, b"{}".to_vec()), "broke off"),
    ] {
        let reply = Reply { body, ..Reply::manifest(OCI, b"") };
        let client = Fake::new(move |_| reply.clone()).client();
        let start = Instant::now();
        let error = tag(&client).await.unwrap_err();
        assert!(matches!(&error, RegistryError::Unavailable { .. }) && error.to_string().contains(words), "{error}");
        assert!(start.elapsed() < Duration::from_secs(4));
    }
}

#[tokio::test]
async fn headers_have_an_end_too() {
    for headers in [vec![("X-A", "a".repeat(1 << 20))], vec![("X-A", "a".to_owned()); 1000]] {
        let reply = Reply { headers, ..Reply::new(200, BLOB) };
        let error = blob(&Fake::new(move |_| reply.clone()).client()).await.unwrap_err();
        assert!(matches!(error, RegistryError::Unavailable { .. }), "{error}");
    }
}

#[tokio::test]
async fn every_status_has_its_name() {
    let of = |reply: Reply| async move { blob(&Fake::new(move |_| reply.clone()).client()).await.unwrap_err() };
    assert!(matches!(of(Reply::new(404, b"")).await, RegistryError::NotFound { .. }));
    assert!(matches!(of(Reply::new(403, b"")).await, RegistryError::Unauthorized { .. }));
    assert!(matches!(of(Reply::new(500, b"")).await, RegistryError::Unavailable { .. }));
    assert!(matches!(of(Reply::new(503, b"")).await, RegistryError::Unavailable { .. }));
    assert!(matches!(of(Reply::new(206, BLOB)).await, RegistryError::Unavailable { .. }));
    assert!(matches!(of(Reply::new(408, b"")).await, RegistryError::Unavailable { .. }));
    assert!(matches!(of(Reply::new(400, b"")).await, RegistryError::Refused { .. }));
    assert!(matches!(of(Reply::new(451, b"")).await, RegistryError::Refused { .. }));
    assert!(matches!(of(Reply::new(304, b"")).await, RegistryError::Redirected { .. }));
    for (status, header, want) in [(429, Some("17"), Some(17)), (503, Some("17"), Some(17)), (429, None, None)] {
        let reply = header.map_or_else(|| Reply::new(status, b""), |s| Reply::new(status, b"").with("Retry-After", s));
        let error = of(reply).await;
        assert!(matches!(&error, RegistryError::TooManyRequests { retry_after, .. } if *retry_after == want));
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    drop(listener);
    let gone = Client::new(Settings { host, plain_http: true, ..Settings::default() }).unwrap();
    assert!(matches!(blob(&gone).await, Err(RegistryError::Unavailable { .. })));
}

#[tokio::test]
async fn a_blob_may_come_from_declared_storage_without_credentials() {
    let storage = Fake::new(unwanted);
    let to = format!("http://{}/bucket/x?signature=hush", storage.host);
    let registry = Fake::new(move |asked| match asked.authorization() {
        Some(_) => Reply::new(307, b"").with("Location", to.clone()),
        None => Reply::new(401, b"").with("WWW-Authenticate", "Basic"),
    });
    let settings = |hosts: Vec<String>| Settings {
        credentials: Some(credentials()),
        redirect_hosts: hosts,
        ..registry.settings()
    };
    let error = blob(&Client::new(settings(Vec::new())).unwrap()).await.unwrap_err();
    assert!(matches!(&error, RegistryError::Redirected { .. }) && !error.to_string().contains("hush"), "{error}");
    assert_eq!(storage.asked(), []);
    let client = Client::new(settings(vec![storage.host.clone()])).unwrap();
    assert_eq!(blob(&client).await.unwrap(), BLOB);
    let asked = storage.asked();
    assert_eq!((asked.len(), asked[0].path.as_str()), (1, "/bucket/x?signature=hush"));
    assert_eq!(asked[0].authorization(), None);
    assert!(!asked[0].headers.contains_key("referer") && !asked[0].headers.contains_key("cookie"));
    let manifest = tag(&client).await.unwrap_err();
    assert!(matches!(&manifest, RegistryError::Redirected { .. }), "manifests come from the registry: {manifest}");
    assert_eq!(storage.asked().len(), 1);
}

#[tokio::test]
async fn storage_may_be_declared_by_name() {
    let storage = Fake::new(unwanted);
    let host = storage.host.replace("127.0.0.1", "localhost");
    let to = format!("http://{host}/x");
    let registry = Fake::new(move |_| Reply::new(307, b"").with("Location", to.clone()));
    let settings = Settings { redirect_hosts: vec![host], ..registry.settings() };
    assert_eq!(blob(&Client::new(settings).unwrap()).await.unwrap(), BLOB);
}

#[tokio::test]
async fn storage_that_asks_for_credentials_gets_none() {
    let storage = Fake::new(|_| Reply::new(401, b"").with("WWW-Authenticate", "Basic"));
    let to = format!("http://{}/x", storage.host);
    let registry = Fake::new(move |_| Reply::new(307, b"").with("Location", to.clone()));
    let settings = Settings {
        credentials: Some(credentials()),
        redirect_hosts: vec![storage.host.clone()],
        ..registry.settings()
    };
    let error = blob(&Client::new(settings).unwrap()).await.unwrap_err();
    assert!(matches!(error, RegistryError::Unauthorized { .. }));
    assert_eq!(storage.asked().len(), 1);
    assert_eq!(storage.asked()[0].authorization(), None);
}

#[tokio::test]
async fn redirects_end() {
    let circle =
        Fake::new(|asked| Reply::new(302, b"").with("Location", format!("http://{}/again", asked.headers["host"])));
    let own = blob(&circle.client()).await.unwrap_err();
    assert!(matches!(&own, RegistryError::Redirected { .. }), "{own}");
    assert_eq!(circle.asked().len(), 1, "the registry itself is not followed either unless it is declared");
    let declared = Settings { redirect_hosts: vec![circle.host.clone()], ..circle.settings() };
    let error = blob(&Client::new(declared).unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("after 3"), "{error}");
    assert_eq!(circle.asked().len(), 1 + 1 + MAX_REDIRECTS);
}

#[tokio::test]
async fn addresses_of_the_node_are_not_followed() {
    let own = Fake::new(unwanted);
    let port = own.host.rsplit(':').next().unwrap().to_owned();
    let hosts = ["169.254.169.254", "[::ffff:169.254.169.254]", "[::1]", "127.0.0.1", "[::ffff:127.0.0.1]", "0.0.0.0"];
    for host in hosts {
        let to = format!("http://{host}:{port}/latest/meta-data/");
        let registry = Fake::new(move |_| Reply::new(307, b"").with("Location", to.clone()));
        let settings = Settings { redirect_hosts: vec!["s3.corp.internal".to_owned()], ..registry.settings() };
        let error = blob(&Client::new(settings).unwrap()).await.unwrap_err().to_string();
        assert!(error.contains("never followed"), "{host}: {error}");
    }
    assert_eq!(own.asked(), []);
}

#[tokio::test]
async fn only_the_given_authorities_vouch_for_a_registry() {
    let (fake, ca) = Fake::with_tls(unwanted);
    let (_, other_ca) = Fake::with_tls(unwanted);
    let settings = |ca_bundle| Settings { plain_http: false, ca_bundle, ..fake.settings() };
    assert_eq!(blob(&Client::new(settings(Some(ca.clone()))).unwrap()).await.unwrap(), BLOB);
    let both = [other_ca.as_slice(), &ca].concat();
    assert_eq!(blob(&Client::new(settings(Some(both))).unwrap()).await.unwrap(), BLOB);
    let reached = fake.asked().len();
    for ca_bundle in [Some(other_ca), None] {
        let error = blob(&Client::new(settings(ca_bundle)).unwrap()).await.unwrap_err();
        assert!(matches!(&error, RegistryError::Unavailable { .. }), "{error}");
        assert!(error.to_string().contains("as its CA bundle"), "{error}");
    }
    // TLS is not left out where a server would do without, nor the other way round.
    let plain = Fake::new(unwanted);
    assert!(blob(&Client::new(Settings { plain_http: false, ..plain.settings() }).unwrap()).await.is_err());
    assert!(blob(&fake.client()).await.is_err());
    assert_eq!((fake.asked().len(), plain.asked().len()), (reached, 0));
}

#[tokio::test]
async fn storage_without_tls_is_not_followed_from_a_registry_with_it() {
    let storage = Fake::new(unwanted);
    let to = format!("http://{}/x", storage.host);
    let (registry, ca) = Fake::with_tls(move |_| Reply::new(307, b"").with("Location", to.clone()));
    let settings = Settings {
        plain_http: false,
        ca_bundle: Some(ca),
        redirect_hosts: vec![storage.host.clone()],
        ..registry.settings()
    };
    let error = blob(&Client::new(settings).unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("not https"), "{error}");
    assert_eq!(storage.asked(), []);
}

#[tokio::test]
async fn only_names_that_are_names_are_asked_for() {
    let fake = Fake::new(unwanted);
    let client = fake.client();
    for (repository, tag) in [
        ("../a", "x"),
        ("a/../b", "x"),
        ("/a", "x"),
        ("a//b", "x"),
        ("", "x"),
        ("a?b", "x"),
        ("a#b", "x"),
        ("a%2e", "x"),
        ("a", ""),
        ("a", ".."),
        ("a", "x/y"),
        ("a", "x?y"),
        ("a@b", "x"),
        ("a\\b", "x"),
    ] {
        let error = client.manifest(repository, Reference::Tag(tag), 10).await;
        assert!(matches!(error, Err(RegistryError::Malformed { .. })), "{repository} {tag}");
    }
    assert_eq!(fake.asked(), []);
}

#[test]
fn settings_that_cannot_be_meant_are_refused() {
    let good = || Settings { host: "registry.corp.internal:5000".to_owned(), ..Settings::default() };
    assert_eq!(Client::new(good()).unwrap().host(), "registry.corp.internal:5000");
    let token = |url: &str| Settings { token_url: Some(url.to_owned()), ..good() };
    let host = |host: &str| Settings { host: host.to_owned(), ..good() };
    for settings in [
        host(""),
        host("https://a"),
        host("a/b"),
        host("user:secret@a"),
        host("2130706433"),
        token("a"),
        token("ftp://a"),
        token("https://user:secret@a/"),
        token("https://a/?b"),
        token("https://a/#b"),
        Settings { ca_bundle: Some(b"none".to_vec()), ..good() },
        Settings { redirect_hosts: vec!["https://a".to_owned()], ..good() },
    ] {
        let error = Client::new(settings).unwrap_err();
        assert!(matches!(error, RegistryError::Settings { .. }), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
