// What every table of registered things has in common: entries with a `name`, looked up by what a config key
// says.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <iterator>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace thinwire::trainer {

// In the order of the table.
template <class Table>
std::vector<std::string> names_of(const Table& table) {
  std::vector<std::string> names;
  for (const auto& entry : table) names.emplace_back(entry.name);
  return names;
}

// "a b c" in pieces.
inline std::vector<std::string> words_of(std::string_view text) {
  std::istringstream words{std::string(text)};
  return {std::istream_iterator<std::string>(words), {}};
}

// Throws std::invalid_argument that names the key, the known names and what was found.
template <class Table>
const auto& find_named(const Table& table, std::string_view key, const std::string& name) {
  for (const auto& entry : table)
    if (entry.name == name) return entry;
  throw std::invalid_argument(
      fmt::format("{}: expected one of {}; found \"{}\"", key, fmt::join(names_of(table), ", "), name));
}

}  // namespace thinwire::trainer
