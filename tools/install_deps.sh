#!/usr/bin/env bash
# Installs the Debian 12 packages that hone is built from and tested with. Asks before sudo.
set -euo pipefail

# To build and run hone.
build_packages=(
    cmake ninja-build gcc libc6-dev pkg-config
    libhdf5-dev libdnnl-dev libjansson-dev libyaml-dev libpcre2-dev libutf8proc-dev zlib1g-dev nettle-dev
    check
)
# For the tests and checks as well. The C++ compiler is for llama.cpp, one of the oracles; libomp has the omp.h that
# clang-tidy reads.
test_packages=(
    g++ python3 python3-venv ca-certificates git strace gzip xz-utils hdf5-tools openmpi-bin
    clang-format-14 clang-tidy-14 libomp-14-dev shellcheck groff-base
)
# For the cross build and its tests: the compiler, the emulator, and libraries that lie beside those of this machine.
cross_packages=(
    gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
    check:arm64 libgomp1:arm64 libjansson-dev:arm64 libpcre2-dev:arm64 libutf8proc-dev:arm64 nettle-dev:arm64
)

usage() {
    cat <<'END'
usage: tools/install_deps.sh [--runtime | --test] [--list] [--yes]
  --runtime  only what building and running hone needs
  --test     what the tests and checks need as well (the default); on x86-64 this adds arm64 to dpkg's architectures
  --list     print the packages and install nothing
  --yes      do not ask before installing
END
}

missing() {
    local package
    for package in "$@"; do
        dpkg-query -W -f='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed ||
            printf '%s\n' "$package"
    done
}

# Asks on a terminal, unless root; without one there is nobody to ask.
agreed() {
    local answer
    [[ $yes == 1 || $EUID == 0 || ! -t 0 ]] && return 0
    read -r -p "Install them with sudo apt-get? [y/N] " answer
    [[ $answer == [yY]* ]]
}

as_root() {
    if [[ $EUID == 0 ]]; then
        "$@"
    elif [[ -t 0 ]]; then
        sudo "$@"
    else
        sudo -n "$@"
    fi
}

apt() {
    local try
    for try in 1 2 3; do
        as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get -q -y -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 "$@" && return 0
        echo "apt-get $1 failed (attempt $try of 3)" >&2
        sleep $((5 * try))
    done
    return 1
}

group='test' list=0 yes=0
for option in "$@"; do
    case $option in
        --runtime) group=runtime ;;
        --test) group='test' ;;
        --list) list=1 ;;
        --yes) yes=1 ;;
        -h | --help)
            usage
            exit 0
            ;;
        *)
            usage >&2
            exit 2
            ;;
    esac
done

packages=("${build_packages[@]}")
[[ $group == test ]] && packages+=("${test_packages[@]}")
[[ $group == test && $(uname -m) == x86_64 ]] && packages+=("${cross_packages[@]}")
if [[ $list == 1 ]]; then
    printf '%s\n' "${packages[@]}"
    exit 0
fi
if ! command -v dpkg-query >/dev/null; then
    echo "This is no Debian system. Install what answers to these packages: ${packages[*]}" >&2
    exit 1
fi

mapfile -t needed < <(missing "${packages[@]}")
if [[ ${#needed[@]} == 0 ]]; then
    echo "System packages: all ${#packages[@]} are there." >&2
    exit 0
fi
echo "System packages to install: ${needed[*]}" >&2
if ! agreed; then
    echo "Nothing was installed." >&2
    exit 1
fi
[[ ${needed[*]} == *:arm64* ]] && as_root dpkg --add-architecture arm64
apt update
apt install --no-install-recommends "${needed[@]}"
