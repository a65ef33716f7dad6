# LevelDB 1.22 (39 sources) with Snappy 1.1.7 (4), linked together with
# leveldb_check.cc into a program that uses them. SNAPPY names Snappy's sources;
# they lie beside LevelDB's. Dependency files with -MMD -MF. See common.mk.

# Found whatever the path to this makefile is; $(dir) alone stops at spaces.
sp := $(subst ,, )
HERE := $(subst |,\ ,$(dir $(subst $(sp),|,$(strip $(MAKEFILE_LIST)))))
include $(HERE)common.mk

SNAPPY = $(SRC)/../snappy

SOURCES := $(addprefix db/,builder.cc c.cc db_impl.cc db_iter.cc dbformat.cc \
	dumpfile.cc filename.cc log_reader.cc log_writer.cc memtable.cc repair.cc \
	table_cache.cc version_edit.cc version_set.cc write_batch.cc) \
	helpers/memenv/memenv.cc \
	$(addprefix table/,block.cc block_builder.cc filter_block.cc format.cc \
	iterator.cc merger.cc table.cc table_builder.cc two_level_iterator.cc) \
	$(addprefix util/,arena.cc bloom.cc cache.cc coding.cc comparator.cc \
	crc32c.cc env.cc env_posix.cc filter_policy.cc hash.cc histogram.cc \
	logging.cc options.cc status.cc)
SNAPPY_SOURCES := snappy.cc snappy-c.cc snappy-sinksource.cc \
	snappy-stubs-internal.cc

COMPILE = $(CXX) -std=c++11 $(OPT) -Wall -Wno-sign-compare -pthread \
	-fno-rtti -MMD -MF "$(@:.o=.d)"
LEVELDB = $(COMPILE) -DLEVELDB_PLATFORM_POSIX=1 -DLEVELDB_IS_BIG_ENDIAN=0 \
	-DHAVE_CRC32C=0 -DHAVE_FDATASYNC=1 -DHAVE_FULLFSYNC=0 -DHAVE_SNAPPY=1 \
	-I"$(SRC)" -I"$(SRC)/include" -I"$(SNAPPY)" \
	$(CPPFLAGS) $(CXXFLAGS)
SNAP = $(COMPILE) -DNDEBUG -DHAVE_BUILTIN_CTZ -DHAVE_BUILTIN_EXPECT \
	-DHAVE_SYS_MMAN_H -DHAVE_UNISTD_H -DHAVE_BYTESWAP_H \
	-I"$(SNAPPY)" $(CPPFLAGS) $(CXXFLAGS)

$(foreach f,$(SOURCES),$(eval $(call compile,$(f),$(S)/$(f),$$(LEVELDB))))
$(foreach f,$(SNAPPY_SOURCES),$(eval \
	$(call compile,$(f),$(subst $(sp),\ ,$(SNAPPY))/$(f),$$(SNAP))))
$(eval $(call compile,leveldb_check.cc,$(HERE)leveldb_check.cc,$$(LEVELDB)))

OBJECTS := $(call objects,$(SOURCES) $(SNAPPY_SOURCES) leveldb_check.cc)
all: $(O)/leveldb_check
$(O)/leveldb_check: $(OBJECTS)
	$(CXX) -pthread $(LDFLAGS) -o "$@" \
		$(call quoted,$(SOURCES) $(SNAPPY_SOURCES) leveldb_check.cc)

check:
	rm -rf "$(OUT)/check.db"
	"$(OUT)/leveldb_check" "$(OUT)/check.db"
