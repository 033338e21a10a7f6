// Factors of the products of linear layers, forward and backward: matrices in the type and order that `multiply` reads,
// made of whole matrices or of tiles that come one by one. In float32 what need not be copied is not.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "product.h"
#include "support.h"

namespace ops {

// A product over all rows of a batch takes some more, of zeros, so that few different kernels serve all numbers of rows:
// 3 % of them at the most, or 31.
int64_t depth_of(int64_t rows);

// Right factors of as many rows and columns: `stride` elements from one row to the next where they are float32.
struct RightFactors {
  std::vector<const void*> parts;
  int64_t stride;
};

// x [rows, columns] as left factor.
const void* left(const float* x, int64_t rows, int64_t columns, Precision precision, Scratch& scratch);

// x^T as left factor, with zeros up to `depth` columns.
const void* left_transposed(const float* x, int64_t rows, int64_t columns, int64_t depth, Precision precision,
                            Scratch& scratch);

// Matrices [rows, columns] as right factors, with zeros up to `depth` rows (of several: `rows`).
RightFactors right(const std::vector<const float*>& matrices, int64_t rows, int64_t columns, int64_t depth,
                   Precision precision, Scratch& scratch);

// The transpose of matrices [rows, columns] side by side as one right factor.
RightFactors right_transposed(const std::vector<const float*>& matrices, int64_t rows, int64_t columns,
                              Precision precision, Scratch& scratch);

// `work` for tiles of x [rows, columns], kPackRows rows of it on one thread. The numbers are there to be read.
template <typename Work>
void for_tiles(const float* x, int64_t rows, int64_t columns, Work&& work) {
  constexpr int64_t kColumns = 6 * kPackColumns;
  parallel_for(ceil_div(rows, kPackRows), [&](int64_t band) {
    const int64_t row = band * kPackRows;
    for (int64_t column = 0; column < columns; column += kColumns) {
      float* const data = const_cast<float*>(x) + row * columns + column;
      work(Tile{row, std::min(kPackRows, rows - row), column, std::min(kColumns, columns - column), data, columns, band});
    }
  });
}

// What a layer reads, x [rows, columns]: as left factor of its product, and transposed as left factor of its weight's
// gradient.
class LayerInput {
 public:
  // transposed [columns, depth_of(rows)] in the type of the products is written to; null: not wanted.
  LayerInput(int64_t rows, int64_t columns, Precision precision, void* transposed);

  // The whole matrix, which stays where it is while this is used.
  LayerInput(const float* x, int64_t rows, int64_t columns, Precision precision, void* transposed);

  // Where tiles are to be computed that are stored, rows of `columns` numbers; null: anywhere.
  float* place() const { return place_; }
  void store(const Tile& tile) const;

  const void* left() const { return left_; }

 private:
  void end(int64_t rows) const;

  const int64_t columns_, depth_;
  const bool large_;
  const Precision precision_;
  Scratch scratch_;
  float* place_ = nullptr;
  bfloat16* converted_ = nullptr;
  const void* left_;
  void* const transposed_;
};

// dz, the gradient of x W + b: as left factor of dx = dz W^T, and as right factor of dW = x^T dz, with zeros up to
// depth_of(rows) rows. Of several layers side by side, each has a right factor of its own.
class LayerGradient {
 public:
  // columns: of all layers.
  LayerGradient(int64_t rows, int64_t columns, int64_t layers, Precision precision, bool left_wanted, bool right_wanted);

  // As in LayerInput.
  float* place() const { return place_; }
  void store(const Tile& tile) const;

  const void* left() const { return left_; }
  const RightFactors& right() const { return right_; }

 private:
  const int64_t columns_, each_, depth_;
  const bool large_;
  Scratch left_scratch_, right_scratch_;
  float* place_ = nullptr;
  bfloat16* converted_ = nullptr;
  uint32_t* packed_ = nullptr;
  const void* left_ = nullptr;
  RightFactors right_;
};

// Sums over the rows of a matrix whose tiles come one by one: within tiles, then over these from above to below.
class ColumnSums {
 public:
  ColumnSums(int64_t bands, int64_t columns);

  void add(const Tile& tile) const;

  // To vectors of as many numbers each.
  void total(const std::vector<float*>& sums) const;

 private:
  const int64_t bands_, columns_;
  Scratch scratch_;
  float* const parts_;
};

// dx [rows, inputs] <- dz W^T, or with `add` dx + dz W^T; W [inputs, their outputs] of layers side by side.
void input_gradient(int64_t rows, int64_t inputs, int64_t outputs, Precision precision,
                    const std::vector<const float*>& weights, const void* dz, bool add, float* dx);

// x^T dz of each layer, [inputs, each]. x_transposed [inputs, depth_of(rows)].
void weight_gradients(int64_t rows, int64_t inputs, Precision precision, const void* x_transposed,
                      const RightFactors& dz, const std::vector<float*>& dweights, int64_t each);

}  // namespace ops
