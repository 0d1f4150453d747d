//! A client of a service: shares its images, sends each party its part, and opens the scores that come back as shares. No
//! party, and nobody else, sees images or scores.

use super::deal::deal_words;
use super::error::ServingError;
use super::message::{self, Answer, MOST_BYTES, Offer, RequestId, Say, VERSION};
use super::service::ServiceFile;
use crate::cluster::marshal::words::Words;
use crate::net::{Identity, PartyId, tls};
use crate::nn::is_batch_of;
use crate::nn::range::InputRange;
use ndarray::{ArrayBase, ArrayD, Data, Dimension, IxDyn};
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long connecting and short messages may take.
const SOON: Duration = Duration::from_secs(10);

/// A client of three parties that serve a model ([`Cluster::serve`](crate::cluster::Cluster::serve)).
///
/// ```no_run
/// use cryptgpu_core::cluster::{owner, Client, ServiceFile};
/// use ndarray::Array4;
/// use std::path::Path;
///
/// let service = ServiceFile::read(Path::new("digits.service.toml"))?;
/// let identity = owner::read_identity(Path::new("lab.crt"), Path::new("lab.key"))?;
/// let mut client = Client::connect(&service, &identity)?;
/// let scores = client.infer(&Array4::<f32>::zeros((1, 1, 28, 28)))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Client {
    runtime: Runtime,
    links: [Link; 3],
    offer: Offer,
    within: Duration,
}

/// The connection to one party.
#[derive(Debug)]
struct Link {
    party: PartyId,
    stream: TlsStream<TcpStream>,
}

impl Link {
    async fn open(party: PartyId, service: &ServiceFile, identity: &Identity) -> Result<(Self, Offer), ServingError> {
        let (address, fingerprint) = service.at(party);
        let unreachable = |detail: String| ServingError::Unreachable { party, address: address.clone(), detail };
        let config = identity.client_config(*fingerprint).map_err(|error| unreachable(error.to_string()))?;
        let connect = async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            TlsConnector::from(config).connect(tls::server_name(), stream).await
        };
        let stream = timeout(SOON, connect).await.map_err(|_| unreachable(format!("no answer within {SOON:?}")))?;
        let mut link = Link { party, stream: stream.map_err(|error| unreachable(error.to_string()))? };
        link.say(&Say::Hello { version: VERSION.to_owned() }).await?;
        match link.hear("say what it serves", MOST_BYTES, SOON).await? {
            Answer::Welcome(offer) if offer.party == party => Ok((link, offer)),
            Answer::Welcome(offer) => Err(unreachable(format!(
                "it is party {}: the parties stand in order in the service's file",
                offer.party
            ))),
            _ => Err(link.unexpected()),
        }
    }

    fn closed(&self, error: &io::Error) -> ServingError {
        ServingError::Closed { party: self.party, detail: error.to_string() }
    }

    fn unexpected(&self) -> ServingError {
        ServingError::Closed { party: self.party, detail: "it sent what does not belong here".to_owned() }
    }

    async fn say(&mut self, say: &Say) -> Result<(), ServingError> {
        let (party, what, within) = (self.party, "take what it was sent", SOON);
        let said = timeout(within, message::write(&mut self.stream, say)).await;
        said.map_err(|_| ServingError::Deadline { party, what, within })?.map_err(|error| self.closed(&error))
    }

    async fn hear(&mut self, what: &'static str, most: usize, within: Duration) -> Result<Answer, ServingError> {
        let party = self.party;
        let heard = timeout(within, message::read::<Answer>(&mut self.stream, most)).await;
        let heard = heard.map_err(|_| ServingError::Deadline { party, what, within })?;
        match heard.map_err(|error| self.closed(&error))? {
            Answer::Refused { detail } => Err(ServingError::Refused { party, detail }),
            Answer::Ended => Err(ServingError::Ended { party }),
            answer => Ok(answer),
        }
    }

    /// Whether there is room for a request.
    async fn ask(&mut self, id: RequestId, images: u32) -> Result<bool, ServingError> {
        self.say(&Say::Ask { id, images }).await?;
        match self.hear("say whether it has room", MOST_BYTES, SOON).await? {
            Answer::Go { id: of } if of == id => Ok(true),
            Answer::Busy { id: of } if of == id => Ok(false),
            _ => Err(self.unexpected()),
        }
    }

    /// Sends the party's components and waits for those of the scores, of so many words each.
    async fn request(
        &mut self,
        id: RequestId,
        components: [Words; 2],
        words: usize,
        within: Duration,
    ) -> Result<[Vec<u64>; 2], ServingError> {
        self.say(&Say::Shares { id, components }).await?;
        match self.hear("answer", Offer::bytes(2 * words), within).await? {
            Answer::Scores { id: of, components }
                if of == id && components.iter().all(|part| part.0.len() == words) =>
            {
                Ok(components.map(|part| part.0))
            }
            Answer::Missing { id: of, parties } if of == id => Err(ServingError::Missing { parties }),
            Answer::Inconsistent { id: of } if of == id => Err(ServingError::Inconsistent { party: self.party }),
            Answer::LeftRange { id: of } if of == id => Err(ServingError::LeftRange { party: self.party }),
            _ => Err(self.unexpected()),
        }
    }
}

