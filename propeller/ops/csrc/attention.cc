#include "attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "bfloat16.h"
#include "functions.h"
#include "small_product.h"
#include "support.h"

namespace ops {
namespace {

constexpr int64_t kQueries = 32;   // of a block: its scores stay in a core's second cache, however long the text is
constexpr int64_t kTile = 16;      // sizes are rounded up to this: whole vectors, whole transposed tiles
constexpr int64_t kLongRow = 32;   // tokens from which on bfloat16 products are worth their conversions
constexpr int64_t kRowsAhead = 16; // rows that are fetched before they are read
constexpr int64_t kTokens = 128;   // a thread takes neighbouring heads of a text of fewer tokens at once, see `Group`
static_assert(kTile % kLanes == 0 && kQueries % kTile == 0, "rows of scores are whole vectors");

int64_t padded(int64_t size) { return round_up(size, kTile); }

// One head of one row of the batch.
struct Head {
  int64_t start, tokens, number;  // its rows of qkv are [start, start + tokens)
  uint64_t first_score;           // for dropout
};

// All heads of all rows, the longest rows first.
std::vector<Head> heads_of(const AttentionShape& s) {
  std::vector<Head> heads;
  uint64_t first = 0;
  for (int64_t row = 0; row < s.rows; ++row) {
    const int64_t tokens = s.starts[row + 1] - s.starts[row];
    for (int64_t h = 0; h < s.heads && tokens > 0; ++h) {
      heads.push_back({s.starts[row], tokens, h, first});
      first += numbered_scores(tokens);
    }
  }
  std::stable_sort(heads.begin(), heads.end(), [](const Head& a, const Head& b) { return a.tokens > b.tokens; });
  return heads;
}

// Neighbouring heads of one row, which one thread computes: what the next one reads lies beside what the last one read, and
// is fetched while that is computed.
struct Group {
  int64_t first, count;
};

std::vector<Group> groups_of(const std::vector<Head>& heads) {
  std::vector<Group> groups;
  int64_t tokens = 0;  // of the last group
  for (size_t i = 0; i < heads.size(); ++i) {
    tokens += heads[i].tokens;
    if (i == 0 || heads[i].start != heads[i - 1].start || tokens > kTokens) {
      groups.push_back({static_cast<int64_t>(i), 0});
      tokens = heads[i].tokens;
    }
    ++groups.back().count;
  }
  return groups;
}

// Memory of a thread: one piece for each purpose, of which it keeps so much from one head to the next.
constexpr size_t kKeptBytes = 1 << 20;
enum Purpose {
  kQ, kK, kV, kDy, kPairs, kQColumns, kDyColumns, kQRight, kKRight, kVRight, kDyRight, kKLeft, kVLeft,
  kScores, kSlopes, kKept, kLeft, kResult, kDk, kDv, kPurposes
};

Scratch& scratch(int purpose) {
  thread_local Scratch each[kPurposes];
  return each[purpose];
}

template <typename T>
T* memory(Purpose purpose, int64_t count) {
  return scratch(purpose).get<T>(count);
}

// A matrix of `rows` x `columns` in float32, filled up with zeros to whole tiles.
struct Panel {
  int64_t rows, columns, stride;
  const float* data;
};

Panel copy(Purpose purpose, const float* x, int64_t x_stride, int64_t rows, int64_t columns, float factor) {
  const int64_t stride = padded(columns);
  float* out = memory<float>(purpose, padded(rows) * stride);
  for (int64_t i = 0; i < rows; ++i) {
    // Rows are far from each other: a processor fetches none of them ahead by itself.
    if (i + kRowsAhead < rows) {
      for (int64_t j = 0; j < columns; j += 16) __builtin_prefetch(x + (i + kRowsAhead) * x_stride + j);
    }
    multiply_row(x + i * x_stride, factor, columns, out + i * stride);
    for (int64_t j = columns; j < stride; ++j) out[i * stride + j] = 0;
  }
  std::fill(out + rows * stride, out + padded(rows) * stride, 0.0f);
  return {rows, columns, stride, out};
}

template <typename T>
void transpose_tiles(const T* x, int64_t rows, int64_t columns, T* out) {
  for (int64_t i = 0; i < rows; i += kTile)
    for (int64_t j = 0; j < columns; j += kTile)
      transpose_16x16(x + i * columns + j, columns, out + j * rows + i, rows);
}

// How factors of products lie in memory: float32 numbers, or pairs of bfloat16 numbers (see small_product.h).
template <typename T>
struct Factors;

template <>
struct Factors<float> {
  // Steps of a product over `count` elements.
  static int64_t depth(int64_t count) { return count; }

