#include "activation.h"

#include "bfloat16.h"
#include "functions.h"

namespace ops {
namespace {

constexpr int64_t kSlopesAhead = 4;  // rows of slopes that are fetched before they are read

// gelu in the precision of the products: what is rounded to 16 bits has a form of its own (functions.h).
template <typename T>
Gelu gelu_as(bool erf, const Lanes& z) {
  if (!erf) return gelu_tanh(z);
  return sizeof(T) == sizeof(bfloat16) ? gelu_and_slope_near(z) : gelu(z);
}

// A row of z that is whole lines of slopes, which are read much later.
void gelu_row(bool erf, int64_t count, float* z, bfloat16* slopes) {
  for (int64_t j = 0; j < count; j += 2 * kLanes) {
    const Lanes low = load(z + j), high = load(z + j + kLanes);
    const Gelu first = gelu_as<bfloat16>(erf, low), second = gelu_as<bfloat16>(erf, high);
    store(first.value, z + j);
    store(second.value, z + j + kLanes);
    store_past_caches(first.slope, second.slope, slopes + j);
  }
}

// A row of z.
template <typename T>
void activate_row(Activation activation, int64_t count, float* z, T* slopes) {
  if (activation == Activation::kGelu || activation == Activation::kGeluTanh) {
    const bool erf = activation == Activation::kGelu;
    for_lanes(count, [&](int64_t j, auto extent, int) {
      const Lanes value = load(z + j, extent);
      const Gelu g = gelu_as<T>(erf, value);
      store(g.value, z + j, extent);
      if (slopes != nullptr) store(g.slope, slopes + j, extent);
    });
  } else {
    for_lanes(count, [&](int64_t j, auto extent, int) {
      const Lanes value = load(z + j, extent);
      store(value < Lanes{} ? Lanes{} : value, z + j, extent);  // NaN stays
      if (slopes != nullptr) store(value > Lanes{} ? lanes(1) : Lanes{}, slopes + j, extent);
    });
  }
}

template <typename T>
void times_slope_row(const float* x, const T* slopes, int64_t count, float* out) {
  for_lanes(count, [&](int64_t j, auto extent, int) {
    store(load(x + j, extent) * load(slopes + j, extent), out + j, extent);
  });
}

}  // namespace

void activate(const Tile& z, Activation activation, Precision precision, int64_t columns, void* slope) {
  if (activation == Activation::kNone) return;
  for (int64_t i = 0; i < z.rows; ++i) {
    const int64_t at = (z.row + i) * columns + z.column;
    auto* const slopes = static_cast<bfloat16*>(slope) + (slope == nullptr ? 0 : at);
    if (precision == Precision::kBfloat16 && activation != Activation::kRelu && slope != nullptr &&
        whole_lines(slopes, z.columns)) {
      gelu_row(activation == Activation::kGelu, z.columns, z.at(i), slopes);
    } else if (precision == Precision::kBfloat16) {
      activate_row(activation, z.columns, z.at(i), slopes);
    } else {
      activate_row(activation, z.columns, z.at(i), slope == nullptr ? nullptr : static_cast<float*>(slope) + at);
    }
  }
  end_past_caches();
}

void times_slope(const Tile& tile, Precision precision, int64_t columns, const void* slope, const Tile& out) {
  for (int64_t i = 0; i < tile.rows; ++i) {
    const int64_t at = (tile.row + i) * columns + tile.column;
    if (precision == Precision::kBfloat16) {
      const auto* const slopes = static_cast<const bfloat16*>(slope) + at;
      if (i + kSlopesAhead < tile.rows) fetch_ahead(slopes + kSlopesAhead * columns, tile.columns);
      times_slope_row(tile.at(i), slopes, tile.columns, out.at(i));
    } else {
      times_slope_row(tile.at(i), static_cast<const float*>(slope) + at, tile.columns, out.at(i));
    }
  }
}

}  // namespace ops
