// What a sentencepiece model is made of, read before the library reads it: messages of Protocol Buffers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace ernie {

// The fields of a message, one after the other.
class ProtoReader {
 public:
  explicit ProtoReader(std::string_view message) : rest_(message) {}

  // The next field; false at the end, and where the bytes are no message any more: `is_broken` tells them apart.
  bool next();
  bool is_broken() const { return is_broken_; }

  std::uint64_t number() const { return number_; }
  // Of the wire types varint and length-delimited; else 0 and nothing.
  std::uint64_t value() const { return value_; }
  std::string_view bytes() const { return bytes_; }

 private:
  bool varint(std::uint64_t& value);
  bool skip(std::size_t size, std::string_view& skipped);

  std::string_view rest_, bytes_;
  std::uint64_t number_ = 0, value_ = 0;
  bool is_broken_ = false;
};

// Checks what the library does not, and would read beyond its memory for. Returns another model: of the same rules of
// normalisation, that cuts a text into the bytes of its normal form. path: of the file, for messages. Throws UserError.
std::string normalizer_of(std::string_view model, const std::string& path);

}  // namespace ernie
