//! A request's fields once more, for another attempt, in one piece of memory. A
//! map that is cloned shares its values, and each that is shared for the first
//! time needs an allocation; few requests are ever sent twice.

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// The copy.
#[derive(Debug, Default)]
pub(super) struct Spare {
    /// Names and values, one after the other.
    bytes: Vec<u8>,
    fields: Vec<Place>,
}

/// Where a field stands: the sizes of its name and its value.
#[derive(Debug)]
struct Place {
    name: usize,
    value: usize,
    /// It must never get into a compression table (RFC 7541 §7.1.3).
    sensitive: bool,
}

impl Spare {
    /// A copy of `fields`.
    pub(super) fn of(fields: &HeaderMap) -> Spare {
        let size = fields.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        let mut spare =
            Spare { bytes: Vec::with_capacity(size), fields: Vec::with_capacity(fields.len()) };
        for (name, value) in fields {
            spare.bytes.extend_from_slice(name.as_str().as_bytes());
            spare.bytes.extend_from_slice(value.as_bytes());
            let (name, sensitive) = (name.as_str().len(), value.is_sensitive());
            spare.fields.push(Place { name, value: value.len(), sensitive });
        }
        spare
    }

    /// The fields again.
    pub(super) fn fields(&self) -> HeaderMap {
        let mut fields = HeaderMap::with_capacity(self.fields.len());
        let mut rest = self.bytes.as_slice();
        for Place { name, value, sensitive } in &self.fields {
            let (name, after) = rest.split_at(*name);
            let (value, after) = after.split_at(*value);
            rest = after;
            // Valid, because they were.
            if let (Ok(name), Ok(mut value)) =
                (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
            {
                value.set_sensitive(*sensitive);
                fields.append(name, value);
            }
        }
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_is_the_same_to_the_last_flag() {
        let mut fields = HeaderMap::new();
        let mut secret = HeaderValue::from_static("s");
        secret.set_sensitive(true);
        fields.append("x-secret", secret);
        for value in [&b"1"[..], b"", b"\xff\xe9"] {
            fields.append("x-many", HeaderValue::from_bytes(value).unwrap());
        }
        let copy = Spare::of(&fields).fields();
        assert_eq!(copy, fields);
        let order = |fields: &HeaderMap| {
            fields.iter().map(|(name, value)| (name.clone(), value.clone())).collect::<Vec<_>>()
        };
        assert_eq!(order(&copy), order(&fields));
        assert!(copy["x-secret"].is_sensitive() && !copy["x-many"].is_sensitive());
        assert!(Spare::default().fields().is_empty());
    }
}
