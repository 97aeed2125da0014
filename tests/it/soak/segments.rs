//! WAL segments of every size are restored; those of the largest are a gigabyte of zeros each.

use super::length::Length;
use crate::agent::restore::segments::are_restored;

#[tokio::test]
async fn segments_of_any_size_are_restored() -> anyhow::Result<()> {
    let sizes: &[u64] = Length::wished()?.count(&[64], &[64, 256, 1024]);
    for megabytes in sizes {
        are_restored(*megabytes).await?;
    }
    Ok(())
}
