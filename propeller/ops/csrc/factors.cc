#include "factors.h"

#include "shared_weights.h"

namespace ops {
namespace {

// Numbers of a matrix from which on it goes past the caches: 8 MB of bfloat16.
constexpr int64_t kManyNumbers = 4 << 20;

// `matrix` [rows, columns] in float32, with zeros up to `depth` rows, copied only if it must be.
const float* deepened(const float* matrix, int64_t rows, int64_t columns, int64_t depth, Scratch& scratch) {
  if (depth == rows) return matrix;
  auto* result = scratch.get<float>(depth * columns);
  parallel_for(depth, [&](int64_t i) {
    float* row = result + i * columns;
    i < rows ? std::copy_n(matrix + i * columns, columns, row) : std::fill_n(row, columns, 0.0f);
  });
  return result;
}

// Of weights, that are packed already; else null.
const uint32_t* packed_before(const std::vector<const float*>& matrices, int64_t rows, int64_t columns,
                              bool transposed) {
  SharedWeights* const weights = weights_in_use();
  return weights == nullptr ? nullptr : weights->find(matrices, rows, columns, transposed);
}

}  // namespace

int64_t depth_of(int64_t rows) {
  int64_t step = kPackRows;
  while (step * 64 <= rows) step *= 2;
  return round_up(rows, step);
}

const void* left(const float* x, int64_t rows, int64_t columns, Precision precision, Scratch& scratch) {
  if (precision == Precision::kFloat32) return x;
  auto* converted = scratch.get<bfloat16>(rows * columns);
  to_bfloat16(x, rows, columns, converted);
  return converted;
}

const void* left_transposed(const float* x, int64_t rows, int64_t columns, int64_t depth, Precision precision,
                            Scratch& scratch) {
  if (precision == Precision::kFloat32) {
    auto* transposed = scratch.get<float>(depth * columns);
    transpose(x, rows, columns, depth, transposed);
    return transposed;
  }
  auto* transposed = scratch.get<uint32_t>(depth / 2 * columns);
  transpose_to_bfloat16(x, rows, columns, depth, transposed);
  return transposed;
}

RightFactors right(const std::vector<const float*>& matrices, int64_t rows, int64_t columns, int64_t depth,
                   Precision precision, Scratch& scratch) {
  RightFactors factors{{}, columns};
  if (precision == Precision::kFloat32) {
    for (const float* matrix : matrices) factors.parts.push_back(deepened(matrix, rows, columns, depth, scratch));
    return factors;
  }
  std::vector<const float*> missing;
  for (const float* matrix : matrices) {
    factors.parts.push_back(depth == rows ? packed_before({matrix}, rows, columns, false) : nullptr);
    if (factors.parts.back() == nullptr) missing.push_back(matrix);
  }
  if (missing.empty()) return factors;
  const int64_t size = packed_size(depth, columns);
  auto* packed = scratch.get<uint32_t>(size * missing.size());
  for (size_t p = 0; p < matrices.size(); ++p) {
    if (factors.parts[p] != nullptr) continue;
    pack(matrices[p], rows, columns, depth, packed);
    factors.parts[p] = packed;
    packed += size;
  }
  return factors;
}

RightFactors right_transposed(const std::vector<const float*>& matrices, int64_t rows, int64_t columns,
                              Precision precision, Scratch& scratch) {
  const int64_t count = static_cast<int64_t>(matrices.size());
  if (precision == Precision::kFloat32) {
    auto* result = scratch.get<float>(rows * columns * count);
    for (int64_t p = 0; p < count; ++p) transpose(matrices[p], rows, columns, rows, result + p * rows * columns);
    return {{result}, rows};
  }
  if (const uint32_t* found = packed_before(matrices, rows, columns, true)) return {{found}, rows};
  auto* packed = scratch.get<uint32_t>(packed_size(columns * count, rows));
  pack_transposed({matrices, columns}, rows, packed);
  return {{packed}, rows};
}

LayerInput::LayerInput(int64_t rows, int64_t columns, Precision precision, void* transposed)
    : columns_(columns), depth_(depth_of(rows)), large_(rows * columns >= kManyNumbers),
      precision_(precision), transposed_(transposed) {
  if (precision == Precision::kBfloat16) {
    left_ = converted_ = scratch_.get<bfloat16>(rows * columns);
  } else {
    left_ = place_ = scratch_.get<float>(rows * columns);
  }
  end(rows);
}

LayerInput::LayerInput(const float* x, int64_t rows, int64_t columns, Precision precision, void* transposed)
    : columns_(columns), depth_(depth_of(rows)), large_(rows * columns >= kManyNumbers),
      precision_(precision), left_(x), transposed_(transposed) {
  if (precision == Precision::kBfloat16) left_ = converted_ = scratch_.get<bfloat16>(rows * columns);
  end(rows);
  if (converted_ == nullptr && transposed_ == nullptr) return;
  for_tiles(x, rows, columns, [&](const Tile& tile) { store(tile); });
}

void LayerInput::end(int64_t rows) const {
  if (transposed_ == nullptr) return;
  if (precision_ == Precision::kBfloat16) {
    end_transposed(rows, columns_, depth_, static_cast<uint32_t*>(transposed_));
  } else {
    end_transposed(rows, columns_, depth_, static_cast<float*>(transposed_));
  }
}

void LayerInput::store(const Tile& tile) const {
  if (converted_ != nullptr) store_rows(tile, columns_, large_, converted_);
  if (transposed_ == nullptr) return;
  if (precision_ == Precision::kBfloat16) {
    store_transposed(tile, depth_, static_cast<uint32_t*>(transposed_));
  } else {
    store_transposed(tile, depth_, static_cast<float*>(transposed_));
  }
}

LayerGradient::LayerGradient(int64_t rows, int64_t columns, int64_t layers, Precision precision, bool left_wanted,
                             bool right_wanted)
    : columns_(columns), each_(columns / layers), depth_(depth_of(rows)), large_(rows * columns >= kManyNumbers),
      right_{{}, columns} {
  if (precision == Precision::kFloat32) {
    left_ = place_ = left_scratch_.get<float>(depth_ * columns);
    std::fill(place_ + rows * columns, place_ + depth_ * columns, 0.0f);
    for (int64_t p = 0; p < layers; ++p) right_.parts.push_back(place_ + p * each_);
    return;
  }
  if (left_wanted) left_ = converted_ = left_scratch_.get<bfloat16>(rows * columns);
  if (!right_wanted) return;
  const int64_t size = packed_size(depth_, each_);
  packed_ = right_scratch_.get<uint32_t>(size * layers);
  for (int64_t p = 0; p < layers; ++p) {
    end_packed(rows, each_, depth_, packed_ + p * size);
    right_.parts.push_back(packed_ + p * size);
  }
}

void LayerGradient::store(const Tile& tile) const {
  if (place_ != nullptr) {
    float* const to = place_ + tile.row * columns_ + tile.column;
    for (int64_t i = 0; i < tile.rows && to != tile.data; ++i) {
      std::copy_n(tile.at(i), tile.columns, to + i * columns_);
    }
  }
  if (converted_ != nullptr) store_rows(tile, columns_, large_, converted_);
  if (packed_ == nullptr) return;
  for (int64_t first = 0; first < columns_; first += each_) {
    const int64_t begin = std::max(tile.column, first), end = std::min(tile.column + tile.columns, first + each_);
    if (begin >= end) continue;
    Tile part = tile;
    part.data += begin - tile.column;
    part.column = begin - first;
    part.columns = end - begin;
    store_packed(part, depth_, large_, packed_ + first / each_ * packed_size(depth_, each_));
  }
}

ColumnSums::ColumnSums(int64_t bands, int64_t columns)
    : bands_(bands), columns_(columns), parts_(scratch_.get<float>(bands * columns)) {}

void ColumnSums::add(const Tile& tile) const {
  float* const sum = parts_ + tile.band * columns_ + tile.column;
  for (int64_t j = 0; j < tile.columns; j += kPackColumns) {
    const int64_t width = std::min(kPackColumns, tile.columns - j);
    float own[kPackColumns] = {};  // of few columns: stays in the first cache, or in registers
    for (int64_t i = 0; i < tile.rows; ++i) add_to(tile.at(i) + j, width, own);
    std::copy_n(own, width, sum + j);
  }
}

void ColumnSums::total(const std::vector<float*>& sums) const {
  const int64_t each = columns_ / static_cast<int64_t>(sums.size());
  for (size_t p = 0; p < sums.size(); ++p) {
    std::fill(sums[p], sums[p] + each, 0.0f);
    for (int64_t band = 0; band < bands_; ++band) add_to(parts_ + band * columns_ + p * each, each, sums[p]);
  }
}

void input_gradient(int64_t rows, int64_t inputs, int64_t outputs, Precision precision,
                    const std::vector<const float*>& weights, const void* dz, bool add, float* dx) {
  Scratch scratch;
  const RightFactors b =
      right_transposed(weights, inputs, outputs / static_cast<int64_t>(weights.size()), precision, scratch);
  const Product product{rows, inputs, outputs, precision, dz, outputs, b.parts[0], b.stride, nullptr, dx, inputs};
  if (!add) {
    multiply({product});
    return;
  }
  Product apart = product;
  apart.c = nullptr;
  multiply({apart}, [&](const Tile& tile) {
    for (int64_t i = 0; i < tile.rows; ++i) {
      add_to(tile.at(i), tile.columns, dx + (tile.row + i) * inputs + tile.column);
    }
  });
}

void weight_gradients(int64_t rows, int64_t inputs, Precision precision, const void* x_transposed,
                      const RightFactors& dz, const std::vector<float*>& dweights, int64_t each) {
  if (rows == 0) {
    for (float* dweight : dweights) std::fill(dweight, dweight + inputs * each, 0.0f);
    return;
  }
  const int64_t depth = depth_of(rows);
  std::vector<Product> products;
  for (size_t p = 0; p < dweights.size(); ++p) {
    products.push_back(
        {inputs, each, depth, precision, x_transposed, depth, dz.parts[p], dz.stride, nullptr, dweights[p], each});
  }
  multiply(products);
}

}  // namespace ops
