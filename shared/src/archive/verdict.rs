//! What the answer of a store means. Decided here, for whoever asked: workers through the SDK, agents
//! with signed requests.

/// What an answer that is no success means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
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

/// The verdict on an answer with `status` and S3's own `code`.
pub fn of_answer(status: u16, code: Option<&str>) -> Verdict {
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
        check(425, "", Verdict::Transient);
        check(100, "", Verdict::Transient);
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
        check(505, "", Verdict::Refused);
        check(507, "", Verdict::Transient);
    }
}
