#include "backend/safetensors.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <tuple>

#include "errors.h"
#include "json.h"

namespace ernie {
namespace {

constexpr char kForm[] = "a safetensors file";
constexpr std::size_t kMostHeader = std::size_t{1} << 24, kMostSizes = 32;  // as Python reads
constexpr std::int64_t kMostNumbers = std::int64_t{1} << 59;

std::size_t bytes_of(const std::string& type) {
  static const std::unordered_map<std::string, std::size_t> known{
      {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"F8_E8M0", 1}, {"I16", 2}, {"U16", 2},
      {"F16", 2},  {"BF16", 2}, {"I32", 4}, {"U32", 4},    {"F32", 4},     {"I64", 8},     {"U64", 8}, {"F64", 8},
      {"C64", 8}};
  const auto found = known.find(type);
  return found == known.end() ? 0 : found->second;
}

std::string shown(const Json& value) {
  std::string text;
  value.write(text);
  return quoted(text);
}

std::string shown(const Tensors::Shape& shape) {
  std::string text = "[";
  for (const std::int64_t size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

UserError broken(const std::string& path, const std::string& why) {
  return bad_input(path, "a broken file (" + why + ")", kForm);
}

void check_metadata(const Json& value, const std::string& path) {
  bool holds = value.is(Json::Kind::object);
  for (const auto& member : value.members()) holds = holds && member.second.is(Json::Kind::text);
  if (!holds) throw broken(path, "__metadata__ that is no mapping of text to text");
}

// Whole numbers from 0; false: it is something else.
bool read_sizes(const Json& value, std::vector<std::int64_t>& sizes) {
  if (!value.is(Json::Kind::list)) return false;
  for (const Json& item : value.items()) {
    if (!item.is_within(0, INT64_MAX)) return false;
    sizes.push_back(std::atoll(item.text().c_str()));
  }
  return true;
}

// The product, or -1 where it is too large. An empty array counts as if its sizes were 1 at least.
std::int64_t numbers_of(const Tensors::Shape& shape) {
  std::int64_t product = 1, count = 1;
  for (const std::int64_t size : shape) {
    if (size > 0 && product > kMostNumbers / size) return -1;
    product *= std::max<std::int64_t>(size, 1);
    count *= size;
  }
  return count;
}

float float_of_half(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16, exponent = half >> 10 & 0x1fu;
  const std::uint32_t fraction = half & 0x3ffu;
  if (exponent == 0) {
    const float size = std::ldexp(static_cast<float>(fraction), -24);
    return sign != 0 ? -size : size;
  }
  const std::uint32_t bits = sign | (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23) | fraction << 13;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

float float_of_bfloat16(std::uint16_t upper) {
  const std::uint32_t bits = static_cast<std::uint32_t>(upper) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// out[i] <- convert(number i of type T at `bytes`), which need not be aligned.
template <typename T, typename Convert>
void convert_all(const unsigned char* bytes, std::vector<float>& out, Convert&& convert) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    T value;
    std::memcpy(&value, bytes + i * sizeof value, sizeof value);
    out[i] = convert(value);
  }
}

bool are_finite(const float* values, std::size_t count) {
  std::uint32_t most = 0;
  for (std::size_t i = 0; i < count; ++i) {
    std::uint32_t bits;
    std::memcpy(&bits, values + i, sizeof bits);
    most = std::max(most, bits & 0x7fffffffu);
  }
  return most < 0x7f800000u;
}

}  // namespace

Tensors::Tensors(const std::string& path) : path_(path), file_(path, kForm) { read_header(); }

void Tensors::read_header() {
  std::uint64_t length = 0;
  if (file_.size() >= sizeof length) {
    for (int i = 7; i >= 0; --i) length = length << 8 | file_.data()[i];
  }
  if (length < 2 || length > file_.size() - sizeof length) {
    throw broken(path_, "a header of " + std::to_string(length) + " bytes in a file of " + std::to_string(file_.size()));
  }
  if (length > kMostHeader) {
    throw broken(path_, "a header of " + std::to_string(length) + " bytes, at most " + std::to_string(kMostHeader) + " are read");
  }
  const std::size_t begin = sizeof length + static_cast<std::size_t>(length), size = file_.size() - begin;
  const std::string_view text(reinterpret_cast<const char*>(file_.data()) + sizeof length, static_cast<std::size_t>(length));
  const Json header = parse_json(text, path_, "the header of a safetensors file");
  if (!header.is(Json::Kind::object)) throw broken(path_, "a header that is no object");
  for (const auto& [name, value] : header.members()) {
    if (name == "__metadata__") {
      check_metadata(value, path_);
      continue;
    }
    const Json *type = value.find("dtype"), *shape = value.find("shape"), *offsets = value.find("data_offsets");
    if (type == nullptr || shape == nullptr || offsets == nullptr || value.members().size() != 3) {
      throw broken(path_, quoted(name) + " without dtype, shape and data_offsets");
    }
    Entry entry{type->text(), {}, 0, 0};
    const std::size_t each = bytes_of(entry.type);
    if (each == 0) throw broken(path_, quoted(name) + " of the unknown type " + shown(*type));
    const bool is_shape = read_sizes(*shape, entry.shape) && entry.shape.size() <= kMostSizes;
    const std::int64_t numbers = is_shape ? numbers_of(entry.shape) : -1;
    if (numbers < 0) throw broken(path_, quoted(name) + " of shape " + shown(*shape));
    std::vector<std::int64_t> places;
    if (!read_sizes(*offsets, places) || places.size() != 2 || places[0] > places[1] ||
        places[1] > static_cast<std::int64_t>(size)) {
      throw broken(path_, quoted(name) + " at the bytes " + shown(*offsets) + " of " + std::to_string(size));
    }
    entry.begin = begin + static_cast<std::size_t>(places[0]);
    entry.size = static_cast<std::size_t>(places[1] - places[0]);
    if (static_cast<std::size_t>(numbers) * each != entry.size) {
      throw broken(path_, quoted(name) + " of " + entry.type + " " + shown(*shape) + " in " + std::to_string(entry.size) + " bytes");
    }
    entries_.emplace(name, std::move(entry));
  }
  check_places(begin);
}

// Every byte belongs to one tensor, as the format demands.
void Tensors::check_places(std::size_t begin) const {
  std::vector<std::tuple<std::size_t, std::size_t, const std::string*>> places;
  for (const auto& [name, entry] : entries_) places.emplace_back(entry.begin, entry.size, &name);
  std::sort(places.begin(), places.end());
  std::size_t end = begin;
  for (const auto& [first, size, name] : places) {
    if (first != end) {
      throw broken(path_, quoted(*name) + " begins at byte " + std::to_string(first - begin) + " of the data, not at " +
                              std::to_string(end - begin));
    }
    end += size;
  }
  if (end != file_.size()) {
    throw broken(path_, std::to_string(file_.size() - begin) + " bytes of data for tensors of " + std::to_string(end - begin));
  }
}

const Tensors::Shape* Tensors::shape(const std::string& name) const {
  const auto found = entries_.find(name);
  return found == entries_.end() ? nullptr : &found->second.shape;
}

const float* Tensors::values(const std::string& name, const Shape& shape) {
  const auto found = entries_.find(name);
  const std::string expected = name + " " + shown(shape) + ", as ernie_config.json and labels.json say";
  if (found == entries_.end()) throw bad_input(path_, "no tensor " + quoted(name), expected);
  const Entry& entry = found->second;
  if (entry.shape != shape) throw bad_input(path_, name + " of shape " + shown(entry.shape), expected);
  if (entry.type != "F32" && entry.type != "F16" && entry.type != "BF16" && entry.type != "F64") {
    throw bad_input(path_, name + " of type " + entry.type, "F32, F16, BF16 or F64");
  }
  const std::size_t count = entry.size / bytes_of(entry.type);
  const unsigned char* place = file_.data() + entry.begin;
  const bool is_there = entry.type == "F32" && reinterpret_cast<std::uintptr_t>(place) % alignof(float) == 0;
  const float* values = is_there ? reinterpret_cast<const float*>(place) : converted(name, entry, count);
  if (!are_finite(values, count)) {
    throw bad_input(path_, name + " with values that are not finite", "finite numbers", 0,
                    "This model is broken: export an earlier checkpoint.");
  }
  return values;
}

void Tensors::keep(const std::vector<std::string>& names) {
  std::unordered_map<std::string, std::vector<float>> kept;
  for (const std::string& name : names) {
    const auto found = copies_.find(name);
    if (found != copies_.end()) kept.insert(std::move(*found));
  }
  copies_ = std::move(kept);
}

const float* Tensors::converted(const std::string& name, const Entry& entry, std::size_t count) {
  std::vector<float>& copy = copies_[name];
  copy.resize(count);
  const unsigned char* bytes = file_.data() + entry.begin;
  if (entry.type == "F64") {
    convert_all<double>(bytes, copy, [](double value) { return static_cast<float>(value); });
  } else if (entry.type == "F16") {
    convert_all<std::uint16_t>(bytes, copy, float_of_half);
  } else if (entry.type == "BF16") {
    convert_all<std::uint16_t>(bytes, copy, float_of_bfloat16);
  } else {
    convert_all<float>(bytes, copy, [](float value) { return value; });
  }
  return copy.data();
}

}  // namespace ernie
