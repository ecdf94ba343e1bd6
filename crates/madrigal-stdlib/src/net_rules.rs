//! Rules about hosts: a host, `*.suffix`, an address, a CIDR block, each with an optional port. Hosts compare in lower
//! case and without a final dot. Used by the egress policy and by `--allow-net`.

use ipnet::IpNet;
use std::fmt;
use std::net::IpAddr;

/// A host and port that somebody wants to reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Lower case, without a final dot and without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Target {
    /// The target in the form that is compared.
    pub fn new(host: &str, port: u16) -> Target {
        Target { host: plain(host), port }
    }

    /// The target of a URL; the port defaults by scheme.
    pub fn of_url(url: &url::Url) -> Option<Target> {
        let port = url.port_or_known_default().unwrap_or(0);
        url.host_str().map(|host| Target::new(host, port))
    }

    fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Target { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

fn plain(host: &str) -> String {
    let host = host.trim_matches(['[', ']']).to_lowercase();
    host.strip_suffix('.').map_or(host.clone(), str::to_owned)
}

/// A rule.
#[derive(Clone, Debug)]
pub struct NetRule {
    /// As written.
    pub text: String,
    host: HostRule,
    port: Option<u16>,
}

#[derive(Clone, Debug)]
enum HostRule {
    Name(String),
    /// With its leading dot.
    Suffix(String),
    Address(IpAddr),
    Block(IpNet),
}

impl NetRule {
    /// Reads a rule; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<NetRule, String> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err("empty egress rule".to_owned());
        }
        let (host, port) = match trimmed.contains("://") {
            true => of_url(trimmed)?,
            false => host_and_port(trimmed)?,
        };
        Ok(NetRule { text: trimmed.to_owned(), host: host_rule(&host)?, port })
    }

    /// Whether it speaks of `target`.
    pub fn matches(&self, target: &Target) -> bool {
        self.port.is_none_or(|port| port == target.port) && self.matches_host(target)
    }

    /// Whether it may speak of `target` once its name is resolved.
    pub(crate) fn may_match(&self, target: &Target) -> bool {
        let speaks_of_addresses = matches!(self.host, HostRule::Address(_) | HostRule::Block(_));
        speaks_of_addresses && target.address().is_none() && self.port.is_none_or(|port| port == target.port)
    }

    /// Whether it speaks of the host of `target`, whatever the port.
    pub(crate) fn matches_host(&self, target: &Target) -> bool {
        match &self.host {
            HostRule::Name(name) => *name == target.host,
            HostRule::Suffix(suffix) => target.host.len() > suffix.len() && target.host.ends_with(suffix.as_str()),
            HostRule::Address(address) => target.address() == Some(*address),
            HostRule::Block(block) => target.address().is_some_and(|it| block.contains(&it)),
        }
    }
}

fn of_url(text: &str) -> Result<(String, Option<u16>), String> {
    let url = url::Url::parse(text).map_err(|error| format!("invalid URL `{text}`: {error}"))?;
    let host = url.host_str().ok_or_else(|| format!("invalid URL `{text}`: no host"))?;
    Ok((host.to_owned(), url.port_or_known_default()))
}

fn host_and_port(text: &str) -> Result<(String, Option<u16>), String> {
    if text.parse::<IpAddr>().is_ok() || text.parse::<IpNet>().is_ok() {
        return Ok((text.to_owned(), None));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, _)) if host.starts_with('[') && !host.ends_with(']') => return Ok((text.to_owned(), None)),
        Some(parts) => parts,
        None => return Ok((text.to_owned(), None)),
    };
    match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok((host.to_owned(), Some(port))),
        _ => Err(format!("invalid port `{port}` in egress rule `{text}`")),
    }
}

fn host_rule(host: &str) -> Result<HostRule, String> {
    let host = plain(host);
    if host.is_empty() {
        return Err("empty egress rule".to_owned());
    }
    if host.contains('/') {
        return host.parse().map(HostRule::Block).map_err(|_| format!("invalid CIDR `{host}`"));
    }
    if let Some(suffix) = host.strip_prefix('*') {
        let fine = suffix.len() > 1 && suffix.starts_with('.') && !suffix.contains('*');
        return if fine { Ok(HostRule::Suffix(suffix.to_owned())) } else { Err(format!("invalid wildcard `{host}`")) };
    }
    if host.contains('*') {
        return Err(format!("invalid wildcard `{host}`"));
    }
    Ok(host.parse().map_or(HostRule::Name(host), HostRule::Address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: &str, host: &str, port: u16, expected: bool) {
        let rule = NetRule::parse(rule).expect("a rule");
        assert_eq!(rule.matches(&Target::new(host, port)), expected, "{rule:?} {host}:{port}");
    }

    #[test]
    fn rules_match_hosts_and_ports() {
        check("Example.org", "example.org.", 443, true);
        check("example.org", "www.example.org", 443, false);
        check("*.example.org", "a.b.example.org", 443, true);
        check("*.example.org", "example.org", 443, false);
        check("example.org:8080", "example.org", 80, false);
        check("https://example.org/x", "example.org", 443, true);
        check("https://example.org/x", "example.org", 80, false);
        check("10.0.0.0/8:80", "10.1.2.3", 80, true);
        check("10.0.0.0/8", "11.1.2.3", 80, false);
        check("::1", "[::1]", 80, true);
        check("[::1]:81", "::1", 80, false);
    }

    #[test]
    fn mistakes_are_named() {
        let error = |rule: &str| NetRule::parse(rule).expect_err("a mistake");
        assert_eq!(error("  "), "empty egress rule");
        assert_eq!(error("10.0.0.0/99"), "invalid CIDR `10.0.0.0/99`");
        assert_eq!(error("a:b"), "invalid port `b` in egress rule `a:b`");
        assert_eq!(error("*x"), "invalid wildcard `*x`");
    }
}
