//! `ilbud certs dev`, and what `serve` makes by itself on a fresh machine.

use std::path::{Path, PathBuf};

<<<<<<< HEAD
use clap::{Args, Subcommand};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use super::{Failure, load, print};
use crate::tls;

/// The workstation of the shipped routing table.
const EXAMPLE_WORKSTATION: &str = "ws1.amk-oslo.nodnett.test";

/// Where certificates are when the settings name none.
const FOLDER: &str = "certs";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Clocks of workstations are not always right.
const VALID_SINCE: Duration = DAY;
/// Short of the 825 days past which some clients distrust a server's certificate.
const LEAF_LIFE: Duration = DAY.saturating_mul(820);
const AUTHORITY_LIFE: Duration = DAY.saturating_mul(10 * 365);
const PUBLIC: u32 = 0o644;
const OWNER_ONLY: u32 = 0o600;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a development CA, a relay certificate and workstation certificates
    Dev(Dev),
}

#[derive(Debug, Args)]
pub(super) struct Dev {
    /// A workstation's DNS name; may be repeated
    #[arg(long = "workstation", value_name = "NAME", default_value = EXAMPLE_WORKSTATION)]
    workstations: Vec<String>,
    /// Where to make them; else where the settings look for the relay's certificate
    #[arg(long, value_name = "PATH")]
    folder: Option<PathBuf>,
    /// Make new ones in place of those that are there
    #[arg(long)]
    replace: bool,
}

pub(super) fn run(command: &Command, config: &Path) -> Result<(), Failure> {
    let Command::Dev(dev) = command;
    let settings = load(config)?;
    let configured = settings.tls.as_ref().map_or(Path::new(FOLDER), folder_of);
    let folder = dev.folder.as_deref().unwrap_or(configured);
    let existing = if dev.replace {
        Existing::Replace
    } else {
        Existing::Keep
    };
    let made = make(folder, &settings.hostname, &dev.workstations, existing)?;
    if made.is_empty() {
        print::line(format_args!("Nothing was missing in {}.", folder.display()))?;
    }
    for path in made {
        print::line(format_args!("made {}", path.display()))?;
    }
    Ok(())
}

/// Whether the settings name the files that we make, and none of them is there.
pub(super) fn are_wanted(tls: &tls::Settings) -> bool {
    let folder = folder_of(tls);
    let ours = [
        (Some(&tls.certificate), "relay.pem"),
        (Some(&tls.private_key), "relay.key"),
        (tls.client_ca.as_ref(), "ca.pem"),
    ];
    ours.into_iter()
        .filter_map(|(named, name)| named.map(|path| (path, name)))
        .all(|(path, name)| *path == folder.join(name) && !path.exists())
}

/// Makes what these settings name.
pub(super) fn make_for(tls: &tls::Settings, hostname: &str) -> Result<Vec<PathBuf>, Failure> {
    let workstations = [EXAMPLE_WORKSTATION.to_owned()];
    Ok(make(
        folder_of(tls),
        hostname,
        &workstations,
        Existing::Keep,
    )?)
}

fn folder_of(tls: &tls::Settings) -> &Path {
    tls.certificate.parent().unwrap_or(Path::new(""))
}

impl From<CertsError> for Failure {
    fn from(error: CertsError) -> Self {
        Self::new(error)
    }
}

/// What becomes of certificates and keys that are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Existing {
    Keep,
    Replace,
}

/// Why the certificates could not be made.
#[derive(Debug)]
enum CertsError {
    File(PathBuf, io::Error),
    /// The first is there, the second, which belongs to it, is not.
    Half(PathBuf, PathBuf),
    /// Not a host name.
    Name(String),
    Signing(String),
}

impl fmt::Display for CertsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, cause) => write!(f, "{}: {cause}", path.display()),
            Self::Half(there, missing) => write!(
                f,
                "{} is there, but {}, which belongs to it, is not; bring it back, or move the first away",
                there.display(),
                missing.display()
            ),
            Self::Name(name) => write!(f, "{name:?} is not a host name"),
            Self::Signing(cause) => write!(f, "the certificate could not be made: {cause}"),
        }
    }
}

impl std::error::Error for CertsError {}

impl From<rcgen::Error> for CertsError {
    fn from(error: rcgen::Error) -> Self {
        Self::Signing(error.to_string())
    }
}

