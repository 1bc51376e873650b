//! Values as people write them, where that is not as TOML has them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Visitor};

use crate::policy::startups::MaxStartups;

/// A umask as sshd_config(5) has it: "0177".
pub(super) fn octal<'de, D: serde::Deserializer<'de>>(input: D) -> Result<u16, D::Error> {
    let text = String::deserialize(input)?;
    match u16::from_str_radix(&text, 8) {
        Ok(mask) if mask <= 0o777 => Ok(mask),
        _ => Err(serde::de::Error::custom(format!(
            "\"{text}\" is not a umask; write \"0177\""
        ))),
    }
}

/// A number, or "start:rate:full".
pub(super) fn max_startups<'de, D: serde::Deserializer<'de>>(
    input: D,
) -> Result<MaxStartups, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(usize),
        Text(String),
    }
    let text = match Written::deserialize(input)? {
        Written::Number(number) => number.to_string(),
        Written::Text(text) => text,
    };
    text.parse()
        .map_err(|error| serde::de::Error::custom(format!("max_startups = {text}: {error}")))
}

/// Addresses, each with its port.
pub(super) fn addresses<'de, D: serde::Deserializer<'de>>(
    input: D,
) -> Result<Vec<SocketAddr>, D::Error> {
    struct Addresses;
    impl<'de> Visitor<'de> for Addresses {
        type Value = Vec<SocketAddr>;

        fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            to.write_str("a list of addresses, such as [\"0.0.0.0:22\"]")
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut addresses = Vec::new();
            while let Some(text) = list.next_element::<String>()? {
                let not_one = |_| {
                    let what = "is not an address and a port; write \"0.0.0.0:22\" or \"[::]:22\"";
                    de::Error::custom(format!("\"{text}\" {what}"))
                };
                addresses.push(text.parse().map_err(not_one)?);
            }
            Ok(addresses)
        }
    }
    input.deserialize_seq(Addresses)
}

/// A time as people write it: "30s", "2m", "1h 30m".
pub(super) fn duration<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
    Time::deserialize(input).map(|Time(time)| time)
}

struct Time(Duration);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Time;

            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("a time, such as \"30s\", \"2m\" or \"1h 30m\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Time, E> {
                let time = humantime::parse_duration(text).map_err(|error| {
                    let instead = "write \"30s\", \"2m\" or \"1h\"";
                    E::custom(format!("\"{text}\" is not a time ({error}); {instead}"))
                });
                time.map(Time)
            }
        }
        input.deserialize_str(Text)
    }
}

/// Times by name.
pub(super) fn durations<'de, D: serde::Deserializer<'de>>(
    input: D,
) -> Result<BTreeMap<String, Duration>, D::Error> {
    let times = BTreeMap::<String, Time>::deserialize(input)?.into_iter();
    Ok(times.map(|(name, Time(time))| (name, time)).collect())
}
