//! Lists as spreadsheets keep them: CSV (RFC 4180) into rows of text, and back.
//!
//! It decides which separator and which encoding a file is in: programs for spreadsheets write both as the
//! language of the machine has it. It never decides what a cell means. Pure. A file that is no such list is
//! refused with the row. The crates csv and `encoding_rs` live here.

use std::fmt;
use std::io::{self, Write};

use csv::{ReaderBuilder, StringRecord, WriterBuilder};
use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

/// What a spreadsheet takes for the beginning of a formula, full-width ones too.
const FORMULAS: [char; 10] = [
    '=', '+', '-', '@', '\t', '\r', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}',
];
/// What does not hide a formula.
const BEFORE: [char; 4] = [' ', '\n', '\u{a0}', '\u{feff}'];
/// How a cell that would be a formula is written: as text.
const AS_TEXT: char = '\'';
const SEPARATORS: [char; 3] = [',', ';', '\t'];
/// A row of our own below the last one: where it is not read back, it is inside of somebody's quotation marks.
const END: &str = "\u{1}";
/// The first line by which a file names its separator.
const NAMED: &str = "sep=";

/// A list with a head over each column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sheet {
    pub heads: Vec<String>,
    pub rows: Vec<Row>,
    /// It is no Unicode: letters beyond ASCII were read as Western European ones.
    pub is_guessed: bool,
}

/// One row that is not empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// As the spreadsheet counts: the heads are row 1.
    pub number: usize,
    /// As many as it has: it may end before the last column.
    pub cells: Vec<String>,
}

/// Why a file is no list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SheetFault {
    Workbook,
    NoText,
    Empty,
    /// A row with more cells than there are heads.
    TooLong {
        row: usize,
        cells: usize,
        heads: usize,
    },
    /// A cell that begins with a quotation mark and goes on to the end of the file.
    Unclosed {
        row: usize,
    },
    Malformed(String),
}

impl fmt::Display for SheetFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workbook => f.write_str("this is a workbook; save it as CSV (UTF-8) first"),
            Self::NoText => f.write_str("this is no text; save the list as CSV (UTF-8) first"),
            Self::Empty => {
                f.write_str("there is nothing in it; row 1 has the heads of the columns")
            }
            Self::TooLong { row, cells, heads } => write!(
                f,
                "row {row}: {cells} cells under {heads} heads; is there a separator too many?"
            ),
            Self::Unclosed { row } => write!(
                f,
                "row {row}: a quotation mark is opened here and never closed, so that all rows below it are in one cell"
            ),
            Self::Malformed(why) => f.write_str(why),
        }
    }
}

/// Reads a list. Cells are without the space around them.
pub fn read(bytes: &[u8]) -> Result<Sheet, Vec<SheetFault>> {
    let (mut rows, is_guessed) = all_rows(bytes).map_err(|fault| vec![fault])?;
    let mut heads = rows.remove(0).cells;
    while heads.last().is_some_and(String::is_empty) {
        heads.pop();
    }
    let faults = rows
        .iter_mut()
        .filter_map(|row| fit(row, heads.len()).err());
    let faults: Vec<_> = faults.collect();
    match faults.is_empty() {
        true => Ok(Sheet {
            heads,
            rows,
            is_guessed,
        }),
        false => Err(faults),
    }
}

/// One row at least, and whether their encoding was guessed.
fn all_rows(bytes: &[u8]) -> Result<(Vec<Row>, bool), SheetFault> {
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"\xd0\xcf\x11\xe0") {
        return Err(SheetFault::Workbook);
    }
    let (text, is_guessed) = decoded(bytes)?;
    let (separator, text) = separated(&text);
    let rows = rows(text, separator)?;
    match rows.is_empty() {
        true => Err(SheetFault::Empty),
        false => Ok((rows, is_guessed)),
    }
}

fn decoded(bytes: &[u8]) -> Result<(String, bool), SheetFault> {
    let encoding = match Encoding::for_bom(bytes) {
        Some((encoding, _)) => encoding,
        None if std::str::from_utf8(bytes).is_ok() => UTF_8,
        None => WINDOWS_1252,
    };
    let (text, _, is_broken) = encoding.decode(bytes);
    match is_broken || text.contains('\0') {
        true => Err(SheetFault::NoText),
        false => {
            let text = text.replace("\r\n", "\n").replace('\r', "\n");
            Ok((text, encoding == WINDOWS_1252))
        }
    }
}

/// What stands between the cells: as the file says, or what most of the first line is separated by.
fn separated(text: &str) -> (char, &str) {
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let named = first.trim_end().strip_prefix(NAMED);
    if let Some(separator) = named
        .and_then(|it| it.chars().next())
        .filter(char::is_ascii)
    {
        return (separator, rest);
    }
    let mut is_quoted = false;
    let mut counts = SEPARATORS.map(|it| (0, it));
    for c in first.chars() {
        is_quoted ^= c == '"';
        if let Some(count) = counts.iter_mut().find(|it| it.1 == c && !is_quoted) {
            count.0 += 1;
        }
    }
    // Of equals, the first: a comma.
    let most = counts.iter().rev().max_by_key(|it| it.0);
    (most.map_or(',', |it| it.1), text)
}

