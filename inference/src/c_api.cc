#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <limits>
#include <new>

#include "ernie.h"
#include "errors.h"
#include "model/model.h"
#include "model/naming.h"
#include "model/tokenizer_folder.h"
#include "text/unicode.h"
#include "text/utf8.h"

struct ernie_model {
  ernie::Model made;
  ernie::Selection selection;
};

struct ernie_tokenizer {
  std::unique_ptr<const ernie::Tokenizer> made;
};

namespace {

void tell(const char* what, char* error, std::size_t size) {
  if (error != nullptr && size > 0) std::snprintf(error, size, "%s", what);
}

// What `make` gives, or NULL: no exception leaves the library.
template <typename Make>
auto guarded(char* error, std::size_t size, Make&& make) -> decltype(make()) {
  try {
    return make();
  } catch (const std::bad_alloc&) {
    tell("out of memory", error, size);
  } catch (const std::exception& e) {
    tell(e.what(), error, size);
  }
  return nullptr;
}

constexpr char kSettings[] = "the settings", kRecords[] = "the records";

struct Asked {
  ernie::Settings settings;
  ernie::Selection selection;
};

Asked asked_of(const char* text) {
  using ernie::Json;
  Asked asked;
  if (text == nullptr) return asked;
  const Json given = ernie::parse_json(text, kSettings, "a JSON object");
  if (!given.is(Json::Kind::object)) throw ernie::bad_input(kSettings, "JSON that is no object", "a JSON object");
  for (const auto& [name, value] : given.members()) {
    const auto count = [&, key = name.c_str()] { return ernie::count_of(given, kSettings, key, 1, 1000000, 1); };
    if (name == "threads") {
      asked.settings.threads = static_cast<int>(count());
    } else if (name == "streams") {
      asked.settings.streams = static_cast<int>(count());
    } else if (name == "batch_size") {
      asked.settings.batch_size = static_cast<std::size_t>(count());
    } else if (name == "top_k") {
      asked.selection.top_k = static_cast<std::size_t>(count());
    } else if (name == "precision" && ernie::precision_of(value.text())) {
      asked.settings.precision = *ernie::precision_of(value.text());
    } else if (name == "min_confidence" && value.is_number() && value.number() >= 0 && value.number() <= 1) {
      asked.selection.min_confidence = value.number();
    } else {
      std::string shown;
      value.write(shown);
      throw ernie::bad_input(kSettings, ernie::quoted(name) + ": " + ernie::quoted(shown),
                             "threads, streams, batch_size, top_k, precision (fp32, bf16, int8), min_confidence (0 to 1)");
    }
  }
  return asked;
}

// A record of the task, of a text or an object.
ernie::Json record_of(const ernie::Json& given, const ernie::Model& model) {
  using ernie::Json;
  const ernie::Columns& columns = model.codec().columns();
  if (given.is(Json::Kind::text) && columns.required.size() == 1) {
    Json record = Json::object();
    record.add(columns.required[0], given);
    return record;
  }
  if (!given.is(Json::Kind::object)) {
    throw ernie::BadRecord{std::string("a ") + ernie::type_name(given),
                           columns.required.size() == 1 ? "a text or an object" : "an object"};
  }
  const Json* learnt = model.folder().labels.find("column_names");
  return ernie::renamed(given, ernie::called_in(ernie::names_in(given), columns, learnt));
}

std::string predicted(ernie_model& model, const char* records) {
  using ernie::Json;
  const Json given = ernie::parse_json(records, kRecords, "a JSON list of records");
  if (!given.is(Json::Kind::list)) throw ernie::bad_input(kRecords, "JSON that is no list", "a JSON list of records");
  std::vector<ernie::Item> items(given.items().size());
  for (std::size_t i = 0; i < items.size(); ++i) {
    try {
      items[i].record = record_of(given.items()[i], model.made);
      model.made.encode(items[i]);
    } catch (const ernie::BadRecord& e) {
      items[i].bad = std::make_unique<ernie::BadRecord>(e);
    }
  }
  model.made.predict(items, model.selection);
  Json results = Json::list();
  for (ernie::Item& item : items) {
    if (!item.bad) {
      results.add(std::move(item.result));
      continue;
    }
    Json fault = Json::object();
    fault.add("error", Json::of("found " + item.bad->found + ", expected " + item.bad->expected));
    results.add(std::move(fault));
  }
  std::string text;
  results.write(text);
  return text;
}

}  // namespace

ernie_model* ernie_open(const char* folder, const char* settings, char* error, size_t error_size) {
  return guarded(error, error_size, [&] {
    const Asked asked = asked_of(settings);
    auto model = std::unique_ptr<ernie_model>(new ernie_model{{folder, asked.settings}, asked.selection});
    model->made.codec().check(asked.selection);
    return model.release();
  });
}

char* ernie_predict(ernie_model* model, const char* records, char* error, size_t error_size) {
  return guarded(error, error_size, [&] {
    const std::string text = predicted(*model, records);
    char* copy = static_cast<char*>(std::malloc(text.size() + 1));
    if (copy == nullptr) throw std::bad_alloc();
    std::memcpy(copy, text.c_str(), text.size() + 1);
    return copy;
  });
}

void ernie_free_text(char* text) { std::free(text); }

void ernie_free(ernie_model* model) { delete model; }

const char* ernie_unicode_version() { return ernie::unicode::version().data(); }

ernie_tokenizer* ernie_tokenizer_open(const char* folder, char* error, size_t error_size) {
  return guarded(error, error_size, [&] { return new ernie_tokenizer{ernie::open_tokenizer(folder)}; });
}

int64_t ernie_tokenizer_encode(const ernie_tokenizer* tokenizer, const char* text, size_t size, int32_t* ids,
                               uint32_t* starts, uint32_t* ends, size_t capacity) {
  try {
    // The memory of the last text of this thread is used again.
    thread_local std::u32string codes;
    thread_local ernie::Encoded encoded;
    const std::size_t wrong = ernie::decode_utf8({text, size}, codes);
    if (wrong < size) return -1 - static_cast<int64_t>(wrong);
    encoded.ids.clear();
    if (starts == nullptr) {
      tokenizer->made->encode(codes, encoded.ids);
    } else {
      encoded.starts.clear();
      encoded.ends.clear();
      tokenizer->made->encode_aligned(codes, encoded);
    }
    const std::size_t count = encoded.ids.size() < capacity ? encoded.ids.size() : capacity;
    for (std::size_t i = 0; i < count; ++i) {
      ids[i] = encoded.ids[i];
      if (starts == nullptr) continue;
      starts[i] = encoded.starts[i];
      ends[i] = encoded.ends[i];
    }
    return static_cast<int64_t>(encoded.ids.size());
  } catch (...) {
    return std::numeric_limits<int64_t>::min();
  }
}

void ernie_tokenizer_free(ernie_tokenizer* tokenizer) { delete tokenizer; }
