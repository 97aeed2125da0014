//! The scripts: one file, one atomic verb.

use std::sync::LazyLock;

use redis::{Cmd, Script};

/// A verb and its script.
pub(super) struct Verb {
    /// Its name, as in `lua/<name>.lua`.
    pub(super) name: &'static str,
    script: LazyLock<Script>,
}

impl Verb {
    /// The script itself.
    pub(super) fn script(&self) -> &Script {
        &self.script
    }

    /// The call of the script on these keys; arguments follow by [`Cmd::arg`]. About
    /// `bytes` are reserved for them.
    pub(super) fn call(&self, keys: &[&str], bytes: usize) -> Cmd {
        let mut command = Cmd::with_capacity(keys.len() + 8, bytes + 256);
        command
            .arg("EVALSHA")
            .arg(self.script.get_hash())
            .arg(keys.len())
            .arg(keys);
        command
    }
}

macro_rules! verbs {
    ($($constant:ident = $name:literal;)*) => {
        $(pub(super) static $constant: Verb = Verb {
            name: $name,
            script: LazyLock::new(|| {
                Script::new(include_str!(concat!("lua/", $name, ".lua")))
            }),
        };)*
    };
}

verbs! {
    BEGIN = "begin";
    CLAIM = "claim";
    ENTER = "enter";
    EXTEND = "extend";
    HEARTBEAT = "heartbeat";
    LEAVE = "leave";
    LIVE_WORKERS = "live_workers";
    MEMBERS = "members";
    SETTLE = "settle";
    STATS = "stats";
    WAKE = "wake";
}
