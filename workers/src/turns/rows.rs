//! Rows of resources, loaded together: turns that begin within the same moment share one query.

use std::collections::HashMap;
use std::sync::Arc;

use shared::db::DbError;
use shared::db::fleet::{ResourceRow, load_resources};
use shared::ids::ResourceId;
use sqlx::PgPool;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

/// Most rows of one query.
const BATCH: usize = 256;

/// Requests that may wait before senders do.
const BACKLOG: usize = 4096;

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
    while requests.recv_many(&mut batch, BATCH).await > 0 {
        let mut ids: Vec<_> = batch.iter().map(|request| request.id).collect();
        ids.sort_unstable();
        ids.dedup();
        let loaded = load_resources(&pool, &ids).await.map_err(Arc::new);
        answer(batch.drain(..), loaded);
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
