//! All endpoints together.

use std::convert::Infallible;
use std::sync::Arc;

use shared::http_api::ProblemCode;
use warp::filters::BoxedFilter;
use warp::reject::MethodNotAllowed;
use warp::reply::Response;
use warp::{Filter as _, Rejection};

use crate::app::App;
use crate::endpoints;
use crate::watch::Unmatched;

/// One endpoint, or all of them.
pub(crate) type Routes = BoxedFilter<(Response,)>;

/// Every endpoint, and an answer to everything else.
pub(crate) fn routes(app: &Arc<App>) -> Routes {
    let mut all = endpoints::healthz::route();
    for route in [
        endpoints::create_resource::route(app),
        endpoints::list_resources::route(app),
        endpoints::get_resource::route(app),
        endpoints::destroy_resource::route(app),
        endpoints::get_resource_url::route(app),
        endpoints::list_observations::route(app),
        endpoints::list_transitions::route(app),
        endpoints::create_backup::route(app),
        endpoints::create_restore_check::route(app),
        endpoints::fork_resource::route(app),
        endpoints::follow_resource::route(app),
        endpoints::unfollow_resource::route(app),
        endpoints::rotate_credentials::route(app),
        endpoints::list_backups::route(app),
        endpoints::list_plans::route(app),
        endpoints::list_operations::route(app),
        endpoints::get_operation::route(app),
        endpoints::list_servers::route(app),
        endpoints::get_ring::route(app),
        endpoints::list_jobs::route(app),
        endpoints::retry_job::route(app),
        endpoints::create_token::route(app),
        endpoints::list_tokens::route(app),
        endpoints::revoke_token::route(app),
        endpoints::readyz::route(app),
        endpoints::metrics::route(app),
        endpoints::openapi::route(),
    ] {
        all = all.or(route).unify().boxed();
    }
    all.recover(unmatched).unify().boxed()
}

async fn unmatched(rejection: Rejection) -> Result<Response, Infallible> {
    let code = if rejection.find::<MethodNotAllowed>().is_some() {
        ProblemCode::MethodNotAllowed
    } else {
        // Endpoints reject by path and method only.
        ProblemCode::NotFound
    };
    let mut response = Response::default();
    response.extensions_mut().insert(Unmatched(code));
    Ok(response)
}
