//! Who is told the credentials, and who is not.

use std::sync::atomic::AtomicUsize;

use super::*;

#[tokio::test]
async fn a_name_and_a_password_are_given_where_they_are_wanted() {
    let fake = Fake::new(|asked| match asked.authorization() {
        Some("Basic cm9ib3Q6aHVzaA==") => Reply::new(200, BLOB),
        _ => Reply::new(401, b"").with("WWW-Authenticate", "Basic realm=\"r\""),
    });
    let client = Client::new(Settings { credentials: Some(credentials()), ..fake.settings() }).unwrap();
    assert_eq!(blob(&client).await.unwrap(), BLOB);
    assert_eq!(blob(&client).await.unwrap(), BLOB);
    assert_eq!(fake.asked().len(), 3, "the second time it is known");
    let anonymous = blob(&fake.client()).await.unwrap_err();
    assert!(anonymous.to_string().contains("give a pull secret"), "{anonymous}");
    assert!(!format!("{client:?}").contains("hush") && !format!("{client:?}").contains("robot"));
}

/// A registry whose token service is itself.
fn with_tokens(good: &'static str, answer: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Fake {
    let count = AtomicUsize::new(0);
    Fake::new(move |asked| {
        if asked.path.starts_with("/token") {
            return answer(count.fetch_add(1, Ordering::SeqCst));
        }
        if asked.authorization() == Some(good) {
            return Reply::new(200, BLOB);
        }
        let challenge = format!(
            "Basic realm=\"x\", Bearer realm=\"http://{}/token?a=b\",service=\"s\",scope=\"repository:other:push\"",
            asked.headers["host"]
        );
        Reply::new(401, b"").with("WWW-Authenticate", challenge)
    })
}

#[tokio::test]
async fn a_token_is_fetched_once_and_for_reading_alone() {
    let fake = with_tokens("Bearer t0", |n| Reply::new(200, format!("{{\"token\":\"t{n}\"}}").as_bytes()));
    let client = Client::new(Settings { credentials: Some(credentials()), ..fake.settings() }).unwrap();
    assert_eq!(blob(&client).await.unwrap(), BLOB);
    assert_eq!(blob(&client).await.unwrap(), BLOB);
    let asked = fake.asked();
    assert_eq!(asked.len(), 4);
    assert_eq!(asked[1].path, "/token?a=b&service=s&scope=repository%3Atrust%2Froot%3Apull");
    assert_eq!(asked[1].authorization(), Some("Basic cm9ib3Q6aHVzaA=="));
    assert_eq!(asked[3].authorization(), Some("Bearer t0"));
}

#[tokio::test]
async fn a_token_that_is_refused_is_fetched_anew_once() {
    let fake = with_tokens("Bearer t9", |n| Reply::new(200, format!("{{\"token\":\"t{n}\"}}").as_bytes()));
    let client = fake.client();
    let error = blob(&client).await.unwrap_err();
    assert!(matches!(error, RegistryError::Unauthorized { .. }), "{error}");
    assert_eq!(fake.asked().len(), 3, "a 401 for every token ends");
    let same = with_tokens("Bearer t9", |_| Reply::new(200, b"{\"token\":\"t\"}"));
    assert!(blob(&same.client()).await.is_err());
    assert_eq!(same.asked().len(), 3);
}

#[tokio::test]
async fn a_token_service_is_judged_as_the_registry_is() {
    for (reply, want) in [
        (Reply::new(401, b""), "check the pull secret"),
        (Reply::new(429, b"").with("Retry-After", "5"), "5 seconds"),
        (Reply::new(302, b"").with("Location", "https://elsewhere/?x=hush"), "https://elsewhere/,"),
        (Reply::new(200, b"[]"), "no token that can be used"),
        (Reply { body: Body::Endless, ..Reply::new(200, b"") }, "65536 bytes"),
        (Reply { body: Body::Drip(Duration::from_millis(100)), ..Reply::new(200, b"") }, "took too long"),
    ] {
        let fake = with_tokens("Bearer t", move |_| reply.clone());
        let error = blob(&fake.client()).await.unwrap_err().to_string();
        assert!(error.contains(want) && error.contains("/token"), "{error}");
    }
}

#[tokio::test]
async fn a_realm_nobody_declared_is_not_asked() {
    let foreign = Fake::new(|_| Reply::new(200, b"{\"token\":\"t\"}"));
    let realm = format!("http://{}/auth", foreign.host);
    let challenge = format!("Bearer realm=\"{realm}?x=secret\",service=\"s\"");
    let registry = Fake::new(move |asked| match asked.authorization() {
        Some("Bearer t") => Reply::new(200, BLOB),
        _ => Reply::new(401, b"").with("WWW-Authenticate", challenge.clone()),
    });
    let settings = || Settings { credentials: Some(credentials()), ..registry.settings() };
    for declared in [None, Some(format!("{realm}/")), Some(format!("https://{}/auth", foreign.host))] {
        let error = blob(&Client::new(Settings { token_url: declared, ..settings() }).unwrap()).await.unwrap_err();
        assert!(matches!(&error, RegistryError::TokenRealm { realm: got, .. } if *got == realm), "{error}");
        assert!(error.to_string().contains("`tokenUrl`") && !error.to_string().contains("secret"));
    }
    assert_eq!(foreign.asked(), []);
    let declared = Client::new(Settings { token_url: Some(realm), ..settings() }).unwrap();
    assert_eq!(blob(&declared).await.unwrap(), BLOB);
    assert!(foreign.asked()[0].authorization().unwrap().starts_with("Basic "));
}

#[tokio::test]
async fn challenges_that_cannot_be_met_are_named() {
    for (challenge, words) in [
        ("Negotiate", "negotiate"),
        ("Bearer realm=\"open", "cannot be read"),
        ("Bearer service=\"s\"", "no address"),
        ("Bearer realm=\"not an address\"", "no address"),
    ] {
        let fake = Fake::new(move |_| Reply::new(401, b"").with("WWW-Authenticate", challenge));
        let client = Client::new(Settings { credentials: Some(credentials()), ..fake.settings() }).unwrap();
        let error = blob(&client).await.unwrap_err().to_string();
        assert!(error.contains(words), "{challenge}: {error}");
        assert_eq!(fake.asked().len(), 1);
    }
    let silent = Fake::new(|_| Reply::new(401, b""));
    assert!(matches!(blob(&silent.client()).await, Err(RegistryError::Unauthorized { .. })));
}
