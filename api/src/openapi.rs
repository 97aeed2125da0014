//! The description of the API (OpenAPI), put together from those of the endpoints.

use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};

use crate::endpoints;

/// The whole document.
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    document
        .components
        .get_or_insert_default()
        .add_security_scheme("bearer", scheme);
    document
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Ringmaster",
        description = "Create, watch and destroy PostgreSQL databases. Requests that change \
            something answer 202 with an operation to follow. Errors are problem details \
            (RFC 9457) with a code and a request_id. Every answer has the header x-request-id: \
            the one of the request if that is a UUID.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        endpoints::create_resource::handle,
        endpoints::list_resources::handle,
        endpoints::get_resource::handle,
        endpoints::destroy_resource::handle,
        endpoints::get_resource_url::handle,
        endpoints::list_observations::handle,
        endpoints::list_transitions::handle,
        endpoints::create_backup::handle,
        endpoints::create_restore_check::handle,
        endpoints::fork_resource::handle,
        endpoints::follow_resource::handle,
        endpoints::unfollow_resource::handle,
        endpoints::rotate_credentials::handle,
        endpoints::list_backups::handle,
        endpoints::list_plans::handle,
        endpoints::list_operations::handle,
        endpoints::get_operation::handle,
        endpoints::list_servers::handle,
        endpoints::get_ring::handle,
        endpoints::list_jobs::handle,
        endpoints::retry_job::handle,
        endpoints::create_token::handle,
        endpoints::list_tokens::handle,
        endpoints::revoke_token::handle,
        endpoints::healthz::handle,
        endpoints::readyz::handle,
        endpoints::metrics::handle,
        endpoints::openapi::handle,
    )
)]
struct Document;
