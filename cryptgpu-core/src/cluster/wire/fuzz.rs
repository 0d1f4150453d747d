//! What fuzzers and the test of their corpora call here: frames and messages of the control protocol, from bytes. Nothing
//! else does.

use super::error::{Failure, FailureKind};
use super::frame;
use super::hosts::Hosts;
use super::message::{Bootstrap, Call, Command, Event, HeldId};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Reads frames until one is bad or none is left, and the message in each.
pub(crate) fn control_frames(bytes: &[u8]) {
    let mut rest = bytes;
    loop {
        let mut read = pin!(frame::read_frame(&mut rest, || ()));
        // A slice is always ready.
        match read.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(frame)) => control_message(&frame),
            Poll::Ready(Err(_)) => return,
            Poll::Pending => return,
        }
    }
}

/// Reads a message as either end would, and what may follow it.
pub(crate) fn control_message(bytes: &[u8]) {
    let command = frame::decode::<Command>(bytes).map(|(_, body)| body);
    let event = frame::decode::<Event>(bytes).map(|(_, body)| body);
    for body in [command, event].into_iter().flatten() {
        // What follows a command may be a call, and is refused if it is none.
        let _ = frame::decode::<Call>(&bytes[body..]);
    }
}

/// Reads what a party gets by its standard input.
pub(crate) fn bootstrap(bytes: &[u8]) {
    let _ = postcard::from_bytes::<Bootstrap>(bytes);
}

/// Reads a cluster file and looks for what is wrong with it.
pub(crate) fn cluster_file(bytes: &[u8]) {
    let hosts = std::str::from_utf8(bytes).ok().and_then(|text| Hosts::parse(text).ok());
    // A file with a mistake is refused in words.
    let _ = hosts.map(|hosts| hosts.check());
}

/// Messages from which fuzzers begin.
pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let failure = Failure {
        kind: FailureKind::Deadline,
        step: "conv1/relu".into(),
        message: "party 2 sent nothing".into(),
        peer: Some(crate::net::PartyId::P2),
    };
    let all = [
        ("run", frame::encode(&Command::Run { run: 7, job: "self-test".into() }, &(1u8, "body"))),
        ("free", frame::encode_header(&Command::Free { ids: vec![HeldId { run: 300, place: 1 }] })),
        ("stop", frame::encode_header(&Command::Stop)),
        ("alive", frame::encode_header(&Event::Alive { state: None })),
        ("unable", frame::encode_header(&Event::Unable { detail: "no device".into() })),
        ("failed", frame::encode_header(&Event::Failed { run: 7, failure })),
    ];
    all.into_iter().filter_map(|(name, bytes)| Some((name, bytes.ok()?))).collect()
}

/// The same messages as frames.
pub(crate) fn framed_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let framed = |(name, message): (&'static str, Vec<u8>)| {
        let mut bytes = Vec::new();
        let written = pin!(frame::write_frame(&mut bytes, &message)).poll(&mut Context::from_waker(Waker::noop()));
        written.is_ready().then_some((name, bytes))
    };
    seeds().into_iter().filter_map(framed).collect()
}
