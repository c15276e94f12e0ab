//! Everything that Ilbud ever says to a client, and what a next hop said to us.
//!
//! One table: each reply is a function named by its meaning, with the RFC section beside it. The
//! class digit of the enhanced code (RFC 3463) is computed from the basic code, so that the two
//! cannot disagree. Numbers stand here and in `delivery::outcome`, nowhere else. A fault of ours is
//! a 4xx, always. Text that came from outside is shortened and made harmless before it is said.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::time::Duration;

use super::{
    Address, Certificate, Counted, Doubt, Lapse, Lapses, OverLimit, Priority, Reference, RoomId,
};

/// A line on the wire, CRLF included (RFC 5321 §4.5.3.1.5).
const LINE: usize = 512;
/// `250-5.777.111 ` and CRLF: subject and detail are at most three digits (RFC 3463 §2).
const OVERHEAD: usize = 16;
/// Room for ` K7F3-2QXM-9A1B`.
const REFERENCE: usize = 15;
/// As much of a client's own text as we say back.
const ECHO: usize = 254;

/// One reply, on one or more lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    /// Subject and detail of the enhanced code, without the class (RFC 3463 §2): `(7, 1)`.
    /// `None` in greetings, EHLO and 354, which carry none (RFC 2034 §4).
    pub enhanced: Option<(u16, u16)>,
    /// Lines of text, the reference not among them.
    pub lines: Vec<String>,
    /// Said last on the last line (product.md, promise 8).
    pub reference: Option<Reference>,
}

impl Reply {
    fn new(code: u16, enhanced: (u16, u16), text: impl Into<String>) -> Self {
        Self {
            code,
            enhanced: Some(enhanced),
            lines: vec![text.into()],
            reference: None,
        }
    }

    fn plain(code: u16, lines: Vec<String>) -> Self {
        Self {
            code,
            enhanced: None,
            lines,
            reference: None,
        }
    }

    /// The same reply, ending with this reference.
    #[must_use]
    pub fn with_reference(self, reference: Reference) -> Self {
        Self {
            reference: Some(reference),
            ..self
        }
    }

    /// The same reply, saying one thing more.
    #[must_use]
    pub fn adding(mut self, line: String) -> Self {
        self.lines.push(line);
        self
    }

    /// RFC 5321 §4.2.1: worth another attempt.
    pub const fn is_temporary(&self) -> bool {
        self.code >= 400 && self.code < 500
    }

    /// For a client that did not ask for UTF-8 (RFC 5321 §4.2): Norwegian letters as people write
    /// them without, others as question marks.
    pub fn in_ascii(mut self) -> Self {
        for line in self.lines.iter_mut().filter(|line| !line.is_ascii()) {
            *line = line.chars().map(ascii_twin).collect();
        }
        self
    }

    /// `5.7.1`: class computed from the code.
    pub fn enhanced_code(&self) -> Option<String> {
        self.enhanced
            .map(|(subject, detail)| format!("{}.{subject}.{detail}", self.code / 100))
    }

    /// As bytes on the wire, each line at most 512 octets with its CRLF (RFC 5321 §4.5.3.1.5) and
    /// with the enhanced code (RFC 2034 §4).
    pub fn wire(&self) -> Vec<u8> {
        let texts = self.folded(LINE - OVERHEAD - REFERENCE);
        let last = texts.len().saturating_sub(1);
        let mut wire = String::with_capacity(LINE / 4 * texts.len());
        for (number, text) in texts.iter().enumerate() {
            let mark = if number == last { ' ' } else { '-' };
            let _ = write!(wire, "{}{mark}", self.code);
            if let Some((subject, detail)) = self.enhanced {
                let _ = write!(wire, "{}.{subject}.{detail} ", self.code / 100);
            }
            wire.push_str(text);
            if let Some(reference) = self.reference.filter(|_| number == last) {
                let _ = write!(wire, " {reference}");
            }
            wire.push_str("\r\n");
        }
        wire.into_bytes()
    }

    /// The lines as said: harmless, at most `width` octets each, at least one.
    fn folded(&self, width: usize) -> Vec<Cow<'_, str>> {
        let mut folded = Vec::with_capacity(self.lines.len());
        for line in &self.lines {
            match clean(line) {
                short if short.len() <= width => folded.push(short),
                long => fold(&long, width, &mut folded),
            }
        }
        if folded.is_empty() {
            folded.push(Cow::Borrowed(""));
        }
        folded
    }
}

/// As one line of text, for the log: `550 5.7.1 … K7F3-2QXM-9A1B`.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some((subject, detail)) = self.enhanced {
            write!(f, " {}.{subject}.{detail}", self.code / 100)?;
        }
        for line in self.lines.iter().filter(|line| !line.is_empty()) {
            write!(f, " {}", clean(line))?;
        }
        match self.reference {
            Some(reference) => write!(f, " {reference}"),
            None => Ok(()),
        }
    }
}

/// The text without what could end a line or confuse a terminal: control characters become `?`.
pub fn harmless(text: &str) -> String {
    clean(text).into_owned()
}

