//! A registry that fails or lies leaves an image unknown, and never unsigned.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::*;
use crate::registry::client::fake::Body;

/// What goes wrong with one answer, and what is then said of a piece and of a listing.
fn faults() -> Vec<(&'static str, Reply, Reason, Reason)> {
    let (unavailable, truncated) = (Reason::RegistryUnavailable, Reason::ListingTruncated);
    let manifest = || Reply::manifest(staged::MANIFEST, b"");
    let of = |body: Body| Reply { body, ..Reply::manifest(staged::INDEX, b"") };
    vec![
        ("a hang", of(Body::Drip(Duration::from_secs(5))), unavailable, unavailable),
        ("an answer that breaks off", of(Body::CutOff(1000, b"{\"manifests\"".to_vec())), unavailable, unavailable),
        ("500", Reply::new(500, b"oops"), unavailable, unavailable),
        ("502", Reply::new(502, b""), unavailable, unavailable),
        ("503", Reply::new(503, b"").with("Retry-After", "1"), unavailable, unavailable),
        ("429", Reply::new(429, b"").with("Retry-After", "1"), unavailable, unavailable),
        ("401", Reply::new(401, b"").with("WWW-Authenticate", "Basic"), Reason::Unauthorized, Reason::Unauthorized),
        (
            "a token of another host",
            Reply::new(401, b"").with("WWW-Authenticate", "Bearer realm=\"https://auth.example/token\""),
            Reason::Unauthorized,
            Reason::Unauthorized,
        ),
        ("403", Reply::new(403, b""), Reason::Unauthorized, Reason::Unauthorized),
        ("a redirect", Reply::new(307, b"").with("Location", "https://elsewhere.example/x"), unavailable, unavailable),
        ("JSON that ends too early", of(Body::Whole(b"{\"manifests\": [{\"dig".to_vec())), truncated, truncated),
        ("other bytes", of(Body::Whole(b"{}".to_vec())), truncated, truncated),
        ("no end", of(Body::Endless), truncated, truncated),
        ("a length beyond all bounds", of(Body::CutOff(1 << 40, b"{}".to_vec())), truncated, truncated),
        ("a web page", Reply::new(200, b"<html>").with("Content-Type", "text/html"), truncated, truncated),
        ("nothing", Reply { body: Body::Whole(Vec::new()), ..manifest() }, truncated, truncated),
    ]
}

/// An image with evidence everywhere, served with one answer exchanged.
fn staged() -> (Staged, Digest) {
    let mut staged = Staged::new(true);
    let bundle = staged.bundle(&[b"a bundle"]);
    staged.signatures(&[b"a signature"]);
    (staged, bundle)
}

async fn look(staged: &Staged, kept: &Blobs, stage: Stage, part: &str, reply: Reply) -> Result<Looked, LookFailure> {
    let part = part.to_owned();
    let fake = staged.serve_but(move |asked| asked.path.ends_with(&part).then(|| reply.clone()));
    let found = remote(&fake).look("apps/web", staged.image(), kept, stage, &[]).await;
    assert!(fake.asked().iter().all(|asked| asked.authorization().is_none()));
    found
}

/// What is in doubt, and how much was found all the same.
fn doubt(found: Result<Looked, LookFailure>) -> (Reason, usize) {
    match found {
        Ok(looked) => (looked.incomplete.unwrap().0, looked.pieces.len()),
        Err(failure) => {
            assert!(failure.to_string().len() > 20, "{failure}");
            (failure.reason(), 0)
        }
    }
}

#[tokio::test]
async fn a_listing_that_is_not_had_leaves_all_in_doubt() {
    let (staged, _) = staged();
    for (what, reply, _, want) in faults() {
        let kept = Blobs::in_memory(ROOMY);
        let referrers = format!("referrers/{}", staged.image());
        let failure = look(&staged, &kept, Stage::Bundles, &referrers, reply.clone()).await.unwrap_err();
        assert_eq!(failure.reason(), want, "{what}");
        // What was found behind the other tag counts.
        for (suffix, pieces) in [(".att", 1), (".sig", 0)] {
            let found = look(&staged, &kept, Stage::Legacy, &staged.tag(suffix), reply.clone()).await;
            assert_eq!(doubt(found), (want, pieces), "{what} {suffix}");
        }
    }
}

