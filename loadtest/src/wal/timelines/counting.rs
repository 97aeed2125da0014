//! The embedded object store in this process, which counts who asks it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;
use http::{Request, Response};
use hyper::body::Incoming;
use object_store::{Answers, Disk, Listener, ObjectStore};
use shared::secret::Secret;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::tally::Tally;
use crate::archiving::{BUCKET, KEY_ID};

/// A store with an empty bucket. Its objects are gone with it.
pub(super) struct CountedStore {
    pub(super) address: SocketAddr,
    pub(super) secret: Secret,
    serving: JoinSet<()>,
    stop: CancellationToken,
    _directory: TempDir,
}

impl CountedStore {
    pub(super) async fn start(tally: Arc<Tally>) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir().context("make a directory for the objects")?;
        let disk = Disk::open(directory.path()).context("open the objects")?;
        disk.make_bucket(BUCKET).context("make the bucket")?;
        let secret = Secret::random();
        let store = ObjectStore::new(disk, KEY_ID, &secret);
        let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).await?;
        let (address, stop) = (listener.address(), CancellationToken::new());
        let mut serving = JoinSet::new();
        serving.spawn(listener.serve(Counted { store, tally }, stop.clone()));
        Ok(Self {
            address,
            secret,
            serving,
            stop,
            _directory: directory,
        })
    }

    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        while self.serving.join_next().await.is_some() {}
    }
}

#[derive(Debug, Clone)]
struct Counted {
    store: ObjectStore,
    tally: Arc<Tally>,
}

impl Answers for Counted {
    type Body = <ObjectStore as Answers>::Body;
    type Error = <ObjectStore as Answers>::Error;

    async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Self::Body>, Self::Error> {
        // What was signed for somebody else has its signature in the URL.
        let query = request.uri().query().unwrap_or_default();
        let count = if query.contains("X-Amz-Signature") {
            &self.tally.agent_requests
        } else {
            &self.tally.worker_requests
        };
        Tally::count(count);
        self.store.answer(request).await
    }
}
