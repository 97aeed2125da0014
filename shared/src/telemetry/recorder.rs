//! The recorder that keeps metrics until they are asked for.

use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;

use super::metrics::{self, Kind};

/// Time between two rounds of moving histogram samples into their buckets: bounds the memory that
/// waits for a scrape.
const UPKEEP: Duration = Duration::from_secs(5);

/// Why metrics could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("failed to install the recorder of metrics (it can be done once in a process)")]
pub struct RecorderError(#[source] BuildError);

/// Gives the metrics of this process as text.
#[derive(Debug, Clone)]
pub struct MetricsHandle(PrometheusHandle);

/// Installs the recorder of this process, with every metric described and every series of closed
/// label sets at zero. `service` and the version become the info metric `ringmaster_build_info`.
///
/// # Errors
/// [`RecorderError`] the second time.
pub fn install_recorder(service: &'static str) -> Result<MetricsHandle, RecorderError> {
    let handle = builder()?.install_recorder().map_err(RecorderError)?;
    metrics::describe_all();
    metrics::zero_all();
    let version = env!("CARGO_PKG_VERSION");
    ::metrics::gauge!(metrics::process::BUILD_INFO, "service" => service, "version" => version)
        .set(1.0);
    Ok(MetricsHandle(handle))
}

fn builder() -> Result<PrometheusBuilder, RecorderError> {
    let mut builder = PrometheusBuilder::new()
        .set_buckets(metrics::SECONDS_BUCKETS)
        .map_err(RecorderError)?;
    for metric in metrics::ALL {
        if let Kind::Histogram(buckets) = metric.kind {
            let name = Matcher::Full(metric.name.to_owned());
            builder = builder
                .set_buckets_for_metric(name, buckets)
                .map_err(RecorderError)?;
        }
    }
    Ok(builder)
}

impl MetricsHandle {
    /// All metrics in the text format of Prometheus.
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Keeps the memory of histograms bounded also when nobody asks for metrics, until `stop`.
    /// Spawn this beside the work of the process.
    pub async fn upkeep(self, stop: CancellationToken) {
        while stop
            .run_until_cancelled(tokio::time::sleep(UPKEEP))
            .await
            .is_some()
        {
            self.0.run_upkeep();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_described_and_closed_sets_are_at_zero() {
        let recorder = builder().unwrap().build_recorder();
        let handle = MetricsHandle(recorder.handle());
        ::metrics::with_local_recorder(&recorder, || {
            metrics::describe_all();
            metrics::zero_all();
        });
        let text = handle.render();
        for metric in metrics::ALL {
            if metric.labels.iter().all(metrics::Label::is_closed) {
                assert!(
                    text.contains(&format!("# HELP {} ", metric.name)),
                    "{} is not described in\n{text}",
                    metric.name
                );
            }
        }
        assert!(
            text.contains("ringmaster_refused_events_total{machine=\"server\"} 0"),
            "{text}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn upkeep_ends_when_told() {
        let recorder = builder().unwrap().build_recorder();
        let stop = CancellationToken::new();
        stop.cancel();
        MetricsHandle(recorder.handle()).upkeep(stop).await;
    }
}
