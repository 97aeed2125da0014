//! `ringmaster jobs`.

use clap::{Args, Subcommand};
use shared::domain::{JobKind, JobState};
use shared::http_api::Job;
use uuid::Uuid;

use super::Context;
use crate::client::Call;
use crate::failure::{Failure, FailureKind};
use crate::format::{ago, or_dash, render, table};
use crate::screen::{note, say, say_json};

/// Arguments of `jobs`.
#[derive(Debug, Args)]
pub struct Jobs {
    #[command(subcommand)]
    command: Option<JobsCommand>,
    /// Only jobs that failed too often and wait for a person
    #[arg(long)]
    dead: bool,
}

#[derive(Debug, Subcommand)]
enum JobsCommand {
    /// Try a dead job again
    Retry(Retry),
}

#[derive(Debug, Args)]
struct Retry {
    /// What is to be done: provision, deprovision, recover
    #[arg(required_unless_present = "all")]
    kind: Option<JobKind>,
    /// Name of the database, or the subject as `jobs` shows it
    #[arg(required_unless_present = "all")]
    subject: Option<String>,
    /// All dead jobs
    #[arg(long, conflicts_with_all = ["kind", "subject"])]
    all: bool,
}

impl Jobs {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        if let Some(JobsCommand::Retry(retry)) = self.command {
            return retry.run(context).await;
        }
        let jobs = jobs(context, self.dead).await?;
        if context.json {
            return say_json(&jobs);
        }
        if jobs.is_empty() {
            note("there is nothing to do");
            return Ok(());
        }
        let mut table = table(&[
            "KIND",
            "DATABASE",
            "SUBJECT",
            "STATE",
            "ATTEMPTS",
            "SINCE",
            "LAST ERROR",
        ]);
        for job in jobs {
            table.add_row([
                job.kind.to_string(),
                or_dash(job.resource_name),
                job.subject_id.to_string(),
                job.state.to_string(),
                job.attempts.to_string(),
                ago(job.created_at),
                job.last_error.unwrap_or_default(),
            ]);
        }
        say(render(&table))
    }
}

async fn jobs(context: &Context, only_dead: bool) -> Result<Vec<Job>, Failure> {
    let query: Vec<_> = only_dead
        .then(|| ("state", JobState::Dead.to_string()))
        .into_iter()
        .collect();
    context.client.all(&["jobs"], &query).await
}

impl Retry {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let dead = jobs(context, true).await?;
        let chosen: Vec<&Job> = dead.iter().filter(|job| self.means(job)).collect();
        if chosen.is_empty() && !self.all {
            return Err(
                Failure::new(FailureKind::NotFound, "there is no such dead job")
                    .advise("see them with: ringmaster jobs --dead"),
            );
        }
        for job in &chosen {
            retry(context, job.kind, job.subject_id).await?;
        }
        note(format!(
            "{} jobs are tried again; see them with: ringmaster jobs",
            chosen.len()
        ));
        Ok(())
    }

    fn means(&self, job: &Job) -> bool {
        let subject = self.subject.as_deref();
        let named = subject.is_some_and(|subject| {
            job.resource_name.as_deref() == Some(subject) || job.subject_id.to_string() == subject
        });
        self.all || (self.kind == Some(job.kind) && named)
    }
}

async fn retry(context: &Context, kind: JobKind, subject: Uuid) -> Result<(), Failure> {
    let subject = subject.to_string();
    let path = ["jobs", kind.as_str(), &subject, "retry"];
    context
        .client
        .call::<serde_json::Value>(Call::post(&path))
        .await
        .map(drop)
}