#[tokio::test]
async fn a_piece_that_is_not_had_leaves_the_rest_in_doubt() {
    let (mut staged, bundle) = staged();
    staged.bundle(&[b"another"]);
    for (what, reply, want, _) in faults() {
        for part in [format!("manifests/{bundle}"), format!("blobs/{}", Digest::of(b"a bundle"))] {
            let found = look(&staged, &Blobs::in_memory(ROOMY), Stage::Bundles, &part, reply.clone()).await;
            // In a pause, what comes after it is not asked for, either.
            let pieces = usize::from(!matches!(what, "503" | "429"));
            assert_eq!(doubt(found), (want, pieces), "{what} {part}");
        }
    }
}

#[tokio::test]
async fn without_the_image_itself_nothing_is_said() {
    let (staged, _) = staged();
    let gone = ("404", Reply::new(404, b""), Reason::RegistryUnavailable, Reason::RegistryUnavailable);
    for (what, reply, _, _) in faults().into_iter().chain([gone]) {
        let part = format!("manifests/{}", staged.image());
        for stage in [Stage::Bundles, Stage::Legacy] {
            let failure = look(&staged, &Blobs::in_memory(ROOMY), stage, &part, reply.clone()).await.unwrap_err();
            assert_eq!(failure.reason().outcome(), Says::Unknown, "{what}");
            assert_eq!(matches!(failure, LookFailure::NotHere { .. }), what == "404", "{what}");
        }
    }
}

#[tokio::test]
async fn what_is_listed_and_gone_is_lost() {
    let (mut staged, bundle) = staged();
    for part in [format!("manifests/{bundle}"), format!("blobs/{}", Digest::of(b"a bundle"))] {
        let looked =
            look(&staged, &Blobs::in_memory(ROOMY), Stage::Bundles, &part, Reply::new(404, b"")).await.unwrap();
        let (reason, message) = looked.incomplete.unwrap();
        assert_eq!((reason, looked.pieces.len()), (Reason::ReferrersLost, 0), "{message}");
        // Where the registry lost the image as well, it is the registry that is lost.
        let gone = staged.serve_but(|asked| asked.path.contains("/manifests/").then(|| Reply::new(404, b"")));
        let kept = Blobs::in_memory(ROOMY);
        kept.put(staged.image(), &looked.manifest);
        let failure = remote(&gone).look("apps/web", staged.image(), &kept, Stage::Bundles, &[]).await.unwrap_err();
        assert!(matches!(failure, LookFailure::NotHere { .. }), "{failure}");
    }
    // Whoever could not look does not say that something is lost.
    let other = staged.bundle(&[b"another"]);
    let statuses = [(bundle.to_string(), 404), (other.to_string(), 500)];
    let fake = staged.serve_but(move |asked| {
        let status = statuses.iter().find(|(digest, _)| asked.path.ends_with(digest));
        status.map(|(_, status)| Reply::new(*status, b""))
    });
    let looked =
        remote(&fake).look("apps/web", staged.image(), &Blobs::in_memory(ROOMY), Stage::Bundles, &[]).await.unwrap();
    assert_eq!(looked.incomplete.unwrap().0, Reason::RegistryUnavailable);
}

