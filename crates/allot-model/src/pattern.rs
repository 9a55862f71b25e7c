//! Names by pattern, as a shell matches files: `*` for any text, `?` for any one character.

/// True where the name is meant: the whole of it by a pattern with `*` or `?`, any part of it by a text without.
///
/// Takes at most as many steps as the product of both lengths.
#[must_use]
pub fn name_matches(pattern: &str, name: &str) -> bool {
    if pattern.contains(['*', '?']) { matches_whole(pattern, name) } else { name.contains(pattern) }
}

/// Whenever what follows the last star does not fit, that star takes one more character.
fn matches_whole(pattern: &str, name: &str) -> bool {
    let (mut pattern, mut name) = (pattern.chars(), name.chars());
    let mut star = None;
    loop {
        let (wanted, given) = (pattern.clone().next(), name.clone().next());
        match (wanted, given) {
            (Some('*'), _) => {
                pattern.next();
                star = Some((pattern.clone(), name.clone()));
            }
            (Some(wanted), Some(given)) if wanted == '?' || wanted == given => {
                pattern.next();
                name.next();
            }
            (None, None) => return true,
            _ => {
                let Some((after, from)) = &mut star else { return false };
                if from.next().is_none() {
                    return false;
                }
                (pattern, name) = (after.clone(), from.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_pattern_is_for_the_whole_name_and_a_text_for_a_part_of_it() {
        let cases = [
            ("rain", "train-3", true),
            ("train", "strain", true),
            ("train*", "train-3", true),
            ("train*", "strain", false),
            ("*", "", true),
            ("?", "", false),
            ("train-?", "train-3", true),
            ("train-?", "train-33", false),
            ("*-3", "a-3-3", true),
            ("a*b*c", "axxbyybc", true),
            ("a*b*c", "axxbyybd", false),
            ("日*?", "日本", true),
            ("", "anything", true),
        ];
        for (pattern, name, yes) in cases {
            assert_eq!(name_matches(pattern, name), yes, "{pattern} {name}");
        }
    }

    /// Right by construction, and slow.
    fn reference(pattern: &[char], name: &[char]) -> bool {
        match (pattern, name) {
            ([], []) => true,
            (['*', rest @ ..], _) => (0..=name.len()).any(|skip| reference(rest, &name[skip..])),
            (['?', rest @ ..], [_, after @ ..]) => reference(rest, after),
            ([wanted, rest @ ..], [given, after @ ..]) => wanted == given && reference(rest, after),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn patterns_match_what_the_reference_says(pattern in "[ab*?]{0,8}", name in "[ab]{0,10}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(matches_whole(&pattern, &name), reference(&chars(&pattern), &chars(&name)));
        }
    }
}
