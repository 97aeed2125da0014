//! `ringmaster backups`.

use clap::Args;
use shared::domain::BackupState;
use shared::http_api::Backup;

use super::Context;
use crate::failure::Failure;
use crate::format::{bytes, moment, or_dash, percent, render, span, table};
use crate::screen::{note, say, say_json};

/// Arguments of `backups`.
#[derive(Debug, Args)]
pub struct Backups {
    /// Name or id of the database
    name: String,
}

impl Backups {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let path = ["resources", self.name.as_str(), "backups"];
        let backups: Vec<Backup> = context.client.all(&path, &[]).await?;
        if context.json {
            return say_json(&backups);
        }
        if backups.is_empty() {
            note(format!(
                "there is no backup of {name} yet; the first is made by itself, or now with: \
                 ringmaster capture {name}",
                name = self.name
            ));
            return Ok(());
        }
        if backups.iter().any(|backup| backup.shared) {
            note(format!(
                "{} is on a shared server: its backups are of the whole server",
                self.name
            ));
        }
        let mut table = table(&[
            "ID",
            "STARTED",
            "STATE",
            "WHY",
            "OF",
            "TOOK",
            "SIZE",
            "STORED",
            "RESTORES FROM",
            "DAMAGED",
        ]);
        for backup in &backups {
            table.add_row(row(backup));
        }
        say(render(&table))
    }
}

fn row(backup: &Backup) -> [String; 10] {
    let state = match backup.state {
        BackupState::Running => percent(backup.bytes_done, backup.bytes_total),
        BackupState::Finished | BackupState::Failed | BackupState::Expiring => {
            backup.state.to_string()
        }
    };
    let origin = if backup.from_follower {
        "follower"
    } else {
        "leader"
    };
    let took = backup.finished_at.map(|at| span(at - backup.started_at));
    let pages = backup.damaged_pages.filter(|pages| *pages > 0);
    [
        backup.id.to_string(),
        moment(backup.started_at),
        state,
        backup.reason.to_string(),
        origin.to_owned(),
        or_dash(took),
        or_dash(backup.bytes_total.map(bytes)),
        or_dash(backup.stored_bytes.map(bytes)),
        or_dash(backup.stop_lsn),
        pages.map_or_else(String::new, |pages| format!("{pages} PAGES")),
    ]
}
