// Rows of a file or of standard input: JSON lines, TSV with a header line, or a text a line.
#pragma once

#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "json.h"
#include "model/naming.h"
#include "tasks/codec.h"

namespace ernie {

// Lines of a file, without their ends; the memory is that of the longest one.
class Lines {
 public:
  // file: open; it is not closed. name: for messages.
  Lines(std::FILE* file, std::string name);

  // The next line; false at the end. Throws UserError: it cannot be read, or a line has more than 64 MB.
  bool next(std::string& line);

  std::size_t number() const { return number_; }  // of the line that was read last, from 1
  const std::string& name() const { return name_; }

 private:
  std::FILE* file_;
  std::string name_, buffer_;
  std::size_t begin_ = 0, number_ = 0;
};

enum class Form { unknown, json_lines, tsv, text };

// One row: what stands in it by the names of the input, and the same by the names of the task.
struct InputRow {
  std::size_t line = 0;
  Json cells, record;
  std::unique_ptr<BadRecord> bad;
};

class Rows {
 public:
  // learnt: object column of the task -> its name where the model learnt, or null. The form of what is `unknown` is told
  // by the ending of the name, else by the first line.
  Rows(std::FILE* file, const std::string& name, Form form, const Columns& columns, const Json* learnt);

  // The next row; false at the end. Throws UserError: the file as a whole cannot be used.
  bool next(InputRow& row);

 private:
  bool next_line(std::string& line);
  Form form_of_first_line() const;
  void read_header();
  bool next_json(InputRow& row);
  bool next_cells(InputRow& row);
  bool next_text(InputRow& row);

  Lines lines_;
  Form form_;
  const Columns& columns_;
  const Json* learnt_;
  std::string first_;
  bool has_first_ = false;
  std::vector<std::string> header_;
  Called called_;
  bool is_called_ = false, any_ = false;
  std::vector<std::pair<std::size_t, std::string>> blank_;  // rows without text, which may end the file
  std::size_t waiting_ = 0;                                 // of them, the next to be given out
  std::string after_;                                       // the line that followed them
  bool has_after_ = false;
};

}  // namespace ernie
