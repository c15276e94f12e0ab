//! Tables over archives and documents that are built here, octet by octet where need be.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::Write;

use super::*;
use crate::mail::hex;

/// Of DOS: a header of 32 octets, and behind it what ends the program.
const PROGRAM: &[u8] =
    b"MZ\x24\0\x01\0\0\0\x02\0\0\0\xff\xff\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xb4\x4c\xcd\x21";

/// An entry of a zip archive, and what its two headers say of it.
#[derive(Clone)]
struct Entry {
    local: (String, u16, u16),
    central: Option<(String, u16, u16)>,
    data: Vec<u8>,
    size: usize,
}

impl Entry {
    fn new(name: &str, content: &[u8]) -> Self {
        let header = (name.to_owned(), 8, 0);
        Self {
            local: header.clone(),
            central: Some(header),
            data: deflated(content),
            size: content.len(),
        }
    }

    fn stored(name: &str, content: &[u8]) -> Self {
        Self::method(name, 0, content, content.len())
    }

    fn method(name: &str, method: u16, data: &[u8], size: usize) -> Self {
        let header = (name.to_owned(), method, 0);
        Self {
            local: header.clone(),
            central: Some(header),
            data: data.to_vec(),
            size,
        }
    }

    fn flagged(mut self, local: u16, central: u16) -> Self {
        self.local.2 = local;
        if let Some(it) = &mut self.central {
            it.2 = central;
        }
        self
    }

    fn called(mut self, central: &str) -> Self {
        self.central.as_mut().unwrap().0 = central.to_owned();
        self
    }

    fn packed_as(mut self, central: u16) -> Self {
        self.central.as_mut().unwrap().1 = central;
        self
    }

    fn unlisted(mut self) -> Self {
        self.central = None;
        self
    }

    fn header(&self, (name, method, flags): &(String, u16, u16)) -> Vec<u8> {
        let mut header = Vec::new();
        header.extend(20_u16.to_le_bytes());
        header.extend(flags.to_le_bytes());
        header.extend(method.to_le_bytes());
        header.extend([0; 8]);
        header.extend((self.data.len() as u32).to_le_bytes());
        header.extend((self.size as u32).to_le_bytes());
        header.extend((name.len() as u16).to_le_bytes());
        header.extend([0, 0]);
        header
    }
}

fn deflated(content: &[u8]) -> Vec<u8> {
    let mut it = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    it.write_all(content).unwrap();
    it.finish().unwrap()
}

fn zlib(content: &[u8]) -> Vec<u8> {
    let mut it = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    it.write_all(content).unwrap();
    it.finish().unwrap()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut it = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    it.write_all(content).unwrap();
    it.finish().unwrap()
}

fn bzip2(content: &[u8]) -> Vec<u8> {
    let mut it = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
    it.write_all(content).unwrap();
    it.finish().unwrap()
}

fn zstandard(content: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(content, ruzstd::encoding::CompressionLevel::Fastest)
}

fn zip(entries: &[Entry]) -> Vec<u8> {
    let mut archive = Vec::new();
    let mut directory = Vec::new();
    let mut count = 0_u16;
    for entry in entries {
        let at = archive.len() as u32;
        archive.extend(b"PK\x03\x04");
        archive.extend(entry.header(&entry.local));
        archive.extend(entry.local.0.as_bytes());
        archive.extend(&entry.data);
        if let Some(central) = &entry.central {
            directory.extend(listed(&entry.header(central), &central.0, at));
            count += 1;
        }
    }
    end(archive, &directory, count)
}

fn listed(header: &[u8], name: &str, at: u32) -> Vec<u8> {
    let mut entry = b"PK\x01\x02\x14\0".to_vec();
    entry.extend(header);
    entry.extend([0; 10]);
    entry.extend(at.to_le_bytes());
    entry.extend(name.as_bytes());
    entry
}

fn end(mut archive: Vec<u8>, directory: &[u8], count: u16) -> Vec<u8> {
    let at = archive.len() as u32;
    archive.extend(directory);
    archive.extend(b"PK\x05\x06\0\0\0\0");
    archive.extend(count.to_le_bytes());
    archive.extend(count.to_le_bytes());
    archive.extend((directory.len() as u32).to_le_bytes());
    archive.extend(at.to_le_bytes());
    archive.extend([0, 0]);
    archive
}

/// An archive whose comment is the end of another: which one is seen depends on the reader.
fn second_end() -> Vec<u8> {
    let mut archive = one("a.txt", PROGRAM);
    let entry = Entry::new("a.txt", PROGRAM);
    let header = entry.header(entry.central.as_ref().unwrap());
    let at = archive.len();
    let comment = end(Vec::new(), &listed(&header, "a.txt", 0), 1);
    archive[at - 2..].copy_from_slice(&(comment.len() as u16).to_le_bytes());
    archive.extend(comment);
    let offset = archive.len() - 6;
    archive[offset..offset + 4].copy_from_slice(&(at as u32).to_le_bytes());
    archive
}

/// Without the record of 22 octets that every zip archive ends with.
fn without_end(mut archive: Vec<u8>) -> Vec<u8> {
    archive.truncate(archive.len() - 22);
    archive
}

fn one(name: &str, content: &[u8]) -> Vec<u8> {
    zip(&[Entry::new(name, content)])
}

