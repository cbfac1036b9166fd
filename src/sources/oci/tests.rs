use std::collections::BTreeMap;
use std::fmt::Write;

use super::super::archive::tests::{gzip, tar};
use super::super::archive::{Allowance, Files};
use super::*;
use crate::registry::client::fake::{Body, Fake, Reply};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
const TAG: &str = "/v2/trust/root/manifests/current";

/// What a registry holds, by path.
#[derive(Clone, Default)]
struct Held(BTreeMap<String, Reply>);

/// A layer: its bytes, and the name it is pushed under; a directory where that ends in `/`.
type Pushed<'a> = (&'a [u8], Option<&'a str>);

fn descriptor(media_type: &str, bytes: &[u8], title: Option<&str>) -> String {
    let mut text = format!(r#"{{"mediaType":"{media_type}","digest":"{}","size":{}"#, Digest::of(bytes), bytes.len());
    if let Some(title) = title {
        let name = title.trim_end_matches('/');
        let _ = write!(text, r#","annotations":{{"org.opencontainers.image.title":{}"#, serde_json::json!(name));
        if title.ends_with('/') {
            text.push_str(r#","io.deis.oras.content.unpack":"true""#);
        }
        text.push('}');
    }
    text + "}"
}

fn manifest(layers: &[Pushed<'_>]) -> String {
    let layers: Vec<String> = layers.iter().map(|(bytes, title)| descriptor("any/thing", bytes, *title)).collect();
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{},"layers":[{}]}}"#,
        descriptor("application/vnd.oci.empty.v1+json", b"{}", None),
        layers.join(",")
    )
}

fn index(manifests: &[&str]) -> String {
    let listed: Vec<String> = manifests.iter().map(|m| descriptor(MANIFEST, m.as_bytes(), None)).collect();
    format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, listed.join(","))
}

/// An image layout, in an archive.
fn layout(at: &str, index: &str, blobs: &[&[u8]]) -> Vec<u8> {
    let paths: Vec<String> = blobs.iter().map(|b| format!("{at}blobs/sha256/{}", Digest::of(b).hex())).collect();
    let (mark, listing) = (format!("{at}oci-layout"), format!("{at}index.json"));
    let mut files: Vec<(&str, &[u8])> =
        vec![(&mark, b"{\"imageLayoutVersion\":\"1.0.0\"}"), (&listing, index.as_bytes())];
    files.extend(paths.iter().map(String::as_str).zip(blobs.iter().copied()));
    tar(&files)
}

