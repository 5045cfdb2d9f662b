//! The keys that the provider signs with: most real ones have an RSA key, some a P-256 one.

use anyhow::{Context, Result, anyhow};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::rsa::{KeyPairComponents, PublicKeyComponents};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};

/// How an ID token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Algorithm {
    /// ECDSA over P-256.
    #[default]
    Es256,
    /// RSA of 2,048 bits, PKCS #1 v1.5.
    Rs256,
}

impl Algorithm {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }
}

/// One of each; a key's id is its algorithm's name.
pub(super) struct Keys {
    p256: EcdsaKeyPair,
    rsa: RsaKeyPair,
}

impl Keys {
    pub(super) fn new() -> Result<Self> {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let made = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(|_| anyhow!("no key can be made"))?;
        let p256 = EcdsaKeyPair::from_pkcs8(algorithm, made.as_ref(), &random);
        Ok(Self {
            p256: p256.map_err(|error| anyhow!("reading the P-256 key: {error}"))?,
            rsa: PUBLISHED.read()?,
        })
    }

    /// The signature of `text`, in the form that a JWS has it.
    pub(super) fn sign(&self, algorithm: Algorithm, text: &[u8]) -> Option<String> {
        let random = SystemRandom::new();
        let signature = match algorithm {
            Algorithm::Es256 => self.p256.sign(&random, text).ok()?.as_ref().to_vec(),
            Algorithm::Rs256 => {
                let mut signature = vec![0; self.rsa.public().modulus_len()];
                self.rsa.sign(&RSA_PKCS1_SHA256, &random, text, &mut signature).ok()?;
                signature
            }
        };
        Some(URL_SAFE_NO_PAD.encode(signature))
    }

    /// The public halves, as a JWK set.
    pub(super) fn set(&self) -> Value {
        // An uncompressed point: 4, x, y.
        let point = self.p256.public_key().as_ref();
        let (x, y) = point[1..].split_at(32);
        let [x, y] = [x, y].map(|half| URL_SAFE_NO_PAD.encode(half));
        json!({ "keys": [
            { "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "ES256", "x": x, "y": y },
            { "kty": "RSA", "use": "sig", "alg": "RS256", "kid": "RS256", "n": PUBLISHED.n, "e": "AQAB" },
        ] })
    }
}

/// An RSA key as a JWK writes it; its public exponent is 65,537.
struct Jwk {
    n: &'static str,
    d: &'static str,
    p: &'static str,
    q: &'static str,
    dp: &'static str,
    dq: &'static str,
    qi: &'static str,
}

impl Jwk {
    fn read(&self) -> Result<RsaKeyPair> {
        let number = |text: &str| URL_SAFE_NO_PAD.decode(text).context("a number of the RSA key");
        let components = KeyPairComponents {
            public_key: PublicKeyComponents {
                n: number(self.n)?,
                e: vec![1, 0, 1],
            },
            d: number(self.d)?,
            p: number(self.p)?,
            q: number(self.q)?,
            dP: number(self.dp)?,
            dQ: number(self.dq)?,
            qInv: number(self.qi)?,
        };
        RsaKeyPair::from_components(&components).map_err(|error| anyhow!("reading the RSA key: {error}"))
    }
}

/// The example of RFC 7517 (appendix A.2), as making one of this size takes long: it is known to everybody and protects nothing.
const PUBLISHED: Jwk = Jwk {
    n: concat!(
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjB",
        "ZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-",
        "65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-",
        "bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    ),
    d: concat!(
        "X4cTteJY_gn4FYPsXB8rdXix5vwsg1FLN5E3EaG6RJoVH-HLLKD9M7dx5oo7GURknchnrRweUkC7hT5fJLM0WbFAKNLWY2vv7B6N",
        "qXSzUvxT0_YSfqijwp3RTzlBaCxWp4doFk5N2o8Gy_nHNKroADIkJ46pRUohsXywbReAdYaMwFs9tv8d_cPVY3i07a3t8MN6TNwm",
        "0dSawm9v47UiCl3Sk5ZiG7xojPLu4sbg1U2jx4IBTNBznbJSzFHK66jT8bgkuqsk0GjskDJk19Z4qwjwbsnn4j2WBii3RL-",
        "Us2lGVkY8fkFzme1z0HbIkfz0Y6mqnOYtqc0X4jfcKoAC8Q",
    ),
    p: concat!(
        "83i-7IvMGXoMXCskv73TKr8637FiO7Z27zv8oj6pbWUQyLPQBQxtPVnwD20R-",
        "60eTDmD2ujnMt5PoqMrm8RfmNhVWDtjjMmCMjOpSXicFHj7XOuVIYQyqVWlWEh6dN36GVZYk93N8Bc9vY41xy8B9RzzOGVQzXvNE",
        "vn7O0nVbfs",
    ),
    q: concat!(
        "3dfOR9cuYq-0S-",
        "mkFLzgItgMEfFzB2q3hWehMuG0oCuqnb3vobLyumqjVZQO1dIrdwgTnCdpYzBcOfW5r370AFXjiWft_NGEiovonizhKpo9VVS78T",
        "zFgxkIdrecRezsZ-1kYd_s1qDbxtkDEgfAITAG9LUnADun4vIcb6yelxk",
    ),
    dp: concat!(
        "G4sPXkc6Ya9y8oJW9_ILj4xuppu0lzi_H7VTkS8xj5SdX3coE0oimYwxIi2emTAue0UOa5dpgFGyBJ4c8tQ2VF402XRugKDTP8ak",
        "YhFo5tAA77Qe_NmtuYZc3C3m3I24G2GvR5sSDxUyAN2zq8Lfn9EUms6rY3Ob8YeiKkTiBj0",
    ),
    dq: concat!(
        "s9lAH9fggBsoFR8Oac2R_E2gw282rT2kGOAhvIllETE1efrA6huUUvMfBcMpn8lqeW6vzznYY5SSQF7pMdC_agI3nG8Ibp1BUb0J",
        "UiraRNqUfLhcQb_d9GF4Dh7e74WbRsobRonujTYN1xCaP6TO61jvWrX-L18txXw494Q_cgk",
    ),
    qi: concat!(
        "GyM_p6JrXySiz1toFgKbWV-JdI3jQ4ypu9rbMWx3rQJBfmt0FoYzgUIZEVFEcOqwemRN81zoDAaa-",
        "Bk0KWNGDjJHZDdDmFhW3AN7lI-puxk_mHZGJ11rxyR8O55XLSe3SPmRfKwZI6yU24ZxvQKFYItdldUKGzO6Ia6zTKhAVRU",
    ),
};