  // The panel as left factor, element (row, column).
  static LeftFactor<float> left(Purpose, const Panel& p) { return {p.data, p.stride, 1}; }

  // As right factor in products over its rows; the stride is that of the panel.
  static const float* right(Purpose, const Panel& p) { return p.data; }

  // As right factor in products over its columns; the stride is `padded(p.rows)`.
  static const float* right_transposed(Purpose purpose, const Panel& p) {
    auto* out = memory<float>(purpose, padded(p.rows) * p.stride);
    transpose_tiles(p.data, padded(p.rows), p.stride, out);
    return out;
  }

  // Scores [keys, stride] as left factor, element (key, query); and (query, key).
  static LeftFactor<float> scores(Purpose, const float* s, int64_t, int64_t stride) { return {s, stride, 1}; }
  static LeftFactor<float> scores_transposed(Purpose, const float* s, int64_t, int64_t stride) {
    return {s, 1, stride};
  }
};

template <>
struct Factors<uint32_t> {
  static int64_t depth(int64_t count) { return ceil_div(count, 2); }

  static LeftFactor<uint32_t> left(Purpose purpose, const Panel& p) {
    const int64_t stride = padded(depth(p.columns));
    auto* out = memory<uint32_t>(purpose, padded(p.rows) * stride);
    for (int64_t i = 0; i < padded(p.rows); ++i) {
      to_bfloat16(p.data + i * p.stride, p.stride, out + i * stride);
      std::fill(out + i * stride + p.stride / 2, out + (i + 1) * stride, 0u);
    }
    return {out, stride, 1};
  }

  static const uint32_t* right(Purpose purpose, const Panel& p) {
    auto* out = memory<uint32_t>(purpose, padded(p.rows) / 2 * p.stride);
    for (int64_t i = 0; i < padded(p.rows); i += 2) {
      const float* low = p.data + i * p.stride;
      interleave(low, low + p.stride, p.stride, out + i / 2 * p.stride);
    }
    return out;
  }

  static const uint32_t* right_transposed(Purpose purpose, const Panel& p) {
    const LeftFactor<uint32_t> pairs = left(kPairs, p);
    auto* out = memory<uint32_t>(purpose, padded(p.rows) * pairs.row);
    transpose_tiles(pairs.data, padded(p.rows), pairs.row, out);
    return out;
  }

  static LeftFactor<uint32_t> scores(Purpose purpose, const float* s, int64_t keys, int64_t stride) {
    auto* out = memory<uint32_t>(purpose, keys * stride / 2);
    to_bfloat16(s, keys * stride, out);
    return {out, stride / 2, 1};
  }

  static LeftFactor<uint32_t> scores_transposed(Purpose purpose, const float* s, int64_t keys, int64_t stride) {
    static const float zeros[kQueries] = {};
    auto* out = memory<uint32_t>(purpose, depth(keys) * stride);
    for (int64_t i = 0; i < keys; i += 2) {
      interleave(s + i * stride, i + 1 < keys ? s + (i + 1) * stride : zeros, stride, out + i / 2 * stride);
    }
    return {out, 1, stride};
  }
};

// What the scores of a block of `queries` queries are multiplied with, a row of `stride` elements for each key.
struct Kept {
  const float* factors;
  int64_t stride;

