//! The pure parts of a login: reading a certificate, judging it, and deciding on a whole request.
#![allow(
    missing_docs,
    clippy::expect_used,
    reason = "criterion's macros, and a bench that fails loudly"
)]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use bastion::policy::{
    AuthRequest, LoginRequest, Permits, Proof, Revocations, Rules, TrustedUserCaKeys,
    UserCertificate, authorize, decide,
};
use criterion::{Criterion, criterion_group, criterion_main};
use keys::certificate;
use keys::generate::{KeyKind, generate};
use keys::{openssh, pomerium};
use signature::Signer;
use ssh_key::encoding::Encode;

const NOW: u64 = 1_800_000_000;
const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A login as Pomerium's proxy sends it.
struct Login {
    certificate: Vec<u8>,
    proof: Proof,
    rules: Rules,
}

impl Login {
    fn new(kind: KeyKind) -> Self {
        let (ca, user) = (
            generate(kind, "").expect("a CA"),
            generate(kind, "").expect("a key"),
        );
        let spec = pomerium::pomerium_spec("claw", NOW);
        let certificate = certificate::sign(&spec, user.public_key(), &ca).expect("a certificate");
        let algorithm = match kind {
            KeyKind::Ed25519 => "ssh-ed25519-cert-v01@openssh.com",
            KeyKind::EcdsaP256 => "ecdsa-sha2-nistp256-cert-v01@openssh.com",
            KeyKind::Rsa3072 => "rsa-sha2-512-cert-v01@openssh.com",
        };
        let mut request = vec![50];
        for field in ["claw", "ssh-connection", "publickey"] {
            field.encode(&mut request).expect("a field");
        }
        request.push(1);
        algorithm.encode(&mut request).expect("a field");
        certificate.encode(&mut request).expect("a field");
        let session_id = vec![7; 32];
        let mut signed = session_id.encode_vec().expect("a field");
        signed.extend_from_slice(&request);
        let signature = user
            .try_sign(&signed)
            .expect("a signature")
            .encode_vec()
            .expect("a field");
        let line = openssh::public_key_line(ca.public_key()).expect("a line");
        let rules = Rules {
            trusted_user_ca_keys: TrustedUserCaKeys::parse(&line, "ca").expect("a CA's key"),
            revocations: Revocations::None,
            logins: [("claw".into(), "claw".into())].into(),
            permits: Permits::ALL,
        };
        Self {
            certificate,
            proof: Proof {
                session_id,
                request,
                signature,
            },
            rules,
        }
    }
}

fn policy(criterion: &mut Criterion) {
    for kind in [KeyKind::Ed25519, KeyKind::EcdsaP256, KeyKind::Rsa3072] {
        let login = Login::new(kind);
        let mut group = criterion.benchmark_group(format!("{kind:?}"));
        group.bench_function("parse a certificate", |bencher| {
            bencher.iter(|| {
                UserCertificate::parse(black_box(&login.certificate)).expect("a certificate")
            });
        });
        let certificate = UserCertificate::parse(&login.certificate).expect("a certificate");
        let request = AuthRequest {
            login_name: "claw",
            source: SOURCE,
            now: NOW,
            security_key: None,
        };
        group.bench_function("authorize", |bencher| {
            bencher.iter(|| {
                authorize(black_box(&certificate), &request, &login.rules).expect("leave")
            });
        });
        let whole = LoginRequest {
            login_name: "claw",
            source: SOURCE,
            certificate: &login.certificate,
            proof: &login.proof,
        };
        group.bench_function("decide", |bencher| {
            bencher.iter(|| {
                decide(black_box(&whole), NOW, &login.rules)
                    .verdict
                    .expect("leave")
            });
        });
        group.finish();
    }
}

criterion_group!(benches, policy);
criterion_main!(benches);
