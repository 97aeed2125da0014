//! The role that followers stream as: it may log in as long as somebody may stream.
//!
//! It is not dropped: a customer may have granted it something, which would be in the way.

use shared::agent_api::REPLICATION_ROLE;
use shared::ids::ServerId;
use shared::pki::server_common_name;
use sqlx::PgConnection;

use super::run;

/// Whether the role may log in or replicate at all, and whether it is what it should be; no row if
/// it is not there.
const ROLE: &str = "
    select rolcanlogin or rolreplication,
        rolcanlogin
        and rolreplication
        and not rolsuper
        and not rolcreaterole
        and not rolcreatedb
        and not rolbypassrls
        and rolpassword is null
        and rolconnlimit = -1
        and coalesce(rolvaliduntil = 'infinity', true)
    from pg_authid
    where rolname = $1";

/// Cuts off who streams with another certificate than those of these names.
const CUT_OFF: &str = "
    select count(pg_terminate_backend(pid))
    from pg_stat_activity
    left join pg_stat_ssl using (pid)
    where usename = $1 and coalesce(client_dn <> all($2), true)";

/// Makes the role and lets only `streamers` go on that stream. Gives the number of commands.
pub(crate) async fn settle(
    connection: &mut PgConnection,
    streamers: &[ServerId],
) -> sqlx::Result<usize> {
    let role: Option<(bool, bool)> = sqlx::query_as(ROLE)
        .bind(REPLICATION_ROLE)
        .fetch_optional(&mut *connection)
        .await?;
    let command = match role {
        None | Some((false, _)) if streamers.is_empty() => return Ok(0),
        Some(_) if streamers.is_empty() => Some(format!(
            "alter role {REPLICATION_ROLE} nologin noreplication"
        )),
        Some((_, true)) => None,
        None => Some(define("create")),
        Some((_, false)) => Some(define("alter")),
    };
    if let Some(command) = &command {
        run(connection, command).await?;
    }
    let names = streamers.iter();
    let names = names.map(|server| format!("/CN={}", server_common_name(*server)));
    let cut_off: i64 = sqlx::query_scalar(CUT_OFF)
        .bind(REPLICATION_ROLE)
        .bind(names.collect::<Vec<String>>())
        .fetch_one(connection)
        .await?;
    if cut_off > 0 {
        tracing::info!(
            connections = cut_off,
            "who may not stream any more is cut off"
        );
    }
    Ok(usize::from(command.is_some()))
}

/// It has no password, so that only a certificate lets anybody in.
fn define(verb: &str) -> String {
    format!(
        "{verb} role {REPLICATION_ROLE} login replication nosuperuser noinherit nocreaterole \
         nocreatedb nobypassrls connection limit -1 valid until 'infinity' password null"
    )
}
