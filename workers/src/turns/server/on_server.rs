//! What a turn of a server loads.

use std::collections::HashMap;

use shared::db::DbError;
use shared::db::fleet::{
    DatabaseWish, ParticipantRow, ServerRow, databases_wanted, load_servers, participants_on,
};
use shared::ids::{ParticipantId, ServerId};
use sqlx::PgConnection;

use crate::turns::rows::Loaded;

/// A server, with the participant on it and what that shall hold.
///
/// They are read one after the other, not as of one moment: whatever is recorded because of them
/// compares the version of the row it changes.
#[derive(Debug)]
pub struct OnServer {
    /// The server.
    pub(super) server: ServerRow,
    /// The newest participant on it; null if it never had one.
    pub(super) participant: Option<ParticipantRow>,
    /// What the participant's spec must say about every attached resource, ordered by its id.
    pub(super) wishes: Vec<DatabaseWish>,
}

impl Loaded for OnServer {
    type Id = ServerId;

    fn id(&self) -> ServerId {
        self.server.id
    }

    async fn load(connection: &mut PgConnection, ids: &[ServerId]) -> Result<Vec<Self>, DbError> {
        let servers = load_servers(&mut *connection, ids).await?;
        let participants = participants_on(&mut *connection, ids).await?;
        let on: Vec<_> = participants.iter().map(|row| row.id).collect();
        let mut wishes: HashMap<ParticipantId, Vec<DatabaseWish>> = HashMap::new();
        for wish in databases_wanted(&mut *connection, &on).await? {
            wishes.entry(wish.participant).or_default().push(wish);
        }
        let mut participants: HashMap<_, _> = participants
            .into_iter()
            .map(|row| (row.server_id, row))
            .collect();
        let together = servers.into_iter().map(|server| {
            let participant = participants.remove(&server.id);
            let wishes = participant.as_ref().and_then(|row| wishes.remove(&row.id));
            Self {
                server,
                participant,
                wishes: wishes.unwrap_or_default(),
            }
        });
        Ok(together.collect())
    }
}
