use clap::CommandFactory as _;

use super::*;
use crate::secret::Vault;

/// Options of a process, as a worker has them.
#[derive(Debug, Parser)]
#[command(name = "example", about = "An example.")]
struct Options {
    #[command(flatten)]
    database: ControlDatabaseOptions,
    #[command(flatten)]
    redis: RedisOptions,
    #[command(flatten)]
    key: EncryptionKeyOptions,
    #[command(flatten)]
    log: LogOptions,
}

impl Validate for Options {
    fn problems(&self, problems: &mut Vec<String>) {
        self.database.problems(problems);
        self.redis.problems(problems);
        self.key.problems(problems);
        self.log.problems(problems);
    }
}

fn options() -> Options {
    let arguments = [
        "example",
        "--database-url",
        "postgres://x:hunter2@127.0.0.1/x",
    ];
    Options::try_parse_from(arguments).unwrap()
}

#[test]
fn all_problems_are_listed_together() {
    let mut options = options();
    options.database.database_url = crate::secret::Secret::new("mysql://x");
    options.key.encryption_key_file = Some("/nowhere/key".into());
    options.log.log = "info,x=loud".to_owned();
    let mut problems = Vec::new();
    options.problems(&mut problems);
    let text = ConfigError(problems).to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 5, "{text}");
    assert!(
        lines[1].contains("RINGMASTER_DATABASE_URL must begin with"),
        "{text}"
    );
    assert!(lines[2].contains("set RINGMASTER_REDIS_URL"), "{text}");
    assert!(lines[3].contains("/nowhere/key: No such file"), "{text}");
    assert!(lines[4].contains("\"info,x=loud\" is not valid"), "{text}");
}

#[test]
fn a_secret_on_the_command_line_is_refused_and_not_repeated() {
    let url = "postgres://x:hunter2@127.0.0.1/x";
    let error = parse_from::<Options>(&["example", "--database-url", url]).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains(
            "--database-url may hold a secret, and arguments are public: set \
             RINGMASTER_DATABASE_URL instead"
        ),
        "{text}"
    );
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn options_are_printed_without_their_secrets() {
    let mut options = options();
    options.key.encryption_key = Some(Vault::random_key());
    let text = format!("{options:?}");
    assert!(!text.contains("hunter2"), "{text}");
    assert!(text.contains("encryption_key: Some([redacted])"), "{text}");
}

#[test]
fn redis_is_one_server_or_sentinels() {
    let mut redis = options().redis;
    assert!(
        redis
            .target()
            .unwrap_err()
            .contains("set RINGMASTER_REDIS_URL")
    );
    redis.sentinels = vec!["10.0.0.1:26379".to_owned()];
    assert!(redis.target().unwrap_err().contains("need each other"));
    redis.sentinel_master = Some("ring".to_owned());
    let expected = RedisTarget::Sentinel {
        sentinels: vec!["10.0.0.1:26379".to_owned()],
        master: "ring".to_owned(),
    };
    assert_eq!(redis.target(), Ok(expected));
    redis.url = Some(crate::secret::Secret::new("redis://127.0.0.1"));
    assert!(redis.target().unwrap_err().contains("not both"));
}

#[test]
fn a_key_is_read_from_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key");
    std::fs::write(&file, format!("{}\n", Vault::random_key().expose())).unwrap();
    let mut key = options().key;
    assert!(key.vault().unwrap_err().contains("openssl rand"));
    key.encryption_key_file = Some(file);
    key.vault().unwrap();
    key.encryption_key = Some(Vault::random_key());
    assert!(key.vault().unwrap_err().contains("not both"));
}

#[test]
fn every_option_is_documented() {
    let text = render_markdown(&[Options::command()]);
    assert!(
        text.contains(
            "| `--database-connections COUNT` | `RINGMASTER_DATABASE_CONNECTIONS` | `10` | Most \
             connections of this process to the control database (1 to 1000) |"
        ),
        "{text}"
    );
    assert!(
        text.contains("| – | `RINGMASTER_DATABASE_URL` |  | URL of"),
        "{text}"
    );
}
