//! A registry that does what a real one refuses to do.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_testpki::{Authority, Key, Validity, pem};
use jiff::Timestamp;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{Client, Patience, Settings};

pub(crate) const HASTE: Patience = Patience {
    connect: Duration::from_millis(500),
    idle: Duration::from_millis(500),
    total: Duration::from_millis(1500),
};

/// What the fake was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
}

impl Asked {
    pub(crate) fn authorization(&self) -> Option<&str> {
        self.headers.get("authorization").map(String::as_str)
    }
}

/// What the fake answers.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Body,
}

#[derive(Debug, Clone)]
pub(crate) enum Body {
    /// With its length in front.
    Whole(Vec<u8>),
    /// A length, and fewer bytes.
    CutOff(usize, Vec<u8>),
    /// Without a length, for ever.
    Endless,
    /// A byte now and then.
    Drip(Duration),
}

impl Reply {
    pub(crate) fn new(status: u16, body: &[u8]) -> Self {
        Self { status, headers: Vec::new(), body: Body::Whole(body.to_vec()) }
    }

    pub(crate) fn manifest(media_type: &str, body: &[u8]) -> Self {
        Self::new(200, body).with("Content-Type", media_type)
    }

    /// The body, where it comes with its length.
    pub(crate) fn whole(self) -> Vec<u8> {
        match self.body {
            Body::Whole(bytes) => bytes,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// A server on loopback, and what it was asked.
pub(crate) struct Fake {
    pub(crate) host: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Fake {
    pub(crate) fn new(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::with(None, answer)
    }

    /// One that speaks TLS, and the authority that vouches for it, in PEM.
    pub(crate) fn with_tls(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> (Self, Vec<u8>) {
        Self::with_tls_until("2049-01-01T00:00:00Z", answer)
    }

    /// One whose certificate ran out.
    pub(crate) fn with_expired_tls(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> (Self, Vec<u8>) {
        Self::with_tls_until("2020-01-01T00:00:00Z", answer)
    }

    fn with_tls_until(until: &str, answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> (Self, Vec<u8>) {
        let validity = Validity { from: Timestamp::UNIX_EPOCH, until: until.parse().unwrap() };
        let (authority, key) = (Authority::for_servers("corp", validity), Key::p256());
        let own = authority.issue_server([127, 0, 0, 1], &key.spki(), validity);
        let chain = vec![own.into(), authority.chain[0].clone().into()];
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.pkcs8()).into();
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
        (Self::with(Some(Arc::new(config)), answer), pem("CERTIFICATE", &authority.chain[1]).into_bytes())
    }

    fn with(tls: Option<Arc<ServerConfig>>, answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (asked.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, answer, tls) = (log.clone(), answer.clone(), tls.clone());
                std::thread::spawn(move || match tls {
                    Some(tls) => {
                        let connection = ServerConnection::new(tls).unwrap();
                        let mut secured = StreamOwned::new(connection, stream);
                        serve(&mut secured, &log, answer.as_ref());
                        secured.conn.send_close_notify();
                        let _ = secured.flush();
                    }
                    None => serve(stream, &log, answer.as_ref()),
                });
            }
        });
        Self { host, asked }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings { host: self.host.clone(), plain_http: true, patience: HASTE, ..Settings::default() }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.settings()).unwrap()
    }
}

fn serve(mut stream: impl Read + Write, log: &Mutex<Vec<Asked>>, answer: &dyn Fn(&Asked) -> Reply) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let text = String::from_utf8(head).unwrap();
    let mut lines = text.lines();
    let path = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
    let header = |line: &str| line.split_once(": ").map(|(k, v)| (k.to_ascii_lowercase(), v.to_owned()));
    let asked = Asked { path, headers: lines.filter_map(header).collect() };
    log.lock().unwrap().push(asked.clone());
    let reply = answer(&asked);
    let mut head = format!("HTTP/1.1 {} X\r\nConnection: close\r\n", reply.status);
    let length = match &reply.body {
        Body::Whole(bytes) => Some(bytes.len()),
        Body::CutOff(length, _) => Some(*length),
        Body::Endless | Body::Drip(_) => None,
    };
    let headers = reply.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    for (name, value) in headers.chain(length.map(|length| ("Content-Length".to_owned(), length.to_string()))) {
        head = format!("{head}{name}: {value}\r\n");
    }
    head.push_str("\r\n");
    if stream.write_all(head.as_bytes()).is_err() {
        return;
    }
    match reply.body {
        Body::Whole(bytes) | Body::CutOff(_, bytes) => {
            let _ = stream.write_all(&bytes);
        }
        Body::Endless => while stream.write_all(&[b' '; 4096]).is_ok() {},
        Body::Drip(pause) => {
            for _ in 0..100 {
                std::thread::sleep(pause);
                if stream.write_all(b" ").is_err() {
                    return;
                }
            }
        }
    }
}
