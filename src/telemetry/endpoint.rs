//! Where metrics are to be had: HTTP on a Unix socket or a TCP port, served by a thread of its own.
//!
//! Whoever connects is a stranger: few connections at once, of few bytes and seconds each.

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::convert::Infallible;
use std::fmt;
use std::fs::Permissions;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, oneshot};

/// The only path that is served.
const PATH: &str = "/metrics";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const UNIX: &str = "unix:";
/// Bounds of what strangers may take: connections at once, bytes of a request (the least that hyper takes), and time.
const CONNECTIONS: usize = 16;
const REQUEST_BYTES: usize = 8192;
const CONNECTION_TIME: Duration = Duration::from_secs(10);
/// How long to wait after an error of accept(2), such as a lack of descriptors.
const MOMENT: Duration = Duration::from_millis(100);

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A socket at this path, for its owner alone.
    Unix(PathBuf),
    /// A port.
    Tcp(SocketAddr),
}

/// What is no address.
#[derive(Debug, thiserror::Error)]
#[error("expected unix:PATH, or an address and a port such as 127.0.0.1:9473")]
pub struct AddressError;

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        match text.strip_prefix(UNIX) {
            Some("") => Err(AddressError),
            Some(path) => Ok(Address::Unix(PathBuf::from(path))),
            None => text.parse().map(Address::Tcp).map_err(|_| AddressError),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "{UNIX}{}", path.display()),
            Address::Tcp(address) => address.fmt(f),
        }
    }
}

impl Address {
    /// Whether other machines may connect.
    pub fn is_public(&self) -> bool {
        matches!(self, Address::Tcp(address) if !address.ip().is_loopback())
    }
}

/// A socket that is bound and not served yet.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    address: Address,
}

#[derive(Debug)]
enum Socket {
    Unix(UnixListener, Left),
    Tcp(TcpListener),
}

/// Removes the socket at a path, if it is the same still.
#[derive(Debug)]
struct Left(PathBuf, u64);

impl Drop for Left {
    fn drop(&mut self) {
        if std::fs::symlink_metadata(&self.0).is_ok_and(|file| file.ino() == self.1) {
            std::fs::remove_file(&self.0).unwrap_or_default();
        }
    }
}

impl Listener {
    /// Listens. A socket that nobody listens on any more is replaced. Fails as bind(2)
    /// does: `EADDRINUSE` if somebody listens there, or the path is something else.
    pub fn bind(address: &Address) -> io::Result<Listener> {
        let (socket, address) = match address {
            Address::Unix(path) => {
                // The server does not stay in the directory it was started in.
                let path = std::path::absolute(path)?;
                let listener = bind_private(&path)?;
                let number = std::fs::symlink_metadata(&path)?.ino();
                let left = Left(path.clone(), number);
                (Socket::Unix(listener, left), Address::Unix(path))
            }
            Address::Tcp(address) => {
                let listener = TcpListener::bind(address)?;
                let address = listener.local_addr()?;
                (Socket::Tcp(listener), Address::Tcp(address))
            }
        };
        Ok(Listener { socket, address })
    }

    /// Where it listens; a port that was left open has its number.
    pub fn address(&self) -> &Address {
        &self.address
    }
}

/// Listens at `path`, which nobody finds before it is private.
fn bind_private(path: &Path) -> io::Result<UnixListener> {
    let above = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let private = tempfile::Builder::new().prefix(".").tempdir_in(above)?;
    let made = private.path().join("s");
    let listener = UnixListener::bind(&made)?;
    std::fs::set_permissions(&made, Permissions::from_mode(0o600))?;
    let how = match is_left_behind(path) {
        true => RenameFlags::empty(),
        false => RenameFlags::NOREPLACE,
    };
    match renameat_with(CWD, &made, CWD, path, how) {
        Err(Errno::EXIST) => Err(Errno::ADDRINUSE.into()),
        renamed => Ok(renamed.map(|()| listener)?),
    }
}

/// Whether a socket is there on which nobody listens.
fn is_left_behind(path: &Path) -> bool {
    let is_socket = |file: std::fs::Metadata| file.file_type().is_socket();
    let refused = || UnixStream::connect(path).err().map(|error| error.kind());
    std::fs::symlink_metadata(path).is_ok_and(is_socket)
        && refused() == Some(io::ErrorKind::ConnectionRefused)
}

/// Makes the text that is served.
pub type Tell = dyn Fn() -> String + Send + Sync;

/// A thread that serves metrics. Dropping it ends that.
#[derive(Debug)]
pub struct Endpoint {
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Endpoint {
    /// Serves what `tell` says at each request. Fails if there is no thread to be had.
    pub fn start(listener: Listener, tell: Arc<Tell>) -> io::Result<Endpoint> {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let (end, ended) = oneshot::channel();
        let thread = std::thread::Builder::new().name("norefs-metrics".to_owned());
        let thread = thread.spawn(move || serve(&runtime, listener.socket, tell, ended))?;
        Ok(Endpoint {
            end: Some(end),
            thread: Some(thread),
        })
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap_or_default();
        }
    }
}