/// The result of all three, or the error that says most: of a connection that is gone before those of the others, which wait
/// for that party.
fn all<T>(
    results: (Result<T, ServingError>, Result<T, ServingError>, Result<T, ServingError>),
) -> Result<[T; 3], ServingError> {
    let rank = |error: &ServingError| match error {
        ServingError::Refused { .. } => 0,
        ServingError::Missing { .. } | ServingError::Inconsistent { .. } | ServingError::LeftRange { .. } => 1,
        ServingError::Closed { .. } | ServingError::Unreachable { .. } => 2,
        ServingError::Deadline { .. } => 3,
        _ => 4,
    };
    match results {
        (Ok(a), Ok(b), Ok(c)) => Ok([a, b, c]),
        (a, b, c) => {
            let errors = [a.err(), b.err(), c.err()].into_iter().flatten();
            Err(errors.min_by_key(rank).unwrap_or_else(|| ServingError::Local("no party answered".to_owned())))
        }
    }
}

impl Client {
    /// How long an answer is waited for by default.
    pub const WITHIN: Duration = Duration::from_secs(600);

    /// Connects to all three parties, each known by its fingerprint; `identity` is one of the service's clients.
    ///
    /// # Errors
    /// [`ServingError`], by kind, with the party.
    pub fn connect(service: &ServiceFile, identity: &Identity) -> Result<Self, ServingError> {
        let local = |error: io::Error| ServingError::Local(error.to_string());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(local)?;
        let [p0, p1, p2] = PartyId::ALL.map(|party| Link::open(party, service, identity));
        let [first, second, third] = all(runtime.block_on(async { tokio::join!(p0, p1, p2) }))?;
        let describe = |offer: &Offer| {
            let service: String = offer.service.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
            format!("{} as service {service}", offer.network)
        };
        for (_, offer) in [&second, &third] {
            let same = Offer { party: PartyId::P0, ..offer.clone() };
            if same != first.1 {
                let (found, expected) = (describe(offer), describe(&first.1));
                return Err(ServingError::Apart { party: offer.party, found, expected });
            }
        }
        Ok(Client { runtime, links: [first.0, second.0, third.0], offer: first.1, within: Self::WITHIN })
    }

    /// Waits so long for an answer.
    #[must_use]
    pub fn within(self, within: Duration) -> Self {
        Client { within, ..self }
    }

    /// The network's name.
    pub fn network(&self) -> &str {
        &self.offer.network
    }

    /// `[channels, height, width]` of an image.
    pub fn input_shape(&self) -> [usize; 3] {
        self.offer.input_shape
    }

    /// The range that images are to lie in.
    pub fn input_range(&self) -> InputRange {
        self.offer.input
    }

    /// The most images of one request.
    pub fn most_images(&self) -> usize {
        self.offer.most_images as usize
    }

    /// Has the parties evaluate the model on `images`, `[batch, channels, height, width]` or what [`is_batch_of`] says. They see
    /// uniform words, and learn how many images there are and when. The scores, `[batch, …]`, are opened here alone.
    ///
    /// After [`ServingError::Busy`], [`ServingError::Missing`], [`ServingError::Inconsistent`] and [`ServingError::LeftRange`] the client
    /// can be used on; after others connect again.
    ///
    /// # Errors
    /// [`ServingError`], by kind, with the party. [`ServingError::Disagree`] where two parties sent different things in place of
    /// the component that both hold.
    pub fn infer<S, D>(&mut self, images: &ArrayBase<S, D>) -> Result<ArrayD<f64>, ServingError>
    where
        S: Data,
        S::Elem: Copy + Into<f64>,
        D: Dimension,
    {
        let (offer, refuse) = (&self.offer, |detail: String| Err(ServingError::Input(detail)));
        let count = images.shape().first().copied().unwrap_or(0);
        if !is_batch_of(images.shape(), offer.input_shape) {
            let (shape, expected) = (images.shape(), offer.input_shape);
            return refuse(format!("{} takes images [batch, {expected:?}], and these are {shape:?}", offer.network));
        }
        if count > self.most_images() {
            return refuse(format!("{count} images are more than the {} of one request", offer.most_images));
        }
        if !images.iter().all(|&value| offer.input.contains(value.into())) {
            eprintln!("some values lie outside {}, the range that the model was saved for", offer.input);
        }
        let codec = offer.codec;
        let words = codec.encode_array(images).map_err(|error| ServingError::Input(error.to_string()))?;
        let parts = deal_words(codec.ring(), &words).map_err(|error| ServingError::Local(error.to_string()))?;
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|error| ServingError::Local(error.to_string()))?;
        let shares = self.exchange(id, count as u32, parts)?;
        let scores = open(self.offer.scores(count), &self.offer, &shares)?;
        let shape = [&[count][..], &self.offer.output_shape].concat();
        ArrayD::from_shape_vec(IxDyn(&shape), scores).map_err(|error| ServingError::Local(error.to_string()))
    }

    /// Sends a request to all three, if all have room, and returns what each sent back.
    fn exchange(
        &mut self,
        id: RequestId,
        images: u32,
        parts: [[Words; 2]; 3],
    ) -> Result<[[Vec<u64>; 2]; 3], ServingError> {
        let (words, within) = (self.offer.codec.ring().words(self.offer.scores(images as usize)), self.within);
        let [p0, p1, p2] = &mut self.links;
        let [a, b, c] = parts;
        self.runtime.block_on(async {
            let room = all(tokio::join!(p0.ask(id, images), p1.ask(id, images), p2.ask(id, images)))?;
            if let Some(party) = PartyId::ALL.into_iter().find(|party| !room[party.index()]) {
                for (link, room) in [p0, p1, p2].into_iter().zip(room) {
                    if room {
                        link.say(&Say::Withdraw { id }).await?;
                    }
                }
                return Err(ServingError::Busy { party });
            }
            let all_three = tokio::join!(
                p0.request(id, a, words, within),
                p1.request(id, b, words, within),
                p2.request(id, c, words, within)
            );
            all(all_three)
        })
    }
}

