//! What shows that a file has changed since it was last read.
//!
//! Looks at files, never into them. A file that cannot be seen has no stamp, which differs from any
//! it had; so a file that comes, goes, is exchanged or becomes readable is news each time.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A file as it was when it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp(Option<Seen>);

/// Every change of content, owner or mode changes `changed`; an exchange changes `node`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    changed: (i64, i64),
    node: u64,
    len: u64,
}

pub fn of(file: &Path) -> Stamp {
    Stamp(fs::metadata(file).ok().map(|it| Seen {
        changed: (it.ctime(), it.ctime_nsec()),
        node: it.ino(),
        len: it.len(),
    }))
}

pub fn of_all<'a>(files: impl IntoIterator<Item = &'a Path>) -> Vec<Stamp> {
    files.into_iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn each_change_is_news() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        let mut seen = vec![of(&file)];
        let mut expect_news = |what: &str| {
            let stamp = of(&file);
            assert_eq!(stamp, of(&file), "{what}: nothing happened in between");
            assert!(!seen.contains(&stamp), "{what}");
            seen.push(stamp);
        };
        fs::write(&file, "one").unwrap();
        expect_news("it came");
        fs::write(&file, "longer").unwrap();
        expect_news("it grew");
        fs::write(folder.path().join("b"), "LONGER").unwrap();
        fs::rename(folder.path().join("b"), &file).unwrap();
        expect_news("it was exchanged");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        expect_news("it was closed to others");
        fs::remove_file(&file).unwrap();
        assert_eq!(Some(&of(&file)), seen.first());
    }
}
