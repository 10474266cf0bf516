//! What is kept in Redis, and the scripts that change it, each in one step.
//!
//! | key | what |
//! | --- | --- |
//! | `…:user:ID` | a hash: `v` the user, `t` who is fetching it, `n` the version that the last write has made |
//! | `…:lists` | a hash: of each part of the list `v:PART` and `t:PART`. A write deletes all of it |
//! | `…:lsn` | a hash: the place in the log that a read has to know of, for each tag; see [`Live::invalidate`] |
//! | `…:told:ROW` | Redis was told of this row of the outbox |
//!
//! Redis may throw away any key at any moment, when it is full. No key that is missing makes another one valid: values are in one hash with
//! what guards them.

use std::time::Duration;

use bytes::Bytes;
use redis::{FromRedisValue, RedisResult, ToRedisArgs, Value};

use super::link::Live;
use crate::store::{Lsn, Note};

/// How long whoever fetches something is alone with it. Past that, somebody else may fetch it.
const FETCH: Duration = Duration::from_secs(3);
/// How long Redis remembers what a write has made of a user: longer than any read of the database takes.
const NOTED: Duration = Duration::from_secs(60);
/// How long it remembers which rows of the outbox it was told of.
const TOLD: Duration = Duration::from_secs(10);
/// How long the places in the log are kept when no server renews them.
const PLACES: Duration = Duration::from_secs(3600);
/// Parts of the list that are kept at once (and as many more that are being fetched).
const PARTS: usize = 1024;
/// Tags whose place in the log is kept by itself.
const TAGS: usize = 1024;

/// Gives the value; or who is fetching it, which is the caller if nobody was, and the place in the log that the fetch has to know of.
const MISS: &str = "
    local slot, lsn = KEYS[1], KEYS[2]
    local part, token, tag, list = ARGV[1], ARGV[2], ARGV[5], ARGV[6] == '1'
    local value = redis.call('HGET', slot, 'v' .. part)
    if value then return {value} end
    local places = redis.call('HMGET', lsn, 'floor', tag)
    local place = places[1]
    if place and places[2] and places[2] > place then place = places[2] end
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    local held = redis.call('HGET', slot, 't' .. part)
    if held then
        local holder, till = string.match(held, '^(%S+) (%d+)$')
        if holder and tonumber(till) > now then return {false, holder, place} end
    end
    if list and redis.call('HLEN', slot) >= tonumber(ARGV[7]) then redis.call('UNLINK', slot) end
    redis.call('HSET', slot, 't' .. part, token .. ' ' .. string.format('%.0f', now + ARGV[3]))
    if not list or redis.call('PTTL', slot) < 0 then redis.call('PEXPIRE', slot, ARGV[4]) end
    return {false, token, place}";

