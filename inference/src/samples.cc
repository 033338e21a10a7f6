#include "samples.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "errors.h"
#include "tasks/codec.h"

namespace ernie {
namespace {

constexpr std::size_t kMask = 3;  // number of the tensor that is the mask
constexpr std::size_t kMostValues = std::size_t{1} << 24;
constexpr const char* kNames[] = {"token ids", "sentence types", "positions", "mask", "task ids"};

struct Tensor {
  std::vector<std::int64_t> shape;
  std::vector<double> values;
};

std::string named(std::size_t index) { return std::string(kNames[index]); }

// Numbers between blanks, all of them.
std::vector<double> numbers_of(std::string_view text, std::size_t index, const char* what) {
  std::vector<double> values;
  for (std::size_t at = 0;;) {
    while (at < text.size() && (text[at] == ' ' || text[at] == '\t' || text[at] == '\r')) ++at;
    if (at == text.size()) return values;
    const std::size_t end = std::min(text.find_first_of(" \t\r", at), text.size());
    double value = 0;
    const auto read = std::from_chars(text.data() + at, text.data() + end, value);
    if (read.ec != std::errc{} || read.ptr != text.data() + end || !std::isfinite(value)) {
      throw BadRecord{quoted(text.substr(at, end - at)) + " among the " + what + " of the " + named(index), "numbers"};
    }
    if (values.size() == kMostValues) throw BadRecord{"too many " + named(index), std::to_string(kMostValues)};
    values.push_back(value);
    at = end;
  }
}

Tensor tensor_of(std::string_view text, std::size_t index) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) throw BadRecord{"no colon in the " + named(index), "shape:data"};
  Tensor tensor;
  double size = 1;
  for (const double value : numbers_of(text.substr(0, colon), index, "sizes")) {
    if (value < 1 || value != std::floor(value)) throw BadRecord{"a size below 1 of the " + named(index), "a shape"};
    size *= value;
    tensor.shape.push_back(size > static_cast<double>(kMostValues) ? 0 : static_cast<std::int64_t>(value));
  }
  tensor.values = numbers_of(text.substr(colon + 1), index, "numbers");
  // 2019's have a last size of 1.
  if (tensor.shape.size() == 3 && tensor.shape[2] == 1) tensor.shape.pop_back();
  if (tensor.shape.size() != 2) throw BadRecord{"a shape of another form of the " + named(index), "rows, length, 1"};
  if (static_cast<double>(tensor.values.size()) != size) {
    throw BadRecord{std::to_string(tensor.values.size()) + " numbers of the " + named(index),
                    std::to_string(static_cast<std::int64_t>(size)) + ", as its shape says"};
  }
  return tensor;
}

}  // namespace

std::vector<Input> Sample::inputs() const {
  std::vector<Input> made;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    if (i == kMask) made.push_back({Input::Type::float32, shape, mask.data()});
    made.push_back({Input::Type::int64, shape, numbers[i].data()});
  }
  if (numbers.size() == kMask) made.push_back({Input::Type::float32, shape, mask.data()});
  return made;
}

SampleParser::SampleParser(const Folder& folder, std::int64_t words, std::int64_t positions, std::int64_t task_types)
    : folder_(folder), words_(words), positions_(positions), task_types_(task_types) {}

std::int64_t SampleParser::limit_of(std::size_t index) const {
  switch (index) {
    case 0: return words_;
    case 1: return static_cast<std::int64_t>(folder_.sentence_types);
    case 2: return positions_;
    default: return task_types_;
  }
}

Sample SampleParser::parse(std::string_view line) const {
  std::vector<Tensor> tensors;
  const std::size_t full = folder_.has_task_id ? 5 : 4;
  while (!line.empty() && (line.back() == '\r' || line.back() == ' ' || line.back() == ';')) line.remove_suffix(1);
  for (;;) {
    if (tensors.size() == full) throw BadRecord{"more than " + std::to_string(full) + " tensors", "as many as the model reads"};
    const std::size_t end = line.find(';');
    tensors.push_back(tensor_of(line.substr(0, end), tensors.size()));
    if (end == std::string_view::npos) break;
    line.remove_prefix(end + 1);
  }
  if (tensors.size() != full && tensors.size() != 2) {
    throw BadRecord{std::to_string(tensors.size()) + " tensors", std::to_string(full) + ", or token ids and sentence types"};
  }
  Sample sample;
  sample.shape = tensors[0].shape;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].shape != sample.shape) throw BadRecord{"another shape of the " + named(i), "that of the token ids"};
    if (i == kMask) {
      sample.mask.assign(tensors[i].values.begin(), tensors[i].values.end());
      for (const float value : sample.mask) {
        if (value != 0 && value != 1) throw BadRecord{"a mask of other numbers", "0 and 1"};
      }
      continue;
    }
    std::vector<std::int64_t> numbers;
    for (const double value : tensors[i].values) {
      const bool fits = value >= 0 && value < static_cast<double>(limit_of(i)) && value == std::floor(value);
      if (!fits) {
        const std::string found = quoted(std::to_string(value)) + " among the " + named(i);
        const std::string hint = i == 1 ? " (sentence types stand before positions)" : "";
        throw BadRecord{found, "whole numbers below " + std::to_string(limit_of(i)) + hint};
      }
      numbers.push_back(static_cast<std::int64_t>(value));
    }
    sample.numbers.push_back(std::move(numbers));
  }
  if (tensors.size() == 2) {
    std::vector<std::int64_t> positions;
    const auto length = static_cast<std::size_t>(sample.shape[1]);
    if (sample.shape[1] > positions_) throw BadRecord{std::to_string(length) + " tokens", "at most " + std::to_string(positions_)};
    for (std::size_t i = 0; i < sample.numbers[0].size(); ++i) {
      positions.push_back(static_cast<std::int64_t>(i % length));
      sample.mask.push_back(sample.numbers[0][i] != 0);
    }
    if (full == 5) sample.numbers.insert(sample.numbers.end(), {positions, std::vector<std::int64_t>(positions.size(), folder_.task_id)});
    else sample.numbers.push_back(std::move(positions));
  }
  return sample;
}

}  // namespace ernie
