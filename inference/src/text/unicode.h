// What the tokenizers know of a character: the tables of the Python that the build asked (make_unicode_table.py).
#pragma once

#include <string_view>

namespace ernie::unicode {

std::string_view version();

bool is_space(char32_t code);        // space, TAB, LF, CR and the category Zs
bool is_break(char32_t code);        // where Python's str.split cuts
bool is_dropped(char32_t code);      // U+FFFD and the categories C*, except TAB, LF, CR
bool is_punctuation(char32_t code);  // the categories P*, and ASCII that is neither letter, digit, space nor control
bool is_nonspacing(char32_t code);   // the category Mn
bool is_mark(char32_t code);         // the categories M*
bool is_cjk(char32_t code);          // Chinese ideographs, by their ranges
unsigned combining_class(char32_t code);

// Whether a capital sigma that stands behind a letter and not before one is lower-cased to a final sigma: which
// characters count as letters there, and which it looks beyond.
bool is_cased(char32_t code);
bool is_case_ignorable(char32_t code);

// At most this many code points take the place of one.
constexpr int kMostLowered = 2, kMostDecomposed = 4;

// The lower case of a code point, without regard to its neighbours. Returns how many were written to `to`.
int lower(char32_t code, char32_t* to);

// The whole canonical decomposition of a code point.
int decompose(char32_t code, char32_t* to);

}  // namespace ernie::unicode
