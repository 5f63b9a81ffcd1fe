//! Names with stars.

use crate::CompressError;
use std::collections::BTreeMap;

/// Whether a name matches a pattern in which `*` stands for any run.
///
/// Each part between stars is looked for where the last one ended: the earliest
/// place leaves the most for what follows, so none needs to be tried again.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut rest) = name.strip_prefix(head) else {
        return false;
    };
    let (middle, end) = tail.rsplit_once('*').unwrap_or(("", tail));
    for part in middle.split('*') {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(end)
}

/// What is set for a name: by the pattern that says most of it.
pub(crate) fn lookup<'a, T>(settings: &'a BTreeMap<String, T>, name: &str) -> Option<&'a T> {
    let fitting = settings
        .iter()
        .filter(|(pattern, _)| matches(pattern, name));
    let said = |pattern: &str| (!pattern.contains('*'), pattern.replace('*', "").len());
    fitting
        .max_by_key(|(pattern, _)| said(pattern))
        .map(|(_, setting)| setting)
}

/// Refuses settings for a weight that is not there. A pattern with stars may be meant for other networks.
///
/// # Errors
/// A name without stars that is none of `names`.
pub(crate) fn check_names<T>(
    step: &'static str,
    settings: &BTreeMap<String, T>,
    names: &[String],
) -> Result<(), CompressError> {
    let absent = |name: &&String| !name.contains('*') && !names.contains(name);
    match settings.keys().find(absent) {
        None => Ok(()),
        Some(name) => Err(CompressError::Refused {
            step,
            reason: format!("`{name}` is no convolution or fully connected weight"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_run() {
        assert!(matches("a*c*", "abcd") && !matches("a*c", "abcd"));
        assert!(matches("*b*b*", "abcb") && !matches("*b*b*b", "abcb"));
        assert!(!matches("ab*ba", "aba") && matches("ab*ba", "abba"));
        assert!(!matches(&"*a".repeat(60), &"a".repeat(59)));
    }

    #[test]
    fn a_name_that_is_not_there_is_refused_and_a_pattern_is_not() {
        let names = ["fc1.weight".to_owned()];
        let check = |name: &str| {
            let settings = BTreeMap::from([(name.to_owned(), 4)]);
            check_names("share", &settings, &names).map_err(|e| e.to_string())
        };
        assert!(check("fc1.weight").is_ok() && check("conv*").is_ok());
        let error = check("fc1").unwrap_err();
        assert!(
            error.contains("share") && error.contains("`fc1`"),
            "{error}"
        );
    }

    #[test]
    fn the_pattern_that_says_most_counts() {
        let settings = [("*", 1), ("fc*", 2), ("fc1.weight", 3), ("fc1.weight*", 4)];
        let settings = settings
            .map(|(name, value)| (name.to_owned(), value))
            .into();
        let found = |name| lookup(&settings, name).copied();
        assert_eq!(
            [found("conv"), found("fc2.weight"), found("fc1.weight")],
            [Some(1), Some(2), Some(3)]
        );
        assert_eq!(lookup(&BTreeMap::from([("a".to_owned(), 1)]), "b"), None);
    }
}
