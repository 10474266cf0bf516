//! The log of purges in Redis, and the leases beside it: each step is one script, so that it happens whole or not at all.
//!
//! `{lb}:bus` is a hash, `{lb}:purges` a stream; the braces keep both on one node of a cluster. In the hash:
//!
//! | field | what |
//! | --- | --- |
//! | `run` | which process of Redis has made the rest of it |
//! | `epoch` | the life of the log: another one when Redis was started again, or has lost what it had |
//! | `end` | the number of the last purge; in the stream its ID is `number-0`, without a gap |
//! | `count` | numbers renewals of leases |
//! | `at` | when this life began or a lease was last renewed, by Redis's clock in milliseconds |
//! | `l:MEMBER` | a lease: the number of its renewal and the last purge that its holder has done |
//!
//! All of it is one key, so that an eviction takes all of it or nothing. A log that was evicted has a gap; a restart, or a primary's
//! replacement by its replica, is another `run`.

use std::collections::HashMap;
use std::time::Duration;

use redis::{Cmd, FromRedisValue, RedisResult};

use super::fence::Lease;
use super::link::Link;
use super::member::{Member, Report};
use super::outbox::Batch;

/// Purges that Redis keeps for those that are cut off for a while.
const KEPT: usize = 10_000;
/// Purges that are read at once.
const AT_ONCE: usize = 1000;
/// How long an answer may take that Redis has not to wait for.
const ANSWER: Duration = Duration::from_millis(500);
/// So long after the last lease was renewed nobody has one any more: Redis was away, and somebody may have answered a write of which it has not
/// heard. Longer than [`super::member::HOLD`], shorter than [`super::fence::LAPSE`].
const SILENCE: Duration = Duration::from_millis(1750);

const BUS: &str = "{lb}:bus";
const PURGES: &str = "{lb}:purges";

/// Before each script: begins another life of the log where that has to be. ARGV[1] is the name for it.
const BEGIN: &str = r"
local bus, purges = KEYS[1], KEYS[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function begin(run)
  redis.call('DEL', bus, purges)
  redis.call('HSET', bus, 'run', run, 'epoch', ARGV[1], 'end', 0, 'at', string.format('%d', now))
end
local info = redis.pcall('INFO', 'server')
local run = type(info) == 'string' and string.match(info, 'run_id:(%w+)') or ''
if redis.call('HGET', bus, 'run') ~= run then begin(run) end
";

/// ARGV: 2 the message, 3 the sender, 4 how many are kept, 5 the sender's own number for it. Returns epoch and number.
const APPEND: &str = r"
local number = redis.call('HINCRBY', bus, 'end', 1)
redis.call('XADD', purges, 'MAXLEN', '~', ARGV[4], string.format('%d-0', number), 'from', ARGV[3], 'ticket', ARGV[5], 'purges', ARGV[2])
return {redis.call('HGET', bus, 'epoch'), number}
";

/// ARGV: 2 the epoch that the member knows, 3 the last purge it has done, 4 its name if it asks for a lease, 5 the silence that ends the log's
/// life, in milliseconds. Returns epoch, end, and 1 if its lease was kept.
const REPORT: &str = r"
local kept = 0
if ARGV[4] ~= '' then
  if now - tonumber(redis.call('HGET', bus, 'at')) > tonumber(ARGV[5]) then begin(run) end
  if redis.call('HGET', bus, 'epoch') == ARGV[2] and tonumber(ARGV[3]) > tonumber(redis.call('HGET', bus, 'end')) then begin(run) end
  if redis.call('HGET', bus, 'epoch') == ARGV[2] then
    local lease = 'l:' .. ARGV[4]
    kept = redis.call('HEXISTS', bus, lease)
    redis.call('HSET', bus, lease, string.format('%d:%s', redis.call('HINCRBY', bus, 'count', 1), ARGV[3]), 'at', string.format('%d', now))
  end
end
return {redis.call('HGET', bus, 'epoch'), tonumber(redis.call('HGET', bus, 'end')), kept}
";

/// ARGV: from 2 on members and numbers of renewals, whose leases are taken away if they are still the same. Returns epoch and leases.
const LOOK: &str = r"
for at = 2, #ARGV, 2 do
  local lease = redis.call('HGET', bus, 'l:' .. ARGV[at])
  if lease and string.match(lease, '^(%d+):') == ARGV[at + 1] then redis.call('HDEL', bus, 'l:' .. ARGV[at]) end
end
local leases, all = {}, redis.call('HGETALL', bus)
for at = 1, #all, 2 do
  local member = string.match(all[at], '^l:(.*)$')
  if member then table.insert(leases, member) table.insert(leases, all[at + 1]) end
end
return {redis.call('HGET', bus, 'epoch'), leases}
";

fn script(body: &str) -> Cmd {
    let mut command = redis::cmd("EVAL");
    // A name that nobody else takes, should this be the moment when the log begins anew.
    let name = format!("{:032x}", rand::random::<u128>());
    command.arg(format!("{BEGIN}{body}")).arg(2).arg(BUS).arg(PURGES).arg(name);
    command
}

/// Puts purges into the log; the life of the log, and the number that they have in it.
pub(super) async fn append(link: &mut Link, me: &str, batch: &Batch) -> RedisResult<(String, u64)> {
    let mut command = script(APPEND);
    command.arg(&batch.message).arg(me).arg(KEPT).arg(batch.ticket);
    link.ask(&command, ANSWER).await
}

/// Tells how far a member has come, and renews its lease if it asks for one.
pub(super) async fn report(link: &mut Link, me: &str, member: &Member) -> RedisResult<Report> {
    let mut command = script(REPORT);
    let name = if member.leases() { me } else { "" };
    let silence = SILENCE.as_millis() as u64;
    command.arg(member.epoch()).arg(member.last()).arg(name).arg(silence);
    let (epoch, end, kept): (String, u64, bool) = link.ask(&command, ANSWER).await?;
    Ok(Report { epoch, end, kept })
}

/// Takes lapsed leases away, and tells those that there are.
pub(super) async fn look(link: &mut Link, lapsed: &[(String, u64)]) -> RedisResult<(String, Vec<Lease>)> {
    let mut command = script(LOOK);
    for (member, count) in lapsed {
        command.arg(member).arg(count);
    }
    let (epoch, leases): (String, HashMap<String, String>) = link.ask(&command, ANSWER).await?;
    let leases = leases.into_iter().filter_map(|(member, lease)| {
        let (count, done) = lease.split_once(':')?;
        Some(Lease {
            member,
            count: count.parse().ok()?,
            done: done.parse().ok()?,
        })
    });
    Ok((epoch, leases.collect()))
}

/// Gives a lease up.
pub(super) async fn leave(link: &mut Link, me: &str) -> RedisResult<()> {
    link.ask(redis::cmd("HDEL").arg(BUS).arg(format!("l:{me}")), ANSWER).await
}

/// A message out of the log.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) number: u64,
    pub(super) from: String,
    /// The sender's number for it.
    pub(super) ticket: u64,
    pub(super) message: Vec<u8>,
}

