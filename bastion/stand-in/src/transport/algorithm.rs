//! The algorithms that Pomerium's client has, in its order of preference (pomerium/envoy-custom
//! transport_base.h and common.h). `umac-128-etm@openssh.com` is offered as Pomerium does, but not
//! implemented: a server that has no HMAC to offer is told so.

macro_rules! algorithms {
    ($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $type { $($(#[$variant_doc])* $variant,)* }

        impl $type {
            /// All of them, the preferred one first.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name on the wire.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The algorithm of that name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }

        impl std::str::FromStr for $type {
            type Err = String;
            fn from_str(name: &str) -> Result<Self, String> {
                Self::from_name(name).ok_or_else(|| {
                    let known: Vec<&str> = Self::ALL.iter().map(|known| known.name()).collect();
                    format!("one of {}", known.join(", "))
                })
            }
        }
    };
}

algorithms! {
    /// Key exchange methods.
    KexMethod {
        /// draft-ietf-sshm-mlkem-hybrid-kex.
        MlKem768X25519Sha256 = "mlkem768x25519-sha256",
        /// RFC 8731.
        Curve25519Sha256 = "curve25519-sha256",
        /// RFC 8731 under its name of before.
        Curve25519Sha256Libssh = "curve25519-sha256@libssh.org",
    }
}

algorithms! {
    /// Encryption algorithms.
    Cipher {
        /// OpenSSH PROTOCOL.chacha20poly1305.
        ChaCha20Poly1305 = "chacha20-poly1305@openssh.com",
        /// RFC 5647 as OpenSSH PROTOCOL section 1.6 negotiates it.
        Aes128Gcm = "aes128-gcm@openssh.com",
        /// RFC 5647 as OpenSSH PROTOCOL section 1.6 negotiates it.
        Aes256Gcm = "aes256-gcm@openssh.com",
        /// RFC 4344 section 4.
        Aes128Ctr = "aes128-ctr",
        /// RFC 4344 section 4.
        Aes192Ctr = "aes192-ctr",
        /// RFC 4344 section 4.
        Aes256Ctr = "aes256-ctr",
    }
}

algorithms! {
    /// MAC algorithms, encrypt-then-MAC only (OpenSSH PROTOCOL section 1.5).
    Mac {
        /// RFC 6668.
        HmacSha256Etm = "hmac-sha2-256-etm@openssh.com",
        /// RFC 6668.
        HmacSha512Etm = "hmac-sha2-512-etm@openssh.com",
    }
}

impl Cipher {
    /// Bytes of key material.
    pub(super) fn key_len(self) -> usize {
        match self {
            Self::ChaCha20Poly1305 => 64,
            Self::Aes128Gcm | Self::Aes128Ctr => 16,
            Self::Aes192Ctr => 24,
            Self::Aes256Gcm | Self::Aes256Ctr => 32,
        }
    }

    /// Bytes of initialization vector.
    pub(super) fn iv_len(self) -> usize {
        match self {
            Self::ChaCha20Poly1305 => 0,
            Self::Aes128Gcm | Self::Aes256Gcm => 12,
            Self::Aes128Ctr | Self::Aes192Ctr | Self::Aes256Ctr => 16,
        }
    }

    /// Whether it brings its own integrity, so that no MAC is negotiated.
    pub fn is_aead(self) -> bool {
        matches!(
            self,
            Self::ChaCha20Poly1305 | Self::Aes128Gcm | Self::Aes256Gcm
        )
    }

    /// RFC 4344 section 3.2: 1 GiB with blocks below 128 bits, else 2^32 blocks.
    pub(super) fn rekey_after_bytes(self) -> u64 {
        match self {
            Self::ChaCha20Poly1305 => 1 << 30,
            _ => 16 << 32,
        }
    }
}

impl Mac {
    /// Bytes of key material.
    pub(super) fn key_len(self) -> usize {
        match self {
            Self::HmacSha256Etm => 32,
            Self::HmacSha512Etm => 64,
        }
    }
}