/// A reply without what differs from message to message: addresses, and words that mix letters and
/// digits, as the names that servers give to messages do.
pub fn gist(reply: &str) -> String {
    const ENOUGH: usize = 160;
    let words = reply.split_whitespace();
    let words = words.map(|word| if is_a_name(word) { "…" } else { word });
    let words: Vec<&str> = words.collect();
    words.join(" ").chars().take(ENOUGH).collect()
}

fn is_a_name(word: &str) -> bool {
    const SHORTEST: usize = 7;
    let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    word.contains('@')
        || (bare.len() >= SHORTEST
            && bare.chars().all(plain)
            && bare.bytes().any(|octet| octet.is_ascii_digit())
            && bare.bytes().any(|octet| octet.is_ascii_alphabetic()))
}

fn clean(text: &str) -> Cow<'_, str> {
    let is_harmful = |c: char| c.is_control() || is_invisible(c);
    if text.chars().any(is_harmful) {
        Cow::Owned(text.replace(is_harmful, "?"))
    } else {
        Cow::Borrowed(text)
    }
}

/// Line separators and marks that turn the reading direction.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Rounded up, and never nothing.
fn whole_seconds(wait: Duration) -> u64 {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    seconds.max(1)
}

/// `20 s`, `8 min`, `3 h`: rounded up, so that whoever waits for that long comes in time.
fn in_words(wait: Duration) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    match whole_seconds(wait) {
        seconds if seconds < 2 * MINUTE => format!("{seconds} s"),
        seconds if seconds < 2 * HOUR => format!("{} min", seconds.div_ceil(MINUTE)),
        seconds => format!("{} h", seconds.div_ceil(HOUR)),
    }
}

/// What is added to a 250 where a room warns of something.
fn soon_refused(lapses: Lapses) -> String {
    if lapses.is_empty() {
        return String::new();
    }
    let phrases: Vec<&str> = lapses.iter().map(Lapse::phrase).collect();
    let phrases = phrases.join(", ");
    format!(", but soon refused ({phrases}): call the service desk")
}

/// A client's own text, as much of it as is worth saying back.
fn echo(text: &str) -> String {
    let end = text.floor_char_boundary(ECHO);
    match text.get(..end) {
        Some(start) if end < text.len() => format!("{start}…"),
        _ => text.to_owned(),
    }
}

/// Breaks a line into pieces of at most `width` octets, at spaces where there are any.
fn fold(line: &str, width: usize, folded: &mut Vec<Cow<'_, str>>) {
    let mut rest = line;
    while rest.len() > width {
        let (piece, after) = rest.split_at(rest.floor_char_boundary(width));
        let end = piece.rfind(' ').filter(|at| *at > 0);
        let (piece, kept) = end.map_or((piece, ""), |at| piece.split_at(at));
        folded.push(Cow::Owned(piece.to_owned()));
        rest = rest
            .get(rest.len() - after.len() - kept.len()..)
            .unwrap_or_default()
            .trim_start_matches(' ');
    }
    folded.push(Cow::Owned(rest.to_owned()));
}

/// What the session says on its way. None of these refuses anything.
impl Reply {
    /// RFC 5321 §4.2: the first word after the code is our domain.
    pub fn greeting(hostname: &str) -> Self {
        Self::plain(220, vec![format!("{hostname} ESMTP Ilbud")])
    }

    /// The answer to HELO.
    pub fn hello(hostname: &str, client: &str) -> Self {
        Self::plain(250, vec![format!("{hostname} greets {}", echo(client))])
    }

    /// The answer to EHLO, an extension a line (RFC 5321 §4.1.1.1).
    pub fn extensions(hostname: &str, client: &str, extensions: Vec<String>) -> Self {
        let mut lines = vec![format!("{hostname} greets {}", echo(client))];
        lines.extend(extensions);
        Self::plain(250, lines)
    }

    /// RFC 3207 §4.
    pub fn ready_for_tls() -> Self {
        Self::new(220, (0, 0), "Ready to start TLS")
    }

    /// RFC 4954 §4: what the mechanism asks, in base64. Carries no enhanced code.
    pub fn challenge(base64: String) -> Self {
        Self::plain(334, vec![base64])
    }

    pub fn logged_in() -> Self {
        Self::new(235, (7, 0), "Logged in")
    }

    pub fn sender_ok() -> Self {
        Self::new(250, (1, 0), "Sender OK")
    }

    /// RFC 6710 §4.1: the text begins with the priority that is given instead.
    pub fn priority_lowered(granted: Priority) -> Self {
        Self::new(
            250,
            (3, 6),
            format!(
                "{granted} is the priority it has, the most that your room or gateway may ask for; sender OK"
            ),
        )
    }

    /// The same, with what the room of the client will refuse one day.
    #[must_use]
    pub fn warning_of(mut self, lapses: Lapses) -> Self {
        if let Some(line) = self.lines.last_mut() {
            line.push_str(&soon_refused(lapses));
        }
        self
    }

    pub fn recipient_ok() -> Self {
        Self::new(250, (1, 5), "Recipient OK")
    }

