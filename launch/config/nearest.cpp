#include "launch/config/nearest.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

namespace thinwire::launch {

// Damerau-Levenshtein over three rows: the row above serves substitutions, the one above it swaps.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> two_above(b.size() + 1), above_row(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::swap(two_above, above_row);
    std::swap(above_row, row);
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const bool differs = a[i - 1] != b[j - 1];
      row[j] = std::min({above_row[j] + 1, row[j - 1] + 1, above_row[j - 1] + (differs ? 1 : 0)});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], two_above[j - 2] + 1);
    }
  }
  return row[b.size()];
}

std::string nearest(std::string_view text, const std::vector<std::string>& names) {
  const auto best = std::min_element(names.begin(), names.end(), [&](const auto& a, const auto& b) {
    return edit_distance(text, a) < edit_distance(text, b);
  });
  return best == names.end() ? std::string() : *best;
}

std::string suggestion(std::string_view text, const std::vector<std::string>& names) {
  const std::string best = nearest(text, names);
  return edit_distance(text, best) <= std::max<std::size_t>(2, text.size() / 2) ? best : std::string();
}

std::string joined(const std::vector<std::string>& names) {
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace thinwire::launch
