//! What an answer of S3 means for us: decided here, and nowhere else.

use std::error::Error;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::telemetry::chain;

/// What an answer that is no success means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// There is no such object.
    Absent,
    /// There is one, and it was to be written only if there is none.
    AlreadyThere,
    /// What was asked for lies beyond the end of the object.
    BeyondEnd,
    /// It may work later.
    Transient,
    /// It will not work until a person changes something.
    Refused,
}

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

/// The verdict on an answer with `status` and S3's own `code`.
pub(super) fn of_answer(status: u16, code: Option<&str>) -> Verdict {
    match (status, code.unwrap_or_default()) {
        // Wrong bucket, or a store that cannot do it.
        (_, "NoSuchBucket") | (501 | 505, _) => Verdict::Refused,
        (404, _) => Verdict::Absent,
        (412, _) => Verdict::AlreadyThere,
        (416, _) => Verdict::BeyondEnd,
        // 409: another conditional write of this name is under way. Below 300: an error inside of
        // a success.
        (408 | 409 | 425 | 429 | ..300 | 500.., _) | (400, "RequestTimeout") => Verdict::Transient,
        (300..500, _) => Verdict::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, code: &str, expected: Verdict) {
        let code = Some(code).filter(|code| !code.is_empty());
        assert_eq!(of_answer(status, code), expected, "{status} {code:?}");
    }

    #[test]
    fn answers_of_stores_are_understood() {
        check(404, "NoSuchKey", Verdict::Absent);
        check(404, "NotFound", Verdict::Absent);
        check(404, "", Verdict::Absent);
        check(404, "NoSuchBucket", Verdict::Refused);
        check(412, "PreconditionFailed", Verdict::AlreadyThere);
        check(412, "", Verdict::AlreadyThere);
        check(416, "InvalidRange", Verdict::BeyondEnd);
        check(409, "ConditionalRequestConflict", Verdict::Transient);
        check(409, "OperationAborted", Verdict::Transient);
        check(400, "RequestTimeout", Verdict::Transient);
        check(429, "TooManyRequests", Verdict::Transient);
        check(500, "InternalError", Verdict::Transient);
        check(502, "", Verdict::Transient);
        check(503, "SlowDown", Verdict::Transient);
        check(503, "ServiceUnavailable", Verdict::Transient);
        check(504, "", Verdict::Transient);
        check(200, "InternalError", Verdict::Transient);
        check(200, "", Verdict::Transient);
        check(301, "PermanentRedirect", Verdict::Refused);
        check(307, "TemporaryRedirect", Verdict::Refused);
        check(400, "InvalidRequest", Verdict::Refused);
        check(400, "ExpiredToken", Verdict::Refused);
        check(403, "AccessDenied", Verdict::Refused);
        check(403, "RequestTimeTooSkewed", Verdict::Refused);
        check(403, "SignatureDoesNotMatch", Verdict::Refused);
        check(403, "", Verdict::Refused);
        check(405, "MethodNotAllowed", Verdict::Refused);
        check(501, "NotImplemented", Verdict::Refused);
    }
}
