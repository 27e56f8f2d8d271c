// Where characters of UTF-8 start and end.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace thinwire::trainer {

inline constexpr std::size_t kMaxCharacterBytes = 4;

// Length of the character at the start of text, which is not empty; 0 if there is none (RFC 3629, no
// surrogates).
inline std::size_t character_bytes(std::string_view text) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = at(0);
  const std::size_t length = first < 0x80   ? 1
                             : first < 0xc2 ? 0
                             : first < 0xe0 ? 2
                             : first < 0xf0 ? 3
                             : first < 0xf5 ? 4
                                            : 0;
  if (length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((at(i) & 0xc0) != 0x80) return 0;
  }
  const bool overlong = (first == 0xe0 && at(1) < 0xa0) || (first == 0xf0 && at(1) < 0x90);
  const bool surrogate = first == 0xed && at(1) > 0x9f;
  const bool beyond = first == 0xf4 && at(1) > 0x8f;
  return overlong || surrogate || beyond ? 0 : length;
}

// The first place from `position` on where a character may start, or the third after it.
inline std::size_t character_start(std::string_view text, std::size_t position) {
  const std::size_t end = std::min(text.size(), position + kMaxCharacterBytes - 1);
  while (position < end && (static_cast<unsigned char>(text[position]) & 0xc0) == 0x80) ++position;
  return position;
}

}  // namespace thinwire::trainer
