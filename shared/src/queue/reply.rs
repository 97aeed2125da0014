//! From the flat arrays that the scripts return to typed answers. Any value whatever gives an
//! answer or an error, never a panic.

use std::str::FromStr;
use std::time::Duration;

use redis::Value;

use super::{
    BeginReply, Claim, ClaimReply, LeaveReply, Member, QueueError, SettleReply, Shard, ShardStats,
    Token, WakeReply,
};
use crate::ids::WorkerId;

type Result<T> = std::result::Result<T, QueueError>;

/// Reads `claim`.
///
/// A member that this release cannot read, as one of a kind that only a later release has, is left
/// out: its lease expires, and a worker that can read it may claim it then.
pub(super) fn claim(value: Value, shard: Shard) -> Result<ClaimReply> {
    let mut reader = Reader::new("claim", value)?;
    match reader.text()?.as_str() {
        "no_ring" => return Ok(ClaimReply::NoRing),
        "claims" => {}
        other => return Err(reader.unexpected(other)),
    }
    let epoch = reader.parsed()?;
    let base: u64 = reader.parsed()?;
    let next_due = match reader.number()? {
        -1 => None,
        wait => Some(Duration::from_millis(reader.natural(wait)?)),
    };
    let mut claims = Vec::with_capacity(reader.left() / 2);
    let mut counter = base;
    while reader.left() > 0 {
        let text = reader.text()?;
        let overdue = reader.number()?;
        counter = counter.saturating_add(1);
        match text.parse() {
            Ok(member) => claims.push(Claim {
                member,
                token: Token { epoch, counter },
                shard,
                overdue_ms: reader.natural(overdue)?,
            }),
            Err(error) => {
                tracing::warn!(shard = %shard, error = %error, "skipped an unreadable member");
            }
        }
    }
    Ok(ClaimReply::Claims { claims, next_due })
}

/// Reads `settle`, which must have an answer for each of `expected` settlements.
pub(super) fn settle(value: Value, expected: usize) -> Result<Vec<SettleReply>> {
    let mut reader = Reader::new("settle", value)?;
    reader.each(expected, |tag| match tag {
        "settled" => Some(SettleReply::Settled),
        "woken" => Some(SettleReply::Woken),
        "lost" => Some(SettleReply::Lost),
        _ => None,
    })
}

/// Reads `extend`, which must have an answer for each of `expected` leases.
pub(super) fn extend(value: Value, expected: usize) -> Result<Vec<bool>> {
    let mut reader = Reader::new("extend", value)?;
    reader.each(expected, |tag| match tag {
        "held" => Some(true),
        "lost" => Some(false),
        _ => None,
    })
}

/// Reads `enter`: how many members were absent.
pub(super) fn enter(value: Value) -> Result<usize> {
    let mut reader = Reader::new("enter", value)?;
    match reader.text()?.as_str() {
        "entered" => {}
        other => return Err(reader.unexpected(other)),
    }
    let entered = reader.number()?;
    usize::try_from(entered).map_err(|_| reader.unexpected(&entered.to_string()))
}

/// Reads `wake`.
pub(super) fn wake(value: Value) -> Result<WakeReply> {
    Reader::new("wake", value)?.only(|tag| match tag {
        "entered" => Some(WakeReply::Entered),
        "advanced" => Some(WakeReply::Advanced),
        "due" => Some(WakeReply::Due),
        "marked" => Some(WakeReply::Marked),
        _ => None,
    })
}

/// Reads `leave`.
pub(super) fn leave(value: Value) -> Result<LeaveReply> {
    Reader::new("leave", value)?.only(|tag| match tag {
        "left" => Some(LeaveReply::Left),
        "absent" => Some(LeaveReply::Absent),
        _ => None,
    })
}

/// Reads `begin`.
pub(super) fn begin(value: Value) -> Result<BeginReply> {
    let mut reader = Reader::new("begin", value)?;
    let tag = reader.text()?;
    let present = reader.parsed()?;
    match tag.as_str() {
        "begun" => Ok(BeginReply::Begun),
        "refused" => Ok(BeginReply::Refused { present }),
        other => Err(reader.unexpected(other)),
    }
}

