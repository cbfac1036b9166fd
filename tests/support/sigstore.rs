//! A private Sigstore of one's own, with which the real cosign signs; stopped at the end however the test ends.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // each file uses its part; a test that cannot go on fails

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use self::registry::Running;

#[path = "registry.rs"]
pub(crate) mod registry;

/// What a program said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) ok: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// An instance that goes when this does.
pub(crate) struct Sigstore {
    running: Running,
    assets: PathBuf,
}

impl Sigstore {
    /// Starts one, or says why not.
    pub(crate) fn up() -> Option<Self> {
        Self::run(&[])
    }

    /// Starts one without a certificate transparency log: its certificates have no SCT.
    pub(crate) fn without_sct() -> Option<Self> {
        Self::run(&["--no-sct"])
    }

    fn run(arguments: &[&str]) -> Option<Self> {
        let assets = registry::assets()?;
        Some(Self { running: Running::of("sigstore", &assets, arguments), assets })
    }

    /// What verifies what it signs, as JSON.
    pub(crate) fn trusted_root(&self) -> String {
        self.running.file("trusted-root.json")
    }

    /// The file it is in.
    pub(crate) fn trusted_root_path(&self) -> PathBuf {
        self.running.dir().join("trusted-root.json")
    }

    /// Who says who people are.
    pub(crate) fn issuer(&self) -> String {
        let parts = self.running.file("parts");
        let issuer = parts.split_whitespace().find_map(|part| part.strip_prefix("issuer="));
        issuer.unwrap().to_owned()
    }

    /// Who says who workflows are: identities `https://github.com/OWNER/REPO/PATH@REF`.
    pub(crate) fn workflow_issuer(&self) -> String {
        format!("{}/actions", self.issuer())
    }

    /// Signs an image, named by digest, in a registry that is open to everybody.
    pub(crate) fn sign(&self, image: &str, identity: &str) {
        self.sign_with(image, identity, &[]);
    }

    /// Signs an image with more flags for cosign, such as those that a registry asks for.
    pub(crate) fn sign_with(&self, image: &str, identity: &str, flags: &[String]) {
        let said = self.script(&["sign", image, "--identity", identity], flags);
        assert!(said.ok, "{}", said.err);
    }

    /// Attaches a statement of a type, cosign's short name or a URI, about an image.
    pub(crate) fn attest(&self, image: &str, kind: &str, predicate: &Value, identity: &str, flags: &[String]) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), predicate.to_string()).unwrap();
        let path = file.path().display().to_string();
        let said = self.script(&["attest", image, "--type", kind, "--predicate", &path, "--identity", identity], flags);
        assert!(said.ok, "{}", said.err);
    }

    /// An identity token, good for ten minutes.
    pub(crate) fn token(&self, identity: &str) -> String {
        let said = self.script(&["token", "--identity", identity], &[]);
        assert!(said.ok, "{}", said.err);
        said.out.trim().to_owned()
    }

    /// cosign as it is, with nothing of whoever runs the test.
    pub(crate) fn cosign(&self, arguments: &[&str]) -> Said {
        self.cosign_in(&self.running.dir(), arguments, &[])
    }

    /// cosign in a directory, with some environment.
    pub(crate) fn cosign_in(&self, dir: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Said {
        let mut command = Command::new(self.assets.join("cosign"));
        command.args(arguments).current_dir(dir);
        command.env("TUF_ROOT", self.running.dir().join("tuf")).env("SIGSTORE_NO_CACHE", "1");
        command.env("DOCKER_CONFIG", self.running.dir().join("docker"));
        command.envs(environment.iter().copied());
        said(&mut command)
    }

    /// Something `hack/sigstore` keeps, as `signing-config.json`.
    pub(crate) fn file(&self, name: &str) -> String {
        self.running.file(name)
    }

    /// The path of something `hack/sigstore` keeps, as `rekor.pub`.
    pub(crate) fn path(&self, name: &str) -> String {
        self.running.dir().join(name).display().to_string()
    }

    /// The address of a part, as `fulcio_url`, `rekor_url`, `tsa_url`.
    pub(crate) fn url(&self, part: &str) -> String {
        let parts = self.running.file("parts");
        let url = parts.split_whitespace().find_map(|other| other.strip_prefix(part)?.strip_prefix('='));
        url.unwrap().to_owned()
    }

    fn script(&self, arguments: &[&str], flags: &[String]) -> Said {
        let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("hack/sigstore"));
        command.args(arguments).arg("--dir").arg(self.running.dir());
        if !flags.is_empty() {
            command.arg("--").args(flags);
        }
        command.env("DOCKER_CONFIG", self.running.dir().join("docker"));
        said(&mut command)
    }
}

fn said(command: &mut Command) -> Said {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { ok: output.status.success(), out: text(&output.stdout), err: text(&output.stderr) }
}
