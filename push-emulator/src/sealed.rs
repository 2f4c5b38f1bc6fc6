//! Opening what was sealed for a browser: RFC 8188 (aes128gcm) with the keys of RFC 8291.

use p256::PublicKey;
use p256::SecretKey;
use p256::ecdh::diffie_hellman;
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};

/// Length of the header: salt, record size, length of the key, the key.
const SALT: usize = 16;
const FIXED: usize = SALT + 4 + 1;
const POINT: usize = 65;

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn hkdf<const N: usize>(salt: &[u8], secret: &[u8], info: &[&[u8]]) -> Result<[u8; N], String> {
    let mut out = [0; N];
    let key = Salt::new(HKDF_SHA256, salt).extract(secret);
    let expanded = key.expand(info, Length(N)).and_then(|okm| okm.fill(&mut out));
    expanded.map_err(|_| "the keys cannot be derived".to_owned())?;
    Ok(out)
}

/// Opens a body. `own_point` is the public half of `own`, uncompressed.
pub fn open(body: &[u8], own: &SecretKey, own_point: &[u8], auth: &[u8]) -> Result<Vec<u8>, String> {
    let header = body.get(..FIXED).ok_or("the body is shorter than its header")?;
    let (salt, rest) = header.split_at(SALT);
    let record_size = u32::from_be_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
    if usize::from(rest[4]) != POINT {
        return Err(format!("the sender's key has {} bytes, not {POINT}", rest[4]));
    }
    let sender = body.get(FIXED..FIXED + POINT).ok_or("the body ends within the sender's key")?;
    let public = PublicKey::from_sec1_bytes(sender).map_err(|_| "the sender's key is not on the curve")?;
    let shared = diffie_hellman(own.to_nonzero_scalar(), public.as_affine());
    // RFC 8291 §3.4, then RFC 8188 §2.2 and §2.3.
    let ikm: [u8; 32] = hkdf(auth, shared.raw_secret_bytes(), &[b"WebPush: info\0", own_point, sender])?;
    let key: [u8; 16] = hkdf(salt, &ikm, &[b"Content-Encoding: aes128gcm\0"])?;
    let base: [u8; 12] = hkdf(salt, &ikm, &[b"Content-Encoding: nonce\0"])?;
    let key = UnboundKey::new(&AES_128_GCM, &key).map_err(|_| "the key cannot be used")?;
    let key = LessSafeKey::new(key);
    let records = &body[FIXED + POINT..];
    if record_size < 18 || records.is_empty() {
        return Err("the record size is not possible".into());
    }
    let mut text = Vec::with_capacity(records.len());
    let count = records.len().div_ceil(record_size);
    for (number, record) in records.chunks(record_size).enumerate() {
        let mut nonce = base;
        let counter = (number as u64).to_be_bytes();
        nonce[4..].iter_mut().zip(counter).for_each(|(byte, count)| *byte ^= count);
        let mut record = record.to_vec();
        let opened = key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut record);
        let opened = opened.map_err(|_| "the body was not sealed for this subscription, or was changed")?;
        let end = opened.iter().rposition(|byte| *byte != 0).ok_or("a record without a delimiter")?;
        let wanted = if number + 1 == count { 2 } else { 1 };
        if opened[end] != wanted {
            return Err("a record ends with the wrong delimiter".into());
        }
        text.extend_from_slice(&opened[..end]);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwt::decode;
    use p256::elliptic_curve::sec1::ToEncodedPoint;

    #[test]
    fn the_example_of_rfc_8291_opens_and_a_changed_one_does_not() {
        // RFC 8291, appendix A.
        let body = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN";
        let mut body = decode(body).expect("base64url");
        let own = SecretKey::from_slice(&decode("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94").expect("base64url"))
            .expect("a key");
        let point = own.public_key().to_encoded_point(false);
        let auth = decode("BTBZMqHH6r4Tts7J_aSIgg").expect("base64url");
        let text = open(&body, &own, point.as_bytes(), &auth).expect("opens");
        assert_eq!(text, b"When I grow up, I want to be a watermelon");
        *body.last_mut().expect("a byte") ^= 1;
        assert!(open(&body, &own, point.as_bytes(), &auth).is_err());
        for cut in [0, 20, 21, 85, 86, 90] {
            assert!(open(&body[..cut], &own, point.as_bytes(), &auth).is_err(), "{cut}");
        }
    }
}
