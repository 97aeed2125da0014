//! Lists are read in pages: by key, never by offset, and never more than a fixed number of rows.

/// Most rows of one page: 1 to [`Limit::MOST`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(u16);

impl Limit {
    /// Most rows any page may have.
    pub const MOST: u16 = 1000;

    /// A limit of `rows`; `None` for 0 and for more than [`Limit::MOST`].
    pub const fn new(rows: u16) -> Option<Self> {
        if rows >= 1 && rows <= Self::MOST {
            Some(Self(rows))
        } else {
            None
        }
    }

    /// The largest page.
    pub const fn most() -> Self {
        Self(Self::MOST)
    }

    /// Rows of the page, for a batched delete.
    pub(crate) fn rows(self) -> i64 {
        i64::from(self.0)
    }

    /// How many rows to ask for: one more than the page, to see whether more follow.
    pub(crate) fn and_one(self) -> i64 {
        i64::from(self.0) + 1
    }
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T, K> {
    /// The rows, in the order of the list.
    pub items: Vec<T>,
    /// Key of the last row if more follow, to ask for the next page with; `None` at the end.
    pub next: Option<K>,
}

impl<T, K> Page<T, K> {
    /// Makes a page of the rows that a query for [`Limit::and_one`] gave.
    pub(crate) fn of(mut items: Vec<T>, limit: Limit, key: impl Fn(&T) -> K) -> Self {
        let more = items.len() > usize::from(limit.0);
        items.truncate(usize::from(limit.0));
        let next = if more { items.last().map(key) } else { None };
        Self { items, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_a_next_key_only_if_more_follows() {
        let limit = Limit::new(2).unwrap();
        let page = Page::of(vec![1, 2, 3], limit, |row| *row);
        assert_eq!(
            page,
            Page {
                items: vec![1, 2],
                next: Some(2)
            }
        );
        let page = Page::of(vec![1, 2], limit, |row| *row);
        assert_eq!(
            page,
            Page {
                items: vec![1, 2],
                next: None
            }
        );
    }

    #[test]
    fn a_page_is_never_empty_by_request_nor_unbounded() {
        assert_eq!(Limit::new(0), None);
        assert_eq!(Limit::new(1001), None);
        assert_eq!(Limit::new(1000), Some(Limit::most()));
    }
}