    /// A group: `members` recipients stand for it.
    pub fn group_ok(members: usize) -> Self {
        Self::new(250, (1, 5), format!("Group OK, {members} recipients"))
    }

    /// RFC 5321 §4.1.1.4.
    pub fn send_data() -> Self {
        Self::plain(
            354,
            vec!["Send the message, end it with <CRLF>.<CRLF>".into()],
        )
    }

    /// RFC 3030 §2: a chunk, not the last.
    pub fn chunk_ok(octets: u64) -> Self {
        Self::new(
            250,
            (0, 0),
            format!("{octets} octets taken, send the next chunk"),
        )
    }

    /// The promise. Said only on the strength of a receipt. `warned`: what the room of the client will
    /// refuse one day, and it has not been told yet.
    pub fn kept(warned: Lapses) -> Self {
        let but = soon_refused(warned);
        let text = format!("Message accepted and kept safely{but}. Reference:");
        Self::new(250, (0, 0), text)
    }

    pub fn reset() -> Self {
        Self::new(250, (0, 0), "Start again")
    }

    pub fn noop() -> Self {
        Self::new(250, (0, 0), "OK")
    }

    /// RFC 5321 §3.5.3: 252 gives nothing away.
    pub fn not_verified() -> Self {
        Self::new(
            252,
            (0, 0),
            "Not verified here; send the message and it will be told",
        )
    }

    pub fn help() -> Self {
        let mut reply = Self::new(
            214,
            (0, 0),
            "Ilbud relays mail between registered control rooms.",
        );
        reply.lines.push(
            "Commands: EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP STARTTLS AUTH QUIT".into(),
        );
        reply.lines.push("Every answer to MAIL, RCPT, DATA and BDAT ends with a reference; give it to the service desk.".into());
        reply
    }

    pub fn bye(hostname: &str) -> Self {
        Self::new(221, (0, 0), format!("{hostname} closes the connection"))
    }
}

/// Commands that make no sense (RFC 5321 §4.2.4, RFC 2034, RFC 5248).
impl Reply {
    pub fn unknown_command() -> Self {
        Self::new(500, (5, 1), "Command not known")
    }

    /// RFC 5321 §4.5.3.1.4: over the limit of the line.
    pub fn line_too_long() -> Self {
        Self::new(500, (5, 2), "Line too long")
    }

    /// NUL, a control character, a bare CR or LF, or bytes that are no UTF-8.
    pub fn bad_character() -> Self {
        Self::new(
            500,
            (5, 2),
            "Control characters, a line end that is not CRLF, or text that is not UTF-8",
        )
    }

    pub fn syntax(usage: &str) -> Self {
        Self::new(501, (5, 4), format!("Syntax: {usage}"))
    }

    /// Between `<` and `>` stands no sender address.
    pub fn sender_syntax(sender: &str, why: &str) -> Self {
        Self::new(
            501,
            (1, 7),
            format!("Sender address <{}>: {why}", echo(sender)),
        )
    }

    /// Between `<` and `>` stands no recipient address.
    pub fn recipient_syntax(recipient: &str, why: &str) -> Self {
        Self::new(
            501,
            (1, 3),
            format!("Recipient address <{}>: {why}", echo(recipient)),
        )
    }

    pub fn not_implemented() -> Self {
        Self::new(502, (5, 1), "Command not available here")
    }

    pub fn hello_first() -> Self {
        Self::new(503, (5, 1), "Say EHLO first")
    }

    pub fn mail_first() -> Self {
        Self::new(503, (5, 1), "Say MAIL FROM first")
    }

    pub fn mail_already() -> Self {
        Self::new(
            503,
            (5, 1),
            "A message is under way; send it or say RSET first",
        )
    }

    pub fn recipients_first() -> Self {
        Self::new(503, (5, 1), "Say RCPT TO first")
    }

    /// DATA or BDAT after every recipient was refused (RFC 5321 §3.3, RFC 2920 §3.1).
    pub fn no_valid_recipients() -> Self {
        Self::new(554, (5, 1), "No recipient was accepted; nothing was sent")
    }

    /// DATA within a message begun with BDAT (RFC 3030 §2).
    pub fn chunks_only() -> Self {
        Self::new(
            503,
            (5, 1),
            "This message is being sent with BDAT; end it with BDAT LAST or say RSET",
        )
    }

    /// A chunk of a message that was refused already; its octets were read and thrown away.
    pub fn chunk_refused() -> Self {
        Self::new(
            503,
            (5, 1),
            "The message was refused; the chunk was thrown away. Say RSET",
        )
    }

    /// RFC 4954 §4: once in a session.
    pub fn login_already() -> Self {
        Self::new(503, (5, 1), "Logged in already")
    }

    /// RFC 4954 §4.
    pub fn unknown_mechanism() -> Self {
        Self::new(
            504,
            (5, 4),
            "Mechanism not available here; see the answer to EHLO",
        )
    }

    /// RFC 4954 §4: AUTH is never taken in plain text, and there is no TLS here.
    pub fn login_needs_tls() -> Self {
        Self::new(538, (7, 11), "AUTH needs TLS, which is not offered here")
    }

