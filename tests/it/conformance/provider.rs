//! What every provider keeps.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use futures::future::{join_all, try_join_all};
use shared::agent_api::client::{AgentAddress, AgentClient};
use shared::clock::{Clock, ManualClock, SystemClock};
use shared::fakes::FakeProvider;
use shared::ids::{RequestId, ServerId, WorkerId};
use shared::pki::{CertificateAuthority, LIFETIME};
use shared::ports::{Credentials, Machine, MachineState, Provider, ServerOrder};
use tests::world::{PATIENCE, built};
use tokio::time::{Instant, sleep};
use workers::cloud::{LocalOptions, LocalProvider};

/// Ensures of one server that are sent at the same time.
const RACERS: usize = 8;

/// A provider, and what orders to it need.
struct Subject<'p> {
    provider: &'p dyn Provider,
    authority: CertificateAuthority,
}

impl<'p> Subject<'p> {
    fn new(provider: &'p dyn Provider) -> anyhow::Result<Self> {
        let authority = CertificateAuthority::generate(&SystemClock)?;
        Ok(Self {
            provider,
            authority,
        })
    }

    fn order(&self, server: ServerId) -> anyhow::Result<ServerOrder> {
        self.order_at(server, &SystemClock)
    }

    fn order_at(&self, server: ServerId, clock: &dyn Clock) -> anyhow::Result<ServerOrder> {
        let host = IpAddr::from(Ipv4Addr::LOCALHOST);
        let identity = self.authority.issue_for_server(server, &[host], clock)?;
        Ok(ServerOrder {
            server,
            request_id: RequestId::new(),
            credentials: Credentials {
                certificate: identity.certificate_pem,
                key: identity.key_pem,
                authority: self.authority.certificate_pem().to_owned(),
            },
        })
    }

    /// Asks until the machine runs, as a worker does.
    async fn runs(&self, server: ServerId) -> anyhow::Result<Machine> {
        let begun = Instant::now();
        loop {
            let machine = self.provider.ensure(&self.order(server)?).await?;
            if machine.state == MachineState::Running {
                return Ok(machine);
            }
            anyhow::ensure!(begun.elapsed() < PATIENCE, "does not run: {machine:?}");
            sleep(PATIENCE / 10_000).await;
        }
    }

    /// Asks until the machine is gone, as a worker does.
    async fn goes(&self, server: ServerId) -> anyhow::Result<()> {
        let begun = Instant::now();
        while self.provider.destroy(server).await?.state != MachineState::Absent {
            anyhow::ensure!(begun.elapsed() < PATIENCE, "{server} does not go");
            sleep(PATIENCE / 10_000).await;
        }
        Ok(())
    }

    async fn listed(&self) -> anyhow::Result<Vec<ServerId>> {
        let mut listed = self.provider.list().await?;
        listed.sort();
        Ok(listed)
    }

    async fn keeps_the_contract(&self) -> anyhow::Result<()> {
        self.knows_nothing_of_strangers().await?;
        self.makes_one_machine_of_many_ensures().await?;
        self.lists_what_it_has().await?;
        self.destroys_and_makes_anew().await
    }

    async fn knows_nothing_of_strangers(&self) -> anyhow::Result<()> {
        let stranger = ServerId::new();
        let absent = Machine::absent();
        assert_eq!(self.provider.describe(stranger).await?, absent);
        assert_eq!(self.provider.destroy(stranger).await?, absent);
        assert_eq!(self.listed().await?, []);
        Ok(())
    }

    async fn makes_one_machine_of_many_ensures(&self) -> anyhow::Result<()> {
        let server = ServerId::new();
        let orders = (0..RACERS).map(|_| self.order(server));
        let orders = orders.collect::<anyhow::Result<Vec<_>>>()?;
        let asked = orders.iter().map(|order| self.provider.ensure(order));
        let answers = try_join_all(asked).await?;
        let machine = self.runs(server).await?;
        for answer in answers {
            assert_ne!(answer.state, MachineState::Absent, "it was asked for");
            assert_eq!(answer.instance_id, machine.instance_id, "one machine");
            let known = answer.state == MachineState::Running;
            assert!(!known || answer == machine, "{answer:?} and {machine:?}");
        }
        assert_eq!(self.runs(server).await?, machine, "it is kept");
        assert_eq!(self.provider.describe(server).await?, machine);
        assert_eq!(self.listed().await?, [server]);
        self.goes(server).await
    }

