//! Which methods a path has, for the header `Allow` of an answer 405 (RFC 9110, 15.5.6).

use std::sync::LazyLock;

use http::HeaderValue;

use crate::openapi;

/// Path and methods of each route, as documented.
static ROUTES: LazyLock<Vec<(String, HeaderValue)>> = LazyLock::new(|| {
    let document = serde_json::to_value(openapi::document()).unwrap_or_default();
    let paths = document["paths"].as_object().into_iter().flatten();
    paths
        .filter_map(|(path, methods)| {
            let methods: Vec<String> = methods
                .as_object()?
                .keys()
                .map(|method| method.to_uppercase())
                .collect();
            let methods = HeaderValue::from_str(&methods.join(", ")).ok()?;
            Some((path.clone(), methods))
        })
        .collect()
});

/// The methods of a path; `None` if it is no route.
pub(crate) fn methods_of(path: &str) -> Option<HeaderValue> {
    ROUTES
        .iter()
        .find(|(route, _)| matches(route, path))
        .map(|(_, methods)| methods.clone())
}

fn matches(route: &str, path: &str) -> bool {
    let (route, path) = (route.split('/'), path.split('/'));
    route.clone().count() == path.clone().count()
        && route
            .zip(path)
            .all(|(known, sent)| known == sent || known.starts_with('{'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, methods: Option<&str>) {
        let found = methods_of(path);
        let found = found.as_ref().map(|value| value.to_str().unwrap());
        assert_eq!(found, methods, "{path}");
    }

    #[test]
    fn a_path_has_the_methods_of_its_route() {
        check("/v1/resources", Some("GET, POST"));
        check("/v1/resources/shop", Some("DELETE, GET"));
        check("/v1/jobs/provision/1/retry", Some("POST"));
        check("/v1/nothing", None);
        check("/v1/resources/shop/url/x", None);
    }
}
