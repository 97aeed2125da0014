//! What became of a signed request. Stores differ in details, so what is not known to be a success
//! is none.

use http::StatusCode;
use shared::archive::verdict::{Verdict, of_answer};

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    /// It is stored.
    Stored,
    /// An object of that name was there before.
    Taken,
}

/// What a read found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Got {
    /// An object.
    Object(Vec<u8>),
    /// None of that name.
    Nothing,
    /// One that is larger than what was asked for.
    TooLarge,
}

/// A request that did not do what it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It may work when it is made again.
    Again(String),
    /// This request will never work.
    Final(String),
}

/// Judges the answer to a conditional write. A success has no body, because some stores send an
/// error after they have begun to answer with 200; and it has the tag of the object, which nobody
/// on the way to the store knows who answers in its place.
pub(super) fn judge_put(status: StatusCode, is_tagged: bool, body: &[u8]) -> Result<Put, Failure> {
    match status {
        StatusCode::OK | StatusCode::CREATED | StatusCode::NO_CONTENT => {
            if is_tagged && body.iter().all(u8::is_ascii_whitespace) {
                Ok(Put::Stored)
            } else {
                Err(Failure::Again(told(status, body)))
            }
        }
        _ => match verdict(status, body) {
            Verdict::AlreadyThere => Ok(Put::Taken),
            verdict => Err(failure(verdict, status, body)),
        },
    }
}

/// Judges the answer to a read.
pub(super) fn judge_get(status: StatusCode, body: Vec<u8>, is_whole: bool) -> Result<Got, Failure> {
    match status {
        StatusCode::OK if is_whole => Ok(Got::Object(body)),
        StatusCode::OK => Ok(Got::TooLarge),
        _ => match verdict(status, &body) {
            Verdict::Absent => Ok(Got::Nothing),
            verdict => Err(failure(verdict, status, &body)),
        },
    }
}

/// Judges the answer to a look: whether an object is there. It has no body; what is there has a tag.
pub(super) fn judge_head(status: StatusCode, is_tagged: bool) -> Result<bool, Failure> {
    match status {
        StatusCode::OK if is_tagged => Ok(true),
        _ => match verdict(status, b"") {
            Verdict::Absent => Ok(false),
            verdict => Err(failure(verdict, status, b"")),
        },
    }
}

fn verdict(status: StatusCode, body: &[u8]) -> Verdict {
    of_answer(status.as_u16(), error_code(body).as_deref())
}

/// An answer that makes no sense for a request is nothing that passes by itself.
fn failure(verdict: Verdict, status: StatusCode, body: &[u8]) -> Failure {
    match verdict {
        Verdict::Transient => Failure::Again(told(status, body)),
        Verdict::Refused | Verdict::Absent | Verdict::AlreadyThere | Verdict::BeyondEnd => {
            Failure::Final(told(status, body))
        }
    }
}

fn told(status: StatusCode, body: &[u8]) -> String {
    match error_code(body) {
        Some(code) => format!("the archive answers {status}: {code}"),
        None => format!("the archive answers {status}"),
    }
}

/// The code of an error in XML. Nothing else of it is shown: some errors repeat the signature.
fn error_code(body: &[u8]) -> Option<String> {
    let text = str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    let is_word = code.len() <= 64 && code.chars().all(|c| c.is_ascii_alphanumeric());
    is_word.then(|| code.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Judged = Result<Put, Failure>;

    const SLOW_DOWN: &[u8] = b"<Error><Code>SlowDown</Code><Signature>abc</Signature></Error>";

    #[track_caller]
    fn check_put(status: u16, body: &[u8], expected: impl Into<Judged>) {
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(judge_put(status, true, body), expected.into(), "{status}");
    }

    fn again(text: &str) -> Failure {
        Failure::Again(format!("the archive answers {text}"))
    }

    fn last(text: &str) -> Failure {
        Failure::Final(format!("the archive answers {text}"))
    }

    #[test]
    fn only_an_empty_success_is_one() {
        check_put(200, b"", Ok(Put::Stored));
        check_put(204, b"\r\n", Ok(Put::Stored));
        check_put(200, SLOW_DOWN, Err(again("200 OK: SlowDown")));
        check_put(200, b"hello", Err(again("200 OK")));
        check_put(412, b"", Ok(Put::Taken));
        check_put(307, b"", Err(last("307 Temporary Redirect")));
    }

    #[test]
    fn a_success_without_a_tag_is_somebody_else_s() {
        let told = Err(again("200 OK"));
        assert_eq!(judge_put(StatusCode::OK, false, b""), told);
        assert_eq!(
            judge_put(StatusCode::PRECONDITION_FAILED, false, b""),
            Ok(Put::Taken)
        );
    }

    #[test]
    fn what_passes_is_tried_again_and_what_is_refused_is_not() {
        check_put(
            503,
            SLOW_DOWN,
            Err(again("503 Service Unavailable: SlowDown")),
        );
        check_put(
            501,
            b"<Code>NotImplemented</Code>",
            Err(last("501 Not Implemented: NotImplemented")),
        );
        check_put(404, b"", Err(last("404 Not Found")));
        check_put(
            400,
            b"<Code>RequestTimeout</Code>",
            Err(again("400 Bad Request: RequestTimeout")),
        );
    }

    #[test]
    fn only_a_plain_answer_says_whether_an_object_is_there() {
        assert_eq!(judge_head(StatusCode::OK, true), Ok(true));
        assert_eq!(judge_head(StatusCode::OK, false), Err(again("200 OK")));
        assert_eq!(judge_head(StatusCode::NOT_FOUND, false), Ok(false));
        let refused = judge_head(StatusCode::FORBIDDEN, false);
        assert_eq!(refused, Err(last("403 Forbidden")));
        let slow = judge_head(StatusCode::SERVICE_UNAVAILABLE, true);
        assert_eq!(slow, Err(again("503 Service Unavailable")));
    }

    #[test]
    fn only_a_word_is_repeated_of_an_error() {
        assert_eq!(error_code(SLOW_DOWN).as_deref(), Some("SlowDown"));
        for strange in [
            "<Code>https://x?X-Amz-Signature=1</Code>",
            "<Code>",
            "Code",
            "<Code>\u{e4}</Code>",
        ] {
            assert_eq!(error_code(strange.as_bytes()), None, "{strange}");
        }
    }

    #[test]
    fn an_object_is_whole_or_too_large_or_not_there() {
        let judge = |status, body: &[u8], is_whole| judge_get(status, body.to_vec(), is_whole);
        assert_eq!(
            judge(StatusCode::OK, b"x", true),
            Ok(Got::Object(b"x".to_vec()))
        );
        assert_eq!(judge(StatusCode::OK, b"x", false), Ok(Got::TooLarge));
        assert_eq!(judge(StatusCode::NOT_FOUND, b"", true), Ok(Got::Nothing));
        assert_eq!(
            judge(StatusCode::NOT_FOUND, b"<Code>NoSuchBucket</Code>", true),
            Err(last("404 Not Found: NoSuchBucket")),
            "without its bucket nothing is known of an object"
        );
        assert_eq!(
            judge(StatusCode::SERVICE_UNAVAILABLE, SLOW_DOWN, true),
            Err(again("503 Service Unavailable: SlowDown"))
        );
    }
}
