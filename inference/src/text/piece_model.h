// A sentencepiece model. The implementation is chosen when the project is built: with the library, or without it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace ernie {

// Safe to share among threads. Texts are UTF-8. All throw UserError where the library fails.
class PieceModel {
 public:
  virtual ~PieceModel() = default;

  // Pieces by their ids in the model, and whether a text can become one.
  virtual int count() const = 0;
  virtual const std::string& piece(int id) const = 0;
  virtual bool is_plain(int id) const = 0;
  virtual int unknown() const = 0;

  // The pieces of a text: their ids in the model; or their characters, of which those that the model does not know stand
  // as they are.
  virtual void encode(std::string_view text, std::vector<int>& ids) const = 0;
  virtual void encode(std::string_view text, std::vector<std::string>& pieces) const = 0;

  // What the model cuts into pieces: the text in the model's normal form. For each character of it, and for its end, the
  // place in the text, in bytes.
  virtual void normalize(std::string_view text, std::u32string& normal, std::vector<std::uint32_t>& places) const = 0;
};

// The byte that a piece like <0x1F> stands for, which is part of a character without a piece; -1 of another piece.
int byte_of(std::string_view piece);

// content: of the file `path`, which stands in messages. Throws UserError: no such model, or no library.
std::unique_ptr<const PieceModel> open_piece_model(const std::string& content, const std::string& path);

}  // namespace ernie
