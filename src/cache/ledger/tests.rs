//! Verdicts, epochs, tags, and what happens when there are too many rules.

use super::*;

fn judge(ledger: &Ledger, url: &str, epoch: u64) -> Verdict {
    let host = url.split('/').nth(2).expect("a host");
    ledger.judge(Named { key: &SourceKey::of_normalised(url), url, host }, epoch)
}

fn purge(scope: Scope, soft: bool) -> Purge {
    Purge { scope, soft }
}

#[test]
fn a_rule_judges_what_is_older_and_what_it_names() {
    use Verdict::{Purged, Stale, Valid};
    let (a, b, c) = ("https://a.example/x/1.jpg", "https://a.example/y/1.jpg", "https://b.example/x/1.jpg");
    let key = |url| Scope::Url(SourceKey::of_normalised(url));
    for (scope, named) in [
        (key(a), [true, false, false]),
        (Scope::Prefix("https://a.example/x/".into()), [true, false, false]),
        (Scope::Host("a.example".into()), [true, true, false]),
        (Scope::All, [true, true, true]),
    ] {
        for (soft, verdict) in [(false, Purged), (true, Stale)] {
            let ledger = Ledger::default();
            ledger.apply(&purge(scope.clone(), soft), 100);
            for (url, named) in [a, b, c].into_iter().zip(named) {
                assert_eq!(judge(&ledger, url, 99), if named { verdict } else { Valid }, "{scope:?} {url}");
                assert_eq!(judge(&ledger, url, 100), Valid, "begun after the purge");
            }
            // A later rule about something else leaves the verdicts as they are.
            ledger.apply(&purge(Scope::Host("z.example".into()), false), 200);
            assert_eq!(judge(&ledger, a, 99), verdict);
            assert_eq!(judge(&ledger, a, 150), Valid);
        }
    }
}

#[test]
fn a_hard_purge_is_not_softened_by_a_later_soft_one() {
    let ledger = Ledger::default();
    ledger.apply(&purge(Scope::All, false), 100);
    ledger.apply(&purge(Scope::Host("a.example".into()), true), 200);
    assert_eq!(judge(&ledger, "https://a.example/1", 50), Verdict::Purged);
    assert_eq!(judge(&ledger, "https://a.example/1", 150), Verdict::Stale);
    assert_eq!(judge(&ledger, "https://a.example/1", 200), Verdict::Valid);
}

#[test]
fn what_is_purged_is_tagged_on_what_is_sent() {
    let url = "https://a.example/x/1.jpg";
    let key = SourceKey::of_normalised(url);
    let sent = Named { key: &key, url, host: "a.example" }.tags();
    for scope in [
        Scope::Url(key),
        Scope::Host("a.example".into()),
        Scope::Prefix("https://a.example/x".into()),
        Scope::Prefix("https://a".into()),
        Scope::All,
    ] {
        assert!(scope.tags().iter().all(|tag| sent.contains(tag)), "{scope:?}");
    }
    assert_ne!(Scope::Url(SourceKey::of_normalised("https://a.example/x/2.jpg")).tags(), Scope::Url(key).tags());
}

#[test]
fn too_many_rules_become_one_that_names_everything() {
    let ledger = Ledger::default();
    for n in 0..=MAX_RULES as u64 {
        ledger.apply(&purge(Scope::Host(format!("{n}.example")), false), 100 + n);
    }
    assert_eq!(judge(&ledger, "https://unnamed.example/1", 500), Verdict::Purged, "as old as the oldest tenth");
    assert_eq!(judge(&ledger, "https://unnamed.example/1", 5_000), Verdict::Valid);
    assert_eq!(judge(&ledger, "https://9000.example/1", 5_000), Verdict::Purged, "the others are kept apart");
}

#[test]
fn too_many_prefixes_become_their_hosts() {
    let ledger = Ledger::default();
    for n in 0..=MAX_PREFIXES as u64 {
        let prefix = if n % 2 == 0 { format!("https://a.example:81/{n}/") } else { format!("http://[::1]/{n}/") };
        ledger.apply(&purge(Scope::Prefix(prefix), false), 100 + n);
    }
    let judge = |host, epoch| {
        let url = "https://not.looked/at";
        ledger.judge(Named { key: &SourceKey::of_normalised(url), url, host }, epoch)
    };
    assert_eq!(judge("a.example", 99), Verdict::Purged);
    assert_eq!(judge("[::1]", 99), Verdict::Purged);
    assert_eq!(judge("b.example", 99), Verdict::Valid);
    ledger.apply(&purge(Scope::Prefix("https://b.exam".into()), false), 1_000);
    for n in 0..MAX_PREFIXES {
        ledger.apply(&purge(Scope::Prefix(format!("https://a.example/{n}/")), true), 2_000);
    }
    assert_eq!(judge("b.example", 999), Verdict::Purged, "a host that was cut off is every host");
}

#[test]
fn epochs_only_grow() {
    let ledger = Ledger::default();
    ledger.apply(&purge(Scope::All, false), 1_000);
    assert_eq!(ledger.next_epoch(), 1_001);
    ledger.apply(&purge(Scope::All, false), 7);
    assert_eq!(ledger.epoch(), 1_000, "a rule that comes late does not set the clock back");
}

#[test]
fn what_carries_an_epoch_of_a_wrong_clock_can_be_purged() {
    let url = "https://a.example/x.jpg";
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_millis() as u64;
    let far = now + 25 * 3_600_000;
    let ledger = Ledger::default();
    ledger.apply(&purge(Scope::Host("a.example".into()), false), far);
    assert_eq!((judge(&ledger, url, far), judge(&ledger, url, now)), (Verdict::Valid, Verdict::Purged));
    ledger.begin_again(now);
    assert_eq!(ledger.epoch(), now);
    assert_eq!(judge(&ledger, url, far), Verdict::Purged, "no purge would be newer");
    assert_eq!((judge(&ledger, url, now - 1), judge(&ledger, url, now)), (Verdict::Purged, Verdict::Valid));
    // Of a replica that heard of a purge before us.
    assert_eq!(judge(&ledger, url, now + 3_600_000), Verdict::Valid);
}
