//! What fuzzers and the test of their corpora call here: what clients and parties say to each other, and the file by which
//! clients find a service, from bytes. Nothing else does.

use super::message::{self, Answer, MOST_BYTES, Say, VERSION};
use super::service::ServiceFile;
use crate::cluster::marshal::words::Words;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Reads messages of either end until one is bad or none is left, and the bytes as a service's file.
pub(crate) fn serving(bytes: &[u8]) {
    fn all<T: serde::de::DeserializeOwned>(mut rest: &[u8]) {
        loop {
            let mut read = pin!(message::read::<T>(&mut rest, MOST_BYTES));
            // A slice is always ready.
            match read.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) | Poll::Pending => return,
            }
        }
    }
    all::<Say>(bytes);
    all::<Answer>(bytes);
    if let Some(Ok(file)) = std::str::from_utf8(bytes).ok().map(ServiceFile::parse) {
        assert_eq!(ServiceFile::parse(&file.text()).as_ref(), Ok(&file), "a file is not read back");
    }
}

/// Messages from which fuzzers begin.
pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let components = || [Words(vec![1, 2]), Words(vec![3, u64::MAX])];
    let id = [7; 16];
    let all = [
        ("hello", written(&Say::Hello { version: VERSION.to_owned() })),
        ("ask", written(&Say::Ask { id, images: 300 })),
        ("shares", written(&Say::Shares { id, components: components() })),
        ("scores", written(&Answer::Scores { id, components: components() })),
        ("missing", written(&Answer::Missing { id, parties: vec![crate::net::PartyId::P1] })),
    ];
    all.into_iter().filter_map(|(name, bytes)| Some((name, bytes?))).collect()
}

fn written(message: &impl serde::Serialize) -> Option<Vec<u8>> {
    let mut bytes = vec![];
    let written = pin!(message::write(&mut bytes, message)).poll(&mut Context::from_waker(Waker::noop()));
    written.is_ready().then_some(bytes)
}