  Kept(const Dropout& dropout, const Head& head, int64_t first_query, int64_t queries)
      : factors(nullptr), stride(round_up(queries, 4)) {
    if (dropout.threshold == 0) return;
    const int64_t count = head.tokens * stride;
    float* out = memory<float>(kKept, count + kQueries);
    keep_factors(dropout, head.first_score + head.tokens * first_query, count, out);
    std::fill(out + count, out + count + kQueries, 0.0f);  // rows are read in whole vectors
    factors = out;
  }
};

// One head of one row, forward and backward. Scores of a block are a matrix of keys x queries: what belongs to a query
// is a column, so that a vector holds as many queries, and maxima and sums need nothing across its elements.
template <typename T>
class Work {
 public:
  Work(const AttentionShape& shape, const Dropout& dropout, const Head& head)
      : s_(shape), dropout_(dropout), head_(head), width_(s_.hidden / s_.heads), wide_(padded(width_)),
        scale_(1.0f / std::sqrt(static_cast<float>(width_))) {}

  Work(const Work&) = delete;
  Work& operator=(const Work&) = delete;
  ~Work() {
    for (int purpose = 0; purpose < kPurposes; ++purpose) scratch(purpose).keep_at_most(kKeptBytes);
  }

  // Of the first `wanted` queries. terms null: not wanted. `more`, here and below: the next head follows on this thread.
  void forward(const float* qkv, int64_t wanted, float* y, int64_t y_stride, float* terms, bool more) const {
    const T* queries = F::right_transposed(kQColumns, part(kQ, qkv, 0, scale_));
    const LeftFactor<T> keys = F::left(kKLeft, part(kK, qkv, 1, 1));
    const T* values = F::right(kVRight, part(kV, qkv, 2, 1));
    float* out = memory<float>(kResult, kQueries * wide_);
    if (more) fetch_next(qkv);
    for (int64_t q = 0; q < wanted; q += kQueries) {
      const int64_t count = std::min(kQueries, wanted - q), stride = padded(count);
      float* scores = memory<float>(kScores, head_.tokens * stride);
      across_width(keys, queries + q, stride, scores);
      const Kept kept(dropout_, head_, q, count);
      float highest[kQueries], inverse[kQueries];
      softmax(stride, kept, scores, highest, inverse);
      if (terms != nullptr) {
        std::copy(highest, highest + count, term(terms, 0) + q);
        std::copy(inverse, inverse + count, term(terms, 1) + q);
      }
      across_keys(scores, values, count, stride, out);
      for (int64_t i = 0; i < count; ++i) {
        float* const y_row = y + (q + i) * y_stride + head_.number * width_;
        multiply_row(out + i * wide_, inverse[i], width_, y_row);
      }
    }
  }

  int64_t start() const { return head_.start; }
  int64_t tokens() const { return head_.tokens; }

  // Fetches what the next head of the same row reads.
  void fetch_next(const float* qkv) const {
    for (int64_t which = 0; which < 3; ++which) fetch<false>(at_part(qkv, which) + width_, s_.stride);
  }
  void fetch_next(const float* qkv, const float* dy) const {
    fetch_next(qkv);
    fetch<false>(dy + head_.start * s_.hidden + (head_.number + 1) * width_, s_.hidden);
  }

