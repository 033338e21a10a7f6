#include "encoder.h"

#include <omp.h>

#include <algorithm>
#include <numeric>

#include "attention.h"
#include "bfloat16.h"
#include "functions.h"
#include "norm_rows.h"

namespace ops {
namespace {

constexpr int64_t kRowsOfPanel = 96;    // rows that a thread multiplies with a panel before the next one
constexpr int64_t kSumRows = 24;    // of them at once: their sums stay in a core's first cache
constexpr int64_t kGroupTokens = 128;   // tokens about which a thread takes through all layers at once
constexpr int64_t kLeastTokens = 32;    // with fewer for each thread, all threads share each product

// near: what comes out is rounded to 16 or 8 bits.
template <typename Store>
void activate(Activation activation, bool near, int64_t count, const float* values, Store&& store_at) {
  const auto each = [&](auto&& function) {
    for (int64_t j = 0; j < count; j += kLanes) store_at(function(load(values + j)), j);
  };
  switch (activation) {
    case Activation::kNone: return each([](const Lanes& z) { return z; });
    case Activation::kRelu: return each([](const Lanes& z) { return z < Lanes{} ? Lanes{} : z; });
    case Activation::kGelu:
      if (near) return each([](const Lanes& z) { return gelu_near(z); });
      return each([](const Lanes& z) { return gelu(z).value; });
    case Activation::kGeluTanh: return each([](const Lanes& z) { return gelu_tanh(z).value; });
  }
}

// The rows in groups of about as many tokens, at least `groups` of them if there are so many rows.
std::vector<RowRange> groups_of(const TokenRows& rows, int64_t groups) {
  const int64_t tokens = rows.starts[rows.rows];
  std::vector<RowRange> made;
  int64_t first = 0;
  for (int64_t g = 1; g <= groups; ++g) {
    const int64_t target = tokens * g / groups;
    int64_t last = first;
    // A row belongs to the group in which its middle lies.
    while (last < rows.rows && (rows.starts[last] + rows.starts[last + 1]) / 2 < target) ++last;
    if (g == groups) last = rows.rows;
    if (last > first) made.push_back({first, last});
    first = last;
  }
  return made;
}

}  // namespace

// One group of rows through all layers, by the calling thread or, `shared`, by all of them.
class Encoder::Pass {
 public:
  Pass(const Encoder& encoder, const TokenRows& rows, RowRange group, bool shared)
      : e_(encoder), s_(encoder.shape_), rows_(rows), group_(group), shared_(shared), start_(rows.starts[group.first]),
        tokens_(rows.starts[group.last] - start_), texts_(group.last - group.first), wide_(round_up(s_.hidden, kLanes)),
        qkv_stride_(round_up(3 * s_.hidden, kLanes)), inner_(round_up(s_.inner, kLanes)) {
    x_ = memory_[0].get<float>(tokens_ * wide_);
    qkv_ = memory_[1].get<float>(tokens_ * qkv_stride_);
    y_ = memory_[2].get<float>(tokens_ * std::max(wide_, inner_));
    left_ = left_rows(3, s_.hidden);
    inner_left_ = left_rows(5, std::max(s_.inner, s_.hidden));
    for (int64_t row = group.first; row <= group.last; ++row) starts_.push_back(rows.starts[row] - start_);
  }

  void run(bool firsts, float* out) {
    embed();
    for (int64_t i = 0; i < s_.layers; ++i) layer(e_.layers_[i], firsts && i + 1 == s_.layers);
    const bool alone = firsts && s_.layers > 0;
    each(firsts ? texts_ : tokens_, [&](int64_t i) {
      float* const to = out + ((firsts ? group_.first : start_) + i) * s_.hidden;
      std::copy_n(x_ + (firsts && !alone ? starts_[i] : i) * wide_, s_.hidden, to);
    });
  }

 private:
  LeftRows left_rows(int memory, int64_t width) {
    const int64_t stride = round_up(steps_of(e_.form_, width), kLanes);
    return {memory_[memory].get<uint32_t>(tokens_ * stride), memory_[memory + 1].get<float>(tokens_), stride};
  }

  template <typename Work>
  void each(int64_t count, Work&& work) const {
    if (shared_) {
      parallel_for(count, work);
    } else {
      for (int64_t i = 0; i < count; ++i) work(i);
    }
  }

  void embed() {
    each(tokens_, [&](int64_t i) {
      float* const row = x_ + i * wide_;
      std::fill(row, row + s_.hidden, 0.0f);
      for (size_t t = 0; t < e_.tables_.size(); ++t) {
        add_to(e_.tables_[t].table + rows_.ids[t][start_ + i] * s_.hidden, s_.hidden, row);
      }
      finish_row(e_.first_, i);
    });
  }

