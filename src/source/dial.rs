//! Name look-up with the address guard inside it, so that the judged addresses are the ones dialled.
//!
//! Invariant: one look-up for one dial. Every answer is judged, one bad answer refuses all, and what is handed to the
//! connector is the judged list itself: a name that answers differently the second time (DNS rebinding) gains nothing.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::guard::AddressGuard;

/// Looks a name up. A closure, so that tests can answer.
pub(super) type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// Why a name is not dialled; found again in the client's error chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    /// At least one of its addresses is not public.
    #[error("an address that is not public")]
    NotPublic,
    /// It has none.
    #[error("no address")]
    NoAddress,
}

/// The system's resolver.
pub(super) fn system_lookup() -> Lookup {
    Arc::new(|name| {
        Box::pin(async move {
            let answers = tokio::net::lookup_host((name, 0)).await?;
            Ok(answers.map(|address| address.ip()).collect())
        })
    })
}

/// A resolver for the HTTP client that hands on admitted addresses only.
pub(super) struct GuardedResolver {
    pub(super) guard: AddressGuard,
    pub(super) lookup: Lookup,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.guard.clone();
        let answers = (self.lookup)(name.as_str().to_owned());
        Box::pin(async move {
            let answers = answers.await?;
            let judged = judge(&guard, answers)?;
            Ok(Box::new(judged.into_iter()) as Addrs)
        })
    }
}

/// All of the answers, or a refusal. Port 0 stands for the URL's own.
fn judge(guard: &AddressGuard, answers: Vec<IpAddr>) -> Result<Vec<SocketAddr>, Refused> {
    if answers.is_empty() {
        return Err(Refused::NoAddress);
    }
    if !answers.iter().all(|ip| guard.admits(*ip)) {
        return Err(Refused::NotPublic);
    }
    Ok(answers.into_iter().map(|ip| SocketAddr::new(ip, 0)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bad_answer_refuses_all_and_good_ones_are_handed_on_as_they_are() {
        let judge = |answers: &[&str]| {
            let answers = answers.iter().map(|ip| ip.parse().expect("an address")).collect();
            judge(&AddressGuard::default(), answers)
        };
        let good = judge(&["8.8.8.8", "2606:4700::1111"]).expect("public");
        assert_eq!(
            good,
            ["8.8.8.8:0".parse().expect("an address"), "[2606:4700::1111]:0".parse().expect("an address")]
        );
        assert_eq!(judge(&["8.8.8.8", "10.0.0.1"]), Err(Refused::NotPublic));
        assert_eq!(judge(&["::1", "8.8.8.8"]), Err(Refused::NotPublic));
        assert_eq!(judge(&[]), Err(Refused::NoAddress));
    }
}