#[tokio::test]
async fn an_empty_registry_does_not_say_that_nothing_is_signed() {
    let (staged, _) = staged();
    // A gateway without a registry behind it, and a registry that was emptied: it lists nothing for whatever it is asked.
    for lists in [false, true] {
        let gone = Arc::new(AtomicBool::new(false));
        let is_gone = gone.clone();
        let fake = staged.serve_but(move |asked| {
            let reply = if lists && asked.path.contains("/referrers/") {
                Reply::manifest(staged::INDEX, staged::index(&[]).as_bytes())
            } else {
                Reply::new(404, b"default backend")
            };
            is_gone.load(Ordering::Relaxed).then_some(reply)
        });
        let (remote, kept) = (remote(&fake), Blobs::in_memory(ROOMY));
        for stage in [Stage::Bundles, Stage::Legacy] {
            gone.store(false, Ordering::Relaxed);
            assert_eq!(remote.look("apps/web", staged.image(), &kept, stage, &[]).await.unwrap().pieces.len(), 1);
            gone.store(true, Ordering::Relaxed);
            let failure = remote.look("apps/web", staged.image(), &kept, stage, &[]).await.unwrap_err();
            assert!(matches!(failure, LookFailure::NotHere { .. }), "{failure}");
            assert_eq!(failure.reason(), Reason::RegistryUnavailable);
        }
    }
}

#[tokio::test]
async fn what_a_listing_leaves_out_is_said() {
    let mut staged = Staged::new(false);
    staged.bundle(&[b"a bundle"]);
    let image = staged.image();
    let circle = Reply::manifest(staged::INDEX, staged::index(&[]).as_bytes()).with("Link", "<?again>; rel=next");
    let fake = staged.serve_but(move |asked| asked.path.contains("/referrers/").then(|| circle.clone()));
    let looked = remote(&fake).look("apps/web", image, &Blobs::in_memory(ROOMY), Stage::Bundles, &[]).await.unwrap();
    let (reason, message) = looked.incomplete.unwrap();
    assert!(reason == Reason::ListingTruncated && message.contains("no end"), "{message}");
    assert_eq!(looked.pieces.len(), 1, "what is behind the fallback tag counts");
    // Behind the fallback tag.
    let odd = |bytes: &[u8]| Reply::manifest(staged::INDEX, bytes);
    for (reply, words) in [
        (odd(b"{\"manifests\": [{\"digest\": \"sha512:00\"}]}"), "only SHA-256"),
        (odd(b"{}"), "fallback tag"),
        (odd(b"{\"manifests\": []} x"), "fallback tag"),
    ] {
        let kept = Blobs::in_memory(ROOMY);
        let looked = look(&staged, &kept, Stage::Bundles, &staged.tag(""), reply).await.unwrap();
        let (reason, message) = looked.incomplete.unwrap();
        assert!(reason == Reason::ListingTruncated && message.contains(words), "{message}");
    }
    let foreign = Reply::manifest(staged::MANIFEST, b"{\"layers\": []}");
    let looked = look(&staged, &Blobs::in_memory(ROOMY), Stage::Bundles, &staged.tag(""), foreign).await.unwrap();
    assert_eq!((looked.pieces.len(), looked.incomplete), (0, None));
}

#[tokio::test]
async fn what_bends_the_signature_image_is_said() {
    let mut staged = Staged::new(true);
    staged.signatures(&[b"a signature"]);
    for bytes in [&b"{}"[..], b"[]", b"{\"layers\": []}", b"{\"layers\": [{\"mediaType\": 1}]}", b"{\"layers\""] {
        let reply = Reply::manifest(staged::MANIFEST, bytes);
        let looked = look(&staged, &Blobs::in_memory(ROOMY), Stage::Legacy, &staged.tag(".sig"), reply).await.unwrap();
        assert_eq!(looked.incomplete.unwrap().0, Reason::ListingTruncated, "{}", String::from_utf8_lossy(bytes));
    }
}

#[tokio::test]
async fn only_repositories_are_asked_for() {
    let staged = Staged::new(true);
    let fake = staged.serve();
    for repository in ["", "a//b", "../a", "a?b", &"a".repeat(600)] {
        let failure = remote(&fake)
            .look(repository, staged.image(), &Blobs::in_memory(0), Stage::Bundles, &[])
            .await
            .unwrap_err();
        assert_eq!(failure.reason(), Reason::RegistryUnavailable);
    }
    assert_eq!(fake.asked(), []);
}
