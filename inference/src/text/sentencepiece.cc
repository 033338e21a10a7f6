// Over libsentencepiece, of any version that has byte pieces (0.1.9).
#include <sentencepiece_processor.h>

#include "errors.h"
#include "text/model_proto.h"
#include "text/piece_model.h"
#include "text/utf8.h"

namespace ernie {
namespace {

using Status = sentencepiece::util::Status;

constexpr char kExpected[] = "a sentencepiece model (spm_cased_simp_sampled.model of ERNIE tiny)";
// Fields of the messages SentencePieceText and SentencePiece.
constexpr unsigned kPieces = 2, kText = 1, kBegin = 4, kEnd = 5;

class SentencePiece : public PieceModel {
 public:
  SentencePiece(const std::string& content, const std::string& path) : path_(path) {
    if (content.empty()) throw bad_input(path, "an empty file", kExpected);
    load(normal_, normalizer_of(content, path));
    load(processor_, content);
    if (count() == 0) throw bad_input(path, "no pieces", kExpected);
    std::u32string codes;
    for (int id = 0; id < count(); ++id) {
      if (decode_utf8(piece(id), codes) < piece(id).size()) {
        throw bad_input(path, "a piece that is not UTF-8", kExpected);
      }
    }
  }

  int count() const override { return processor_.GetPieceSize(); }
  const std::string& piece(int id) const override { return processor_.IdToPiece(id); }
  int unknown() const override { return processor_.unk_id(); }
  bool is_plain(int id) const override {
    return !processor_.IsControl(id) && !processor_.IsUnknown(id) && !processor_.IsByte(id);
  }

  void encode(std::string_view text, std::vector<int>& ids) const override { check(processor_.Encode(text, &ids)); }

  void encode(std::string_view text, std::vector<std::string>& pieces) const override {
    check(processor_.Encode(text, &pieces));
  }

  void normalize(std::string_view text, std::u32string& normal, std::vector<std::uint32_t>& places) const override {
    const std::string said = normal_.EncodeAsSerializedProto(text);
    std::string bytes;
    std::uint64_t end = 0;
    places.clear();
    ProtoReader fields(said);
    while (fields.next()) {
      if (fields.number() != kPieces) continue;
      std::string_view piece;
      std::uint64_t begin = 0;
      ProtoReader parts(fields.bytes());
      while (parts.next()) {
        if (parts.number() == kText) piece = parts.bytes();
        if (parts.number() == kBegin) begin = parts.value();
        if (parts.number() == kEnd) end = parts.value();
      }
      const int byte = byte_of(piece);
      if (byte < 0 || begin > text.size() || end > text.size()) fail("pieces of another kind");
      bytes += static_cast<char>(byte);
      if ((byte & 0xC0) != 0x80) places.push_back(static_cast<std::uint32_t>(begin));
    }
    if (fields.is_broken() || decode_utf8(bytes, normal) < bytes.size()) fail("a text that is not UTF-8");
    places.push_back(static_cast<std::uint32_t>(end));
  }

 private:
  void load(sentencepiece::SentencePieceProcessor& processor, const std::string& content) {
    const Status status = processor.LoadFromSerializedProto(content);
    if (status.ok()) return;
    throw bad_input(path_, "content that sentencepiece cannot read (" + quoted(status.ToString()) + ")", kExpected);
  }

  void check(const Status& status) const {
    if (!status.ok()) fail(status.ToString());
  }

  [[noreturn]] void fail(const std::string& found) const {
    throw bad_input(path_, "a text that sentencepiece cannot cut (" + quoted(found) + ")", "its pieces");
  }

  std::string path_;
  sentencepiece::SentencePieceProcessor processor_, normal_;
};

}  // namespace

std::unique_ptr<const PieceModel> open_piece_model(const std::string& content, const std::string& path) {
  return std::make_unique<SentencePiece>(content, path);
}

}  // namespace ernie
