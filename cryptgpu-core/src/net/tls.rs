//! TLS 1.3 with both ends authenticated by certificates, made for one session or kept by their owner. There is no
//! authority: each end knows the SHA-256 of the only certificate that it accepts.

use super::PartyId;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
};
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// SHA-256 of a certificate: what a peer is known by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    fn of(certificate: &CertificateDer<'_>) -> Self {
        Fingerprint(Sha256::digest(certificate.as_ref()).into())
    }

    /// The fingerprint of a certificate in the text of a file (PEM).
    ///
    /// # Errors
    /// What is wrong with the text.
    pub(crate) fn of_pem(certificate: &[u8]) -> Result<Self, String> {
        let certificate = CertificateDer::from_pem_slice(certificate);
        certificate.map(|certificate| Fingerprint::of(&certificate)).map_err(|error| format!("no certificate: {error}"))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// Reads a fingerprint as people write it: 64 hexadecimal digits, in upper or lower case, with colons or blanks between them as
/// other programs show them, and `sha256:` or `SHA256 Fingerprint=` in front.
///
/// ```
/// use cryptgpu_core::net::Fingerprint;
///
/// let plain: Fingerprint = "ab".repeat(32).parse()?;
/// let spaced: Fingerprint = format!("SHA256 Fingerprint={}", vec!["AB"; 32].join(":")).parse()?;
/// assert_eq!(plain, spaced);
/// assert!("ab:cd".parse::<Fingerprint>().unwrap_err().contains("64 hexadecimal digits"));
/// # Ok::<(), String>(())
/// ```
impl std::str::FromStr for Fingerprint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.trim().to_ascii_lowercase();
        let digits = lower.rsplit_once('=').map_or(lower.as_str(), |(_, digits)| digits);
        let digits: String = digits
            .strip_prefix("sha256:")
            .unwrap_or(digits)
            .chars()
            .filter(|c| !matches!(c, ':' | ' ' | '-' | '\n'))
            .collect();
        let mut bytes = [0u8; 32];
        let read = |(byte, at): (&mut u8, usize)| {
            *byte = u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()?;
            Some(())
        };
        let all = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        match all && bytes.iter_mut().zip((0..64).step_by(2)).map(read).all(|read| read.is_some()) {
            true => Ok(Fingerprint(bytes)),
            false => Err(format!(
                "`{text}` is not a fingerprint: it has 64 hexadecimal digits, as `cryptgpu keygen` prints them"
            )),
        }
    }
}

/// A key pair and its self-signed certificate, for one session or kept in files by their owner. `Debug` shows the fingerprint
/// only. It can be serialised, to reach a party's process over a private channel.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Identity {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

impl Identity {
    /// A new key pair (ECDSA, P-256) and its certificate.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub fn generate() -> Result<Self, rcgen::Error> {
        let key = rcgen::KeyPair::generate()?;
        let certificate = rcgen::CertificateParams::new(vec![SERVER_NAME.to_string()])?.self_signed(&key)?;
        Ok(Identity { certificate: certificate.der().to_vec(), key: Zeroizing::new(key.serialize_der()) })
    }

    /// A new key pair and its certificate, which names its owner for people who look at it; beside it certificate and key
    /// as the text of files (PEM), which [`Identity::from_pem`] reads.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub(crate) fn generate_pem(owner: &str) -> Result<(Self, String, Zeroizing<String>), rcgen::Error> {
        let key = rcgen::KeyPair::generate()?;
        let mut parameters = rcgen::CertificateParams::new(vec![SERVER_NAME.to_string()])?;
        parameters.distinguished_name.push(rcgen::DnType::CommonName, owner);
        let certificate = parameters.self_signed(&key)?;
        let identity = Identity { certificate: certificate.der().to_vec(), key: Zeroizing::new(key.serialize_der()) };
        Ok((identity, certificate.pem(), Zeroizing::new(key.serialize_pem())))
    }

    /// The identity whose certificate and key stand in these texts.
    ///
    /// # Errors
    /// What is wrong with them: they are no PEM, or the key is another certificate's.
    pub(crate) fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, String> {
        let certificate =
            CertificateDer::from_pem_slice(certificate).map_err(|error| format!("no certificate: {error}"))?;
        let key = PrivatePkcs8KeyDer::from_pem_slice(key).map_err(|error| format!("no private key: {error}"))?;
        let key = Zeroizing::new(key.secret_pkcs8_der().to_vec());
        let identity = Identity { certificate: certificate.as_ref().to_vec(), key };
        // Setting TLS up compares them.
        let fits = identity.client_config(identity.fingerprint());
        fits.map(|_| identity).map_err(|error| format!("the key is not that of the certificate: {error}"))
    }

    /// What peers know this identity by.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&CertificateDer::from(self.certificate.as_slice()))
    }

    /// Configuration of the end that connects: accepts exactly `server`.
    ///
    /// # Errors
    /// When key and certificate do not fit each other.
    pub fn client_config(&self, server: Fingerprint) -> Result<Arc<ClientConfig>, Error> {
        let provider = provider();
        let verifier = Arc::new(Pinned { accepted: vec![server], provider: provider.clone() });
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_auth_cert(self.chain(), self.private_key())?;
        config.enable_sni = false;
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }

    /// Configuration of the end that listens: accepts exactly `clients`, each of which must show a certificate.
    ///
    /// # Errors
    /// When key and certificate do not fit each other.
    pub fn server_config(&self, clients: &[Fingerprint]) -> Result<Arc<ServerConfig>, Error> {
        let provider = provider();
        let verifier = Arc::new(Pinned { accepted: clients.to_vec(), provider: provider.clone() });
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain(), self.private_key())?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![CertificateDer::from(self.certificate.clone())]
    }

    fn private_key(&self) -> rustls::pki_types::PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.to_vec()).into()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.fingerprint())
    }
}

