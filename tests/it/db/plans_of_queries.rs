//! What runs often uses an index, also when the tables are large.

use shared::ids::RequestId;
use sqlx::PgPool;

use super::world::{World, now};

/// The plan of a query.
async fn explain(pool: &PgPool, query: &str) -> String {
    let statement = sqlx::AssertSqlSafe(format!("explain {query}"));
    let lines: Vec<String> = sqlx::query_scalar(statement).fetch_all(pool).await.unwrap();
    lines.join("\n")
}

/// Many rows, of which few are open, pending or living.
async fn fill(pool: &PgPool) {
    for statement in [
        "insert into resources (id, name, plan, state, state_since, database_name, role_name,
            routing_name,
            request_id, created_at)
         select gen_random_uuid(), 'gone-' || n, 'hobby', 'deprovisioned', $1, '', '', 'gone_' || n, $2, $1
         from generate_series(1, 3000) n",
        "insert into operations (id, resource_id, kind, state, request_id, created_at, finished_at)
         select gen_random_uuid(), id, 'create', 'succeeded', $2, $1, $1 from resources",
        "insert into jobs (kind, subject_id, state, request_id, created_at, changed_at)
         select 'recover', id, 'dead', $2, $1, $1 from resources",
        "insert into transitions (machine, subject_id, resource_id, from_state, event, to_state,
            why, request_id, at)
         select 'resource', id, id, '', '', '', '', $2, $1 from resources",
        "insert into alerts (name, subject_kind, subject_id, detail, raised_at, cleared_at)
         select 'x', 'resource', id, '', $1, case when $2::uuid is not null then $1 end
         from resources",
        "insert into tokens (id, name, hash, scope, created_at, expires_at)
         select gen_random_uuid(), '', sha256(n::text::bytea), 'read', $1,
            case when $2::uuid is not null then $1 end
         from generate_series(1, 3000) n",
        "insert into observations (resource_id, observed_at, available, body)
         select id, $1, $2::uuid is not null, '{}' from resources",
        "insert into idempotency_keys (token_id, key, request_hash, operation_id, created_at)
         select (select id from tokens limit 1), id::text, '', id, $1
         from operations
         where $2::uuid is not null",
    ] {
        sqlx::query(statement)
            .bind(now())
            .bind(RequestId::new())
            .execute(pool)
            .await
            .unwrap();
    }
    sqlx::query("analyze").execute(pool).await.unwrap();
}

#[tokio::test]
async fn hot_queries_use_an_index() {
    let world = World::start().await;
    fill(world.pool()).await;
    let id = "'019a9b3c-7d1e-7c3a-9f00-1b2c3d4e5f60'::uuid";
    for query in [
        "select * from resources where name = 'x' and state <> 'deprovisioned'".to_owned(),
        "select * from resources where state <> 'deprovisioned' order by id limit 10".to_owned(),
        format!("select * from resources where participant_id = {id}"),
        format!(
            "select * from operations where resource_id = {id} and kind = 'create' and state = 'pending'"
        ),
        "select * from operations order by id desc limit 10".to_owned(),
        format!("select * from operations where resource_id = {id} order by id desc limit 10"),
        format!(
            "select * from jobs where state = 'pending' and (kind, subject_id) > ('recover', {id}) order by kind, subject_id limit 10"
        ),
        format!("select * from transitions where resource_id = {id} and id > 5 order by id limit 10"),
        format!("select * from transitions where subject_id = {id} and id > 5 order by id limit 10"),
        format!(
            "select * from alerts where cleared_at is null and name = 'x' and subject_id = {id}"
        ),
        "select * from tokens where hash = sha256('x')".to_owned(),
        "select * from idempotency_keys where created_at < '2026-01-01' order by created_at limit 10"
            .to_owned(),
        format!("select * from observations where resource_id = {id}"),
    ] {
        let plan = explain(world.pool(), &query).await;
        assert!(!plan.contains("Seq Scan"), "{query}\n{plan}");
    }
}
