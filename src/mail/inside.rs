//! What the log keeps of the files inside of a message's attachments: in archives and documents, and in
//! messages that lie there.
//!
//! Plain values. Of too many files those that run go first, and how many are left out is known. Nothing
//! here fails.

use super::reply::harmless;
use super::{Attachment, FileType, Seen, SeenFile};

/// Files inside of attachments that the log lists of one message.
const LISTED: usize = 200;
/// Octets of a path that it keeps.
const PATH: usize = 500;

/// What is known of a file inside of an attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Octets of its name that are the attachment's; then comes a slash, and then its path there.
    pub attachment: usize,
    /// `None`: it was not looked at whole.
    pub size: Option<u64>,
    pub kind: FileType,
    /// By its content or by its name.
    pub runs: bool,
}

/// What the log keeps of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inside {
    pub files: Vec<Attachment>,
    /// How many there are beyond these.
    pub left_out: u64,
}

impl Seen {
    /// What the log is to know of the files inside of attachments.
    pub fn inside(&self) -> Inside {
        let members = self.files.iter().filter_map(|it| Some((it, it.member?)));
        let (first, rest): (Vec<_>, Vec<_>) = members.partition(|(_, member)| member.runs);
        let listed = first.iter().chain(&rest).take(LISTED);
        let files: Vec<Attachment> = listed.map(|(file, member)| file.listed(*member)).collect();
        let left_out = (first.len() + rest.len()).saturating_sub(files.len());
        Inside {
            left_out: left_out as u64,
            files,
        }
    }
}

impl SeenFile {
    fn listed(&self, member: Member) -> Attachment {
        let parts = self.name.split_at_checked(member.attachment);
        let (attachment, path) = parts.unwrap_or((&self.name, &self.name));
        Attachment {
            name: listed_path(path.strip_prefix('/').unwrap_or(path)),
            within: Some(attachment.to_owned()),
            size: member.size,
            sha256: Some(self.sha256.clone()).filter(|it| !it.is_empty()),
            kind: member.kind,
        }
    }
}

/// Harmless; of a path that is too long the end, where the file's own name is.
fn listed_path(path: &str) -> String {
    let from = path.ceil_char_boundary(path.len().saturating_sub(PATH));
    let end = harmless(path.get(from..).unwrap_or_default());
    match from {
        0 => end,
        _ => format!("\u{2026}{end}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;

    fn file(name: &str, attachment: usize, runs: bool) -> SeenFile {
        SeenFile {
            name: name.to_owned(),
            sha256: String::new(),
            member: Some(Member {
                attachment,
                size: None,
                kind: FileType::Unknown,
                runs,
            }),
        }
    }

    fn seen(files: Vec<SeenFile>) -> Seen {
        Seen {
            files,
            ..Seen::UNKNOWN
        }
    }

    #[test]
    fn a_member_is_listed_by_its_path_in_its_attachment() {
        let long = format!("a.zip/{}/b.exe", "\u{e5}".repeat(400));
        let attachment = SeenFile {
            member: None,
            ..file("a.zip", 0, false)
        };
        let files = [
            file("a.zip/b/c\u{202e}d.txt", 5, false),
            file(&long, 5, true),
            attachment,
        ];
        let inside = seen(files.into()).inside();
        let told: Vec<String> = inside.files.iter().map(ToString::to_string).collect();
        assert!(
            told[0].starts_with("\u{2026}\u{e5}") && told[0].ends_with("\u{e5}/b.exe in a.zip")
        );
        assert!(told[0].len() < 520, "{}", told[0]);
        assert_eq!(told[1..], ["b/c?d.txt in a.zip"]);
        assert_eq!(inside.left_out, 0);
    }

    #[test]
    fn of_too_many_those_that_run_are_listed() {
        let name = |n: usize| format!("a.zip/{n}");
        let files = (0..500).map(|n| file(&name(n), 5, n >= 450));
        let inside = seen(files.collect()).inside();
        assert_eq!((inside.files.len(), inside.left_out), (200, 300));
        assert_eq!(
            (
                inside.files[0].name.as_str(),
                inside.files[50].name.as_str()
            ),
            ("450", "0")
        );
    }
}