/// Makes what `existing` calls for in `directory`, and gives the files that were made.
fn make(
    directory: &Path,
    hostname: &str,
    workstations: &[String],
    existing: Existing,
) -> Result<Vec<PathBuf>, CertsError> {
    for name in workstations.iter().map(String::as_str).chain([hostname]) {
        check_name(name)?;
    }
    fs::create_dir_all(directory).map_err(|e| CertsError::File(directory.to_owned(), e))?;
    let mut workshop = Workshop {
        directory,
        existing,
        made: Vec::new(),
=======
use clap::Subcommand;

use super::development::{self, Existing};
use super::{DEFAULT_CONFIG, Failure, load, print};
use crate::tls;

/// Where development certificates go unless the settings name another folder.
const FOLDER: &str = "certs";
/// Our name where there are no settings yet.
const HOSTNAME: &str = "relay.nodnett.test";
/// One workstation of each room in the shipped routing table.
const WORKSTATIONS: [&str; 3] = [
    "ws1.amk-oslo.nodnett.test",
    "ws1.legevakt-hamar.nodnett.test",
    "ws1.akuttmottak-bergen.nodnett.test",
];

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a development CA, a relay certificate and workstation certificates
    Dev {
        /// DNS names of workstations
        #[arg(value_name = "WORKSTATION", default_values = WORKSTATIONS)]
        workstations: Vec<String>,
        /// Where to; the folder of the certificate in the settings unless said
        #[arg(long, value_name = "FOLDER")]
        folder: Option<PathBuf>,
        /// Replace certificates and keys that are there
        #[arg(long)]
        replace: bool,
    },
}

pub(super) fn run(command: &Command, config: &Path) -> Result<(), Failure> {
    let Command::Dev { workstations, folder, replace } = command;
    // The very first command on a machine may be this one, before there are settings.
    let settings = match config == Path::new(DEFAULT_CONFIG) && !config.exists() {
        true => None,
        false => Some(load(config)?),
>>>>>>> main
    };
    let hostname = settings.as_ref().map_or(HOSTNAME, |settings| &settings.hostname);
    let tls = settings.as_ref().and_then(|settings| settings.tls.as_ref());
    let folder = folder.as_deref().or_else(|| tls.map(folder_of)).unwrap_or(Path::new(FOLDER));
    let existing = if *replace { Existing::Replace } else { Existing::Keep };
    let made = development::make(folder, hostname, workstations, existing).map_err(Failure::new)?;
    if made.is_empty() {
        print::line(format_args!("All of them are there already, in {}.", folder.display()))?;
    }
    for path in made {
        print::line(format_args!("made {}", path.display()))?;
    }
    Ok(())
}

fn folder_of(tls: &tls::Settings) -> &Path {
    match tls.certificate.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Whether the settings name the files that `certs dev` makes, and none of them is there. Other
/// names were typed by somebody: files missing there are a mistake.
pub(super) fn are_wanted(tls: &tls::Settings) -> bool {
    tls.certificate == Path::new("certs/relay.pem")
        && tls.private_key == Path::new("certs/relay.key")
        && !tls.certificate.exists()
        && !tls.private_key.exists()
}

<<<<<<< HEAD
impl Leaf {
    /// The relay is a server to workstations and a client to next hops.
    fn relay(directory: &Path, hostname: &str) -> Self {
        let mut names = vec![hostname.to_owned()];
        for name in ["localhost", "127.0.0.1", "::1"] {
            if name != hostname {
                names.push(name.to_owned());
            }
        }
        Self {
            pair: Pair::at(directory, "relay"),
            names,
            usages: vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ],
        }
    }

    fn workstation(directory: &Path, name: &str) -> Self {
        Self {
            pair: Pair::at(directory, &format!("ws-{name}")),
            names: vec![name.to_owned()],
            usages: vec![ExtendedKeyUsagePurpose::ClientAuth],
        }
    }

    fn params(&self) -> Result<CertificateParams, CertsError> {
        let mut params = CertificateParams::new(self.names.clone())?;
        let common_name = self.names.first().map_or("", String::as_str);
        name_and_date(&mut params, common_name, LEAF_LIFE);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages.clone_from(&self.usages);
        params.use_authority_key_identifier_extension = true;
        Ok(params)
    }
}

struct Workshop<'a> {
    directory: &'a Path,
    existing: Existing,
    made: Vec<PathBuf>,
}

