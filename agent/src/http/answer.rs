//! One call: what it asks, and the answer.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use serde::Serialize;
use serde::de::DeserializeOwned;
use shared::agent_api::backup::BackupOrder;
use shared::agent_api::check::CheckOrder;
use shared::agent_api::restore::ArchiveReads;
use shared::agent_api::transfer::TransferOrder;
use shared::agent_api::wal::{ANSWER_WITHIN_MAX, WalPush};
use shared::agent_api::{InstanceSpec, NewCertificate, REQUEST_ID_HEADER, Refusal, RefusalCode};
use shared::pki::{CertificateFacts, Identity, server_name};
use tokio::time::{Instant, timeout};
use tracing::Instrument as _;

use crate::agent::Agent;
use crate::backup;
use crate::check;
use crate::durable_file::replace_durably;
use crate::held::is_held;
use crate::instruct;
use crate::store::StoreError;
use crate::transfer;
use crate::wal;

/// Largest body in bytes: a spec of a thousand databases fits several times.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How much of a body that is too large is read in bytes, before the connection is cut.
const DRAINED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Longest time of one call. Those that take longer by their nature bound themselves.
const CALL_PATIENCE: Duration = Duration::from_secs(30);

/// The path of the one that does: its time is [`ANSWER_WITHIN_MAX`] at most.
const WAL_PUSH: &str = "/v1/wal/push";

/// Longest request id that is logged.
const REQUEST_ID_BYTES_MAX: usize = 64;

/// The path of backups.
const BACKUP: &str = "/v1/backup";

/// The path of checks.
const CHECK: &str = "/v1/check";

/// The path of transfers.
const TRANSFER: &str = "/v1/transfer";

/// The path of requests that read the archive.
const ARCHIVE_READS: &str = "/v1/archive/reads";

type Answer = Response<Full<Bytes>>;

/// Answers one call, in any case.
pub(super) async fn answer(agent: &Agent, request: Request<Incoming>) -> Answer {
    let begun = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let request_id = request
        .headers()
        .get(REQUEST_ID_HEADER)
        .and_then(|value| value.to_str().ok())
        .filter(|id| id.len() <= REQUEST_ID_BYTES_MAX)
        .unwrap_or_default();
    let span = tracing::info_span!("request", request_id);
    let routed = route(agent, request).instrument(span.clone());
    let is_push = path == WAL_PUSH;
    let is_asked_often = is_push || path == CHECK || path == TRANSFER;
    let is_question = method == Method::GET || is_asked_often;
    let patience = if is_push {
        CALL_PATIENCE + ANSWER_WITHIN_MAX
    } else {
        CALL_PATIENCE
    };
    let outcome = timeout(patience, routed).await;
    let answer = match outcome {
        Ok(Ok(answer)) => answer,
        Ok(Err(trouble)) => trouble.answer(agent),
        Err(_) => Trouble::Internal("the call took too long".to_owned()).answer(agent),
    };
    let status = answer.status().as_u16();
    let elapsed_ms = begun.elapsed().as_secs_f64() * 1000.0;
    // What is asked for every few seconds is no news.
    if is_question && status == 200 {
        tracing::debug!(parent: &span, %method, path, status, elapsed_ms, "call is answered");
    } else {
        tracing::info!(parent: &span, %method, path, status, elapsed_ms, "call is answered");
    }
    answer
}

/// Why a call did not succeed.
enum Trouble {
    Refused(StatusCode, Refusal),
    /// The call cannot be understood.
    Invalid(StatusCode, String),
    /// Our own fault; the details are logged, and told: only workers get here.
    Internal(String),
}