  void finish_row(const Norm& norm, int64_t i) {
    float stats[2];
    float* const row = x_ + i * wide_;
    norm_row(s_.hidden, s_.epsilon, norm.scale.data(), norm.bias.data(), row, stats);
    put_row(e_.form_, row, s_.hidden, i, left_);
  }

  // `finish(row, column, width, values)` for all rows of the product with some panels of a weight, piece by piece.
  template <typename Finish>
  void multiply(const PackedWeight& weight, int64_t first, int64_t last, const LeftRows& left, int64_t rows,
                Finish&& finish) const {
    const int64_t blocks = ceil_div(rows, kRowsOfPanel);
    each((last - first) * blocks, [&](int64_t i) {
      alignas(64) float sums[kSumRows * kPanelColumns];
      const int64_t panel = first + i / blocks, block = i % blocks, width = weight.width(panel);
      const int64_t end = rows * (block + 1) / blocks;
      for (int64_t row = rows * block / blocks; row < end; row += kSumRows) {
        const int64_t count = std::min(kSumRows, end - row);
        weight.multiply(panel, left, row, count, sums);
        for (int64_t r = 0; r < count; ++r) finish(row + r, panel * kPanelColumns, width, sums + r * width);
      }
    });
  }

  static void copy_row(const float* x, int64_t count, float* out) {
    for (int64_t j = 0; j < count; j += kLanes) store(load(x + j), out + j);
  }

  void layer(const Layer& l, bool firsts) {
    const int64_t rows = firsts ? texts_ : tokens_;
    project(*l.projections, firsts);
    attend(firsts);
    each(rows, [&](int64_t i) { put_row(e_.form_, y_ + i * wide_, s_.hidden, i, left_); });
    multiply(*l.output, 0, l.output->panels(), left_, rows,
             [&](int64_t row, int64_t column, int64_t width, const float* values) {
               copy_row(values, width, y_ + row * wide_ + column);
             });
    add_and_norm(l.after_attention, rows, firsts);
    widen(*l.wide, rows);
    multiply(*l.narrow, 0, l.narrow->panels(), inner_left_, rows,
             [&](int64_t row, int64_t column, int64_t width, const float* values) {
               copy_row(values, width, y_ + row * wide_ + column);
             });
    add_and_norm(l.last, rows, false);
  }

  // inner_left_ <- activation of the product of left_ with what widens it.
  void widen(const PackedWeight& weight, int64_t rows) {
    const bool near = e_.form_ != Form::kFloat32;
    if (e_.form_ == Form::kBfloat16) {
      multiply(weight, 0, weight.panels(), left_, rows,
               [&](int64_t row, int64_t column, int64_t width, const float* values) {
                 auto* const to = reinterpret_cast<bfloat16*>(inner_left_.data + row * inner_left_.stride) + column;
                 activate(s_.activation, near, width, values, [&](const Lanes& y, int64_t j) { store(y, to + j); });
               });
      return;
    }
    // What a number is in 8 bits is known when all of its row is.
    multiply(weight, 0, weight.panels(), left_, rows,
             [&](int64_t row, int64_t column, int64_t width, const float* values) {
               float* const to = y_ + row * inner_ + column;
               activate(s_.activation, near, width, values, [&](const Lanes& y, int64_t j) { store(y, to + j); });
             });
    each(rows, [&](int64_t i) { put_row(e_.form_, y_ + i * inner_, s_.inner, i, inner_left_); });
  }

  // qkv_ <- queries, keys and values of all tokens; with `firsts` as few queries as the weight's panels allow beside those
  // of first tokens.
  void project(const PackedWeight& weight, bool firsts) {
    const int64_t of_queries = firsts ? s_.hidden / kPanelColumns : 0;
    multiply(weight, of_queries, weight.panels(), left_, tokens_,
             [&](int64_t row, int64_t column, int64_t width, const float* values) {
               copy_row(values, width, qkv_ + row * qkv_stride_ + column);
             });
    if (of_queries == 0) return;
    const LeftRows chosen{inner_left_.data, inner_left_.scales, left_.stride};
    for (int64_t i = 0; i < texts_; ++i) {
      std::copy_n(left_.data + starts_[i] * left_.stride, left_.stride, chosen.data + i * left_.stride);
      chosen.scales[i] = left_.scales[starts_[i]];
    }
    multiply(weight, 0, of_queries, chosen, texts_,
             [&](int64_t row, int64_t column, int64_t width, const float* values) {
               copy_row(values, width, qkv_ + starts_[row] * qkv_stride_ + column);
             });
  }

