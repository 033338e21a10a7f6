// The text side of a task: records in, rows of tokens for the model, results out.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "json.h"
#include "text/tokenizer.h"

namespace ernie {

// A record that cannot be used; the caller knows file and line.
struct BadRecord {
  std::string found, expected;
};

// What the model reads at once: token ids with the special ones, the first `split` of them of sentence type 0.
struct Row {
  std::vector<std::int32_t> ids;
  std::size_t split;
};

// What `decode` wants to know again of a record.
struct Context {
  virtual ~Context() = default;
};

struct Windows {
  std::vector<Row> rows;
  std::unique_ptr<Context> context;
  bool cut = false;  // something of the record was left out because of its length
};

// An output of the model for one row: `count` times `width` values; of what has no length axis `count` is 1.
struct Values {
  std::vector<float> values;
  std::size_t count, width;
};

using Outputs = std::vector<std::vector<Values>>;  // by row, then by output

// What of a result is given out.
struct Selection {
  std::optional<std::size_t> top_k;
  std::optional<double> min_confidence;
};

// Names of the columns of records: those that must be there, and those that must not.
struct Columns {
  std::vector<std::string> required, optional, refused;
};

// A record is an object; its columns are called as `Columns` says. Safe to share among threads.
class Codec {
 public:
  virtual ~Codec() = default;

  virtual const Columns& columns() const = 0;

  // Throws BadRecord.
  virtual Windows encode(const Json& record) const = 0;

  virtual Json decode(const Json& record, const Windows& windows, const Outputs& outputs) const = 0;

  // Of a result, what is given out. Throws UserError for a selection that the task does not know.
  virtual Json select(Json result, const Selection& selection) const = 0;
  virtual void check(const Selection& selection) const = 0;

  // Names of results, and those of them that only repeat what stood in the record.
  virtual std::vector<std::string> fields() const = 0;
  virtual std::vector<std::string> echo() const { return {}; }
};

// The name of Python's type of a value, for messages.
const char* type_name(const Json& value);

}  // namespace ernie
