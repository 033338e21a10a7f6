// Sums of rows of several tables, their layer norm, and dropout after it: what an encoder reads. On plain arrays.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "norm.h"

namespace ops {

struct Lookup {
  const float* table;  // [table_rows, width]
  int64_t table_rows;
  const int64_t* ids;  // [rows]
};

// What is wrong with the ids, empty: nothing. Of what is called below, no id may be outside its table.
std::string wrong_id(const std::vector<Lookup>& lookups, int64_t rows);

// y [rows, width] = dropout(norm(sum of table[id] over lookups) * scale + bias); `stats` as in norm.h.
void embedding_norm_forward(const NormShape& shape, const std::vector<Lookup>& lookups, float epsilon,
                            const Dropout& dropout, const float* scale, const float* bias, float* y, float* stats);

// dy [rows, width] -> gradients; dtables: of each table, null where it is not wanted.
void embedding_norm_backward(const NormShape& shape, const std::vector<Lookup>& lookups, const Dropout& dropout,
                             const float* scale, const float* stats, const float* dy,
                             const std::vector<float*>& dtables, float* dscale, float* dbias);

}  // namespace ops
