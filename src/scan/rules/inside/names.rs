//! Names of members: which of them say that the file runs, and how a path is shown.
//!
//! Pure. A name is read as the system reads it that opens the file: Windows drops dots and spaces at
//! the end and whatever stands behind a colon, and a NUL ends a name.

/// Endings of files that Windows, macOS or a desktop runs, or lets run something, when they are opened.
#[rustfmt::skip]
const ENDINGS: &[&str] = &[
    "action", "apk", "app", "appinstaller", "application", "appref-ms", "appx", "appxbundle", "bat",
    "bash", "chm", "cmd", "com", "command", "cpl", "csh", "desktop", "diagcab", "dll", "drv", "exe",
    "gadget", "hlp", "hta", "jar", "jnlp", "job", "js", "jse", "ksh", "lnk", "mam",
    "mde", "msc", "msh", "msh1", "msh2", "mshxml", "msi", "msix", "msixbundle", "msp", "mst", "ocx",
    "osx", "pif", "pkg", "ps1", "ps1xml", "ps2", "ps2xml", "psc1", "psc2", "psd1", "psm1", "pyw", "pyz",
    "pyzw", "reg", "run", "scf", "scpt", "scr", "sct", "search-ms", "settingcontent-ms", "sh", "shb",
    "shs", "sys", "vb", "vbe", "vbs", "vbscript", "workflow", "ws", "wsc", "wsf", "wsh",
    "xbap", "xll", "xnk", "zsh",
];

/// How long a path or a piece of it is shown.
const SHOWN: usize = 200;

/// A file of this name runs when it is opened.
pub fn runs(path: &str) -> bool {
    let names = [path, path.split('\0').next().unwrap_or(path)];
    names.iter().any(|path| {
        let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
        let plain = name.split(':').next().unwrap_or(name);
        [name, plain].iter().any(|name| has_ending(name))
    })
}

fn has_ending(name: &str) -> bool {
    let name = name.trim_end_matches(|c: char| c == '.' || c.is_whitespace() || c.is_control());
    name.rsplit_once('.').is_some_and(|(_, ending)| {
        let ending = ending.to_ascii_lowercase();
        ENDINGS.contains(&ending.as_str())
    })
}

/// A path that is fit for a log and for a reply: one line, not long, nothing that turns the text round.
pub fn shown(path: &str) -> String {
    let odd = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    let mut shown: String = path
        .chars()
        .take(SHOWN)
        .map(|c| if odd(c) { '\u{fffd}' } else { c })
        .collect();
    if path.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_whether_the_file_runs() {
        #[rustfmt::skip]
        let cases = [
            ("setup.exe", true),
            ("Setup.EXE", true),
            ("a/b\\c.lnk", true),
            ("invoice.pdf.js", true),
            ("invoice.exe. . ", true),
            ("invoice.exe\u{a0}", true),
            ("invoice.exe\0.txt", true),
            ("invoice.exe:zone", true),
            ("invoice.txt:hidden.exe", true),
            ("\u{202e}fdp.exe", true),
            ("invoice.pdf", false),
            ("exe", false),
            ("exe/readme", false),
            ("notes.exe.txt", false),
            ("", false),
        ];
        for (name, runs_) in cases {
            assert_eq!(runs(name), runs_, "{name:?}");
        }
    }

    #[test]
    fn a_path_is_shown_on_one_line() {
        assert_eq!(shown("a\r\nb\u{202e}c"), "a\u{fffd}\u{fffd}b\u{fffd}c");
        assert_eq!(shown(&"x".repeat(1000)).chars().count(), SHOWN + 1);
    }
}