impl Workshop<'_> {
    fn wanted(&self, hostname: &str, workstations: &[String]) -> Result<Vec<Leaf>, CertsError> {
        let relay = Leaf::relay(self.directory, hostname);
        let workstations = workstations
            .iter()
            .map(|name| Leaf::workstation(self.directory, name));
        let mut wanted = Vec::new();
        for leaf in std::iter::once(relay).chain(workstations) {
            if leaf.pair.is_wanted(self.existing)? {
                wanted.push(leaf);
            }
        }
        Ok(wanted)
    }

    /// The authority that is there, or a new one.
    fn authority(&mut self, pair: &Pair) -> Result<Issuer<'static, KeyPair>, CertsError> {
        if !pair.is_wanted(self.existing)? {
            let key = KeyPair::from_pem(&read(&pair.key)?)?;
            return Ok(Issuer::from_ca_cert_pem(&read(&pair.certificate)?, key)?);
        }
        let mut params = CertificateParams::new(Vec::new())?;
        name_and_date(&mut params, "Ilbud development CA", AUTHORITY_LIFE);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        self.keep(pair, &certificate, &key)?;
        Ok(Issuer::new(params, key))
    }

    fn leaf(&mut self, leaf: &Leaf, issuer: &Issuer<'_, KeyPair>) -> Result<(), CertsError> {
        let key = KeyPair::generate()?;
        let certificate = leaf.params()?.signed_by(&key, issuer)?.pem();
        self.keep(&leaf.pair, &certificate, &key)
    }

    fn keep(&mut self, pair: &Pair, certificate: &str, key: &KeyPair) -> Result<(), CertsError> {
        self.write(&pair.key, &key.serialize_pem(), OWNER_ONLY)?;
        self.write(&pair.certificate, certificate, PUBLIC)
    }

    fn write(&mut self, path: &Path, text: &str, mode: u32) -> Result<(), CertsError> {
        place(path, text, mode, self.existing).map_err(|e| CertsError::File(path.to_owned(), e))?;
        self.made.push(path.to_owned());
        Ok(())
    }
}

fn name_and_date(params: &mut CertificateParams, common_name: &str, life: Duration) {
    let since_1970 = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let now = date_time_ymd(1970, 1, 1) + since_1970;
    params.not_before = now - VALID_SINCE;
    params.not_after = now + life;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, "Ilbud development");
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
}

/// Puts a whole file in place, on disk before it has its name.
fn place(path: &Path, text: &str, mode: u32, existing: Existing) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}.new", std::process::id()));
    let draft = PathBuf::from(draft);
    let placed = write_new(&draft, text, mode).and_then(|()| match existing {
        Existing::Replace => fs::rename(&draft, path),
        Existing::Keep => fs::hard_link(&draft, path),
    });
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => placed.and(Err(error)),
        _ => placed,
    }
}

