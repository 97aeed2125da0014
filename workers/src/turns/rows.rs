//! Rows, loaded together: turns that begin within the same moment share one query.
//!
//! The loader keeps a connection for as long as it works: to borrow one for each query would cost
//! a second round trip, because the pool proves each one that is given back.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use shared::db::DbError;
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

/// Most ids of one query.
const BATCH: usize = 256;

/// Requests that may wait before senders do.
const BACKLOG: usize = 4096;

/// Longest time of one query. Longer than the control database lets a statement run, so that it
/// ends only what would hang: a connection whose other end is gone.
const PATIENCE: Duration = Duration::from_secs(12);

/// What is loaded together.
pub trait Loaded: Sized + Send + Sync + 'static {
    /// What names one.
    type Id: Copy + Ord + Hash + fmt::Display + Send + Sync + 'static;

    /// The name of this one.
    fn id(&self) -> Self::Id;

    /// Those of `ids` that there are.
    ///
    /// # Errors
    /// [`DbError`] if the control database does not answer.
    fn load(
        connection: &mut PgConnection,
        ids: &[Self::Id],
    ) -> impl Future<Output = Result<Vec<Self>, DbError>> + Send;
}

/// What the loader tells whoever asked: the row, null if there is none.
type Answer<R> = Result<Option<Arc<R>>, Arc<DbError>>;

struct Request<R: Loaded> {
    id: R::Id,
    answer: oneshot::Sender<Answer<R>>,
}

/// A row could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// The control database failed.
    #[error("failed to load {id}")]
    Load {
        /// Which row.
        id: String,
        /// Why; shared with the other turns of the batch.
        #[source]
        source: Arc<DbError>,
    },
    /// The loader is gone: the worker stops.
    #[error("the worker stops")]
    Stopped,
}

/// Loads rows.
#[derive(Debug)]
pub struct Rows<R: Loaded>(mpsc::Sender<Request<R>>);

impl<R: Loaded> Clone for Rows<R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<R: Loaded> Rows<R> {
    /// A loader on `pool` that runs on `tasks` until all its clones are dropped.
    pub fn start(pool: PgPool, tasks: &TaskTracker) -> Self {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        tasks.spawn(serve(pool, receiver));
        Self(sender)
    }

    /// The row as it is now; null if there is none.
    ///
    /// # Errors
    /// [`RowsError`] if the control database does not answer, or when the worker stops.
    pub async fn load(&self, id: R::Id) -> Result<Option<Arc<R>>, RowsError> {
        let (answer, answered) = oneshot::channel();
        self.0
            .send(Request { id, answer })
            .await
            .map_err(|_| RowsError::Stopped)?;
        answered
            .await
            .map_err(|_| RowsError::Stopped)?
            .map_err(|source| RowsError::Load {
                id: id.to_string(),
                source,
            })
    }
}

/// While one query runs, the next batch gathers.
async fn serve<R: Loaded>(pool: PgPool, mut requests: mpsc::Receiver<Request<R>>) {
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
fn gather<R: Loaded>(requests: &mut mpsc::Receiver<Request<R>>, batch: &mut Vec<Request<R>>) {
    while batch.len() < BATCH
        && let Ok(request) = requests.try_recv()
    {
        batch.push(request);
    }
}

/// Loads over the kept connection. One that failed is closed, and another is tried at once: the
/// control database may have been restarted since the last batch.
async fn load<R: Loaded>(
    pool: &PgPool,
    kept: &mut Option<PoolConnection<Postgres>>,
    ids: &[R::Id],
) -> Result<Vec<R>, DbError> {
    if let Some(connection) = kept.take()
        && let Ok(rows) = load_over(connection, kept, ids).await
    {
        return Ok(rows);
    }
    let acquired = pool.acquire().await;
    let connection = acquired.map_err(DbError::during("load rows"))?;
    load_over(connection, kept, ids).await
}

/// Loads over `connection`, which is kept if that succeeds.
async fn load_over<R: Loaded>(
    mut connection: PoolConnection<Postgres>,
    kept: &mut Option<PoolConnection<Postgres>>,
    ids: &[R::Id],
) -> Result<Vec<R>, DbError> {
    let loaded = timeout(PATIENCE, R::load(&mut connection, ids)).await;
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
            Err(DbError::during("load rows")(late))
        }
    }
}

fn answer<R: Loaded>(
    batch: impl Iterator<Item = Request<R>>,
    loaded: Result<Vec<R>, Arc<DbError>>,
) {
    let rows = loaded.map(|rows| {
        rows.into_iter()
            .map(|row| (row.id(), Arc::new(row)))
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
