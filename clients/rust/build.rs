//! Generates the stubs from the descriptor set of the protos, and which messages are pages. It needs no protoc.

use std::{env, error::Error, fmt::Write, fs, path::Path};

use prost::Message;
use prost_types::FileDescriptorSet;

const DESCRIPTOR_SET: &str = "../../protos/python/prisma/prisma.binpb";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={DESCRIPTOR_SET}");
    let set = FileDescriptorSet::decode(fs::read(DESCRIPTOR_SET)?.as_slice())?;
    let out = env::var("OUT_DIR")?;
    fs::write(Path::new(&out).join("pages.rs"), pages(&set)?)?;
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    tonic_prost_build::configure().build_server(false).include_file("stubs.rs").compile_fds_with_config(set, config)?;
    Ok(())
}

/// Implements the traits of pages for all requests and responses that have their fields.
fn pages(set: &FileDescriptorSet) -> Result<String, std::fmt::Error> {
    let mut code = String::new();
    for file in set.file.iter().filter(|file| file.package().starts_with("prisma.")) {
        let module = file.package().trim_start_matches("prisma.").replace('.', "::");
        for message in &file.message_type {
            for (field, implement) in [("page_token", "page_request"), ("next_page_token", "page_response")] {
                if message.field.iter().any(|candidate| candidate.name() == field) {
                    writeln!(code, "{implement}!(crate::{module}::{});", message.name())?;
                }
            }
        }
    }
    Ok(code)
}
