//! A certificate, a request and the rules they meet; by default all is well.

use std::sync::OnceLock;

use bastion::policy::{
    AuthRequest, KeyType, Permissions, Permits, Refusal, Revocations, Rules, SecurityKeyFlags,
    UserCertificate, authorize,
};

use crate::key_pair::{KeyPair, ca, user};
use crate::mint::{Fields, VALID_AFTER, VALID_BEFORE};
use crate::ssh_keygen;

/// The verdict of a certificate with OpenSSH's default extensions.
pub(crate) const ALL: &str = "claw: pty port-forwarding agent-forwarding";

/// Security keys are no CAs here.
pub(crate) const KINDS_OF_CA: [KeyType; 5] = [
    KeyType::Ed25519,
    KeyType::EcdsaP256,
    KeyType::EcdsaP384,
    KeyType::EcdsaP521,
    KeyType::Rsa,
];

pub(crate) const TOUCHED: Option<SecurityKeyFlags> = flags(true, false);
pub(crate) const UNTOUCHED: Option<SecurityKeyFlags> = flags(false, false);
pub(crate) const VERIFIED: Option<SecurityKeyFlags> = flags(false, true);
pub(crate) const TOUCHED_AND_VERIFIED: Option<SecurityKeyFlags> = flags(true, true);

const fn flags(user_present: bool, user_verified: bool) -> Option<SecurityKeyFlags> {
    Some(SecurityKeyFlags {
        user_present,
        user_verified,
    })
}

pub(crate) trait Verdict {
    fn verdict(&self) -> String;
}

/// With a certificate by `ssh-keygen -s`.
pub(crate) struct Trial {
    pub(crate) ca: &'static KeyPair,
    pub(crate) user: &'static KeyPair,
    pub(crate) principals: Option<&'static str>,
    pub(crate) valid: String,
    arguments: Vec<&'static str>,
    pub(crate) login_name: &'static str,
    pub(crate) source: &'static str,
    pub(crate) now: u64,
    pub(crate) security_key: Option<SecurityKeyFlags>,
    pub(crate) rules: Rules,
}

impl Default for Trial {
    fn default() -> Self {
        Self {
            ca: ca(KeyType::Ed25519),
            user: user(KeyType::Ed25519),
            principals: Some("claw"),
            valid: format!("{VALID_AFTER:#x}:{VALID_BEFORE:#x}"),
            arguments: Vec::new(),
            login_name: "claw",
            source: "192.0.2.7",
            now: VALID_AFTER + 60,
            security_key: TOUCHED,
            rules: rules(KeyType::Ed25519),
        }
    }
}

impl Trial {
    /// A trusted one.
    pub(crate) fn ca_of(&mut self, key_type: KeyType) {
        self.ca = ca(key_type);
        self.trust(key_type);
    }

    pub(crate) fn trust(&mut self, key_type: KeyType) {
        self.rules = rules(key_type);
    }

    pub(crate) fn user_of(&mut self, key_type: KeyType) {
        self.user = user(key_type);
    }

    pub(crate) fn arguments<const N: usize>(&mut self, arguments: [&'static str; N]) {
        self.arguments.extend(arguments);
    }
}

impl Verdict for Trial {
    fn verdict(&self) -> String {
        let mut arguments = vec!["-I", "", "-V", &self.valid];
        arguments.extend(self.principals.iter().flat_map(|list| ["-n", list]));
        arguments.extend(&self.arguments);
        let certificate = ssh_keygen::certify(self.ca, self.user, &arguments);
        let request = AuthRequest {
            login_name: self.login_name,
            source: self.source.parse().unwrap(),
            now: self.now,
            security_key: self.security_key,
        };
        verdict(&certificate, &request, &self.rules)
    }
}

/// With a certificate made field by field.
pub(crate) struct ByHand {
    pub(crate) fields: Fields,
    pub(crate) signer: &'static KeyPair,
    pub(crate) login_name: &'static str,
    pub(crate) now: u64,
    rules: Rules,
}

impl Default for ByHand {
    fn default() -> Self {
        Self {
            fields: Fields::default(),
            signer: ca(KeyType::Ed25519),
            login_name: "claw",
            now: VALID_AFTER + 60,
            rules: rules(KeyType::Ed25519),
        }
    }
}

impl ByHand {
    pub(crate) fn user_of(&mut self, key_type: KeyType) {
        self.fields = Fields::of(user(key_type), self.signer);
    }

    /// A trusted one, if it can be.
    pub(crate) fn ca_of(&mut self, key_type: KeyType) {
        self.signer = ca(key_type);
        self.fields.signature_key.clone_from(&self.signer.blob);
        if KINDS_OF_CA.contains(&key_type) {
            self.rules = rules(key_type);
        }
    }
}

impl Verdict for ByHand {
    fn verdict(&self) -> String {
        let request = AuthRequest {
            login_name: self.login_name,
            source: "192.0.2.7".parse().unwrap(),
            now: self.now,
            security_key: TOUCHED,
        };
        verdict(&self.fields.sign(self.signer), &request, &self.rules)
    }
}

/// The configuration that permits everything, for two accounts under one name each.
pub(crate) fn rules(trusted: KeyType) -> Rules {
    Rules {
        trusted_user_ca_keys: ca(trusted).trusted(),
        revocations: Revocations::None,
        logins: ["claw", "operator"]
            .map(|name| (name.into(), "claw".into()))
            .into(),
        permits: Permits::ALL,
    }
}

/// The refusal's code, or what is granted.
fn verdict(certificate: &[u8], request: &AuthRequest<'_>, rules: &Rules) -> String {
    match decide(certificate, request, rules) {
        Ok(permissions) => describe(request.login_name, &permissions),
        Err(refusal) => refusal.code().to_owned(),
    }
}

/// As the monitor does it.
pub(crate) fn decide(
    certificate: &[u8],
    request: &AuthRequest<'_>,
    rules: &Rules,
) -> Result<Permissions, Refusal> {
    let certificate = UserCertificate::parse(certificate)?;
    authorize(&certificate, request, rules)
}

pub(crate) fn describe(login_name: &str, permissions: &Permissions) -> String {
    let mut words = vec![match login_name {
        "claw" => format!("{}:", permissions.account()),
        login_name => format!("{} as {login_name}:", permissions.account()),
    }];
    words.extend(permissions.pty().then(|| "pty".to_owned()));
    words.extend(
        permissions
            .port_forwarding()
            .then(|| "port-forwarding".to_owned()),
    );
    words.extend(
        permissions
            .agent_forwarding()
            .then(|| "agent-forwarding".to_owned()),
    );
    let command = permissions.force_command();
    words.extend(command.map(|command| format!("force-command={command}")));
    words.join(" ")
}

/// A CA that nobody trusts, of the kind that is trusted.
pub(crate) fn other_ca() -> &'static KeyPair {
    static OTHER: OnceLock<KeyPair> = OnceLock::new();
    OTHER.get_or_init(|| ssh_keygen::generate("ed25519", 256))
}
