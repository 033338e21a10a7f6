// The encoder of prediction (Vaswani et al. 2017, post-norm): embeddings and all layers over rows of different length
// without padding, with weights that are packed once. On plain arrays.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "embedding.h"
#include "linear.h"
#include "packed.h"

namespace ops {

struct EncoderShape {
  int64_t tables, hidden, inner, heads, layers;
  float epsilon;
  Activation activation;
};

// Tokens of a batch, one row after the other: row b has [starts[b], starts[b + 1]), one at least.
struct TokenRows {
  int64_t rows;
  const int64_t* starts;
  std::vector<const int64_t*> ids;  // of each table
};

// Rows [first, last) of a batch.
struct RowRange {
  int64_t first, last;
};

class Encoder {
 public:
  // `values` in this order: tables, scale and bias of their norm; of each layer weight and bias of queries, keys, values
  // and what follows attention, scale and bias of the norm after it, weight and bias of both layers that feed forward,
  // scale and bias of the last norm. Weights are [inputs, outputs]. The tables stay the caller's, for as long as the
  // encoder lives; table_rows: their rows. packed: called when a layer's values have been read and are needed no more.
  Encoder(const EncoderShape& shape, Form form, const std::vector<const float*>& values,
          const std::vector<int64_t>& table_rows, const std::function<void()>& packed = {});

  // Number of `values` for a shape.
  static int64_t values_of(const EncoderShape& shape);

  const EncoderShape& shape() const { return shape_; }

  // What is wrong with the ids of tokens; empty: nothing.
  std::string wrong_id(const TokenRows& rows) const;

  // out [tokens, hidden] <- what the last layer gives; with `firsts` out [rows, hidden], that of each row's first token.
  // Several threads may call it at once.
  void run(const TokenRows& rows, bool firsts, float* out) const;

 private:
  struct Norm {
    std::vector<float> scale, bias;
  };
  struct Layer {
    std::unique_ptr<PackedWeight> projections, output, wide, narrow;
    Norm after_attention, last;
  };
  class Pass;

  EncoderShape shape_;
  Form form_;
  std::vector<Lookup> tables_;
  Norm first_;
  std::vector<Layer> layers_;
};

}  // namespace ops
