// The nearest of some names to a mistyped one.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace thinwire::launch {

// Insertions, deletions, substitutions and swaps of neighbours that turn a into b.
std::size_t edit_distance(std::string_view a, std::string_view b);

// The first of the names with the least distance; "" if there are none.
std::string nearest(std::string_view text, const std::vector<std::string>& names);

// What a message may suggest: the nearest of the names where the text looks like a slip of it, else "".
std::string suggestion(std::string_view text, const std::vector<std::string>& names);

// "a, b, c"
std::string joined(const std::vector<std::string>& names);

}  // namespace thinwire::launch
