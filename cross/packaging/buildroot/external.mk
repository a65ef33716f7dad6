include $(BR2_EXTERNAL_DISTCC_RS_PATH)/package/distcc-rs/distcc-rs.mk
