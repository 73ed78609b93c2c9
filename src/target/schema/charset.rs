//! Character sets and collations: numbers, names, and what a column of each takes.
//!
//! `collations.tsv` beside this file is what MySQL 9.7.4 answers to
//! ```sql
//! SELECT c.ID, c.COLLATION_NAME, c.CHARACTER_SET_NAME, s.MAXLEN,
//!        IF(c.IS_DEFAULT = 'Yes', 'default', '-'), IF(c.PAD_ATTRIBUTE = 'PAD SPACE', 'pad', 'no-pad')
//! FROM information_schema.COLLATIONS c JOIN information_schema.CHARACTER_SETS s USING (CHARACTER_SET_NAME)
//! ORDER BY 1
//! ```

use std::collections::HashMap;
use std::sync::OnceLock;

use super::definition::Unclassified;

/// The collation of everything that is no text.
pub(crate) const BINARY: u16 = 63;
/// `utf8mb4_0900_ai_ci`, the server's default.
pub(crate) const UTF8MB4_0900_AI_CI: u16 = 255;

/// One collation and its character set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Collation {
    /// Its number, as in table maps.
    pub(crate) id: u16,
    pub(crate) name: &'static str,
    /// The name of its character set.
    pub(crate) charset: &'static str,
    /// Bytes that a character of the set takes at most.
    pub(crate) max_bytes: u8,
    /// Whether it is what the character set alone stands for.
    pub(crate) default: bool,
    /// Whether strings compare as if the shorter one went on with spaces.
    pub(crate) pad_space: bool,
}

struct Registry {
    all: Vec<Collation>,
    by_name: HashMap<&'static str, usize>,
    by_id: HashMap<u16, usize>,
}

fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(|| {
        let all: Vec<Collation> = include_str!("collations.tsv")
            .lines()
            .filter_map(|line| {
                let mut fields = line.split('\t');
                Some(Collation {
                    id: fields.next()?.parse().ok()?,
                    name: fields.next()?,
                    charset: fields.next()?,
                    max_bytes: fields.next()?.parse().ok()?,
                    default: fields.next()? == "default",
                    pad_space: fields.next()? == "pad",
                })
            })
            .collect();
        let by_name = all.iter().enumerate().map(|(at, c)| (c.name, at)).collect();
        let by_id = all.iter().enumerate().map(|(at, c)| (c.id, at)).collect();
        Registry {
            all,
            by_name,
            by_id,
        }
    })
}

/// The collation with this number.
pub(crate) fn by_id(id: u16) -> Option<&'static Collation> {
    let registry = registry();
    registry.by_id.get(&id).map(|&at| &registry.all[at])
}

/// Name and character set of a collation, and the bytes of the set's widest character.
pub(crate) fn collation_facts(id: u16) -> Option<(&'static str, &'static str, u8)> {
    by_id(id).map(|collation| (collation.name, collation.charset, collation.max_bytes))
}

/// `utf8` has been `utf8mb3` in every release that the log can come from.
fn canonical(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    match name.strip_prefix("utf8_") {
        Some(rest) => format!("utf8mb3_{rest}"),
        None if name == "utf8" => "utf8mb3".to_owned(),
        None => name,
    }
}

/// The collation of this name, in any case.
pub(crate) fn by_name(name: &str) -> Result<&'static Collation, Unclassified> {
    let registry = registry();
    let found = registry.by_name.get(canonical(name).as_str());
    found
        .map(|&at| &registry.all[at])
        .ok_or_else(|| Unclassified::new(format!("unknown collation {name}")))
}

/// The default collation of a character set. `utf8mb4` gives `for_utf8mb4`: its default is a session
/// variable, which each statement carries.
pub(crate) fn default_of(
    charset: &str,
    for_utf8mb4: u16,
) -> Result<&'static Collation, Unclassified> {
    let charset = canonical(charset);
    if charset == "utf8mb4"
        && let Some(collation) = by_id(for_utf8mb4)
    {
        return Ok(collation);
    }
    let mut all = registry().all.iter();
    all.find(|collation| collation.default && collation.charset == charset)
        .ok_or_else(|| Unclassified::new(format!("unknown character set {charset}")))
}

/// The collation `SET_bin` of a character set.
pub(crate) fn binary_of(charset: &str) -> Option<&'static Collation> {
    let name = if charset == "binary" {
        "binary".to_owned()
    } else {
        format!("{charset}_bin")
    };
    by_name(&name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_names_and_defaults_agree_with_the_manual() {
        assert_eq!(by_id(255).unwrap().name, "utf8mb4_0900_ai_ci");
        assert!(!by_id(255).unwrap().pad_space);
        assert_eq!(by_name("UTF8_general_ci").unwrap().id, 33);
        assert_eq!(default_of("latin1", 255).unwrap().id, 8);
        assert_eq!(default_of("utf8", 255).unwrap().id, 33);
        assert_eq!(default_of("utf8mb4", 45).unwrap().id, 45);
        assert_eq!(by_id(BINARY).unwrap().name, "binary");
        assert_eq!(binary_of("latin1").unwrap().id, 47);
        assert!(by_name("klingon_ci").is_err());
    }
}
