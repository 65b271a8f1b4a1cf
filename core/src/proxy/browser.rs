//! Requests that a web page made a browser send, told by the fields that a page
//! can neither set nor remove (Fetch Metadata; RFC 6454 §7).
//!
//! On a developer's machine a proxy that lends an identity is within reach of
//! every page in the developer's browser. On the platform nothing browses, and
//! apps that hand on what their users' browsers sent are right to do so: there
//! nobody asks.

/// Whether a field shows that a page of another site is behind the request.
/// `Origin` alone is enough: what a page asks of its own site has no business
/// going through here.
pub(super) fn tells_of_a_page(name: &[u8], value: &[u8]) -> bool {
    if name.eq_ignore_ascii_case(b"origin") {
        return true;
    }
    name.eq_ignore_ascii_case(b"sec-fetch-site")
        && !value.eq_ignore_ascii_case(b"none")
        && !value.eq_ignore_ascii_case(b"same-origin")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_another_site_is_told_from_a_user_and_a_program() {
        for (name, value, page) in [
            ("Origin", "https://evil.example", true),
            ("origin", "null", true),
            ("Sec-Fetch-Site", "cross-site", true),
            ("sec-fetch-site", "same-site", true),
            ("sec-fetch-site", "what comes next", true),
            ("Sec-Fetch-Site", "none", false),
            ("Sec-Fetch-Site", "same-origin", false),
            ("Sec-Fetch-Mode", "cors", false),
            ("X-Origin", "https://evil.example", false),
        ] {
            assert_eq!(tells_of_a_page(name.as_bytes(), value.as_bytes()), page, "{name}: {value}");
        }
    }
}
