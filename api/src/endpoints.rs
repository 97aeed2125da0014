//! One file for each endpoint: its documentation, its route, its handler.

mod copies;
pub(crate) mod create_backup;
pub(crate) mod create_resource;
pub(crate) mod create_restore_check;
pub(crate) mod create_token;
pub(crate) mod destroy_resource;
pub(crate) mod follow_resource;
pub(crate) mod fork_resource;
pub(crate) mod get_operation;
pub(crate) mod get_resource;
pub(crate) mod get_resource_url;
pub(crate) mod get_ring;
pub(crate) mod healthz;
pub(crate) mod list_backups;
pub(crate) mod list_jobs;
pub(crate) mod list_observations;
pub(crate) mod list_operations;
pub(crate) mod list_plans;
pub(crate) mod list_resources;
pub(crate) mod list_servers;
pub(crate) mod list_tokens;
pub(crate) mod list_transitions;
pub(crate) mod metrics;
pub(crate) mod openapi;
pub(crate) mod readyz;
pub(crate) mod retry_job;
pub(crate) mod revoke_token;
pub(crate) mod rotate_credentials;
pub(crate) mod unfollow_resource;

use shared::db::resources::{self, Resource};
use shared::domain::ResourceName;
use shared::ids::ResourceId;

use crate::app::App;
use crate::failure::Failure;

/// The resource with this id, also after its end; or else the living one with this name.
///
/// # Errors
/// 404 if there is none, also for a text that is neither.
async fn find_resource(app: &App, name_or_id: &str) -> Result<Resource, Failure> {
    let found = if let Ok(id) = name_or_id.parse::<ResourceId>() {
        resources::get(&app.pool, id).await?
    } else if let Ok(name) = name_or_id.parse::<ResourceName>() {
        resources::get_by_name(&app.pool, name.as_str()).await?
    } else {
        None
    };
    found.ok_or_else(|| Failure::no_resource(name_or_id))
}
