//! The commands of `bastion-keygen`, each with its command line.

pub(crate) mod inspect;
pub(crate) mod issue;
pub(crate) mod make;
pub(crate) mod option;
pub(crate) mod sandbox;
pub(crate) mod show;
