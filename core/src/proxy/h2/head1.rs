//! Heads between the two versions: an HTTP/2 request as HTTP/1.1 writes it, and
//! an HTTP/1.1 response as HTTP/2 has it.

use super::call::Call;
use crate::http1::{Field, ResponseHead, write_field};
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};

/// Writes the request's head; `ended` if no body follows. Says whether the body
/// is to be chunked.
pub(super) fn write_request(out: &mut Vec<u8>, call: &mut Call<'_>, ended: bool) -> bool {
    let mut fields = call.fields();
    out.extend_from_slice(call.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(call.path.as_str().as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    write_field(out, b"Host", call.target.authority.as_bytes());
    let crumbs = fields.get_all(header::COOKIE).iter().count();
    if crumbs > 1 {
        // RFC 9113 §8.2.3: crumbs are one field again.
        let jar: Vec<&[u8]> =
            fields.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
        let jar = jar.join(b"; ".as_slice());
        write_field(out, b"cookie", &jar);
        fields.remove(header::COOKIE);
    }
    for (name, value) in &fields {
        write_field(out, name.as_str().as_bytes(), value.as_bytes());
    }
    let measured = fields.contains_key(header::CONTENT_LENGTH);
    let chunked = !ended && !measured;
    if chunked {
        write_field(out, b"Transfer-Encoding", b"chunked");
    } else if !measured && [Method::POST, Method::PUT, Method::PATCH].contains(&call.method) {
        // Where HTTP/2 says END_STREAM, HTTP/1.1 says this (RFC 9110 §8.6).
        write_field(out, b"Content-Length", b"0");
    }
    out.extend_from_slice(b"\r\n");
    chunked
}

/// The response's head; `None` if it has a field that HTTP/2 cannot carry.
pub(super) fn response(head: &ResponseHead, buffer: &[u8]) -> Option<Response<()>> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(head.status).ok()?;
    *response.headers_mut() = fields(head.fields(), buffer)?;
    Some(response)
}

/// Fields without those that end here; `buffer` is what they were parsed from.
pub(in crate::proxy) fn fields(list: &[Field], buffer: &[u8]) -> Option<HeaderMap> {
    let mut fields = HeaderMap::with_capacity(list.len());
    for field in list.iter().filter(|field| !field.hop) {
        let name = HeaderName::from_bytes(field.name.in_buffer(buffer)).ok()?;
        let value = Bytes::copy_from_slice(field.value.in_buffer(buffer));
        fields.try_append(name, HeaderValue::from_maybe_shared(value).ok()?).ok()?;
    }
    Some(fields)
}

/// Trailers as lines.
pub(in crate::proxy) fn trailer_lines(trailers: &HeaderMap) -> Vec<u8> {
    let mut lines = Vec::new();
    for (name, value) in trailers {
        write_field(&mut lines, name.as_str().as_bytes(), value.as_bytes());
    }
    lines
}
