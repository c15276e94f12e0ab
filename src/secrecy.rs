//! Whether a file that holds a secret is nobody else's to read or to change.
//!
//! A secret is its owner's alone; where root owns it, root may have lent it to one group, as Debian's
//! `ssl-cert` and systemd's credentials are lent. Looks at files, never into them, and follows links.
//! Never changes a mode: what is wrong is said, with the command that puts it right.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What the owner alone may do; what a group may do beside it that root has lent the file to.
const NOT_THE_OWNER: u32 = 0o077;
const NOT_A_READER: u32 = 0o037;

/// Why this file is no place for `what`; `None` where it is.
pub fn fault(file: &Path, metadata: &Metadata, what: &str) -> Option<String> {
    is_open(metadata.mode(), metadata.uid()).then(|| {
        format!(
            "others on this machine may read this file, and there is {what} in it; close it with: \
             chmod 600 {}",
            file.display()
        )
    })
}

const fn is_open(mode: u32, owner: u32) -> bool {
    match owner {
        0 => mode & NOT_A_READER != 0,
        _ => mode & NOT_THE_OWNER != 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_lends_and_only_to_read() {
        #[rustfmt::skip]
        let cases = [
            // mode   root's  another's
            (0o600,   false,  false),
            (0o400,   false,  false),
            (0o700,   false,  false),
            (0o640,   false,  true),
            (0o440,   false,  true),
            (0o660,   true,   true),
            (0o604,   true,   true),
            (0o602,   true,   true),
            (0o644,   true,   true),
            (0o777,   true,   true),
        ];
        for (mode, roots, anothers) in cases {
            let file = 0o100_000;
            assert_eq!(is_open(file | mode, 0), roots, "{mode:o}");
            assert_eq!(is_open(file | mode, 1000), anothers, "{mode:o}");
        }
    }
}