    /// RFC 4954 §4: the client said `*`.
    pub fn login_cancelled() -> Self {
        Self::new(501, (7, 0), "Login cancelled")
    }

    /// RFC 4954 §4: no base64, or nothing that the mechanism could mean.
    pub fn login_unreadable() -> Self {
        Self::new(501, (5, 2), "The mechanism's answer cannot be read")
    }

    /// RFC 4954 §4, §6.
    pub fn login_line_too_long() -> Self {
        Self::new(500, (5, 6), "Line of a login too long")
    }

    pub fn tls_already() -> Self {
        Self::new(503, (5, 1), "TLS is already in use")
    }

    pub fn tls_not_offered() -> Self {
        Self::new(502, (5, 1), "TLS is not offered here")
    }

    /// RFC 5321 §4.1.1.11.
    pub fn unknown_parameter(parameter: &str) -> Self {
        Self::new(
            555,
            (5, 4),
            format!("Parameter not known: {}", echo(parameter)),
        )
    }

    /// RFC 6531 §3.5: an internationalized address without SMTPUTF8.
    pub fn needs_smtputf8(address: &str) -> Self {
        Self::new(
            553,
            (6, 7),
            format!(
                "<{}> needs the parameter SMTPUTF8 at MAIL FROM",
                echo(address)
            ),
        )
    }
}

/// What policy refuses. All permanent, all naming what to do instead.
impl Reply {
    /// Promise 2: nothing leaves.
    pub fn external_recipient(recipient: &str) -> Self {
        Self::new(
            550,
            (7, 1),
            format!(
                "<{}> is outside: only registered control rooms are served, mail never leaves",
                echo(recipient)
            ),
        )
    }

    /// A source route, `%` or `!`: refused even when it ends in a room.
    pub fn routed_recipient(recipient: &str) -> Self {
        Self::new(
            550,
            (7, 1),
            format!(
                "<{}> names a route: write the control room's plain address; only registered control rooms are served",
                echo(recipient)
            ),
        )
    }

    pub fn unknown_mailbox(recipient: &str, nearest: Option<&Address>) -> Self {
        let mut text = format!("<{}> does not exist in this control room", echo(recipient));
        if let Some(nearest) = nearest {
            let _ = write!(text, "; did you mean <{nearest}>?");
        }
        Self::new(550, (1, 1), text)
    }

    /// `<postmaster>` while the setting `postmaster` is empty.
    pub fn no_postmaster() -> Self {
        Self::new(
            550,
            (1, 1),
            "<postmaster>: no postmaster is set on this relay; call the service desk",
        )
    }

    /// MAIL FROM of a workstation names another room, or nobody's address.
    pub fn sender_not_of_room(sender: &str, room: &RoomId) -> Self {
        Self::new(
            550,
            (7, 1),
            format!(
                "<{}> is not an address of {room}, the room of this workstation; send as your own room",
                echo(sender)
            ),
        )
    }

    /// A gateway brought mail in the name of a room.
    pub fn sender_of_room_from_gateway(sender: &str, gateway: &str) -> Self {
        Self::new(
            550,
            (7, 1),
            format!(
                "<{}> belongs to a control room or to this relay and cannot come in through gateway {}",
                echo(sender),
                echo(gateway)
            ),
        )
    }

    /// The sender's address is one that no answer could reach (a route, a literal …).
    pub fn sender_not_taken(sender: &str, why: &str) -> Self {
        Self::new(
            550,
            (7, 1),
            format!("Sender <{}> is not taken: {why}", echo(sender)),
        )
    }

    pub fn not_accepted_by_room(recipient: &str, room: &str, phone: Option<&str>) -> Self {
        let mut text = format!(
            "<{}>: {room} does not accept mail from your room",
            echo(recipient)
        );
        if let Some(phone) = phone {
            let _ = write!(text, "; call {phone}");
        }
        Self::new(550, (7, 1), text)
    }

    /// RFC 3463 §3.3, X.2.1: the mailbox is there, and takes no mail for now.
    pub fn room_disabled(recipient: &str, room: &str, phone: Option<&str>) -> Self {
        let mut text = format!("<{}>: {room} takes no mail at the moment", echo(recipient));
        if let Some(phone) = phone {
            let _ = write!(text, "; call {phone} instead");
        }
        Self::new(550, (2, 1), text)
    }

    /// One member of a group refuses the sender; the others get the message. Never said, only noted.
    pub fn left_out_of_group(member: &str, group: &str) -> Self {
        Self::new(
            550,
            (7, 1),
            format!(
                "<{}>: left out of <{}>, since the room does not accept this mail",
                echo(member),
                echo(group)
            ),
        )
    }

    /// Every member of a group refuses the sender.
    pub fn not_accepted_by_group(group: &str) -> Self {
        Self::new(
            550,
            (7, 1),
            format!("<{}>: no room in this group accepts this mail", echo(group)),
        )
    }

