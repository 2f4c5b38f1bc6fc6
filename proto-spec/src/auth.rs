//! Keys, transcript and proofs of the login. SPEC §4.3 and §4.4, after RFC 5802 §3 without iterations.
//!
//! A server stores a [`Verifier`], from which the secret cannot be computed and which alone does not log in. All
//! comparisons take constant time. `Debug` of everything secret prints nothing of it.

use core::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

const CLIENT_LABEL: &[u8] = b"Pulsewire Client Key";
const SERVER_LABEL: &[u8] = b"Pulsewire Server Key";
const LOGIN_LABEL: &[u8] = b"pulsewire-login-v1";
const PLAIN_BINDING: &[u8] = b"plain";

/// Bytes of a secret, a nonce, a proof and each key.
pub const KEY_BYTES: usize = 32;

/// H(ClientKey): lets the server check a proof.
#[derive(Clone, Copy)]
pub struct StoredKey(pub [u8; KEY_BYTES]);

/// HMAC(secret, label): lets the server prove itself.
#[derive(Clone, Copy)]
pub struct ServerKey(pub [u8; KEY_BYTES]);

/// What a server keeps of a device's secret.
#[derive(Clone, Copy)]
pub struct Verifier {
    /// Checks the device's proof.
    pub stored_key: StoredKey,
    /// Makes the server's.
    pub server_key: ServerKey,
}

impl Verifier {
    /// The verifier of a secret of 32 random bytes.
    pub fn from_secret(secret: &[u8; KEY_BYTES]) -> Verifier {
        Verifier {
            stored_key: StoredKey(hash(&[&client_key(secret)])),
            server_key: ServerKey(hmac(secret, &[SERVER_LABEL])),
        }
    }

    /// A verifier that no secret opens, for devices that do not exist: their login then runs the same steps and fails
    /// with the same words. `seed` is any secret of the server, so that one name always gets the same decoy.
    pub fn decoy(seed: &[u8; KEY_BYTES], device: &str) -> Verifier {
        Verifier {
            stored_key: StoredKey(hmac(seed, &[b"decoy stored key", device.as_bytes()])),
            server_key: ServerKey(hmac(seed, &[b"decoy server key", device.as_bytes()])),
        }
    }

    /// StoredKey and ServerKey, for storage.
    pub fn to_bytes(&self) -> [u8; 2 * KEY_BYTES] {
        let mut bytes = [0; 2 * KEY_BYTES];
        bytes[..KEY_BYTES].copy_from_slice(&self.stored_key.0);
        bytes[KEY_BYTES..].copy_from_slice(&self.server_key.0);
        bytes
    }

    /// The inverse of [`to_bytes`](Self::to_bytes).
    pub fn from_bytes(bytes: &[u8; 2 * KEY_BYTES]) -> Verifier {
        let mut stored_key = [0; KEY_BYTES];
        let mut server_key = [0; KEY_BYTES];
        stored_key.copy_from_slice(&bytes[..KEY_BYTES]);
        server_key.copy_from_slice(&bytes[KEY_BYTES..]);
        Verifier { stored_key: StoredKey(stored_key), server_key: ServerKey(server_key) }
    }
}

/// What ties a login to the connection it runs over. SPEC §4.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// No TLS.
    Plain,
    /// SHA-256 of the server's certificate in DER.
    Certificate([u8; 32]),
}

impl Binding {
    /// Whether the connection is encrypted.
    pub const fn is_tls(&self) -> bool {
        matches!(self, Binding::Certificate(_))
    }
}

/// The hash T while HELLO is known and CHALLENGE is not yet.
#[derive(Clone)]
pub struct Transcript(Sha256);

impl Transcript {
    /// Begins with the HELLO frame as sent, header included.
    pub fn new(hello_frame: &[u8]) -> Transcript {
        Transcript(Sha256::new().chain_update(LOGIN_LABEL).chain_update(hello_frame))
    }

    /// T, given the CHALLENGE frame as sent.
    pub fn finish(self, challenge_frame: &[u8], binding: &Binding) -> [u8; 32] {
        let hash = self.0.chain_update(challenge_frame);
        let hash = match binding {
            Binding::Plain => hash.chain_update(PLAIN_BINDING),
            Binding::Certificate(digest) => hash.chain_update(digest),
        };
        hash.finalize().into()
    }
}

/// The device's proof: ClientKey XOR HMAC(StoredKey, T).
pub fn device_proof(secret: &[u8; KEY_BYTES], t: &[u8; 32]) -> [u8; 32] {
    let client_key = client_key(secret);
    let stored_key = hash(&[&client_key]);
    xor(client_key, &hmac(&stored_key, &[t]))
}

/// Whether `proof` was made with the secret behind `stored_key`.
pub fn verify_device_proof(stored_key: &StoredKey, t: &[u8; 32], proof: &[u8; 32]) -> Choice {
    let client_key = xor(*proof, &hmac(&stored_key.0, &[t]));
    hash(&[&client_key]).ct_eq(&stored_key.0)
}

/// The server's proof over T, the PROOF frame as sent, and the WELCOME payload after its first 32 bytes.
pub fn server_proof(server_key: &ServerKey, t: &[u8; 32], proof_frame: &[u8], welcome_rest: &[u8]) -> [u8; 32] {
    hmac(&server_key.0, &[t, proof_frame, welcome_rest])
}

/// Whether the server knows ServerKey, which only the secret or a verifier gives.
pub fn verify_server_proof(
    server_key: &ServerKey,
    t: &[u8; 32],
    proof_frame: &[u8],
    welcome_rest: &[u8],
    proof: &[u8; 32],
) -> bool {
    server_proof(server_key, t, proof_frame, welcome_rest).ct_eq(proof).into()
}

impl fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredKey(hidden)")
    }
}

impl fmt::Debug for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerKey(hidden)")
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(hidden)")
    }
}

impl fmt::Debug for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transcript")
    }
}

fn client_key(secret: &[u8; KEY_BYTES]) -> [u8; 32] {
    hmac(secret, &[CLIENT_LABEL])
}

fn hmac(key: &[u8; KEY_BYTES], parts: &[&[u8]]) -> [u8; 32] {
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    parts.iter().fold(mac, |mac, part| mac.chain_update(part)).finalize().into_bytes().into()
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    parts.iter().fold(Sha256::new(), |hash, part| hash.chain_update(part)).finalize().into()
}

fn xor(mut left: [u8; 32], right: &[u8; 32]) -> [u8; 32] {
    left.iter_mut().zip(right).for_each(|(left, right)| *left ^= right);
    left
}