/// What comes after a number, as soon as something does; nothing if nothing comes for so long.
pub(super) async fn read(link: &mut Link, after: u64, wait: Duration) -> RedisResult<Vec<Entry>> {
    let mut command = redis::cmd("XREAD");
    command.arg("COUNT").arg(AT_ONCE).arg("BLOCK").arg(wait.as_millis() as u64);
    command.arg("STREAMS").arg(PURGES).arg(format!("{after}-0"));
    let streams: Option<Vec<(String, Entries)>> = link.ask(&command, wait + ANSWER).await?;
    let entries = streams.into_iter().flatten().flat_map(|(_, entries)| entries);
    entries.map(|(id, fields)| entry(&id, fields)).collect()
}

/// What XRANGE and XREAD hand out: each entry's ID, and its fields.
type Entries = Vec<(String, HashMap<String, redis::Value>)>;

/// Returns epoch and everything in the log.
const WHOLE: &str = r"
return {redis.call('HGET', bus, 'epoch'), redis.call('XRANGE', purges, '-', '+')}
";

/// The life of the log, and all that is in it.
pub(super) async fn whole(link: &mut Link) -> RedisResult<(String, Vec<Entry>)> {
    let (epoch, entries): (String, Entries) = link.ask(&script(WHOLE), 4 * ANSWER).await?;
    let entries = entries.into_iter().map(|(id, fields)| entry(&id, fields));
    Ok((epoch, entries.collect::<RedisResult<_>>()?))
}

fn entry(id: &str, mut fields: HashMap<String, redis::Value>) -> RedisResult<Entry> {
    let mut field = |name: &str| fields.remove(name).unwrap_or(redis::Value::Nil);
    // Something that nobody here has written has no number that follows, and so cuts off.
    let number = id.split_once('-').and_then(|(number, _)| number.parse().ok()).unwrap_or(0);
    Ok(Entry {
        number,
        from: Option::<String>::from_redis_value(field("from"))?.unwrap_or_default(),
        ticket: Option::<u64>::from_redis_value(field("ticket"))?.unwrap_or(0),
        message: Option::<Vec<u8>>::from_redis_value(field("purges"))?.unwrap_or_default(),
    })
}
