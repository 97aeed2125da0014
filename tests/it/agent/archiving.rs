//! A server that brings its WAL and files to a receiver.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, ensure};
use shared::agent_api::client::AgentError;
use shared::agent_api::wal::{Archived, CHUNK_BYTES_MAX, Place, Placed, Seam, WalPush, WalPushed};
use shared::agent_api::{InstanceSpec, PROBER_ROLE, RoleSpec};
use shared::archive::frame::{self, Content};
use shared::archive::layout::{Prefix, Run};
use shared::ids::{RequestId, TimelineId};
use shared::process::{Account, Initdb, PostgresInstallations};
use shared::units::Lsn;
use sqlx::{Executor as _, PgConnection};
use tests::agent_server::{AgentServer, role, spec};

mod receiver;

pub(super) use receiver::{Receiver, SIGNATURE};

pub(super) const MIB: u64 = 1024 * 1024;

pub(super) const RUN: Run = Run { epoch: 1, tli: 1 };

/// A server, the receiver, and what a worker would know.
pub(super) struct World {
    pub(super) server: AgentServer,
    pub(super) receiver: Receiver,
    pub(super) spec: InstanceSpec,
    pub(super) prefix: Prefix,
    pub(super) segment_bytes: u64,
    rows: AtomicU64,
}

impl World {
    /// With segments of 1 MiB, which are quickly filled.
    pub(super) async fn start() -> anyhow::Result<Self> {
        Self::with_segments(1, &[]).await
    }

    /// With segments of `megabytes`, and further settings.
    pub(super) async fn with_segments(
        megabytes: u64,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let server = AgentServer::start(true).await?;
        let mut spec = spec().await?;
        spec.roles.push(RoleSpec {
            superuser: true,
            ..role(PROBER_ROLE)
        });
        for (name, value) in settings {
            let (name, value) = ((*name).to_owned(), (*value).to_owned());
            spec.settings.insert(name, value);
        }
        // A cluster with segments of another size than usual: made before its agent looks for one.
        let installations = PostgresInstallations::discover(&[]).await;
        let initdb = Initdb {
            superuser: "postgres",
            password: None,
            arguments: &[&format!("--wal-segsize={megabytes}")],
        };
        let account = Account::for_postgres()?;
        initdb
            .run(installations.newest()?, &account, &server.data_directory())
            .await?;
        let status = server.converge(&spec).await?;
        let postgres = status.postgres.context("PostgreSQL runs")?;
        let world = Self {
            server,
            receiver: Receiver::start().await?,
            prefix: Prefix {
                timeline: TimelineId::new(),
                system_identifier: postgres.system_identifier.parse()?,
            },
            spec,
            segment_bytes: megabytes * MIB,
            rows: AtomicU64::default(),
        };
        let mut session = world.session().await?;
        session
            .execute("create table written (id bigint primary key, body text)")
            .await?;
        Ok(world)
    }

    /// A superuser's session.
    pub(super) async fn session(&self) -> sqlx::Result<PgConnection> {
        self.server.connect(&self.spec, PROBER_ROLE, "shop").await
    }

    /// Commits rows that make about `bytes` of WAL that does not compress well.
    pub(super) async fn write(&self, bytes: u64) -> anyhow::Result<()> {
        let rows = bytes / 1100 + 1;
        let first = self.rows.fetch_add(rows, Ordering::Relaxed);
        sqlx::query(
            "insert into written
            select id, (select string_agg(md5(id::text || part::text), '')
                from generate_series(1, 32) as part)
            from generate_series($1, $2) as id",
        )
        .bind(i64::try_from(first)?)
        .bind(i64::try_from(first + rows - 1)?)
        .execute(&mut self.session().await?)
        .await?;
        Ok(())
    }

    /// How many rows were written.
    pub(super) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Flushed up to here at this moment.
    pub(super) async fn flush_lsn(&self) -> anyhow::Result<Lsn> {
        let lsn: String = sqlx::query_scalar("select pg_current_wal_flush_lsn()::text")
            .fetch_one(&mut self.session().await?)
            .await?;
        Ok(lsn.parse()?)
    }

    /// Where the slot is; none if it has lost its WAL.
    pub(super) async fn slot(&self) -> anyhow::Result<Option<Lsn>> {
        let lsn: Option<String> = sqlx::query_scalar(
            "select restart_lsn::text from pg_replication_slots
            where slot_name = 'ringmaster_archive'",
        )
        .fetch_one(&mut self.session().await?)
        .await?;
        lsn.map(|lsn| Ok(lsn.parse()?)).transpose()
    }

    /// The start of the segment that the slot holds: where a first epoch would begin.
    pub(super) async fn start_of_slot(&self) -> anyhow::Result<Lsn> {
        let held = self.slot().await?.context("the slot holds WAL")?;
        let into = held.bytes() % self.segment_bytes;
        Ok(Lsn::from_bytes(held.bytes() - into))
    }

    /// A place for a chunk.
    pub(super) async fn chunk(&self, range: &Range<Lsn>) -> anyhow::Result<Place> {
        let key = self.prefix.chunk(RUN, range.start);
        self.place(range, &key).await
    }

    /// Places for chunks.
    pub(super) async fn chunks(&self, ranges: &[Range<Lsn>]) -> anyhow::Result<Vec<Place>> {
        let places = ranges.iter().map(|range| self.chunk(range));
        futures::future::try_join_all(places).await
    }

