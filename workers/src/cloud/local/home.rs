//! The directory of one local server.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use shared::agent_api::DATA_DIRECTORY;
use shared::ids::ServerId;
use shared::pki::CertificateFacts;
use shared::ports::{Credentials, Machine, MachineState};
use shared::process::{DistinctPorts, ProcessError, processes_in};

/// Address of everything on this computer.
const HOST: &str = "127.0.0.1";

/// The directory of one server, and the names in it.
#[derive(Debug)]
pub(super) struct Home {
    server: ServerId,
    path: PathBuf,
}

/// TCP ports of one server, remembered so that they stay.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Ports {
    /// Port of the agent.
    pub(super) agent: u16,
    /// Port for PostgreSQL.
    pub(super) postgres: u16,
}

impl Home {
    pub(super) fn of(root: &Path, server: ServerId) -> Self {
        Self {
            server,
            path: root.join(server.to_string()),
        }
    }

    /// Servers that have a directory. Whatever else lies there is not ours.
    pub(super) fn all(root: &Path) -> Result<Vec<ServerId>, ProcessError> {
        let entries = match fs::read_dir(root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(ProcessError::file("list", root)(error)),
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.filter_map(|name| name.parse().ok()).collect())
    }

    pub(super) fn exists(&self) -> bool {
        self.path.is_dir()
    }

    /// Makes the directory. Others may pass it, as PostgreSQL's own user must, but not look.
    pub(super) fn make(&self) -> Result<(), ProcessError> {
        fs::create_dir_all(&self.path).map_err(ProcessError::file("make directory", &self.path))?;
        fs::set_permissions(&self.path, fs::Permissions::from_mode(0o711))
            .map_err(ProcessError::file("set the mode of", &self.path))
    }

    /// Takes the turn of working on this server until the file is dropped; null while another
    /// worker has it.
    pub(super) fn lock(&self) -> Result<Option<File>, ProcessError> {
        let path = self.path.join("lock");
        let file = File::create(&path).map_err(ProcessError::file("open", &path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(ProcessError::file("lock", &path)(error.into())),
        }
    }

    pub(super) fn server(&self) -> ServerId {
        self.server
    }

    pub(super) fn certificate(&self) -> PathBuf {
        self.path.join("certificate.pem")
    }

    pub(super) fn key(&self) -> PathBuf {
        self.path.join("key.pem")
    }

    pub(super) fn authority(&self) -> PathBuf {
        self.path.join("authority.pem")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.path.join("agent.log")
    }

    pub(super) fn pid_file(&self) -> PathBuf {
        self.path.join("agent.pid")
    }

    /// The directory that belongs to the agent.
    pub(super) fn agent_directory(&self) -> PathBuf {
        self.path.join("agent")
    }

    /// PostgreSQL's data directory, as the agent lays it out.
    pub(super) fn data_directory(&self) -> PathBuf {
        self.agent_directory().join(DATA_DIRECTORY)
    }

    /// The remembered ports; null before they were chosen.
    pub(super) fn ports(&self) -> Option<Ports> {
        let text = fs::read(self.path.join("ports.json")).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Keeps the ports that are still free, and chooses new ones for the rest. To be called while
    /// no agent runs.
    ///
    /// A port that another server has noted is not free, also if nobody listens on it yet: its
    /// PostgreSQL may be just being made.
    pub(super) fn choose_ports(&self) -> Result<Ports, ProcessError> {
        let _turn = self.lock_ports()?;
        let known = self.ports();
        let mut ports = DistinctPorts::other_than(self.ports_of_others()?);
        let agent = ports.settle(known.map(|ports| ports.agent))?;
        // A PostgreSQL that outlived its agent keeps its port.
        let ours = !processes_in(&self.data_directory())?.is_empty();
        let postgres = match known.map(|ports| ports.postgres) {
            Some(port) if ours => port,
            known => ports.settle(known)?,
        };
        let ports = Ports { agent, postgres };
        let text = serde_json::to_vec(&ports).expect("two numbers serialise");
        self.write("ports.json", &text)?;
        Ok(ports)
    }

    fn root(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }

    /// Waits for the turn of choosing ports on this computer, which is over in a moment.
    fn lock_ports(&self) -> Result<File, ProcessError> {
        let path = self.root().join("ports.lock");
        let file = File::create(&path).map_err(ProcessError::file("open", &path))?;
        flock(&file, FlockOperation::LockExclusive)
            .map_err(|error| ProcessError::file("lock", &path)(error.into()))?;
        Ok(file)
    }

    fn ports_of_others(&self) -> Result<impl Iterator<Item = u16>, ProcessError> {
        let others = Self::all(self.root())?;
        let others = others.into_iter().filter(|server| *server != self.server);
        Ok(others
            .filter_map(|server| Self::of(self.root(), server).ports())
            .flat_map(|ports| [ports.agent, ports.postgres]))
    }

    /// Whether the agent has a certificate that nobody accepts any more, so that it cannot be
    /// reached even to be given another one.
    pub(super) fn certificate_has_expired(&self, now: DateTime<Utc>) -> bool {
        fs::read_to_string(self.certificate())
            .ok()
            .and_then(|pem| CertificateFacts::read(&pem).ok())
            .is_some_and(|facts| facts.not_after() <= now)
    }

    pub(super) fn write_credentials(&self, credentials: &Credentials) -> Result<(), ProcessError> {
        self.write("authority.pem", credentials.authority.as_bytes())?;
        self.write("key.pem", credentials.key.expose().as_bytes())?;
        self.write("certificate.pem", credentials.certificate.as_bytes())
    }

    /// Writes a file in whole or not at all, readable to us only.
    pub(super) fn write(&self, name: &str, content: &[u8]) -> Result<(), ProcessError> {
        let (path, new) = (self.path.join(name), self.path.join(format!("{name}.new")));
        let written = fs::OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&new)
            .and_then(|mut file| {
                file.write_all(content)?;
                file.sync_all()
            })
            .and_then(|()| fs::rename(&new, &path));
        written.map_err(ProcessError::file("write", &path))
    }

    /// Removes the directory with everything in it. A crash in the middle leaves a part that the
    /// next call removes: the name goes last.
    pub(super) fn remove(&self) -> Result<(), ProcessError> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(ProcessError::file("remove", &self.path)(error))
            }
            _ => Ok(()),
        }
    }

    /// The machine as others see it.
    pub(super) fn machine(&self, state: MachineState) -> Machine {
        let ports = self.ports();
        Machine {
            state,
            instance_id: Some(format!("local/{}", self.server)),
            host: ports.map(|_| HOST.to_owned()),
            agent_port: ports.map(|ports| ports.agent),
            postgres_port: ports.map(|ports| ports.postgres),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_servers_have_a_port_in_common() {
        let root = tempfile::tempdir().unwrap();
        let [first, second] = [(); 2].map(|()| Home::of(root.path(), ServerId::new()));
        first.make().unwrap();
        second.make().unwrap();
        let ports = first.choose_ports().unwrap();
        // As if both had found them free, before either listened there.
        let text = serde_json::to_vec(&ports).unwrap();
        second.write("ports.json", &text).unwrap();
        let other = second.choose_ports().unwrap();
        let all = BTreeSet::from([ports.agent, ports.postgres, other.agent, other.postgres]);
        assert_eq!(all.len(), 4, "{ports:?} {other:?}");

        let kept = second.choose_ports().unwrap();
        assert_eq!((kept.agent, kept.postgres), (other.agent, other.postgres));
    }
}
