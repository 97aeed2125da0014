//! Settings of our own sessions in the databases of customers.

/// What the owner of a database may have set for it must neither end our work there, nor choose what
/// runs in it.
const SETTINGS: [(&str, &str); 7] = [
    ("search_path", ""),
    ("role", "none"),
    ("local_preload_libraries", ""),
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_session_timeout", "0"),
    ("default_transaction_read_only", "off"),
];

/// One more that PostgreSQL knows since 17.
const SETTING_SINCE_17: (&str, &str) = ("transaction_timeout", "0");

/// Settings that outrank what an owner has set, for PostgreSQL `major`.
pub(crate) fn settings(major: u16) -> Vec<(&'static str, &'static str)> {
    let late = (major >= 17).then_some(SETTING_SINCE_17);
    SETTINGS.into_iter().chain(late).collect()
}

/// The same for the environment of a program, as `PGOPTIONS`.
pub(crate) fn options(major: u16) -> String {
    let settings = settings(major).into_iter();
    let settings: Vec<_> = settings
        .map(|(name, value)| format!("-c {name}={value}"))
        .collect();
    settings.join(" ")
}
