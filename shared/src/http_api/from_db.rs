//! What is stored, as it is sent.

use crate::db;

impl From<db::plans::Plan> for super::Plan {
    fn from(plan: db::plans::Plan) -> Self {
        Self {
            name: plan.name,
            offered: plan.offered,
            dedicated: plan.dedicated,
            connection_limit: plan.connection_limit,
            cadence_ms: plan.cadence_ms,
        }
    }
}

impl From<db::resources::Resource> for super::Resource {
    fn from(resource: db::resources::Resource) -> Self {
        let host = resource.endpoint_host;
        let port = resource
            .endpoint_port
            .and_then(|port| u16::try_from(port).ok());
        Self {
            id: resource.id,
            name: resource.name,
            plan: resource.plan,
            state: resource.state,
            state_since: resource.state_since,
            deadline_at: resource.deadline_at,
            destroy_requested_at: resource.destroy_requested_at,
            problem: resource.problem,
            endpoint: host
                .zip(port)
                .map(|(host, port)| super::Endpoint { host, port }),
            postgres_major: resource.postgres_major,
            request_id: resource.request_id,
            created_at: resource.created_at,
        }
    }
}

impl From<db::resources::fork::ForkOf> for super::ForkDetail {
    fn from(fork: db::resources::fork::ForkOf) -> Self {
        Self {
            parent_id: fork.parent_id,
            parent_name: fork.parent_name,
            target_at: fork.target_at,
            target_lsn: fork.target_lsn,
            asked_at: fork.asked_at,
            complete_until: fork.complete_until,
            branch_lsn: fork.branch_lsn,
            planned_at: fork.planned_at,
            bytes_done: fork.bytes_done,
            bytes_total: fork.bytes_total,
            transferred_bytes: fork.transferred_bytes,
            transfer_bytes: fork.transfer_bytes,
            replay_lsn: fork.replay_lsn,
            follows: fork.follows,
            unfollow_requested_at: fork.unfollow_requested_at,
            unfollowed_at: fork.unfollowed_at,
        }
    }
}

impl From<db::operations::Operation> for super::Operation {
    fn from(operation: db::operations::Operation) -> Self {
        Self {
            id: operation.id,
            kind: operation.kind,
            state: operation.state,
            error: operation.error,
            resource_id: operation.resource_id,
            resource_name: operation.resource_name,
            request_id: operation.request_id,
            created_at: operation.created_at,
            finished_at: operation.finished_at,
        }
    }
}

impl From<db::alerts::Alert> for super::Alert {
    fn from(alert: db::alerts::Alert) -> Self {
        Self {
            name: alert.name,
            detail: alert.detail,
            raised_at: alert.raised_at,
        }
    }
}

impl From<db::transitions::Transition> for super::Transition {
    fn from(transition: db::transitions::Transition) -> Self {
        Self {
            id: transition.id,
            machine: transition.machine,
            subject_id: transition.subject_id,
            from: transition.from,
            event: transition.event,
            to: transition.to,
            why: transition.why,
            detail: transition.detail,
            request_id: transition.request_id,
            at: transition.at,
        }
    }
}

impl From<db::servers::Server> for super::Server {
    fn from(server: db::servers::Server) -> Self {
        Self {
            id: server.id,
            provider: server.provider,
            plan: server.plan,
            state: server.state,
            state_since: server.state_since,
            instance_id: server.instance_id,
            host: server.host,
            agent_port: server.agent_port,
            postgres_port: server.postgres_port,
            zone: server.zone,
            last_seen_at: server.last_seen_at,
            problem: server.problem,
            participant: server.participant.map(Into::into),
            resources: server.resources,
            created_at: server.created_at,
        }
    }
}

impl From<db::servers::Participant> for super::ParticipantSummary {
    fn from(participant: db::servers::Participant) -> Self {
        Self {
            id: participant.id,
            role: participant.role,
            state: participant.state,
            state_since: participant.state_since,
            postgres_major: participant.postgres_major,
            generation: participant.generation,
            acknowledged_generation: participant.acknowledged_generation,
            crashes: participant.crashes,
            problem: participant.problem,
        }
    }
}

impl From<db::jobs::Job> for super::Job {
    fn from(job: db::jobs::Job) -> Self {
        Self {
            kind: job.kind,
            subject_id: job.subject_id,
            resource_name: job.resource_name,
            state: job.state,
            attempts: job.attempts,
            last_error: job.last_error,
            request_id: job.request_id,
            created_at: job.created_at,
            changed_at: job.changed_at,
        }
    }
}

impl From<db::tokens::Token> for super::Token {
    fn from(token: db::tokens::Token) -> Self {
        Self {
            id: token.id,
            name: token.name,
            scope: token.scope,
            created_at: token.created_at,
            expires_at: token.expires_at,
            revoked_at: token.revoked_at,
        }
    }
}
