//! What became of a call of the SDK.

use std::error::Error;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::archive::verdict::{Verdict, of_answer};
use crate::telemetry::chain;

/// The verdict on an error of the SDK, and what happened, for people.
pub(super) fn judge<E>(error: &SdkError<E, HttpResponse>) -> (Verdict, String)
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error {
        SdkError::ServiceError(context) => {
            let status = context.raw().status().as_u16();
            let (code, message) = (context.err().code(), context.err().message());
            let text = format!(
                "{status} {}{}{}",
                code.unwrap_or("without a code"),
                if message.is_some() { ": " } else { "" },
                message.unwrap_or_default()
            );
            (of_answer(status, code), text)
        }
        // Made wrongly by our configuration: the same request fails again.
        SdkError::ConstructionFailure(_) => (Verdict::Refused, chain(error).to_string()),
        // No answer, or none that can be read: time-outs, broken connections, and whatever kinds
        // the SDK adds; trying again is harmless.
        _ => (Verdict::Transient, chain(error).to_string()),
    }
}
