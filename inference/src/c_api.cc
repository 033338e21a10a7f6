#include <cstdio>
#include <exception>
#include <limits>
#include <new>

#include "ernie.h"
#include "model/tokenizer_folder.h"
#include "text/unicode.h"
#include "text/utf8.h"

struct ernie_tokenizer {
  ernie::Tokenizer made;
};

namespace {

void tell(const char* what, char* error, std::size_t size) {
  if (error != nullptr && size > 0) std::snprintf(error, size, "%s", what);
}

// What `make` gives, or NULL: no exception leaves the library.
template <typename Make>
auto guarded(char* error, std::size_t size, Make&& make) -> decltype(make()) {
  try {
    return make();
  } catch (const std::bad_alloc&) {
    tell("out of memory", error, size);
  } catch (const std::exception& e) {
    tell(e.what(), error, size);
  }
  return nullptr;
}

}  // namespace

const char* ernie_unicode_version() { return ernie::unicode::version().data(); }

ernie_tokenizer* ernie_tokenizer_open(const char* folder, char* error, size_t error_size) {
  return guarded(error, error_size, [&] { return new ernie_tokenizer{ernie::open_tokenizer(folder)}; });
}

int64_t ernie_tokenizer_encode(const ernie_tokenizer* tokenizer, const char* text, size_t size, int32_t* ids,
                               uint32_t* starts, uint32_t* ends, size_t capacity) {
  try {
    // The memory of the last text of this thread is used again.
    thread_local std::u32string codes;
    thread_local ernie::Encoded encoded;
    const std::size_t wrong = ernie::decode_utf8({text, size}, codes);
    if (wrong < size) return -1 - static_cast<int64_t>(wrong);
    encoded.ids.clear();
    if (starts == nullptr) {
      tokenizer->made.encode(codes, encoded.ids);
    } else {
      encoded.starts.clear();
      encoded.ends.clear();
      tokenizer->made.encode_aligned(codes, encoded);
    }
    const std::size_t count = encoded.ids.size() < capacity ? encoded.ids.size() : capacity;
    for (std::size_t i = 0; i < count; ++i) {
      ids[i] = encoded.ids[i];
      if (starts == nullptr) continue;
      starts[i] = encoded.starts[i];
      ends[i] = encoded.ends[i];
    }
    return static_cast<int64_t>(encoded.ids.size());
  } catch (...) {
    return std::numeric_limits<int64_t>::min();
  }
}

void ernie_tokenizer_free(ernie_tokenizer* tokenizer) { delete tokenizer; }
