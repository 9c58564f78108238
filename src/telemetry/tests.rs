//! The exposition has the names of the contract. Law: every name here is one of the public interface.

use super::*;

#[test]
fn exposition_has_the_contracted_names() {
    let metrics = Metrics::new();
    let labels = RequestLabels { route: Label("/image"), status: 200, cache: Label("memory") };
    metrics.requests.get_or_create(&labels).inc();
    metrics.observe_stage("decode", Duration::from_millis(3));
    metrics.count_shed("queue");
    metrics.count_lookup("memory", "hit");
    metrics.observe_redis("look_up", Duration::from_millis(1));
    metrics.count_write("redis", "ok");
    metrics.set_metadata_connections("idle", 2);
    metrics.count_metadata_rows("ok", 3);
    metrics.redis_up.set(false);
    metrics.redis_breaker.set(0);
    metrics.metadata_up.set(false);
    let text = metrics.exposition(Exposition::OpenMetrics);
    for expected in [
        "pixgate_requests_total{route=\"/image\",status=\"200\",cache=\"memory\"} 1",
        "pixgate_render_seconds_count{stage=\"decode\"} 1",
        "pixgate_shed_total{reason=\"queue\"} 1",
        "pixgate_cache_lookups_total{tier=\"memory\",outcome=\"hit\"} 1",
        "pixgate_queue_depth 0",
        "pixgate_redis_up 0",
        "pixgate_redis_breaker 0",
        "pixgate_redis_seconds_count{op=\"look_up\"} 1",
        "pixgate_cache_writes_total{tier=\"redis\",outcome=\"ok\"} 1",
        "pixgate_metadata_up 0",
        "pixgate_metadata_pool_connections{state=\"idle\"} 2",
        "pixgate_metadata_acquire_seconds_count 0",
        "pixgate_metadata_writes_total{outcome=\"ok\"} 3",
        "pixgate_bytes_saved_total 0",
    ] {
        assert!(text.contains(expected), "{expected} is missing in\n{text}");
    }
}
