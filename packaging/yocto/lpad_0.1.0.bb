SUMMARY = "Local Profile Assistant for eUICCs"
DESCRIPTION = "Downloads, switches and deletes the profiles of an eUICC behind the AT port of a modem (GSMA SGP.22)."
SECTION = "net"
LICENSE = "MIT | Apache-2.0"
LIC_FILES_CHKSUM = "\
    file://LICENSE-MIT;md5=5d762502607d89b311f986aafa4c8af5 \
    file://LICENSE-APACHE;md5=22a53954e4e0ec258dfce4391e905dac \
"

# The archive lies beside this recipe; README.md tells how it is made.
SRC_URI = "file://lpad-${PV}.tar.gz"
# The crates of Cargo.lock, written by "bitbake -c update_crates lpad".
include lpad-crates.inc

inherit cargo cargo-update-recipe-crates systemd useradd

CARGO_SRC_DIR = "lpad"
CARGO_LOCK_SRC_DIR = "${S}"

SYSTEMD_SERVICE:${PN} = "lpad.socket lpad.service"
# The configuration does not know the modem's port yet; an image that brings one can enable them.
SYSTEMD_AUTO_ENABLE = "disable"

USERADD_PACKAGES = "${PN}"
GROUPADD_PARAM:${PN} = "--system lpad"
USERADD_PARAM:${PN} = "--system --gid lpad --groups dialout --home-dir ${localstatedir}/lib/lpad --no-create-home --shell /sbin/nologin lpad"

do_install:append() {
    install -d ${D}${sbindir}
    mv ${D}${bindir}/lpad ${D}${sbindir}/lpad
    install -D -m 0644 ${S}/lpad/lpad.toml ${D}${sysconfdir}/lpad/lpad.toml
    install -d ${D}${sysconfdir}/lpad/ci.d
    install -D -m 0644 ${S}/packaging/lpad.service ${D}${systemd_system_unitdir}/lpad.service
    install -D -m 0644 ${S}/packaging/lpad.socket ${D}${systemd_system_unitdir}/lpad.socket
    install -D -m 0644 ${S}/packaging/70-lpad-wwan.rules ${D}${nonarch_base_libdir}/udev/rules.d/70-lpad-wwan.rules
}

FILES:${PN} += "${systemd_system_unitdir} ${nonarch_base_libdir}/udev"
CONFFILES:${PN} = "${sysconfdir}/lpad/lpad.toml"