    async fn lists_what_it_has(&self) -> anyhow::Result<()> {
        let mut ours = [ServerId::new(), ServerId::new(), ServerId::new()];
        for server in ours {
            self.runs(server).await?;
        }
        ours.sort();
        assert_eq!(self.listed().await?, ours);
        self.goes(ours[1]).await?;
        assert_eq!(self.listed().await?, [ours[0], ours[2]]);
        let gone = join_all([ours[0], ours[0], ours[2]].map(|server| self.goes(server))).await;
        gone.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
        assert_eq!(self.listed().await?, []);
        Ok(())
    }

    async fn destroys_and_makes_anew(&self) -> anyhow::Result<()> {
        let server = ServerId::new();
        self.runs(server).await?;
        self.goes(server).await?;
        self.goes(server).await?;
        assert_eq!(self.provider.describe(server).await?, Machine::absent());
        let again = self.runs(server).await?;
        assert_eq!(self.provider.describe(server).await?, again);
        assert_eq!(self.listed().await?, [server]);
        self.goes(server).await
    }
}

/// A provider whose agents end with this test.
fn local(root: &Path) -> anyhow::Result<LocalProvider> {
    fs::set_permissions(root, fs::Permissions::from_mode(0o755))?;
    Ok(LocalProvider::new(LocalOptions {
        root: root.to_owned(),
        agent_binary: built()?.join("agent_under_test"),
        supervisor_pid: Some(std::process::id()),
        postgres_bin_dirs: Vec::new(),
    }))
}

#[tokio::test]
async fn the_fake_provider_keeps_the_contract() -> anyhow::Result<()> {
    let provider = FakeProvider::default();
    Subject::new(&provider)?.keeps_the_contract().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_local_provider_keeps_the_contract() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    let provider = local(root.path())?;
    Subject::new(&provider)?.keeps_the_contract().await
}

#[tokio::test]
async fn a_stopped_machine_of_the_fake_is_started_again() -> anyhow::Result<()> {
    let (provider, server) = (FakeProvider::default(), ServerId::new());
    let subject = Subject::new(&provider)?;
    let before = subject.runs(server).await?;
    provider.stop(server);
    assert_eq!(
        provider.describe(server).await?.state,
        MachineState::Stopped
    );
    assert_eq!(subject.runs(server).await?, before);
    Ok(())
}

/// Nobody talks to an agent whose certificate has expired, so only its provider can help.
#[tokio::test(flavor = "multi_thread")]
async fn the_local_provider_replaces_an_expired_certificate() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    let provider = local(root.path())?;
    let (subject, server) = (Subject::new(&provider)?, ServerId::new());
    let long_ago = ManualClock::starting_at(SystemClock.now() - LIFETIME * 2);
    let expired = subject.order_at(server, &long_ago)?;
    provider.ensure(&expired).await?;
    let authority = subject.authority.certificate_pem();
    let worker = subject
        .authority
        .issue_for_worker(WorkerId::new(), &SystemClock)?;
    let client = AgentClient::new(authority, &worker, PATIENCE)?;

    let machine = subject.runs(server).await?;
    let port = machine.agent_port.context("its agent has a port")?;
    let agent = AgentAddress {
        server,
        address: (Ipv4Addr::LOCALHOST, port).into(),
    };
    let begun = Instant::now();
    while let Err(error) = client.status(agent, RequestId::new()).await {
        anyhow::ensure!(begun.elapsed() < PATIENCE, "it cannot be asked: {error:?}");
        sleep(PATIENCE / 10_000).await;
    }
    subject.goes(server).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_local_provider_leaves_alone_what_is_not_a_server() -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    let provider = local(root.path())?;
    let foreign = root.path().join("lost+found");
    fs::create_dir(&foreign)?;
    let (subject, server) = (Subject::new(&provider)?, ServerId::new());
    subject.runs(server).await?;
    let kept = root.path().join(server.to_string()).join("kept");
    fs::write(&kept, "of the first")?;
    assert_eq!(subject.listed().await?, [server]);

    subject.goes(server).await?;
    assert!(foreign.exists());
    subject.runs(server).await?;
    assert!(!kept.exists(), "the second one has nothing of the first");
    subject.goes(server).await
}
