//! What shows that the delivery log is as it was written.
//!
//! Each field of a row is a leaf with a salt of its own ([`leaf`]); a row is the hash of its leaves; rows are
//! chained by hash in the order of commit ([`link`]); heads, signed by the relay at intervals, say how far the
//! chain had come, and which rows there were ([`head`], [`tree`]). [`walk`] goes along a chain and names what
//! was done to it, [`state`] says which states of a recipient its events explain, and [`proof`] is what a
//! person takes along. All hashes are SHA-256, each with a name of its own for what it is made of, and every
//! part with its length before it. Pure: no clock, file or randomness; nothing here fails but by saying what
//! does not fit. It proves that nothing signed was changed since, never that what was written was true.

pub mod finding;
pub mod hash;
pub mod head;
pub mod key;
pub mod leaf;
pub mod proof;
pub mod state;
pub mod tree;
pub mod walk;

pub use finding::Finding;
pub use hash::{Digest, Start, link, pseudonym};
pub use head::Head;
pub use key::{PublicKey, SigningKey};
pub use leaf::{Leaf, Salt, Seed};
