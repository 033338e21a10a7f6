#include "model/naming.h"

#include <algorithm>

namespace ernie {

Called called_in(const std::vector<std::string>& names, const Columns& columns, const Json* learnt) {
  const auto has = [&](const std::string& name) { return std::find(names.begin(), names.end(), name) != names.end(); };
  Called called;
  for (const auto* wanted : {&columns.required, &columns.optional, &columns.refused}) {
    for (const std::string& role : *wanted) {
      const Json* known = learnt == nullptr ? nullptr : learnt->find(role);
      std::string name = known != nullptr && has(known->text()) ? known->text() : role;
      const bool is_taken =
          std::any_of(called.begin(), called.end(), [&](const auto& pair) { return pair.first == name; });
      if (has(name) && !is_taken) called.emplace_back(std::move(name), role);
    }
  }
  return called;
}

Json renamed(const Json& cells, const Called& called) {
  Json record = Json::object();
  for (const auto& [name, value] : cells.members()) {
    const std::string& own = name;
    const auto found = std::find_if(called.begin(), called.end(), [&](const auto& pair) { return pair.first == own; });
    const bool is_role = std::any_of(called.begin(), called.end(), [&](const auto& pair) { return pair.second == own; });
    if (found != called.end()) {
      record.add(found->second, value);
    } else if (!is_role) {
      record.add(name, value);
    }
  }
  return record;
}

std::vector<std::string> names_in(const Json& object) {
  std::vector<std::string> names;
  for (const auto& [name, value] : object.members()) names.push_back(name);
  return names;
}

}  // namespace ernie
