//! The last lines of what a program said.

use std::fmt;

/// Lines that are kept.
const LINES: usize = 5;

/// Longest line that is kept, in characters.
const CHARS_MAX: usize = 300;

/// The last lines of what was said, shown as one.
#[derive(Debug, Default)]
pub(crate) struct LastLines(Vec<String>);

impl LastLines {
    pub(crate) fn add(&mut self, line: &str) {
        let text = line.trim();
        if text.is_empty() {
            return;
        }
        if self.0.len() == LINES {
            self.0.remove(0);
        }
        self.0.push(text.chars().take(CHARS_MAX).collect());
    }
}

impl fmt::Display for LastLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("it said nothing");
        }
        f.write_str(&self.0.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_lines_are_kept() {
        let mut last = LastLines::default();
        assert_eq!(last.to_string(), "it said nothing");
        for line in ["1", " ", "2", "3", "4", "5", " 6 "] {
            last.add(line);
        }
        assert_eq!(last.to_string(), "2; 3; 4; 5; 6");
        last.add(&"é".repeat(1000));
        assert_eq!(last.to_string().chars().count(), 4 * 3 + CHARS_MAX);
    }
}