fn write_new(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn read(path: &Path) -> Result<String, CertsError> {
    fs::read_to_string(path).map_err(|e| CertsError::File(path.to_owned(), e))
}

/// A name that is also part of a file's name: letters, digits, hyphens and dots (RFC 1123 §2.1).
fn check_name(name: &str) -> Result<(), CertsError> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if name.len() <= 253 && name.split('.').all(label) {
        Ok(())
    } else {
        Err(CertsError::Name(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;

    use tokio_rustls::rustls::client::WebPkiServerVerifier;
    use tokio_rustls::rustls::client::danger::ServerCertVerifier;
    use tokio_rustls::rustls::crypto::aws_lc_rs;
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use tokio_rustls::rustls::server::WebPkiClientVerifier;
    use tokio_rustls::rustls::{Error, RootCertStore};

    use super::*;

    const HOST: &str = "relay.nodnett.test";
    const WS: &str = EXAMPLE_WORKSTATION;

    fn dev(folder: &Path, hostname: &str, names: &[String]) -> Result<Vec<PathBuf>, CertsError> {
        make(folder, hostname, names, Existing::Keep)
    }

    fn made() -> (tempfile::TempDir, Vec<PathBuf>) {
        let folder = tempfile::tempdir().unwrap();
        let files = dev(folder.path(), HOST, &[WS.to_owned()]).unwrap();
        (folder, files)
    }

    fn names(files: &[PathBuf]) -> Vec<&str> {
        files
            .iter()
            .map(|f| f.file_name().unwrap().to_str().unwrap())
            .collect()
    }

    fn certificate(folder: &Path, name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(folder.join(name)).unwrap()
    }

    fn roots(folder: &Path) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(certificate(folder, "ca.pem")).unwrap();
        Arc::new(roots)
    }

    fn accepted_as(folder: &Path, file: &str, name: &str, at: UnixTime) -> Result<(), Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(roots(folder), provider)
            .build()
            .unwrap();
        let server = ServerName::try_from(name.to_owned()).unwrap();
        verifier
            .verify_server_cert(&certificate(folder, file), &[], &server, &[], at)
            .map(drop)
    }

    #[test]
    fn makes_six_files_and_keys_only_for_their_owner() {
        let (folder, files) = made();
        let ws = [format!("ws-{WS}.key"), format!("ws-{WS}.pem")];
        let expected = [
            "ca.key",
            "ca.pem",
            "relay.key",
            "relay.pem",
            ws[0].as_str(),
            ws[1].as_str(),
        ];
        assert_eq!(names(&files), expected);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 6);
        for file in &files {
            let mode = fs::metadata(file).unwrap().permissions().mode() & 0o777;
            let key = file.extension().unwrap() == "key";
            assert_eq!(mode & 0o077 == 0, key, "{} is {mode:o}", file.display());
        }
    }

    #[test]
    fn the_relay_is_trusted_under_each_of_its_names_and_no_other() {
        let (folder, _) = made();
        for name in [HOST, "localhost", "127.0.0.1", "::1"] {
            assert_eq!(
                accepted_as(folder.path(), "relay.pem", name, UnixTime::now()),
                Ok(())
            );
        }
        assert!(
            accepted_as(
                folder.path(),
                "relay.pem",
                "other.nodnett.test",
                UnixTime::now()
            )
            .is_err()
        );
    }

    #[test]
    fn valid_from_a_little_before_now_for_two_years() {
        let (folder, _) = made();
        let at = |seconds: i64| {
            let now = UnixTime::now().as_secs();
            UnixTime::since_unix_epoch(Duration::from_secs(now.saturating_add_signed(seconds)))
        };
        let day = 24 * 60 * 60;
        for (seconds, valid) in [
            (-day / 2, true),
            (-2 * day, false),
            (730 * day, true),
            (900 * day, false),
        ] {
            let verdict = accepted_as(folder.path(), "relay.pem", HOST, at(seconds));
            assert_eq!(verdict.is_ok(), valid, "{seconds} s from now: {verdict:?}");
        }
    }

    #[test]
    fn a_workstation_is_trusted_as_a_client_and_not_as_a_server() {
        let (folder, _) = made();
        let file = format!("ws-{WS}.pem");
        let provider = Arc::new(aws_lc_rs::default_provider());
        let clients =
            WebPkiClientVerifier::builder_with_provider(roots(folder.path()), provider.clone())
                .build()
                .unwrap();
        clients
            .verify_client_cert(&certificate(folder.path(), &file), &[], UnixTime::now())
            .unwrap();
        assert!(accepted_as(folder.path(), &file, WS, UnixTime::now()).is_err());
    }

    #[test]
    fn again_makes_only_what_is_missing_under_the_same_authority() {
        let (folder, _) = made();
        let before = fs::read(folder.path().join("relay.key")).unwrap();
        assert_eq!(
            names(&dev(folder.path(), HOST, &[WS.to_owned()]).unwrap()),
            [""; 0]
        );
        let more = dev(
            folder.path(),
            HOST,
            &["ws2.amk-oslo.nodnett.test".to_owned()],
        )
        .unwrap();
        assert_eq!(
            names(&more),
            [
                "ws-ws2.amk-oslo.nodnett.test.key",
                "ws-ws2.amk-oslo.nodnett.test.pem"
            ]
        );
        assert_eq!(fs::read(folder.path().join("relay.key")).unwrap(), before);
        for file in ["relay.pem", "relay.key"] {
            fs::remove_file(folder.path().join(file)).unwrap();
        }
        assert_eq!(
            names(&dev(folder.path(), HOST, &[]).unwrap()),
            ["relay.key", "relay.pem"]
        );
        assert_eq!(
            accepted_as(folder.path(), "relay.pem", HOST, UnixTime::now()),
            Ok(())
        );
    }

    #[test]
    fn a_real_certificate_is_left_alone_unless_asked() {
        let (folder, _) = made();
        let path = folder.path().join("relay.key");
        fs::write(&path, "a real key").unwrap();
        dev(folder.path(), HOST, &[]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "a real key");
        make(folder.path(), HOST, &[], Existing::Replace).unwrap();
        assert_ne!(fs::read_to_string(&path).unwrap(), "a real key");
        assert_eq!(
            accepted_as(folder.path(), "relay.pem", HOST, UnixTime::now()),
            Ok(())
        );
    }

    #[test]
    fn half_a_pair_is_named() {
        let (folder, _) = made();
        fs::remove_file(folder.path().join("ca.key")).unwrap();
        fs::remove_file(folder.path().join("relay.pem")).unwrap();
        let error = dev(folder.path(), HOST, &[]).unwrap_err().to_string();
        assert!(
            error.contains("relay.key is there") && error.contains("relay.pem"),
            "{error}"
        );
    }

    #[test]
    fn a_name_is_a_host_name() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "",
            "a..b",
            "../ws1",
            "ws 1",
            "-ws",
            "ws_1",
            "ws1.nødnett.test",
        ] {
            let error = dev(folder.path(), HOST, &[name.to_owned()]).unwrap_err();
            assert!(matches!(error, CertsError::Name(_)), "{name}: {error}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
=======
/// Makes them, and gives the files that were made.
pub(super) fn make_for(tls: &tls::Settings, hostname: &str) -> Result<Vec<PathBuf>, Failure> {
    let workstations = WORKSTATIONS.map(str::to_owned);
    development::dev(folder_of(tls), hostname, &workstations).map_err(Failure::new)
>>>>>>> main
}
