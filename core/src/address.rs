//! Addresses that are not what they look like: of the node itself, and of the link it is on, where clouds serve credentials.
//!
//! By the types of the language alone: nothing is looked up here.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A host that is written as an address.
pub fn as_address(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Whether an address is the node's own, or one of those that only mean something on its link.
pub fn is_near(address: IpAddr) -> bool {
    let is_own = |v4: Ipv4Addr| v4.is_loopback() || v4.is_broadcast() || v4.octets().first() == Some(&0);
    let own = match address {
        IpAddr::V4(v4) => is_own(v4),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unspecified() || embedded(v6).is_some_and(is_own),
    };
    own || is_link_local(address)
}

/// Whether an address only means something on the node's link: no mirror and no registry has one, and the metadata service of a cloud has.
pub fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || embedded(v6).is_some_and(|v4| v4.is_link_local()),
    }
}

fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    v6.to_ipv4_mapped().or_else(|| nat64(v6)).or_else(|| v6.to_ipv4())
}

/// The address behind a translator (RFC 6052, section 2.1).
fn nat64(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            Some(Ipv4Addr::new(a, b, c, d))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_local_address_is_one_however_it_is_written() {
        for host in ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]"] {
            assert!(as_address(host).is_some_and(is_link_local), "{host}");
        }
        for host in ["127.0.0.1", "[::1]", "10.0.0.1", "[2001:db8::1]"] {
            assert!(!as_address(host).is_some_and(is_link_local), "{host}");
        }
        assert_eq!(as_address("mirror.corp.internal"), None);
    }
}
