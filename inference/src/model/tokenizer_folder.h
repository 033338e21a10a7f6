// The tokenizer of a model folder.
#pragma once

#include <string>

#include "text/tokenizer.h"

namespace ernie {

// Of `vocab.txt`, `tokenizer_config.json` and `labels.json` in a folder that `ernie export` or a training wrote. Throws
// UserError: a file is missing or broken, two contradict each other, or the tokenizer is none that is known here.
Tokenizer open_tokenizer(const std::string& folder);

}  // namespace ernie
