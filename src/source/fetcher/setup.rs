//! What the fetcher's tests start from: settings that allow one loopback address, a fetcher, scripted name look-ups.
//!
//! Nothing here asks the network or the system for a name.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Long enough never to be what ends a test on a busy machine.
pub(super) const NEVER: Duration = Duration::from_secs(60);
/// Short enough to wait for.
pub(super) const SOON: Duration = Duration::from_millis(100);

/// Loopback's first address is allowed, and no other private one.
pub(super) fn settings() -> Settings {
    Settings {
        domains: vec!["127.0.0.1".into(), "img.test".into()],
        allow_cidrs: vec!["127.0.0.1/32".parse().expect("a network")],
        max_bytes: 1000,
        connect_timeout: NEVER,
        first_byte_timeout: NEVER,
        idle_timeout: NEVER,
        timeout: NEVER,
        user_agent: "pixgate/test".into(),
        ..Settings::default()
    }
}

pub(super) struct Setup {
    fetcher: Fetcher,
    pub(super) policy: Arc<SourcePolicy>,
    pub(super) metrics: Arc<Metrics>,
}

impl Setup {
    pub(super) fn new(settings: &Settings) -> Self {
        Self::answering(settings, system_lookup())
    }

    pub(super) fn answering(settings: &Settings, lookup: Lookup) -> Self {
        let (policy, metrics) = (Arc::new(SourcePolicy::new(settings)), Arc::new(Metrics::new()));
        let fetcher = Fetcher::with_lookup(Arc::clone(&policy), settings, Arc::clone(&metrics), lookup);
        Self { fetcher: fetcher.expect("a client"), policy, metrics }
    }

    pub(super) async fn ask(&self, url: &str, validators: Option<&Validators>) -> Result<Fetched, Error> {
        let url = self.policy.admit(url).unwrap_or_else(|refusal| panic!("{url}: {refusal}"));
        self.fetcher.fetch(&url, validators).await.map_err(|failed| failed.error)
    }

    pub(super) async fn failed(&self, url: &str) -> Failed {
        let url = self.policy.admit(url).unwrap_or_else(|refusal| panic!("{url}: {refusal}"));
        self.fetcher.fetch(&url, None).await.expect_err("it fails")
    }

    pub(super) async fn get(&self, url: &str) -> Result<Download, Error> {
        match self.ask(url, None).await? {
            Fetched::Modified(download) => Ok(download),
            Fetched::NotModified(_) => panic!("{url}: 304 without a condition"),
        }
    }

    pub(super) async fn fails(&self, url: &str) -> Error {
        match self.get(url).await {
            Err(error) => error,
            Ok(download) => panic!("{url}: {} bytes", download.bytes.len()),
        }
    }
}

/// Answers look-ups from a list, the last one again and again, and counts them.
pub(super) fn scripted(answers: &[&[&str]]) -> (Lookup, Arc<AtomicUsize>) {
    let parse = |ips: &&[&str]| ips.iter().map(|ip| ip.parse().expect("an address")).collect::<Vec<IpAddr>>();
    let answers: Mutex<VecDeque<_>> = Mutex::new(answers.iter().map(parse).collect());
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let lookup: Lookup = Arc::new(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        let mut answers = answers.lock().expect("no panic");
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        Box::pin(std::future::ready(answer.ok_or_else(|| std::io::Error::other("no such name"))))
    });
    (lookup, count)
}
