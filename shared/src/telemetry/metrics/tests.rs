use std::collections::HashSet;

use super::*;

#[test]
fn names_are_unique_and_say_their_kind_and_unit() {
    let mut seen = HashSet::new();
    for metric in ALL {
        let name = metric.name;
        assert!(seen.insert(name), "{name} is there twice");
        assert!(name.starts_with("ringmaster_"), "{name}");
        assert_eq!(
            name.ends_with("_total"),
            metric.kind == Kind::Counter,
            "{name}"
        );
        assert_eq!(
            name.ends_with("_seconds"),
            metric.unit == Unit::Seconds,
            "{name}"
        );
        assert_eq!(
            name.ends_with("_bytes"),
            metric.unit == Unit::Bytes,
            "{name}"
        );
        assert!(
            metric.about.ends_with('.'),
            "{name} is not described by a sentence"
        );
    }
}

#[test]
fn series_are_all_combinations_of_closed_sets() {
    let labels = [closed("a", || vec!["1", "2"]), closed("b", || vec!["x"])];
    assert_eq!(
        series(&labels),
        [vec![("a", "1"), ("b", "x")], vec![("a", "2"), ("b", "x")]]
    );
    assert_eq!(series(&[]), [Vec::new()]);
    assert!(series(&[closed("a", || vec!["1"]), open("b")]).is_empty());
}
