################################################################################
#
# distcc-rs
#
################################################################################

# The source archive of `make source`, unpacked: this directory is in it, and so are the crates.
DISTCC_RS_VERSION = 0.1.0
DISTCC_RS_SITE = $(BR2_EXTERNAL_DISTCC_RS_PATH)/../../..
DISTCC_RS_SITE_METHOD = local
DISTCC_RS_LICENSE = MIT or Apache-2.0
DISTCC_RS_LICENSE_FILES = LICENSE-MIT LICENSE-APACHE

define DISTCC_RS_INSTALL_TARGET_CMDS
	BINARY=$(@D)/target/$(RUSTC_TARGET_NAME)/release/distcc DESTDIR=$(TARGET_DIR) PREFIX=/usr \
		INIT=$(if $(BR2_INIT_SYSTEMD),systemd,$(if $(BR2_INIT_OPENRC),openrc,sysv)) \
		sh $(@D)/cross/install.sh
	$(if $(BR2_INIT_BUSYBOX)$(BR2_INIT_SYSV),mv $(TARGET_DIR)/etc/init.d/distccd $(TARGET_DIR)/etc/init.d/S70distccd)
endef

define DISTCC_RS_USERS
	distccd -1 distccd -1 * - - - distcc server
endef

$(eval $(cargo-package))
