// leveldb_check DIR: a database is written, compacted, read back and searched.
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "leveldb/db.h"
#include "leveldb/filter_policy.h"
#include "leveldb/write_batch.h"
#include "snappy.h"

namespace {

[[noreturn]] void Fail(const std::string& what) {
  std::fprintf(stderr, "leveldb: %s\n", what.c_str());
  std::exit(EXIT_FAILURE);
}

void Must(const leveldb::Status& status) {
  if (!status.ok()) Fail(status.ToString());
}

std::string Key(int i) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "key%08d", i);
  return buffer;
}

template <typename Map>
void Compare(leveldb::DB* db, const Map& model) {
  std::unique_ptr<leveldb::Iterator> it(
      db->NewIterator(leveldb::ReadOptions()));
  it->SeekToFirst();
  for (const auto& entry : model) {
    if (!it->Valid() || it->key() != entry.first ||
        it->value() != entry.second) {
      Fail("wrong entry at " + entry.first);
    }
    it->Next();
  }
  if (it->Valid()) Fail("more entries than were put");
  Must(it->status());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) Fail("usage: leveldb_check DIR");
  std::string text, packed, back;
  for (int i = 0; i < 1000; i++) text += "distributed compilation " + Key(i);
  snappy::Compress(text.data(), text.size(), &packed);
  if (packed.size() >= text.size() ||
      !snappy::Uncompress(packed.data(), packed.size(), &back) ||
      back != text) {
    Fail("snappy");
  }

  std::unique_ptr<const leveldb::FilterPolicy> bloom(
      leveldb::NewBloomFilterPolicy(10));
  leveldb::Options options;
  options.create_if_missing = true;
  options.write_buffer_size = 64 << 10;
  options.filter_policy = bloom.get();
  std::map<std::string, std::string> model;
  for (int round = 0; round < 3; round++) {
    leveldb::DB* raw = nullptr;
    Must(leveldb::DB::Open(options, argv[1], &raw));
    std::unique_ptr<leveldb::DB> db(raw);
    Compare(db.get(), model);
    leveldb::WriteBatch batch;
    for (int i = round; i < 6000; i += 1 + round) {
      std::string key = Key(i * 7919 % 6000);
      if (i % 5 == 4) {
        batch.Delete(key);
        model.erase(key);
      } else {
        std::string value = text.substr(i % 1000, 60 + round);
        batch.Put(key, value);
        model[key] = value;
      }
      if (i % 100 < 1 + round) {
        Must(db->Write(leveldb::WriteOptions(), &batch));
        batch.Clear();
      }
    }
    Must(db->Write(leveldb::WriteOptions(), &batch));
    db->CompactRange(nullptr, nullptr);
    Compare(db.get(), model);
    std::string value;
    if (!db->Get(leveldb::ReadOptions(), "no such key", &value).IsNotFound()) {
      Fail("found what was never put");
    }
  }
  std::printf("leveldb: ok, %zu entries\n", model.size());
  return 0;
}
