//! TLS toward TURN servers, by rustls: one side of a connection reads and the other writes, each in a thread of its own.

#![expect(clippy::disallowed_types, reason = "the caller of the agent does I/O")]

use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

/// Whom to trust: those whose certificates are in this PEM file.
pub(crate) fn trust(ca: &Path) -> Result<Arc<ClientConfig>, Box<dyn Error>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca)? {
        roots.add(certificate?)?;
    }
    Ok(Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
}

/// What protects a connection.
#[derive(Clone)]
pub(crate) struct Tls(Arc<Mutex<ClientConnection>>);

impl Tls {
    /// Shakes hands with the server, whose certificate has to be for this name.
    pub(crate) fn shake_hands(config: Arc<ClientConfig>, name: &str, stream: &mut TcpStream) -> io::Result<Self> {
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let mut connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(stream)?;
        }
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    fn lock(&self) -> MutexGuard<'_, ClientConnection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives what is inside of bytes that were read.
    pub(crate) fn open(&self, mut bytes: &[u8], stream: &mut TcpStream) -> io::Result<Vec<u8>> {
        let mut connection = self.lock();
        let mut inside = Vec::new();
        // Reading nothing would be the end of the stream.
        while !bytes.is_empty() {
            connection.read_tls(&mut bytes)?;
            connection.process_new_packets().map_err(io::Error::other)?;
            match connection.reader().read_to_end(&mut inside) {
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        while connection.wants_write() {
            connection.write_tls(stream)?;
        }
        Ok(inside)
    }

    /// Writes bytes, protected.
    pub(crate) fn write(&self, bytes: &[u8], stream: &mut TcpStream) -> io::Result<()> {
        let mut connection = self.lock();
        connection.writer().write_all(bytes)?;
        while connection.wants_write() {
            connection.write_tls(stream)?;
        }
        Ok(())
    }
}
