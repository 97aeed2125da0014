//! The object store that a server of a test brings its WAL and files to.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::Method;
use shared::agent_api::wal::Signed;
use shared::archive::store::{ObjectStore as _, Put, S3Store};
use tests::object_server::{Fault, ObjectServer, On};
use tokio::time::{Instant, sleep};

/// What every signed URL carries; it must be found in no log.
pub(crate) const SIGNATURE: &str = "X-Amz-Signature";

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long signatures are good.
const SIGNED_FOR: Duration = Duration::from_mins(15);

/// The store, and what a worker and somebody else do there.
pub(crate) struct Receiver {
    server: ObjectServer,
    store: S3Store,
}

impl Receiver {
    /// An empty one.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let server = ObjectServer::start().await?;
        let store = server.store();
        store.probe().await?;
        Ok(Self { server, store })
    }

    /// From now on it ignores conditions, as the worker finds out.
    pub(crate) async fn ignore_conditions(&self) -> anyhow::Result<()> {
        self.server.faults().set(Fault::IgnoreConditions, On::all());
        let found = self.store.probe().await?;
        ensure!(!found.conditional_put);
        Ok(())
    }

    /// Ends it: nobody answers any more.
    pub(crate) async fn stop(&mut self) -> anyhow::Result<()> {
        self.server.stop().await
    }

    /// Begins to answer again.
    pub(crate) async fn start_again(&mut self) -> anyhow::Result<()> {
        self.server.start_again().await
    }

    /// Requests that write `key` if there is nothing yet, and read it.
    pub(crate) async fn sign(&self, key: &str) -> anyhow::Result<(Signed, Signed)> {
        self.sign_for(key, SIGNED_FOR).await
    }

    /// The same, good for so long.
    pub(crate) async fn sign_for(
        &self,
        key: &str,
        valid_for: Duration,
    ) -> anyhow::Result<(Signed, Signed)> {
        let put = self.store.sign_put(key, valid_for).await?;
        Ok((put, self.store.sign_get(key, valid_for).await?))
    }

    /// The next requests of this method fail, one for each fault.
    pub(crate) fn fail(&self, method: &Method, faults: &[Fault]) {
        for fault in faults {
            let on = On::method(method.clone()).times(1);
            self.server.faults().set(fault.clone(), on);
        }
    }

    /// The store, as a worker has it.
    pub(crate) fn store(&self) -> &S3Store {
        &self.store
    }

    /// The server of the store.
    pub(crate) fn server(&self) -> &ObjectServer {
        &self.server
    }

    /// Nothing fails any more, and what hangs is broken off.
    pub(crate) fn heal(&self) {
        self.server.faults().clear();
    }

    /// How many requests of this method have come for objects of timelines.
    pub(crate) fn requests(&self, method: &Method) -> usize {
        let seen = self.server.faults().seen();
        let ours = |(of, path): &&(Method, String)| of == method && path.contains("/timelines/");
        seen.iter().filter(ours).count()
    }

    /// Waits until as many requests of this method have come.
    pub(crate) async fn until_requested(
        &self,
        method: &Method,
        requests: usize,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.requests(method) < requests {
            ensure!(Instant::now() < deadline, "too few requests have come");
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// All objects of timelines by their names.
    pub(crate) async fn objects(&self) -> anyhow::Result<BTreeMap<String, Bytes>> {
        let listed = self.store.list("timelines/", None, 1000).await?;
        ensure!(listed.len() < 1000, "a test with so many objects");
        let mut objects = BTreeMap::new();
        for object in listed {
            let content = self.store.get(&object.key, None).await?;
            objects.insert(object.key, content.context("it was listed")?);
        }
        Ok(objects)
    }

    /// Takes an object away, as if by somebody else.
    pub(crate) async fn remove(&self, key: &str) -> anyhow::Result<()> {
        Ok(self.store.delete(&[key.to_owned()]).await?)
    }

    /// Puts an object there, in place of what was there, as if by somebody else.
    pub(crate) async fn insert(&self, key: &str, object: impl Into<Bytes>) -> anyhow::Result<()> {
        self.store.delete(&[key.to_owned()]).await?;
        ensure!(self.store.put(key, object.into()).await? == Put::Stored);
        Ok(())
    }
}
