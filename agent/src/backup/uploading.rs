//! One object of a backup, on its way until it is there.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use super::places::Places;
use crate::archive::{Archive, Attempts, Failure, Got, Put};

/// How long one object is tried: an archive that is away for a while does not cost a backup of
/// hours.
const PATIENCE: Duration = Duration::from_mins(10);

/// How many places may be refused. The first may have expired while it waited to be used.
const REFUSALS_MAX: u32 = 3;

/// Writes `object` to the place with this number.
///
/// # Errors
/// Why it is not there, for people.
pub(super) async fn upload(
    archive: &Archive,
    places: &Places,
    number: u32,
    object: Bytes,
) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    let mut attempts = Attempts::until(deadline);
    let work = work(archive, places, (number, object), &mut attempts);
    let outcome = timeout_at(deadline, work).await;
    let late = || {
        let trouble = attempts.into_trouble();
        Err(trouble.unwrap_or_else(|| "no place for it came in time".to_owned()))
    };
    outcome.unwrap_or_else(|_| late())
}

async fn work(
    archive: &Archive,
    places: &Places,
    (number, object): (u32, Bytes),
    attempts: &mut Attempts,
) -> Result<(), String> {
    let mut refusals = 0;
    loop {
        let place = places.place(number).await;
        let put = archive.put(&place.put, object.clone(), attempts.patience());
        let failure = match put.await {
            Ok(Put::Stored) => break,
            // It may be ours: stored by an attempt whose answer was lost.
            Ok(Put::Taken) => {
                let get = archive.get(&place.get, object.len(), attempts.patience());
                match get.await {
                    Ok(Got::Object(there)) if there == object => break,
                    Ok(Got::Object(_) | Got::TooLarge) => {
                        return Err("another object is in its place".to_owned());
                    }
                    Ok(Got::Nothing) => Failure::Again("what was there is gone".to_owned()),
                    Err(failure) => failure,
                }
            }
            Err(failure) => failure,
        };
        match failure {
            Failure::Final(detail) => {
                refusals += 1;
                if refusals == REFUSALS_MAX {
                    return Err(detail);
                }
                tracing::warn!(number, error = detail, "another place is asked for");
                places.refused(number, &place);
            }
            again @ Failure::Again(_) => attempts.failed(again).await?,
        }
    }
    places.used(number);
    Ok(())
}
