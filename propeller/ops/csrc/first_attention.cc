#include "first_attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "attention.h"
#include "functions.h"
#include "small_product.h"

namespace ops {
namespace {

constexpr int64_t kHeadColumns = 64;  // of a weight, on one thread

int64_t whole_columns(int64_t size) { return round_up(size, kSmallColumns); }

// out [columns, stride] <- x^T, beyond `rows` zeros; stride is a multiple of 16. x: rows of `x_stride` numbers.
void transpose_part(const float* x, int64_t x_stride, int64_t rows, int64_t columns, float* out, int64_t stride) {
  for (int64_t i = 0; i < stride; i += kSmallColumns) {
    for (int64_t j = 0; j < columns; j += kSmallColumns) {
      if (i + kSmallColumns <= rows && j + kSmallColumns <= columns) {
        transpose_16x16(x + i * x_stride + j, x_stride, out + j * stride + i, stride);
        continue;
      }
      for (int64_t b = j; b < std::min(columns, j + kSmallColumns); ++b)
        for (int64_t a = i; a < i + kSmallColumns; ++a) out[b * stride + a] = a < rows ? x[a * x_stride + b] : 0.0f;
    }
  }
}

// Of a few numbers: a call of the C library takes longer.
void copy_numbers(const float* x, int64_t count, float* out) {
  for_lanes(count, [&](int64_t j, auto extent, int) { store(load(x + j, extent), out + j, extent); });
}

// out [rows, stride] <- x, beyond `columns` zeros.
void copy_part(const float* x, int64_t x_stride, int64_t rows, int64_t columns, float* out, int64_t stride) {
  for (int64_t i = 0; i < rows; ++i) {
    copy_numbers(x + i * x_stride, columns, out + i * stride);
    for (int64_t j = columns; j < stride; ++j) out[i * stride + j] = 0;
  }
}

// ------------------------------------------------------------------------------------------ products with weights

// A weight [inputs, heads * width]: each head has its columns.
struct HeadWeight {
  const float* data;
  int64_t inputs, heads, width;

