//! What is measured of break-glasses: which are open, and until when; read at each scrape from what their statuses say.

use std::fmt;
use std::sync::Arc;

use holdfast_core::api::TrustBreakGlass;
use holdfast_core::api::break_glass::BreakGlassPhase;
use jiff::Timestamp;
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;

use super::gauge::{as_seconds, gauges};

/// Break-glasses that are shown, at most: those that loosen something before those that wait.
const MAX_SHOWN: usize = 64;

/// A break-glass that loosens something, or may yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenBreakGlass {
    name: String,
    kind: &'static str,
    active: bool,
    until: Timestamp,
}

impl OpenBreakGlass {
    /// What its status says; nothing where it is over, or was not looked at yet.
    pub fn of(glass: &TrustBreakGlass) -> Option<Self> {
        let active = match glass.status.as_ref()?.phase? {
            BreakGlassPhase::Active => true,
            BreakGlassPhase::Pending => false,
            BreakGlassPhase::Expired | BreakGlassPhase::Closed | BreakGlassPhase::Refused => return None,
        };
        Some(Self {
            name: glass.metadata.name.clone()?,
            kind: glass.spec.loosen.kind()?.as_str(),
            active,
            until: glass.spec.until.parse().ok()?,
        })
    }
}

/// Written anew at each scrape.
#[derive(Clone, Default)]
pub(super) struct BreakGlasses {
    #[allow(clippy::type_complexity)] // said once
    pub(super) find: Arc<Mutex<Option<Box<dyn Fn() -> Vec<OpenBreakGlass> + Send>>>>,
    pub(super) now: Arc<Mutex<Timestamp>>,
}

impl fmt::Debug for BreakGlasses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BreakGlasses")
    }
}

impl Collector for BreakGlasses {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let now = *self.now.lock();
        let mut open = self.find.lock().as_ref().map(|find| find()).unwrap_or_default();
        // Also where nobody is there to write that one has ended, it has.
        open.retain(|glass| glass.until > now);
        open.sort_by(|a, b| b.active.cmp(&a.active).then_with(|| a.name.cmp(&b.name)));
        open.truncate(MAX_SHOWN);
        let shown = |value: fn(&OpenBreakGlass) -> f64| {
            open.iter().map(move |glass| ([("name", glass.name.as_str()), ("kind", glass.kind)], value(glass)))
        };
        let help = "Whether a break-glass loosens something: 1 while it does, 0 while it waits";
        let active = shown(|glass| if glass.active { 1.0 } else { 0.0 });
        gauges(&mut encoder, "holdfast_break_glass_active", help, None, active)?;
        let help = "When a break-glass ends, in seconds since 1970";
        let ends = shown(|glass| as_seconds(glass.until));
        gauges(&mut encoder, "holdfast_break_glass_end_timestamp", help, Some(&Unit::Seconds), ends)
    }
}
