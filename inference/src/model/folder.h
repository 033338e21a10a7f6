// An exported model: everything that its folder says, checked.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "json.h"
#include "text/tokenizer.h"

namespace ernie {

struct Folder {
  std::string path;
  std::string format;         // of the model: fused, paddle, onnx or openvino
  bool is_int8 = false;
  bool gives_vectors = false; // an export for vectors, which has no task
  Json inference, labels;     // `inference.json`; `labels.json`, for vectors what stands in its place
  std::unique_ptr<const Tokenizer> tokenizer;

  // How texts are read.
  std::size_t max_seq_len;
  bool for_cn;
  std::string truncation;
  bool drop_html_breaks;
  bool has_task_id;
  std::int64_t task_id;
  std::size_t sentence_types;

  std::vector<std::string> warnings;

  // For each output of the model whether it has a value for each token.
  std::vector<bool> varies;
};

// Throws UserError: something is missing, broken or contradicts something else.
Folder open_folder(const std::string& path);

// Members of an object with a default, checked. Throw UserError that names `path`.
bool flag_of(const Json& object, const std::string& path, const char* name, bool otherwise);
std::int64_t count_of(const Json& object, const std::string& path, const char* name, std::int64_t least,
                      std::int64_t most, std::int64_t otherwise);
std::vector<std::string> names_of(const Json& object, const std::string& path, const char* name);

}  // namespace ernie