  int64_t outputs() const { return heads * width; }
  int64_t wide() const { return whole_columns(inputs); }
  int64_t blocks() const { return ceil_div(width, kHeadColumns); }
};

// Vectors [rows, inputs] of each head, `row` and `head` elements apart; head 0: the same for all.
struct HeadVectors {
  const float* data;
  int64_t row, head;
};

// out [heads, rows, wide] = each head's columns of x [rows, outputs] times its part of the weight, transposed.
void to_inputs(const HeadWeight& w, int64_t rows, const float* x, float* out) {
  const int64_t wide = w.wide(), blocks = ceil_div(wide, kHeadColumns);
  parallel_for(w.heads * blocks, [&](int64_t task) {
    thread_local Scratch scratch;
    const Trim trim(scratch);
    const int64_t h = task / blocks, first = task % blocks * kHeadColumns, count = std::min(kHeadColumns, wide - first);
    float* panel = scratch.get<float>(w.width * count);
    transpose_part(w.data + first * w.outputs() + h * w.width, w.outputs(), std::min(count, w.inputs - first), w.width,
                   panel, count);
    small_product<float>(rows, count, w.width, {x + h * w.width, w.outputs(), 1}, panel, count,
                         out + h * rows * wide + first, wide, false);
  });
}

// `finish(row, column, sums, count)` for pieces of the products of each head's vectors with its part of the weight, by
// the thread that computed them: `count` columns of a row, from `column` on, all of head `column / width`.
template <typename Finish>
void to_outputs(const HeadWeight& w, int64_t rows, const HeadVectors& x, Finish&& finish) {
  parallel_for(w.heads * w.blocks(), [&](int64_t task) {
    thread_local Scratch panel_scratch, sum_scratch;
    const Trim trim_panel(panel_scratch), trim_sums(sum_scratch);
    const int64_t h = task / w.blocks(), first = task % w.blocks() * kHeadColumns;
    const int64_t count = std::min(kHeadColumns, w.width - first), stride = whole_columns(count);
    const int64_t column = h * w.width + first;
    float *panel = panel_scratch.get<float>(w.inputs * stride), *sums = sum_scratch.get<float>(rows * stride);
    copy_part(w.data + column, w.outputs(), w.inputs, count, panel, stride);
    small_product<float>(rows, stride, w.inputs, {x.data + h * x.head, x.row, 1}, panel, stride, sums, stride, false);
    for (int64_t i = 0; i < rows; ++i) finish(i, column, sums + i * stride, count);
  });
}

// dweight [inputs, outputs]: of each head, its vectors transposed times its columns of dy [rows, outputs].
void head_weight_gradient(const HeadWeight& w, int64_t rows, const HeadVectors& x, const float* dy, float* dweight) {
  const int64_t blocks = ceil_div(w.inputs, kHeadColumns), stride = whole_columns(w.width);
  parallel_for(w.heads * blocks, [&](int64_t task) {
    thread_local Scratch dy_scratch, sum_scratch;
    const Trim trim_dy(dy_scratch), trim_sums(sum_scratch);
    const int64_t h = task / blocks, first = task % blocks * kHeadColumns;
    const int64_t count = std::min(kHeadColumns, w.inputs - first);
    float *right = dy_scratch.get<float>(rows * stride), *sums = sum_scratch.get<float>(count * stride);
    copy_part(dy + h * w.width, w.outputs(), rows, w.width, right, stride);
    small_product<float>(count, stride, rows, {x.data + h * x.head + first, 1, x.row}, right, stride, sums, stride,
                         false);
    for (int64_t i = 0; i < count; ++i) {
      copy_numbers(sums + i * stride, w.width, dweight + (first + i) * w.outputs() + h * w.width);
    }
  });
}

// ------------------------------------------------------------------------------------------ rows of the batch

// Memory of a thread for one row, by what it is for.
enum RowMemory { kRowTokens, kRowVectors, kRowTransposed, kRowFactors, kRowDropped, kRowSlopes, kRowMemories };

float* row_memory(RowMemory purpose, int64_t count) {
  thread_local Scratch each[kRowMemories];
  if (count == 0) {
    for (Scratch& scratch : each) scratch.keep_at_most(1 << 20);
    return nullptr;
  }
  return each[purpose].get<float>(count);
}

// One row of the batch, all heads. What belongs to tokens and heads is a matrix of tokens x lanes: what belongs to a head
// is a column, so that maxima and sums need nothing across a vector's elements.
class FirstRow {
 public:
  FirstRow(const FirstAttentionShape& shape, const Dropout& dropout, const float* x, int64_t row, uint64_t first_score)
      : s_(shape), row_(row), start_(s_.starts[row]), tokens_(s_.firsts[row] < 0 ? 0 : s_.starts[row + 1] - start_),
        wide_(s_.wide()), lanes_(s_.lanes()) {
    if (tokens_ == 0) return;
    x_ = x + start_ * s_.hidden;
    if (wide_ != s_.hidden) {
      float* copied = row_memory(kRowTokens, tokens_ * wide_);
      copy_part(x_, s_.hidden, tokens_, s_.hidden, copied, wide_);
      x_ = copied;
    }
    if (dropout.threshold == 0) return;
    factors_ = row_memory(kRowFactors, tokens_ * lanes_);
    for (int64_t h = 0; h < s_.heads; ++h) {
      keep_factors_apart(dropout, first_score + h * numbered_scores(tokens_), first_block_columns(tokens_), tokens_,
                         factors_ + h, lanes_);
    }
    for (int64_t k = 0; k < tokens_; ++k) std::fill(factors_ + k * lanes_ + s_.heads, factors_ + (k + 1) * lanes_, 0.0f);
  }

  FirstRow(const FirstRow&) = delete;
  FirstRow& operator=(const FirstRow&) = delete;
  ~FirstRow() { row_memory(kRowMemories, 0); }

  // sums [rows, lanes]: of the weights.
  void forward(const FirstAttentionTerms<float>& terms, float* sums) const {
    float* const weights = terms.weights + start_ * lanes_;
    scores(terms.probes, weights);
    const float* dropped = softmax(weights, sums + row_ * lanes_);
    over_tokens(dropped, terms.contexts);
  }

