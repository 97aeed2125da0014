//! What Redis is told, word by word.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Listens in on a Redis with its `MONITOR` command.
pub(super) struct Monitor {
    lines: Arc<Mutex<Vec<String>>>,
    _reader: JoinSet<()>,
}

impl Monitor {
    /// Listens from when this returns.
    pub(super) async fn start(port: u16) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .unwrap();
        let (reader, mut writer) = stream.into_split();
        writer.write_all(b"MONITOR\r\n").await.unwrap();
        let mut heard = BufReader::new(reader).lines();
        assert_eq!(heard.next_line().await.unwrap().as_deref(), Some("+OK"));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        let sink = Arc::clone(&lines);
        tasks.spawn(async move {
            // The writing half stays open as long as somebody listens.
            let _writer = writer;
            while let Ok(Some(line)) = heard.next_line().await {
                sink.lock().unwrap().push(line);
            }
        });
        Self {
            lines,
            _reader: tasks,
        }
    }

    /// The commands heard so far, each as its words.
    pub(super) fn calls(&self) -> Vec<Vec<String>> {
        let lines = self.lines.lock().unwrap();
        let words = |line: &String| -> Option<Vec<String>> {
            let quoted = line.split_once("] \"")?.1.strip_suffix('"')?;
            Some(quoted.split("\" \"").map(ToOwned::to_owned).collect())
        };
        lines.iter().filter_map(words).collect()
    }
}

/// The name by which Redis knows a script of the queue.
pub(super) fn script_hash(name: &str) -> String {
    let path = format!(
        "{}/../shared/src/queue/lua/{name}.lua",
        env!("CARGO_MANIFEST_DIR")
    );
    redis::Script::new(&std::fs::read_to_string(path).unwrap())
        .get_hash()
        .to_owned()
}
