//! Plain decimal numbers as people write them, read exactly into scaled integers.

/// Why a text is not a decimal number that can be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DecimalFault {
    /// It has another form than digits with at most one point among them.
    NotANumber,
    /// It has a minus sign and is a number otherwise.
    Negative,
    /// It has more decimals than the scale keeps.
    TooFine,
    /// The product does not fit.
    TooLarge,
}

/// `text`, a plain decimal number, times `scale`, where the product is whole and fits.
pub(crate) fn scaled(text: &str, scale: u64) -> Result<u64, DecimalFault> {
    if let Some(magnitude) = text.strip_prefix('-') {
        return split(magnitude).and(Err(DecimalFault::Negative));
    }
    let (whole, fraction) = split(text)?;
    let whole = digits(whole).ok_or(DecimalFault::TooLarge)?;
    let denominator = u32::try_from(fraction.len()).ok().and_then(|places| 10_u128.checked_pow(places));
    let denominator = denominator.ok_or(DecimalFault::TooFine)?;
    let numerator =
        digits(fraction).and_then(|f| f.checked_mul(u128::from(scale))).ok_or(DecimalFault::TooFine)?;
    if !numerator.is_multiple_of(denominator) {
        return Err(DecimalFault::TooFine);
    }
    let product = whole.checked_mul(u128::from(scale)).and_then(|w| w.checked_add(numerator / denominator));
    product.and_then(|p| u64::try_from(p).ok()).ok_or(DecimalFault::TooLarge)
}

/// The digits before and after the point, without zeros at the end of the latter.
fn split(text: &str) -> Result<(&str, &str), DecimalFault> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !is_digits(whole) || !is_digits(fraction) {
        return Err(DecimalFault::NotANumber);
    }
    Ok((whole, fraction.trim_end_matches('0')))
}

/// The number that a run of digits, possibly none, stands for.
fn digits(text: &str) -> Option<u128> {
    if text.is_empty() { Some(0) } else { text.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decimals_are_read_exactly_or_refused_for_what_is_wrong() {
        use DecimalFault::{Negative, NotANumber, TooFine, TooLarge};
        let long = "9".repeat(60);
        let fine = format!("0.{}", "1".repeat(60));
        let zeros = format!("0.5{}", "0".repeat(60));
        let cases: [(&str, Result<u64, DecimalFault>); 18] = [
            ("2", Ok(2_000)),
            ("0.5", Ok(500)),
            (".5", Ok(500)),
            ("5.", Ok(5_000)),
            ("1.2340", Ok(1_234)),
            (&zeros, Ok(500)),
            ("18446744073709551.615", Ok(u64::MAX)),
            ("18446744073709551.616", Err(TooLarge)),
            (&long, Err(TooLarge)),
            (&fine, Err(TooFine)),
            ("0.0005", Err(TooFine)),
            ("-1", Err(Negative)),
            ("--1", Err(NotANumber)),
            ("", Err(NotANumber)),
            (".", Err(NotANumber)),
            ("1e3", Err(NotANumber)),
            ("1 0", Err(NotANumber)),
            ("+1", Err(NotANumber)),
        ];
        for (text, expected) in cases {
            assert_eq!(scaled(text, 1_000), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_number_or_refused(text in "\\PC{0,8}|-?[0-9]{0,45}\\.?[0-9]{0,45}", scale in 1_u64..10_000_000) {
            if let Ok(product) = scaled(&text, scale) {
                let parts = text.split_once('.').unwrap_or((&text, ""));
                let fits = parts.0.len() <= 15 && parts.1.len() <= 15;
                if let (true, Ok(whole)) = (fits, format!("0{}", parts.0).parse::<u128>()) {
                    let fraction = format!("{:0<15}", parts.1).parse::<u128>().unwrap();
                    let expected = (whole * 1_000_000_000_000_000 + fraction) * u128::from(scale);
                    prop_assert_eq!(u128::from(product) * 1_000_000_000_000_000, expected);
                }
            }
        }
    }
}
