//! The addresses of this node's network interfaces, at which the other tasks may reach it.

use super::error::RendezvousError;
use std::ffi::CStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses of the interfaces that are up, or of the one of that name: IPv4 first, those of the loopback interface only
/// where there is no other.
pub(super) fn addresses(interface: Option<&str>) -> Result<Vec<IpAddr>, RendezvousError> {
    let all = all().map_err(|error| RendezvousError::process("list the network interfaces", &error))?;
    let wanted = |(name, _): &&(String, IpAddr)| interface.is_none_or(|interface| interface == name);
    let mut found: Vec<IpAddr> = all.iter().filter(wanted).map(|(_, address)| *address).collect();
    if found.iter().any(|address| !address.is_loopback()) {
        found.retain(|address| !address.is_loopback());
    }
    // Those of a link are nothing without its number, which is another one at the other end.
    found.retain(|address| !matches!(address, IpAddr::V6(address) if address.is_unicast_link_local()));
    found.sort_by_key(IpAddr::is_ipv6);
    match (found.is_empty(), interface) {
        (false, _) => Ok(found),
        (true, Some(name)) => {
            let mut names: Vec<String> = all.into_iter().map(|(name, _)| name).collect();
            names.dedup();
            let detail =
                format!("none that is up has an address and is named `{name}`: there are {}", names.join(", "));
            Err(RendezvousError::process("use the network interface", &detail))
        }
        (true, None) => Err(RendezvousError::process("find an address of this node", &"no network interface has one")),
    }
}

/// Interfaces that are up, with their addresses.
fn all() -> std::io::Result<Vec<(String, IpAddr)>> {
    let mut first: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: getifaddrs writes the head of a list to the pointer, which is ours.
    if unsafe { libc::getifaddrs(&raw mut first) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    let (mut found, mut next) = (vec![], first);
    // SAFETY: the list's elements are valid until freeifaddrs, each leads to the next or is the last; a name is a C string;
    // an address is of the type that its family says, or missing.
    unsafe {
        while let Some(entry) = next.as_ref() {
            let up = entry.ifa_flags & libc::IFF_UP as libc::c_uint != 0;
            if let (true, Some(family)) = (up, entry.ifa_addr.as_ref().map(|address| i32::from(address.sa_family))) {
                let address = match family {
                    libc::AF_INET => {
                        let address = entry.ifa_addr.cast::<libc::sockaddr_in>().read_unaligned();
                        Some(IpAddr::V4(Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr))))
                    }
                    libc::AF_INET6 => {
                        let address = entry.ifa_addr.cast::<libc::sockaddr_in6>().read_unaligned();
                        Some(IpAddr::V6(Ipv6Addr::from(address.sin6_addr.s6_addr)))
                    }
                    _ => None,
                };
                let name = CStr::from_ptr(entry.ifa_name).to_string_lossy().into_owned();
                found.extend(address.map(|address| (name, address)));
            }
            next = entry.ifa_next;
        }
        libc::freeifaddrs(first);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_is_found_by_name_and_loopback_stands_back() {
        assert!(addresses(Some("lo")).unwrap().contains(&Ipv4Addr::LOCALHOST.into()));
        let usual = addresses(None).unwrap();
        assert!(usual.iter().all(|address| address.is_loopback() == usual[0].is_loopback()), "{usual:?}");
        let error = addresses(Some("no-such")).unwrap_err().to_string();
        assert!(error.contains("`no-such`: there are") && error.contains("lo"), "{error}");
    }
}
