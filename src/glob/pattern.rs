//! One pattern: its segments between slashes.

use alloc::{vec, vec::Vec};

use super::{PATTERN_BYTES_MAX, PatternFault, segment::Segment};

/// One pattern.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    parts: Vec<Part>,
    negated: bool,
    directories_only: bool,
}

#[derive(Debug, Clone)]
enum Part {
    /// Any number of components, none included.
    Any,
    /// Exactly one component.
    One(Segment),
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, PatternFault> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(PatternFault::TooLong);
        }
        if text.contains('\0') {
            return Err(PatternFault::Nul);
        }
        let (negated, text) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
        let (directories_only, text) = text.strip_suffix('/').map_or((false, text), |rest| (true, rest));
        let (rooted, text) = text.strip_prefix('/').map_or((false, text), |rest| (true, rest));
        if text.is_empty() {
            return Err(PatternFault::Empty);
        }
        let anchored = rooted || text.contains('/');
        let mut parts = if anchored { Vec::new() } else { vec![Part::Any] };
        for component in text.split('/') {
            match component {
                "" => return Err(PatternFault::EmptyComponent),
                "." | ".." => return Err(PatternFault::DotComponent),
                "**" if matches!(parts.last(), Some(Part::Any)) => {}
                "**" => parts.push(Part::Any),
                _ => parts.push(Part::One(Segment::parse(component)?)),
            }
        }
        if text == "**" || text.ends_with("/**") {
            // Everything below: at least one component more.
            parts.push(Part::One(Segment::anything()));
        }
        Ok(Self { parts, negated, directories_only })
    }

    /// Whether it brings back what it matches.
    pub(super) fn negated(&self) -> bool {
        self.negated
    }

    /// The usual two-pointer match with one place to come back to. One is enough: whatever an earlier `**` could still
    /// take, the later one can take as well.
    pub(super) fn matches(&self, path: &[u8], is_dir: bool) -> bool {
        if self.directories_only && !is_dir {
            return false;
        }
        let mut rest = Some(path);
        let mut part = 0;
        let mut retry: Option<(usize, &[u8])> = None;
        while let Some(left) = rest {
            let (component, after) = split(left);
            match self.parts.get(part) {
                Some(Part::Any) => {
                    part += 1;
                    retry = Some((part, left));
                }
                Some(Part::One(segment)) if segment.matches(component) => {
                    part += 1;
                    rest = after;
                }
                _ => {
                    let Some((again, from)) = retry else { return false };
                    part = again;
                    rest = split(from).1;
                    retry = rest.map(|rest| (again, rest));
                }
            }
        }
        self.parts[part..].iter().all(|part| matches!(part, Part::Any))
    }
}

/// The first component, and what comes after its slash.
fn split(path: &[u8]) -> (&[u8], Option<&[u8]>) {
    match path.iter().position(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], Some(&path[slash + 1..])),
        None => (path, None),
    }
}
