//! Rows of resources, loaded together: turns that begin within the same moment share one query.
//!
//! The loader keeps a connection for as long as it works: to borrow one for each query would cost
//! a second round trip, because the pool proves each one that is given back.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use shared::db::DbError;
use shared::db::fleet::{ResourceRow, load_resources};
use shared::ids::ResourceId;
use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

/// Most rows of one query.
const BATCH: usize = 256;

/// Requests that may wait before senders do.
const BACKLOG: usize = 4096;

/// Longest time of one query. Longer than the control database lets a statement run, so that it
/// ends only what would hang: a connection whose other end is gone.
const PATIENCE: Duration = Duration::from_secs(12);

/// What the loader tells whoever asked: the row, null if there is none.
type Answer = Result<Option<ResourceRow>, Arc<DbError>>;

struct Request {
    id: ResourceId,
    answer: oneshot::Sender<Answer>,
}

/// A row could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// The control database failed.
    #[error("failed to load resource {id}")]
    Load {
        /// Which resource.
        id: ResourceId,
        /// Why; shared with the other turns of the batch.
        #[source]
        source: Arc<DbError>,
    },
    /// The loader is gone: the worker stops.
    #[error("the worker stops")]
    Stopped,
}

/// Loads rows of resources.
#[derive(Debug, Clone)]
pub struct Rows(mpsc::Sender<Request>);

impl Rows {
    /// A loader on `pool` that runs on `tasks` until all its clones are dropped.
    pub fn start(pool: PgPool, tasks: &TaskTracker) -> Self {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        tasks.spawn(serve(pool, receiver));
        Self(sender)
    }

    /// The row as it is now; null if there is none.
    pub async fn load(&self, id: ResourceId) -> Result<Option<ResourceRow>, RowsError> {
        let (answer, answered) = oneshot::channel();
        self.0
            .send(Request { id, answer })
            .await
            .map_err(|_| RowsError::Stopped)?;
        answered
            .await
            .map_err(|_| RowsError::Stopped)?
            .map_err(|source| RowsError::Load { id, source })
    }
}

/// While one query runs, the next batch gathers.
async fn serve(pool: PgPool, mut requests: mpsc::Receiver<Request>) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut kept = None;
    while requests.recv_many(&mut batch, BATCH).await > 0 {
        // Whoever sent the first was not alone: the others are about to send theirs.
        tokio::task::yield_now().await;
        gather(&mut requests, &mut batch);
        let mut ids: Vec<_> = batch.iter().map(|request| request.id).collect();
        ids.sort_unstable();
        ids.dedup();
        let loaded = load(&pool, &mut kept, &ids).await.map_err(Arc::new);
        answer(batch.drain(..), loaded);
    }
}

/// Takes what waits by now, without waiting for more.
fn gather(requests: &mut mpsc::Receiver<Request>, batch: &mut Vec<Request>) {
    while batch.len() < BATCH
        && let Ok(request) = requests.try_recv()
    {
        batch.push(request);
    }
}

/// Loads over the kept connection. One that failed is closed, and another is tried at once: the
/// control database may have been restarted since the last batch.
async fn load(
    pool: &PgPool,
    kept: &mut Option<PoolConnection<Postgres>>,
    ids: &[ResourceId],
) -> Result<Vec<ResourceRow>, DbError> {
    if let Some(connection) = kept.take()
        && let Ok(rows) = load_over(connection, kept, ids).await
    {
        return Ok(rows);
    }
    let acquired = pool.acquire().await;
    let connection = acquired.map_err(DbError::during("load resources"))?;
    load_over(connection, kept, ids).await
}

/// Loads over `connection`, which is kept if that succeeds.
async fn load_over(
    mut connection: PoolConnection<Postgres>,
    kept: &mut Option<PoolConnection<Postgres>>,
    ids: &[ResourceId],
) -> Result<Vec<ResourceRow>, DbError> {
    let loaded = timeout(PATIENCE, load_resources(&mut *connection, ids)).await;
    match loaded {
        Ok(Ok(rows)) => {
            *kept = Some(connection);
            Ok(rows)
        }
        Ok(Err(error)) => {
            drop(connection.detach());
            Err(error)
        }
        Err(_elapsed) => {
            drop(connection.detach());
            let late = sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
            Err(DbError::during("load resources")(late))
        }
    }
}

fn answer(batch: impl Iterator<Item = Request>, loaded: Result<Vec<ResourceRow>, Arc<DbError>>) {
    let rows = loaded.map(|rows| {
        rows.into_iter()
            .map(|row| (row.id, row))
            .collect::<HashMap<_, _>>()
    });
    for request in batch {
        let answer = match &rows {
            Ok(rows) => Ok(rows.get(&request.id).cloned()),
            Err(error) => Err(Arc::clone(error)),
        };
        // A turn that was dropped meanwhile does not wait for its answer.
        drop(request.answer.send(answer));
    }
}
