// A vocabulary: its file, and the tree of its tokens that words are matched against.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace ernie {

// Tokens by their characters, as a tree: from each node a character leads to the next one.
class TokenTree {
 public:
  using Node = std::uint32_t;
  static constexpr Node kRoot = 0, kNone = std::numeric_limits<Node>::max();
  static constexpr std::int32_t kNoToken = -1;

  TokenTree();
  void add(std::u32string_view token, std::int32_t id);

  // The node behind a character; kNone where no token goes on with it.
  Node step(Node node, char32_t code) const {
    const std::uint64_t key = key_of(node, code);
    for (std::size_t slot = slot_of(key);; slot = (slot + 1) & mask_) {
      if (keys_[slot] == key) return next_[slot];
      if (keys_[slot] == kEmpty) return kNone;
    }
  }

  // The node behind all characters of a text.
  Node walk(std::u32string_view text, Node node = kRoot) const;

  // The id of the token that ends at a node, or kNoToken.
  std::int32_t id(Node node) const { return ids_[node]; }

  std::int32_t id_of(std::u32string_view token) const;

 private:
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};
  static std::uint64_t key_of(Node node, char32_t code) { return std::uint64_t{node} << 21 | code; }
  std::size_t slot_of(std::uint64_t key) const { return (key * 0x9E3779B97F4A7C15u) >> shift_; }
  void grow();

  // A hash table with open addressing, at most half full: (node, character) -> node.
  std::vector<std::uint64_t> keys_;
  std::vector<Node> next_;
  std::size_t mask_;
  int shift_;
  std::vector<std::int32_t> ids_;  // of each node
};

struct Vocabulary {
  TokenTree tokens;
  std::size_t count = 0;
  std::int32_t largest_id = 0;
  std::int32_t pad = 0, cls = 0, sep = 0, unk = 0;
  std::vector<std::string> warnings;
};

// Reads a file of `token<TAB>id`, or of one token a line whose id is the line number from 0, by the rules of
// `ernie.tokenizers.vocabulary.load_vocab`. Throws UserError.
Vocabulary read_vocabulary(const std::string& path);

}  // namespace ernie
