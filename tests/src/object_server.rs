//! The embedded object store on a port of its own, with a switchboard of [faults](Fault) before it.

mod faults;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context as _;
use object_store::{Disk, Listener, ObjectStore, names};
use shared::archive::store::{Encryption, S3Settings, S3Store};
use shared::secret::Secret;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use faults::Switchboard;
pub use faults::{Fault, Faults, On};

/// The bucket that is there from the start.
pub const BUCKET: &str = "archive";

const ACCESS_KEY_ID: &str = "tests";
const SECRET: &str = "a secret for tests only";

/// A store on 127.0.0.1, which ends with the value.
#[derive(Debug)]
pub struct ObjectServer {
    directory: TempDir,
    address: SocketAddr,
    faults: Faults,
    running: Option<(CancellationToken, JoinHandle<()>)>,
}

impl ObjectServer {
    /// Starts one, with an empty bucket.
    pub async fn start() -> anyhow::Result<Self> {
        let mut server = Self {
            directory: TempDir::new().context("make a directory")?,
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            faults: Faults::default(),
            running: None,
        };
        server.start_again().await?;
        Ok(server)
    }

    /// Starts a stopped server again, with its data, on its port.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        anyhow::ensure!(self.running.is_none(), "it runs");
        let disk = Disk::open(self.directory.path()).context("open the files")?;
        disk.make_bucket(BUCKET).context("make the bucket")?;
        let store = ObjectStore::new(disk, ACCESS_KEY_ID, &Secret::new(SECRET));
        let listener = Listener::bind(self.address).await.context("listen")?;
        self.address = listener.address();
        let stop = CancellationToken::new();
        let switchboard = Switchboard {
            store,
            faults: self.faults.clone(),
            root: self.directory.path().to_owned(),
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "the handle is kept, and waited for or aborted"
        )]
        let task = tokio::spawn(listener.serve(switchboard, stop.clone()));
        self.running = Some((stop, task));
        Ok(())
    }

    /// Stops it: what was being answered is answered, except for what hangs.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        if let Some((stop, task)) = self.running.take() {
            self.faults.release();
            stop.cancel();
            task.await.context("wait for the end of the object store")?;
        }
        Ok(())
    }

    /// What goes wrong.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// How a client reaches it.
    pub fn settings(&self) -> S3Settings {
        S3Settings {
            endpoint: Some(format!("http://{}", self.address)),
            region: "us-east-1".to_owned(),
            bucket: BUCKET.to_owned(),
            prefix: String::new(),
            access_key_id: ACCESS_KEY_ID.to_owned(),
            secret_access_key: Secret::new(SECRET),
            path_style: true,
            encryption: Encryption::None,
        }
    }

    /// A client of it.
    pub fn store(&self) -> S3Store {
        S3Store::new(self.settings())
    }

    /// The file of an object.
    pub fn file_of(&self, key: &str) -> PathBuf {
        let bucket = self.directory.path().join("buckets").join(BUCKET);
        bucket.join(names::path_of(key))
    }

    /// Changes a byte in the middle of an object, on disk.
    pub fn corrupt(&self, key: &str) -> anyhow::Result<()> {
        let path = self.file_of(key);
        let mut content = std::fs::read(&path).with_context(|| format!("read {key}"))?;
        let middle = content.len() / 2;
        *content.get_mut(middle).context("the object is empty")? ^= 0x40;
        std::fs::write(&path, content).with_context(|| format!("write {key}"))
    }

    /// Uploads that are not complete, on disk.
    pub fn unfinished_uploads(&self) -> anyhow::Result<usize> {
        let uploads = self.directory.path().join("uploads");
        Ok(std::fs::read_dir(uploads).context("list uploads")?.count())
    }
}

impl Drop for ObjectServer {
    fn drop(&mut self) {
        if let Some((_, task)) = &self.running {
            task.abort();
        }
    }
}