  void backward(const float* qkv, const float* terms, const float* dy, float* dqkv, bool more) const {
    const Panel q_panel = part(kQ, qkv, 0, scale_), k_panel = part(kK, qkv, 1, 1), v_panel = part(kV, qkv, 2, 1);
    const Panel dy_panel =
        copy(kDy, dy + head_.start * s_.hidden + head_.number * width_, s_.hidden, head_.tokens, width_, 1);
    const T* q_columns = F::right_transposed(kQColumns, q_panel);
    const T* dy_columns = F::right_transposed(kDyColumns, dy_panel);
    const T *q_right = F::right(kQRight, q_panel), *dy_right = F::right(kDyRight, dy_panel);
    const T* k_right = F::right(kKRight, k_panel);
    const LeftFactor<T> k_left = F::left(kKLeft, k_panel), v_left = F::left(kVLeft, v_panel);
    float *dk = memory<float>(kDk, head_.tokens * wide_), *dv = memory<float>(kDv, head_.tokens * wide_);
    float* dq = memory<float>(kResult, kQueries * wide_);
    for (int64_t which = 0; which < 3; ++which) fetch<true>(at_part(dqkv, which), s_.stride);
    if (more) fetch_next(qkv, dy);
    for (int64_t q = 0; q < head_.tokens; q += kQueries) {
      const int64_t count = std::min(kQueries, head_.tokens - q), stride = padded(count);
      float* weights = memory<float>(kScores, head_.tokens * stride);
      float* slopes = memory<float>(kSlopes, head_.tokens * stride);
      across_width(k_left, q_columns + q, stride, weights);
      across_width(v_left, dy_columns + q, stride, slopes);
      const Kept kept(dropout_, head_, q, count);
      float highest[kQueries] = {}, inverse[kQueries] = {};
      std::copy(term(terms, 0) + q, term(terms, 0) + q + count, highest);
      std::copy(term(terms, 1) + q, term(terms, 1) + q + count, inverse);
      softmax_gradient(stride, kept, highest, inverse, weights, slopes);
      const int64_t depth = F::depth(count), at = F::depth(q) * wide_;
      across_queries(weights, dy_right + at, depth, stride, q > 0, dv);
      across_queries(slopes, q_right + at, depth, stride, q > 0, dk);
      across_keys(slopes, k_right, count, stride, dq);
      for (int64_t i = 0; i < count; ++i) {
        multiply_row(dq + i * wide_, scale_, width_, at_part(dqkv, 0) + (q + i) * s_.stride);
      }
    }
    for (int64_t i = 0; i < head_.tokens; ++i) {
      multiply_row(dk + i * wide_, 1, width_, at_part(dqkv, 1) + i * s_.stride);
      multiply_row(dv + i * wide_, 1, width_, at_part(dqkv, 2) + i * s_.stride);
    }
  }

 private:
  using F = Factors<T>;

  // Queries (0), keys (1) or values (2) of this head: rows of qkv.
  template <typename U>
  U* at_part(U* qkv, int64_t which) const {
    return qkv + head_.start * s_.stride + which * s_.part + head_.number * width_;
  }

  // The width of a head in each of the row's tokens.
  template <bool written>
  void fetch(const float* x, int64_t stride) const {
    for (int64_t i = 0; i < head_.tokens; ++i) fetch_ahead<written>(x + i * stride, width_);
  }

  Panel part(Purpose purpose, const float* qkv, int64_t which, float factor) const {
    return copy(purpose, at_part(qkv, which), s_.stride, head_.tokens, width_, factor);
  }

  template <typename U>
  U* term(U* terms, int64_t which) const {
    return terms + (which * s_.heads + head_.number) * s_.tokens + head_.start;
  }

  // out [keys, stride] <- keys' rows times columns of queries
  void across_width(const LeftFactor<T>& rows, const T* columns, int64_t stride, float* out) const {
    small_product(head_.tokens, stride, F::depth(width_), rows, columns, padded(head_.tokens), out, stride, false);
  }

  // out [queries, wide] <- scores^T times what belongs to the keys
  void across_keys(const float* scores, const T* of_keys, int64_t queries, int64_t stride, float* out) const {
    const LeftFactor<T> left = F::scores_transposed(kLeft, scores, head_.tokens, stride);
    small_product(queries, wide_, F::depth(head_.tokens), left, of_keys, wide_, out, wide_, false);
  }

  // out [keys, wide] <- scores times what belongs to the queries, or that is added
  void across_queries(const float* scores, const T* of_queries, int64_t depth, int64_t stride, bool add,
                      float* out) const {
    const LeftFactor<T> left = F::scores(kLeft, scores, head_.tokens, stride);
    small_product(head_.tokens, wide_, depth, left, of_queries, wide_, out, wide_, add);
  }

  // Scores become e^(score - highest), and 0 or more than that where there is dropout.
  void softmax(int64_t stride, const Kept& kept, float* scores, float* highest, float* inverse) const {
    for (int64_t j = 0; j < stride; j += kLanes) {
      Lanes most = load(scores + j), sum = {};
      for (int64_t k = 1; k < head_.tokens; ++k) most = max(most, load(scores + k * stride + j));
      for (int64_t k = 0; k < head_.tokens; ++k) {
        Lanes e = exp_negative(load(scores + k * stride + j) - most);
        sum += e;
        if (kept.factors != nullptr && j < kept.stride) e *= load(kept.factors + k * kept.stride + j);
        store(e, scores + k * stride + j);
      }
      store(most, highest + j);
      store(1.0f / sum, inverse + j);
    }
  }