/// Adds up the three components, each of which two parties have sent.
fn open(elements: usize, offer: &Offer, shares: &[[Vec<u64>; 2]; 3]) -> Result<Vec<f64>, ServingError> {
    for component in PartyId::ALL {
        let (party, before) = (component, component.prev());
        if shares[party.index()][0] != shares[before.index()][1] {
            return Err(ServingError::Disagree { component, parties: [before, party] });
        }
    }
    let (codec, ring) = (offer.codec, offer.codec.ring());
    let [a, b, c] = shares.each_ref().map(|own| ring.unpack(own[0].clone(), elements));
    let sum = |((a, b), c): ((&u64, &u64), &u64)| codec.decode(ring.residue(a.wrapping_add(*b).wrapping_add(*c)));
    Ok(a.iter().zip(&b).zip(&c).map(sum).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::FixedPoint;
    use ndarray::array;

    fn offer() -> Offer {
        let (version, network) = (VERSION.to_owned(), "small".to_owned());
        Offer {
            version,
            party: PartyId::P0,
            service: [0; 16],
            network,
            input_shape: [1, 1, 3],
            output_shape: vec![3],
            codec: FixedPoint::default(),
            input: InputRange::default(),
            most_images: 4,
        }
    }

    #[test]
    fn scores_are_opened_where_all_agree_and_otherwise_two_parties_are_named() {
        let (codec, ring) = (FixedPoint::default(), FixedPoint::default().ring());
        let value = array![1.5, -2.0, 0.25];
        let parts = deal_words(ring, &codec.encode_array(&value).unwrap()).unwrap();
        let shares = parts.map(|own| own.map(|words| words.0));
        assert_eq!(open(3, &offer(), &shares).unwrap(), value.to_vec());
        for (party, which, parties) in [
            (0, 0, [PartyId::P2, PartyId::P0]),
            (0, 1, [PartyId::P0, PartyId::P1]),
            (2, 1, [PartyId::P2, PartyId::P0]),
            (1, 1, [PartyId::P1, PartyId::P2]),
        ] {
            let mut other = shares.clone();
            other[party][which][1] ^= 1 << 40;
            let error = open(3, &offer(), &other).unwrap_err();
            assert!(matches!(&error, ServingError::Disagree { parties: named, .. } if *named == parties), "{error}");
        }
    }

    /// What one party gets of the same images with other randomness has nothing in common, and no bit of it leans to a side.
    #[test]
    fn what_a_party_sees_of_images_is_uniform_and_new_for_each_request() {
        let (codec, images) = (FixedPoint::default(), ndarray::Array1::<f64>::from_elem(4096, 0.5));
        let words = codec.encode_array(&images).unwrap();
        let [first, second] = [(); 2].map(|()| deal_words(codec.ring(), &words).unwrap());
        for (one, two) in first.iter().flatten().zip(second.iter().flatten()) {
            assert!(one.0.iter().zip(&two.0).all(|(one, two)| one != two));
            for bit in 0..64 {
                let ones = one.0.iter().filter(|word| *word >> bit & 1 == 1).count();
                // Six standard deviations.
                assert!(ones.abs_diff(2048) < 192, "bit {bit}: {ones} of 4096");
            }
        }
    }
}
