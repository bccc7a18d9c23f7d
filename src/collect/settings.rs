//! How services are to be reached, from the arguments, the environment and the files they name.

use std::env;
use std::path::{Path, PathBuf};

use profilez::http::Error;
use profilez::http::client::Client;

use crate::args::CollectArgs;
use crate::output::CommandFailure;

/// The settings that are the same for every service.
pub(super) struct ClientSettings<'a> {
    args: &'a CollectArgs,
    token: Option<String>,
    /// Certificates of authorities.
    authorities: Option<Vec<u8>>,
    /// A certificate and its key.
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl ClientSettings<'_> {
    pub(super) fn read(args: &CollectArgs) -> Result<ClientSettings<'_>, CommandFailure> {
        let read = |path: &PathBuf| {
            std::fs::read(path)
                .map_err(|error| format!("could not read {}: {error}", path.display()))
        };
        let authorities = args.cacert.as_ref().map(read).transpose()?;
        let identity = match &args.cert {
            // One file may hold both.
            Some(cert) => Some((read(cert)?, read(args.key.as_ref().unwrap_or(cert))?)),
            None => None,
        };
        Ok(ClientSettings { args, token: token(args)?, authorities, identity })
    }

    pub(super) fn client(&self, url: &str) -> Result<Client, Error> {
        let mut builder = Client::builder(url)?
            .limit(self.args.max_size.saturating_mul(1 << 20))
            .retries(self.args.retries)
            .fallback(!self.args.no_fallback);
        if let Some(prefix) = &self.args.prefix {
            builder = builder.prefix(prefix);
        }
        if let Some(token) = &self.token {
            builder = builder.token(token);
        }
        for header in &self.args.headers {
            builder = builder.header(header)?;
        }
        if let Some(timeout) = self.args.timeout {
            builder = builder.timeout(timeout);
        }
        if let Some(path) = &self.args.unix_socket {
            builder = builder.unix_socket(path);
        }
        if let Some(pem) = &self.authorities {
            builder = builder.certificate_authorities(pem)?;
        }
        if let Some((certificate, key)) = &self.identity {
            builder = builder.identity(certificate, key)?;
        }
        if self.args.insecure {
            builder = builder.insecure();
        }
        Ok(builder.build())
    }
}

/// Returns the token: from an argument or else from the environment.
fn token(args: &CollectArgs) -> Result<Option<String>, CommandFailure> {
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
    let read = |path: &Path| {
        std::fs::read_to_string(path)
            .map_err(|error| format!("could not read the token in {}: {error}", path.display()))
    };
    let token = if let Some(token) = &args.token {
        token.clone()
    } else if let Some(path) = &args.token_file {
        read(path)?
    } else if let Some(token) = variable("PROFILEZ_TOKEN") {
        token.into_string().map_err(|_| "the token in PROFILEZ_TOKEN is not text")?
    } else if let Some(path) = variable("PROFILEZ_TOKEN_FILE") {
        read(&PathBuf::from(path))?
    } else {
        return Ok(None);
    };
    let token = token.trim();
    if token.is_empty() {
        return Err("the token is empty".into());
    }
    if !token.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
        return Err("the token holds characters that can't be sent in a header".into());
    }
    Ok(Some(token.to_owned()))
}