  // `weights`: scores s become p = e^(s - highest) * inverse, with dropout's factor f: f p. `slopes`: the gradient g of
  // f p becomes that of s, p (f g - sum over keys of p f g).
  void softmax_gradient(int64_t stride, const Kept& kept, const float* highest, const float* inverse, float* weights,
                        float* slopes) const {
    for (int64_t j = 0; j < stride; j += kLanes) {
      const Lanes most = load(highest + j), factor = load(inverse + j);
      const bool dropping = kept.factors != nullptr && j < kept.stride;
      const float* factors = kept.factors + j;
      Lanes sum = {};
      for (int64_t k = 0; k < head_.tokens; ++k) {
        const int64_t at = k * stride + j;
        const Lanes p = exp_negative(load(weights + at) - most) * factor;
        Lanes g = load(slopes + at);
        if (dropping) {
          g *= load(factors + k * kept.stride);
          store(g, slopes + at);
        }
        sum += p * g;
        store(p, weights + at);
      }
      for (int64_t k = 0; k < head_.tokens; ++k) {
        const int64_t at = k * stride + j;
        const Lanes p = load(weights + at);
        store(p * (load(slopes + at) - sum), slopes + at);
        if (dropping) store(p * load(factors + k * kept.stride), weights + at);
      }
    }
  }

  const AttentionShape& s_;
  const Dropout& dropout_;
  const Head& head_;
  const int64_t width_, wide_;
  const float scale_;
};

// `each(work)` for one head of one row.
template <typename Each>
void for_head(const AttentionShape& shape, Precision precision, const Dropout& dropout, const Head& head, Each&& each) {
  if (precision == Precision::kBfloat16 && head.tokens >= kLongRow) {
    each(Work<uint32_t>(shape, dropout, head));
  } else {
    each(Work<float>(shape, dropout, head));
  }
}

// The same for all heads of all rows: `each(work, more)`.
template <typename Each>
void for_heads(const AttentionShape& shape, Precision precision, const Dropout& dropout, Each&& each) {
  const std::vector<Head> heads = heads_of(shape);
  const std::vector<Group> groups = groups_of(heads);
  const RowThreads threads(shape.tokens);
  const auto thread_of = [&](int64_t g) { return threads.of(heads[groups[g].first].start); };
  parallel_for_near(static_cast<int64_t>(groups.size()), threads.threads(), thread_of, [&](int64_t g) {
    for (int64_t i = groups[g].first, left = groups[g].count; left > 0; ++i, --left) {
      for_head(shape, precision, dropout, heads[i], [&](const auto& work) { each(work, left > 1); });
    }
  });
}

}  // namespace

int64_t numbered_scores(int64_t tokens) {
  const int64_t whole = tokens / kQueries * kQueries;
  return tokens * (whole + round_up(tokens - whole, 4));
}

int64_t first_block_columns(int64_t tokens) { return round_up(std::min(kQueries, tokens), 4); }

void attention_forward(const AttentionShape& shape, Precision precision, const Dropout& dropout, const float* qkv,
                       float* y, float* terms) {
  for_heads(shape, precision, dropout, [&](const auto& work, bool more) {
    work.forward(qkv, work.tokens(), y + work.start() * shape.hidden, shape.hidden, terms, more);
  });
}

void attention_head(const AttentionShape& shape, Precision precision, int64_t row, int64_t head, int64_t queries,
                    const float* qkv, float* y, int64_t y_stride) {
  const int64_t start = shape.starts[row], tokens = shape.starts[row + 1] - start;
  if (tokens == 0) return;
  for_head(shape, precision, dropout_of(0, 0, 0), {start, tokens, head, 0}, [&](const auto& work) {
    work.forward(qkv, std::min(queries, tokens), y, y_stride, nullptr, false);
  });
}

void attention_backward(const AttentionShape& shape, Precision precision, const Dropout& dropout, const float* qkv,
                        const float* terms, const float* dy, float* dqkv) {
  for_heads(shape, precision, dropout,
            [&](const auto& work, bool more) { work.backward(qkv, terms, dy, dqkv, more); });
}

}  // namespace ops
