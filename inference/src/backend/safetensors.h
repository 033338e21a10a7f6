// Tensors of a safetensors file (https://github.com/huggingface/safetensors), read where they lie.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "files.h"

namespace ernie {

class Tensors {
 public:
  using Shape = std::vector<std::int64_t>;

  // Maps the file and checks its header: every byte belongs to one tensor, of a known type, whose bytes are as many as its
  // shape says. Throws UserError.
  explicit Tensors(const std::string& path);

  const std::string& path() const { return path_; }

  // The shape of a tensor, or null.
  const Shape* shape(const std::string& name) const;

  // The values of a tensor, as long as this lives: in the file, or copied where the file has them in another type than
  // float32. Throws UserError: there is none, in another shape, of a type that is no floating-point number, or a value is
  // not finite.
  const float* values(const std::string& name, const Shape& shape);

  // Values that were copied are freed but those of these tensors.
  void keep(const std::vector<std::string>& names);

  // Pages of the file that were read go back to the system.
  void give_back() const { file_.give_back(); }

 private:
  struct Entry {
    std::string type;
    Shape shape;
    std::size_t begin, size;  // of its bytes in the file
  };

  void read_header();
  void check_places(std::size_t begin) const;
  const float* converted(const std::string& name, const Entry& entry, std::size_t count);

  std::string path_;
  MappedFile file_;
  std::unordered_map<std::string, Entry> entries_;
  std::unordered_map<std::string, std::vector<float>> copies_;
};

}  // namespace ernie
