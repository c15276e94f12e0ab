//! What is inside of archives and documents that programs of others have written.

use std::fs;
use std::path::Path;

use ilbud::mail::{FileType, Rule};
use ilbud::scan::rules::inside::{Budget, look};

use crate::peer;

const FOLDER: &str = "/usr/share/clamav-testfiles";

/// What is found in a file: a word for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Itself a program; nothing else is known of it.
    Program,
    /// The program in it is found.
    Found,
    /// The program in it is known by its name, and that it cannot be unpacked is said.
    ByName,
    /// That it cannot be looked into is said.
    Closed,
    /// Nothing is said: it is no archive, or of a kind that is not known.
    Nothing,
}

use Known::{ByName, Closed, Found, Nothing, Program};

/// All files of the package: the same program in each.
const FILES: &[(&str, Known)] = &[
    ("clam-aspack.exe", Program),
    ("clam-fsg.exe", Program),
    ("clam-mew.exe", Program),
    ("clam-nsis.exe", Program),
    ("clam-pespin.exe", Program),
    ("clam-petite.exe", Program),
    ("clam-upack.exe", Program),
    ("clam-upx.exe", Program),
    ("clam-wwpack.exe", Program),
    ("clam-yc.exe", Program),
    ("clam.7z", Found),
    ("clam.arj", Closed),
    ("clam.bin-be.cpio", Closed),
    ("clam.bin-le.cpio", Closed),
    ("clam.bz2.zip", Found),
    ("clam.cab", Found),
    ("clam.chm", Program),
    ("clam.d64.zip", Found),
    ("clam.ea05.exe", Program),
    ("clam.ea06.exe", Program),
    ("clam.exe", Program),
    ("clam.exe.binhex", Nothing),
    ("clam.exe.bz2", Found),
    ("clam.exe.html", Nothing),
    ("clam.exe.mbox.base64", Nothing),
    ("clam.exe.mbox.uu", Nothing),
    ("clam.exe.rtf", Found),
    ("clam.exe.szdd", Closed),
    ("clam.impl.zip", ByName),
    ("clam.mail", Nothing),
    ("clam.newc.cpio", Closed),
    ("clam.odc.cpio", Closed),
    ("clam.ole.doc", Found),
    ("clam.pdf", Found),
    ("clam.ppt", Found),
    ("clam.sis", Nothing),
    ("clam.tar.gz", Found),
    ("clam.tnef", Found),
    ("clam.zip", Found),
    ("clam_IScab_ext.exe", Found),
    ("clam_IScab_int.exe", Found),
    ("clam_ISmsi_ext.exe", Program),
    ("clam_ISmsi_int.exe", Program),
    ("clam_cache_emax.tgz", Found),
];

fn known(name: &str, bytes: &[u8]) -> Known {
    let mut seen = false;
    let findings = look(name, bytes, &mut Budget::default(), &mut |member| {
        seen |= member.whole && member.file_type == FileType::Executable;
    });
    let has = |rule| findings.iter().any(|it| it.rule == rule);
    match (has(Rule::ArchivedExecutable), has(Rule::Bounds)) {
        (true, _) if seen => Found,
        (true, true) => ByName,
        (false, true) => Closed,
        _ if FileType::of(bytes) == FileType::Executable => Program,
        _ => Nothing,
    }
}

#[test]
fn a_program_is_found_in_archives_of_many_kinds() {
    if !peer::all_here(&["clamav-testfiles"]) {
        return;
    }
    let found: Vec<(&str, Known)> = FILES
        .iter()
        .map(|(name, _)| {
            let bytes = fs::read(Path::new(FOLDER).join(name)).unwrap();
            (*name, known(name, &bytes))
        })
        .collect();
    assert_eq!(found, FILES);
}

/// Python's zipfile, tarfile, gzip, bz2 and lzma pack a program within an archive within an archive.
const PACK: &str = r#"
import bz2, gzip, io, lzma, sys, tarfile, zipfile, zlib
program = b"MZ\x90\0" + bytes(56) + b"\x80\0\0\0" + bytes(64) + b"PE\0\0" + bytes(range(256)) * 40

def zipped(method):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("a/notes.txt", b"hei")
        archive.writestr("a/program", program)
    return file.getvalue()

def streamed():
    # To a pipe: sizes come after the members.
    class Pipe(io.RawIOBase):
        def __init__(self): self.octets = b""
        def writable(self): return True
        def write(self, octets): self.octets += bytes(octets); return len(octets)
    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/program", program)
    return pipe.octets

def tarred(form):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for name, content in (("n" * 150 + "/notes.txt", b"hei"), ("b" * 150 + "/program", program)):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()

files = {
    "stored.zip": zipped(zipfile.ZIP_STORED),
    "deflated.zip": zipped(zipfile.ZIP_DEFLATED),
    "bzip2.zip": zipped(zipfile.ZIP_BZIP2),
    "lzma.zip": zipped(zipfile.ZIP_LZMA),
    "streamed.zip": streamed(),
    "gnu.tar": tarred(tarfile.GNU_FORMAT),
    "pax.tar": tarred(tarfile.PAX_FORMAT),
    "ustar.tar": tarred(tarfile.USTAR_FORMAT),
    "program.gz": gzip.compress(program),
    "program.bz2": bz2.compress(program),
    "program.xz": lzma.compress(program),
    "program.lzma": lzma.compress(program, lzma.FORMAT_ALONE),
    "program.zz": zlib.compress(program),
    "pax.tar.xz": lzma.compress(tarred(tarfile.PAX_FORMAT)),
    "zip.gz": gzip.compress(zipped(zipfile.ZIP_LZMA)),
}
for name, content in files.items():
    open(sys.argv[1] + "/" + name, "wb").write(content)
    print(name)
"#;

#[test]
fn what_others_pack_is_unpacked_whole() {
    if !peer::all_here(&["python3"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let names = peer::python(PACK, &[folder.path().to_str().unwrap()]);
    for name in names.lines() {
        let bytes = fs::read(folder.path().join(name)).unwrap();
        let mut program = None;
        let findings = look(name, &bytes, &mut Budget::default(), &mut |member| {
            if member.file_type == FileType::Executable {
                program = Some((member.bytes.len(), member.whole));
            }
        });
        assert_eq!(
            program,
            Some((132 + 256 * 40, true)),
            "{name}: {findings:?}"
        );
        let rules: Vec<Rule> = findings.iter().map(|it| it.rule).collect();
        assert_eq!(rules, [Rule::ArchivedExecutable], "{name}: {findings:?}");
    }
}
