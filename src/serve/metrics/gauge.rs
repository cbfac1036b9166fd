//! Gauges that are worked out at each scrape, and those of the process.

use std::fmt;

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::serve::process::Usage;

/// The usual metrics of a process.
#[derive(Debug)]
pub(super) struct OfProcess {
    pub(super) start: Timestamp,
}

impl Collector for OfProcess {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(usage) = Usage::now() else { return Ok(()) };
        let cpu = ConstCounter::<f64>::new(usage.cpu.as_secs_f64());
        let help = "Processor time, user and system";
        cpu.encode(encoder.encode_descriptor("process_cpu", help, Some(&Unit::Seconds), cpu.metric_type())?)?;
        let none = || std::iter::once(([], ()));
        let all = [
            ("process_resident_memory", "Memory that is resident", Some(&Unit::Bytes), number(usage.resident)),
            ("process_open_fds", "Files that the process has open", None, number(usage.open_files)),
            (
                "process_start_time",
                "When the process started, in seconds since 1970",
                Some(&Unit::Seconds),
                as_seconds(self.start),
            ),
        ];
        for (name, help, unit, value) in all {
            gauges::<0>(&mut encoder, name, help, unit, none().map(|(labels, ())| (labels, value)))?;
        }
        Ok(())
    }
}

pub(super) fn gauges<'a, const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    values: impl Iterator<Item = ([(&'a str, &'a str); N], f64)>,
) -> fmt::Result {
    let mut values = values.peekable();
    if values.peek().is_none() {
        return Ok(());
    }
    let mut family = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
    for (labels, value) in values {
        let gauge = ConstGauge::<f64>::new(value);
        if N == 0 {
            gauge.encode(family)?;
            return Ok(());
        }
        gauge.encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

pub(super) fn as_seconds(at: Timestamp) -> f64 {
    at.as_duration().as_secs_f64()
}

/// A whole number as Prometheus has it.
#[allow(clippy::cast_precision_loss)] // versions, bytes and counts lie far below 2^53
pub(super) fn number(value: u64) -> f64 {
    value as f64
}