  // y_: of all tokens, or of the first of each text.
  void attend(bool firsts) {
    const AttentionShape shape{tokens_, s_.hidden, s_.heads, texts_, starts_.data(), s_.hidden, qkv_stride_};
    const Precision precision = e_.form_ == Form::kFloat32 ? Precision::kFloat32 : Precision::kBfloat16;
    each(texts_ * s_.heads, [&](int64_t i) {
      const int64_t text = i / s_.heads, first = firsts ? text : starts_[text];
      attention_head(shape, precision, text, i % s_.heads, firsts ? 1 : tokens_, qkv_, y_ + first * wide_, wide_);
    });
  }

  // x_ <- norm(x_ + y_); with `firsts` of the first token of each text, which then are all there is.
  void add_and_norm(const Norm& norm, int64_t rows, bool firsts) {
    for (int64_t i = 0; firsts && i < texts_; ++i) std::copy_n(x_ + starts_[i] * wide_, s_.hidden, x_ + i * wide_);
    each(rows, [&](int64_t i) {
      add_to(y_ + i * wide_, s_.hidden, x_ + i * wide_);
      finish_row(norm, i);
    });
  }

  const Encoder& e_;
  const EncoderShape& s_;
  const TokenRows& rows_;
  const RowRange group_;
  const bool shared_;
  const int64_t start_, tokens_, texts_, wide_, qkv_stride_, inner_;
  std::vector<int64_t> starts_;
  Scratch memory_[7];
  float *x_, *qkv_, *y_;
  LeftRows left_, inner_left_;
};

int64_t Encoder::values_of(const EncoderShape& s) { return s.tables + 2 + 16 * s.layers; }

Encoder::Encoder(const EncoderShape& s, Form form, const std::vector<const float*>& values,
                 const std::vector<int64_t>& table_rows, const std::function<void()>& packed)
    : shape_(s), form_(form), layers_(s.layers) {
  const float* const* next = values.data();
  for (const int64_t rows : table_rows) tables_.push_back({*next++, rows, nullptr});
  const auto norm = [&] {
    Norm made{{next[0], next[0] + s.hidden}, {next[1], next[1] + s.hidden}};
    next += 2;
    return made;
  };
  const auto weight = [&](int64_t inputs, int64_t outputs, int64_t parts) {
    std::vector<const float*> weights, biases;
    for (int64_t p = 0; p < parts; ++p, next += 2) {
      weights.push_back(next[0]);
      biases.push_back(next[1]);
    }
    return std::make_unique<PackedWeight>(form, inputs, outputs, weights, biases);
  };
  first_ = norm();
  for (Layer& layer : layers_) {
    layer.projections = weight(s.hidden, s.hidden, 3);
    layer.output = weight(s.hidden, s.hidden, 1);
    layer.after_attention = norm();
    layer.wide = weight(s.hidden, s.inner, 1);
    layer.narrow = weight(s.inner, s.hidden, 1);
    layer.last = norm();
    if (packed) packed();
  }
}

std::string Encoder::wrong_id(const TokenRows& rows) const {
  std::vector<Lookup> lookups = tables_;
  for (size_t t = 0; t < lookups.size(); ++t) lookups[t].ids = rows.ids[t];
  return ops::wrong_id(lookups, rows.starts[rows.rows]);
}

void Encoder::run(const TokenRows& rows, bool firsts, float* out) const {
  const int64_t tokens = rows.starts[rows.rows], threads = omp_get_max_threads();
  if (tokens == 0) return;
  const int64_t rounds = std::max<int64_t>(1, (tokens + kGroupTokens * threads / 2) / (kGroupTokens * threads));
  std::vector<RowRange> groups = groups_of(rows, threads * rounds);
  const auto tokens_of = [&](const RowRange& g) { return rows.starts[g.last] - rows.starts[g.first]; };
  std::stable_sort(groups.begin(), groups.end(),
                   [&](const RowRange& a, const RowRange& b) { return tokens_of(a) > tokens_of(b); });
  // No thread waits long for the others: groups are nearly equal, or there are many for each.
  const int64_t most = tokens_of(groups[0]);
  const bool even = most * threads * rounds * 4 <= tokens * 5 || most * threads * 4 <= tokens;
  if (threads > 1 && (!even || tokens < kLeastTokens * threads)) {
    Pass(*this, rows, {0, rows.rows}, true).run(firsts, out);
    return;
  }
  parallel_for_unequal(static_cast<int64_t>(groups.size()),
                       [&](int64_t i) { Pass(*this, rows, groups[i], false).run(firsts, out); });
}

}  // namespace ops
