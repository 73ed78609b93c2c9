//! Stands between joiners and a donor, and cuts their connections.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

#[derive(Default)]
struct Shared {
    donor: Mutex<Option<SocketAddr>>,
    open: Mutex<Vec<TcpStream>>,
}

/// Its threads end with their connections and the process.
pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
}

impl Proxy {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::<Shared>::default();
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                let donor = *serving.donor.lock().unwrap();
                let Some(Ok(donor)) = donor.map(TcpStream::connect) else {
                    continue;
                };
                let mut open = serving.open.lock().unwrap();
                open.extend([client.try_clone().unwrap(), donor.try_clone().unwrap()]);
                let back = (donor.try_clone().unwrap(), client.try_clone().unwrap());
                for (from, to) in [(client, donor), back] {
                    std::thread::spawn(move || pass(from, to));
                }
            }
        });
        Self { port, shared }
    }

    pub fn lead_to(&self, donor: SocketAddr) {
        *self.shared.donor.lock().unwrap() = Some(donor);
    }

    /// Cuts every connection that is there.
    pub fn cut(&self) {
        for socket in self.shared.open.lock().unwrap().drain(..) {
            // It may be closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    // However it ends, the other side is to see it.
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
