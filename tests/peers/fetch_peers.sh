#!/bin/sh
# Fetches the servers that the peer tests and the benchmarks talk to, without installing them.
#
# postfix, dovecot, chasquid and opensmtpd would fight over the machine's mail system (and start it), so their Debian
# packages are only unpacked: into .cache/peers/root, together with the libraries they need and the machine lacks.
# May be run again at any time: what is there already is left alone. PEERS_DIR names another folder.
#
#   usage: tests/peers/fetch_peers.sh            fetch what is missing
#          tests/peers/fetch_peers.sh --clients  also install the client programs the tests call (needs root)
set -eu

servers="postfix dovecot-core dovecot-pop3d dovecot-imapd chasquid opensmtpd pebble fail2ban rspamd"
clients="curl swaks libnet-ssleay-perl libio-socket-ssl-perl msmtp s-nail neomutt mutt fetchmail getmail6 mpop unbound opendkim gsasl"

here=$(cd "$(dirname "$0")/../.." && pwd)
peers=${PEERS_DIR:-$here/.cache/peers}

say() { printf 'fetch_peers: %s\n' "$*"; }
die() { say "$*" >&2; exit 1; }

command -v apt-get >/dev/null && command -v dpkg >/dev/null ||
    die "this needs apt-get and dpkg (Debian 12 or a relative of it)"

if [ "${1:-}" = "--clients" ]; then
    [ "$(id -u)" = 0 ] || die "installing the clients needs root: apt-get install --no-install-recommends $clients"
    # A service that Debian would start on install (unbound) must not take a port of this machine.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
        trap 'rm -f "$policy"' EXIT
    fi
    say "installing the clients: $clients"
    # shellcheck disable=SC2086  # a list of words
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $clients >/dev/null ||
        die "apt-get install failed; run 'apt-get update' first"
elif [ -n "${1:-}" ]; then
    die "unknown option $1; the only one is --clients"
fi

mkdir -p "$peers/debs" "$peers/root"

# The libraries that apt would install along with the servers. Only names that start with lib: the rest are tools
# for the packages' own installation scripts, which never run here.
# Asked for one by one, because some of the servers exclude each other.
libraries=
for server in $servers; do
    plan=$(apt-get install -s --no-install-recommends "$server" 2>&1) ||
        die "apt cannot tell what $server needs; run 'apt-get update' first. It said: $plan"
    libraries="$libraries $(printf '%s\n' "$plan" | sed -n 's/^Inst \(lib[^ ]*\) .*/\1/p')"
done

for package in $servers $libraries; do
    stamp="$peers/debs/$package.unpacked"
    [ -e "$stamp" ] && continue
    say "fetching $package"
    # As root apt wants to drop its rights to _apt, which may not write here; say so beforehand and it is quiet.
    (cd "$peers/debs" && apt-get download -q -o APT::Sandbox::User=root "$package" >/dev/null) ||
        die "could not download $package; run 'apt-get update' first"
    deb=$(ls -t "$peers/debs/${package}"_*.deb | head -n 1)
    dpkg -x "$deb" "$peers/root" || die "could not unpack $deb"
    rm -f "$deb"
    : >"$stamp"
done
say "ready: $peers/root"
