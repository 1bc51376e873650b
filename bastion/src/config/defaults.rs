//! The configuration without a file: that of the OpenClaw container.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::{Config, LogFormat, Sandbox};
use crate::policy::forwarding::ForwardingRules;
use crate::policy::startups::MaxStartups;

impl Default for Config {
    fn default() -> Self {
        let forwarding = ForwardingRules::default();
        let words = |words: &[&str]| words.iter().map(|&word| word.into()).collect();
        Self {
            listen: vec![SocketAddr::from(([0, 0, 0, 0], 22))],
            trusted_user_ca_keys: "/var/lib/pomerium/pomerium_user_ca_key.pub".into(),
            revoked_keys: None,
            state_dir: "/var/lib/bastion".into(),
            logins: BTreeMap::from([("claw".into(), "claw".into())]),
            permit_root_login: false,
            log_format: LogFormat::default(),
            gate_user: "bastion".into(),
            sandbox: Sandbox::default(),
            subsystem: BTreeMap::from([("sftp".into(), "internal-sftp".into())]),
            accept_env: words(&[
                "LANG",
                "LC_*",
                "COLORTERM",
                "TERM_PROGRAM",
                "TERM_PROGRAM_VERSION",
                "NO_COLOR",
            ]),
            pass_env: words(&[
                "TZ",
                "OPENCLAW_*",
                "POMERIUM_CLUSTER_DOMAIN",
                "NODE_EXTRA_CA_CERTS",
                "NODE_OPTIONS",
            ]),
            set_env: BTreeMap::new(),
            path: None,
            no_new_privileges: false,
            permit_network: true,
            permit_tty: true,
            allow_tcp_forwarding: true,
            permit_open: forwarding.permit_open,
            deny_open: forwarding.deny_open,
            permit_listen: forwarding.permit_listen,
            gateway_ports: forwarding.gateway_ports,
            stream_local_bind_mask: forwarding.stream_local_bind_mask,
            stream_local_bind_unlink: forwarding.stream_local_bind_unlink,
            allow_agent_forwarding: true,
            login_grace_time: Duration::from_secs(30),
            max_auth_tries: 6,
            max_startups: MaxStartups::all_at(100),
            per_source_max_startups: None,
            max_connections: 4000,
            max_sessions: 100,
            max_processes: None,
            rekey_limit: 16 << 30,
            rekey_interval: Duration::ZERO,
            client_alive_interval: Duration::ZERO,
            client_alive_count_max: 3,
            idle_timeout: Duration::ZERO,
            unused_connection_timeout: Duration::ZERO,
            channel_timeout: BTreeMap::new(),
            max_session_time: Duration::ZERO,
            end_at_certificate_expiry: false,
            banner: None,
            print_motd: true,
            shutdown_grace_time: Duration::from_secs(5),
        }
    }
}
