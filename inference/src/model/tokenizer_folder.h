// The tokenizer of a model folder.
#pragma once

#include <memory>
#include <string>

#include "text/tokenizer.h"

namespace ernie {

// Of `vocab.txt`, `tokenizer_config.json`, `labels.json` and `subword/` in a folder that `ernie export` wrote. Throws
// UserError: a file is missing or broken, two contradict each other, or the tokenizer is none that is known here.
std::unique_ptr<const Tokenizer> open_tokenizer(const std::string& folder);

}  // namespace ernie
