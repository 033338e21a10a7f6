// Tables of which a training reads a few rows at a time: which rows, their gradients, and the weight decay that rows without
// a gradient are owed. On plain arrays; tables are dense, [rows, width].
#pragma once

#include <cstdint>
#include <string>

namespace ops {

// What is known of the rows of a table, in 1 + `capacity` + `rows` numbers:
//   0: nothing: which rows have moments must be looked up, none is owed anything; else 1 + the number of decays owed
//   then these decays, oldest first: p <- p - decay p, of every row that has never had a gradient
//   then a number for each row: 1 once it has had a gradient
// All of it is 0 at the start.
struct RowState {
  float* numbers;
  int64_t rows, capacity;

  bool known() const { return numbers[0] > 0; }
  int64_t owed() const { return known() ? static_cast<int64_t>(numbers[0]) - 1 : 0; }
  const float* decays() const { return numbers + 1; }
  float* touched() const { return numbers + 1 + capacity; }
};

// Which row of a table is at fault, empty: none.
std::string wrong_row(const int64_t* ids, int64_t count, int64_t rows);

// Numbers the different ones of `ids` in the order in which they come: used [their number] <- ids, places [count] <- the
// number of each. `used` has room for `count`. Returns how many there are. No id may be outside the table.
int64_t number_rows(const int64_t* ids, int64_t count, int64_t rows, int64_t* used, int64_t* places);

// out [count, width] <- the rows `used` of a table, with the decay that they are owed.
void copy_rows(const float* table, int64_t width, const RowState& state, const int64_t* used, int64_t count, float* out);

// A row, with the decay that rows without a gradient are owed.
void pay(const RowState& state, int64_t width, float* row);

// Every row is paid, and nothing owed from here on. `table` [state.rows, width].
void pay_all(const RowState& state, int64_t width, float* table);

// out [rows, width] <- base (null: 0), then out[ids[i]] += values[i], i ascending; ids may repeat.
void spread_rows(const float* base, int64_t rows, int64_t width, const int64_t* ids, int64_t count, const float* values,
                 float* out);

}  // namespace ops