    /// The object of the chain from `start` on that ends last, as a seam.
    pub(super) async fn seam(&self, start: Lsn) -> anyhow::Result<Seam> {
        let objects = self.receiver.objects().await?;
        let (mut last, mut end) = (None, start);
        while let Some(object) = objects.get(&self.prefix.chunk(RUN, end)) {
            last = Some(end);
            let length = frame::peek(object)?.length;
            end = after(end, length);
        }
        let start = last.context("there is an object")?;
        let (_, get) = self.receiver.sign(&self.prefix.chunk(RUN, start)).await?;
        let objects = vec![Archived { start, get }];
        Ok(Seam { end, objects })
    }

    /// A push of one chunk from `seam` on.
    pub(super) async fn call_from(&self, seam: Seam) -> anyhow::Result<WalPush> {
        let range = self.ranges(seam.end, 1).remove(0);
        let mut call = self.call(vec![self.chunk(&range).await?]);
        call.seam = Some(seam);
        Ok(call)
    }

    /// A place for a whole segment.
    pub(super) async fn segment(&self, start: Lsn) -> anyhow::Result<Place> {
        let end = Lsn::from_bytes(start.bytes() + self.segment_bytes);
        self.place(&(start..end), &self.prefix.segment(RUN, start))
            .await
    }

    async fn place(&self, range: &Range<Lsn>, key: &str) -> anyhow::Result<Place> {
        let (put, get) = self.receiver.sign(key).await?;
        Ok(Place {
            start: range.start,
            end: range.end,
            put,
            get,
        })
    }

    /// A push of these places.
    pub(super) fn call(&self, chunks: Vec<Place>) -> WalPush {
        WalPush {
            participant: self.spec.participant,
            generation: self.spec.generation,
            timeline: self.prefix.timeline,
            system_identifier: self.prefix.system_identifier,
            run: RUN,
            seam: None,
            chunks,
            segments: Vec::new(),
            safe_lsn: Lsn::default(),
            answer_within_ms: 30_000,
        }
    }

    /// Makes a call.
    pub(super) async fn push(&self, push: &WalPush) -> Result<WalPushed, AgentError> {
        let (client, address) = (&self.server.client, self.server.address);
        client.push_wal(address, push, RequestId::new()).await
    }

    /// Makes a call for one chunk, and gives what became of it.
    pub(super) async fn push_one(&self, range: Range<Lsn>) -> anyhow::Result<Placed> {
        let pushed = self
            .push(&self.call(vec![self.chunk(&range).await?]))
            .await?;
        pushed.chunks.into_iter().next().context("it is reached")
    }

    /// Ranges from `start`, as a worker cuts them: at ends of segments, none larger than a chunk.
    pub(super) fn ranges(&self, start: Lsn, count: usize) -> Vec<Range<Lsn>> {
        let mut at = start.bytes();
        let step = || {
            let segment_end = at - at % self.segment_bytes + self.segment_bytes;
            let start = at;
            at = segment_end.min(start + CHUNK_BYTES_MAX);
            Lsn::from_bytes(start)..Lsn::from_bytes(at)
        };
        std::iter::repeat_with(step).take(count).collect()
    }

    /// Pushes from `start` until all that is flushed now is in the archive. Gives up to where.
    pub(super) async fn push_all(&self, start: Lsn) -> anyhow::Result<Lsn> {
        let goal = self.flush_lsn().await?;
        let mut watermark = start;
        while watermark < goal {
            let places = self.ranges(watermark, 8);
            let places = self.chunks(&places).await?;
            let pushed = self.push(&self.call(places)).await?;
            let before = watermark;
            for placed in pushed.chunks {
                match placed {
                    Placed::Stored { end, .. } | Placed::Adopted { end } => watermark = end,
                    other => anyhow::bail!("{other:?} at {watermark}"),
                }
            }
            ensure!(watermark > before, "nothing more was pushed");
        }
        Ok(watermark)
    }

    /// Walks the chain of chunks from `start`: its bytes, and the end.
    pub(super) async fn chain(&self, start: Lsn) -> anyhow::Result<(Vec<u8>, Lsn)> {
        let objects = self.receiver.objects().await?;
        let (mut bytes, mut at) = (Vec::new(), start);
        while let Some(object) = objects.get(&self.prefix.chunk(RUN, at)) {
            let (metadata, content) = frame::decode(object)?;
            let Content::Wal { start, end, .. } = metadata.content else {
                anyhow::bail!("{metadata:?}");
            };
            ensure!(start == at && metadata.timeline == self.prefix.timeline);
            bytes.extend(content);
            at = end;
        }
        Ok((bytes, at))
    }

    /// The same range from PostgreSQL's own files.
    pub(super) fn files(&self, range: Range<Lsn>) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut at = range.start.bytes();
        while at < range.end.bytes() {
            let into = at % self.segment_bytes;
            let end = (at - into + self.segment_bytes).min(range.end.bytes());
            let file = std::fs::read(self.segment_file(Lsn::from_bytes(at)))?;
            let part = usize::try_from(into)?..usize::try_from(into + end - at)?;
            bytes.extend(file.get(part).context("the file is long enough")?);
            at = end;
        }
        Ok(bytes)
    }

    /// PostgreSQL's file of the segment that holds `at`.
    pub(super) fn segment_file(&self, at: Lsn) -> std::path::PathBuf {
        let name = segment_name(at, self.segment_bytes);
        self.server.data_directory().join("pg_wal").join(name)
    }
}

/// The name of the segment that holds `at`, on `tli` 1.
pub(super) fn segment_name(at: Lsn, segment_bytes: u64) -> String {
    let (id, rest) = (at.bytes() >> 32, at.bytes() & 0xFFFF_FFFF);
    format!("00000001{id:08X}{:08X}", rest / segment_bytes)
}

/// `lsn` and `bytes` more.
pub(super) fn after(lsn: Lsn, bytes: u64) -> Lsn {
    Lsn::from_bytes(lsn.bytes() + bytes)
}
