#include "launch/config/lookup.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "launch/config/nearest.h"

namespace thinwire::launch {
namespace {

std::vector<std::string> section_names() {
  std::vector<std::string> names;
  for (const Section& section : schema()) names.push_back(section.name);
  return names;
}

}  // namespace

const Section* find_section(std::string_view name) {
  const auto& sections = schema();
  const auto found =
      std::find_if(sections.begin(), sections.end(), [&](const auto& s) { return s.name == name; });
  return found == sections.end() ? nullptr : &*found;
}

const Key* find_key(std::string_view section_name, std::string_view name) {
  const Section* section = find_section(section_name);
  if (section == nullptr) return nullptr;
  const auto found = std::find_if(section->keys.begin(), section->keys.end(),
                                  [&](const auto& key) { return key.name == name; });
  return found == section->keys.end() ? nullptr : &*found;
}

std::vector<std::string> homes_of(std::string_view name) {
  std::vector<std::string> homes;
  for (const Section& section : schema()) {
    if (find_key(section.name, name) != nullptr) homes.push_back(fmt::format("{}.{}", section.name, name));
  }
  return homes;
}

std::string did_you_mean(const std::vector<std::string>& names) {
  return fmt::format("did you mean {}?", fmt::join(names, " or "));
}

void refuse_unknown_section(const toml::key& key, const toml::node& node) {
  const std::string name(key.str());
  const std::vector<std::string> homes = homes_of(name);
  const std::string place = place_of(key.source());
  const toml::table* table = node.as_table();
  if (table == nullptr && !homes.empty())
    throw ConfigError(
        fmt::format("{}: key \"{}\" stands outside a section; {}", place, name, did_you_mean(homes)));
  const std::string slip = suggestion(name, section_names());
  if (!place.starts_with(kOverride)) {
    throw ConfigError(fmt::format("{}: unknown section [{}]; {}", place, name,
                                  slip.empty() ? "expected one of " + joined(section_names())
                                               : fmt::format("did you mean [{}]?", slip)));
  }
  // An override has one key: the section in which it stands may be told by it.
  const std::string inner =
      table == nullptr || table->empty() ? "" : std::string(table->begin()->first.str());
  std::vector<std::string> suggestions = homes_of(inner);
  if (find_key(slip, inner) != nullptr) suggestions = {slip + "." + inner};
  throw ConfigError(fmt::format(
      "{}: unknown section {}; {}", place, name,
      suggestions.empty() ? "expected one of " + joined(section_names()) : did_you_mean(suggestions)));
}

std::string place_of(const toml::source_region& region) {
  const std::string name = region.path ? *region.path : "config";
  return name.starts_with(kOverride) ? name : fmt::format("{}:{}", name, region.begin.line);
}

void refuse_unknown_key(const toml::key& key, const std::string& section,
                        const std::vector<std::string>& names) {
  const std::string name(key.str());
  std::vector<std::string> suggestions = homes_of(name);
  const std::string slip = suggestion(name, names);
  if (suggestions.empty() && !slip.empty()) suggestions.push_back(section + "." + slip);
  throw ConfigError(fmt::format("{}: unknown key {}.{}; {}", place_of(key.source()), section, name,
                                suggestions.empty() ? fmt::format("[{}] knows {}", section, joined(names))
                                                    : did_you_mean(suggestions)));
}

}  // namespace thinwire::launch
