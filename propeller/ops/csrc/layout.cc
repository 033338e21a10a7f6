#include "layout.h"

#include <algorithm>
#include <cstring>

#include "support.h"

namespace ops {
namespace {

constexpr int64_t kSquare = 16;
// Matrices are packed in pieces of rows that are long enough to come from memory at its full rate, and fetched so many rows
// before they are read.
constexpr int64_t kWide = 6 * kPackColumns, kPackRowsAhead = 4;

// Row `i` of `x`, at most kPackColumns of it from column `column` on; zeros beyond the last row.
const float* row(const float* x, int64_t rows, int64_t columns, int64_t i, int64_t column) {
  static const float zeros[kPackColumns] = {};
  return i < rows ? x + i * columns + column : zeros;
}

// Row `i` of a tile, at most kPackColumns of it from its column `column` on; zeros beyond the last row.
const float* row(const Tile& tile, int64_t i, int64_t column) {
  return row(tile.data, tile.rows, tile.stride, i, column);
}

// `work(from, j, count)` for what is to be read of row `i` of matrices side by side: `count` columns that lie in one of
// them, of which the first is column + j.
template <typename Work>
void for_parts(const SideBySide& x, int64_t i, int64_t column, int64_t width, Work&& work) {
  int64_t part = column / x.columns, begin = column % x.columns;
  for (int64_t j = 0, count = 0; j < width; j += count, ++part, begin = 0) {
    count = std::min(x.columns - begin, width - j);
    work(x.parts[part] + i * x.columns + begin, j, count);
  }
}

// A 16 x 16 tile of which only `width` columns and `height` rows of the result are wanted.
template <bool past_caches = false, typename T>
void transpose_tile(const T* x, int64_t x_stride, T* out, int64_t out_stride, int64_t height, int64_t width) {
  if (height == kSquare && width == kSquare) {
    if (past_caches && begins_line(out, out_stride * sizeof(T))) {
      transpose_16x16<true>(x, x_stride, out, out_stride);
    } else {
      transpose_16x16(x, x_stride, out, out_stride);
    }
    return;
  }
  for (int64_t i = 0; i < height; ++i)
    for (int64_t j = 0; j < width; ++j) out[i * out_stride + j] = x[j * x_stride + i];
}

}  // namespace

int64_t packed_size(int64_t rows, int64_t columns) {
  return round_up(rows, kPackRows) * round_up(columns, kPackColumns) / 2;
}

void to_bfloat16(const float* x, int64_t rows, int64_t columns, bfloat16* out) {
  parallel_for(rows, [&](int64_t i) { to_bfloat16(x + i * columns, columns, out + i * columns); });
}

void transpose(const float* x, int64_t rows, int64_t columns, int64_t stride, float* out) {
  const int64_t across = ceil_div(columns, kSquare), down = ceil_div(rows, kSquare);
  parallel_for(across, [&](int64_t a) {
    for (int64_t d = 0; d < down; ++d) {
      const int64_t i = d * kSquare, j = a * kSquare;
      transpose_tile(x + i * columns + j, columns, out + j * stride + i, stride, std::min(kSquare, columns - j),
                     std::min(kSquare, rows - i));
    }
    for (int64_t j = a * kSquare; j < std::min(columns, (a + 1) * kSquare); ++j) {
      std::fill(out + j * stride + rows, out + (j + 1) * stride, 0.0f);
    }
  });
}

void transpose_to_bfloat16(const float* x, int64_t rows, int64_t columns, int64_t stride, uint32_t* out) {
  const int64_t across = ceil_div(columns, kSquare), pairs = stride / 2;
  parallel_for(across, [&](int64_t a) {
    const int64_t j = a * kSquare, width = std::min(kSquare, columns - j);
    uint32_t tile[kSquare * kSquare];
    for (int64_t pair = 0; pair < pairs; pair += kSquare) {
      const int64_t height = std::min(kSquare, pairs - pair);
      for (int64_t p = 0; p < height; ++p) {
        const int64_t i = 2 * (pair + p);
        interleave(row(x, rows, columns, i, j), row(x, rows, columns, i + 1, j), width, tile + p * kSquare);
      }
      transpose_tile(tile, kSquare, out + j * pairs + pair, pairs, width, height);
    }
  });
}

void pack(const float* x, int64_t rows, int64_t columns, int64_t depth, uint32_t* out) {
  const int64_t pieces = ceil_div(columns, kWide), down = ceil_div(depth, kPackRows);
  parallel_for(pieces * down, [&](int64_t piece) {
    const int64_t column = piece / down * kWide, i = piece % down * kPackRows, wide = std::min(kWide, columns - column);
    for (int64_t p = 0; p < kPackRows; p += 2) {
      for (int64_t ahead = i + p + kPackRowsAhead; ahead < std::min(rows, i + p + kPackRowsAhead + 2); ++ahead) {
        fetch_ahead(x + ahead * columns + column, wide);
      }
      uint32_t* to = out + column / kPackColumns * packed_size(depth, kPackColumns) + (i + p) / 2 * kPackColumns;
      for (int64_t j = column; j < column + wide; j += kPackColumns, to += packed_size(depth, kPackColumns)) {
        const int64_t width = std::min(kPackColumns, columns - j);
        interleave(row(x, rows, columns, i + p, j), row(x, rows, columns, i + p + 1, j), width, to);
        std::fill(to + width, to + kPackColumns, 0u);
      }
    }
  });
}

void pack_transposed(const SideBySide& x, int64_t rows, uint32_t* out) {
  constexpr int64_t kPairs = kWide / 2;
  const int64_t columns = x.columns * static_cast<int64_t>(x.parts.size());
  const int64_t pieces = ceil_div(columns, kWide), size = packed_size(columns, kPackColumns);
  parallel_for(ceil_div(rows, kPackColumns) * pieces, [&](int64_t piece) {
    const int64_t i = piece / pieces * kPackColumns, column = piece % pieces * kWide;
    const int64_t height = std::min(kPackColumns, rows - i), width = std::min(kWide, columns - column);
    uint32_t lines[kPackColumns * kPairs];  // columns of 64 rows, two columns in an element
    if (height < kPackColumns || width < kWide) std::memset(lines, 0, sizeof lines);
    for (int64_t r = 0; r < height; ++r) {
      if (r + kPackRowsAhead < height) {
        for_parts(x, i + r + kPackRowsAhead, column, width,
                  [&](const float* from, int64_t, int64_t count) { fetch_ahead(from, count); });
      }
      for_parts(x, i + r, column, width, [&](const float* from, int64_t j, int64_t count) {
        to_bfloat16(from, count, reinterpret_cast<bfloat16*>(lines + r * kPairs) + j);  // which copies bytes
      });
    }
    uint32_t* to = out + piece / pieces * size + column / 2 * kPackColumns;
    for (int64_t j = 0; j < width; j += kPackRows, to += kPackRows / 2 * kPackColumns) {
      for (int64_t r = 0; r < kPackColumns; r += kSquare) {
        transpose_16x16(lines + r * kPairs + j / 2, kPairs, to + r, kPackColumns);
      }
    }
  });
}

void store_rows(const Tile& tile, int64_t columns, bool past_caches, bfloat16* out) {
  for (int64_t i = 0; i < tile.rows; ++i) {
    const float* const x = tile.at(i);
    bfloat16* const to = out + (tile.row + i) * columns + tile.column;
    if (past_caches && whole_lines(to, tile.columns)) {
      for (int64_t j = 0; j < tile.columns; j += 2 * kLanes) {
        store_past_caches(load(x + j), load(x + j + kLanes), to + j);
      }
    } else {
      to_bfloat16(x, tile.columns, to);
    }
  }
  end_past_caches();
}

void store_transposed(const Tile& tile, int64_t stride, float* out) {
  for (int64_t j = 0; j < tile.columns; j += kSquare) {
    const int64_t width = std::min(kSquare, tile.columns - j);
    for (int64_t i = 0; i < tile.rows; i += kSquare) {
      transpose_tile<true>(tile.at(i) + j, tile.stride, out + (tile.column + j) * stride + tile.row + i, stride, width,
                     std::min(kSquare, tile.rows - i));
    }
  }
  end_past_caches();
}

void store_transposed(const Tile& tile, int64_t stride, uint32_t* out) {
  const int64_t all = stride / 2, pairs = ceil_div(tile.rows, 2);
  uint32_t square[kSquare * kSquare];
  for (int64_t j = 0; j < tile.columns; j += kSquare) {
    const int64_t width = std::min(kSquare, tile.columns - j);
    for (int64_t pair = 0; pair < pairs; pair += kSquare) {
      const int64_t height = std::min(kSquare, pairs - pair);
      for (int64_t p = 0; p < height; ++p) {
        const int64_t i = 2 * (pair + p);
        interleave(row(tile, i, j), row(tile, i + 1, j), width, square + p * kSquare);
      }
      transpose_tile<true>(square, kSquare, out + (tile.column + j) * all + tile.row / 2 + pair, all, width, height);
    }
  }
  end_past_caches();
}

void store_packed(const Tile& tile, int64_t depth, bool past_caches, uint32_t* out) {
  for (int64_t j = 0, width = 0; j < tile.columns; j += width) {
    const int64_t column = tile.column + j, within = column % kPackColumns;
    width = std::min(kPackColumns - within, tile.columns - j);
    uint32_t* const to = out + column / kPackColumns * packed_size(depth, kPackColumns);
    for (int64_t i = 0; i < tile.rows; i += 2) {
      const float *low = row(tile, i, j), *high = row(tile, i + 1, j);
      uint32_t* const pairs = to + (tile.row + i) / 2 * kPackColumns;
      if (past_caches && width == kPackColumns && begins_line(pairs)) {
        for (int64_t k = 0; k < kPackColumns; k += kLanes) {
          store_past_caches(pairs_of(load(low + k), load(high + k)), pairs + k);
        }
      } else {
        interleave(low, high, width, pairs + within);
        std::fill(pairs + within + width, pairs + kPackColumns, 0u);
      }
    }
  }
  end_past_caches();
}

void store_packed_transposed(const Tile& tile, int64_t depth, uint32_t* out) {
  uint32_t square[kSquare * kSquare];  // 16 rows of 32 numbers, two of them in an element
  for (int64_t i = 0; i < tile.rows; i += kSquare) {
    const int64_t column = tile.row + i;
    uint32_t* const block = out + column / kPackColumns * packed_size(depth, kPackColumns) + column % kPackColumns;
    for (int64_t j = 0; j < tile.columns; j += 2 * kSquare) {
      for (int64_t r = 0; r < kSquare; ++r) to_bfloat16(tile.at(i + r) + j, 2 * kSquare, square + r * kSquare);
      transpose_16x16<true>(square, kSquare, block + (tile.column + j) / 2 * kPackColumns, kPackColumns);
    }
  }
  end_past_caches();
}

void end_transposed(int64_t rows, int64_t columns, int64_t stride, float* out) {
  for (int64_t j = 0; j < columns; ++j) std::fill(out + j * stride + rows, out + (j + 1) * stride, 0.0f);
}

void end_transposed(int64_t rows, int64_t columns, int64_t stride, uint32_t* out) {
  const int64_t all = stride / 2;
  for (int64_t j = 0; j < columns; ++j) std::fill(out + j * all + ceil_div(rows, 2), out + (j + 1) * all, 0u);
}

void end_packed(int64_t rows, int64_t columns, int64_t depth, uint32_t* out) {
  const int64_t size = packed_size(depth, kPackColumns);
  for (int64_t j = 0; j < columns; j += kPackColumns, out += size) {
    std::fill(out + ceil_div(rows, 2) * kPackColumns, out + size, 0u);
  }
}

}  // namespace ops
