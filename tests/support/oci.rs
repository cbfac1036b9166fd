//! A real registry, in a process of its own.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use holdfast::registry::client::Settings;
use holdfast_core::Digest;
use serde_json::{Value, json};

/// A registry in a process of its own, ended with the test.
pub(crate) struct Registry {
    process: Child,
    pub(crate) host: String,
    /// For pushing.
    http: reqwest::Client,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The registry `hack/kube-assets` builds; where it was not built, says so.
pub(crate) fn registry() -> Option<Registry> {
    let binary = assets().map(|dir| dir.join("oci-registry")).filter(|binary| binary.is_file());
    let Some(binary) = binary else {
        eprintln!("skipped: there is no oci-registry (run `hack/kube-assets`, which builds it once)");
        return None;
    };
    let mut process = Command::new(binary).arg("127.0.0.1:0").stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    let host = line.trim().rsplit(' ').next().unwrap().to_owned();
    // Its log is read to the end, so that it never waits for a reader.
    std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    Some(Registry { process, host, http })
}

fn assets() -> Option<PathBuf> {
    let declared = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    let built = cache.and_then(|cache| std::fs::read_dir(cache.join("holdfast/tools")).ok());
    let complete = built.into_iter().flatten().flatten().map(|entry| entry.path());
    declared
        .into_iter()
        .chain(complete.filter(|dir| dir.join(".complete").exists()))
        .find(|dir| dir.join("oci-registry").is_file())
}

impl Registry {
    pub(crate) fn settings(&self) -> Settings {
        Settings { host: self.host.clone(), plain_http: true, ..Settings::default() }
    }

    /// Pushes a blob; its descriptor.
    pub(crate) async fn blob(&self, repository: &str, media_type: &str, bytes: &[u8]) -> Value {
        let digest = Digest::of(bytes);
        let url = format!("http://{}/v2/{repository}/blobs/uploads/", self.host);
        let begun = self.http.post(url).send().await.unwrap();
        let to = begun.headers()["location"].to_str().unwrap().to_owned();
        let to = if to.starts_with('/') { format!("http://{}{to}", self.host) } else { to };
        let put = self.http.put(format!("{to}?digest={digest}")).body(bytes.to_vec()).send().await.unwrap();
        assert!(put.status().is_success(), "{}", put.status());
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    /// Pushes a manifest or an index, by a tag or, without one, by its digest.
    pub(crate) async fn manifest(&self, repository: &str, tag: Option<&str>, manifest: &Value) -> Digest {
        let text = manifest.to_string();
        let digest = Digest::of(text.as_bytes());
        let reference = tag.map_or_else(|| digest.to_string(), str::to_owned);
        let url = format!("http://{}/v2/{repository}/manifests/{reference}", self.host);
        let media_type = manifest["mediaType"].as_str().unwrap();
        let put = self.http.put(url).header("content-type", media_type).body(text).send().await.unwrap();
        assert!(put.status().is_success(), "{}", put.status());
        digest
    }
}
