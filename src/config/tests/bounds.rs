//! Each key's own limits: one value beyond each of them.
//! Law: a value is refused alone, as one problem, with the place it came from.

use super::{problems, set};

#[test]
fn values_out_of_bounds_are_refused() {
    for assignment in [
        "images.device_sizes=",
        "images.device_sizes=0",
        "images.device_sizes=10001",
        "images.device_sizes=1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26",
        "images.qualities=101",
        "images.qualities=1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21",
        "images.formats=gif",
        "images.formats=",
        "images.snap=yes",
        "images.signing_keys=short",
        "images.max_pixels=0",
        "server.admin_token=short",
        "server.next_path=_next/image",
        "server.next_path=/",
        "server.next_path=/a/../b",
        "server.next_path=/a?b",
        "server.listen=localhost",
        "server.shutdown_grace=30",
        "sources.domains=*.example.com",
        "sources.domains=example.com:8080",
        "sources.domains=example.com/a",
        "sources.base_url=ftp://web",
        "sources.base_url=http://web/path",
        "sources.base_url=http://web/?q",
        "sources.max_redirects=21",
        "sources.max_redirects=-1",
        "sources.max_bytes=0",
        "sources.max_bytes=-5MB",
        "sources.timeout=0s",
        "sources.remote_patterns=[{\"hostname\":\"a\",\"protocol\":\"ftp\"}]",
        "sources.remote_patterns=[{\"hostname\":\"https://a\"}]",
        "sources.remote_patterns=[{\"hostname\":\"a\",\"port\":\"http\"}]",
        "sources.remote_patterns=[{\"hostname\":\"a\",\"search\":\"v=1\"}]",
        "sources.remote_patterns=[{\"hostname\":\"a\",\"hostname_regex\":\"a\"}]",
        "sources.remote_patterns=[{\"hostname\":\"a\",\"path\":\"/\"}]",
        "sources.remote_patterns=[{\"hostname_regex\":\"(\"}]",
        "sources.remote_patterns=a.example",
        "sources.local_patterns=[1]",
        "limits.decode_memory=10",
        "limits.queue=0",
        "redis.url=cache:6379",
        "redis.url=redis+sentinel://a:1",
        "redis.ttl=0s",
        "redis.timeout_ms=0",
        "redis.timeout_ms=10001",
        "redis.timeout_ms=100ms",
        "redis.max_value_bytes=1GB",
        "redis.ca_file=/nowhere/ca.pem",
        "log.level=inof",
        "log.format=xml",
        "log",
    ] {
        let problems = problems(set(&[assignment]));
        assert_eq!(problems.len(), 1, "{assignment}: {problems:?}");
        assert_eq!(problems[0].origin, "flag --set", "{assignment}");
    }
}
