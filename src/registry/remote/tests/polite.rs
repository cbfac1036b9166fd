//! So many requests at once, none while a registry is to be left alone, and nobody's credentials anywhere else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::registry::client::fake::Fake;

/// Counts what became of requests.
fn counted() -> (Observe, Arc<Mutex<Vec<Outcome>>>) {
    let counts = Arc::new(Mutex::new(Vec::new()));
    let into = counts.clone();
    (Arc::new(move |_: &str, outcome| into.lock().push(outcome)), counts)
}

fn credentials(name: &str) -> Credentials {
    Credentials::new(name.to_owned(), "hush".to_owned()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_are_asked_for_at_once_than_declared() {
    let mut staged = Staged::new(true);
    for n in 0..3_u8 {
        staged.bundle(&[&[n]]);
    }
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (into, at_most) = (now, most.clone());
    let fake = staged.serve_but(move |_| {
        let here = into.fetch_add(1, Ordering::SeqCst) + 1;
        at_most.fetch_max(here, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(5));
        into.fetch_sub(1, Ordering::SeqCst);
        None
    });
    for declared in [3, 1, 0] {
        most.store(0, Ordering::SeqCst);
        let remote = Arc::new(Remote::new(fake.settings(), declared, unobserved()).unwrap());
        let looks: Vec<_> = (0..12)
            .map(|_| {
                let (remote, image) = (remote.clone(), staged.image());
                tokio::spawn(
                    async move { remote.look("apps/web", image, &Blobs::in_memory(0), Stage::Bundles, &[]).await },
                )
            })
            .collect();
        for look in looks {
            assert_eq!(look.await.unwrap().unwrap().pieces.len(), 3);
        }
        assert_eq!(most.load(Ordering::SeqCst), usize::from(declared.max(1)));
    }
}

#[tokio::test]
async fn a_registry_that_fails_is_left_alone() {
    let staged = Staged::new(true);
    let fake = staged.serve_but(|_| Some(Reply::new(500, b"")));
    let (observe, counts) = counted();
    let remote = Remote::new(fake.settings(), 4, observe).unwrap();
    let kept = Blobs::in_memory(ROOMY);
    for n in 0..20 {
        let failure = remote.look("apps/web", staged.image(), &kept, Stage::Bundles, &[]).await.unwrap_err();
        assert_eq!(failure.reason(), Reason::RegistryUnavailable);
        assert_eq!(matches!(failure, LookFailure::Open { .. }), n >= 5, "{n}: {failure}");
        let soon = failure.again_in().is_some_and(|again_in| again_in <= Duration::from_secs(5));
        assert_eq!(soon, n >= 5);
    }
    assert_eq!(fake.asked().len(), 5);
    let of = |outcome| counts.lock().iter().filter(|other| **other == outcome).count();
    assert_eq!((of(Outcome::Unavailable), of(Outcome::Open)), (5, 15));
    // What is already kept is no way around.
    kept.put(staged.image(), &staged.answer(&asked(&staged)).whole());
    let failure = remote.look("apps/web", staged.image(), &kept, Stage::Legacy, &[]).await.unwrap_err();
    assert!(matches!(failure, LookFailure::Open { .. }), "{failure}");
}

fn asked(staged: &Staged) -> Asked {
    Asked { path: format!("/v2/apps/web/manifests/{}", staged.image()), headers: std::collections::BTreeMap::new() }
}

#[tokio::test]
async fn a_pause_is_kept_by_everybody_and_then_over() {
    let staged = Staged::new(true);
    let times = AtomicUsize::new(0);
    let fake = staged.serve_but(move |_| {
        (times.fetch_add(1, Ordering::SeqCst) == 0).then(|| Reply::new(429, b"").with("Retry-After", "1"))
    });
    let (observe, counts) = counted();
    let remote = Remote::new(fake.settings(), 4, observe).unwrap();
    let look = || async { remote.look("apps/web", staged.image(), &Blobs::in_memory(0), Stage::Bundles, &[]).await };
    let begun = Instant::now();
    let first = look().await.unwrap_err();
    assert_eq!(first.again_in(), Some(Duration::from_secs(1)), "{first}");
    let paused = look().await.unwrap_err();
    assert!(matches!(paused, LookFailure::Paused { .. }) && paused.reason() == Reason::RegistryUnavailable, "{paused}");
    assert_eq!((fake.asked().len(), counts.lock().clone()), (1, vec![Outcome::Throttled, Outcome::Open]));
    tokio::time::sleep(Duration::from_millis(1050).saturating_sub(begun.elapsed())).await;
    assert!(look().await.is_ok());
}

#[tokio::test]
async fn pods_are_asked_for_their_credentials_only_where_the_declared_ones_do_not_do() {
    let mut staged = Staged::new(true);
    staged.bundle(&[b"a bundle"]);
    let lets_in = |staged: &Staged, name: &'static str| {
        let basic = format!("Basic {}", base64(&format!("{name}:hush")));
        staged.serve_but(move |asked| {
            let is_let_in = asked.authorization() == Some(basic.as_str());
            (!is_let_in).then(|| Reply::new(401, b"").with("WWW-Authenticate", "Basic"))
        })
    };
    let who = |fake: &Fake| {
        let mut names: Vec<String> =
            fake.asked().iter().filter_map(|asked| asked.authorization().map(str::to_owned)).collect();
        names.dedup();
        names
    };
    let basic = |name: &str| format!("Basic {}", base64(&format!("{name}:hush")));
    let declared = |fake: &Fake| {
        let settings = Settings { credentials: Some(credentials("declared")), ..fake.settings() };
        Remote::new(settings, 4, unobserved()).unwrap()
    };
    let also = [credentials("one"), credentials("two"), credentials("three")];
    let fake = lets_in(&staged, "declared");
    let kept = || Blobs::in_memory(ROOMY);
    assert!(declared(&fake).look("apps/web", staged.image(), &kept(), Stage::Bundles, &also).await.is_ok());
    assert_eq!(who(&fake), [basic("declared")]);
    // Whoever was let in goes on asking for the same image.
    let fake = lets_in(&staged, "two");
    let remote = declared(&fake);
    let looked = remote.look("apps/web", staged.image(), &kept(), Stage::Bundles, &also).await.unwrap();
    assert_eq!((looked.pieces.len(), looked.incomplete), (1, None));
    assert_eq!(who(&fake), [basic("declared"), basic("one"), basic("two")]);
    // And not for others, who did not bring those credentials.
    let failure = remote.look("apps/web", staged.image(), &kept(), Stage::Bundles, &also[..1]).await.unwrap_err();
    assert_eq!(failure.reason(), Reason::Unauthorized);
    let failure = remote.look("apps/web", staged.image(), &kept(), Stage::Bundles, &[]).await.unwrap_err();
    assert_eq!(failure.reason(), Reason::Unauthorized);
    // What is not there, or fails, is not asked for by everybody.
    for status in [404, 500] {
        let fake = staged.serve_but(move |_| Some(Reply::new(status, b"")));
        let _ = declared(&fake).look("apps/web", staged.image(), &kept(), Stage::Bundles, &also).await;
        assert_eq!(fake.asked().len(), 1);
    }
    let many: Vec<Credentials> = (0..100).map(|n| credentials(&format!("pod{n}"))).collect();
    let fake = lets_in(&staged, "nobody");
    let remote = declared(&fake);
    for also in many.chunks(10).chain([many.as_slice()]) {
        assert!(remote.look("apps/web", staged.image(), &kept(), Stage::Bundles, also).await.is_err());
    }
    assert_eq!(remote.others.lock().len(), MAX_OTHERS);
}

#[tokio::test]
async fn credentials_go_to_their_own_host_alone() {
    let other = Fake::new(|_| Reply::new(401, b"").with("WWW-Authenticate", "Basic"));
    let mut staged = Staged::new(true);
    staged.bundle(&[b"a bundle"]);
    let (host, image) = (other.host.clone(), staged.image());
    let fake = staged.serve_but(move |asked| {
        if asked.authorization().is_none() {
            return Some(Reply::new(401, b"").with("WWW-Authenticate", "Basic"));
        }
        let elsewhere = format!("http://{host}{}", asked.path);
        let pointing = Reply::manifest(staged::INDEX, staged::index(&[]).as_bytes())
            .with("Link", format!("<{elsewhere}?n=1>; rel=next"));
        match asked.path.split('/').nth(4) {
            Some("blobs") => Some(Reply::new(307, b"").with("Location", elsewhere)),
            Some("referrers") if asked.path.ends_with(&image.to_string()) => Some(pointing),
            _ => None,
        }
    });
    // A token service elsewhere is not asked, either.
    let host = other.host.clone();
    let token = Fake::new(move |_| {
        Reply::new(401, b"").with("WWW-Authenticate", format!("Bearer realm=\"http://{host}/token\""))
    });
    for (fake, declared) in [(&fake, true), (&fake, false), (&token, true), (&token, false)] {
        let settings = Settings {
            credentials: declared.then(|| credentials("declared")),
            redirect_hosts: vec![],
            ..fake.settings()
        };
        let remote = Remote::new(settings, 4, unobserved()).unwrap();
        let also = [credentials("pod")];
        let kept = Blobs::in_memory(ROOMY);
        let failure = remote.look("apps/web", staged.image(), &kept, Stage::Bundles, &also).await.unwrap_err();
        assert_eq!(failure.reason().outcome(), Says::Unknown, "{failure}");
    }
    assert_eq!(other.asked(), []);
}

fn base64(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[tokio::test]
async fn a_certificate_that_ran_out_leaves_the_image_unknown() {
    let (fake, ca) = Fake::with_expired_tls(|_| Reply::new(404, b""));
    let settings = Settings { plain_http: false, ca_bundle: Some(ca), ..fake.settings() };
    let remote = Remote::new(settings, 4, unobserved()).unwrap();
    let image = Digest::of(b"image");
    let failure = remote.look("apps/web", image, &Blobs::in_memory(0), Stage::Bundles, &[]).await.unwrap_err();
    assert_eq!(failure.reason(), Reason::RegistryUnavailable);
    assert!(failure.to_string().contains("certificate") && fake.asked().is_empty(), "{failure}");
}

#[test]
fn every_outcome_has_its_word() {
    let words: std::collections::BTreeSet<&str> = Outcome::ALL.iter().map(|outcome| outcome.as_str()).collect();
    assert_eq!(words.len(), Outcome::ALL.len());
}
