//! Quoting for texts that cannot carry parameters: SQL commands that define things, and
//! PostgreSQL's configuration files.
//!
//! All of them refuse what cannot be expressed (NUL, line breaks in files) by leaving it out of
//! [`crate::spec_check`]'s good specs; here such characters are dropped, so that even an unchecked
//! text cannot break out of its quotes.

/// An identifier in SQL: `"shop"`.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('\0', "").replace('"', "\"\""))
}

/// A text in SQL: `'text'`, or `E'…'` if it has a backslash, so that it means the same whatever
/// `standard_conforming_strings` is.
pub(crate) fn literal(text: &str) -> String {
    let quoted = text.replace('\0', "").replace('\'', "''");
    if quoted.contains('\\') {
        format!("E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}

/// A value in `postgresql.conf`.
pub(crate) fn setting(value: &str) -> String {
    let quoted = one_line(value).replace('\\', "\\\\").replace('\'', "''");
    format!("'{quoted}'")
}

/// A value in a connection string of libpq: `'text'`.
pub(crate) fn conninfo_value(value: &str) -> String {
    let quoted = one_line(value).replace('\\', "\\\\").replace('\'', "\\'");
    format!("'{quoted}'")
}

/// A name in `pg_hba.conf`. Quotes take the special meaning from words such as `all`.
pub(crate) fn hba_name(name: &str) -> String {
    format!("\"{}\"", one_line(name).replace('"', "\"\""))
}

fn one_line(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_quotes() {
        assert_eq!(identifier("shop"), "\"shop\"");
        assert_eq!(identifier("Sh\"op; --\0"), "\"Sh\"\"op; --\"");
        assert_eq!(identifier(""), "\"\"");
    }

    #[test]
    fn a_text_cannot_leave_its_quotes() {
        assert_eq!(literal("plain"), "'plain'");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("back\\slash'"), "E'back\\\\slash'''");
        assert_eq!(literal("nul\0"), "'nul'");
    }

    #[test]
    fn a_value_of_a_connection_string_cannot_leave_its_quotes() {
        assert_eq!(conninfo_value("/srv/a b"), "'/srv/a b'");
        assert_eq!(conninfo_value("x' host='y\\"), "'x\\' host=\\'y\\\\'");
    }

    #[test]
    fn a_setting_stays_on_its_line() {
        assert_eq!(setting("128MB"), "'128MB'");
        assert_eq!(setting("it's\\n\nssl = off"), "'it''s\\\\nssl = off'");
        assert_eq!(hba_name("all"), "\"all\"");
        assert_eq!(
            hba_name("a\"b\nlocal all all trust"),
            "\"a\"\"blocal all all trust\""
        );
    }
}
