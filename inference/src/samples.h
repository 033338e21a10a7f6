// The sample files of 2019: a batch a line, tensors of `shape:data` parted by semicolons.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "backend/backend.h"
#include "model/folder.h"

namespace ernie {

// A batch: what stands in the line, in the order of `eval_placeholder_0` and so on.
struct Sample {
  std::vector<std::int64_t> shape;                 // [rows, length]
  std::vector<std::vector<std::int64_t>> numbers;  // token ids, sentence types, positions, perhaps task ids
  std::vector<float> mask;

  std::vector<Input> inputs() const;
};

// Parses a line: token ids, sentence types, positions, mask, and for a model with a task embedding task ids. Where only
// the first two stand, as in files of propeller, the other ones are made of them: a token has an id other than 0.
// Throws BadRecord: it is no such line, or holds numbers for which the model has no rows.
class SampleParser {
 public:
  SampleParser(const Folder& folder, std::int64_t words, std::int64_t positions, std::int64_t task_types);
  Sample parse(std::string_view line) const;

 private:
  std::int64_t limit_of(std::size_t index) const;

  const Folder& folder_;
  std::int64_t words_, positions_, task_types_;
};

}  // namespace ernie
