//! A server that gives what a test lays out, plainly or over TLS, and misbehaves on request.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_core::Digest;
use holdfast_testpki::{Authority, Key, Validity, pem};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::courier::now;
use crate::lab::Both;

pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// What is answered.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// This, as this type.
    Whole(&'static str, Vec<u8>),
    /// Bytes without an end.
    Endless,
    /// A byte now and then, without an end.
    Drip,
    /// Nobody is let in without credentials.
    WhoAreYou,
}

/// Answers by path; what is not there is not found.
pub(super) type Answers = BTreeMap<String, Answer>;

/// The server; it goes down with this.
pub(super) struct Server {
    pub(super) host: String,
    pub(super) answers: Both<Answers>,
    /// The authority that vouches for it, where it speaks TLS.
    pub(super) ca: Option<String>,
    asked: Both<Vec<String>>,
    tls: Option<Arc<ServerConfig>>,
    credentials: Option<String>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    pub(super) fn plain() -> Self {
        Self::start(None, None)
    }

    /// Over TLS, perhaps only for whoever gives a name and a password, as `name:password`.
    pub(super) fn secure(credentials: Option<&str>) -> Self {
        let validity = Validity { from: jiff::Timestamp::UNIX_EPOCH, until: "2049-01-01T00:00:00Z".parse().unwrap() };
        let (authority, key) = (Authority::for_servers("corp", validity), Key::p256());
        let own = authority.issue_server([127, 0, 0, 1], &key.spki(), validity);
        let chain = vec![own.into(), authority.chain[0].clone().into()];
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.pkcs8()).into();
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
        let mut server = Self::start(Some(Arc::new(config)), credentials);
        server.ca = Some(pem("CERTIFICATE", &authority.chain[1]));
        server
    }

    fn start(tls: Option<Arc<ServerConfig>>, credentials: Option<&str>) -> Self {
        let credentials = credentials
            .map(|pair| format!("basic {}", holdfast_testpki::base64(pair.as_bytes())))
            .map(|text| text.to_ascii_lowercase());
        let mut server = Self {
            host: "127.0.0.1:0".to_owned(),
            answers: Arc::default(),
            ca: None,
            asked: Arc::default(),
            tls,
            credentials,
            stop: Arc::default(),
            thread: None,
        };
        server.up();
        server
    }

    /// Listens, again where it did before.
    pub(super) fn up(&mut self) {
        let listener = TcpListener::bind(&self.host).unwrap();
        self.host = listener.local_addr().unwrap().to_string();
        self.stop = Arc::default();
        let (answers, asked, tls, credentials, stop) =
            (self.answers.clone(), self.asked.clone(), self.tls.clone(), self.credentials.clone(), self.stop.clone());
        self.thread = Some(std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let (answers, asked, tls, credentials, stop) =
                    (answers.clone(), asked.clone(), tls.clone(), credentials.clone(), stop.clone());
                std::thread::spawn(move || match tls {
                    Some(tls) => {
                        let mut secured = StreamOwned::new(ServerConnection::new(tls).unwrap(), stream);
                        serve(&mut secured, &answers, &asked, credentials.as_deref(), &stop);
                        secured.conn.send_close_notify();
                        let _ = secured.flush();
                    }
                    None => serve(stream, &answers, &asked, credentials.as_deref(), &stop),
                });
            }
        }));
    }

    /// Is not there any more.
    pub(super) fn down(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = std::net::TcpStream::connect(&self.host);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    /// The paths that were asked for with this in them.
    pub(super) fn asked(&self, part: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|path| path.contains(part)).count()
    }

    /// Offers files below a path, and nothing else there.
    pub(super) fn offer(&self, below: &str, files: &BTreeMap<String, Vec<u8>>) {
        let mut answers = self.answers.lock().unwrap();
        answers.retain(|path, _| !path.starts_with(below));
        answers.extend(
            files.iter().map(|(path, bytes)| {
                (format!("{below}{path}"), Answer::Whole("application/octet-stream", bytes.clone()))
            }),
        );
    }

    /// Answers one path so.
    pub(super) fn answer(&self, path: &str, answer: Answer) {
        self.answers.lock().unwrap().insert(path.to_owned(), answer);
    }

    /// Offers an artifact of these layers under a tag, as a registry.
    pub(super) fn push(&self, repository: &str, tag: &str, layers: &[Vec<u8>]) -> Digest {
        let blob = |bytes: &[u8]| {
            let digest = Digest::of(bytes);
            let path = format!("/v2/{repository}/blobs/{digest}");
            self.answer(&path, Answer::Whole("application/octet-stream", bytes.to_vec()));
            json!({"mediaType": "application/octet-stream", "digest": digest, "size": bytes.len()})
        };
        let layers: Vec<Value> = layers.iter().map(|layer| blob(layer)).collect();
        let manifest =
            json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": blob(b"{}"), "layers": layers}).to_string();
        self.answer(
            &format!("/v2/{repository}/manifests/{tag}"),
            Answer::Whole(MANIFEST, manifest.clone().into_bytes()),
        );
        Digest::of(manifest.as_bytes())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.down();
    }
}

fn serve(
    mut stream: impl Read + Write,
    answers: &Mutex<Answers>,
    asked: &Mutex<Vec<String>>,
    credentials: Option<&str>,
    stop: &AtomicBool,
) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
    asked.lock().unwrap().push(path.clone());
    let let_in = credentials
        .is_none_or(|credentials| text.to_ascii_lowercase().contains(&format!("authorization: {credentials}")));
    let answer = if let_in { answers.lock().unwrap().get(&path).cloned() } else { Some(Answer::WhoAreYou) };
    let mut say = |text: &str| stream.write_all(text.as_bytes()).is_ok();
    match answer {
        None => {
            say("HTTP/1.1 404 X\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        }
        Some(Answer::WhoAreYou) => {
            say(
                "HTTP/1.1 401 X\r\nConnection: close\r\nWWW-Authenticate: Basic realm=\"corp\"\r\nContent-Length: 0\r\n\r\n",
            );
        }
        Some(Answer::Whole(kind, bytes)) => {
            say(&format!(
                "HTTP/1.1 200 X\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
                bytes.len()
            ));
            let _ = stream.write_all(&bytes);
        }
        Some(Answer::Endless) => {
            say("HTTP/1.1 200 X\r\nConnection: close\r\n\r\n");
            while !stop.load(Ordering::SeqCst) && stream.write_all(&[b' '; 4096]).is_ok() {}
        }
        Some(Answer::Drip) => {
            say("HTTP/1.1 200 X\r\nConnection: close\r\n\r\n");
            while !stop.load(Ordering::SeqCst) && stream.write_all(b" ").is_ok() {
                std::thread::sleep(Duration::from_millis(200));
            }
        }
    }
}

/// Files as a tar archive, gzipped.
pub(super) fn packed(files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let mut builder = tar::Builder::new(gzip());
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mtime(u64::try_from(now().as_second()).unwrap());
        builder.append_data(&mut header, path, bytes.as_slice()).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

/// Something to write what is to be gzipped to.
pub(super) fn gzip() -> flate2::write::GzEncoder<Vec<u8>> {
    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default())
}