    /// The From field names a mailbox that is not of the sender's room.
    pub fn author_not_of_room(field: &str, author: &str, room: &RoomId) -> Self {
        Self::new(
            550,
            (7, 1),
            format!(
                "The {field} field names <{}>, which is not an address of {room}; send as your own room",
                echo(author)
            ),
        )
    }

    /// Such a field of a message from a gateway names a room's mailbox.
    pub fn author_of_room_from_gateway(field: &str, author: &str, gateway: &str) -> Self {
        Self::new(
            550,
            (7, 1),
            format!(
                "The {field} field names <{}> of a control room or of this relay, which cannot come in through gateway {}",
                echo(author),
                echo(gateway)
            ),
        )
    }

    pub fn author_missing() -> Self {
        Self::new(
            550,
            (7, 1),
            "The message has no From field (or it comes after the first empty line)",
        )
    }

    pub fn author_doubled(field: &str) -> Self {
        Self::new(
            550,
            (7, 1),
            format!("The message has more than one {field} field; only one is allowed"),
        )
    }

    pub fn author_several(field: &str) -> Self {
        Self::new(
            550,
            (7, 1),
            format!("The {field} field names more than one mailbox; only one is allowed"),
        )
    }

    pub fn author_unclear(field: &str) -> Self {
        Self::new(
            550,
            (7, 1),
            format!("The {field} field names no mailbox that can be read without doubt"),
        )
    }

    pub fn unknown_workstation(client: IpAddr) -> Self {
        Self::new(
            550,
            (7, 1),
            format!("{client} is not a registered workstation; call the service desk"),
        )
    }

    /// An unknown workstation that could still start TLS or authenticate (RFC 4954 §6).
    pub fn identify_first(client: IpAddr, how: &str) -> Self {
        Self::new(
            530,
            (7, 0),
            format!("{client} is not a registered workstation; identify it first ({how})"),
        )
    }

    /// What a refusal may be due to; a line of it.
    pub fn certificate_proves_nothing(certificate: &Certificate, doubt: &Doubt) -> String {
        format!(
            "Your certificate {} {doubt}",
            echo(&certificate.to_string())
        )
    }

    /// Logged in, and no line of the table has that user.
    pub fn user_of_no_room(user: &str) -> Self {
        Self::new(
            550,
            (7, 1),
            format!(
                "User {} is no workstation of a control room; call the service desk",
                echo(user)
            ),
        )
    }

    /// RFC 3207 §4: a room that takes nothing from its workstations in plain text.
    pub fn room_needs_tls(room: &RoomId) -> Self {
        Self::new(
            530,
            (7, 0),
            format!("{room} sends over TLS only; say STARTTLS first"),
        )
    }

    /// The same, where STARTTLS is not offered.
    pub fn room_needs_tls_elsewhere(room: &RoomId) -> Self {
        Self::new(
            550,
            (7, 1),
            format!("{room} sends over TLS only, which is not offered here; call the service desk"),
        )
    }

    /// RFC 3207 §4: a listener that requires TLS.
    pub fn tls_first() -> Self {
        Self::new(530, (7, 0), "Say STARTTLS first")
    }

    /// RFC 4954 §4: nothing else is said, whatever was wrong.
    pub fn login_refused() -> Self {
        Self::new(535, (7, 8), "User name or password not right")
    }

    /// `found` names malware and attachment: `Eicar-Test-Signature in invoice.zip`.
    pub fn malware(found: &str) -> Self {
        let words = format!("Malware found; the message was not sent: {}", echo(found));
        Self::new(550, (7, 1), words)
    }

    /// While an outbreak lasts. `found` names what is blocked, and what of the message it is.
    pub fn blocked(found: &str) -> Self {
        let words = format!(
            "The message was not sent: such mail is stopped at present: {}",
            echo(found)
        );
        Self::new(550, (7, 1), words)
    }

    /// What it carries is not taken by one of its recipients' rooms, dangerous or not.
    pub fn content_not_taken(found: &str) -> Self {
        let words = format!(
            "The message was not sent because of what is in it: {}",
            echo(found)
        );
        Self::new(550, (7, 1), words)
    }

    /// Policy cannot tell now: there is no table, or what it names is missing.
    pub fn policy_unsure() -> Self {
        Self::new(
            451,
            (3, 0),
            "The relay cannot decide about this now; try again soon",
        )
    }
}

/// What is wrong with a message as such.
impl Reply {
    /// RFC 1870 §6.1.
    pub fn too_large(limit: usize) -> Self {
        Self::new(
            552,
            (3, 4),
            format!("Message too large: the limit is {}", size(limit)),
        )
    }

    /// RFC 5321 §2.3.8, §4.1.1.4: CR and LF only together.
    pub fn bare_newlines() -> Self {
        Self::new(
            550,
            (6, 0),
            "The message has a CR or LF standing alone; lines must end in CRLF. Nothing was sent",
        )
    }

    /// RFC 5321 §6.3.
    pub fn mail_loop(hops: usize) -> Self {
        Self::new(
            554,
            (4, 6),
            format!("Mail loop: the message passed {hops} relays already"),
        )
    }

