// In place of text/sentencepiece.cc, where the library was not found.
#include "errors.h"
#include "text/piece_model.h"

namespace ernie {

std::unique_ptr<const PieceModel> open_piece_model(const std::string&, const std::string& path) {
  throw bad_input(path, "a model of sentencepiece", "none: this was built without sentencepiece", 0,
                  "Install it (Debian: apt-get install libsentencepiece-dev) and build again.");
}

}  // namespace ernie
