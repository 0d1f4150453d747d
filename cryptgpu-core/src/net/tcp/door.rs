//! The listener after linking up. It is there for connections that are made anew; everybody else is turned away.

use super::super::stream::{Answer, Notice, Purpose};
use super::Config;
use super::connect::secure_incoming;
use super::reception::Reception;
use super::socket::Entrance;
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedSender;

/// The task: hands connections to the readers of their links, by the sender's index, for as long as the network lives.
pub(super) async fn keep(config: Arc<Config>, entrance: Entrance, readers: [Option<UnboundedSender<Notice>>; 3]) {
    let mut reception = Reception::new(&entrance);
    loop {
        let config = config.clone();
        let identify = move |socket| {
            let config = config.clone();
            async move { secure_incoming(&config, socket, Purpose::Resume).await }
        };
        let Ok((hello, stream)) = reception.next(identify).await.1 else { continue };
        let Some(reader) = &readers[hello.from.index()] else { continue };
        if let Err(unread) = reader.send(Notice::Connection(stream, hello))
            && let Notice::Connection(mut stream, hello) = unread.0
        {
            // The link has ended here. A sender that does not hear of it asks again.
            let _ = hello.answer(&mut stream, Answer::Ended).await;
        }
    }
}