/// Keeps a value, if whoever brings it still has the token, and knows of the last write. Without a value, gives the token back.
const FILL: &str = "
    local slot, part, token = KEYS[1], ARGV[1], ARGV[2]
    local held = redis.call('HGET', slot, 't' .. part)
    if not held or string.sub(held, 1, #token + 1) ~= token .. ' ' then return 0 end
    redis.call('HDEL', slot, 't' .. part)
    if ARGV[3] == '' then return 0 end
    local noted = redis.call('HGET', slot, 'n')
    if noted and ARGV[4] ~= '' and tonumber(noted) > tonumber(ARGV[4]) then return -1 end
    redis.call('HSET', slot, 'v' .. part, ARGV[3])
    if ARGV[5] ~= '' then redis.call('PEXPIRE', slot, ARGV[5]) end
    return 1";

/// Takes out what writes have outdated, with the tokens of those who may be fetching what was before.
const INVALIDATE: &str = "
    local lists, lsn = KEYS[1], KEYS[2]
    local place, noted_for, told_for = ARGV[1], ARGV[2], ARGV[3]
    local places = place ~= '' and redis.call('EXISTS', lsn) == 1
    local function raise(tag)
        local before = redis.call('HGET', lsn, tag)
        if not before or before < place then redis.call('HSET', lsn, tag, place) end
    end
    local done = 0
    for n = 1, (#KEYS - 2) / 2 do
        local user, told = KEYS[2 * n + 1], KEYS[2 * n + 2]
        local tag, version, row = ARGV[3 * n + 2], ARGV[3 * n + 3], ARGV[3 * n + 4]
        if row == '' or redis.call('EXISTS', told) == 0 then
            local noted = redis.call('HGET', user, 'n')
            if noted and tonumber(noted) > tonumber(version) then version = noted end
            redis.call('UNLINK', user)
            redis.call('HSET', user, 'n', version)
            redis.call('PEXPIRE', user, noted_for)
            if places then raise(tag) end
            if row ~= '' and told_for ~= '' then redis.call('SET', told, 1, 'PX', told_for) end
            done = done + 1
        end
    end
    if done == 0 then return 0 end
    redis.call('UNLINK', lists)
    if places then
        raise('users')
        raise('max')
        if redis.call('HLEN', lsn) > tonumber(ARGV[4]) then
            local kept = redis.call('HMGET', lsn, 'floor', 'max')
            redis.call('UNLINK', lsn)
            if kept[1] then redis.call('HSET', lsn, 'floor', kept[2], 'max', kept[2]) end
        end
    end
    return done";

/// Gives a token to whoever is to find out the place in the log from which on all places are kept; none if that is known.
const ASK_FLOOR: &str = "
    if redis.call('HEXISTS', KEYS[1], 'floor') == 1 then return false end
    redis.call('HSETNX', KEYS[1], 'token', ARGV[1])
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    return redis.call('HGET', KEYS[1], 'token')";

/// Keeps it, if all places have been kept since the token was given.
const SET_FLOOR: &str = "
    if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
    redis.call('HDEL', KEYS[1], 'token')
    redis.call('HSET', KEYS[1], 'floor', ARGV[2])
    local max = redis.call('HGET', KEYS[1], 'max')
    if not max or max < ARGV[2] then redis.call('HSET', KEYS[1], 'max', ARGV[2]) end
    return 1";

/// One answer to [`MISS`].
pub(super) enum Missed {
    /// It is there.
    Found(Bytes),
    /// Whoever holds this token fetches it.
    Held { token: String, place: Option<Lsn> },
}

/// Where something is kept.
pub(super) struct Slot {
    /// Behind the prefix of all keys.
    pub(super) key: String,
    /// Which part of the list; empty for a user.
    pub(super) part: String,
    /// By which a write speaks of it.
    pub(super) tag: String,
}

impl Slot {
    /// One user's.
    pub(super) fn user(id: i64) -> Self {
        Self {
            key: user_key(id),
            part: String::new(),
            tag: user_tag(id),
        }
    }

    /// That of a part of the list.
    pub(super) fn list(part: &str) -> Self {
        Self {
            key: LISTS.into(),
            part: format!(":{part}"),
            tag: "users".into(),
        }
    }

    fn is_list(&self) -> bool {
        !self.part.is_empty()
    }
}

const LISTS: &str = "lists";
const LSN: &str = "lsn";

fn user_key(id: i64) -> String {
    format!("user:{id}")
}

fn user_tag(id: i64) -> String {
    format!("u:{id}")
}

/// All of the same length, so that their order is that of texts, too: Lua's numbers are not exact enough.
fn written(place: Option<Lsn>) -> String {
    place.map_or_else(String::new, |place| place.to_string())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A script's keys and arguments.
#[derive(Default)]
struct Call {
    keys: Vec<String>,
    arguments: Vec<Vec<u8>>,
}

impl Call {
    fn key(&mut self, key: String) -> &mut Self {
        self.keys.push(key);
        self
    }

    fn arg(&mut self, argument: impl ToRedisArgs) -> &mut Self {
        argument.write_redis_args(&mut self.arguments);
        self
    }
}

impl Live {
    async fn run<T: FromRedisValue>(&self, script: &str, call: &Call) -> RedisResult<T> {
        let mut command = redis::cmd("EVAL");
        command.arg(script).arg(call.keys.len()).arg(&call.keys).arg(&call.arguments);
        command.query_async(&mut self.connection.clone()).await
    }

    fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.prefix)
    }

    /// A value, if it is there.
    pub(super) async fn get(&self, slot: &Slot) -> RedisResult<Option<Bytes>> {
        let mut command = redis::cmd("HGET");
        command.arg(self.key(&slot.key)).arg(format!("v{}", slot.part));
        let value: Option<Vec<u8>> = command.query_async(&mut self.connection.clone()).await?;
        Ok(value.map(Bytes::from))
    }

    /// The same, where it is likely not there: then somebody fetches it, with `token` if that is the caller.
    pub(super) async fn miss(&self, slot: &Slot, token: &str, ttl: Duration) -> RedisResult<Missed> {
        let kept_for = if slot.is_list() { ttl } else { NOTED };
        let mut call = Call::default();
        call.key(self.key(&slot.key));
        call.key(self.key(LSN))
            .arg(&slot.part)
            .arg(token)
            .arg(millis(FETCH))
            .arg(millis(kept_for));
        call.arg(&slot.tag).arg(u8::from(slot.is_list())).arg(2 * PARTS);
        let answer: (Option<Vec<u8>>, Option<String>, Option<String>) = match self.run(MISS, &call).await? {
            Value::Array(mut fields) => {
                fields.resize(3, Value::Nil);
                redis::from_redis_value(Value::Array(fields))?
            }
            other => redis::from_redis_value(other)?,
        };
        Ok(match answer {
            (Some(value), ..) => Missed::Found(value.into()),
            (None, token, place) => Missed::Held {
                token: token.unwrap_or_default(),
                place: place.and_then(|place| place.parse().ok()),
            },
        })
    }

    /// Keeps what was fetched; a user with its version. Whether it is older than what Redis has heard of.
    pub(super) async fn fill(&self, slot: &Slot, token: &str, value: &[u8], version: Option<i64>, ttl: Duration) -> RedisResult<Filled> {
        let version = version.map_or_else(String::new, |version| version.to_string());
        let ttl = if slot.is_list() { String::new() } else { millis(ttl).to_string() };
        let mut call = Call::default();
        call.key(self.key(&slot.key));
        call.arg(&slot.part).arg(token).arg(value).arg(version).arg(ttl);
        let kept: i64 = self.run(FILL, &call).await?;
        Ok(match kept {
            1 => Filled::Kept,
            0 => Filled::TooLate,
            _ => Filled::Outdated,
        })
    }

    /// Lets somebody else fetch it.
    pub(super) async fn release(&self, slot: &Slot, token: &str) -> RedisResult<()> {
        self.fill(slot, token, b"", None, Duration::ZERO).await.map(|_| ())
    }

    /// Takes out what these writes have outdated, and keeps the place in the log that reads of it have to know of. Without the place, where
    /// there are replicas, Redis has not been told all: the row counts as not delivered.
    ///
    /// Places are kept in one hash, by tag. What has none needs to know of the `floor`: every write below it is known wherever the floor
    /// is, and every write above it has left its own. So they are only worth something together, and the whole hash is gone when a part of
    /// it is.
    pub(super) async fn invalidate(&self, notes: &[Note], place: Option<Lsn>, is_all: bool) -> RedisResult<u64> {
        let told = if is_all { millis(TOLD).to_string() } else { String::new() };
        let mut call = Call::default();
        call.key(self.key(LISTS));
        call.key(self.key(LSN)).arg(written(place)).arg(millis(NOTED)).arg(told).arg(TAGS);
        for note in notes {
            let row = note.row.map_or_else(String::new, |row| row.to_string());
            call.key(self.key(&user_key(note.user))).key(self.key(&format!("told:{row}")));
            call.arg(user_tag(note.user)).arg(note.version).arg(row);
        }
        self.run(INVALIDATE, &call).await
    }

    /// A token for whoever finds out the floor, unless there is one.
    pub(super) async fn ask_floor(&self, token: &str) -> RedisResult<Option<String>> {
        let mut call = Call::default();
        call.key(self.key(LSN));
        call.arg(token).arg(millis(PLACES));
        self.run(ASK_FLOOR, &call).await
    }

    /// Keeps the floor.
    pub(super) async fn set_floor(&self, token: &str, place: Lsn) -> RedisResult<()> {
        let mut call = Call::default();
        call.key(self.key(LSN));
        call.arg(token).arg(written(Some(place)));
        self.run(SET_FLOOR, &call).await
    }

    /// Renews the places, and shows that Redis answers.
    pub(super) async fn touch(&self) -> RedisResult<()> {
        let mut command = redis::cmd("PEXPIRE");
        command.arg(self.key(LSN)).arg(millis(PLACES));
        command.query_async(&mut self.connection.clone()).await
    }
}

/// What became of a fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filled {
    /// It is in Redis.
    Kept,
    /// There was a write meanwhile, or it took too long: what was fetched is right for whoever asked before.
    TooLate,
    /// Redis has heard of a later version: it is not right for anybody.
    Outdated,
}
