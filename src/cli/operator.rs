//! Who runs this command, for the log.
//!
//! It is the login name of the real user, which nobody can set for themselves; where that is root
//! through `sudo`, the one who came, and where it is an account that several use, the one who logged in,
//! as the kernel keeps it. A user without a name is known by number. It cannot fail: who cannot be looked up
//! has no name.
//!
//! The crate `nix` lives here.

use nix::unistd::{Uid, User};

/// What `sudo` says of who called it. Anybody may set it, but for root it is as good as root's word.
const CALLER: &str = "SUDO_USER";

pub(super) fn operator() -> String {
    let uid = Uid::current();
    let caller = std::env::var(CALLER).ok().filter(|_| uid.is_root());
    let caller = caller.and_then(|it| known(User::from_name(&it)));
    caller
        .or_else(|| known(User::from_uid(logged_in()?)))
        .or_else(|| known(User::from_uid(uid)))
        .unwrap_or_else(|| format!("uid {uid}"))
}

/// Who logged in, whoever they have become since (`sudo -u`, `su`). Nobody can change it.
fn logged_in() -> Option<Uid> {
    const NOBODY: u32 = u32::MAX;
    let number = std::fs::read_to_string("/proc/self/loginuid").ok()?;
    let number = number.trim().parse().ok().filter(|it| *it != NOBODY)?;
    Some(Uid::from_raw(number))
}

/// The name of a user who is there, and whose name can be shown.
fn known(found: nix::Result<Option<User>>) -> Option<String> {
    let name = found.ok().flatten()?.name;
    (!name.is_empty() && !name.chars().any(char::is_control)).then_some(name)
}
