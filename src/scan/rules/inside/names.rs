//! Names of members: which of them say that the file runs, and how a path is shown.
//!
//! What counts is what a workstation with Windows runs when somebody opens it, by itself or with what
//! is usual there (Office, Java): programs, and the scripts in which malware is sent (`.js`, `.vbs`,
//! `.hta`, `.bat`, `.ps1`, `.lnk` …), those in an archive of source code too. A script for an interpreter that
//! Windows does not come with (`.sh`, `.py`, `.pl`, `.php`) opens in an editor there, and is none. A `.com` is
//! a program, and also how many names of firms end: a text of that name is none.
//!
//! Pure. A name is read as the system reads it that opens the file: Windows drops dots and spaces at
//! the end and whatever stands behind a colon, and a NUL ends a name.

/// Endings of files that Windows runs, or lets run something, when they are opened.
#[rustfmt::skip]
const ENDINGS: &[&str] = &[
    "apk", "app", "appinstaller", "application", "appref-ms", "appx", "appxbundle", "bat", "chm",
    "cmd", "cpl", "diagcab", "dll", "drv", "exe",
    "gadget", "hlp", "hta", "jar", "jnlp", "job", "js", "jse", "lnk", "mam",
    "mde", "msc", "msh", "msh1", "msh2", "mshxml", "msi", "msix", "msixbundle", "msp", "mst", "ocx",
    "pif", "pkg", "ps1", "ps1xml", "ps2", "ps2xml", "psc1", "psc2", "psd1", "psm1", "reg", "scf",
    "scr", "sct", "search-ms", "settingcontent-ms", "shb", "shs", "sys", "vb", "vbe", "vbs",
    "vbscript", "ws", "wsc", "wsf", "wsh", "xbap", "xll", "xnk",
];

/// How long a path or a piece of it is shown.
const SHOWN: usize = 200;

/// What a program of DOS ends with, and an address in the web.
const COM: &str = "com";

/// A file of this name runs when it is opened. `content`: all of it, where it is known.
pub fn runs(path: &str, content: Option<&[u8]>) -> bool {
    let names = [path, path.split('\0').next().unwrap_or(path)];
    names.iter().any(|path| {
        let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
        let plain = name.split(':').next().unwrap_or(name);
        [name, plain]
            .iter()
            .any(|name| match ending(name).as_str() {
                COM => !content.is_some_and(is_text),
                ending => ENDINGS.contains(&ending),
            })
    })
}

fn ending(name: &str) -> String {
    let name = name.trim_end_matches(|c: char| c == '.' || c.is_whitespace() || c.is_control());
    let ending = name.rsplit_once('.').map(|(_, ending)| ending);
    ending.unwrap_or_default().to_ascii_lowercase()
}

/// Lines that somebody can read: Windows starts what begins with MZ, whatever its name is.
fn is_text(content: &[u8]) -> bool {
    let is_control = |octet: &&u8| matches!(octet, 0..=8 | 0x0b | 0x0e..=0x1f | 0x7f);
    let accents = content.iter().filter(|octet| !octet.is_ascii()).count();
    let is_readable = accents <= content.len() / 8 || std::str::from_utf8(content).is_ok();
    is_readable && !content.starts_with(b"MZ") && !content.iter().any(|it| is_control(&it))
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
            ("app.js", true),
            ("a.jse", true),
            ("a.vbs", true),
            ("a.vbe", true),
            ("a.wsf", true),
            ("a.wsh", true),
            ("a.hta", true),
            ("a.bat", true),
            ("a.cmd", true),
            ("a.ps1", true),
            ("a.scr", true),
            ("a.pif", true),
            ("build.sh", false),
            ("setup.py", false),
            ("tool.pl", false),
            ("index.php", false),
            ("ilbud.desktop", false),
            ("www.firma.com", true),
            ("www.firma.com/", false),
            ("", false),
        ];
        for (name, runs_) in cases {
            assert_eq!(runs(name, None), runs_, "{name:?}");
        }
    }

    #[test]
    fn a_text_is_no_program_of_dos() {
        #[rustfmt::skip]
        let cases: [(&str, &[u8], bool); 9] = [
            ("www.firma.com", b"Lenke til v\xc3\xa5r side\r\n", false),
            ("www.firma.com", b"Lenke til v\xe5r side\n", false),
            ("www.firma.com", b"", false),
            ("www.firma.com", "\u{442}\u{435}\u{43a}\u{441}\u{442}".as_bytes(), false),
            ("www.firma.com", b"\xb4\x4c\xcd\x21", true),
            ("www.firma.com", b"hei\x1b[2J", true),
            ("www.firma.com", b"MZ;Maputo\r\n", true),
            ("www.firma.com", &[0xe5; 100], true),
            ("firma.exe", b"hei", true),
        ];
        for (name, content, runs_) in cases {
            assert_eq!(runs(name, Some(content)), runs_, "{name:?} {content:?}");
        }
    }

    #[test]
    fn a_path_is_shown_on_one_line() {
        assert_eq!(shown("a\r\nb\u{202e}c"), "a\u{fffd}\u{fffd}b\u{fffd}c");
        assert_eq!(shown(&"x".repeat(1000)).chars().count(), SHOWN + 1);
    }
}