/// Reads `stats`.
pub(super) fn stats(value: Value) -> Result<ShardStats> {
    let mut reader = Reader::new("stats", value)?;
    let epoch = match reader.text()?.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|_| reader.unexpected(text))?),
    };
    let mut count = || {
        let number = reader.number()?;
        reader.natural(number)
    };
    let (waiting, due, leased, expired, oldest) =
        (count()?, count()?, count()?, count()?, count()?);
    Ok(ShardStats {
        epoch,
        size: waiting.saturating_add(leased),
        due,
        leased,
        expired,
        oldest_due_age: Duration::from_millis(oldest),
    })
}

/// Reads `members`: the page and the cursor of the next one, 0 at the end.
pub(super) fn members(value: Value) -> Result<(Vec<Member>, u64)> {
    let mut reader = Reader::new("members", value)?;
    let cursor = reader.parsed()?;
    let mut members = Vec::with_capacity(reader.left());
    while reader.left() > 0 {
        match reader.text()?.parse() {
            Ok(member) => members.push(member),
            Err(error) => tracing::warn!(error = %error, "skipped an unreadable member"),
        }
    }
    Ok((members, cursor))
}

/// Reads `heartbeat`.
pub(super) fn heartbeat(value: Value) -> Result<()> {
    Reader::new("heartbeat", value)?.only(|tag| matches!(tag, "noted" | "left").then_some(()))
}

/// Reads `live_workers`.
pub(super) fn live_workers(value: Value) -> Result<Vec<WorkerId>> {
    let mut reader = Reader::new("live_workers", value)?;
    let mut workers = Vec::with_capacity(reader.left());
    while reader.left() > 0 {
        workers.push(reader.parsed()?);
    }
    Ok(workers)
}

/// Takes a flat array apart, from the front.
struct Reader {
    verb: &'static str,
    values: std::vec::IntoIter<Value>,
}

impl Reader {
    fn new(verb: &'static str, value: Value) -> Result<Self> {
        match value {
            Value::Array(values) => Ok(Self {
                verb,
                values: values.into_iter(),
            }),
            other => Err(bad(verb, format!("{} in place of a list", kind_of(&other)))),
        }
    }

    fn left(&self) -> usize {
        self.values.len()
    }

    fn text(&mut self) -> Result<String> {
        match self.values.next() {
            Some(Value::BulkString(bytes)) => String::from_utf8(bytes)
                .map_err(|_| bad(self.verb, "bytes that are no text".to_owned())),
            Some(Value::SimpleString(text)) => Ok(text),
            other => Err(self.misplaced(other.as_ref(), "a text")),
        }
    }

    fn number(&mut self) -> Result<i64> {
        match self.values.next() {
            Some(Value::Int(number)) => Ok(number),
            other => Err(self.misplaced(other.as_ref(), "a number")),
        }
    }

    fn parsed<T: FromStr>(&mut self) -> Result<T> {
        let text = self.text()?;
        text.parse().map_err(|_| self.unexpected(&text))
    }

    fn natural(&self, number: i64) -> Result<u64> {
        u64::try_from(number).map_err(|_| self.unexpected(&number.to_string()))
    }

    fn only<T>(mut self, tag: impl Fn(&str) -> Option<T>) -> Result<T> {
        let text = self.text()?;
        tag(&text).ok_or_else(|| self.unexpected(&text))
    }

    fn each<T>(&mut self, expected: usize, tag: impl Fn(&str) -> Option<T>) -> Result<Vec<T>> {
        if self.left() != expected {
            let reason = format!("{} answers in place of {expected}", self.left());
            return Err(bad(self.verb, reason));
        }
        let mut tags = Vec::with_capacity(expected);
        while self.left() > 0 {
            let text = self.text()?;
            tags.push(tag(&text).ok_or_else(|| self.unexpected(&text))?);
        }
        Ok(tags)
    }

    fn misplaced(&self, found: Option<&Value>, expected: &str) -> QueueError {
        let found = found.map_or("the end", kind_of);
        bad(self.verb, format!("{found} in place of {expected}"))
    }

    fn unexpected(&self, found: &str) -> QueueError {
        let found: String = found.chars().take(80).collect();
        bad(self.verb, format!("unexpected {found:?}"))
    }
}

fn bad(verb: &'static str, reason: String) -> QueueError {
    QueueError::BadReply { verb, reason }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Nil => "nil",
        Value::Int(_) => "a number",
        Value::BulkString(_) | Value::SimpleString(_) | Value::VerbatimString { .. } => "a text",
        Value::Array(_) | Value::Set(_) | Value::Map(_) => "a list",
        _ => "something",
    }
}

#[cfg(test)]
mod tests;