fn serve(runtime: &Runtime, socket: Socket, tell: Arc<Tell>, ended: oneshot::Receiver<()>) {
    let served = runtime.block_on(async {
        // Removed when this ends.
        let (accepting, _left) = match socket {
            Socket::Unix(listener, left) => {
                listener.set_nonblocking(true)?;
                let listener = tokio::net::UnixListener::from_std(listener)?;
                (tokio::spawn(accept_unix(listener, tell)), Some(left))
            }
            Socket::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                let listener = tokio::net::TcpListener::from_std(listener)?;
                (tokio::spawn(accept_tcp(listener, tell)), None)
            }
        };
        // Its sender is dropped.
        ended.await.unwrap_or_default();
        accepting.abort();
        io::Result::Ok(())
    });
    if let Err(error) = served {
        tracing::error!(%error, "metrics cannot be served");
    }
}

async fn accept_unix(listener: tokio::net::UnixListener, tell: Arc<Tell>) {
    let seats = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = listener.accept().await;
        seat(accepted.map(|(stream, _)| stream), &seats, &tell).await;
    }
}

async fn accept_tcp(listener: tokio::net::TcpListener, tell: Arc<Tell>) {
    let seats = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = listener.accept().await;
        seat(accepted.map(|(stream, _)| stream), &seats, &tell).await;
    }
}

/// Lets a connection be answered once there are few enough.
async fn seat<S>(accepted: io::Result<S>, seats: &Arc<Semaphore>, tell: &Arc<Tell>)
where
    TokioIo<S>: Read + Write + Unpin + Send + 'static,
{
    let stream = match accepted {
        Ok(stream) => TokioIo::new(stream),
        Err(error) => {
            tracing::debug!(%error, "a connection for metrics failed");
            return tokio::time::sleep(MOMENT).await;
        }
    };
    let (seat, tell) = (Arc::clone(seats).acquire_owned().await, Arc::clone(tell));
    tokio::spawn(async move {
        let answer = service_fn(move |request| {
            let answer = answer(&request, &*tell);
            async move { Ok::<_, Infallible>(answer) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(CONNECTION_TIME)
            .max_buf_size(REQUEST_BYTES)
            .keep_alive(false)
            .serve_connection(stream, answer);
        if let Ok(Err(error)) = tokio::time::timeout(CONNECTION_TIME, connection).await {
            tracing::debug!(%error, "a connection for metrics failed");
        }
        drop(seat);
    });
}

fn answer(request: &Request<Incoming>, tell: &Tell) -> Response<Full<Bytes>> {
    let refused = |status| {
        let mut response = Response::default();
        *response.status_mut() = status;
        response
    };
    match (request.method(), request.uri().path()) {
        (&Method::GET, PATH) => {
            let mut response = Response::new(Full::from(tell()));
            let kind = hyper::header::HeaderValue::from_static(OPEN_METRICS);
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        }
        (_, PATH) => refused(StatusCode::METHOD_NOT_ALLOWED),
        _ => refused(StatusCode::NOT_FOUND),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    fn started() -> (Endpoint, SocketAddr) {
        let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap()).unwrap();
        let Address::Tcp(address) = *listener.address() else {
            panic!("not what was asked for");
        };
        let endpoint = Endpoint::start(listener, Arc::new(|| "told".to_owned())).unwrap();
        (endpoint, address)
    }

    fn asked(address: SocketAddr, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        // Whoever is refused may be hung up on before everything is written, or read.
        stream.write_all(bytes).unwrap_or_default();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap_or_default();
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[test]
    fn addresses_are_read_and_those_of_other_machines_told_apart() {
        for (text, public) in [
            ("unix:/run/x", false),
            ("127.0.0.1:1", false),
            ("[::1]:80", false),
            ("0.0.0.0:80", true),
            ("[::]:80", true),
            ("192.0.2.1:80", true),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.is_public(), public, "{text}");
            assert_eq!(address.to_string(), text);
        }
        for text in [
            "",
            "unix:",
            "80",
            ":80",
            "localhost:80",
            "127.0.0.1",
            "127.0.0.1:x",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_metrics_are_served_and_whoever_asks_nonsense_is_refused() {
        let (_endpoint, address) = started();
        let told = asked(address, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(
            told.starts_with("HTTP/1.1 200") && told.ends_with("\r\n\r\ntold"),
            "{told}"
        );
        assert!(told.contains(OPEN_METRICS));
        for (bytes, status) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], "404"),
            (
                b"POST /metrics HTTP/1.1\r\ncontent-length: 0\r\n\r\n",
                "405",
            ),
            (b"nonsense\r\n\r\n", "400"),
            (
                &[
                    b"GET /metrics HTTP/1.1\r\nx: ".to_vec(),
                    vec![b'x'; 1 << 20],
                ]
                .concat(),
                "",
            ),
            (b"\xff\x00\xff\r\n\r\n", "400"),
        ] {
            let answer = asked(address, bytes);
            assert!(answer.is_empty() || answer.contains(status), "{answer}");
        }
        assert!(asked(address, b"GET /metrics HTTP/1.0\r\n\r\n").contains("200 OK"));
    }

    #[test]
    fn a_socket_is_private_replaces_one_left_behind_and_goes_with_its_listener() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let address = Address::Unix(path.clone());
        drop(UnixListener::bind(&path).unwrap());
        let listener = Listener::bind(&address).unwrap();
        let mode = std::fs::symlink_metadata(&path).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
        let refused = Listener::bind(&address).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        assert!(!path.exists());
        std::fs::write(&path, "mine").unwrap();
        assert!(Listener::bind(&address).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    }
}