    /// RFC 2852 §4: the time in which it was to be delivered passed while it was sent.
    pub fn out_of_time() -> Self {
        Self::new(
            550,
            (4, 7),
            "The time given with BY was over before the message had come; nothing was sent. Give it more time or call",
        )
    }

    /// RFC 5321 §4.5.3.1.10.
    pub fn too_many_recipients(limit: usize) -> Self {
        Self::new(
            452,
            (5, 3),
            format!("Too many recipients: {limit} a message; send to the rest in a new message"),
        )
    }
}

/// Not now.
impl Reply {
    pub fn over_limit(over: &OverLimit) -> Self {
        let what = match over.counted {
            Counted::Messages => "Too many messages",
            Counted::Recipients => "Too many recipients",
            Counted::Bytes => "Too much mail",
        };
        let (whose, rate) = (over.account.kind(), &over.rate);
        let wait = in_words(over.wait);
        Self::new(
            450,
            (7, 1),
            format!("{what} from this {whose} ({rate}); try again in {wait}"),
        )
    }

    /// Not by whom, and not whether it would have been right.
    pub fn too_many_failed_logins(wait: Duration) -> Self {
        Self::new(
            454,
            (7, 0),
            format!(
                "Too many failed logins in a short time; try again in {} seconds",
                whole_seconds(wait)
            ),
        )
    }

    /// RFC 4954 §4: our own trouble is never a wrong password.
    pub fn login_impossible() -> Self {
        Self::new(
            454,
            (7, 0),
            "Logins cannot be checked now; try again in a moment",
        )
    }

    /// Who was let in with a password that is no longer the user's.
    pub fn login_over(user: &str) -> Self {
        Self::new(
            421,
            (7, 0),
            format!(
                "The password of {} was changed or removed; closing the connection. Log in again",
                echo(user)
            ),
        )
    }

    pub fn too_many_refused_logins() -> Self {
        Self::new(
            421,
            (7, 0),
            "Too many failed logins; closing the connection. Try again in a minute",
        )
    }

    pub fn too_many_connections() -> Self {
        Self::new(421, (7, 0), "Too many connections; try again in a moment")
    }

    /// On a listener that load balancers alone connect to.
    pub fn only_through_a_balancer() -> Self {
        let words = "This address is for load balancers that say on whose behalf they connect";
        Self::new(421, (7, 0), words)
    }

    pub fn too_many_errors() -> Self {
        Self::new(421, (7, 0), "Too many errors; closing the connection")
    }

    pub fn too_many_commands() -> Self {
        Self::new(
            421,
            (7, 0),
            "Too many commands without a message; closing the connection",
        )
    }

    /// RFC 5321 §3.8.
    pub fn shutting_down() -> Self {
        Self::new(
            421,
            (3, 2),
            "The relay is going down; try again in a moment",
        )
    }

    /// RFC 5321 §4.5.3.2.
    pub fn timed_out() -> Self {
        Self::new(
            421,
            (4, 2),
            "Nothing was heard for too long; closing the connection",
        )
    }

    /// A message that comes a few octets at a time.
    pub fn too_slow() -> Self {
        let words = "The message comes too slowly; closing the connection. Nothing was taken";
        Self::new(421, (4, 2), words)
    }

    /// Only noted: who takes no replies hears none.
    pub fn replies_not_taken() -> Self {
        let words = "The client takes no replies; closing the connection";
        Self::new(421, (4, 2), words)
    }

    /// Only noted: it could not be said yet.
    pub fn handshake_too_slow() -> Self {
        let words = "The TLS handshake takes too long; closing the connection";
        Self::new(421, (4, 2), words)
    }

    /// Only noted: nothing can be said any more.
    pub fn tls_failed(cause: &str) -> Self {
        let words = format!("TLS with the client failed; closing the connection: {cause}");
        Self::new(421, (7, 0), words)
    }

    pub fn too_long_without_mail() -> Self {
        let words = "No message for too long; closing the connection";
        Self::new(421, (7, 0), words)
    }

    /// For whoever has no transaction under way, while others find no place.
    pub fn place_needed() -> Self {
        let words =
            "Too many connections: this one, which brings no message, makes room for others";
        Self::new(421, (7, 0), words)
    }

    /// Never heard by anybody, only noted: the client is gone.
    pub fn client_vanished() -> Self {
        Self::new(
            421,
            (4, 2),
            "The client hung up before the end of the message; nothing was taken",
        )
    }

    pub fn store_full() -> Self {
        Self::new(
            452,
            (3, 1),
            "The relay has no space left; the message was not taken, try again soon",
        )
    }

    pub fn memory_short() -> Self {
        Self::new(
            452,
            (3, 1),
            "The relay is short of memory; the message was not taken, try again in a moment",
        )
    }

    /// Our own trouble: store or scanner down, busy or damaged.
    pub fn our_trouble() -> Self {
        Self::new(
            451,
            (3, 0),
            "The relay has a fault of its own; the message was not taken, try again soon",
        )
    }

    /// No engine could say that it is clean, and its recipients take nothing unscanned.
    pub fn not_scanned(why: &str) -> Self {
        let words =
            format!("The message cannot be scanned now; it was not taken, try again soon: {why}");
        Self::new(451, (3, 0), words)
    }

