use std::collections::BTreeSet;

use shared::queue::{Member, MembersCursor};

use super::world::{SHARD, World, resource, worker};

/// Reads page by page; says how large the largest was.
async fn all(world: &World) -> (Vec<Member>, usize) {
    let (mut members, mut largest) = (vec![], 0);
    let mut cursor = Some(MembersCursor::START);
    while let Some(at) = cursor {
        let page = world.queue().members(SHARD, at).await.unwrap();
        largest = largest.max(page.members.len());
        members.extend(page.members);
        cursor = page.next;
    }
    (members, largest)
}

#[tokio::test]
async fn an_empty_shard_lists_nothing() {
    let world = World::without_ring().await;
    assert_eq!(all(&world).await, (vec![], 0));
}

#[tokio::test]
async fn waiting_and_leased_members_are_listed_page_by_page() {
    let world = World::new().await;
    let expected: BTreeSet<_> = (0..3000).map(resource).collect();
    let entries: Vec<_> = expected.iter().map(|&member| (member, 0)).collect();
    world.enter(&entries).await;
    world.claim(worker(1), 500).await;
    world.claim(worker(1), 300).await;

    let (members, largest) = all(&world).await;

    assert_eq!(members.iter().copied().collect::<BTreeSet<_>>(), expected);
    assert!(largest < 1000, "a page of {largest} members");
    assert_eq!(all(&world).await.0.len(), 3000, "listing changes nothing");
}
