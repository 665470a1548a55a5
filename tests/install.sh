#!/bin/sh
# Installs the real parts that the end-to-end tests use: Debian packages, and a Debian sid root with newer
# engines and tools in a cache folder (AIRGAP_TEST_CACHE, by default /var/cache/airgap-tests); beside it the root of
# a bare server: Debian 12 with Python and nothing to install Python packages with.
# Needs root, apt-get and a network; what is there already is left alone. No service is started.
#
#     sh tests/install.sh             both
#     sh tests/install.sh packages    the packages
#     sh tests/install.sh roots       the roots, which need the packages
set -eu

packages='age gpgv man-db docker.io docker-registry podman skopeo umoci buildah strace debootstrap openssl apache2-utils ca-certificates python3-venv'
# media of the tests' own: file systems, and programs that present them (FUSE)
packages="$packages dosfstools e2fsprogs exfat-fuse exfatprogs fuse3 fusefat ntfs-3g"
# servers of the tests' own: the package does not start one
packages="$packages openssh-client openssh-server"
# readers in Go, as judges of ours
packages="$packages golang-go"
# reads, prints and checks pages; 350 MB
packages="$packages chromium fonts-dejavu-core poppler-utils"
sid_packages='docker.io docker-cli docker-buildx docker-compose kustomize containerd gpgv crane cosign oras skopeo podman python3 python3-venv openssl'
server_packages='python3 openssl'
cache=${AIRGAP_TEST_CACHE:-/var/cache/airgap-tests}
export DEBIAN_FRONTEND=noninteractive

say() { printf 'install: %s\n' "$*" >&2; }

# installed ROOT PACKAGES: whether all of them are.
installed() {
    for package in $2; do
        status=$(dpkg-query --admindir="$1/var/lib/dpkg" -W -f '${db:Status-Status}' "$package" 2>/dev/null) || return 1
        [ "$status" = installed ] || return 1
    done
}

# forbid_services ROOT: no package starts a service while the file is there.
forbid_services() {
    printf '#!/bin/sh\nexit 101\n' >"$1/usr/sbin/policy-rc.d"
    chmod 755 "$1/usr/sbin/policy-rc.d"
}

install_packages() {
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        trap 'exit 130' INT TERM
        forbid_services ''
    fi
    apt-get -q update
    apt-get -q -y install --no-install-recommends $packages
}

# The archive that this machine itself installs from; nothing if apt knows none, and debootstrap has a default.
mirror() {
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep '/debian/*$' | head -n 1
}

# copy_apt_settings ROOT: the way to the archive (proxies, certificates, logins, relaxed dates) is this machine's.
# Its hooks are not copied: they name programs that the root does not have.
copy_apt_settings() {
    apt-config dump | grep -E '^Acquire::(http|https|Retries|Check-Valid-Until|Check-Date|Max-FutureTime|ForceIPv[46])' \
        >"$1/etc/apt/apt.conf.d/99machine" || true
    for path in /etc/apt/auth.conf /etc/apt/auth.conf.d /etc/ssl/certs/ca-certificates.crt; do
        if [ -e "$path" ]; then
            mkdir -p "$1${path%/*}"
            cp -R "$path" "$1${path%/*}/"
        fi
    done
}

# fill_root ROOT: installs what the root lacks of sid_packages.
fill_root() {
    forbid_services "$1"
    copy_apt_settings "$1"
    mount -t proc proc "$1/proc"
    chroot "$1" apt-get -q -o Acquire::Check-Valid-Until=false update
    chroot "$1" apt-get -q -y install --no-install-recommends $sid_packages
    chroot "$1" apt-get clean
    umount "$1/proc"
}

# make_root NAME SUITE PACKAGES [COMMAND]: a root with these, then filled by the command.
# A root under its final name is complete: it is made under another one.
make_root() {
    mkdir -p "$cache"
    new=$(mktemp -d "$cache/$1.XXXXXX")
    trap 'umount -q "$new/proc" || :; rm -rf --one-file-system "$new"' EXIT
    trap 'exit 130' INT TERM
    chmod 755 "$new"
    debootstrap --variant=minbase --include="$3" "$2" "$new" $(mirror)
    ${4:-:} "$new"
    mv -T "$new" "$cache/$1" || [ -d "$cache/$1" ] # another run was faster
}

install_sid() {
    if [ ! -d "$cache/sid" ] || ! installed "$cache/sid" "$sid_packages"; then
        say "making a Debian sid root in $cache/sid (once, about two minutes)"
        unshare --mount sh "$0" sid-root </dev/null
    fi
}

install_server() {
    if [ ! -d "$cache/server" ]; then
        say "making the root of a bare server in $cache/server (once, about half a minute)"
        unshare --mount sh "$0" server-root </dev/null
    fi
}

case ${1:-} in # this script again, in a mount namespace of its own: see below
sid-root)
    if [ -d "$cache/sid" ]; then fill_root "$cache/sid"; else make_root sid sid ca-certificates fill_root; fi
    exit
    ;;
server-root)
    make_root server bookworm "$(echo $server_packages | tr ' ' ,)"
    exit
    ;;
esac

if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
    say 'not root, or no apt-get: nothing is installed'
    exit 0
fi
if [ "${1:-packages}" = packages ] && ! installed '' "$packages"; then
    say "installing $packages"
    (install_packages) </dev/null
fi
if [ "${1:-roots}" = roots ]; then
    install_server &
    server=$!
    install_sid
    wait "$server"
fi
