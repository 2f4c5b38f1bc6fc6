//! Sealing a message for a browser: RFC 8291 over the content encoding `aes128gcm` of RFC 8188, in one record.

use p256::ecdh::diffie_hellman;
use p256::elliptic_curve::sec1::ToEncodedPoint;
use p256::{PublicKey, SecretKey};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};

/// A subscription's secret.
pub(super) type Auth = [u8; 16];

/// What push services take at most is one record of this size (RFC 8291 §4).
const RECORD_BYTES: u32 = 4096;
/// A random number is no private key with a chance of 2⁻³²; this often in a row it never happens.
const TRIES: usize = 4;

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn hkdf<const N: usize>(salt: &[u8], secret: &[u8], info: &[&[u8]]) -> Result<[u8; N], String> {
    let mut out = [0; N];
    let key = Salt::new(HKDF_SHA256, salt).extract(secret);
    let filled = key.expand(info, Length(N)).and_then(|okm| okm.fill(&mut out));
    filled.map_err(|_| "the message's keys cannot be derived".to_owned())?;
    Ok(out)
}

fn random<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| "the system gives no random bytes for the message's key".to_owned())?;
    Ok(bytes)
}

/// Seals a text with a key and a salt of its own.
///
/// # Errors
/// If the system gives no random bytes.
pub(super) fn seal(text: &[u8], browser: &PublicKey, auth: &Auth) -> Result<Vec<u8>, String> {
    for _ in 0..TRIES {
        if let Ok(own) = SecretKey::from_slice(&random::<32>()?) {
            return seal_with(text, browser, auth, &own, &random()?);
        }
    }
    Err("no key for the message was found".into())
}

/// RFC 8291 §3.3 and §3.4. Key and salt must be new for each message.
fn seal_with(
    text: &[u8],
    browser: &PublicKey,
    auth: &Auth,
    own: &SecretKey,
    salt: &[u8; 16],
) -> Result<Vec<u8>, String> {
    let (theirs, ours) = (browser.to_encoded_point(false), own.public_key().to_encoded_point(false));
    let shared = diffie_hellman(own.to_nonzero_scalar(), browser.as_affine());
    let info: [&[u8]; 3] = [b"WebPush: info\0", theirs.as_bytes(), ours.as_bytes()];
    let input: [u8; 32] = hkdf(auth, shared.raw_secret_bytes(), &info)?;
    encode(text, &input, salt, ours.as_bytes())
}

/// RFC 8188 §2: header and one record.
fn encode(text: &[u8], input: &[u8], salt: &[u8; 16], key_id: &[u8]) -> Result<Vec<u8>, String> {
    let wrong = || "the message cannot be encrypted".to_owned();
    let key: [u8; 16] = hkdf(salt, input, &[b"Content-Encoding: aes128gcm\0"])?;
    let nonce: [u8; 12] = hkdf(salt, input, &[b"Content-Encoding: nonce\0"])?;
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).map_err(|_| wrong())?);
    let mut record = Vec::with_capacity(text.len() + 1 + AES_128_GCM.tag_len());
    record.extend_from_slice(text);
    // The delimiter of the last record.
    record.push(2);
    // The first record's nonce is the base, and there is no second one.
    let nonce = Nonce::assume_unique_for_key(nonce);
    key.seal_in_place_append_tag(nonce, Aad::empty(), &mut record).map_err(|_| wrong())?;
    let mut body = Vec::with_capacity(21 + key_id.len() + record.len());
    body.extend_from_slice(salt);
    body.extend_from_slice(&RECORD_BYTES.to_be_bytes());
    body.push(u8::try_from(key_id.len()).map_err(|_| wrong())?);
    body.extend_from_slice(key_id);
    body.extend_from_slice(&record);
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    fn bytes(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text).expect("base64url")
    }

    fn fixed<const N: usize>(text: &str) -> [u8; N] {
        bytes(text).try_into().expect("as long as wanted")
    }

    #[test]
    fn the_example_of_rfc_8188_comes_out_byte_for_byte() {
        // RFC 8188 §3.1.
        let body = encode(b"I am the walrus", &bytes("yqdlZ-tYemfogSmv7Ws5PQ"), &fixed("I1BsxtFttlv3u_Oo94xnmw"), &[]);
        let wanted = "I1BsxtFttlv3u_Oo94xnmwAAEAAA-NAVub2qFgBEuQKRapoZu-IxkIva3MEB1PD-ly8Thjg";
        assert_eq!(URL_SAFE_NO_PAD.encode(body.expect("sealed")), wanted);
    }

    #[test]
    fn the_example_of_rfc_8291_comes_out_byte_for_byte() {
        // RFC 8291 §5 and appendix A.
        let browser = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
        let body = seal_with(
            b"When I grow up, I want to be a watermelon",
            &PublicKey::from_sec1_bytes(&bytes(browser)).expect("a point"),
            &fixed("BTBZMqHH6r4Tts7J_aSIgg"),
            &SecretKey::from_slice(&bytes("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw")).expect("a scalar"),
            &fixed("DGv6ra1nlYgDCS1FRnbzlw"),
        );
        let wanted = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN";
        assert_eq!(URL_SAFE_NO_PAD.encode(body.expect("sealed")), wanted);
    }

    #[test]
    fn no_two_messages_are_sealed_alike() {
        let browser = SecretKey::from_slice(&[7; 32]).expect("a scalar").public_key();
        let sealed = || seal(b"the same", &browser, &[9; 16]).expect("sealed");
        assert_ne!(sealed()[..86], sealed()[..86], "salt and key are new");
    }
}
