//! Values as people write them, where that is not as TOML has them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

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

/// A time as people write it: "30s", "2m", "1h 30m".
pub(super) fn duration<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
    parse_duration(&String::deserialize(input)?)
}

/// Times by name.
pub(super) fn durations<'de, D: serde::Deserializer<'de>>(
    input: D,
) -> Result<BTreeMap<String, Duration>, D::Error> {
    let texts = BTreeMap::<String, String>::deserialize(input)?;
    let times = texts.into_iter();
    times
        .map(|(name, text)| Ok((name, parse_duration(&text)?)))
        .collect()
}

fn parse_duration<E: serde::de::Error>(text: &str) -> Result<Duration, E> {
    humantime::parse_duration(text).map_err(|error| {
        E::custom(format!(
            "\"{text}\" is not a time ({error}); write \"30s\", \"2m\" or \"1h\""
        ))
    })
}