impl Trouble {
    fn answer(self, agent: &Agent) -> Answer {
        let generation = agent.store.get().generation();
        match self {
            Self::Refused(status, refusal) => {
                tracing::info!(code = ?refusal.code, error = refusal.message, "call is refused");
                json(status, &refusal)
            }
            Self::Invalid(status, message) => {
                tracing::info!(error = message, "call is not understood");
                let code = RefusalCode::Invalid;
                json(
                    status,
                    &Refusal {
                        code,
                        message,
                        generation,
                    },
                )
            }
            Self::Internal(message) => {
                tracing::error!(error = message, "failed to answer a call");
                let mut answer = Response::new(Full::from(message));
                *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                answer
            }
        }
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Internal(format!("{:#}", anyhow::Error::from(error)))
    }
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal.code {
            RefusalCode::Invalid => StatusCode::BAD_REQUEST,
            RefusalCode::OldGeneration
            | RefusalCode::GenerationReused
            | RefusalCode::OtherParticipant
            | RefusalCode::UnknownGeneration
            | RefusalCode::OtherHistory
            | RefusalCode::NotRunning => StatusCode::CONFLICT,
        };
        Self::Refused(status, refusal)
    }
}

async fn route(agent: &Agent, request: Request<Incoming>) -> Result<Answer, Trouble> {
    let unknown = |status, what: &str| Err(Trouble::Invalid(status, what.to_owned()));
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/v1/instance") => status(agent).await,
        (&Method::PUT, "/v1/instance") => instruct(agent, request).await,
        (&Method::PUT, "/v1/certificate") => replace_certificate(agent, request).await,
        (&Method::POST, WAL_PUSH) => push_wal(agent, request).await,
        (&Method::GET, BACKUP) => Ok(json(StatusCode::OK, &agent.backups.status())),
        (&Method::PUT, BACKUP) => order_backup(agent, request).await,
        (&Method::POST, ARCHIVE_READS) => allow_reads(agent, request).await,
        (&Method::POST, CHECK) => check_instance(agent, request).await,
        (&Method::POST, TRANSFER) => bring_over(agent, request).await,
        (
            _,
            "/v1/instance" | "/v1/certificate" | WAL_PUSH | BACKUP | ARCHIVE_READS | CHECK
            | TRANSFER,
        ) => unknown(
            StatusCode::METHOD_NOT_ALLOWED,
            "the path has no such method",
        ),
        _ => unknown(StatusCode::NOT_FOUND, "there is no such path"),
    }
}

async fn status(agent: &Agent) -> Result<Answer, Trouble> {
    Ok(json(StatusCode::OK, &agent.status().await))
}

async fn instruct(agent: &Agent, request: Request<Incoming>) -> Result<Answer, Trouble> {
    let spec: InstanceSpec = read(request).await?;
    let postgres_major = spec.birth.postgres_major();
    let accepted: Result<bool, Refusal> = agent
        .store
        .update(|state| {
            let before = state.generation();
            instruct::accept(state, spec, &agent.boot_id)?;
            // An accepted instruction must be possible here.
            if state.generation() > before {
                agent
                    .installations
                    .find(postgres_major)
                    .map_err(|error| Refusal {
                        code: RefusalCode::Invalid,
                        message: format!("birth: {error}"),
                        generation: before,
                    })?;
            }
            Ok(state.generation() > before)
        })
        .await?;
    match accepted {
        Ok(is_new) => {
            if is_new {
                let generation = agent.store.get().generation();
                tracing::info!(generation, "instruction is accepted");
            }
            agent.wake.notify_one();
            status(agent).await
        }
        Err(refusal) => Err(refusal.into()),
    }
}

async fn push_wal(agent: &Agent, request: Request<Incoming>) -> Result<Answer, Trouble> {
    let push: WalPush = read(request).await?;
    let pushed = Box::pin(wal::push(agent, push)).await?;
    Ok(json(StatusCode::OK, &pushed))
}

async fn order_backup(agent: &Agent, request: Request<Incoming>) -> Result<Answer, Trouble> {
    let order: BackupOrder = read(request).await?;
    let status = backup::order(agent, order).await?;
    Ok(json(StatusCode::OK, &status))
}

async fn check_instance(agent: &Agent, request: Request<Incoming>) -> Result<Answer, Trouble> {
    let order: CheckOrder = read(request).await?;
    let status = check::order(agent, &order)?;
    Ok(json(StatusCode::OK, &status))
}

