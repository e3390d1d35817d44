//! A client of PRISMA: one connection to its gateway, over which all services are called.
//!
//! [`Client`] has a method for the stub of each service, and messages are those of the generated modules. The crate adds
//! what stubs do not do: TLS and API key, jobs that are followed through outages, pages, imports from an iterator, vectors
//! and codes as slices, and errors by reason.

mod blocks;
mod client;
mod errors;
mod imports;
mod jobs;
mod pages;

#[allow(clippy::all, rustdoc::all)]
mod stubs {
    include!(concat!(env!("OUT_DIR"), "/stubs.rs"));
}

pub use blocks::{BlockError, Codes, Vectors};
pub use client::{Client, Options, Transport, retry};
pub use errors::Error;
pub use imports::NewDocument;
pub use pages::{PageRequest, PageResponse, Pages};
pub use stubs::google;
pub use stubs::prisma::{common, embedder, interpreter, search, trainer};