fn rows(text: &str, separator: char) -> Result<Vec<Row>, SheetFault> {
    let text = format!("{text}\n{END}");
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(u8::try_from(separator).unwrap_or(b','))
        .from_reader(text.as_bytes());
    let mut record = StringRecord::new();
    let (mut rows, mut number, mut seen) = (Vec::new(), 0, 0);
    while read_row(&mut reader, &mut record)? {
        // Empty rows before it are passed over, and count.
        let rest = text.get(seen..).unwrap_or_default();
        number += 1 + rest.len() - rest.trim_start_matches('\n').len();
        seen = usize::try_from(reader.position().byte()).unwrap_or(usize::MAX);
        if record.iter().eq([END]) {
            return Ok(rows);
        }
        let cells = cells(&record);
        if cells.iter().any(|it| !it.is_empty()) {
            rows.push(Row { number, cells });
        }
    }
    Err(SheetFault::Unclosed { row: number })
}

fn read_row(
    reader: &mut csv::Reader<&[u8]>,
    record: &mut StringRecord,
) -> Result<bool, SheetFault> {
    let fault = |it: csv::Error| SheetFault::Malformed(it.to_string());
    reader.read_record(record).map_err(fault)
}

fn cells(record: &StringRecord) -> Vec<String> {
    let cell = |text: &str| {
        let text = text.trim();
        let meant = text.strip_prefix(AS_TEXT).filter(|it| needs_mark(it));
        meant.unwrap_or(text).trim().to_owned()
    };
    record.iter().map(cell).collect()
}

/// No more cells than heads: empty ones beyond are nothing. Fewer are none of the others.
fn fit(row: &mut Row, heads: usize) -> Result<(), SheetFault> {
    let beyond = row.cells.iter().skip(heads).any(|it| !it.is_empty());
    if beyond {
        return Err(SheetFault::TooLong {
            row: row.number,
            cells: row.cells.len(),
            heads,
        });
    }
    row.cells.truncate(heads);
    Ok(())
}

/// Writes a list, with a line of heads. No cell of it is a formula to a spreadsheet.
pub fn write(
    out: impl Write,
    separator: Separator,
    heads: &[&str],
    mut rows: impl Iterator<Item = Vec<String>>,
) -> io::Result<()> {
    let mut sheet = Writing::begin(out, separator, heads)?;
    rows.try_for_each(|row| sheet.row(&row))?;
    sheet.end().map(drop)
}

/// A list that is written row by row, however long it gets.
#[derive(Debug)]
pub struct Writing<W: Write>(csv::Writer<W>);

impl<W: Write> Writing<W> {
    pub fn begin(out: W, separator: Separator, heads: &[&str]) -> io::Result<Self> {
        let mut out = WriterBuilder::new()
            .delimiter(separator.byte())
            .terminator(csv::Terminator::CRLF)
            .from_writer(out);
        out.write_record(heads).map_err(trouble)?;
        Ok(Self(out))
    }

    pub fn row(&mut self, cells: &[String]) -> io::Result<()> {
        let cells = cells.iter().map(|cell| as_text(cell));
        self.0.write_record(cells).map_err(trouble)
    }

    /// All of it is written; gives back where to.
    pub fn end(mut self) -> io::Result<W> {
        // Trouble in giving it back has lost its words.
        self.0.flush()?;
        self.0
            .into_inner()
            .map_err(|fault| io::Error::from(fault.error().kind()))
    }
}

/// Nobody listening any more stays what it is.
fn trouble(fault: csv::Error) -> io::Error {
    match fault.into_kind() {
        csv::ErrorKind::Io(fault) => fault,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// What is written between the cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Separator {
    Comma,
    /// What spreadsheets take in languages with a decimal comma.
    Semicolon,
}

impl Separator {
    const fn byte(self) -> u8 {
        match self {
            Self::Comma => b',',
            Self::Semicolon => b';',
        }
    }
}

/// Whether it is a formula, or one that is marked as text already.
fn needs_mark(cell: &str) -> bool {
    let seen = cell.trim_start_matches(AS_TEXT);
    seen.trim_start_matches(BEFORE).starts_with(FORMULAS)
}

/// What came from outside, so that no part of it is a formula where a spreadsheet takes semicolons for what stands
/// between the cells, as it does in Norway, whatever the file has.
pub fn in_one_cell(text: &str) -> String {
    const HIDES_NOTHING: [char; 5] = [' ', '"', '\n', '\u{a0}', '\u{feff}'];
    let mut parts = text.split(';');
    let mut safe = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        safe.push(';');
        if part.trim_start_matches(HIDES_NOTHING).starts_with(FORMULAS) {
            safe.push(AS_TEXT);
        }
        safe.push_str(part);
    }
    safe
}

