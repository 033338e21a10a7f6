#include "model/carried.h"

#include <algorithm>

namespace ernie {

Json carried(const Json& cells, Json result, const Codec& codec) {
  const auto has = [](const std::vector<std::string>& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  // What is made of a list of tokens does not stand in the row.
  std::vector<std::string> echo = codec.echo(), taken{"error"};
  for (const auto& [name, value] : cells.members()) {
    if (value.is(Json::Kind::list)) echo.clear();
  }
  for (const auto& [name, value] : result.members()) {
    if (!has(echo, name)) taken.push_back(name);
  }
  for (const std::string& name : codec.fields()) {
    if (!has(echo, name)) taken.push_back(name);
  }
  Json made = Json::object();
  for (const auto& [name, value] : cells.members()) {
    std::string free = name;
    while (has(taken, free) || (free != name && cells.find(free) != nullptr)) free = "input_" + free;
    made.add(free, value);
  }
  for (const auto& [name, value] : result.members()) {
    if (!has(echo, name)) made.add(name, value);
  }
  return made;
}

}  // namespace ernie