fn tar_header(name: &str, size: &[u8], kind: u8) -> Vec<u8> {
    let mut header = vec![0; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[124..124 + size.len()].copy_from_slice(size);
    header[156] = kind;
    header[257..263].copy_from_slice(b"ustar\0");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|it| u32::from(*it)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    header
}

fn tar_member(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
    let size = format!("{:011o}", content.len());
    let mut member = tar_header(name, size.as_bytes(), kind);
    member.extend(content);
    member.resize(member.len().div_ceil(512) * 512, 0);
    member
}

fn tar_of(members: &[Vec<u8>]) -> Vec<u8> {
    [members.concat(), vec![0; 1024]].concat()
}

fn seven_zip_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = sevenz_rust2::ArchiveWriter::new(std::io::Cursor::new(Vec::new())).unwrap();
    for (name, content) in files {
        let (entry, content) = match name.strip_suffix('/') {
            Some(folder) => (sevenz_rust2::ArchiveEntry::new_directory(folder), None),
            None => (sevenz_rust2::ArchiveEntry::new_file(name), Some(*content)),
        };
        writer.push_archive_entry(entry, content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn rar4(flags: u16, file_flags: u16, name: &[u8], method: u8, content: &[u8]) -> Vec<u8> {
    let mut archive = b"Rar!\x1a\x07\0".to_vec();
    archive.extend([0, 0, 0x73]);
    archive.extend(flags.to_le_bytes());
    archive.extend([13, 0, 0, 0, 0, 0, 0, 0]);
    archive.extend([0, 0, 0x74]);
    archive.extend((file_flags | 0x8000).to_le_bytes());
    archive.extend((32 + name.len() as u16).to_le_bytes());
    archive.extend((content.len() as u32).to_le_bytes());
    archive.extend((content.len() as u32).to_le_bytes());
    archive.extend([0; 9]);
    archive.extend([29, method]);
    archive.extend((name.len() as u16).to_le_bytes());
    archive.extend([0; 4]);
    archive.extend(name);
    archive.extend(content);
    archive.extend([0, 0, 0x7b, 0, 0, 7, 0]);
    archive
}

fn rar5_block(fields: &[u8], content: &[u8]) -> Vec<u8> {
    [[0; 4].as_slice(), &[fields.len() as u8], fields, content].concat()
}

fn rar5(method: u8, encrypted: bool, name: &str, content: &[u8]) -> Vec<u8> {
    let extra: &[u8] = if encrypted { &[3, 1, 0, 0] } else { &[] };
    let mut file = vec![2];
    file.push(if encrypted { 3 } else { 2 });
    if encrypted {
        file.push(extra.len() as u8);
    }
    file.extend([content.len() as u8, 0, content.len() as u8, 0]);
    let how = u16::from(method) << 7;
    file.extend([
        (how & 0x7f) as u8 | 0x80,
        (how >> 7) as u8,
        0,
        name.len() as u8,
    ]);
    file.extend(name.as_bytes());
    file.extend(extra);
    [
        b"Rar!\x1a\x07\x01\0".to_vec(),
        rar5_block(&[1, 0, 0], b""),
        rar5_block(&file, content),
        rar5_block(&[5, 0, 0], b""),
    ]
    .concat()
}

fn cab(folder_method: u16, blocks: &[(Vec<u8>, usize)], files: &[(&str, usize, usize)]) -> Vec<u8> {
    let names: usize = files.iter().map(|(name, ..)| name.len() + 17).sum();
    let data_at = 36 + 8 + names;
    let mut archive = b"MSCF\0\0\0\0".to_vec();
    let data: usize = blocks.iter().map(|(packed, _)| packed.len() + 8).sum();
    archive.extend(((data_at + data) as u32).to_le_bytes());
    archive.extend([0; 4]);
    archive.extend(44_u32.to_le_bytes());
    archive.extend([0, 0, 0, 0, 3, 1, 1, 0]);
    archive.extend((files.len() as u16).to_le_bytes());
    archive.extend([0; 6]);
    archive.extend((data_at as u32).to_le_bytes());
    archive.extend((blocks.len() as u16).to_le_bytes());
    archive.extend(folder_method.to_le_bytes());
    for (name, offset, size) in files {
        archive.extend((*size as u32).to_le_bytes());
        archive.extend((*offset as u32).to_le_bytes());
        archive.extend([0; 8]);
        archive.extend(name.as_bytes());
        archive.push(0);
    }
    for (packed, size) in blocks {
        archive.extend([0; 4]);
        archive.extend((packed.len() as u16).to_le_bytes());
        archive.extend((*size as u16).to_le_bytes());
        archive.extend(packed);
    }
    archive
}

fn mszip_block(content: &[u8]) -> (Vec<u8>, usize) {
    (
        [b"CK".as_slice(), &deflated(content)].concat(),
        content.len(),
    )
}

/// A compound file with small sectors for nothing: each stream has sectors of its own.
fn compound(entries: &[(&str, u8, &[u8])]) -> Vec<u8> {
    const SECTOR: usize = 512;
    let directory_sectors = (entries.len() + 1).div_ceil(4);
    let mut table: Vec<u32> = vec![0xffff_fffd];
    let mut sectors: Vec<u8> = Vec::new();
    let mut directory = entry_of("Root Entry", 5, 0xffff_fffe, 0);
    for at in 1..=directory_sectors as u32 {
        let is_last = at == directory_sectors as u32;
        table.push(if is_last { 0xffff_fffe } else { at + 1 });
    }
    for (name, kind, content) in entries {
        let count = content.len().div_ceil(SECTOR);
        let start = table.len() as u32;
        for at in 1..=count as u32 {
            table.push(if at == count as u32 {
                0xffff_fffe
            } else {
                start + at
            });
        }
        sectors.extend(*content);
        sectors.resize(sectors.len().div_ceil(SECTOR) * SECTOR, 0);
        directory.extend(entry_of(name, *kind, start, content.len()));
    }
    directory.resize(directory_sectors * SECTOR, 0);
    let mut file = compound::MARK.to_vec();
    file.resize(24, 0);
    file.extend([0x3e, 0, 3, 0, 0xfe, 0xff, 9, 0, 6, 0]);
    file.resize(44, 0);
    file.extend(1_u32.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    file.extend([0; 4]);
    file.extend(0_u32.to_le_bytes()); // no stream is small
    file.extend(0xffff_fffe_u32.to_le_bytes());
    file.extend([0; 4]);
    file.extend(0xffff_fffe_u32.to_le_bytes());
    file.extend([0; 4]);
    file.extend(0_u32.to_le_bytes());
    file.resize(SECTOR, 0xff);
    let mut numbers: Vec<u8> = table.iter().flat_map(|it| it.to_le_bytes()).collect();
    assert!(
        numbers.len() <= SECTOR,
        "one sector is enough for the table"
    );
    numbers.resize(SECTOR, 0xff);
    [file, numbers, directory, sectors].concat()
}

fn entry_of(name: &str, kind: u8, start: u32, size: usize) -> Vec<u8> {
    let mut entry: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let length = entry.len() as u16 + 2;
    entry.resize(64, 0);
    entry.extend(length.to_le_bytes());
    entry.push(kind);
    entry.resize(116, 0);
    entry.extend(start.to_le_bytes());
    entry.extend((size as u64).to_le_bytes());
    entry
}

fn native(label: &str, content: &[u8]) -> Vec<u8> {
    let mut file = vec![2, 0];
    file.extend(label.as_bytes());
    file.extend(b"\0C:\\x\0\0\0\x03\0");
    file.extend(5_u32.to_le_bytes());
    file.extend(b"C:\\y\0");
    file.extend((content.len() as u32).to_le_bytes());
    file.extend(content);
    [&(file.len() as u32).to_le_bytes(), file.as_slice()].concat()
}

fn ole1(class: &str, content: &[u8]) -> Vec<u8> {
    let mut object = vec![1, 5, 0, 0, 2, 0, 0, 0];
    object.extend((class.len() as u32 + 1).to_le_bytes());
    object.extend(class.as_bytes());
    object.push(0);
    object.extend([0; 8]);
    object.extend((content.len() as u32).to_le_bytes());
    object.extend(content);
    object
}

/// `a.txt` under a password; in the second the list of members, too.
const SEVEN_ZIP_ENCRYPTED: &str = "377abcaf271c0004413377d510000000000000005f000000000000009d58f0602db9d6\
395a8e19e8da1cf3adfc1849be010406000109100a01b104b18c00070b0100022406f1070122c8ffa835be5fe1aa73c523e5a88\
421e62b790b2b170eec492709ef2b275aa6afb270010001000c030300080a019405619500000501110d0061002e007400780074\
0000000000";
const SEVEN_ZIP_CLOSED: &str = "377abcaf271c00049a67dea270000000000000005300000000000000c12090e8954276\
08c98c5c33561dd16c0347ff9be99b415ccb2659cebc705382d134cd2f4f1d05e4f95b86eafcba4c245a4484d6d0bd815cf2b63\
9d3e993a98fb011ff4fcff655f699da837f8984c39b3b841252be703775bcb54715c372658047dafcaa45cbb025c1e36f356da6\
10cfc3aefd421706100109600a011f54ef0000070b0100022406f1070122c8ff035ec479e5cccb55cd514e238a367b5c72e4483\
15e34aa57b43159fedcb85a5923030101055d0000800001000c605f00080a015f49fd630000";

/// [`PROGRAM`], packed by `xz --format=lzma`.
const LZMA: &str =
    "5d00008000ffffffffffffffff002696807ee0083febbaf641f2ed48f0ffd7bfd7d3a93e1ffff70c8000";

fn octets_of(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn iso(name: &str, wide: &str, content: &[u8]) -> Vec<u8> {
    let record = |name: &[u8], at: u32, size: usize, flags: u8| {
        let mut record = vec![33 + name.len() as u8, 0];
        record.extend(at.to_le_bytes());
        record.extend([0; 4]);
        record.extend((size as u32).to_le_bytes());
        record.extend([0; 11]);
        record.push(flags);
        record.extend([0; 6]);
        record.push(name.len() as u8);
        record.extend(name);
        record
    };
    let descriptor = |kind: u8, escape: &[u8], root: u32| {
        let mut it = vec![kind];
        it.extend(b"CD001\x01");
        it.resize(88, 0);
        it.extend(escape);
        it.resize(128, 0);
        it.extend(2048_u16.to_le_bytes());
        it.resize(156, 0);
        it.extend(record(&[0], root, 2048, 2));
        it.resize(2048, 0);
        it
    };
    let wide: Vec<u8> = wide.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let folder = |name: &[u8]| {
        let mut it = [record(&[0], 18, 2048, 2), record(&[1], 18, 2048, 2)].concat();
        it.extend(record(name, 20, content.len(), 0));
        it.resize(2048, 0);
        it
    };
    [
        vec![0; 32768],
        descriptor(1, b"", 18),
        descriptor(2, b"%/E", 19),
        folder(name.as_bytes()),
        folder(&wide),
        content.to_vec(),
    ]
    .concat()
}

fn tnef_of(name: &str, content: &[u8]) -> Vec<u8> {
    let attribute = |id: u32, value: &[u8]| {
        let mut it = vec![2];
        it.extend(id.to_le_bytes());
        it.extend((value.len() as u32).to_le_bytes());
        it.extend(value);
        it.extend([0, 0]);
        it
    };
    [
        b"\x78\x9f\x3e\x22\x01\0".to_vec(),
        attribute(0x0006_9002, &[0; 14]),
        attribute(0x0001_8010, &[name.as_bytes(), b"\0"].concat()),
        attribute(0x0006_800f, content),
    ]
    .concat()
}

/// What is found in a file, a line each, and the members that were shown.
fn found(name: &str, bytes: &[u8]) -> (Vec<String>, Vec<String>) {
    let mut members = Vec::new();
    let findings = look(name, bytes, &mut Budget::default(), &mut |member| {
        members.push(format!("{}: {}", member.path, member.file_type));
    });
    let findings = findings
        .iter()
        .map(|it| {
            assert_eq!(it.attachment.as_deref(), Some(name));
            format!("{}: {}", it.rule, it.what)
        })
        .collect();
    (findings, members)
}

fn pdf(body: &str) -> Vec<u8> {
    format!("%PDF-1.7\n{body}\ntrailer << /Size 1 >>\n").into_bytes()
}

fn biff(records: &[(u16, &[u8])]) -> Vec<u8> {
    records
        .iter()
        .flat_map(|(kind, data)| {
            [
                &kind.to_le_bytes(),
                &(data.len() as u16).to_le_bytes(),
                *data,
            ]
            .concat()
        })
        .collect()
}

fn docx(parts: &[(&str, &str)]) -> Vec<u8> {
    let entries: Vec<Entry> = [
        ("[Content_Types].xml", "<Types/>"),
        ("_rels/.rels", "<Relationships/>"),
    ]
    .iter()
    .chain(parts)
    .map(|(name, content)| Entry::new(name, content.as_bytes()))
    .collect();
    zip(&entries)
}

#[test]
fn what_is_inside_is_found() {
    let vba = compound(&[("VBA", 1, b""), ("dir", 2, b"x")]);
    let encrypted = "encrypted: encrypted";
    let _ = encrypted;
    #[rustfmt::skip]
    let cases: Vec<(&str, Vec<u8>, &[&str])> = vec![
        // Zip
        ("plain zip", one("notes.txt", b"hei"), &[]),
        ("program", one("notes.txt", PROGRAM), &["archived_executable: notes.txt is an executable"]),
        ("program by name", one("a/setup.exe", b"hei"), &["archived_executable: a/setup.exe is an executable"]),
        ("a script for an interpreter that is not there", zip(&[Entry::new("run", b"#!/bin/sh\nid\n"), Entry::new("build.sh", b"id"), Entry::new("setup.py", b"\xef\xbb\xbf#!/usr/bin/env python3\n"), Entry::new("index", b"<?php"), Entry::new("ilbud.desktop", b"[Desktop Entry]\n")]), &[]),
        ("scripts that Windows runs", zip(&[Entry::new("a.js", b"#!/usr/bin/env node\n"), Entry::new("b.txt", b"@echo off\r\n"), Entry::new("c.txt", b"<?xml?><scriptlet>"), Entry::new("d.txt", b"[InternetShortcut]\n")]), &["archived_executable: a.js is an executable", "archived_executable: b.txt is an executable", "archived_executable: c.txt is an executable", "archived_executable: d.txt is an executable"]),
        ("a firm's name", zip(&[Entry::new("www.firma.com", b"Lenke til siden\r\n"), Entry::new("www.firma.com/", b"")]), &[]),
        ("a program of DOS", one("vis.com", b"\xb4\x4c\xcd\x21"), &["archived_executable: vis.com is an executable"]),
        ("one that nobody can look at", zip(&[Entry::new("www.firma.com", b"hei").flagged(1, 1)]), &["encrypted: www.firma.com is encrypted", "archived_executable: www.firma.com is an executable"]),
        ("one that is not whole", tar_of(&[tar_member("www.firma.com", b'0', b"hei")])[..514].to_vec(), &["archived_executable: www.firma.com is an executable", "bounds: www.firma.com is broken"]),
        ("a text that begins like one", one("land.csv", b"MZ;Maputo\r\n"), &[]),
        ("a folder of 7z", seven_zip_of(&[("www.firma.com/", b""), ("a.txt", b"hei")]), &[]),
        ("a folder of rar", rar4(0, 0xe0, b"www.firma.com", 0x30, b""), &[]),
        ("shortcut by name", one("bill.pdf.lnk", b"x"), &["archived_executable: bill.pdf.lnk is an executable"]),
        ("archive in archive", one("i.zip", &one("a.txt", PROGRAM)), &["archived_executable: i.zip/a.txt is an executable"]),
        ("behind a picture", [b"\x89PNG\r\n\x1a\n".as_slice(), &one("a.txt", PROGRAM)].concat(), &["archived_executable: a.txt is an executable"]),
        ("self-extracting", [PROGRAM, &one("a.txt", PROGRAM)].concat(), &["archived_executable: a.txt is an executable"]),
        ("stored", zip(&[Entry::stored("a.txt", PROGRAM)]), &["archived_executable: a.txt is an executable"]),
        ("stored archive in an archive", zip(&[Entry::stored("i.zip", &one("a.txt", PROGRAM))]), &["archived_executable: i.zip/a.txt is an executable"]),
        ("an end in the comment", second_end(), &["archived_executable: a.txt is an executable", "bounds: is a zip archive with members that overlap"]),
        ("bzip2", zip(&[Entry::method("a.txt", 12, &bzip2(PROGRAM), PROGRAM.len())]), &["archived_executable: a.txt is an executable"]),
        ("zstandard", zip(&[Entry::method("a.txt", 93, &zstandard(PROGRAM), PROGRAM.len())]), &["archived_executable: a.txt is an executable"]),
        ("method unknown", zip(&[Entry::method("a.txt", 6, b"x", 1)]), &["bounds: a.txt is packed by a method that cannot be undone"]),
        ("encrypted", zip(&[Entry::new("a.txt", b"hei").flagged(1, 1)]), &["encrypted: a.txt is encrypted"]),
        ("encrypted program", zip(&[Entry::new("a.exe", b"hei").flagged(1, 1)]), &["encrypted: a.exe is encrypted", "archived_executable: a.exe is an executable"]),
        ("AES", zip(&[Entry::method("a.txt", 99, b"x", 1)]), &["encrypted: a.txt is encrypted"]),
        ("masked directory", zip(&[Entry::new("1", b"hei").flagged(1 | 1 << 13, 1 | 1 << 13)]), &["encrypted: 1 is encrypted"]),
        // Two lists that disagree
        ("only the directory says encrypted", zip(&[Entry::new("a.txt", PROGRAM).flagged(0, 1)]), &["bounds: is a zip archive whose directory disagrees with its members", "encrypted: a.txt is encrypted", "archived_executable: a.txt is an executable"]),
        ("local name", zip(&[Entry::new("a.exe", b"hei").called("a.txt")]), &["bounds: is a zip archive whose directory disagrees with its members", "archived_executable: a.exe is an executable"]),
        ("central name", zip(&[Entry::new("a.txt", b"hei").called("a.exe")]), &["bounds: is a zip archive whose directory disagrees with its members", "archived_executable: a.exe is an executable"]),
        ("methods", zip(&[Entry::stored("a.txt", PROGRAM).packed_as(8)]), &["bounds: is a zip archive whose directory disagrees with its members", "bounds: a.txt is broken", "archived_executable: a.txt is an executable"]),
        ("unlisted", zip(&[Entry::new("a.txt", b"hei"), Entry::new("b.txt", PROGRAM).unlisted()]), &["bounds: is a zip archive that holds a member which it does not list", "archived_executable: b.txt is an executable"]),
        ("no directory", without_end(zip(&[Entry::new("b.txt", PROGRAM).unlisted()])), &["bounds: is a broken zip archive: it has no directory", "archived_executable: b.txt is an executable"]),
        ("wrong size", zip(&[Entry::method("a.txt", 8, &deflated(b"hei"), 2)]), &["bounds: a.txt has another size than the archive says"]),
        ("absurd size", zip(&[Entry::method("a.txt", 8, &deflated(b"hei"), 0xfff_ffff)]), &["bounds: a.txt has another size than the archive says"]),
        ("not there", end(b"PK\x03\x04".to_vec(), &listed(&Entry::new("a.exe", b"").header(&(String::from("a.exe"), 8, 0)), "a.exe", 999), 1), &["bounds: is a broken zip archive: it lists a member that it does not hold", "archived_executable: a.exe is an executable"]),
        ("miscounted", end(b"PK".to_vec(), b"", 0), &[]),
        ("duplicate names", zip(&[Entry::new("a.txt", b"hei"), Entry::new("a.txt", PROGRAM)]), &["archived_executable: a.txt is an executable"]),
        // Other archives
        ("tar", tar_of(&[tar_member("a.txt", b'0', b"hei"), tar_member("b", b'0', PROGRAM)]), &["archived_executable: b is an executable"]),
        ("tar, long name", tar_of(&[tar_member("L", b'L', b"long/name.exe\0"), tar_member("short", b'0', b"hei")]), &["archived_executable: long/name.exe is an executable"]),
        ("tar, pax", tar_of(&[tar_member("x", b'x', b"21 path=dir/name.exe\n"), tar_member("short", b'0', b"hei")]), &["archived_executable: dir/name.exe is an executable"]),
        ("tar, link", tar_of(&[tar_member("a.txt", b'2', b""), tar_member("b.txt", b'0', b"hei")]), &[]),
        ("tar, negative size", [tar_header("a", &[0xff; 12], b'0'), vec![0; 1024]].concat(), &["bounds: is a broken tar archive: a size makes no sense"]),
        ("tar, absurd size", [tar_header("a.txt", b"77777777777", b'0'), b"hei".to_vec()].concat(), &["bounds: a.txt is broken"]),
        ("tar, two of them", [tar_of(&[tar_member("a", b'0', b"hei")]), tar_of(&[tar_member("b", b'0', PROGRAM)])].concat(), &["archived_executable: b is an executable"]),
        ("tar, broken", [tar_member("a", b'0', b"hei"), vec![7; 512]].concat(), &["bounds: is a broken tar archive: a header makes no sense"]),
        ("gzip", gzip(PROGRAM), &["archived_executable: content is an executable"]),
        ("tar.gz", gzip(&tar_of(&[tar_member("b", b'0', PROGRAM)])), &["archived_executable: tar/b is an executable"]),
        ("gzip, cut", gzip(b"hei hei hei")[..20].to_vec(), &["bounds: content is broken"]),
        ("two gzips", [gzip(&PROGRAM[..2]), gzip(&PROGRAM[2..])].concat(), &["archived_executable: content is an executable"]),
        ("x.bz2", bzip2(PROGRAM), &["archived_executable: x is an executable"]),
        ("x.lzma", octets_of(LZMA), &["archived_executable: x is an executable"]),
        ("x.zz, cut", zlib(&(0..=255).cycle().take(4000).collect::<Vec<u8>>())[..200].to_vec(), &["bounds: content is broken"]),
        ("x.zz", zlib(PROGRAM), &["archived_executable: x is an executable"]),
        ("zlib in a zip", one("a.dat", &zlib(PROGRAM)), &["archived_executable: a.dat/a is an executable"]),
        ("zlib in zlib in …", (0..10).fold(PROGRAM.to_vec(), |it, _| zlib(&it)), &["bounds: content/content/content/content/content/content/content/content is nested too deep"]),
        ("a text that begins like zlib", b"x^2 + y^2".to_vec(), &[]),
        ("octets that begin like zlib", b"x\x9c\xff\xff\xff\xff\0\0".to_vec(), &[]),
        ("octets that begin like LZMA", b"]\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff\x01\x02\x03".to_vec(), &[]),
        ("x.zst", zstandard(PROGRAM), &["archived_executable: x is an executable"]),
        ("7z", seven_zip_of(&[("a.txt", b"hei"), ("b.txt", PROGRAM)]), &["archived_executable: b.txt is an executable"]),
        ("7z, self-extracting", [PROGRAM, &seven_zip_of(&[("b.txt", PROGRAM)])].concat(), &["archived_executable: b.txt is an executable"]),
        ("7z, encrypted", octets_of(SEVEN_ZIP_ENCRYPTED), &["encrypted: a.txt is encrypted"]),
        ("7z, list encrypted", octets_of(SEVEN_ZIP_CLOSED), &["encrypted: is encrypted"]),
        ("7z, broken", b"7z\xbc\xaf\x27\x1c\0\x04 no header".to_vec(), &["bounds: is a broken 7z archive"]),
        ("rar 4", rar4(0, 0, b"a.txt", 0x33, b"x"), &["bounds: a.txt is in a rar archive and cannot be unpacked"]),
        ("rar 4, stored", rar4(0, 0, b"a.txt", 0x30, PROGRAM), &["archived_executable: a.txt is an executable"]),
        ("rar 4, name", rar4(0, 0, b"a.exe", 0x33, b"x"), &["bounds: a.exe is in a rar archive and cannot be unpacked", "archived_executable: a.exe is an executable"]),
        ("rar 4, wide name", rar4(0, 0x200, b"a.txt\0\0\0a.ex\0e", 0x30, b"x"), &["archived_executable: a.exe is an executable"]),
        ("rar 4, encrypted", rar4(0, 4, b"a.txt", 0x33, b"x"), &["encrypted: a.txt is encrypted"]),
        ("rar 4, headers too", rar4(0x80, 4, b"a.txt", 0x33, b"x"), &["encrypted: is encrypted"]),
        ("rar 5", rar5(3, false, "a.exe", b"x"), &["bounds: a.exe is in a rar archive and cannot be unpacked", "archived_executable: a.exe is an executable"]),
        ("rar 5, stored", rar5(0, false, "a.txt", PROGRAM), &["archived_executable: a.txt is an executable"]),
        ("rar 5, encrypted", rar5(3, true, "a.txt", b"x"), &["encrypted: a.txt is encrypted"]),
        ("rar 5, headers too", [b"Rar!\x1a\x07\x01\0".to_vec(), rar5_block(&[4, 0, 0], b"")].concat(), &["encrypted: is encrypted"]),
        ("rar, self-extracting", [PROGRAM, &rar5(0, false, "a.txt", PROGRAM)].concat(), &["archived_executable: a.txt is an executable"]),
        ("rar, cut", rar5(0, false, "a.txt", PROGRAM)[..24].to_vec(), &["bounds: is a broken rar archive"]),
        ("cab, stored", cab(0, &[(PROGRAM.to_vec(), PROGRAM.len())], &[("a.txt", 0, PROGRAM.len())]), &["archived_executable: a.txt is an executable"]),
        ("cab, mszip", cab(1, &[mszip_block(b"hei"), mszip_block(PROGRAM)], &[("a.txt", 0, 3), ("b.txt", 3, PROGRAM.len())]), &["archived_executable: b.txt is an executable"]),
        ("cab, quantum", cab(2, &[(b"x".to_vec(), 1)], &[("a.exe", 0, 1)]), &["archived_executable: a.exe is an executable", "bounds: a.exe is broken"]),
        ("cab, self-extracting", [PROGRAM, &cab(0, &[(PROGRAM.to_vec(), PROGRAM.len())], &[("a.txt", 0, PROGRAM.len())])].concat(), &["archived_executable: a.txt is an executable"]),
        ("iso", iso("A.TXT;1", "a.txt", b"hei"), &[]),
        ("iso, program", iso("A.TXT;1", "a.txt", PROGRAM), &["archived_executable: A.TXT is an executable"]),
        ("iso, names", iso("A.TXT;1", "bill.lnk", b"hei"), &["archived_executable: bill.lnk is an executable"]),
        ("arj", b"\x60\xea\x29\0".to_vec(), &["bounds: is an archive that cannot be looked into"]),
        ("vhd", b"vhdxfile".to_vec(), &["bounds: is a disk image that cannot be looked into"]),
        // Documents
        ("docx", docx(&[("word/document.xml", "<w:document/>")]), &[]),
        ("docm", docx(&[("word/vbaProject.bin", "x")]), &["macros: has macros (VBA)"]),
        ("docm, renamed", zip(&[Entry::new("[Content_Types].xml", b"<Types/>"), Entry::new("word/x.dat", &vba)]), &["macros: word/x.dat has macros (VBA)"]),
        ("docm, by type", zip(&[Entry::new("[Content_Types].xml", b"<Types><Override ContentType='application/vnd.ms-office.vbaProject'/>")]), &["macros: [Content_Types].xml says that the document has macros (VBA)"]),
        ("xlsm", docx(&[("xl/macrosheets/sheet1.xml", "<x/>")]), &["macros: has macros (Excel 4)"]),
        ("template", docx(&[("word/_rels/settings.xml.rels", "<Relationship Type='attachedTemplate' TargetMode='External'/>")]), &["macros: word/_rels/settings.xml.rels has its template from elsewhere"]),
        ("odt", zip(&[Entry::new("Basic/Standard/Module1.xml", b"<x/>")]), &["macros: has macros (OpenDocument)"]),
        ("odt, encrypted", zip(&[Entry::new("META-INF/manifest.xml", b"<manifest:manifest><manifest:encryption-data/>")]), &["encrypted: META-INF/manifest.xml is encrypted"]),
        ("doc", compound(&[("WordDocument", 2, &[0; 40])]), &[]),
        ("doc, macros", compound(&[("Macros", 1, b""), ("WordDocument", 2, &[0; 40])]), &["macros: has macros (VBA)"]),
        ("doc, encrypted", compound(&[("WordDocument", 2, b"\xec\xa5\xc1\0\0\0\0\0\0\0\0\x01")]), &["encrypted: is encrypted"]),
        ("docx, encrypted", compound(&[("EncryptedPackage", 2, b"x"), ("EncryptionInfo", 2, b"x")]), &["encrypted: is encrypted"]),
        ("xls, encrypted", compound(&[("Workbook", 2, &biff(&[(0x809, &[0; 16]), (0x2f, &[0; 6])]))]), &["encrypted: is encrypted"]),
        ("xls, Excel 4", compound(&[("Workbook", 2, &biff(&[(0x809, &[0; 16]), (0x85, &[0, 0, 0, 0, 0, 1, 1, 0, b'M'])]))]), &["macros: has macros (Excel 4)"]),
        ("ppt, encrypted", compound(&[("Current User", 2, b"\0\0\xf6\x0f\x1c\0\0\0\x14\0\0\0\xdf\xc4\xd1\xf3")]), &["encrypted: is encrypted"]),
        ("ppt, macros", compound(&[("PowerPoint Document", 2, &[&[0x10, 0, 0x11, 0x10], (zlib(&vba).len() as u32 + 4).to_le_bytes().as_slice(), &[0; 4], &zlib(&vba)].concat())]), &["macros: object has macros (VBA)"]),
        ("doc, package", compound(&[("\u{1}Ole10Native", 2, &native("bill.exe", PROGRAM))]), &["archived_executable: bill.exe is an executable"]),
        ("doc, broken", [compound::MARK, &[0; 100]].concat(), &["bounds: is a broken compound document"]),
        ("rtf", b"{\\rtf1 hei}".to_vec(), &[]),
        ("rtf, package", format!("{{\\rtf1{{\\object{{\\*\\objdata {}}}}}}}", hex(&ole1("Package", &native("bill.exe", PROGRAM)[4..]))).into_bytes(), &["archived_executable: bill.exe is an executable"]),
        ("rtf, equation", format!("{{\\rtf1{{\\*\\objdata {{\\x}} {}}}}}", hex(&ole1("Equation.3", b"x"))).into_bytes(), &["macros: has an embedded object that runs (equation.)"]),
        ("rtf, compound", format!("{{\\rtf1{{\\*\\objdata {}}}}}", hex(&ole1("Word", &vba))).into_bytes(), &["macros: embedded object has macros (VBA)"]),
        ("pdf", pdf("<< /EncryptMetadata true >>"), &[]),
        ("pdf, encrypted", pdf("<< /Encrypt 5 0 R >>"), &["encrypted: is encrypted"]),
        ("pdf, encrypted, written otherwise", pdf("<< /#45ncrypt 5 0 R >>"), &["encrypted: is encrypted"]),
        ("pdf, embedded", [b"%PDF-1.7\n1 0 obj << /Type /EmbeddedFile /Filter /FlateDecode >>\nstream\r\n".to_vec(), zlib(PROGRAM), b"\nendstream".to_vec()].concat(), &["archived_executable: embedded file is an executable"]),
        ("pdf, file name", pdf("<< /Type /Filespec /F (bill.exe) >>"), &["archived_executable: bill.exe is an executable"]),
        ("winmail.dat", tnef_of("bill.txt", PROGRAM), &["archived_executable: bill.txt is an executable"]),
        ("one", [b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3\xe7\x16\xe3\xbd\x65\x26\x11\x45\xa4\xc4\x8d\x4d\x0b\x7a\x9e\xac".to_vec(), (PROGRAM.len() as u64).to_le_bytes().to_vec(), vec![0; 12], PROGRAM.to_vec()].concat(), &["archived_executable: embedded file is an executable"]),
        ("text", b"hei".to_vec(), &[]),
        ("nothing", Vec::new(), &[]),
    ];
    let mut wrong = Vec::new();
    for (name, bytes, expected) in cases {
        let (findings, members) = found(name, &bytes);
        if findings != expected {
            wrong.push(format!(
                "{name}:\n  {findings:?}\n  {expected:?}\n  {members:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn nested(levels: usize, pack: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    (0..levels).fold(PROGRAM.to_vec(), |inner, _| pack(&inner))
}

fn zeros(length: usize) -> Vec<u8> {
    let mut it = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    for _ in 0..length / 65_536 {
        it.write_all(&[0; 65_536]).unwrap();
    }
    it.finish().unwrap()
}

/// Members that lie over each other: a small file of which each unpacks to much.
fn overlapping(count: u16) -> Vec<u8> {
    let entry = Entry::method("a", 8, &zeros(1 << 20), 1 << 20);
    let header = entry.header(&entry.local);
    let archive = [b"PK\x03\x04".as_slice(), &header, b"a", &entry.data].concat();
    let directory: Vec<u8> = (0..count).flat_map(|_| listed(&header, "a", 0)).collect();
    end(archive, &directory, count)
}

fn many(count: usize, content: &[u8]) -> Vec<u8> {
    let entries: Vec<Entry> = (0..count)
        .map(|at| Entry::stored(&at.to_string(), content))
        .collect();
    zip(&entries)
}

/// LZMA's tables at their largest, for next to nothing.
fn costly() -> Vec<u8> {
    let data = [b"\x09\x14\x05\0\x2c\0\0\0\x02".as_slice(), &[0; 20]].concat();
    let entries: Vec<Entry> = (0..2000)
        .map(|at| Entry::method(&at.to_string(), 14, &data, 100))
        .collect();
    zip(&entries)
}

#[test]
fn the_work_is_bounded() {
    const MIB: usize = 1024 * 1024;
    #[rustfmt::skip]
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("a large member", zip(&[Entry::method("a", 8, &zeros(6 * MIB), 6 * MIB)]), "bounds: a is too large to be looked at whole"),
        ("an absurd ratio", zip(&[Entry::method("a", 12, &bzip2(&vec![0; 3 * MIB]), 3 * MIB)]), "bounds: a unpacks to too many times its size"),
        ("too much in all", zip(&vec![Entry::method("a", 8, &zeros(3 * MIB), 3 * MIB); 3]), "bounds: a unpacks to more than is looked at of one message"),
        ("overlapping", overlapping(50), "bounds: is a zip archive with members that overlap"),
        ("overlapping, in all", overlapping(50), "bounds: a unpacks to more than is looked at of one message"),
        ("many members", many(10_001, b"x"), "bounds: there are more members than are looked at"),
        ("many members of a tar", tar_of(&vec![tar_member("a", b'0', b""); 10_001]), "bounds: there are more members than are looked at"),
        ("100 zips deep", nested(100, |it| one("n.zip", it)), "bounds: n.zip/n.zip/n.zip/n.zip/n.zip/n.zip/n.zip/n.zip is nested too deep"),
        ("100 gzips deep", nested(100, gzip), "is nested too deep"),
        ("100 tars deep", nested(20, |it| tar_of(&[tar_member("n", b'0', it)])), "bounds: n/n/n/n/n/n/n/n is nested too deep"),
        ("empty gzips", gzip(b"").repeat(100_000), "bounds: content is broken"),
        ("empty bzip2s", bzip2(b"").repeat(100_000), "bounds: content is broken"),
        ("costly to begin with", costly(), "bounds: 0 is broken"),
        ("only marks", b"PK\x03\x04".repeat(100_000), "bounds: is a broken zip archive: it has no directory"),
        ("a solid 7z", seven_zip_of(&[("a", &vec![0; 3 * MIB]), ("b", PROGRAM)]), "bounds: a unpacks to too many times its size"),
        ("a large 7z", seven_zip_of(&[("a", &vec![0; 3 * MIB]), ("b.exe", b"x")]), "archived_executable: b.exe is an executable"),
        ("objects without octets", [b"{\\rtf1".as_slice(), &b"\\objdata".repeat(50_000)].concat(), "bounds: has more embedded objects than are looked at"),
    ];
    for (name, bytes, expected) in cases {
        let bounds = Bounds {
            unpacked: 8 * MIB,
            member: 4 * MIB,
            ..Bounds::default()
        };
        let (mut octets, mut members) = (0, 0);
        let findings = look("x", &bytes, &mut Budget::new(bounds), &mut |member| {
            octets += member.bytes.len();
            members += 1;
        });
        let findings: Vec<String> = findings
            .iter()
            .map(|it| format!("{}: {}", it.rule, it.what))
            .collect();
        assert!(
            findings.iter().any(|it| it.contains(expected)),
            "{name}: {findings:?}"
        );
        assert!(octets <= bounds.unpacked, "{name}: {octets} octets");
        assert!(members <= bounds.entries, "{name}: {members} members");
    }
}

#[test]
fn a_budget_is_for_a_whole_message() {
    let mut budget = Budget::new(Bounds {
        unpacked: 3000,
        ..Bounds::default()
    });
    let archive = one("a.txt", &[b'x'; 1000]);
    let mut look = || look("a.zip", &archive, &mut budget, &mut |_| {}).len();
    let found: Vec<usize> = (0..3).map(|_| look()).collect();
    assert_eq!(found, [0, 1, 1]);
}

#[test]
fn of_many_findings_the_first_are_told() {
    let archive = many(1000, PROGRAM);
    let (findings, members) = found("a.zip", &archive);
    assert_eq!((findings.len(), members.len()), (FINDINGS, 1000));
}

#[test]
fn a_member_that_is_not_whole_says_so() {
    let cut = &gzip(b"hei hei hei hei")[..20];
    let mut whole = Vec::new();
    for bytes in [cut, &gzip(b"hei")] {
        look("a.gz", bytes, &mut Budget::default(), &mut |member| {
            whole.push(member.whole)
        });
    }
    assert_eq!(whole, [false, true]);
}

#[test]
fn any_beginning_of_anything_ends() {
    let samples = [
        one("i.zip", &one("a.txt", PROGRAM)),
        seven_zip_of(&[("a.txt", PROGRAM)]),
        rar4(0, 0x200, b"a.txt\0\0\0a.ex\0e", 0x30, PROGRAM),
        rar5(0, true, "a.txt", PROGRAM),
        cab(1, &[mszip_block(PROGRAM)], &[("a.txt", 0, PROGRAM.len())]),
        compound(&[("Ole10Native", 2, &native("bill.exe", PROGRAM))]),
        tnef_of("bill.txt", PROGRAM),
        gzip(&tar_of(&[tar_member("a", b'0', PROGRAM)])),
        bzip2(PROGRAM),
        zstandard(PROGRAM),
    ];
    for whole in samples {
        for length in 0..whole.len() {
            found("x", &whole[..length]);
        }
        // And with any one octet that is another.
        for at in 0..whole.len() {
            let mut other = whole.clone();
            other[at] ^= 0xff;
            found("x", &other);
        }
    }
}
