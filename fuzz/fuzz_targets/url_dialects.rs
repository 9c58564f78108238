//! Raw queries in both dialects, and the URLs in them against the policy: an answer or an error, never a panic.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use pixgate::http::query::{Sizes, is_taken};
use pixgate::source::{Settings, SourcePolicy};

static POLICY: LazyLock<SourcePolicy> = LazyLock::new(|| {
    let domains = vec!["images.example.com".to_owned()];
    let base_url = "http://app.example.com:3000".parse().ok();
    SourcePolicy::new(&Settings { domains, base_url, ..Settings::default() })
});

fuzz_target!(|input: &str| {
    let _taken = is_taken(input, &Sizes::default(), &POLICY);
    if let Ok(source) = POLICY.admit(input) {
        // What was admitted is on one of the two hosts, whatever the text looked like.
        let host = source.url().host_str();
        assert!(matches!(host, Some("images.example.com" | "app.example.com")), "{input:?} became {source:?}");
        assert!(source.url().username().is_empty() && source.url().password().is_none());
    }
});