async fn bring_over(agent: &Agent, request: Request<Incoming>) -> Result<Answer, Trouble> {
    let order: TransferOrder = read(request).await?;
    let status = transfer::order(agent, &order)?;
    Ok(json(StatusCode::OK, &status))
}

async fn allow_reads(agent: &Agent, request: Request<Incoming>) -> Result<Answer, Trouble> {
    let reads: ArchiveReads = read(request).await?;
    let known = agent.store.get();
    let held = known.instruction.as_ref().map(|held| &held.spec);
    is_held((reads.participant, reads.generation), held).map_err(|(code, message)| Refusal {
        code,
        message,
        generation: known.generation(),
    })?;
    agent.restore.bring(reads);
    Ok(json(StatusCode::OK, &agent.status().await.restore))
}

/// The file first, then memory: an agent that is killed in between starts with the new one.
async fn replace_certificate(agent: &Agent, request: Request<Incoming>) -> Result<Answer, Trouble> {
    let NewCertificate { certificate_pem } = read(request).await?;
    let invalid = |what: String| Trouble::Invalid(StatusCode::BAD_REQUEST, what);
    let bad = |error: shared::pki::PkiError| invalid(format!("certificate_pem: {error}"));
    let facts = CertificateFacts::read(&certificate_pem).map_err(bad)?;
    let name = server_name(agent.options.server_id);
    if !facts.is_issued_by(&agent.authority_pem).map_err(bad)? || !facts.dns_names().contains(&name)
    {
        let what = "certificate_pem: was not issued to this server by our authority";
        return Err(invalid(what.to_owned()));
    }
    let internal = |error: anyhow::Error| Trouble::Internal(format!("{error:#}"));
    let key_pem = agent.identity_on_disk().map_err(internal)?.key_pem;
    let identity = Identity {
        certificate_pem,
        key_pem,
    };
    shared::pki::HotIdentity::new(&identity).map_err(bad)?;
    let (path, text) = (
        agent.options.certificate.clone(),
        identity.certificate_pem.clone(),
    );
    let writing = Arc::clone(&agent.certificate_writer).lock_owned().await;
    let written = tokio::task::spawn_blocking(move || {
        let written = replace_durably(&path, text.as_bytes());
        drop(writing);
        written
    });
    let written = written.await.map_err(std::io::Error::other).flatten();
    written
        .map_err(|error| Trouble::Internal(format!("failed to write the certificate: {error}")))?;
    agent.identity.replace(&identity).map_err(bad)?;
    tracing::info!(not_after = %facts.not_after(), "certificate is replaced");
    agent.wake.notify_one();
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    Ok(answer)
}

async fn read<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Trouble> {
    let bad = |status, what: String| Trouble::Invalid(status, what);
    let body = read_bounded(request.into_body())
        .await
        .map_err(|error| {
            bad(
                StatusCode::BAD_REQUEST,
                format!("failed to read the body: {error}"),
            )
        })?
        .ok_or_else(|| {
            let what = format!("the body is larger than the limit of {BODY_BYTES_MAX} bytes");
            bad(StatusCode::PAYLOAD_TOO_LARGE, what)
        })?;
    serde_json::from_slice(&body).map_err(|error| {
        bad(
            StatusCode::BAD_REQUEST,
            format!("failed to understand the body: {error}"),
        )
    })
}

/// Reads a whole body; `None` if it is too large. Some of what is too much is read too and thrown
/// away: a client that is cut off while it still sends does not see the answer.
async fn read_bounded(mut body: Incoming) -> hyper::Result<Option<Vec<u8>>> {
    let (mut kept, mut length) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        length += data.len();
        if length <= BODY_BYTES_MAX {
            kept.extend_from_slice(&data);
        } else if length > DRAINED_BYTES_MAX {
            break;
        }
    }
    Ok((length <= BODY_BYTES_MAX).then_some(kept))
}

fn json(status: StatusCode, content: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(content).expect("answers are plain data");
    let mut answer = Response::new(Full::from(body));
    *answer.status_mut() = status;
    let json = header::HeaderValue::from_static("application/json");
    answer.headers_mut().insert(header::CONTENT_TYPE, json);
    answer
}
