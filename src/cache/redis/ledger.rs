//! The ledger of purges: every rule of late with its epoch, in one key, and who has done it.
//!
//! Epochs grow with every rule and are about the milliseconds since 1970 of Redis's clock. Invariant: what a replica has not
//! heard it can read, and it can tell when it cannot: the ledger's identity changes when it was lost, and its floor rises
//! when rules are taken out. Rule, epoch and message are made in one step.

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use redis::Script;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, timeout_at};

use super::link::{Failure, Op};
use super::{Tier, keys};

/// Rules that are kept.
const RULES: usize = 10_000;
/// A replica that was not seen for so long is not waited for.
const ALIVE_MS: u64 = 3_000;

/// The ledger's first member is its identity, with its floor as score; it is made where it is missing, and what was purged
/// before that is unknown: the floor of a new one is now. Where it cannot be made, nothing is said. One with an epoch of
/// more than a day ahead was written by somebody else, or by a clock that was wrong, and every epoch after it would be too:
/// it is lost.
const OPEN: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function text(number) return string.format('%.0f', number) end
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
if last[2] and tonumber(last[2]) > now + 86400000 then redis.pcall('DEL', KEYS[1]) end
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if not first[1] or string.sub(first[1], 1, 3) ~= 'id:' then
  local made = redis.pcall('ZADD', KEYS[1], text(now), 'id:' .. ARGV[1])
  if type(made) == 'table' and made.err then return made end
  first = {'id:' .. ARGV[1], text(now)}
end
local function newest()
  local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
  return tonumber(last[2] or 0)
end
";
static APPEND: LazyLock<Script> = LazyLock::new(|| {
    script(
        "local before = newest()
         local epoch = text(math.max(before + 1, now))
         redis.call('ZADD', KEYS[1], epoch, epoch .. ':' .. ARGV[2])
         local floor = tonumber(first[2])
         local function drop(members)
           if #members == 0 then return end
           floor = tonumber(members[#members])
           redis.call('ZREMRANGEBYSCORE', KEYS[1], '(' .. first[2], text(floor))
           redis.call('ZADD', KEYS[1], text(floor), first[1])
           first[2] = text(floor)
         end
         drop(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. first[2], text(now - ARGV[4]), 'WITHSCORES'))
         local over = redis.call('ZCARD', KEYS[1]) - 1 - ARGV[3]
         if over > 0 then drop(redis.call('ZRANGE', KEYS[1], over, over, 'WITHSCORES')) end
         redis.call('PUBLISH', ARGV[6], text(before) .. ':' .. epoch .. ':' .. ARGV[2])
         return {epoch, redis.call('ZRANGEBYSCORE', KEYS[2], text(now - ARGV[5]), '+inf')}",
    )
});
static SINCE: LazyLock<Script> = LazyLock::new(|| {
    script("return {first[1], first[2], redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ARGV[2], '+inf'), text(newest())}")
});
static BEAT: LazyLock<Script> = LazyLock::new(|| {
    script(
        "redis.pcall('ZADD', KEYS[2], now, ARGV[2])
         redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', text(now - ARGV[3]))
         return {first[1], text(newest())}",
    )
});

/// A ledger that has forgotten rules is replaced by one that knows that it knows nothing of before.
static REPLACE: LazyLock<Script> = LazyLock::new(|| {
    script(
        "if first[1] == ARGV[2] then
           redis.call('DEL', KEYS[1])
           redis.call('ZADD', KEYS[1], text(math.max(now, tonumber(ARGV[3]) + 1)), 'id:' .. ARGV[1])
         end
         return 1",
    )
});

fn script(body: &str) -> Script {
    Script::new(&format!("{OPEN}{body}"))
}

/// One purge, as it was written; what it means is its reader's affair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its place in the order of all; the next one's is higher.
    pub epoch: u64,
    /// What was appended.
    pub rule: Bytes,
}

impl Rule {
    /// From `epoch:rule`; messages have the epoch of the rule before in front of that.
    pub(super) fn parse(text: &Bytes) -> Option<Self> {
        let colon = text.iter().position(|byte| *byte == b':')?;
        let epoch = std::str::from_utf8(&text[..colon]).ok()?.parse().ok()?;
        Some(Self { epoch, rule: text.slice(colon + 1..) })
    }
}

/// Rules in the order of their epochs, and how far they can be relied on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// Another one than before: the ledger was lost, and with it rules that nobody knows.
    pub id: String,
    /// Rules up to this epoch may have been taken out, by number or age.
    pub floor: u64,
    /// The newest epoch, of rules that are not ours too.
    pub newest: u64,
    /// The rules after the epoch that was asked for.
    pub rules: Vec<Rule>,
}

/// A rule that is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its epoch.
    pub epoch: u64,
    /// Replicas that listened of late.
    pub replicas: usize,
    /// Those of them that have done it within the wait.
    pub acknowledged: usize,
    /// When the last of those had.
    pub at: SystemTime,
}

