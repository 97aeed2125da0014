//! The migrations give a documented model, and may be applied by anybody at any time.

use chrono::DateTime;
use shared::db;
use tests::control_database::ControlDatabase;

use super::world::{World, now};

#[tokio::test]
async fn migrations_apply_to_an_empty_database_by_many_at_once_and_again() {
    let database = ControlDatabase::start_empty().await.unwrap();
    let pool = &database.pool;
    let (a, b, c) = tokio::join!(db::migrate(pool), db::migrate(pool), db::migrate(pool));
    a.and(b).and(c).unwrap();
    db::migrate(pool).await.unwrap();
    let plans: Vec<String> = db::plans::list(pool)
        .await
        .unwrap()
        .into_iter()
        .map(|plan| plan.name)
        .collect();
    assert_eq!(plans, ["hobby", "premium", "standard"]);
}

#[tokio::test]
async fn migrations_leave_rows_alone() {
    let world = World::start().await;
    world.create("shop").await.unwrap();
    let before = world.database.row_counts().await.unwrap();
    db::migrate(world.pool()).await.unwrap();
    assert_eq!(world.database.row_counts().await.unwrap(), before);
}

#[tokio::test]
async fn every_table_and_every_column_is_explained() {
    let database = ControlDatabase::start().await.unwrap();
    let silent: Vec<String> = sqlx::query_scalar(
        "select c.relname || coalesce('.' || a.attname, '')
         from pg_class c
         left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
             and c.relkind <> 'S'
         where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'S')
             and not c.relispartition and c.relname <> '_sqlx_migrations'
             and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'i')
             and (col_description(c.oid, coalesce(a.attnum, 0)) is null
                 or obj_description(c.oid) is null)
         order by 1",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    assert_eq!(silent, Vec::<String>::new());
}

#[tokio::test]
async fn a_moment_is_read_as_it_was_written() {
    let world = World::start().await;
    let created = world.create("shop").await.unwrap();
    let read = db::operations::get(world.pool(), created.operation.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(read, created.operation);
    assert_eq!(read.created_at, now());
    assert_ne!(read.created_at, DateTime::UNIX_EPOCH);
}