fn as_text(cell: &str) -> String {
    match needs_mark(cell) {
        true => format!("{AS_TEXT}{cell}"),
        false => cell.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(separator: Separator, cells: &[&str]) -> String {
        let mut out = Vec::new();
        let row = cells.iter().map(|&it| it.to_owned()).collect();
        let heads = if cells.len() == 1 {
            &["a"][..]
        } else {
            &["a", "b"]
        };
        write(&mut out, separator, heads, std::iter::once(row)).unwrap_or_default();
        String::from_utf8(out).unwrap_or_default()
    }

    #[test]
    fn a_cell_is_text_and_nothing_else() {
        for (text, cell) in [
            ("", "\"\""),
            ("epikrise.pdf", "epikrise.pdf"),
            ("a, b", "\"a, b\""),
            ("say \"hei\"", "\"say \"\"hei\"\"\""),
            ("a\r\nb", "\"a\r\nb\""),
            ("=1+1", "'=1+1"),
            ("+47", "'+47"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            (" =1", "' =1"),
            ("\n=1", "\"'\n=1\""),
            ("\t=1", "'\t=1"),
            ("\u{ff1d}1", "'\u{ff1d}1"),
            ("<>", "<>"),
            ("a=b", "a=b"),
        ] {
            let all = written(Separator::Comma, &[text]);
            assert_eq!(all, format!("a\r\n{cell}\r\n"), "{text:?}");
        }
        assert_eq!(
            written(Separator::Semicolon, &["a;b", "c,d"]),
            "a;b\r\n\"a;b\";c,d\r\n"
        );
    }

    fn told(bytes: &[u8]) -> String {
        match read(bytes) {
            Ok(sheet) => {
                let rows = sheet.rows.iter();
                let rows = rows.map(|it| format!("{}:{}", it.number, it.cells.join("|")));
                let all: Vec<_> = [sheet.heads.join("|")].into_iter().chain(rows).collect();
                all.join(" / ")
            }
            Err(faults) => faults
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("; "),
        }
    }

    #[test]
    fn a_list_is_read_however_the_machine_writes_it() {
        let utf16: Vec<u8> = "\u{feff}id\tname\r\na\t\u{d8}st\r\n"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        for (bytes, expected) in [
            (&b"id,name\na,b\n"[..], "id|name / 2:a|b"),
            (b"id;name\r\na;b,c\r\n", "id|name / 2:a|b,c"),
            (b"id\tname\na\tb", "id|name / 2:a|b"),
            (b"sep=;\r\nid;name,x\r\na;b\r\n", "id|name,x / 2:a|b"),
            (
                "\u{feff}id,name\na,\u{d8}st\n".as_bytes(),
                "id|name / 2:a|\u{d8}st",
            ),
            (b"id,name\na,\xd8st\n", "id|name / 2:a|\u{d8}st"),
            (&utf16, "id|name / 2:a|\u{d8}st"),
            (b"id\na\n", "id / 2:a"),
            (b"id,name\n\n , \na,b\n", "id|name / 4:a|b"),
            (b"id,name\n\"a\nb\",c\nd,e\n", "id|name / 2:a\nb|c / 3:d|e"),
            (b"id,name,,\na,b,,\nc\n", "id|name / 2:a|b / 3:c"),
            (b"id,name\n '+47 1 ,\xc2\xa0b\n", "id|name / 2:+47 1|b"),
            (b"id,name\n'quoted',it's\n", "id|name / 2:'quoted'|it's"),
            (b"\"a;b;c\",d\n1,2\n", "a;b;c|d / 2:1|2"),
        ] {
            assert_eq!(
                told(bytes),
                expected,
                "{:?}",
                String::from_utf8_lossy(bytes)
            );
        }
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for (bytes, expected) in [
            (
                &b""[..],
                "there is nothing in it; row 1 has the heads of the columns",
            ),
            (
                b"\n \n",
                "there is nothing in it; row 1 has the heads of the columns",
            ),
            (
                b"PK\x03\x04...",
                "this is a workbook; save it as CSV (UTF-8) first",
            ),
            (
                b"id\0name\n",
                "this is no text; save the list as CSV (UTF-8) first",
            ),
            (
                b"id,name\na,b\nc,d,e\n\nf,g,,h\n",
                "row 3: 3 cells under 2 heads; is there a separator too many?; \
                 row 5: 4 cells under 2 heads; is there a separator too many?",
            ),
            (
                b"id,name\na,5\" disc\nb,\"c\nd,e\n",
                "row 3: a quotation mark is opened here and never closed, so that all rows below it are in one cell",
            ),
        ] {
            assert_eq!(
                told(bytes),
                expected,
                "{:?}",
                String::from_utf8_lossy(bytes)
            );
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let cells = [
            "+47 00 00",
            "a, \"b\"\nc",
            "=x",
            "'=x",
            "\u{e6}\u{f8}\u{e5}",
            "",
            "-",
        ];
        for separator in [Separator::Comma, Separator::Semicolon] {
            let mut out = Vec::new();
            let row: Vec<String> = cells.iter().map(|&it| it.to_owned()).collect();
            write(&mut out, separator, &cells, std::iter::once(row.clone())).unwrap_or_default();
            let rows = read(&out).map(|sheet| sheet.rows).unwrap_or_default();
            assert_eq!(rows.len(), 1, "{separator:?}");
            assert_eq!(rows.first().map(|it| &it.cells), Some(&row));
        }
    }
}
