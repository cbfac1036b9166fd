//! A `trusted_root.json` as it is written, before anything in it is believed.

use jiff::Timestamp;
use serde::Deserialize;

use crate::json::Object;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawRoot {
    #[serde(default)]
    pub(super) media_type: String,
    #[serde(default)]
    pub(super) tlogs: Vec<Object<RawLog>>,
    #[serde(default)]
    pub(super) certificate_authorities: Vec<Object<RawAuthority>>,
    #[serde(default)]
    pub(super) ctlogs: Vec<Object<RawLog>>,
    #[serde(default)]
    pub(super) timestamp_authorities: Vec<Object<RawAuthority>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawLog {
    #[serde(default)]
    pub(super) base_url: String,
    #[serde(default)]
    pub(super) hash_algorithm: String,
    pub(super) public_key: Object<RawKey>,
    #[serde(default)]
    pub(super) log_id: Option<Object<RawLogId>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawKey {
    #[serde(default)]
    pub(super) raw_bytes: String,
    #[serde(default)]
    pub(super) valid_for: Option<Object<RawWindow>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawLogId {
    #[serde(default)]
    pub(super) key_id: String,
}

#[derive(Deserialize)]
pub(super) struct RawWindow {
    #[serde(default)]
    pub(super) start: Option<Timestamp>,
    #[serde(default)]
    pub(super) end: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawAuthority {
    #[serde(default)]
    pub(super) uri: String,
    #[serde(default)]
    pub(super) cert_chain: Object<RawChain>,
    #[serde(default)]
    pub(super) valid_for: Option<Object<RawWindow>>,
}

#[derive(Default, Deserialize)]
pub(super) struct RawChain {
    #[serde(default)]
    pub(super) certificates: Vec<Object<RawCertificate>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawCertificate {
    #[serde(default)]
    pub(super) raw_bytes: String,
}
