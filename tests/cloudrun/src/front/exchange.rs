//! One request and its answer, over either protocol.
//!
//! Owns what a service can do: read the body, answer, stream, fail. The framing
//! is in `h1` and `h2`; `services` call it.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;

use super::iam::{self, Verdict};
use super::{Arrival, Judgement, Seen, Shared, h1, h2, locked};
use crate::google::Google;
use crate::services::gate::Gates;
use crate::wire::{self, Fields};

/// What the service is told about the request.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) service: String,
    pub(crate) tag: Option<String>,
    pub(crate) region: String,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) protocol: &'static str,
    /// The head with the platform's changes.
    pub(crate) head: Vec<u8>,
    pub(crate) fields: Fields,
}

impl Call {
    /// A parameter of the query, decoded.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        wire::parameter(&self.query, name)
    }

    /// A number in the query; `default` where it is missing or none.
    pub(crate) fn number(&self, name: &str, default: u64) -> u64 {
        self.parameter(name).and_then(|text| text.parse().ok()).unwrap_or(default)
    }

    /// The first value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&[u8]> {
        wire::field(&self.fields, name)
    }
}

pub(crate) enum Side<'a> {
    H1(h1::Side<'a>),
    H2(h2::Side),
}

/// One request and its answer.
pub(crate) struct Exchange<'a> {
    pub(crate) call: Call,
    /// `None`: there is no such service.
    pub(crate) verdict: Option<Verdict>,
    shared: Arc<Shared>,
    seen: Arc<Mutex<Seen>>,
    pub(crate) side: Side<'a>,
}

impl<'a> Exchange<'a> {
    /// Judges and records what arrived.
    pub(crate) fn new(shared: &Arc<Shared>, arrival: Arrival, side: Side<'a>) -> Self {
        let judgement = shared.judge(&arrival.host, &arrival.fields);
        let seen = shared.record(&arrival, &judgement);
        let (path, query) = arrival.target.split_once('?').unwrap_or((&arrival.target, ""));
        let mut call = Call {
            service: String::new(),
            tag: None,
            region: String::new(),
            path: path.to_owned(),
            query: query.to_owned(),
            host: arrival.host,
            protocol: arrival.protocol,
            head: arrival.head,
            fields: arrival.fields,
        };
        iam::strip_signature(&mut call.fields, &mut call.head);
        let verdict = match judgement {
            Judgement::Unknown | Judgement::TokenEndpoint => None,
            Judgement::Service(address, verdict) => {
                call.service = address.service;
                call.tag = address.tag;
                call.region = address.region;
                Some(verdict)
            }
        };
        Self { call, verdict, shared: Arc::clone(shared), seen, side }
    }

    /// The token endpoints of the simulation.
    pub(crate) fn google(&self) -> &Google {
        &self.shared.google
    }

    /// How long the service waits before it answers.
    pub(super) fn latency(&self) -> Duration {
        self.shared.latency(&self.call.service)
    }

    /// The gates of the simulation.
    pub(crate) fn gates(&self) -> &Gates {
        &self.shared.gates
    }

    /// Waits at the gate that the query names, if it names one.
    pub(crate) async fn wait_at_gate(&mut self) {
        if let Some(name) = self.call.parameter("gate") {
            self.shared.gates.pass(&name).await;
        }
    }

    /// Notes how the client ended the exchange before its answer was complete.
    pub(crate) fn note_end(&self, how: &str) {
        locked(&self.seen).end = Some(how.to_owned());
    }

    /// The next piece of the request body; `None` at its end.
    pub(crate) async fn read(&mut self) -> io::Result<Option<Bytes>> {
        let piece = match &mut self.side {
            Side::H1(side) => side.read().await?,
            Side::H2(side) => side.read().await?,
        };
        if let Some(piece) = &piece {
            locked(&self.seen).body_len += piece.len() as u64;
        }
        Ok(piece)
    }

    /// The trailers of the request; only after its body was read to the end.
    pub(crate) async fn request_trailers(&mut self) -> io::Result<Fields> {
        match &mut self.side {
            Side::H1(side) => Ok(side.trailers.clone()),
            Side::H2(side) => side.request_trailers().await,
        }
    }

    /// Sends an interim answer (1xx).
    pub(crate) async fn interim(&mut self, status: u16, fields: &[(&str, &str)]) -> io::Result<()> {
        match &mut self.side {
            Side::H1(side) => side.interim(status, fields).await,
            Side::H2(side) => side.interim(status, fields),
        }
    }

    /// Sends the head of the answer. `length`: of the body, where it is declared.
    pub(crate) async fn respond(
        &mut self,
        status: u16,
        fields: &[(&str, &[u8])],
        length: Option<u64>,
    ) -> io::Result<()> {
        self.decide(status);
        match &mut self.side {
            Side::H1(side) => side.respond(status, fields, length).await,
            Side::H2(side) => side.respond(status, fields, length),
        }
    }

    /// Notes the final status, before the caller can see it.
    pub(crate) fn decide(&self, status: u16) {
        let copy = {
            let mut seen = locked(&self.seen);
            seen.status = status;
            seen.clone()
        };
        self.shared.observe(&copy);
    }

    /// Sends a piece of the body, flushed.
    pub(crate) async fn data(&mut self, piece: impl Into<Bytes>) -> io::Result<()> {
        match &mut self.side {
            Side::H1(side) => side.data(&piece.into()).await,
            Side::H2(side) => side.data(piece.into()).await,
        }
    }

    /// Ends the answer.
    pub(crate) async fn finish(&mut self, trailers: &[(&str, &[u8])]) -> io::Result<()> {
        match &mut self.side {
            Side::H1(side) => side.finish(trailers).await,
            Side::H2(side) => side.finish(trailers),
        }
    }

    /// A whole answer with a declared length.
    pub(crate) async fn full(
        &mut self,
        status: u16,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<()> {
        let fields: Vec<(&str, &[u8])> =
            fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        self.respond(status, &fields, Some(body.len() as u64)).await?;
        if !body.is_empty() {
            self.data(Bytes::copy_from_slice(body)).await?;
        }
        self.finish(&[]).await
    }
}
