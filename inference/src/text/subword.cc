#include "text/subword.h"

#include <algorithm>

#include "errors.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace ernie {
namespace {

constexpr char32_t kWordStart = 0x2581;

// Where a character of the joined parts is from; the space between two parts belongs to none, and stands before the
// character that is named.
struct Origin {
  std::uint32_t place;
  bool is_gap;
};

// From places in bytes of a text to places in its characters.
void count_characters(std::string_view bytes, std::vector<std::uint32_t>& places) {
  std::vector<std::uint32_t> counts(bytes.size() + 1);
  for (std::size_t i = 0; i < bytes.size(); ++i) counts[i + 1] = counts[i] + ((bytes[i] & 0xC0) != 0x80);
  for (std::uint32_t& place : places) place = counts.at(place);
}

}  // namespace

SubwordTokenizer::SubwordTokenizer(Vocabulary vocabulary, bool lower, WordList words,
                                   std::unique_ptr<const PieceModel> model, const std::string& model_path,
                                   const std::string& vocabulary_path)
    : Tokenizer(std::move(vocabulary)), words_(std::move(words)), model_(std::move(model)), model_path_(model_path),
      lower_(lower) {
  std::u32string marked;
  std::vector<std::uint32_t> places;
  model_->normalize("a", marked, places);
  marks_ends_ = !marked.empty() && marked.back() == kWordStart && marked.front() != kWordStart;
  std::size_t plain = 0, known = 0;
  for (int id = 0; id < model_->count(); ++id) {
    const std::u32string piece = code_points(model_->piece(id));
    table_.push_back(id_of(piece));
    if (!model_->is_plain(id)) continue;
    ++plain;
    known += vocabulary_.tokens.id_of(piece) != TokenTree::kNoToken;
  }
  if (2 * known < plain) {
    throw bad_input(model_path,
                    std::to_string(known) + " of " + std::to_string(plain) + " pieces in " + vocabulary_path,
                    "the sentencepiece model that belongs to this vocabulary");
  }
}

std::int32_t SubwordTokenizer::id_of(std::u32string_view piece) const {
  const std::int32_t id = vocabulary_.tokens.id_of(piece);
  return id == TokenTree::kNoToken ? vocabulary_.unk : id;
}

// The parts of a text that are no spaces, each lower-cased, with spaces between them: add(character, origin).
template <typename Add>
void SubwordTokenizer::join(std::u32string_view text, Add&& add) const {
  bool is_first = true;
  for (std::size_t at = 0; at < text.size();) {
    const std::u32string_view part = text.substr(at, words_.part(text, at));
    if (part != U" ") {
      if (!is_first) add(U' ', Origin{static_cast<std::uint32_t>(at), true});
      is_first = false;
      for (std::size_t i = 0; i < part.size(); ++i) {
        char32_t small[unicode::kMostLowered] = {part[i]};
        const int count = lower_ ? lower_at(part, i, small) : 1;
        for (int k = 0; k < count; ++k) add(small[k], Origin{static_cast<std::uint32_t>(at + i), false});
      }
    }
    at += part.size();
  }
}

void SubwordTokenizer::encode(std::u32string_view text, std::vector<std::int32_t>& ids) const {
  std::string joined;
  join(text, [&](char32_t code, Origin) { append_utf8(code, joined); });
  std::vector<int> found;
  model_->encode(joined, found);
  std::vector<std::string> pieces;
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (found[i] != model_->unknown()) {
      ids.push_back(table_.at(static_cast<std::size_t>(found[i])));
      continue;
    }
    // The vocabulary may have what the model does not know.
    if (pieces.empty()) model_->encode(joined, pieces);
    ids.push_back(id_of(code_points(pieces.at(i))));
  }
}

// A piece that only marks the beginning of a word stands for the first character of that word; the end, for the last
// one.
void SubwordTokenizer::encode_aligned(std::u32string_view text, Encoded& encoded) const {
  std::string joined;
  std::vector<Origin> origins;
  join(text, [&](char32_t code, Origin origin) {
    append_utf8(code, joined);
    origins.push_back(origin);
  });
  std::vector<std::string> pieces;
  model_->encode(joined, pieces);
  if (pieces.empty()) return;
  std::u32string normal;
  std::vector<std::uint32_t> places;
  model_->normalize(joined, normal, places);
  count_characters(joined, places);
  std::size_t at = 0;
  for (const std::string& bytes : pieces) {
    const std::u32string piece = code_points(bytes);
    std::size_t begin = at, end = at + piece.size();
    const bool stands = normal.compare(at, piece.size(), piece) == 0;
    if (const int byte = stands ? -1 : byte_of(bytes); byte >= 0) {
      // Those after the first are 10xxxxxx.
      const bool goes_on = byte >= 0x80 && byte < 0xC0 && at > 0;
      begin = goes_on ? at - 1 : at;
      end = begin + 1;
    }
    at = end;
    if (begin >= normal.size() || end > normal.size()) {
      throw bad_input(model_path_, "pieces that are not the text", "a sentencepiece model");
    }
    if (normal[begin] == kWordStart && marks_ends_) {
      begin -= begin > 0;
    } else if (normal[begin] == kWordStart && begin + 1 < normal.size()) {
      end = std::max(end, begin + 2);
      ++begin;
    }
    // A mark behind what the model left out has no character.
    const std::size_t start = std::min<std::size_t>(places[begin], origins.size() - 1);
    std::size_t last = std::max<std::size_t>(start, places[end] == 0 ? 0 : places[end] - 1);
    if (last >= origins.size()) throw bad_input(model_path_, "pieces that are not the text", "a sentencepiece model");
    while (last > start && origins[last].is_gap) --last;
    encoded.add(id_of(piece), origins[start].place, origins[last].place + 1);
  }
}

}  // namespace ernie