  // dcontexts, dprobes [heads, rows, wide]: gradients; dprobes is computed here, and dx unless it is null. dsums and sums
  // [rows, lanes]: the gradient of the sum of the weights, and that sum.
  void backward(const FirstAttentionTerms<const float>& terms, const float* dcontexts, const float* dsums, float* sums,
                float* dprobes, float* dx) const {
    float* const slopes = row_memory(kRowSlopes, tokens_ * lanes_ + 1);
    scores(dcontexts, slopes);
    const float* dropped = softmax_gradient(terms.weights + start_ * lanes_, dsums + row_ * lanes_, slopes,
                                            sums + row_ * lanes_);
    over_tokens(slopes, dprobes);
    if (dx != nullptr) token_gradients(dropped, dcontexts, slopes, terms.probes, dx);
  }

 private:
  float* of_row(float* vectors) const { return vectors + row_ * wide_; }
  const float* of_row(const float* vectors) const { return vectors + row_ * wide_; }
  int64_t head_stride() const { return s_.rows * wide_; }

  // out [tokens, lanes] = x times each head's vector of this row, of vectors [heads, rows, wide]
  void scores(const float* vectors, float* out) const {
    float* const rows = row_memory(kRowVectors, lanes_ * wide_);
    float* const columns = row_memory(kRowTransposed, lanes_ * wide_);
    copy_part(of_row(vectors), head_stride(), s_.heads, wide_, rows, wide_);
    std::fill(rows + s_.heads * wide_, rows + lanes_ * wide_, 0.0f);
    transpose_part(rows, wide_, lanes_, wide_, columns, lanes_);
    small_product<float>(tokens_, lanes_, s_.hidden, {x_, wide_, 1}, columns, lanes_, out, lanes_, false);
  }

  // Each head's vector of this row, of vectors [heads, rows, wide] = its column of `weights` times x
  void over_tokens(const float* weights, float* vectors) const {
    small_product<float>(s_.heads, wide_, tokens_, {weights, 1, lanes_}, x_, wide_, of_row(vectors), head_stride(),
                         false);
  }

  // Scores become weights. Returns these after dropout; `sums` are their sums.
  const float* softmax(float* weights, float* sums) const {
    float* const dropped = factors_ == nullptr ? weights : row_memory(kRowDropped, tokens_ * lanes_);
    for (int64_t j = 0; j < lanes_; j += kLanes) {
      Lanes most = lanes(-INFINITY), sum = {}, kept = {};
      for (int64_t k = j; k < tokens_ * lanes_; k += lanes_) most = max(most, load(weights + k));
      for (int64_t k = j; k < tokens_ * lanes_; k += lanes_) {
        const Lanes e = exp_negative(load(weights + k) - most);
        sum += e;
        store(e, weights + k);
      }
      const Lanes inverse = 1.0f / sum;
      for (int64_t k = j; k < tokens_ * lanes_; k += lanes_) {
        const Lanes p = load(weights + k) * inverse;
        store(p, weights + k);
        const Lanes after = factors_ == nullptr ? p : p * load(factors_ + k);
        kept += after;
        store(after, dropped + k);
      }
      store(kept, sums + j);
    }
    return dropped;
  }

  // `slopes`: what reached the weights after dropout, but for `dsums`, becomes what reaches the scores: for weight p with
  // dropout's factor f and slope g, p (f g - sum over tokens of p f g). Returns and sums as `softmax` does.
  const float* softmax_gradient(const float* weights, const float* dsums, float* slopes, float* sums) const {
    float* const dropped = factors_ == nullptr ? nullptr : row_memory(kRowDropped, tokens_ * lanes_);
    for (int64_t j = 0; j < lanes_; j += kLanes) {
      const Lanes more = load(dsums + j);
      Lanes total = {}, kept = {};
      for (int64_t k = j; k < tokens_ * lanes_; k += lanes_) {
        const Lanes p = load(weights + k), f = factors_ == nullptr ? lanes(1) : load(factors_ + k);
        const Lanes after = p * f, g = load(slopes + k) + more;
        kept += after;
        total += after * g;
        store(f * g, slopes + k);
        if (dropped != nullptr) store(after, dropped + k);
      }
      for (int64_t k = j; k < tokens_ * lanes_; k += lanes_) {
        store(load(weights + k) * (load(slopes + k) - total), slopes + k);
      }
      store(kept, sums + j);
    }
    return dropped == nullptr ? weights : dropped;
  }

