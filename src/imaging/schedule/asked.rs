//! What was asked for and has not begun: who goes next.
//!
//! Invariant: **hosts in turn, by what they have had**, so that a host with many sources, or large ones, delays its own; and
//! what finds no room is passed by what does, for a while, so that a large image waits for memory and nobody waits for it.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::pool::Job;

/// For so long others pass one that finds no room; then memory is left to it.
const PASSED: Duration = Duration::from_secs(1);

struct Waiting {
    job: Job,
    since: Instant,
}

/// What is known of a host.
#[derive(Default)]
struct Host {
    waiting: usize,
    /// What it has had, in bytes of estimated memory, counted from what the others had had when it came.
    had: u64,
}

/// Hosts of which is known what they have had although they wait for nothing.
const KNOWN: usize = 256;

#[derive(Default)]
pub(super) struct Asked {
    /// In order of arrival.
    jobs: Vec<Waiting>,
    hosts: HashMap<u64, Host>,
    /// What whoever went last had had before.
    now: u64,
}

impl Asked {
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    pub(super) fn push(&mut self, job: Job, since: Instant) {
        let host = self.hosts.entry(job.host).or_default();
        host.had = host.had.max(self.now);
        host.waiting += 1;
        self.jobs.push(Waiting { job, since });
    }

    /// How many go before another job of `host`: of each host as many as of this one, and all of its own.
    pub(super) fn ahead_of(&self, host: u64) -> usize {
        let own = self.hosts.get(&host).map_or(0, |host| host.waiting);
        self.hosts.values().map(|host| host.waiting.min(own + 1)).sum::<usize>().min(self.jobs.len())
    }

    /// The next job for which there is room.
    pub(super) fn take(&mut self, fits: impl Fn(&Job) -> bool, now: Instant) -> Option<Job> {
        let mut seen = HashSet::with_capacity(self.hosts.len());
        let firsts = self.jobs.iter().enumerate().filter(|(_, waiting)| seen.insert(waiting.job.host));
        let had = |host| self.hosts.get(&host).map_or(0, |host: &Host| host.had);
        let mut firsts: Vec<(u64, usize)> = firsts.map(|(at, waiting)| (had(waiting.job.host), at)).collect();
        // Equal ones in order of arrival.
        firsts.sort_unstable();
        let (_, first) = *firsts.first()?;
        let waited = now.saturating_duration_since(self.jobs[first].since);
        let found = if fits(&self.jobs[first].job) {
            first
        } else if waited > PASSED {
            return None;
        } else {
            firsts.iter().map(|(_, at)| *at).chain(0..self.jobs.len()).find(|at| fits(&self.jobs[*at].job))?
        };
        let job = self.jobs.remove(found).job;
        let host = self.hosts.entry(job.host).or_default();
        self.now = self.now.max(host.had);
        host.had = host.had.saturating_add(job.cost.max(1));
        host.waiting = host.waiting.saturating_sub(1);
        self.forget();
        Some(job)
    }

    /// Lets hosts go of which nothing is to be kept in mind.
    fn forget(&mut self) {
        if self.jobs.is_empty() {
            // Nobody waits for anybody: all start anew.
            self.hosts.clear();
            self.now = 0;
        } else if self.hosts.len() > KNOWN {
            self.hosts.retain(|_, host| host.waiting > 0);
        }
    }

    /// Takes out what nobody waits for any more.
    pub(super) fn given_up(&mut self) -> Vec<Job> {
        let contended = self.jobs.len() > 1;
        let is_given_up = |waiting: &Waiting| waiting.job.is_given_up(contended);
        if !self.jobs.iter().any(is_given_up) {
            return Vec::new();
        }
        let (gone, wanted) = std::mem::take(&mut self.jobs).into_iter().partition(is_given_up);
        self.jobs = wanted;
        let gone: Vec<Job> = Vec::into_iter(gone).map(|waiting| waiting.job).collect();
        for job in &gone {
            if let Some(host) = self.hosts.get_mut(&job.host) {
                host.waiting = host.waiting.saturating_sub(1);
            }
        }
        self.forget();
        gone
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn job(host: u64, cost: u64) -> Job {
        let work = Box::new(|_held| {});
        Job { cost, host, asked: true, leads: false, claimed: Arc::default(), deserted: None, work }
    }

    fn order(asked: &mut Asked, budget: u64, now: Instant) -> Vec<(u64, u64)> {
        let next = || asked.take(|job| job.cost <= budget, now).map(|job| (job.host, job.cost));
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn hosts_take_turns() {
        let (mut asked, now) = (Asked::default(), Instant::now());
        for _ in 0..5 {
            asked.push(job(1, 10), now);
        }
        asked.push(job(2, 10), now);
        asked.push(job(2, 10), now);
        assert_eq!((asked.ahead_of(1), asked.ahead_of(2), asked.ahead_of(3)), (7, 5, 2));
        let hosts: Vec<_> = order(&mut asked, 10, now).into_iter().map(|(host, _)| host).collect();
        assert_eq!(hosts, [1, 2, 1, 2, 1, 1, 1]);
        assert!(asked.hosts.is_empty());
    }

    #[test]
    fn who_comes_later_is_owed_nothing_for_the_time_before() {
        let (mut asked, now) = (Asked::default(), Instant::now());
        for _ in 0..4 {
            asked.push(job(1, 10), now);
        }
        let taken = [(); 2].map(|()| asked.take(|_| true, now).unwrap().host);
        assert_eq!(taken, [1, 1]);
        for _ in 0..3 {
            asked.push(job(2, 10), now);
        }
        let hosts: Vec<_> = order(&mut asked, 10, now).into_iter().map(|(host, _)| host).collect();
        assert_eq!(hosts, [2, 1, 2, 1, 2]);
    }

    #[test]
    fn small_ones_pass_a_large_one_for_a_while() {
        let (mut asked, now) = (Asked::default(), Instant::now());
        asked.push(job(1, 100), now);
        asked.push(job(1, 5), now);
        asked.push(job(2, 5), now);
        assert_eq!(asked.take(|job| job.cost < 50, now).map(|job| job.host), Some(2));
        assert!(asked.take(|job| job.cost < 50, now + PASSED * 2).is_none(), "memory is left to it");
        assert_eq!(order(&mut asked, 100, now + PASSED * 2), [(1, 100), (1, 5)]);
    }

    #[test]
    fn what_nobody_waits_for_is_dropped_when_others_wait() {
        let (mut asked, now) = (Asked::default(), Instant::now());
        asked.push(Job { deserted: Some(Arc::new(|| true)), ..job(1, 1) }, now);
        assert!(asked.given_up().is_empty(), "there is time for it");
        asked.push(job(1, 2), now);
        assert_eq!(asked.given_up().len(), 1);
        assert_eq!(asked.ahead_of(1), 1);
        assert_eq!(order(&mut asked, 9, now), [(1, 2)]);
    }

    #[test]
    fn of_hosts_that_wait_for_nothing_few_are_known() {
        let (mut asked, now) = (Asked::default(), Instant::now());
        asked.push(job(0, 100), now);
        for host in 1..5_000 {
            asked.push(job(host, 1), now);
            assert_eq!(asked.take(|job| job.cost == 1, now).map(|job| job.host), Some(host));
        }
        assert!(asked.hosts.len() <= KNOWN + 1, "{}", asked.hosts.len());
    }
}
