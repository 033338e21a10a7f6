#include "text/model_proto.h"

#include <algorithm>
#include <vector>

#include "errors.h"

namespace ernie {
namespace {

constexpr unsigned kVarint = 0, kEight = 1, kBytes = 2, kFour = 5;
// Fields of the messages ModelProto, SentencePiece, NormalizerSpec, TrainerSpec, and values of their enumerations.
constexpr unsigned kPieces = 1, kTrainer = 2, kNormalizer = 3;
constexpr unsigned kText = 1, kType = 3, kUnknown = 2, kUserDefined = 4, kByte = 6;
constexpr unsigned kRules = 2;
constexpr unsigned kModelType = 3, kCharacters = 4, kByteFallback = 35;

constexpr std::size_t kMostUnits = std::size_t{1} << 18, kLongestRule = 32, kBlock = 256;
constexpr char kExpected[] = "a sentencepiece model";

void put_varint(std::string& to, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) to += static_cast<char>(value | 0x80);
  to += static_cast<char>(value);
}

void put_value(std::string& to, unsigned number, std::uint64_t value) {
  put_varint(to, number << 3 | kVarint);
  put_varint(to, value);
}

void put_bytes(std::string& to, unsigned number, std::string_view bytes) {
  put_varint(to, number << 3 | kBytes);
  put_varint(to, bytes.size());
  to += bytes;
}

void put_piece(std::string& to, std::string_view text, unsigned type) {
  std::string piece;
  put_bytes(piece, kText, text);
  put_value(piece, kType, type);
  put_bytes(to, kPieces, piece);
}

std::uint32_t word_at(std::string_view bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 4; i > 0; --i) value = value << 8 | static_cast<unsigned char>(bytes[at + i - 1]);
  return value;
}

// The tree of what is replaced (a double array of darts-clone, whose units are four bytes) and what takes its place.
class Rules {
 public:
  Rules(std::string_view blob, const std::string& path) : path_(path) {
    const std::size_t size = blob.size() < 4 ? 0 : word_at(blob, 0);
    if (size < 4 * kBlock || size % 4 != 0 || size > blob.size() - 4) refuse();
    if (size > 4 * kMostUnits) refuse();
    units_.resize(size / 4);
    for (std::size_t i = 0; i < units_.size(); ++i) units_[i] = word_at(blob, 4 + 4 * i);
    texts_ = blob.substr(4 + size);
    if (texts_.empty() || texts_.back() != '\0') refuse();
  }

  // Level by level from the root: that no step leaves the array, no value the texts, and none is longer than the results
  // that the library has room for.
  void check() const {
    std::vector<std::size_t> level{base_of(0)}, next;
    for (std::size_t length = 1; !level.empty(); ++length) {
      std::vector<bool> seen(units_.size());
      next.clear();
      for (const std::size_t base : level) {
        for (std::size_t label = 0; label < kBlock; ++label) {
          const std::uint32_t unit = units_[base ^ label];
          if ((unit & kLabel) != label) continue;
          if (length > kLongestRule) refuse();
          const std::size_t to = base_of(base ^ label);
          if ((unit & kHasValue) != 0 && (units_[to] & ~kIsValue) >= texts_.size()) refuse();
          if (!seen[to]) next.push_back(to);
          seen[to] = true;
        }
      }
      level.swap(next);
    }
  }

 private:
  static constexpr std::uint32_t kIsValue = 1u << 31, kHasValue = 1u << 8, kIsFar = 1u << 9, kLabel = kIsValue | 0xFF;

  // Where the steps from a unit begin: a label leads to this place xor itself.
  std::size_t base_of(std::size_t at) const {
    const std::uint32_t unit = units_[at];
    const std::size_t base = at ^ (std::size_t{unit >> 10} << ((unit & kIsFar) != 0 ? 8 : 0));
    if ((base | (kBlock - 1)) >= units_.size()) refuse();
    return base;
  }

  [[noreturn]] void refuse() const { throw bad_input(path_, "broken rules of normalisation", kExpected); }

  const std::string& path_;
  std::vector<std::uint32_t> units_;
  std::string_view texts_;
};

}  // namespace

bool ProtoReader::varint(std::uint64_t& value) {
  value = 0;
  for (unsigned shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(rest_.front());
    rest_.remove_prefix(1);
    value |= std::uint64_t{byte & 0x7Fu} << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

bool ProtoReader::skip(std::size_t size, std::string_view& skipped) {
  if (size > rest_.size()) return false;
  skipped = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return true;
}

bool ProtoReader::next() {
  if (rest_.empty() || is_broken_) return false;
  std::uint64_t key = 0, size = 0;
  std::string_view skipped;
  value_ = 0;
  bytes_ = {};
  bool is_whole = varint(key);
  number_ = key >> 3;
  switch (key & 7) {
    case kVarint: is_whole = is_whole && varint(value_); break;
    case kEight: is_whole = is_whole && skip(8, skipped); break;
    case kBytes: is_whole = is_whole && varint(size) && skip(size, bytes_); break;
    case kFour: is_whole = is_whole && skip(4, skipped); break;
    default: is_whole = false;
  }
  is_broken_ = !is_whole;
  return is_whole;
}

std::string normalizer_of(std::string_view model, const std::string& path) {
  const auto checked = [&](const ProtoReader& reader) {
    if (reader.is_broken()) throw bad_input(path, "content that is no model", kExpected);
  };
  std::string trainer, normalizer;
  ProtoReader fields(model);
  while (fields.next()) {
    if (fields.number() == kTrainer) trainer += fields.bytes();
    if (fields.number() == kNormalizer) normalizer += fields.bytes();
    if (fields.number() != kPieces) continue;
    ProtoReader piece(fields.bytes());
    while (piece.next()) {
      if (piece.number() == kType && piece.value() == kUserDefined) {
        // They are looked for before and after the rules: where the characters of one come from is not told.
        throw bad_input(path, "a piece that a user defined", "a model without such", 0,
                        "`ernie predict` in Python reads it.");
      }
    }
    checked(piece);
  }
  checked(fields);
  std::string_view rules;
  ProtoReader spec(normalizer);
  while (spec.next()) {
    if (spec.number() == kRules) rules = spec.bytes();
  }
  checked(spec);
  if (!rules.empty()) Rules(rules, path).check();
  std::string made;
  put_piece(made, "<unk>", kUnknown);
  for (int byte = 0; byte < 256; ++byte) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned>(byte));
    put_piece(made, name, kByte);
  }
  put_value(trainer, kModelType, kCharacters);
  put_value(trainer, kByteFallback, 1);
  put_bytes(made, kTrainer, trainer);
  put_bytes(made, kNormalizer, normalizer);
  return made;
}

}  // namespace ernie
