//! A store in memory, with faults: for tests.

use std::collections::BTreeMap;
use std::future::ready;
use std::ops::{Bound, Range};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;

use super::probe::{self, Capabilities};
use super::{Listed, ObjectStore, Put, StoreError};
use crate::agent_api::wal::Signed;
use crate::secret::Secret;

/// A store in memory.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Bytes>,
    /// Calls that fail from now on.
    failing: u32,
    /// Writes that are done although they are said to have failed.
    lying: u32,
    ignores_conditions: bool,
    found: Option<Capabilities>,
}

impl MemoryStore {
    /// The next `calls` fail, without effect.
    pub fn fail_next(&self, calls: u32) {
        self.state().failing = calls;
    }

    /// The next `writes` are done, and their answers lost.
    pub fn lose_answers_of_next(&self, writes: u32) {
        self.state().lying = writes;
    }

    /// From now on it writes over objects although it is told not to.
    pub fn ignore_conditions(&self) {
        self.state().ignores_conditions = true;
    }

    /// Changes a byte of an object; false if there is none.
    pub fn damage(&self, key: &str) -> bool {
        let mut state = self.state();
        let Some(content) = state.objects.get(key) else {
            return false;
        };
        let mut bytes = content.to_vec();
        let middle = bytes.len() / 2;
        match bytes.get_mut(middle) {
            None => false,
            Some(byte) => {
                *byte ^= 0x40;
                state.objects.insert(key.to_owned(), bytes.into());
                true
            }
        }
    }

    /// All objects.
    pub fn objects(&self) -> BTreeMap<String, Bytes> {
        self.state().objects.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn working(
        &self,
        operation: &'static str,
        key: &str,
    ) -> Result<MutexGuard<'_, State>, StoreError> {
        let mut state = self.state();
        if state.failing > 0 {
            state.failing -= 1;
            return Err(away(operation, key));
        }
        Ok(state)
    }

    fn read(&self, key: &str, range: Option<Range<u64>>) -> Result<Option<Bytes>, StoreError> {
        let state = self.working("read", key)?;
        Ok(state.objects.get(key).map(|content| match range {
            None => content.clone(),
            Some(range) => {
                let at = |position| usize::try_from(position).unwrap_or(usize::MAX);
                let end = at(range.end).min(content.len());
                content.slice(at(range.start).min(end)..end)
            }
        }))
    }

    fn write(&self, key: &str, content: Bytes) -> Result<Put, StoreError> {
        let mut state = self.working("write", key)?;
        if state.objects.contains_key(key) && !state.ignores_conditions {
            return Ok(Put::AlreadyThere);
        }
        state.objects.insert(key.to_owned(), content);
        if state.lying > 0 {
            state.lying -= 1;
            return Err(away("write", key));
        }
        Ok(Put::Stored)
    }

    fn names(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: u16,
    ) -> Result<Vec<Listed>, StoreError> {
        let state = self.working("list", prefix)?;
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            Some(_) | None => Bound::Included(prefix),
        };
        let objects = state.objects.range::<str, _>((from, Bound::Unbounded));
        Ok(objects
            .take_while(|(key, _)| key.starts_with(prefix))
            .take(usize::from(limit))
            .map(|(key, content)| Listed {
                key: key.clone(),
                bytes: u64::try_from(content.len()).unwrap_or(u64::MAX),
            })
            .collect())
    }

    fn signed(key: &str) -> Signed {
        Signed {
            url: Secret::new(format!("memory://archive/{key}")),
            headers: BTreeMap::new(),
            look_first: None,
        }
    }
}

fn away(operation: &'static str, key: &str) -> StoreError {
    StoreError::Transient {
        operation,
        key: key.to_owned(),
        source: "the store is away, as the test wants".into(),
    }
}

impl ObjectStore for MemoryStore {
    fn get<'a>(
        &'a self,
        key: &'a str,
        range: Option<Range<u64>>,
    ) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        Box::pin(async move { self.read(key, range) })
    }

    fn put<'a>(&'a self, key: &'a str, content: Bytes) -> BoxFuture<'a, Result<Put, StoreError>> {
        Box::pin(async move { self.write(key, content) })
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: u16,
    ) -> BoxFuture<'a, Result<Vec<Listed>, StoreError>> {
        Box::pin(async move { self.names(prefix, after, limit) })
    }

    fn delete<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let first = keys.first().map_or("", String::as_str);
            let mut state = self.working("delete", first)?;
            for key in keys {
                state.objects.remove(key);
            }
            Ok(())
        })
    }

    fn sign_get<'a>(
        &'a self,
        key: &'a str,
        _: Duration,
    ) -> BoxFuture<'a, Result<Signed, StoreError>> {
        Box::pin(async move { Ok(Self::signed(key)) })
    }

    fn sign_put<'a>(
        &'a self,
        key: &'a str,
        _: Duration,
    ) -> BoxFuture<'a, Result<Signed, StoreError>> {
        Box::pin(async move { Ok(Self::signed(key)) })
    }
    fn probe(&self) -> BoxFuture<'_, Result<Capabilities, StoreError>> {
        Box::pin(async move {
            let found =
                probe::probe(|content| Box::pin(ready(self.write(probe::KEY, content)))).await?;
            self.state().found = Some(found);
            Ok(found)
        })
    }

    fn capabilities(&self) -> Option<Capabilities> {
        self.state().found
    }
}