impl Held {
    fn layers(layers: &[Pushed<'_>]) -> Self {
        Self::default().at(TAG, MANIFEST, &manifest(layers)).blobs(layers)
    }

    fn at(mut self, path: &str, media_type: &str, text: &str) -> Self {
        self.0.insert(path.to_owned(), Reply::manifest(media_type, text.as_bytes()));
        self
    }

    fn manifest(self, media_type: &str, text: &str) -> Self {
        self.at(&format!("/v2/trust/root/manifests/{}", Digest::of(text.as_bytes())), media_type, text)
    }

    fn blobs(mut self, blobs: &[Pushed<'_>]) -> Self {
        for (bytes, _) in blobs {
            self.0.insert(format!("/v2/trust/root/blobs/{}", Digest::of(bytes)), Reply::new(200, bytes));
        }
        self
    }

    fn serve(self) -> Fake {
        Fake::new(move |asked| self.0.get(&asked.path).cloned().unwrap_or_else(|| Reply::new(404, b"")))
    }

    async fn fetch(self) -> Result<Fetched, OciError> {
        let fake = self.serve();
        fetch(&fake.client(), &reference(&fake, ":current"), None).await
    }

    async fn files(self) -> Files {
        match self.fetch().await.unwrap() {
            Fetched::New { tree, .. } => tree.files().clone(),
            unchanged @ Fetched::Unchanged { .. } => panic!("{unchanged:?}"),
        }
    }

    async fn error(self) -> String {
        self.fetch().await.unwrap_err().to_string()
    }
}

fn reference(fake: &Fake, end: &str) -> OciReference {
    OciReference::parse(&format!("{}/trust/root{end}", fake.host)).unwrap()
}

#[test]
fn a_reference_has_its_registry_written_out() {
    let whole = OciReference::parse("registry.corp.internal:5000/trust/root:current").unwrap();
    assert_eq!((whole.host(), whole.repository()), ("registry.corp.internal:5000", "trust/root"));
    assert_eq!(whole.reference(), Reference::Tag("current"));
    assert_eq!(OciReference::parse("localhost/root").unwrap().reference(), Reference::Tag("latest"));
    let digest = Digest::of(b"");
    let both = OciReference::parse(&format!("r.corp/root:current@{digest}")).unwrap();
    assert_eq!(both.reference(), Reference::Digest(digest));
    for short in ["root", "root:current", "trust/root", "library/root:1", "", "/root", "trust/root@sha256:00"] {
        let error = OciReference::parse(short).unwrap_err().to_string();
        assert!(error.contains("it has no registry"), "{error}");
    }
    for hub in ["docker.io/trust/root", "index.docker.io/trust/root:1", "registry-1.docker.io/root"] {
        assert!(OciReference::parse(hub).unwrap_err().to_string().contains("a registry of yours"));
    }
    for odd in [
        "r.corp/",
        "r.corp/A",
        "https://r.corp/root",
        "r.corp/root@sha256:00",
        "user:secret@r.corp/root",
        "r.corp/../x",
    ] {
        let error = OciReference::parse(odd).unwrap_err();
        assert!(matches!(error, OciError::Reference { .. }), "{odd}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn only_the_declared_registry_is_asked() {
    let (fake, other) = (Held::default().serve(), Held::default().serve());
    let error = fetch(&fake.client(), &reference(&other, ":current"), None).await.unwrap_err();
    assert!(matches!(error, OciError::OtherRegistry { .. }), "{error}");
    assert_eq!((fake.asked(), other.asked()), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn an_archive_is_the_repository_however_it_is_named() {
    let archive = tar(&[("r/metadata/timestamp.json", b"{}"), ("r/targets/a", b"1")]);
    for bytes in [archive.clone(), gzip(&archive)] {
        for title in [None, Some("repository.zip"), Some("repository/")] {
            let files = Held::layers(&[(&bytes, title)]).files().await;
            assert_eq!(files["r/targets/a"], b"1");
        }
    }
    let docker = manifest(&[(&archive, None)]).replace(MANIFEST, DOCKER);
    let held = Held::default().at(TAG, DOCKER, &docker).blobs(&[(&archive, None)]);
    assert_eq!(held.files().await.len(), 2);
}

#[tokio::test]
async fn layers_of_an_image_are_laid_over_one_another() {
    let (lower, upper) =
        (tar(&[("timestamp.json", b"1"), ("targets/a", b"1")]), gzip(&tar(&[("timestamp.json", b"2")])));
    let files = Held::layers(&[(&lower, None), (&upper, None)]).files().await;
    assert_eq!((files["timestamp.json"].as_slice(), files["targets/a"].as_slice()), (&b"2"[..], &b"1"[..]));

    for gone in ["targets/.wh.a", "targets/.wh..wh..opq", ".wh.targets/a"] {
        let error = Held::layers(&[(&lower, None), (&tar(&[(gone, b"")]), None)]).error().await;
        assert!(error.contains(gone) && error.contains("in one layer"), "{error}");
    }
    let error = Held::layers(&[(&lower, None), (&tar(&[("targets", b"")]), None)]).error().await;
    assert!(error.contains("`targets`"), "{error}");
}

#[tokio::test]
async fn files_may_be_pushed_one_a_layer() {
    let directory = gzip(&tar(&[("targets/x/a", b"1"), ("targets/b.tar.gz", b"2")]));
    let archive = tar(&[("not", b"unpacked")]);
    let pushed: [Pushed<'_>; 3] =
        [(b"{}", Some("./metadata/timestamp.json")), (&directory, Some("targets/")), (&archive, Some("targets/c.tar"))];
    let files = Held::layers(&pushed).files().await;
    assert_eq!(
        files.keys().collect::<Vec<_>>(),
        ["metadata/timestamp.json", "targets/b.tar.gz", "targets/c.tar", "targets/x/a"]
    );
    assert_eq!(files["targets/c.tar"], archive);

    let timestamp: Pushed<'_> = (b"{}", Some("timestamp.json"));
    for (other, words) in [
        ((&b"1"[..], Some("timestamp.json")), "another layer has it"),
        ((&b"1"[..], Some("/etc/passwd")), "absolute"),
        ((&b"1"[..], Some("../a")), "segment"),
        ((&b"1"[..], Some("a\\b")), "backslash"),
        ((&b"1"[..], Some("timestamp.json/a")), "is a file"),
        ((&archive[..], None), "is a file of its own"),
        ((&b"1"[..], Some("targets/")), "tar archive is expected"),
    ] {
        let error = Held::layers(&[timestamp, other]).error().await;
        assert!(error.contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_layout_in_an_archive_is_read_once() {
    let repository = gzip(&tar(&[("timestamp.json", b"{}")]));
    let inner = manifest(&[(&repository, None)]);
    let one = index(&[&inner]);
    let behind = index(&[&one]).replace(MANIFEST, INDEX);
    let blobs: &[&[u8]] = &[&repository, inner.as_bytes(), one.as_bytes()];
    for (at, index) in [("", &one), ("a/layout/", &one), ("", &behind)] {
        let packed = gzip(&layout(at, index, blobs));
        assert_eq!(Held::layers(&[(&packed, None)]).files().await.len(), 1);
    }

    let good = layout("", &one, blobs);
    let nested = manifest(&[(&good, None)]);
    let two = index(&[&inner, &nested]);
    let deep = index(&[&behind]).replace(MANIFEST, INDEX);
    let mut bent: Vec<(String, Vec<u8>)> =
        Allowance::new(Limits::default()).unpack(&good).unwrap().into_iter().collect();
    bent.iter_mut().filter(|(_, bytes)| *bytes == repository).for_each(|(_, bytes)| bytes[15] ^= 1);
    let bent: Vec<(&str, &[u8])> = bent.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())).collect();
    for (packed, words) in [
        (layout("", &index(&[&nested]), &[&good, nested.as_bytes()]), "in an image layout"),
        (layout("", &two, &[]), "lists 2 manifests"),
        (layout("", &index(&[]), &[]), "lists 0 manifests"),
        (layout("", &one, &[inner.as_bytes()]), "listed and not there"),
        (tar(&bent), "another digest"),
        (layout("", &deep, &[behind.as_bytes(), one.as_bytes()]), "index behind an index"),
        (layout("", &inner, &[]), "it says that it is"),
        (tar(&[("oci-layout", b"{}")]), "index.json: it is not there"),
        (tar(&[("oci-layout", b"{}"), ("r/timestamp.json", b"{}")]), "`r/timestamp.json`"),
        (tar(&[("a/oci-layout", b"{}"), ("b/oci-layout", b"{}")]), "`b/oci-layout`"),
    ] {
        let error = Held::layers(&[(&packed, None)]).error().await;
        assert!(error.contains(words), "{words}: {error}");
    }
}

#[tokio::test]
async fn an_index_of_one_manifest_is_followed_once() {
    let archive = tar(&[("timestamp.json", b"{}")]);
    let (one, other) = (manifest(&[(&archive, None)]), manifest(&[(&archive, Some("x"))]));
    let held = |index: &str| Held::default().at(TAG, INDEX, index).manifest(MANIFEST, &one).blobs(&[(&archive, None)]);
    assert_eq!(held(&index(&[&one])).files().await.len(), 1);
    for count in [0, 2, 3] {
        let several = index(&[one.as_str(), &other, &other][..count]);
        assert!(held(&several).error().await.contains(&format!("lists {count} manifests")));
    }
    let inner = index(&[&one]);
    let outer = index(&[&inner]).replace(MANIFEST, INDEX);
    let error = held(&outer).manifest(INDEX, &inner).error().await;
    assert!(error.contains("index behind an index"), "{error}");
    let relabelled = index(&[&inner]);
    let error = held(&relabelled).manifest(INDEX, &inner).error().await;
    assert!(error.contains("says another"), "{error}");
    let larger = index(&[&one]).replace(&format!("\"size\":{}", one.len()), &format!("\"size\":{}", one.len() + 1));
    assert!(held(&larger).error().await.contains("are stated"));
}

#[tokio::test]
async fn a_manifest_has_one_reading() {
    let archive = tar(&[("timestamp.json", b"{}")]);
    let good = manifest(&[(&archive, None)]);
    let layers = |layers: &str| format!(r#"{{"schemaVersion":2,"layers":[{layers}]}}"#);
    let huge = format!(r#"{{"mediaType":"a","digest":"{}","size":18446744073709551615}}"#, Digest::of(b""));
    let many = vec![descriptor("a", b"", None); MAX_LAYERS + 1].join(",");
    for (media_type, text, words) in [
        (INDEX, good.clone(), "it says that it is"),
        (MANIFEST, good.replace(MANIFEST, DOCKER), "it says that it is"),
        (MANIFEST, good.replace("\"layers\"", "\"manifests\":[],\"layers\""), "does not list"),
        (MANIFEST, good.replace("\"layers\"", "\"layers\":[],\"layers\""), "twice"),
        (MANIFEST, good.replace("\"schemaVersion\":2", "\"schemaVersion\":1"), "schemaVersion is 1"),
        (MANIFEST, index(&[]), "does not list"),
        (INDEX, layers(""), "does not list"),
        (MANIFEST, layers(""), "0 layers"),
        (MANIFEST, layers(&many), "257 layers"),
        (MANIFEST, layers(&format!("{huge},{huge}")), "more than the 67108864"),
        (MANIFEST, good.replace("sha256:", "sha512:"), "not a SHA-256 digest"),
        (MANIFEST, good[..40].to_owned(), "ends too early"),
        (MANIFEST, "[]".to_owned(), "an object is expected"),
        (MANIFEST, format!("{good}{}", " ".repeat(4 << 20)), "more than the 4194304"),
        (MANIFEST, "[".repeat(100), "deeper than"),
    ] {
        let error = Held::default().at(TAG, media_type, &text).blobs(&[(&archive, None)]).error().await;
        assert!(error.contains(words), "{words}: {error}");
    }
}

#[tokio::test]
async fn a_layer_is_what_its_descriptor_says_and_an_archive() {
    let archive = gzip(&tar(&[("timestamp.json", b"{}")]));
    let path = format!("/v2/trust/root/blobs/{}", Digest::of(&archive));
    let other = archive.iter().rev().copied().collect::<Vec<u8>>();
    for (reply, words) in [
        (Reply::new(200, &other), "its digest is"),
        (Reply::new(200, &archive[1..]), "its digest is"),
        (Reply::new(200, &[archive.as_slice(), b" "].concat()), "more than"),
        (Reply { body: Body::Endless, ..Reply::new(200, b"") }, "more than"),
        (Reply::new(404, b""), "there is no"),
        (Reply::new(429, b"").with("Retry-After", "9"), "9 seconds"),
    ] {
        let mut held = Held::layers(&[(&archive, None)]);
        held.0.insert(path.clone(), reply);
        let error = held.error().await;
        assert!(error.contains(words), "{words}: {error}");
    }
    let short = manifest(&[(&archive, None)])
        .replace(&format!("\"size\":{}", archive.len()), &format!("\"size\":{}", archive.len() + 1));
    let error = Held::default().at(TAG, MANIFEST, &short).blobs(&[(&archive, None)]).error().await;
    assert!(error.contains("are stated"), "{error}");
    for (bytes, words) in [
        (&archive[..archive.len() - 4], "cut off"),
        (b"\x28\xb5\x2f\xfd\0\0", "zstd"),
        (b"{}", "cannot be unpacked"),
        (&tar(&[("README", b"")])[..], "no TUF repository"),
        (&tar(&[("a/timestamp.json", b""), ("b/timestamp.json", b"")]), "two TUF repositories"),
    ] {
        let error = Held::layers(&[(bytes, None)]).error().await;
        assert!(error.contains(words), "{words}: {error}");
    }
}

#[test]
fn all_layers_share_one_allowance() {
    let packed = gzip(&tar(&[("a", &[0; 4096])]));
    let (named, unnamed) = (Some("a/"), None);
    let layers = |title: Option<&str>| {
        let text = descriptor("any/thing", &packed, title);
        (0..8).map(|_| Layer { descriptor: serde_json::from_str(&text).unwrap(), bytes: packed.clone() }).collect()
    };
    let limits = Limits { unpacked: 30_000, ..Limits::default() };
    let error = assemble::together(layers(unnamed), &mut Allowance::new(limits)).unwrap_err();
    assert!(matches!(error, OciError::Layer { error: ArchiveError::TooLarge { max: 30_000, .. }, .. }), "{error}");
    let few = Limits { entries: 7, ..Limits::default() };
    let error = assemble::together(layers(unnamed), &mut Allowance::new(few)).unwrap_err();
    assert!(error.to_string().contains("more than the 7 files"), "{error}");
    assert!(
        assemble::together(layers(named), &mut Allowance::new(few)).unwrap_err().to_string().contains("another layer")
    );
}

#[tokio::test]
async fn what_is_known_is_not_read_again() {
    let archive = tar(&[("timestamp.json", b"{}")]);
    let fake = Held::layers(&[(&archive, None)]).serve();
    let client = fake.client();
    let tag = reference(&fake, ":current");
    let Fetched::New { digest, .. } = fetch(&client, &tag, Some(Digest::of(b"another"))).await.unwrap() else {
        panic!("it is new")
    };
    assert_eq!(digest, Digest::of(manifest(&[(&archive, None)]).as_bytes()));
    let asked = fake.asked().len();
    assert_eq!(fetch(&client, &tag, Some(digest)).await, Ok(Fetched::Unchanged { digest }));
    assert_eq!(fake.asked().len(), asked + 1, "the manifest alone");
}

#[tokio::test]
async fn a_future_may_be_handed_to_another_thread() {
    fn is_send<T: Send>(_: &T) {}
    let fake = Held::default().serve();
    let (client, reference) = (fake.client(), reference(&fake, ":current"));
    let fetching = fetch(&client, &reference, None);
    is_send(&fetching);
    let error = SourceError::from(fetching.await.unwrap_err());
    assert!(matches!(error, SourceError::Unusable { .. }));
}
