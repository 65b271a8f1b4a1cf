//! The proxy's own answers on HTTP/2: problem details, or gRPC's trailers-only
//! form for its clients.

use crate::proxy::error::Answer;
use bytes::Bytes;
use h2::server::SendResponse;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};

/// Sends `answer`, and says how many bytes its body has; a client that has gone
/// needs none.
pub(super) fn send(
    respond: &mut SendResponse<Bytes>,
    answer: Answer,
    grpc: bool,
    method: &Method,
) -> u64 {
    let Answer { status, proxy_status, body, grpc: (code, message) } = answer;
    let mut response = Response::new(());
    let fields = response.headers_mut();
    put(fields, HeaderName::from_static("proxy-status"), proxy_status);
    if grpc {
        put(fields, header::CONTENT_TYPE, "application/grpc".to_owned());
        put(fields, HeaderName::from_static("grpc-status"), code.to_string());
        put(fields, HeaderName::from_static("grpc-message"), message);
        let _ = respond.send_response(response, true);
        return 0;
    }
    put(fields, header::CONTENT_TYPE, "application/problem+json".to_owned());
    put(fields, header::CONTENT_LENGTH, body.len().to_string());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let (bodiless, length) = (method == Method::HEAD, body.len() as u64);
    if let Ok(mut stream) = respond.send_response(response, bodiless)
        && !bodiless
    {
        // A few hundred bytes; they may wait for the app's window.
        let _ = stream.send_data(Bytes::from(body), true);
    }
    if bodiless { 0 } else { length }
}

fn put(fields: &mut HeaderMap, name: HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        fields.insert(name, value);
    }
}
