//! What a file really is, by its content: never by its name or by what a sender says of it.
//!
//! Pure. Looks at a bounded part of the content, and cannot fail: what it does not know is `unknown`.

use super::event::words;

words! {
    FileType {
        /// Runs by itself on some machine: PE, ELF, Mach-O, MSI, class files.
        Executable = "executable",
        Script = "script",
        /// A Windows shortcut.
        Shortcut = "shortcut",
        Zip = "zip archive",
        Rar = "rar archive",
        SevenZip = "7z archive",
        Tar = "tar archive",
        Gzip = "gzip archive",
        Bzip2 = "bzip2 archive",
        Xz = "xz archive",
        Zstandard = "zstandard archive",
        Cabinet = "cab archive",
        Disk = "disk image",
        /// Word, Excel and PowerPoint up to 2003, and other compound files.
        Compound = "compound document",
        /// Word, Excel and PowerPoint since 2007.
        OfficeXml = "office document",
        OpenDocument = "opendocument",
        Rtf = "rtf document",
        Pdf = "pdf document",
        Html = "html",
        Image = "image",
        Audio = "audio",
        Video = "video",
        Message = "message",
        Text = "text",
        Unknown = "unknown",
    }
}

impl FileType {
    /// The type of a file with this content.
    pub fn of(bytes: &[u8]) -> Self {
        match bytes {
            [b'M', b'Z', ..] | [0x7f, b'E', b'L', b'F', ..] => Self::Executable,
            [b'P', b'K', 3, 4, ..] => Self::Zip,
            _ => Self::Unknown,
        }
    }
}
