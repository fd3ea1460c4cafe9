//! For how long something has been up, and how often it was started again: told alike of units and of containers.

use portcullis::duration::Span;

use super::Finding;

/// Whether it was started again no more often than it may be.
pub(super) fn restarts(restarts: u64, max: Option<u64>) -> Result<(), Finding> {
    match max {
        Some(max) if restarts > max => Err(Finding::fail("restarts", format!("at most {max}"), restarts.to_string())),
        _ => Ok(()),
    }
}

/// Whether it has been up for long enough; `what` is how its keeper calls that.
pub(super) fn settled(what: &str, up_for: Span, up: Span, restarts: u64) -> Result<(), Finding> {
    if up >= up_for {
        return Ok(());
    }
    let again = match restarts {
        0 => String::new(),
        1 => ", after 1 restart".into(),
        more => format!(", after {more} restarts"),
    };
    Err(Finding::fail(what, format!("{up_for} on end"), format!("{}{again}", rounded(up))))
}

/// In tenths of a second: nobody reads more.
pub(super) fn rounded(up: Span) -> Span {
    Span::from_ms(up.ms - up.ms % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let told = |up_ms, restarts| {
            let judged = settled("running for", Span::from_s(60), Span::from_ms(up_ms), restarts);
            judged.err().and_then(|finding| finding.reason).unwrap_or_default()
        };
        assert_eq!(told(60_000, 9), "");
        assert_eq!(told(59_999, 0), "running for: expected 1m on end, actual 59s900ms");
        assert!(told(5_000, 1).ends_with("actual 5s, after 1 restart"));
        assert!(told(5_000, 2).ends_with("actual 5s, after 2 restarts"));
        let told = |again, max| restarts(again, max).err().and_then(|finding| finding.reason).unwrap_or_default();
        assert_eq!((told(3, None), told(3, Some(3))), (String::new(), String::new()));
        assert_eq!(told(3, Some(2)), "restarts: expected at most 2, actual 3");
    }
}
