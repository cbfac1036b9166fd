use super::*;

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn name(image: &str) -> String {
    ImageRef::parse(image).unwrap().to_string()
}

#[test]
fn spellings_of_one_image_are_one() {
    for (image, want) in [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1.27", "docker.io/library/nginx:1.27"),
        ("acme/web", "docker.io/acme/web:latest"),
        ("docker.io/nginx", "docker.io/library/nginx:latest"),
        ("index.docker.io/acme/web:1", "docker.io/acme/web:1"),
        ("localhost/a", "localhost/a:latest"),
        ("Registry.Corp.Internal./a/b:1", "registry.corp.internal/a/b:1"),
        ("registry.corp.internal:443/a:1", "registry.corp.internal/a:1"),
        ("registry.corp.internal:0443/a:1", "registry.corp.internal/a:1"),
        ("registry.corp.internal:5000/a", "registry.corp.internal:5000/a:latest"),
        ("10.0.0.1:5000/a", "10.0.0.1:5000/a:latest"),
        ("registry:443/a", "registry:443/a:latest"),
        ("registry.:443/a", "registry:443/a:latest"),
    ] {
        assert_eq!(name(image), want, "{image}");
    }
    assert_eq!(
        name(&format!("registry.corp.internal/a:1@sha256:{HEX}")),
        format!("registry.corp.internal/a@sha256:{HEX}")
    );
}

#[test]
fn the_one_spelling_of_what_is_read_is_read() {
    let longest = MAX_REFERENCE - "docker.io/library/:latest".len();
    let of_length = |len: usize| "a".repeat(len);
    assert_eq!(name(&of_length(longest)).len(), MAX_REFERENCE);
    assert_eq!(name(&name(&of_length(longest))), name(&of_length(longest)));
    assert_eq!(ImageRef::parse(&of_length(longest + 1)), Err(ImageError::Length { len: MAX_REFERENCE + 1 }));
    for begin in ["", "acme/", "docker.io/", "registry.corp.internal/"] {
        for end in ["", ":1", &format!("@sha256:{HEX}")] {
            let written = format!("{begin}{}{end}", of_length(MAX_WRITTEN - begin.len() - end.len()));
            assert!(ImageRef::parse(&written).is_ok(), "{begin}…{end}");
        }
    }
}

#[test]
fn what_has_no_one_reading_is_refused() {
    for image in [
        String::new(),
        format!("a@sha256:{HEX}@sha256:{HEX}"),
        "a@".to_owned(),
        "a@sha256:".to_owned(),
        "a@sha256:zzz".to_owned(),
        format!("a@sha256:{}", HEX.to_uppercase()),
        format!("a@sha512:{HEX}"),
        "registry.corp.internal/Apps/web".to_owned(),
        "registry.corp.internal//web".to_owned(),
        "registry.corp.internal/web/".to_owned(),
        "registry.corp.internal/../web".to_owned(),
        "registry..corp/web".to_owned(),
        "registry./web".to_owned(),
        "registry.corp:port/web".to_owned(),
        "registry.corp:/web".to_owned(),
        "registry.corp:0/web".to_owned(),
        "registry.corp:000/web".to_owned(),
        "registry.corp:65536/web".to_owned(),
        "registry.corp:+443/web".to_owned(),
        "a:b:c".to_owned(),
        "a b".to_owned(),
        "a:-x".to_owned(),
        "https://registry/web".to_owned(),
        "x".repeat(2000),
    ] {
        assert!(ImageRef::parse(&image).is_err(), "{image}");
    }
}

#[test]
fn patterns_match_whole_segments_of_one_registry() {
    let matches =
        |pattern: &str, image: &str| ImagePattern::parse(pattern).unwrap().matches(&ImageRef::parse(image).unwrap());
    for (pattern, image, want) in [
        ("registry.corp.internal/apps/**", "registry.corp.internal/apps/web:1", true),
        ("registry.corp.internal/apps/**", "registry.corp.internal/apps/team/web", true),
        ("registry.corp.internal/apps/**", "registry.corp.internal/apps", false),
        ("registry.corp.internal/apps/**", "registry.corp.internal/apps-evil/web", false),
        ("registry.corp.internal/**", "registry.corp.internal.evil.example/web", false),
        ("registry.corp.internal/**", "registry.corp.internal:5000/web", false),
        ("registry.corp.internal/**", "REGISTRY.corp.internal:443/web", true),
        ("registry.corp.internal/**", "evil.example/registry.corp.internal/web", false),
        ("registry.corp.internal/*", "registry.corp.internal/web", true),
        ("registry.corp.internal/*", "registry.corp.internal/a/web", false),
        ("registry.corp.internal/*/web", "registry.corp.internal/a/web", true),
        ("registry.corp.internal/web-*", "registry.corp.internal/web-api", true),
        ("registry.corp.internal/web-*", "registry.corp.internal/web-api/x", false),
        ("registry.corp.internal/**/web", "registry.corp.internal/web", true),
        ("registry.corp.internal/**/web", "registry.corp.internal/a/b/web", true),
        ("docker.io/library/*", "nginx", true),
        ("docker.io/library/*", "acme/nginx", false),
    ] {
        assert_eq!(matches(pattern, image), want, "{pattern} {image}");
    }
}

#[test]
fn patterns_that_would_explode_are_cheap() {
    let pattern = format!("registry.corp.internal/{}x", "**/a*a*a*a*/".repeat(30));
    let image = format!("registry.corp.internal/{}y", "aaaaaaaaaa/".repeat(80));
    assert!(!ImagePattern::parse(&pattern).unwrap().matches(&ImageRef::parse(&image).unwrap()));
}

#[test]
fn patterns_that_mean_another_registry_are_refused() {
    for pattern in [
        "**",
        "*/web",
        "*.corp.internal/web",
        "apps/web",
        "nginx",
        "registry.corp/a:1",
        "registry.corp/a**",
        "registry.corp//a",
        "registry.corp/A",
    ] {
        assert!(ImagePattern::parse(pattern).is_err(), "{pattern}");
    }
}

/// They would match nothing, silently.
#[test]
fn patterns_of_one_name_of_docker_hub_are_refused_with_the_one_that_is_meant() {
    for (pattern, instead) in [
        ("docker.io/nginx", "docker.io/library/nginx"),
        ("docker.io/*", "docker.io/library/*"),
        ("docker.io/ngin*", "docker.io/library/ngin*"),
        ("index.docker.io/nginx", "docker.io/library/nginx"),
        ("Registry-1.Docker.io.:0443/nginx", "docker.io/library/nginx"),
    ] {
        let error = ImagePattern::parse(pattern).unwrap_err();
        assert!(matches!(&error, PatternError::ShortName { instead: got, .. } if got == instead), "{error}");
        assert!(error.to_string().contains(instead), "{error}");
        assert!(ImagePattern::parse(instead).is_ok(), "{instead}");
    }
    for pattern in ["docker.io/**", "docker.io/*/*", "docker.io/acme/**", "docker.io:5000/nginx", "localhost/nginx"] {
        assert!(ImagePattern::parse(pattern).is_ok(), "{pattern}");
    }
}

#[test]
fn an_example_of_a_pattern_is_one_of_its_images() {
    for pattern in
        ["registry.corp/apps/**", "registry.corp/**/web", "registry.corp/a*b/*", "docker.io/**", "r.corp:5000/x/*-y"]
    {
        let read = ImagePattern::parse(pattern).unwrap();
        let example = read.example();
        assert!(read.matches(&ImageRef::parse(&example).unwrap()), "{pattern}: {example}");
    }
}
