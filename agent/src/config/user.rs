//! `checks.user`: whom commands run as, by name or by number.

use super::{ConfigError, read_text, refused};

/// `name`, looked up in `/etc/passwd` alone (no directory service is asked: it may be what is broken), or `uid:gid`.
pub(super) fn ids(user: &str) -> Result<(u32, u32), ConfigError> {
    if let Some((uid, gid)) = user.split_once(':')
        && let (Ok(uid), Ok(gid)) = (uid.parse(), gid.parse())
    {
        return Ok((uid, gid));
    }
    let passwd = read_text("/etc/passwd".as_ref())?;
    find(&passwd, user).ok_or_else(|| refused("checks.user", format!("no `{user}` in /etc/passwd; or give `uid:gid`")))
}

fn find(passwd: &str, user: &str) -> Option<(u32, u32)> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(user))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/var/www:/bin/false\nbroken:x:one\n";
        for (user, found) in [("web", Some((33, 34))), ("we", None), ("broken", None), ("", None)] {
            assert_eq!(find(passwd, user), found, "{user}");
        }
        assert_eq!(ids("7:8").unwrap(), (7, 8));
    }
}