    /// Pipelined behind a command that was refused only for now.
    pub fn put_off() -> Self {
        Self::new(
            451,
            (3, 0),
            "The message was put off; nothing of it was taken, try again soon",
        )
    }
}

/// `25 MiB`, `1500 octets`.
fn size(octets: usize) -> String {
    const MIB: usize = 1024 * 1024;
    match (octets / MIB, octets % MIB, octets % 1024) {
        (1.., 0, _) => format!("{} MiB", octets / MIB),
        (_, _, 0) if octets > 0 => format!("{} KiB", octets / 1024),
        _ => format!("{octets} octets"),
    }
}

/// What a next hop answered: its code, and its words with control characters made harmless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub code: u16,
    /// Enhanced code as the hop wrote it, if it did.
    pub enhanced: Option<String>,
    pub text: String,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        for part in self
            .enhanced
            .iter()
            .map(String::as_str)
            .chain([self.text.as_str()])
        {
            if !part.is_empty() {
                write!(f, " {part}")?;
            }
        }
        Ok(())
    }
}

fn ascii_twin(c: char) -> String {
    let twin = match c {
        'æ' | 'ä' => "ae",
        'Æ' | 'Ä' => "Ae",
        'ø' | 'ö' => "o",
        'Ø' | 'Ö' => "O",
        'å' | 'á' | 'à' => "a",
        'Å' | 'Á' | 'À' => "A",
        'é' | 'è' => "e",
        c if c.is_ascii() => return c.into(),
        _ => "?",
    };
    twin.to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{Account, Workstation};
    use super::*;

    fn said(reply: &Reply) -> String {
        String::from_utf8(reply.wire()).unwrap()
    }

    fn reference() -> Reference {
        "K7F3-2QXM-9A1B".parse().unwrap()
    }

    #[test]
    fn speaks_ascii_to_those_who_know_nothing_else() {
        let reply = Reply::new(550, (7, 1), "Legevakt Tromsø, Ærlig Åse → nei".to_owned());
        assert_eq!(
            reply.in_ascii().lines,
            ["Legevakt Tromso, Aerlig Ase ? nei"]
        );
    }

    fn over_limit(millis: u64) -> OverLimit {
        let client = IpAddr::from([10, 0, 0, 1]);
        OverLimit {
            counted: Counted::Messages,
            account: Account::Workstation(Workstation::Address(client)),
            rate: "5/min".to_owned(),
            urgent: false,
            wait: Duration::from_millis(millis),
        }
    }

    #[test]
    fn when_to_come_back_is_rounded_up() {
        for (millis, words) in [
            (0, "1 s"),
            (19_001, "20 s"),
            (119_000, "119 s"),
            (119_001, "2 min"),
            (120_001, "3 min"),
            (7_199_001, "2 h"),
            (7_200_001, "3 h"),
        ] {
            let reply = Reply::over_limit(&over_limit(millis)).to_string();
            assert!(reply.ends_with(&format!("in {words}")), "{reply}");
        }
    }

    #[test]
    fn the_contract_is_kept() {
        let client = IpAddr::from([10, 0, 0, 1]);
        let room = RoomId::new("amk-oslo");
        for (reply, start) in [
            (Reply::kept(Lapses::NONE), "250 2.0.0 "),
            (
                Reply::external_recipient("x@y.test"),
                "550 5.7.1 <x@y.test> ",
            ),
            (
                Reply::unknown_mailbox("x@y.test", None),
                "550 5.1.1 <x@y.test> ",
            ),
            (Reply::sender_not_of_room("x@y.test", &room), "550 5.7.1 "),
            (
                Reply::author_not_of_room("Sender", "x@y.test", &room),
                "550 5.7.1 ",
            ),
            (
                Reply::not_accepted_by_room("x@y.test", "AMK", None),
                "550 5.7.1 ",
            ),
            (
                Reply::room_disabled("x@y.test", "AMK", Some("+47 1")),
                "550 5.2.1 <x@y.test>: AMK takes no mail at the moment; call +47 1 instead",
            ),
            (
                Reply::room_disabled("x@y.test", "AMK", None),
                "550 5.2.1 <x@y.test>: AMK takes no mail at the moment",
            ),
            (Reply::author_missing(), "550 5.7.1 "),
            (
                Reply::author_doubled("From"),
                "550 5.7.1 The message has more than one From field",
            ),
            (
                Reply::author_several("Sender"),
                "550 5.7.1 The Sender field names more than one mailbox",
            ),
            (
                Reply::author_unclear("Resent-From"),
                "550 5.7.1 The Resent-From field names no mailbox",
            ),
            (Reply::unknown_workstation(client), "550 5.7.1 10.0.0.1 "),
            (Reply::identify_first(client, "AUTH"), "530 5.7.0 "),
            (
                Reply::malware("Eicar in a.zip"),
                "550 5.7.1 Malware found; the message was not sent: Eicar in a.zip",
            ),
            (
                Reply::too_large(25 << 20),
                "552 5.3.4 Message too large: the limit is 25 MiB",
            ),
            (Reply::too_many_recipients(100), "452 4.5.3 "),
            (Reply::priority_lowered(Priority::HIGH), "250 2.3.6 4 "),
            (Reply::out_of_time(), "550 5.4.7 "),
            (
                Reply::over_limit(&over_limit(1)),
                "450 4.7.1 Too many messages from this workstation (5/min); try again in 1 s",
            ),
            (Reply::too_many_connections(), "421 4.7.0 "),
            (Reply::bare_newlines(), "550 5.6.0 "),
            (Reply::store_full(), "452 4.3.1 "),
            (Reply::memory_short(), "452 4.3.1 "),
            (Reply::our_trouble(), "451 4.3.0 "),
            (Reply::shutting_down(), "421 4.3.2 "),
            (Reply::timed_out(), "421 4.4.2 "),
            (Reply::too_slow(), "421 4.4.2 "),
            (Reply::too_long_without_mail(), "421 4.7.0 "),
            (Reply::place_needed(), "421 4.7.0 "),
        ] {
            let wire = said(&reply.with_reference(reference()));
            assert!(wire.starts_with(start), "{wire}");
            assert!(wire.ends_with(" K7F3-2QXM-9A1B\r\n"), "{wire}");
        }
    }

    #[test]
    fn every_line_carries_the_enhanced_code_and_the_last_the_reference() {
        let reply = Reply::help().with_reference(reference());
        let wire = said(&reply);
        let lines: Vec<&str> = wire.split_terminator("\r\n").collect();
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().take(2).all(|it| it.starts_with("214-2.0.0 ")));
        assert!(lines.iter().skip(2).all(|it| it.starts_with("214 2.0.0 ")));
        assert_eq!(wire.matches("K7F3-2QXM-9A1B").count(), 1);
        assert_eq!(
            said(&Reply::greeting("relay.test")),
            "220 relay.test ESMTP Ilbud\r\n"
        );
    }

    #[test]
    fn what_a_client_wrote_is_harmless_when_said_back() {
        for (written, echoed) in [
            ("a\r\n250 ok", "<a??250 ok>"),
            ("a\u{1b}[31m\u{202e}b\0", "<a?[31m?b?>"),
            ("blåbær@room.test", "<blåbær@room.test>"),
        ] {
            let reply = Reply::external_recipient(written);
            assert!(said(&reply).contains(echoed), "{}", said(&reply));
            assert!(reply.to_string().contains(echoed), "{reply}");
        }
    }

    #[test]
    fn no_line_is_longer_than_512_octets() {
        for text in [
            "x".repeat(3000),
            "ø ".repeat(700),
            "å".repeat(999),
            String::new(),
        ] {
            let mut reply = Reply::our_trouble().with_reference(reference());
            reply.lines = vec![text.clone(), "last".to_owned()];
            let wire = said(&reply);
            assert!(
                wire.split_inclusive("\r\n").all(|line| line.len() <= 512),
                "{wire}"
            );
            let letters = |text: &str| text.matches(['x', 'ø', 'å']).count();
            assert_eq!(letters(&wire), letters(&text));
        }
        let echoed = said(&Reply::external_recipient(&"å".repeat(5000)));
        assert!(echoed.len() <= 512 && echoed.contains('…'), "{echoed}");
    }

    #[test]
    fn the_log_has_a_reply_on_one_line() {
        let reply = Reply::help().with_reference(reference()).to_string();
        assert!(reply.starts_with("214 2.0.0 Ilbud relays"), "{reply}");
        assert!(
            reply.ends_with(" K7F3-2QXM-9A1B") && !reply.contains('\n'),
            "{reply}"
        );
        assert_eq!(
            Reply::bye("relay.test").to_string(),
            "221 2.0.0 relay.test closes the connection"
        );
    }

    #[test]
    fn sizes_are_said_as_people_write_them() {
        for (octets, text) in [
            (25 << 20, "25 MiB"),
            (65536, "64 KiB"),
            (1000, "1000 octets"),
            (0, "0 octets"),
        ] {
            assert_eq!(size(octets), text);
        }
    }

    #[test]
    fn what_differs_from_message_to_message_is_no_reason() {
        for (reply, expected) in [
            ("", ""),
            (
                "450 4.2.0 <vakt@b.test>: try later",
                "450 4.2.0 … try later",
            ),
            (
                "451 4.3.0 queued as 4XyZ12abcd; no",
                "451 4.3.0 queued as … no",
            ),
            (
                "451 no (in reply to K7F3-2QXM-9A1B)",
                "451 no (in reply to …",
            ),
            (
                "no connection to 10.1.0.5:25 (while connecting)",
                "no connection to 10.1.0.5:25 (while connecting)",
            ),
            ("552 5.2.2 over  quota\r\n", "552 5.2.2 over quota"),
        ] {
            assert_eq!(gist(reply), expected, "{reply:?}");
        }
        assert_eq!(gist(&"long ".repeat(100)).chars().count(), 160);
    }
}
