//! The wildcards of sshd_config(5).

/// Whether `text` fits a pattern as in sshd_config(5)'s AcceptEnv: `*` any run, `?` any one byte.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    // Where to resume after the last star: it takes in one more byte each time.
    let (mut at, mut in_text, mut resume) = (0, 0, None);
    while in_text < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                resume = Some((at + 1, in_text));
                at += 1;
            }
            Some(&byte) if byte == b'?' || Some(&byte) == text.get(in_text) => {
                at += 1;
                in_text += 1;
            }
            _ => match resume {
                Some((after_star, taken)) => {
                    resume = Some((after_star, taken + 1));
                    (at, in_text) = (after_star, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern
        .get(at..)
        .is_some_and(|rest| rest.iter().all(|&byte| byte == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_sshd_config() {
        for (pattern, text, fits) in [
            ("LANG", "LANG", true),
            ("LANG", "LANGUAGE", false),
            ("LC_*", "LC_ALL", true),
            ("LC_*", "LC_", true),
            ("LC_*", "XLC_ALL", false),
            ("*", "ANYTHING", true),
            ("A?C", "ABC", true),
            ("A?C", "AC", false),
            ("*_A*B", "X_AXB_AYB", true),
            ("*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
            ("", "", true),
            ("", "A", false),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }
}
