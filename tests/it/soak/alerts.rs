//! What must never have been alarmed, however much was broken.

use shared::domain::ArchiveAlert;

use crate::protection::world::Protected;

/// There is no conflict and no gap, and there never was one.
pub(super) async fn assert_none_of_loss(protected: &Protected) -> anyhow::Result<()> {
    let query = "select concat_ws(' ', name, raised_at, cleared_at, detail) from alerts
                 where name in ($1, $2)";
    let told: Vec<String> = sqlx::query_scalar(query)
        .bind(ArchiveAlert::Conflict.as_str())
        .bind(ArchiveAlert::Gap.as_str())
        .fetch_all(&protected.world.database.pool)
        .await?;
    let gaps: i64 = sqlx::query_scalar("select count(*) from gaps")
        .fetch_one(&protected.world.database.pool)
        .await?;
    if !told.is_empty() || gaps > 0 {
        let story = protected.world.story(protected.id).await?;
        anyhow::bail!("{gaps} gaps, and alerts {told:#?}\n{story}");
    }
    Ok(())
}
