//! Which transport the mounts of the tests use.

pub use norefs::transport::Transport;
use std::fs;

/// Says which transport all mounts are to use: `ring`, `device`, or `auto`, which is the default.
const VARIABLE: &str = "MOUNT_TESTS_TRANSPORT";

/// The parameter without which no kernel offers the ring.
const PARAMETER: &str = "/sys/module/fuse/parameters/enable_uring";

/// The transport asked for in the environment. The machine must be able to use it.
pub fn asked() -> Transport {
    let Ok(name) = std::env::var(VARIABLE) else {
        return Transport::Auto;
    };
    let transport = match name.parse() {
        Ok(transport) => transport,
        Err(error) => panic!("{VARIABLE}: {error}"),
    };
    if transport == Transport::Ring
        && let Err(why) = ring_offered()
    {
        panic!("{VARIABLE}={name}: {why}");
    }
    transport
}

/// The transports a test of both is to try: the one asked for, else each the machine can use.
pub fn each() -> Vec<Transport> {
    match (asked(), ring_offered()) {
        (Transport::Auto, Ok(())) => vec![Transport::Ring, Transport::Device],
        (Transport::Auto, Err(why)) => {
            eprintln!("the ring is left out: {why}");
            vec![Transport::Device]
        }
        (one, _) => vec![one],
    }
}

fn ring_offered() -> Result<(), String> {
    match fs::read_to_string(PARAMETER) {
        Ok(value) if value.trim() == "Y" => Ok(()),
        Ok(_) => Err(format!("{PARAMETER} is off; as root: echo Y > {PARAMETER}")),
        Err(_) => Err(format!(
            "there is no {PARAMETER}, which Linux 6.14 and later have"
        )),
    }
}

/// What asks `norefs mount` and `norefs run` for `transport`.
pub fn arguments(transport: Transport) -> Vec<String> {
    match transport {
        Transport::Auto => Vec::new(),
        transport => vec![format!("--transport={transport}")],
    }
}
