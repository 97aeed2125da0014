//! What one hop of a server's turn has seen.

use shared::db::fleet::{ParticipantRow, ServerRow};
use shared::machine::server::{AgentView, ProviderView, asks_agent, asks_provider};
use shared::ports::{Machine, MachineState};

use crate::context::{Agents, Asked, Context};
use crate::steps::certificate_is_due;

/// Answers of agent and provider.
#[derive(Debug)]
pub(super) struct Look {
    /// How the agent answered; null if it was not asked.
    pub(super) asked: Option<Asked>,
    /// The same, as the machine sees it.
    pub(super) agent: AgentView,
    /// What the provider said; null if it was not asked or could not say.
    pub(super) machine: Option<Machine>,
    /// The same, as the machine sees it.
    pub(super) provider: ProviderView,
}

impl Look {
    /// Asks whoever's answer can matter.
    pub(super) async fn at(
        context: &Context,
        row: &ServerRow,
        participant: Option<&ParticipantRow>,
    ) -> Self {
        let asked = match Agents::of(row).filter(|_| asks_agent(row.state)) {
            Some(agent) => {
                let request_id = participant.map_or(row.request_id, |row| row.request_id);
                Some(context.agents.ask(agent, request_id).await)
            }
            None => None,
        };
        let agent = agent_view(context, row, asked.as_ref());
        let (machine, provider) = if asks_provider(row.state, agent) {
            describe(context, row).await
        } else {
            (None, ProviderView::NotAsked)
        };
        Self {
            asked,
            agent,
            machine,
            provider,
        }
    }
}

fn agent_view(context: &Context, row: &ServerRow, asked: Option<&Asked>) -> AgentView {
    let timed_out = matches!(asked, Some(Asked::Silent));
    let in_a_row = context.memory.called_agent(row.id, timed_out);
    match asked {
        None => AgentView::NotAsked,
        Some(Asked::Answered(status)) => AgentView::Answers {
            rebooted: row
                .boot_id
                .as_ref()
                .is_some_and(|known| *known != status.boot_id),
            certificate_due: certificate_is_due(context.now(), row.host.as_deref(), status),
        },
        Some(Asked::Refused) => AgentView::Refused,
        Some(Asked::Silent) => AgentView::TimedOut { in_a_row },
    }
}

async fn describe(context: &Context, row: &ServerRow) -> (Option<Machine>, ProviderView) {
    match context.provider.describe(row.id).await {
        Ok(machine) => {
            let view = match machine.state {
                MachineState::Absent => ProviderView::Absent,
                MachineState::Pending => ProviderView::Pending,
                MachineState::Running => ProviderView::Running,
                MachineState::Stopped => ProviderView::Stopped,
            };
            (Some(machine), view)
        }
        Err(error) => {
            let source: &dyn std::error::Error = &error;
            tracing::warn!(
                server.id = %row.id, request_id = %row.request_id,
                error = %shared::telemetry::chain(source), "the provider did not answer",
            );
            (None, ProviderView::Unknown)
        }
    }
}