  // dx = weights times dcontexts + slopes times probes, over the heads
  void token_gradients(const float* weights, const float* dcontexts, const float* slopes, const float* probes,
                       float* dx) const {
    float* const to = dx + start_ * s_.hidden;
    if (tokens_ == 0) {
      std::fill(to, dx + s_.starts[row_ + 1] * s_.hidden, 0.0f);
      return;
    }
    float* const out = wide_ == s_.hidden ? to : row_memory(kRowTokens, tokens_ * wide_);
    const int64_t stride = head_stride();
    small_product<float>(tokens_, wide_, s_.heads, {weights, lanes_, 1}, of_row(dcontexts), stride, out, wide_, false);
    small_product<float>(tokens_, wide_, s_.heads, {slopes, lanes_, 1}, of_row(probes), stride, out, wide_, true);
    if (out == to) return;
    for (int64_t i = 0; i < tokens_; ++i) copy_numbers(out + i * wide_, s_.hidden, to + i * s_.hidden);
  }

  const FirstAttentionShape& s_;
  const int64_t row_, start_, tokens_, wide_, lanes_;  // of a row without a query: 0 tokens
  const float* x_ = nullptr;                           // [tokens, wide]
  float* factors_ = nullptr;                           // [tokens, lanes], of dropout; null: there is none
};

// `each(row)` for all of them.
template <typename Each>
void for_first_rows(const FirstAttentionShape& s, const Dropout& dropout, const float* x, Each&& each) {
  std::vector<uint64_t> first_scores(s.rows + 1);
  for (int64_t row = 0; row < s.rows; ++row) {
    first_scores[row + 1] = first_scores[row] + s.heads * numbered_scores(s.starts[row + 1] - s.starts[row]);
  }
  parallel_for_unequal(s.rows, [&](int64_t row) { each(FirstRow(s, dropout, x, row, first_scores[row])); });
}

// The tokens that ask, [rows, wide]; zeros where nobody does.
void take_firsts(const FirstAttentionShape& s, const float* x, float* out) {
  for (int64_t row = 0; row < s.rows; ++row) {
    const bool asks = s.firsts[row] >= 0;
    copy_part(asks ? x + s.firsts[row] * s.hidden : x, 0, 1, asks ? s.hidden : 0, out + row * s.wide(), s.wide());
  }
}

// dsums [rows, lanes]: of y, each head's part times that of the values' bias.
void sum_gradients(const FirstAttentionShape& s, const float* dy, const float* bias, float* dsums) {
  parallel_for(s.rows, [&](int64_t row) {
    std::fill_n(dsums + row * s.lanes(), s.lanes(), 0.0f);
    for (int64_t h = 0; h < s.heads; ++h) {
      const float *slope = dy + row * s.hidden + h * s.width(), *own = bias + h * s.width();
      Sum sum;
      for_lanes(s.width(), [&](int64_t j, auto extent, int k) {
        sum.part[k] += load(slope + j, extent) * load(own + j, extent);
      });
      dsums[row * s.lanes() + h] = sum.total();
    }
  });
}

// dqueries [rows, hidden]: before they were multiplied. sums [rows, lanes]: of the weights.
void bias_gradients(const FirstAttentionShape& s, const float* dqueries, const float* sums, const float* dy,
                    const FirstAttentionGradients& gradients) {
  parallel_for(s.heads, [&](int64_t h) {
    const int64_t first = h * s.width();
    float *query = gradients.query_bias + first, *value = gradients.value_bias + first;
    std::fill_n(query, s.width(), 0.0f);
    std::fill_n(value, s.width(), 0.0f);
    std::fill_n(gradients.key_bias + first, s.width(), 0.0f);
    for (int64_t row = 0; row < s.rows; ++row) {
      const float* slope = dy + row * s.hidden + first;
      const float sum = sums[row * s.lanes() + h];
      add_to(dqueries + row * s.hidden + first, s.width(), query);
      for_lanes(s.width(), [&](int64_t j, auto extent, int) {
        store(load(value + j, extent) + sum * load(slope + j, extent), value + j, extent);
      });
    }
  });
}

HeadWeight head_weight(const FirstAttentionShape& s, const float* weight) {
  return {weight, s.hidden, s.heads, s.width()};
}

}  // namespace

void first_attention_forward(const FirstAttentionShape& s, const Dropout& dropout, const float* x,
                             const FirstAttentionWeights& weights, const FirstAttentionTerms<float>& terms, float* y) {
  Scratch first_scratch, sum_scratch;
  float *firsts = first_scratch.get<float>(s.rows * s.wide()), *sums = sum_scratch.get<float>(s.rows * s.lanes());
  const int64_t wide = s.wide();
  const float scale = 1.0f / std::sqrt(static_cast<float>(s.width()));
  take_firsts(s, x, firsts);
  to_outputs(head_weight(s, weights.query), s.rows, {firsts, wide, 0},
             [&](int64_t row, int64_t column, const float* products, int64_t count) {
               float* out = terms.queries + row * s.hidden + column;
               for (int64_t j = 0; j < count; ++j) out[j] = (products[j] + weights.query_bias[column + j]) * scale;
             });
  to_inputs(head_weight(s, weights.key), s.rows, terms.queries, terms.probes);
  for_first_rows(s, dropout, x, [&](const FirstRow& row) { row.forward(terms, sums); });
  to_outputs(head_weight(s, weights.value), s.rows, {terms.contexts, wide, s.rows * wide},
             [&](int64_t row, int64_t column, const float* products, int64_t count) {
               const float sum = sums[row * s.lanes() + column / s.width()];
               float* out = y + row * s.hidden + column;
               for (int64_t j = 0; j < count; ++j) out[j] = products[j] + sum * weights.value_bias[column + j];
             });
}

void first_attention_backward(const FirstAttentionShape& s, const Dropout& dropout, const float* x,
                              const FirstAttentionWeights& weights, const FirstAttentionTerms<const float>& terms,
                              const float* dy, const FirstAttentionGradients& gradients) {
  const int64_t wide = s.wide(), lanes = s.lanes(), vectors = s.heads * s.rows * wide;
  const float scale = 1.0f / std::sqrt(static_cast<float>(s.width()));
  const HeadWeight query = head_weight(s, weights.query), key = head_weight(s, weights.key);
  const HeadWeight value = head_weight(s, weights.value);
  Scratch dcontext_scratch, dprobe_scratch, dsum_scratch, sum_scratch, dquery_scratch, first_scratch;
  float *dcontexts = dcontext_scratch.get<float>(vectors), *dprobes = dprobe_scratch.get<float>(vectors);
  float *dsums = dsum_scratch.get<float>(s.rows * lanes), *sums = sum_scratch.get<float>(s.rows * lanes);
  float *dqueries = dquery_scratch.get<float>(s.rows * s.hidden), *firsts = first_scratch.get<float>(s.rows * wide);
  to_inputs(value, s.rows, dy, dcontexts);
  sum_gradients(s, dy, weights.value_bias, dsums);
  for_first_rows(s, dropout, x,
                 [&](const FirstRow& row) { row.backward(terms, dcontexts, dsums, sums, dprobes, gradients.x); });
  to_outputs(key, s.rows, {dprobes, wide, s.rows * wide},
             [&](int64_t row, int64_t column, const float* products, int64_t count) {
               multiply_row(products, scale, count, dqueries + row * s.hidden + column);
             });
  take_firsts(s, x, firsts);
  if (gradients.query != nullptr) {
    head_weight_gradient(query, s.rows, {firsts, wide, 0}, dqueries, gradients.query);
    head_weight_gradient(key, s.rows, {dprobes, wide, s.rows * wide}, terms.queries, gradients.key);
    head_weight_gradient(value, s.rows, {terms.contexts, wide, s.rows * wide}, dy, gradients.value);
  }
  bias_gradients(s, dqueries, sums, dy, gradients);
  if (gradients.x == nullptr) return;
  to_inputs({weights.query, s.hidden, 1, s.hidden}, s.rows, dqueries, firsts);
  for (int64_t row = 0; row < s.rows; ++row) {
    if (s.firsts[row] >= 0) add_to(firsts + row * wide, s.hidden, gradients.x + s.firsts[row] * s.hidden);
  }
}

}  // namespace ops