impl Tier {
    /// Puts a rule into force, tells all replicas, and waits until each that listens has done it, but not longer than
    /// `wait`.
    ///
    /// # Errors
    /// [`Failure`] when the rule is not, or may not be, in the ledger.
    pub async fn ledger_append(&self, rule: Bytes, wait: Duration) -> Result<Appended, Failure> {
        let deadline = Instant::now() + wait;
        // From before the rule is told, so that no answer is missed.
        let mut answers = self.answers.subscribe();
        let rule = self.integrity.seal_rule(&rule);
        let max_age_ms = u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX);
        let (epoch, listening): (u64, Vec<u64>) = self
            .script(&APPEND, |call| {
                call.arg(rule.as_ref()).arg(RULES).arg(max_age_ms).arg(ALIVE_MS).arg(keys::PURGE);
            })
            .await?;
        let replicas = listening.len();
        let mut missing: BTreeSet<u64> = listening.into_iter().collect();
        let mut at = SystemTime::now();
        while !missing.is_empty() {
            match timeout_at(deadline, answers.recv()).await {
                // Rules are done in their order, so whoever has done a later one has done this one.
                Ok(Ok((done, replica))) if done >= epoch => {
                    missing.remove(&replica);
                    at = SystemTime::now();
                }
                Ok(Ok(_) | Err(RecvError::Lagged(_))) => {}
                Ok(Err(RecvError::Closed)) | Err(_) => break,
            }
        }
        Ok(Appended { epoch, replicas, acknowledged: replicas - missing.len(), at })
    }

    /// The rules after `epoch`.
    ///
    /// # Errors
    /// [`Failure`] when Redis does not give them.
    pub async fn ledger_since(&self, epoch: u64) -> Result<Ledger, Failure> {
        let (id, floor, rules, newest): (String, f64, Vec<Bytes>, String) = self
            .script(&SINCE, |call| {
                call.arg(epoch);
            })
            .await?;
        // Epochs are whole and below 2^53.
        let rules = rules.iter().filter_map(Rule::parse).filter_map(|rule| self.proved(rule)).collect();
        Ok(Ledger { id, floor: floor as u64, newest: newest.parse().unwrap_or(floor as u64), rules })
    }

    /// The rule as it was appended, if it was by a service that has the key.
    pub(super) fn proved(&self, sealed: Rule) -> Option<Rule> {
        let rule = self.integrity.open_rule(&sealed.rule);
        if rule.is_none() && !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!("purges in Redis are not written with redis.integrity_key and are not done");
        }
        Some(Rule { epoch: sealed.epoch, rule: rule? })
    }

    /// Tells that this replica has done every rule up to `epoch`; true when Redis took it.
    pub async fn acknowledge(&self, epoch: u64) -> bool {
        let mut command = redis::cmd("PUBLISH");
        command.arg(keys::ACK).arg(format!("{epoch}:{}", self.replica));
        let tell = |mut connection| async move { command.query_async::<()>(&mut connection).await };
        self.link.call(Op::Ledger, tell).await.is_ok()
    }

    /// Tells that this replica listens; gives the ledger's identity and newest epoch.
    pub(super) async fn beat(&self) -> Result<(String, u64), Failure> {
        self.script(&BEAT, |call| {
            call.arg(self.replica).arg(ALIVE_MS * 10);
        })
        .await
    }

    /// Replaces the ledger called `id`, which has lost rules up to `epoch`: it was restored from an older copy.
    pub(super) async fn ledger_replace(&self, id: &str, epoch: u64) -> Result<(), Failure> {
        let replaced: Result<u64, _> = self
            .script(&REPLACE, |call| {
                call.arg(id).arg(epoch);
            })
            .await;
        replaced.map(|_| ())
    }

    async fn script<T: redis::FromRedisValue>(
        &self,
        script: &Script,
        arguments: impl Fn(&mut redis::ScriptInvocation<'_>),
    ) -> Result<T, Failure> {
        let run = || {
            let mut call = script.prepare_invoke();
            // Its identity, should it be missing: random, and the same for nobody else.
            call.key(keys::LEDGER).key(keys::REPLICAS).arg(format!("{:016x}", fastrand::u64(..)));
            arguments(&mut call);
            self.link.call(Op::Ledger, |mut connection| async move { call.invoke_async(&mut connection).await })
        };
        match run().await {
            // Something else lies in its place; that is a lost ledger.
            Err(failure) if failure.code() == Some("WRONGTYPE") => {
                let mut command = redis::cmd("DEL");
                command.arg(keys::LEDGER).arg(keys::REPLICAS);
                let clear = |mut connection| async move { command.query_async::<()>(&mut connection).await };
                self.link.call(Op::Ledger, clear).await?;
                run().await
            }
            result => result,
        }
    }
}