/// What the other end of a connection has shown to be.
pub(crate) fn shown_by(certificates: Option<&[CertificateDer<'_>]>) -> Option<Fingerprint> {
    Some(Fingerprint::of(certificates?.first()?))
}

/// Which party of `peers` (by index) the other end of a connection has shown to be.
pub(crate) fn party_of(certificates: Option<&[CertificateDer<'_>]>, peers: &[Fingerprint; 3]) -> Option<PartyId> {
    let shown = shown_by(certificates)?;
    PartyId::ALL.into_iter().find(|party| peers[party.index()] == shown)
}

/// The name in every certificate. It is not looked at: the fingerprint is.
pub(crate) fn server_name() -> ServerName<'static> {
    match ServerName::try_from(SERVER_NAME) {
        Ok(name) => name,
        Err(_) => ServerName::IpAddress(std::net::Ipv4Addr::LOCALHOST.into()),
    }
}

const SERVER_NAME: &str = "cryptgpu.invalid";

/// AES-128-GCM first: parties protect what is already secret-shared, and it is the fastest.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            ring::cipher_suite::TLS13_AES_128_GCM_SHA256,
            ring::cipher_suite::TLS13_AES_256_GCM_SHA384,
            ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        ..ring::default_provider()
    })
}

/// Accepts certificates by fingerprint, and proves by the handshake's signature that the other
/// end has the key.
#[derive(Debug)]
struct Pinned {
    accepted: Vec<Fingerprint>,
    provider: Arc<CryptoProvider>,
}

impl Pinned {
    fn check(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        match self.accepted.contains(&Fingerprint::of(certificate)) {
            true => Ok(()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn check_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn only_tls13() -> Error {
        Error::General("only TLS 1.3 is spoken here".into())
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Self::only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Pinned {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end_entity).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Self::only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{ClientConnection, ProtocolVersion, ServerConnection};

    /// A handshake in memory: both ends, or the first error of one.
    fn handshake(client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> Result<[Option<ProtocolVersion>; 2], Error> {
        let mut client = ClientConnection::new(client, server_name())?;
        let mut server = ServerConnection::new(server)?;
        while client.is_handshaking() || server.is_handshaking() || client.wants_write() || server.wants_write() {
            let mut wire = vec![];
            client.write_tls(&mut wire).unwrap();
            server.read_tls(&mut wire.as_slice()).unwrap();
            server.process_new_packets()?;
            wire.clear();
            server.write_tls(&mut wire).unwrap();
            client.read_tls(&mut wire.as_slice()).unwrap();
            client.process_new_packets()?;
        }
        Ok([client.protocol_version(), server.protocol_version()])
    }

    /// Parties link up with these configurations, and each with its controller.
    #[test]
    fn each_end_speaks_to_the_pinned_one_alone_and_tls_1_3_alone() {
        let [here, there, stranger] = std::array::from_fn(|_| Identity::generate().unwrap());
        let connect = |from: &Identity, to: &Identity, from_accepts: &Identity, to_accepts: &[Fingerprint]| {
            handshake(from.client_config(from_accepts.fingerprint()).unwrap(), to.server_config(to_accepts).unwrap())
        };
        let accepted = connect(&here, &there, &there, &[stranger.fingerprint(), here.fingerprint()]);
        assert_eq!(accepted.unwrap(), [Some(ProtocolVersion::TLSv1_3); 2]);
        // A server that is not the pinned one; a client that is not; a server that accepts nobody.
        assert!(connect(&here, &stranger, &there, &[here.fingerprint()]).is_err());
        assert!(connect(&stranger, &there, &there, &[here.fingerprint()]).is_err());
        assert!(connect(&here, &there, &there, &[]).is_err());
        // A client that shows no certificate.
        let pinned = Pinned { accepted: vec![there.fingerprint()], provider: provider() };
        let anonymous =
            ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS13]);
        let anonymous = anonymous.unwrap().dangerous().with_custom_certificate_verifier(Arc::new(pinned));
        let anonymous = Arc::new(anonymous.with_no_client_auth());
        assert!(handshake(anonymous, there.server_config(&[here.fingerprint()]).unwrap()).is_err());
    }
}
