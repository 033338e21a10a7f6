// SHA-256 (FIPS 180-4).
#pragma once

#include <string>
#include <string_view>

namespace ernie {

// Of some bytes, hexadecimal.
std::string sha256(std::string_view bytes);

}  // namespace ernie
